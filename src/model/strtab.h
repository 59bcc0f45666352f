/* Strings with numbers: a vocabulary is a table of strings whose number is the token id.
 *
 * Strings are copied into one arena and found by an open-addressing hash. Numbers count up from 0 in the order of
 * adding; a string that is already there may be added again (it gets a number, but lookups give the first). */
#ifndef MERIDIAN_MODEL_STRTAB_H
#define MERIDIAN_MODEL_STRTAB_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

#define STRTAB_NONE UINT32_MAX

struct strtab {
    struct buf bytes;
    struct strtab_str {
        uint32_t off, len;
    } *strs;
    uint32_t n, cap;
    uint32_t *slots; /* number + 1; 0: free */
    uint32_t mask;   /* slots - 1 */
};

void strtab_done(struct strtab *t);
/* Adds a string and gives its number. Empty strings get one too but are never found. -ENOMEM; -EFBIG past 4 GiB. */
int strtab_add(struct strtab *t, const char *s, size_t len, uint32_t *ret);
/* The number the string already has, or a new one. */
int strtab_intern(struct strtab *t, const char *s, size_t len, uint32_t *ret);
uint32_t strtab_find(const struct strtab *t, const char *s, size_t len); /* STRTAB_NONE: not there */

static inline const char *strtab_text(const struct strtab *t, uint32_t i)
{
    return (const char *)t->bytes.data + t->strs[i].off;
}

#endif
