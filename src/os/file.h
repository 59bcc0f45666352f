/* Files: read or mapped whole, written all or nothing. Paths are UTF-8 C strings; errors name the path. */
#ifndef MERIDIAN_OS_FILE_H
#define MERIDIAN_OS_FILE_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct file_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
};

/* Maps a regular file read-only. The map stays valid when the file is replaced by rename. */
int file_map_open(struct file_map *ret, const char *path, struct error *err);
void file_map_close(struct file_map *m);

/* Reads a whole file of at most `most` bytes into *ret (appended). -EFBIG if larger. */
int file_read(struct buf *ret, const char *path, size_t most, struct error *err);

/* Replaces `path` by these bytes with this mode: temporary file, fsync, rename, fsync of the folder. A reader or a
 * crash sees the old file or the new one, never a part. */
int file_write(const char *path, const void *bytes, size_t len, mode_t mode, struct error *err);

/* The same for a writer that streams: open a temporary beside `path`, write to *ret_fd, then commit or abandon. */
struct file_new {
    int fd;
    char path[4096], temporary[4096];
};
int file_new_open(struct file_new *ret, const char *path, mode_t mode, struct error *err);
int file_new_commit(struct file_new *f, struct error *err); /* fsync + rename; abandons on failure */
void file_new_abandon(struct file_new *f);                  /* closes and unlinks; safe to call twice */

/* Makes a rename of `path` last through a power cut; what the file system cannot do is left undone. */
void file_sync_folder_of(const char *path);

/* mkdir -p with this mode for what it makes. */
int file_make_dir(const char *path, mode_t mode, struct error *err);

/* write(2) until all is written; -errno. */
int file_write_all(int fd, const void *bytes, size_t len);

#endif
