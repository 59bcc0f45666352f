#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(struct error *err, const char *path, const char *what)
{
    int code = errno;
    return error_set(err, code, "%s: %s: %s", path, what, strerror(code));
}

int file_map_open(struct file_map *ret, const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, path, "cannot open");
    struct stat st;
    int rc = 0;
    struct file_map m = {0};
    if (fstat(fd, &st)) {
        rc = fail(err, path, "cannot stat");
    } else if (!S_ISREG(st.st_mode)) {
        rc = error_set(err, EINVAL, "%s: not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rc = fail(err, path, "cannot map");
        else
            m = (struct file_map){p, (size_t)st.st_size};
    }
    close(fd);
    if (!rc)
        *ret = m;
    return rc;
}

void file_map_close(struct file_map *m)
{
    if (m->data)
        munmap((void *)m->data, m->size);
    *m = (struct file_map){0};
}

int file_read(struct buf *ret, const char *path, size_t most, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, path, "cannot open");
    size_t start = ret->len;
    int rc = 0;
    for (;;) {
        if (buf_reserve(ret, 65536)) {
            rc = error_set(err, ENOMEM, "%s: out of memory", path);
            break;
        }
        ssize_t n = read(fd, ret->data + ret->len, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = fail(err, path, "cannot read");
        if (n <= 0)
            break;
        ret->len += (size_t)n;
        if (ret->len - start > most) {
            rc = error_set(err, EFBIG, "%s: larger than %zu bytes", path, most);
            break;
        }
    }
    close(fd);
    if (rc)
        ret->len = start;
    return rc;
}

int file_write_all(int fd, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int file_new_open(struct file_new *ret, const char *path, mode_t mode, struct error *err)
{
    struct file_new f = {.fd = -1};
    if ((size_t)snprintf(f.path, sizeof(f.path), "%s", path) >= sizeof(f.path) ||
        (size_t)snprintf(f.temporary, sizeof(f.temporary), "%s.new-XXXXXX", path) >= sizeof(f.temporary))
        return error_set(err, ENAMETOOLONG, "path too long");
    f.fd = mkostemp(f.temporary, O_CLOEXEC);
    if (f.fd < 0)
        return fail(err, path, "cannot create a file there");
    if (fchmod(f.fd, mode)) {
        int rc = fail(err, path, "cannot set its mode");
        file_new_abandon(&f);
        return rc;
    }
    *ret = f;
    return 0;
}

void file_sync_folder_of(const char *path)
{
    char copy[4096];
    snprintf(copy, sizeof(copy), "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

int file_new_commit(struct file_new *f, struct error *err)
{
    int rc = 0;
    if (fsync(f->fd) || rename(f->temporary, f->path))
        rc = fail(err, f->path, "cannot write");
    if (rc) {
        file_new_abandon(f);
        return rc;
    }
    close(f->fd);
    f->fd = -1;
    file_sync_folder_of(f->path);
    return 0;
}

void file_new_abandon(struct file_new *f)
{
    if (f->fd < 0)
        return;
    close(f->fd);
    unlink(f->temporary);
    f->fd = -1;
}

int file_write(const char *path, const void *bytes, size_t len, mode_t mode, struct error *err)
{
    struct file_new f;
    int rc = file_new_open(&f, path, mode, err);
    if (rc)
        return rc;
    rc = file_write_all(f.fd, bytes, len);
    if (rc) {
        file_new_abandon(&f);
        return error_set(err, -rc, "%s: cannot write: %s", path, strerror(-rc));
    }
    return file_new_commit(&f, err);
}

int file_make_dir(const char *path, mode_t mode, struct error *err)
{
    char copy[4096];
    if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
        return error_set(err, ENAMETOOLONG, "path too long");
    for (char *p = copy + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char was = *p;
        *p = 0;
        if (mkdir(copy, mode) && errno != EEXIST)
            return fail(err, copy, "cannot make this folder");
        *p = was;
        if (!was)
            break;
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return error_set(err, ENOTDIR, "%s: not a folder", path);
    return 0;
}
