/* API keys: who may ask. The file holds a name, a salt and a salted SHA-256 a line, never a key; a key is 256 random
 * bits, so a fast hash is enough. The file is looked at again whenever it changes: adding or removing a key needs no
 * restart. */
#ifndef MERIDIAN_EDGE_KEYS_H
#define MERIDIAN_EDGE_KEYS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_NAME_MOST 64 /* letters, digits, "-", "_", "." */
#define KEYS_MOST     4096

struct key_entry {
    char name[KEY_NAME_MOST + 1];
    uint8_t salt[16], hash[32];
    int64_t made; /* seconds since 1970 */
};

/* --- the file, as the `edge key` verbs use it --- */

/* Makes a key and appends its hash; the file is created with mode 0600. `ret` is the key, shown once. -EEXIST. */
int keys_file_add(const char *path, const char *name, char ret[64], struct error *err);
int keys_file_remove(const char *path, const char *name, struct error *err); /* -ENOENT */
/* Entries in file order; *ret is malloc'ed. A file that is not there is empty. A line that is not a key is -EINVAL. */
int keys_file_list(const char *path, struct key_entry **ret, size_t *ret_n, struct error *err);

/* --- the running edge --- */

struct keys;
int keys_open(struct keys **ret, const char *path, struct error *err); /* path NULL: no keys, ever */
void keys_close(struct keys *k);
bool keys_any(struct keys *k);
/* `authorization`: the header's value ("Bearer KEY") or NULL. The key's name, or false. Takes the same time for every
 * wrong key. Any thread. */
bool keys_check(struct keys *k, const char *authorization, char ret_name[KEY_NAME_MOST + 1]);

#endif
