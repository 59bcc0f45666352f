/* Answers as JSON text: the chunks of a stream and whole replies, for chat and for completions. A chunk is written
 * straight into a buffer that keeps its room, so a token costs no allocation. Pure. */
#ifndef MERIDIAN_EDGE_OPENAI_JSON_H
#define MERIDIAN_EDGE_OPENAI_JSON_H

#include "base/buf.h"
#include "compute/sample.h"
#include "edge/openai_request.h"
#include "model/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is the same in every chunk of one answer. */
struct openai_frame {
    enum openai_kind kind;
    char id[48];
    int64_t created; /* seconds since 1970 */
    const char *model, *fingerprint;
    bool include_usage; /* chunks carry "usage":null */
    const struct tokenizer *tokenizer;
};

/* One generated token, for logprobs. Offsets are into the choice's text. */
struct openai_entry {
    int32_t id;
    float logprob;
    size_t start, end; /* bytes */
    size_t start_char;
    uint32_t n_top;
    struct sample_logprob top[OPENAI_TOP_LOGPROBS_MOST];
};

struct openai_piece {
    uint32_t index;   /* of the choice */
    bool first;       /* chat: the chunk that names the role */
    const void *text; /* UTF-8 */
    size_t len;
    bool logprobs; /* were asked for */
    const struct openai_entry *entries;
    size_t n_entries;
    const char *finish; /* "stop", "length"; NULL: goes on */
};

struct openai_usage {
    uint64_t prompt_tokens, completion_tokens;
};

/* "data: {…}\n\n" of one choice; of usage alone; "[DONE]"; an error. -ENOMEM. */
int openai_json_chunk(const struct openai_frame *f, const struct openai_piece *p, struct buf *ret);
int openai_json_usage_chunk(const struct openai_frame *f, const struct openai_usage *u, struct buf *ret);
int openai_json_done(struct buf *ret);
int openai_json_error_chunk(const struct openai_error *e, struct buf *ret);

/* A whole reply: begin, then each choice in order, then end. */
int openai_json_begin(const struct openai_frame *f, struct buf *ret);
int openai_json_choice(const struct openai_frame *f, const struct openai_piece *p, struct buf *ret);
int openai_json_end(const struct openai_frame *f, const struct openai_usage *u, struct buf *ret);

/* GET /v1/models and /v1/models/{id}. */
int openai_json_models(const char *model, int64_t created, bool list, struct buf *ret);

#endif
