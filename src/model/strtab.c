#include "model/strtab.h"

#include "base/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Eight bytes a step, mixed well enough that a hostile vocabulary gains little. */
static uint64_t hash_of(const char *s, size_t len)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ len, w;
    for (; len >= 8; s += 8, len -= 8) {
        memcpy(&w, s, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    w = 0;
    for (size_t i = 0; i < len; i++)
        w = w << 8 | (uint8_t)s[i];
    return rng_mix(h ^ w);
}

void strtab_done(struct strtab *t)
{
    buf_done(&t->bytes);
    free(t->strs);
    free(t->slots);
    *t = (struct strtab){0};
}

static void slot_put(struct strtab *t, uint32_t i)
{
    uint64_t h = hash_of(strtab_text(t, i), t->strs[i].len);
    while (t->slots[h & t->mask])
        h++;
    t->slots[h & t->mask] = i + 1;
}

uint32_t strtab_find(const struct strtab *t, const char *s, size_t len)
{
    if (!len || !t->slots)
        return STRTAB_NONE;
    for (uint64_t h = hash_of(s, len);; h++) {
        uint32_t i = t->slots[h & t->mask];
        if (!i)
            return STRTAB_NONE;
        if (t->strs[i - 1].len == len && memcmp(strtab_text(t, i - 1), s, len) == 0)
            return i - 1;
    }
}

/* Slots stay at most half full. */
static int grow(struct strtab *t)
{
    uint32_t cap = t->cap ? t->cap * 2 : 512;
    if (cap > UINT32_MAX / 16)
        return -EFBIG;
    struct strtab_str *strs = realloc(t->strs, cap * sizeof(*strs));
    if (!strs)
        return -ENOMEM;
    t->strs = strs;
    uint32_t *slots = calloc((size_t)cap * 2, sizeof(*slots)), *old = t->slots;
    if (!slots)
        return -ENOMEM;
    uint32_t old_n = t->slots ? t->mask + 1 : 0;
    t->slots = slots;
    t->mask = cap * 2 - 1;
    t->cap = cap;
    for (uint32_t i = 0; i < old_n; i++)
        if (old[i])
            slot_put(t, old[i] - 1);
    free(old);
    return 0;
}

int strtab_add(struct strtab *t, const char *s, size_t len, uint32_t *ret)
{
    if (len > UINT32_MAX || t->bytes.len + len > UINT32_MAX)
        return -EFBIG;
    int rc = t->n == t->cap ? grow(t) : 0;
    if (!rc)
        rc = buf_reserve(&t->bytes, len + 1); /* never a NULL arena, even for only empty strings */
    if (rc)
        return rc;
    uint32_t seen = strtab_find(t, s, len);
    t->strs[t->n] = (struct strtab_str){(uint32_t)t->bytes.len, (uint32_t)len};
    rc = buf_append(&t->bytes, s, len);
    if (rc)
        return rc;
    if (len && seen == STRTAB_NONE)
        slot_put(t, t->n);
    *ret = t->n++;
    return 0;
}

int strtab_intern(struct strtab *t, const char *s, size_t len, uint32_t *ret)
{
    uint32_t i = strtab_find(t, s, len);
    if (i == STRTAB_NONE)
        return strtab_add(t, s, len, ret);
    *ret = i;
    return 0;
}
