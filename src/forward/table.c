/* Linear probing; a deletion moves later entries of the run back over the gap. */
#include "forward/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int table_init(struct table *t, uint32_t key_size, uint32_t most, uint64_t seed)
{
    uint32_t places = 8;
    assert(key_size && key_size % 8 == 0 && key_size <= TABLE_KEY_MOST && most && most <= 1u << 30);
    while (places / 2 < most)
        places *= 2;
    *t = (struct table){.mask = places - 1, .most = most, .key_size = key_size, .seed = seed};
    t->keys = malloc((size_t)places * key_size);
    t->values = malloc(places * sizeof(*t->values));
    if (!t->keys || !t->values) {
        table_done(t);
        return -ENOMEM;
    }
    memset(t->values, 0xff, places * sizeof(*t->values));
    return 0;
}

void table_done(struct table *t)
{
    free(t->keys);
    free(t->values);
    *t = (struct table){0};
}

static uint8_t *key_at(const struct table *t, uint32_t i)
{
    return t->keys + (size_t)i * t->key_size;
}

/* The key's place, or the free one where it would go. */
static uint32_t place_of(const struct table *t, const void *key)
{
    uint32_t i = table_place(t, key);
    while (t->values[i] != TABLE_NONE && memcmp(key_at(t, i), key, t->key_size))
        i = (i + 1) & t->mask;
    return i;
}

int table_set(struct table *t, const void *key, uint32_t value)
{
    assert(value != TABLE_NONE);
    uint32_t i = place_of(t, key);
    if (t->values[i] == TABLE_NONE) {
        if (t->n == t->most)
            return -ENOSPC;
        t->n++;
        memcpy(key_at(t, i), key, t->key_size);
    }
    t->values[i] = value;
    return 0;
}

uint32_t table_del(struct table *t, const void *key)
{
    uint32_t gap = place_of(t, key), old = t->values[gap];
    if (old == TABLE_NONE)
        return TABLE_NONE;
    for (uint32_t i = (gap + 1) & t->mask; t->values[i] != TABLE_NONE; i = (i + 1) & t->mask) {
        uint32_t home = table_place(t, key_at(t, i));
        /* It may move to the gap unless its home lies behind the gap (all distances counted round the table). */
        if (((i - home) & t->mask) < ((i - gap) & t->mask))
            continue;
        memcpy(key_at(t, gap), key_at(t, i), t->key_size);
        t->values[gap] = t->values[i];
        gap = i;
    }
    t->values[gap] = TABLE_NONE;
    t->n--;
    return old;
}
