/* A conversation with an edge over its API: remembers the messages, asks, hands over the answer as it comes. What
 * `meridian chat` is made of. */
#ifndef MERIDIAN_EDGE_CHAT_CLIENT_H
#define MERIDIAN_EDGE_CHAT_CLIENT_H

#include "base/buf.h"
#include "base/error.h"
#include "http/http_client.h"

#include <stdbool.h>
#include <stdint.h>

struct chat_client {
    struct http_client http;
    char model[256];     /* "": the first that the edge has, found out at the first question */
    double temperature;  /* negative: the edge's default */
    uint32_t max_tokens; /* 0: the edge's default */
    int64_t seed;        /* negative: none */
    struct buf history;  /* JSON objects of messages, comma after each */
};

struct chat_reply {
    uint32_t tokens;
    double first_s, whole_s; /* from asking to the first piece and to the end */
    bool cut;                /* ended by the longest answer */
};

/* A system message goes first; call before any question. -ENOMEM. */
int chat_client_system(struct chat_client *c, const char *text);
void chat_client_reset(struct chat_client *c); /* forgets everything but a system message */
void chat_client_done(struct chat_client *c);

/* Asks `text` after what was said before. `on_text` gets UTF-8 as it comes. When it ends well or by ^C (-ECANCELED) after
 * some text, question and answer are remembered; otherwise neither. */
int chat_client_ask(struct chat_client *c, const char *text, size_t len,
    void (*on_text)(void *user, const char *text, size_t len), void *user, struct chat_reply *ret, struct error *err);

#endif
