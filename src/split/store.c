/* Where a worker keeps things. */
#include "split/store.h"

#include "base/hex.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static bool unhex(uint8_t *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned v = 0;
        for (int k = 0; k < 2; k++) {
            char c = from[2 * i + k];
            if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
                return false;
            v = v << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        to[i] = (uint8_t)v;
    }
    return true;
}

int store_open(struct store *ret, const char *dir, struct error *err)
{
    char path[STORE_PATH];
    if (strlen(dir) >= sizeof(ret->dir))
        return error_set(err, ENAMETOOLONG, "%.60s…: this folder's name is too long", dir);
    snprintf(ret->dir, sizeof(ret->dir), "%s", dir);
    snprintf(path, sizeof(path), "%s/halves", ret->dir);
    int rc = file_make_dir(path, 0700, err);
    if (rc)
        return rc;
    snprintf(path, sizeof(path), "%s/runs", ret->dir);
    return file_make_dir(path, 0700, err);
}

static void half_name(const struct store *s, const struct model_cut *cut, const char *end, char ret[STORE_PATH])
{
    char id[65], run[33];
    hex_put(id, cut->id, 32);
    hex_put(run, cut->run, 16);
    snprintf(ret, STORE_PATH, "%s/halves/%s-%020" PRIu64 "-%s%s", s->dir, id, cut->step, run, end);
}

void store_half_path(const struct store *s, const struct model_cut *cut, char ret[STORE_PATH])
{
    half_name(s, cut, ".gguf", ret);
}

void store_part_path(const struct store *s, const struct model_cut *cut, char ret[STORE_PATH])
{
    half_name(s, cut, ".part", ret);
}

bool store_half_has(const struct store *s, const struct model_cut *cut)
{
    char path[STORE_PATH];
    store_half_path(s, cut, path);
    return !access(path, R_OK);
}

static bool half_parse(const char *name, struct model_cut *ret)
{
    struct model_cut c = {.part = MODEL_CLOUD};
    if (strlen(name) != 64 + 1 + 20 + 1 + 32 + 5 || strcmp(name + 118, ".gguf") || name[64] != '-' || name[85] != '-' ||
        strspn(name + 65, "0123456789") != 20 || !unhex(c.id, name, 32) || !unhex(c.run, name + 86, 16))
        return false;
    c.step = strtoull(name + 65, NULL, 10);
    *ret = c;
    return true;
}

bool store_half_newest(const struct store *s, struct model_cut *ret)
{
    char path[STORE_PATH];
    snprintf(path, sizeof(path), "%s/halves", s->dir);
    DIR *d = opendir(path);
    bool any = false;
    struct timespec newest = {0};
    for (struct dirent *e; d && (e = readdir(d));) {
        struct model_cut c;
        struct stat st;
        if (!half_parse(e->d_name, &c) || fstatat(dirfd(d), e->d_name, &st, 0))
            continue;
        if (!any || st.st_mtim.tv_sec > newest.tv_sec ||
            (st.st_mtim.tv_sec == newest.tv_sec && st.st_mtim.tv_nsec > newest.tv_nsec)) {
            *ret = c;
            newest = st.st_mtim;
            any = true;
        }
    }
    if (d)
        closedir(d);
    return any;
}

static bool same_run(const struct model_cut *a, const struct model_cut *b)
{
    return !memcmp(a->id, b->id, 32) && !memcmp(a->run, b->run, 16);
}

