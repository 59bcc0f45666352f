#include "edge/openai_text.h"

#include <string.h>

void openai_text_init(struct openai_text *t, const struct openai_stop *stops, size_t n_stops)
{
    *t = (struct openai_text){.stops = stops, .n_stops = n_stops};
}

void openai_text_done(struct openai_text *t)
{
    buf_done(&t->held);
}

/* Where the first stop string begins in what is held; false: none does. Matches that end within the first `old` bytes
 * were looked for before. */
static bool find_stop(const struct openai_text *t, size_t old, size_t *ret_at)
{
    bool found = false;
    for (size_t i = 0; i < t->n_stops; i++) {
        const struct openai_stop *s = &t->stops[i];
        size_t from = old + 1 > s->len ? old + 1 - s->len : 0;
        const uint8_t *at =
            t->held.len >= from + s->len ? memmem(t->held.data + from, t->held.len - from, s->text, s->len) : NULL;
        if (at && (!found || (size_t)(at - t->held.data) < *ret_at)) {
            *ret_at = (size_t)(at - t->held.data);
            found = true;
        }
    }
    return found;
}

/* How many bytes at the end of what is held are the beginning of some stop string. */
static size_t could_be_stop(const struct openai_text *t)
{
    size_t most = 0;
    for (size_t i = 0; i < t->n_stops; i++) {
        const struct openai_stop *s = &t->stops[i];
        size_t n = s->len - 1 < t->held.len ? s->len - 1 : t->held.len;
        while (n > most && memcmp(t->held.data + t->held.len - n, s->text, n))
            n--;
        if (n > most)
            most = n;
    }
    return most;
}

/* Lets the first n held bytes go. */
static int release(struct openai_text *t, size_t n, struct buf *ret)
{
    int rc = n ? buf_append(ret, t->held.data, n) : 0;
    if (rc)
        return rc;
    buf_consume(&t->held, n);
    t->released += n;
    return 0;
}

static int settle(struct openai_text *t, size_t old, struct buf *ret)
{
    size_t at;
    t->total += t->held.len - old;
    for (size_t i = old; i < t->held.len; i++)
        t->chars += (t->held.data[i] & 0xc0) != 0x80;
    if (find_stop(t, old, &at)) {
        t->stopped = true;
        int rc = release(t, at, ret);
        t->held.len = 0;
        return rc;
    }
    return release(t, t->held.len - could_be_stop(t), ret);
}

int openai_text_push(struct openai_text *t, const void *bytes, size_t len, struct buf *ret)
{
    size_t old = t->held.len;
    if (t->stopped)
        return 0;
    int rc = utf8_push(&t->utf8, bytes, len, &t->held);
    return rc ? rc : settle(t, old, ret);
}

int openai_text_flush(struct openai_text *t, struct buf *ret)
{
    size_t old = t->held.len;
    if (t->stopped)
        return 0;
    int rc = utf8_flush(&t->utf8, &t->held);
    if (!rc)
        rc = settle(t, old, ret);
    return rc || t->stopped ? rc : release(t, t->held.len, ret);
}
