/* Generation on campus: many requests at once over head, middle and tail. The engine owns one thread; requests are
 * submitted from any thread and their tokens come back through callbacks on the engine's thread (be quick there, do not
 * block, do not call the engine's functions except engine_cancel).
 *
 * Continuous batching: whatever is ready runs together. Admission before start: a request that does not fit waits in
 * line (bounded) or is refused. A lost middle is replayed from the tokens; clients notice only the time. */
#ifndef MERIDIAN_SPLIT_ENGINE_H
#define MERIDIAN_SPLIT_ENGINE_H

#include "base/error.h"
#include "compute/sample.h"
#include "model/gguf_file.h"
#include "model/params.h"
#include "model/tokenizer.h"
#include "split/middle.h"

#include <stdbool.h>
#include <stdint.h>

struct engine_config {
    uint32_t n_threads;      /* 0: the machine's cores */
    uint64_t kv_rows;        /* positions held on campus over all requests; 0: 16 × the model's context, at most 64k */
    uint32_t max_running;    /* requests generating at once; 0: 32 */
    uint32_t max_waiting;    /* requests in line; 0: 256 */
    uint32_t prefill_rows;   /* rows of a prefill chunk; 0: 128 */
    int64_t down_timeout_ns; /* how long a request waits for a lost cloud before it fails; 0: 120 s */
    bool plain;              /* one token a trip: no guessing ahead (speculate.h), whatever the distance */
};

enum engine_end { ENGINE_STOP, ENGINE_LENGTH, ENGINE_CANCELLED, ENGINE_FAILED };

struct engine_token {
    int32_t id;
    float logprob;
    uint32_t n_top;
    const struct sample_logprob *top; /* valid during the callback */
};

struct engine_request {
    const int32_t *tokens; /* the prompt, copied; at least one */
    uint32_t n_tokens;
    uint32_t max_tokens; /* to generate, at least one */
    struct sample_params sampling;
    uint32_t n_top;  /* most likely tokens wanted beside each, <= 20 */
    bool ignore_end; /* do not stop at the vocabulary's end tokens (benchmarks) */
    /* Every token but the end token that stops the request. False: stop here (ends with ENGINE_STOP). */
    bool (*on_token)(void *user, const struct engine_token *t);
    void (*on_end)(void *user, enum engine_end why, const char *text); /* exactly once per accepted request */
    void *user;
};

struct engine_stats {
    uint64_t requests, finished, failed, refused;
    uint64_t prompt_tokens, generated_tokens, replayed_tokens;
    uint64_t drafts, drafts_right; /* guesses sent ahead, and those that were right */
    uint32_t running, waiting;
    uint64_t kv_rows, kv_rows_free;
    double busy_s; /* engine thread computing */
    struct middle_stats middle;
    char trouble[512]; /* why nothing can be generated just now, for people; "": nothing known, or all is well */
};

struct engine;

/* `t` may be NULL: no token ends an answer. `edge`: the edge half (or a whole model, run as head and tail around `middle`, or wholly here when `middle` is NULL).
 * Takes the middle over and frees it. The file and the tokenizer stay the caller's and must outlive the engine. */
int engine_create(struct engine **ret, const struct gguf_file *edge, const struct model_params *p,
    const struct tokenizer *t, struct middle *middle, const struct engine_config *cfg, struct error *err);
void engine_free(struct engine *e); /* ends running requests with ENGINE_CANCELLED */

/* -EBUSY: the line is full, try again later. -E2BIG: prompt + max_tokens do not fit the context. -EINVAL. -EIO: the
 * middle failed for good; the text says why. */
int engine_submit(struct engine *e, const struct engine_request *r, uint64_t *ret_id, struct error *err);
void engine_cancel(struct engine *e, uint64_t id); /* any thread; on_end follows unless it already came */
void engine_stats(struct engine *e, struct engine_stats *ret);
uint32_t engine_context(const struct engine *e); /* most positions of one request */

#endif
