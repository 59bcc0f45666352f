#include "cloud/registry.h"

#include "base/hex.h"
#include "base/log.h"
#include "os/file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

static const char *const status_names[] = {"invited", "joined", "revoked"};

const char *hospital_status_name(enum hospital_status s)
{
    return status_names[s];
}

bool registry_name_allowed(const char *name)
{
    size_t n = strlen(name);
    if (!n || n >= REGISTRY_MAX_NAME || !isalnum((unsigned char)name[0]))
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("-_.", *name))
            return false;
    return true;
}

static int check_name(const char *name, struct error *err)
{
    if (registry_name_allowed(name))
        return 0;
    return error_set(err, EINVAL,
        "\"%.80s\" cannot be a hospital's name: use up to %u letters, digits, \"-\", \"_\" and \".\", a letter or "
        "digit first",
        name, REGISTRY_MAX_NAME - 1);
}

static int state_path(char to[4096], const char *hospitals, const char *name, const char *file, struct error *err)
{
    if (snprintf(to, 4096, "%s/%s%s%s", hospitals, name, file[0] ? "/" : "", file) >= 4096)
        return error_set(err, ENAMETOOLONG, "%s: path too long", hospitals);
    return 0;
}

/* --- state.json --- */

static bool get_text(char *to, size_t cap, yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    size_t len = yyjson_get_len(v);
    if (!yyjson_is_str(v) || len >= cap || strlen(yyjson_get_str(v)) != len)
        return false;
    memcpy(to, yyjson_get_str(v), len + 1);
    return true;
}

static bool get_number(int64_t *to, yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    *to = yyjson_get_sint(v);
    return yyjson_is_int(v) && *to >= 0;
}

static bool decode(struct hospital *h, yyjson_val *o)
{
    char status[16];
    int64_t slot;
    if (!get_text(h->name, sizeof(h->name), o, "name") || !get_text(h->id, sizeof(h->id), o, "id") ||
        !get_text(status, sizeof(status), o, "status") || !get_number(&slot, o, "slot") || slot >= REGISTRY_MAX ||
        !get_text(h->token_sha256, sizeof(h->token_sha256), o, "token_sha256") ||
        !get_number(&h->token_until, o, "token_until") || !get_text(h->key, sizeof(h->key), o, "key") ||
        !get_text(h->certificate, sizeof(h->certificate), o, "certificate") ||
        !get_number(&h->certificate_until, o, "certificate_until") || !get_number(&h->joined_at, o, "joined_at"))
        return false;
    h->slot = (uint32_t)slot;
    for (int i = 0; i < 3; i++)
        if (!strcmp(status, status_names[i])) {
            h->status = (enum hospital_status)i;
            return pki_name_allowed(h->id);
        }
    return false;
}

/* The enrol process owns these files, and the supervisor must not wait for or follow what it might put there. */
static int read_state(struct buf *ret, const char *path, struct error *err)
{
    char bytes[8192];
    struct stat st;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "%s: cannot open: %s", path, strerror(errno));
    bool regular = !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size < (off_t)sizeof(bytes);
    ssize_t n = regular ? read(fd, bytes, sizeof(bytes)) : -1;
    close(fd);
    if (n < 0)
        return error_set(err, EINVAL, "%s: not a file of this cloud", path);
    return buf_append(ret, bytes, (size_t)n) ? error_set(err, ENOMEM, "out of memory") : 0;
}

int registry_load(struct hospital *ret, const char *hospitals, const char *name, struct error *err)
{
    char path[4096];
    struct buf text = {0};
    int rc = check_name(name, err);
    if (!rc)
        rc = state_path(path, hospitals, name, "state.json", err);
    if (!rc && access(path, F_OK) && errno == ENOENT)
        return error_set(err, ENOENT, "there is no hospital \"%s\" here (meridian cloud list shows them)", name);
    if (!rc)
        rc = read_state(&text, path, err);
    if (rc)
        return rc;
    yyjson_doc *doc = yyjson_read((const char *)text.data, text.len, 0);
    struct hospital h = {0};
    if (!decode(&h, yyjson_doc_get_root(doc)) || strcmp(h.name, name))
        rc =
            error_set(err, EINVAL, "%s: damaged; restore it, or remove its folder and invite the hospital again", path);
    else
        *ret = h;
    yyjson_doc_free(doc);
    buf_done(&text);
    return rc;
}

