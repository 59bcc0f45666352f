/* The body of /v1/chat/completions and /v1/completions: JSON in, one checked struct out. Pure. Every field that we know is
 * checked for type and range, what we do not do is refused by name, unknown fields are ignored. */
#ifndef MERIDIAN_EDGE_OPENAI_REQUEST_H
#define MERIDIAN_EDGE_OPENAI_REQUEST_H

#include "base/buf.h"
#include "compute/sample.h"
#include "edge/openai_error.h"
#include "edge/openai_text.h"
#include "model/chat_template.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#define OPENAI_TOP_LOGPROBS_MOST 20
#define OPENAI_BIAS_MOST         1024

enum openai_kind { OPENAI_CHAT, OPENAI_COMPLETION };

/* One prompt of /v1/completions: text, or token ids (then text is NULL). */
struct openai_prompt {
    const char *text;
    size_t len;
    const int32_t *ids;
    size_t n_ids;
};

struct openai_limits {
    uint32_t choices_most; /* n times the number of prompts */
    uint32_t n_vocab;
};

struct openai_request {
    enum openai_kind kind;
    const char *model;
    bool stream, include_usage, echo, logprobs, seed_given;
    uint32_t max_tokens; /* 0: not given */
    uint32_t n;
    uint32_t top_logprobs;         /* most likely tokens beside each; <= 20 */
    struct sample_params sampling; /* bias points into `biases`; choice 0 */
    struct openai_stop stops[OPENAI_STOPS_MOST];
    size_t n_stops;

    struct chat_message *messages; /* chat */
    size_t n_messages;
    struct openai_prompt *prompts; /* completions; at least one */
    size_t n_prompts;

    /* What the pointers above point into. */
    yyjson_doc *doc;
    struct sample_bias *biases;
    char *joined;
    int32_t *ids;
};

/* 0, or -1 with *ret_error. On success openai_request_done frees; on failure there is nothing to free. */
int openai_request_parse(struct openai_request *ret, enum openai_kind kind, const void *body, size_t len,
    const struct openai_limits *limits, struct openai_error *ret_error);
void openai_request_done(struct openai_request *r);

#endif
