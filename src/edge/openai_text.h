/* From a run of token bytes to the text a client gets: whole characters only, and never any part of a stop string. Text
 * that could still become a stop string is held back until it cannot. Pure. */
#ifndef MERIDIAN_EDGE_OPENAI_TEXT_H
#define MERIDIAN_EDGE_OPENAI_TEXT_H

#include "base/buf.h"
#include "edge/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPENAI_STOPS_MOST      4
#define OPENAI_STOP_BYTES_MOST 512

struct openai_stop {
    const char *text; /* not empty */
    size_t len;
};

struct openai_text {
    const struct openai_stop *stops; /* borrowed */
    size_t n_stops;
    struct utf8 utf8;
    struct buf held; /* characters that may not go out yet */
    size_t total;    /* bytes of text so far, released or held */
    size_t released; /* bytes let go */
    size_t chars;    /* characters in `total` */
    bool stopped;    /* a stop string came; nothing more will */
};

void openai_text_init(struct openai_text *t, const struct openai_stop *stops, size_t n_stops);
void openai_text_done(struct openai_text *t);

/* Takes the bytes of one token, appends what may go out to *ret. After `stopped` it takes nothing. -ENOMEM. */
int openai_text_push(struct openai_text *t, const void *bytes, size_t len, struct buf *ret);
int openai_text_flush(struct openai_text *t, struct buf *ret); /* at the end of generation: what is held goes out */

#endif
