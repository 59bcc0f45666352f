/* What uploads leave on disk. */
#include "edge/uploads_inner.h"

#include "base/buf.h"
#include "base/log.h"
#include "crypto/sha256.h"
#include "edge/json_put.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define PATH 4096

static void part_path(char ret[PATH], const struct uploads *u, const char *id, const char *suffix)
{
    snprintf(ret, PATH, "%s/incoming/%s.%s", u->dir, id, suffix);
}

bool upload_name_clean(char ret[UPLOAD_NAME + 1], const char *name, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c == '/' || c == '\\')
            n = 0; /* of a path, the last part */
        else if (c >= 0x20 && c != 0x7f && n < UPLOAD_NAME && !(n == 0 && c == '.'))
            ret[n++] = (char)c;
    }
    ret[n] = 0;
    return n > 0;
}

static bool hex_digits(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static bool sha_read(uint8_t ret[32], const char *hex)
{
    if (!hex_digits(hex, 64))
        return false;
    for (int i = 0; i < 32; i++) {
        unsigned v;
        sscanf(hex + 2 * i, "%2x", &v);
        ret[i] = (uint8_t)v;
    }
    return true;
}

static bool read_one(struct upload *up, yyjson_val *root)
{
    const char *key = yyjson_get_str(yyjson_obj_get(root, "key")), *name = yyjson_get_str(yyjson_obj_get(root, "name"));
    const char *sha = yyjson_get_str(yyjson_obj_get(root, "sha256"));
    yyjson_val *length = yyjson_obj_get(root, "length");
    if (!key || strlen(key) > KEY_NAME_MOST || !name || !upload_name_clean(up->name, name, strlen(name)) ||
        !yyjson_is_uint(length))
        return false;
    strcpy(up->key, key);
    up->length = yyjson_get_uint(length);
    up->has_sha = sha && sha_read(up->sha, sha);
    return true;
}

/* False: it is gone, or was never whole. */
static bool load_one(struct uploads *u, const char *id, struct upload *up)
{
    char path[PATH];
    struct stat st;
    struct buf b = {0};
    part_path(path, u, id, "json");
    yyjson_doc *d = file_read(&b, path, 1 << 16, NULL) ? NULL : yyjson_read((const char *)b.data, b.len, 0);
    *up = (struct upload){0};
    memcpy(up->id, id, UPLOAD_ID);
    bool good = d && read_one(up, yyjson_doc_get_root(d));
    yyjson_doc_free(d);
    buf_done(&b);
    part_path(path, u, id, "part");
    good = good && stat(path, &st) == 0 && (uint64_t)st.st_size <= up->length &&
           st.st_mtime + u->config.keep_s > time(NULL);
    up->offset = good ? (uint64_t)st.st_size : 0;
    return good;
}

int upload_load_all(struct uploads *u, struct error *err)
{
    char path[PATH];
    snprintf(path, sizeof(path), "%s/incoming", u->dir);
    int rc = file_make_dir(path, 0700, err);
    DIR *d = rc ? NULL : opendir(path);
    if (!d)
        return rc ? rc : error_set(err, errno, "%s: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        char id[UPLOAD_ID + 1];
        struct upload one, *kept;
        snprintf(id, sizeof(id), "%s", e->d_name);
        if (strlen(e->d_name) != UPLOAD_ID + 5 || strcmp(e->d_name + UPLOAD_ID, ".part") || !hex_digits(id, UPLOAD_ID))
            continue;
        if (!load_one(u, id, &one)) {
            upload_delete(u, &one);
        } else if ((kept = malloc(sizeof(*kept)))) {
            *kept = one;
            kept->next = u->first;
            u->first = kept;
        }
    }
    closedir(d);
    return 0;
}

static int write_note(struct uploads *u, const struct upload *up)
{
    char path[PATH];
    struct buf b = {0};
    int rc = buf_append_str(&b, "{\"key\":");
    rc = rc ? rc : json_put_cstr(&b, up->key);
    rc = rc ? rc : buf_append_str(&b, ",\"name\":");
    rc = rc ? rc : json_put_cstr(&b, up->name);
    rc = rc ? rc : buf_printf(&b, ",\"length\":%llu", (unsigned long long)up->length);
    if (up->has_sha) {
        rc = rc ? rc : buf_append_str(&b, ",\"sha256\":\"");
        for (int i = 0; i < 32 && !rc; i++)
            rc = buf_printf(&b, "%02x", up->sha[i]);
        rc = rc ? rc : buf_append_str(&b, "\"");
    }
    rc = rc ? rc : buf_append_str(&b, "}\n");
    part_path(path, u, up->id, "json");
    rc = rc ? rc : file_write(path, b.data, b.len, 0600, NULL);
    buf_done(&b);
    return rc;
}

int upload_create(struct uploads *u, const struct upload *up)
{
    char path[PATH];
    int rc = write_note(u, up);
    part_path(path, u, up->id, "part");
    int fd = rc ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return rc ? rc : -errno;
    close(fd);
    return 0;
}

/* What was acknowledged is on disk; what a full disk left half written is cut off again. */
int upload_append(struct uploads *u, struct upload *up, const void *bytes, size_t len)
{
    char path[PATH];
    part_path(path, u, up->id, "part");
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = lseek(fd, (off_t)up->offset, SEEK_SET) < 0 ? -errno : file_write_all(fd, bytes, len);
    if (!rc && fdatasync(fd))
        rc = -errno;
    if (rc && ftruncate(fd, (off_t)up->offset))
        log_warn("upload %s: cannot cut off what was half written: %s", up->id, strerror(errno));
    close(fd);
    if (!rc)
        up->offset += len;
    return rc;
}

static int digest(const char *path, uint8_t ret[32])
{
    static const size_t piece = 1 << 20;
    struct sha256 *s = sha256_create();
    uint8_t *bytes = malloc(piece);
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = !s || !bytes ? -ENOMEM : fd < 0 ? -errno : 0;
    for (ssize_t n = 1; !rc && n > 0;) {
        n = read(fd, bytes, piece);
        if (n > 0)
            sha256_add(s, bytes, (size_t)n);
        rc = n < 0 ? -errno : 0;
    }
    if (rc || !s)
        sha256_free(s);
    else
        rc = sha256_end(s, ret);
    if (fd >= 0)
        close(fd);
    free(bytes);
    return rc;
}

/* Under its own name, or name.2, name.3… when there is one already. */
static int place(struct uploads *u, const struct upload *up, const char *from, char *ret_name)
{
    char to[PATH], folder[PATH];
    bool taken = up->key[0] == '.' || strcmp(up->key, "incoming") == 0 || strcmp(up->key, "local") == 0;
    snprintf(folder, sizeof(folder), "%s/%s%s", u->dir, taken ? "key-" : "", *up->key ? up->key : "local");
    int rc = file_make_dir(folder, 0700, NULL);
    for (unsigned n = 1; !rc && n < 100000; n++) {
        snprintf(ret_name, UPLOAD_NAME + 8, n > 1 ? "%s.%u" : "%s", up->name, n);
        snprintf(to, sizeof(to), "%s/%s", folder, ret_name);
        if (link(from, to) == 0) {
            file_sync_folder_of(to);
            return 0;
        }
        if (errno != EEXIST)
            rc = -errno;
    }
    return rc ? rc : -EEXIST;
}

int upload_finish(struct uploads *u, const struct upload *up, char *ret_name)
{
    char path[PATH];
    uint8_t have[32];
    part_path(path, u, up->id, "part");
    int rc = up->has_sha ? digest(path, have) : 0;
    if (!rc && up->has_sha && memcmp(have, up->sha, 32))
        rc = -EBADMSG;
    return rc ? rc : place(u, up, path, ret_name);
}

void upload_delete(struct uploads *u, const struct upload *up)
{
    char path[PATH];
    part_path(path, u, up->id, "json");
    unlink(path);
    part_path(path, u, up->id, "part");
    unlink(path);
}
