/* What the engine's own files share. Nobody else includes this.
 *
 * A sequence is one request's life: in line, then in a slot with room on campus, opening in the middle, running. Four
 * positions describe how far it is; all count tokens from the start of the prompt:
 *
 *   returned <= sent      rows the middle has answered / rows the head has computed (in flight between the two)
 *   tail_next             rows the tail holds or is about to (never falls when the middle is replayed)
 *   known                 tokens that are certain: the prompt and what was generated
 *
 * sent < known: there is something to run (known - sent == 1: a decode step; more: prefill or replay).
 * sent > known: tokens[known..sent) are guesses under way (speculate.h); the first wrong one cuts everything back. */
#ifndef MERIDIAN_SPLIT_ENGINE_STATE_H
#define MERIDIAN_SPLIT_ENGINE_STATE_H

#include "compute/infer.h"
#include "split/engine.h"
#include "split/speculate.h"

#include <pthread.h>
#include <stdatomic.h>

enum seq_state {
    SEQ_LINE,    /* waits for room on campus */
    SEQ_OPENING, /* has room here, asked the middle */
    SEQ_REFUSED, /* the middle has no room now: ask again when a session closes */
    SEQ_RUNNING,
};

struct seq {
    struct seq *next;               /* in the inbox or the line */
    struct seq *all_next, **all_at; /* in engine.all, under engine.lock */
    uint64_t id;
    struct engine_request r; /* pointers lead to our own copies */
    int32_t *tokens;         /* [n_prompt + max_tokens] */
    uint32_t n_prompt, known;
    atomic_bool cancelled;
    enum seq_state state;
    int64_t since_ns;           /* submitted */
    int32_t head_seq, tail_seq; /* -1: not open */
    uint32_t session;           /* 0: none */
    uint32_t epoch, sent, returned, tail_next;
    uint32_t replay_to; /* rows below are sent again after a loss */
    struct speculate_seq speculate;
};

/* Rows of one sequence, lying together in a batch. */
struct piece {
    struct seq *s; /* NULL: forgotten meanwhile */
    uint32_t pos0, n, row0;
};

/* Rows gathered for one infer_run, and their vectors before (tail) or after (head). */
struct batch {
    uint32_t n, cap; /* rows */
    uint32_t n_want;
    uint32_t n_pieces, cap_pieces;
    uint32_t next_piece; /* head: the first piece not yet handed to the middle */
    struct infer_row *rows;
    struct piece *pieces;
    float *x; /* [cap][d], NULL when the model runs whole */
};

struct engine {
    struct model_params p;
    const struct tokenizer *tokenizer; /* NULL: no end tokens */
    struct engine_config cfg;
    struct middle *middle;     /* NULL: everything runs in `tail` */
    struct infer *head, *tail; /* head NULL without a middle */
    uint32_t context;

    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock; /* everything from here to the blank line */
    pthread_cond_t changed;
    struct seq *all, *inbox, **inbox_end;
    uint64_t last_id;
    uint32_t waiting; /* submitted, not in a slot */
    bool stop, woken;
    struct middle_stats middle_stats;
    char failed[512];    /* why the middle is gone for good; "" */
    char down_text[512]; /* why there is no connection to it; ""; written by the engine's thread only */

    atomic_bool cancels; /* some sequence has `cancelled` set */
    atomic_ullong requests, finished, failures, refused, prompt_tokens, generated_tokens, replayed_tokens, drafts,
        drafts_right, busy_ns, kv_free;
    atomic_uint running;

    /* From here on: the engine's thread only. */
    struct seq *line, **line_end;
    struct seq **slots; /* [cfg.max_running] */
    uint32_t n_slots, prefill_turn, decode_turn;
    uint32_t last_session, n_refused;
    bool ask_again;
    int64_t ask_again_ns;
    bool down, told_away; /* told_away: the log has said that the cloud is away */
    int64_t down_since_ns, stats_ns;
    struct batch decode, prefill, back; /* head's two, and the tail's */
    uint32_t want_cap, most_drafts;     /* most_drafts 0: no speculation */
    float *logits;                      /* [want_cap][n_vocab] */
    void *scratch;                      /* sample_token's */
    struct sample_logprob top[20];
    struct speculate_cost cost;
};

/* engine_seq.c: a sequence's life */
int seq_create(struct seq **ret, const struct engine *e, const struct engine_request *r, struct error *err);
void seq_free(struct seq *s);
void engine_admit(struct engine *e, int64_t now_ns);
void engine_opened(struct engine *e, struct seq *s);
void engine_refused(struct engine *e, struct seq *s, const struct middle_event *ev, int64_t now_ns);
void engine_lost(struct engine *e, struct seq *s, int64_t now_ns);
void engine_cut_back(struct engine *e, struct seq *s, uint32_t len); /* forget every position >= len, everywhere */
void engine_end(struct engine *e, struct seq *s, enum engine_end why, const char *text); /* frees s */
void engine_end_all(struct engine *e, enum engine_end why, const char *text);
void engine_reap_cancelled(struct engine *e);
void engine_fail_waiting(struct engine *e, int64_t now_ns);      /* those the cloud kept waiting for too long */
int64_t engine_deadline(const struct engine *e, int64_t now_ns); /* ns until something must be looked at again */
struct seq *engine_find_session(struct engine *e, uint32_t session);

/* engine_batch.c: rows through head, middle, tail */
int batch_init(struct batch *b, uint32_t rows, uint32_t pieces, uint32_t d);
void batch_done(struct batch *b);
void batch_forget(struct batch *b, const struct seq *s);
bool engine_has_room_back(const struct engine *e); /* for one more answer of the middle */
void engine_take_vectors(struct engine *e, struct seq *s, const struct middle_event *ev);
bool engine_run_tail(struct engine *e); /* false: there was nothing to do, in these four */
bool engine_run_decode(struct engine *e, int64_t now_ns);
bool engine_run_prefill(struct engine *e);
bool engine_run_whole(struct engine *e); /* without a middle */

#endif