void store_halves_prune(const struct store *s, const struct model_cut *cut)
{
    char path[STORE_PATH];
    snprintf(path, sizeof(path), "%s/halves", s->dir);
    DIR *d = opendir(path);
    struct model_cut c;
    uint64_t before = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        if (half_parse(e->d_name, &c) && same_run(&c, cut) && c.step < cut->step && c.step > before)
            before = c.step;
    if (d)
        rewinddir(d);
    for (struct dirent *e; d && (e = readdir(d));)
        if (half_parse(e->d_name, &c) && same_run(&c, cut) && c.step < before)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

void store_parts_clear(const struct store *s, const struct model_cut *keep)
{
    char path[STORE_PATH], kept[STORE_PATH] = "";
    if (keep)
        store_part_path(s, keep, kept);
    const char *kept_name = keep ? strrchr(kept, '/') + 1 : "";
    snprintf(path, sizeof(path), "%s/halves", s->dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n > 5 && !strcmp(e->d_name + n - 5, ".part") && strcmp(e->d_name, kept_name))
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
}

uint64_t store_part_size(const struct store *s, const struct model_cut *cut)
{
    char path[STORE_PATH];
    struct stat st;
    store_part_path(s, cut, path);
    return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

uint64_t store_free_bytes(const struct store *s)
{
    struct statvfs v;
    return statvfs(s->dir, &v) ? 0 : (uint64_t)v.f_bavail * v.f_frsize;
}

/* --- checkpoints -------------------------------------------------------------------------------------------- */

static void run_path(const struct store *s, const uint8_t id[32], const uint8_t run[16], char ret[STORE_PATH])
{
    char i[65], r[33];
    hex_put(i, id, 32);
    hex_put(r, run, 16);
    snprintf(ret, STORE_PATH, "%s/runs/%s-%s", s->dir, i, r);
}

int store_run_make(const struct store *s, const uint8_t id[32], const uint8_t run[16], struct error *err)
{
    char path[STORE_PATH];
    run_path(s, id, run, path);
    return file_make_dir(path, 0700, err);
}

static void step_name(uint64_t step, char ret[40])
{
    snprintf(ret, 40, "step-%020" PRIu64 ".state", step);
}

void store_step_path(
    const struct store *s, const uint8_t id[32], const uint8_t run[16], uint64_t step, char ret[STORE_PATH])
{
    char name[40];
    run_path(s, id, run, ret);
    step_name(step, name);
    size_t n = strlen(ret);
    snprintf(ret + n, STORE_PATH - n, "/%s", name);
}

static bool step_parse(const char *name, uint64_t *ret)
{
    if (strlen(name) != 31 || strncmp(name, "step-", 5) || strspn(name + 5, "0123456789") != 20 ||
        strcmp(name + 25, ".state"))
        return false;
    *ret = strtoull(name + 5, NULL, 10);
    return true;
}

static void keep_sorted(uint64_t *steps, uint32_t *n, uint64_t step)
{
    uint32_t at = 0;
    while (at < *n && steps[at] > step)
        at++;
    if (at == STORE_MAX_STEPS)
        return;
    if (*n < STORE_MAX_STEPS)
        (*n)++;
    memmove(steps + at + 1, steps + at, (*n - 1 - at) * sizeof(*steps));
    steps[at] = step;
}

uint32_t store_run_steps(
    const struct store *s, const uint8_t id[32], const uint8_t run[16], uint64_t ret[STORE_MAX_STEPS])
{
    char path[STORE_PATH];
    run_path(s, id, run, path);
    DIR *d = opendir(path);
    uint32_t n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        uint64_t step;
        if (step_parse(e->d_name, &step))
            keep_sorted(ret, &n, step);
    }
    if (d)
        closedir(d);
    return n;
}

void store_run_prune(const struct store *s, const uint8_t id[32], const uint8_t run[16], uint64_t step)
{
    char path[STORE_PATH];
    run_path(s, id, run, path);
    DIR *d = opendir(path);
    uint64_t before = 0, other;
    bool any = false;
    for (struct dirent *e; d && (e = readdir(d));)
        if (step_parse(e->d_name, &other) && other < step && (!any || other > before)) {
            before = other;
            any = true;
        }
    if (d)
        rewinddir(d);
    for (struct dirent *e; d && (e = readdir(d));)
        if (step_parse(e->d_name, &other) && other != step && !(any && other == before))
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

void store_run_forget_after(const struct store *s, const uint8_t id[32], const uint8_t run[16], uint64_t step)
{
    char path[STORE_PATH];
    uint64_t other;
    run_path(s, id, run, path);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (step_parse(e->d_name, &other) && other > step)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}
