/* Generation over HTTP: a checked request becomes one engine request a choice, their tokens become the answer. Knows no
 * sockets; answers go into a `struct http_answer`. */
#ifndef MERIDIAN_EDGE_OPENAI_H
#define MERIDIAN_EDGE_OPENAI_H

#include "base/error.h"
#include "edge/metrics.h"
#include "edge/openai_request.h"
#include "http/http_answer.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"
#include "split/engine.h"

#include <stdint.h>

struct openai_config {
    struct engine *engine; /* these three outlive the struct openai */
    const struct tokenizer *tokenizer;
    struct metrics *metrics;
    enum chat_family family;         /* CHAT_NONE: chat is refused with one clear error */
    const char *model, *fingerprint; /* outlive it too */
    uint32_t default_max_tokens;     /* when a chat request names none; 0: 2048. At most what the context leaves */
    uint32_t choices_most;           /* of one request; 0: 16 */
    uint32_t per_key_most;           /* requests of one key at once; 0: 64 */
};

struct openai;

int openai_create(struct openai **ret, const struct openai_config *cfg, struct error *err);
/* Lets requests in the making go on for grace_ns, then ends them with a clear error, and waits until the engine has let
 * go of all; new ones are refused with 503 from the start. */
void openai_stop(struct openai *o, int64_t grace_ns);
void openai_free(struct openai *o); /* after openai_stop; NULL allowed */

/* `key`: whose request it is, "" for nobody's. */
void openai_generate(
    struct openai *o, enum openai_kind kind, const char *key, const void *body, size_t len, struct http_answer *a);

#endif