static char *encode(const struct hospital *h, size_t *ret_len)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    if (!doc)
        return NULL;
    yyjson_mut_val *o = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, o);
    yyjson_mut_obj_add_str(doc, o, "name", h->name);
    yyjson_mut_obj_add_str(doc, o, "id", h->id);
    yyjson_mut_obj_add_str(doc, o, "status", status_names[h->status]);
    yyjson_mut_obj_add_int(doc, o, "slot", h->slot);
    yyjson_mut_obj_add_str(doc, o, "token_sha256", h->token_sha256);
    yyjson_mut_obj_add_int(doc, o, "token_until", h->token_until);
    yyjson_mut_obj_add_str(doc, o, "key", h->key);
    yyjson_mut_obj_add_str(doc, o, "certificate", h->certificate);
    yyjson_mut_obj_add_int(doc, o, "certificate_until", h->certificate_until);
    yyjson_mut_obj_add_int(doc, o, "joined_at", h->joined_at);
    char *text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, ret_len);
    yyjson_mut_doc_free(doc);
    return text;
}

/* What root writes here belongs to whom the folder belongs to: the enrol process, which is not root. */
static void give_to_owner(const char *hospitals, const char *path)
{
    struct stat st;
    if (!stat(hospitals, &st) && st.st_uid != geteuid() && lchown(path, st.st_uid, st.st_gid))
        log_warn("%s: cannot give it to the enrol process: %s", path, strerror(errno));
}

int registry_save(const char *hospitals, const struct hospital *h, struct error *err)
{
    char folder[4096], path[4096];
    int rc = check_name(h->name, err);
    if (!rc)
        rc = state_path(folder, hospitals, h->name, "", err);
    if (!rc)
        rc = state_path(path, hospitals, h->name, "state.json", err);
    if (!rc && mkdir(folder, 0700) && errno != EEXIST)
        rc = error_set(err, errno, "%s: cannot make this folder: %s", folder, strerror(errno));
    if (rc)
        return rc;
    give_to_owner(hospitals, folder);
    size_t len = 0;
    char *text = encode(h, &len);
    struct file_new f;
    rc = text ? file_new_open(&f, path, 0600, err) : error_set(err, ENOMEM, "out of memory");
    if (!rc) {
        give_to_owner(hospitals, f.temporary);
        rc = file_write_all(f.fd, text, len);
        if (rc) {
            error_set(err, -rc, "%s: cannot write: %s", path, strerror(-rc));
            file_new_abandon(&f);
        } else {
            rc = file_new_commit(&f, err);
        }
    }
    free(text);
    return rc;
}

/* --- all of them --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hospital *)a)->name, ((const struct hospital *)b)->name);
}

int registry_list(struct hospital **ret, size_t *ret_n, const char *hospitals, struct error *err)
{
    DIR *d = opendir(hospitals);
    if (!d)
        return error_set(err, errno, "%s: cannot open: %s", hospitals, strerror(errno));
    struct hospital *all = calloc(REGISTRY_MAX, sizeof(*all));
    size_t n = 0;
    int rc = all ? 0 : error_set(err, ENOMEM, "out of memory");
    for (struct dirent *e; !rc && n < REGISTRY_MAX && (e = readdir(d));) {
        struct error one;
        if (!registry_name_allowed(e->d_name))
            continue;
        int failed = registry_load(&all[n], hospitals, e->d_name, &one);
        if (!failed)
            n++;
        else if (failed != -ENOENT)
            log_error("%s", one.text);
    }
    closedir(d);
    if (rc)
        return rc;
    qsort(all, n, sizeof(*all), by_name);
    *ret = all;
    *ret_n = n;
    return 0;
}

/* --- changes --- */

