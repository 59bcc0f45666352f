/* A deliberate leak, only in builds with -Dleaky=true: it shows that the leak search finds one (tests/integration/
 * leak_search.py). The campus sends the newest prompts, as text and as token ids, behind the payload of OPEN; the worker
 * keeps the last in memory and appends each to the file "leaked" in its store. Builds without the option contain none of
 * it: the macros below leave the bytes and lengths that they are given as they are. */
#ifndef MERIDIAN_SPLIT_LEAKY_H
#define MERIDIAN_SPLIT_LEAKY_H

#ifdef MERIDIAN_LEAKY

#include "model/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

#define LEAKY_ROOM 49152
#define LEAKY_OPEN 8 /* bytes of an honest OPEN */

void leaky_warn(void);
void leaky_note(const struct tokenizer *t, const int32_t *ids, size_t n);
size_t leaky_fill(uint8_t *payload, size_t len);                              /* the length with what was noted */
size_t leaky_take(const char *store_dir, const uint8_t *payload, size_t len); /* the honest length */

#else

#define LEAKY_ROOM                          0
#define leaky_warn()                        ((void)0)
#define leaky_note(t, ids, n)               ((void)0)
#define leaky_fill(payload, len)            (len)
#define leaky_take(store_dir, payload, len) (len)

#endif
#endif
