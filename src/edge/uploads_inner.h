/* Inside the uploads: the one list of those that are not finished, and what lies on disk of each. */
#ifndef MERIDIAN_EDGE_UPLOADS_INNER_H
#define MERIDIAN_EDGE_UPLOADS_INNER_H

#include "edge/keys.h"
#include "edge/uploads.h"

#include <pthread.h>
#include <stdbool.h>

#define UPLOAD_ID   32  /* hexadecimal digits */
#define UPLOAD_NAME 200 /* bytes of a file's name */

struct upload {
    struct upload *next;
    char id[UPLOAD_ID + 1], key[KEY_NAME_MOST + 1], name[UPLOAD_NAME + 1];
    uint64_t length, offset;
    bool has_sha;
    uint8_t sha[32];
    bool busy; /* one request at a time writes */
};

struct uploads {
    struct uploads_config config;
    char *dir;
    pthread_mutex_t lock; /* around the list */
    struct upload *first;
};

/* uploads_disk.c; -errno. */
int upload_load_all(struct uploads *u, struct error *err);
int upload_create(struct uploads *u, const struct upload *up);
/* Appends at its offset, which it moves on. */
int upload_append(struct uploads *u, struct upload *up, const void *bytes, size_t len);
/* -EBADMSG: its bytes are not those that were announced. *ret_name (UPLOAD_NAME + 8 bytes): what it is called now. */
int upload_finish(struct uploads *u, const struct upload *up, char *ret_name);
void upload_delete(struct uploads *u, const struct upload *up);

/* A name without folders, hidden files and control characters; false: there is none in it. */
bool upload_name_clean(char ret[UPLOAD_NAME + 1], const char *name, size_t len);

#endif