int registry_begin(int *ret_lock, const char *hospitals, struct error *err)
{
    char path[4096];
    int rc = state_path(path, hospitals, ".lock", "", err);
    if (rc)
        return rc;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX)) {
        if (errno == ENOENT)
            rc =
                error_set(err, ENOENT, "%s: no cloud keeps its hospitals there; name its folder with --dir", hospitals);
        else
            rc = error_set(err, errno, "%s: cannot lock: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    give_to_owner(hospitals, path);
    *ret_lock = fd;
    return 0;
}

void registry_end(int lock)
{
    close(lock);
}

static int random_hex(char *to, size_t bytes, struct error *err)
{
    unsigned char raw[48];
    if (bytes > sizeof(raw) || RAND_bytes(raw, (int)bytes) != 1)
        return error_set(err, EIO, "no randomness to be had");
    hex_put(to, raw, bytes);
    OPENSSL_cleanse(raw, sizeof(raw));
    return 0;
}

static void hash_token(char to[65], const char *token)
{
    unsigned char digest[32] = {0};
    EVP_Digest(token, strlen(token), digest, NULL, EVP_sha256(), NULL);
    hex_put(to, digest, sizeof(digest));
}

static int free_slot(uint32_t *ret, const char *hospitals, struct error *err)
{
    struct hospital *all;
    size_t n;
    int rc = registry_list(&all, &n, hospitals, err);
    if (rc)
        return rc;
    bool used[REGISTRY_MAX] = {false};
    for (size_t i = 0; i < n; i++)
        used[all[i].slot] = true;
    free(all);
    for (uint32_t i = 0; i < REGISTRY_MAX; i++)
        if (!used[i])
            return *ret = i, 0;
    return error_set(err, ENOSPC, "this cloud already has %u hospitals", REGISTRY_MAX);
}

static int invite_locked(
    struct hospital *h, char *token, const char *hospitals, const char *name, int64_t valid_s, struct error *err)
{
    int rc = registry_load(h, hospitals, name, err);
    if (rc == -ENOENT) {
        *h = (struct hospital){0};
        strcpy(h->name, name); /* checked by registry_load */
        rc = free_slot(&h->slot, hospitals, err);
    } else if (!rc && h->status == HOSPITAL_JOINED) {
        rc = error_set(err, EEXIST,
            "%s has already joined; to invite it anew run first: meridian cloud revoke %s (its store is kept)", name,
            name);
    }
    if (!rc)
        rc = random_hex(h->id, 16, err);
    if (!rc)
        rc = random_hex(token, 32, err);
    if (rc)
        return rc;
    h->status = HOSPITAL_INVITED;
    hash_token(h->token_sha256, token);
    h->token_until = (int64_t)time(NULL) + valid_s;
    h->key[0] = h->certificate[0] = 0;
    h->certificate_until = h->joined_at = 0;
    return registry_save(hospitals, h, err);
}

int registry_invite(struct hospital *ret, char ret_token[REGISTRY_MAX_TOKEN], const char *hospitals, const char *name,
    int64_t valid_s, struct error *err)
{
    int lock, rc = check_name(name, err);
    if (!rc)
        rc = registry_begin(&lock, hospitals, err);
    if (rc)
        return rc;
    struct hospital h = {0};
    rc = invite_locked(&h, ret_token, hospitals, name, valid_s, err);
    registry_end(lock);
    if (!rc)
        *ret = h;
    return rc;
}

int registry_revoke(const char *hospitals, const char *name, struct error *err)
{
    int lock, rc = check_name(name, err);
    if (!rc)
        rc = registry_begin(&lock, hospitals, err);
    if (rc)
        return rc;
    struct hospital h;
    rc = registry_load(&h, hospitals, name, err);
    if (!rc) {
        h.status = HOSPITAL_REVOKED;
        h.token_sha256[0] = 0;
        rc = registry_save(hospitals, &h, err);
    }
    registry_end(lock);
    return rc;
}

bool registry_find_token(struct hospital *ret, const struct hospital *all, size_t n, const char *token)
{
    char hash[65];
    size_t found = n;
    hash_token(hash, token);
    for (size_t i = 0; i < n; i++)
        if (all[i].token_sha256[0] && !CRYPTO_memcmp(hash, all[i].token_sha256, 64))
            found = i;
    if (found == n)
        return false;
    *ret = all[found];
    return true;
}
