/* Rows through head, middle and tail, many sequences together.
 *
 * The head works in two lanes, each with vectors of its own: decode steps (urgent) and prefill chunks. When the middle's
 * window is full a lane keeps what it could not hand over and runs nothing new until that is gone, so what is under way
 * stays bounded and a full prefill lane never holds up a decode step. */
#include "split/engine_state.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PREFILL_CHUNKS_UNDER_WAY 8u

int batch_init(struct batch *b, uint32_t rows, uint32_t pieces, uint32_t d)
{
    b->cap = rows;
    b->cap_pieces = pieces;
    b->rows = calloc(rows, sizeof(*b->rows));
    b->pieces = calloc(pieces, sizeof(*b->pieces));
    b->x = d ? malloc(sizeof(float) * rows * d) : NULL;
    return !b->rows || !b->pieces || (d && !b->x) ? -ENOMEM : 0;
}

void batch_done(struct batch *b)
{
    free(b->rows);
    free(b->pieces);
    free(b->x);
    *b = (struct batch){0};
}

void batch_forget(struct batch *b, const struct seq *s)
{
    for (uint32_t i = 0; i < b->n_pieces; i++)
        if (b->pieces[i].s == s)
            b->pieces[i].s = NULL;
}

static void batch_clear(struct batch *b)
{
    b->n = b->n_want = b->n_pieces = b->next_piece = 0;
}

/* Rows pos0 … pos0+n-1 of `s`, tokens as known; the caller saw to the room. */
static struct piece *batch_add(struct batch *b, struct seq *s, int32_t infer_seq, uint32_t pos0, uint32_t n, bool tail)
{
    struct piece *piece = &b->pieces[b->n_pieces++];
    *piece = (struct piece){.s = s, .pos0 = pos0, .n = n, .row0 = b->n};
    for (uint32_t i = 0; i < n; i++) {
        bool want = tail && pos0 + i + 1 >= s->known;
        b->rows[b->n++] = (struct infer_row){
            .seq = infer_seq,
            .pos = (int32_t)(pos0 + i),
            .token = s->tokens[pos0 + i],
            .want = want,
        };
        b->n_want += want;
    }
    return piece;
}

/* `row_s` (may be NULL) learns what a row costs. */
static int run(
    struct engine *e, struct infer *x, struct batch *b, const float *in, float *out, double *row_s, struct error *err)
{
    int64_t began = clock_now_ns();
    int rc = infer_run(x, b->rows, b->n, in, out, err);
    int64_t took_ns = clock_now_ns() - began;
    atomic_fetch_add(&e->busy_ns, (unsigned long long)took_ns);
    if (row_s)
        speculate_measure(row_s, (double)took_ns / NS_PER_S / b->n);
    return rc;
}

/* Nothing of the batch ran: its requests end, the others go on. */
static void fail_batch(struct engine *e, struct batch *b, const struct error *err)
{
    for (uint32_t i = 0; i < b->n_pieces; i++)
        if (b->pieces[i].s) /* ending one forgets its other pieces */
            engine_end(e, b->pieces[i].s, ENGINE_FAILED, err->text);
    batch_clear(b);
}

/* --- tokens out of logits ---------------------------------------------------------------------------------------- */

static struct engine_token draw(struct engine *e, struct seq *s, uint32_t pos, const float *logits)
{
    struct sample_logprob c = sample_token(&s->r.sampling, logits, (int32_t)e->p.n_vocab, (int32_t)pos,
        s->tokens + s->n_prompt, pos - s->n_prompt, s->r.n_top, s->r.n_top ? e->top : NULL, e->scratch);
    return (struct engine_token){.id = c.token, .logprob = c.logprob, .n_top = s->r.n_top, .top = e->top};
}

/* The logits after position `pos` give the token at pos + 1. False: the sequence ended, or was cut back. */
static bool take_logits(struct engine *e, struct seq *s, uint32_t pos, const float *logits)
{
    struct engine_token t = draw(e, s, pos + 1, logits);
    bool guessed = pos + 1 < s->sent, right = guessed && s->tokens[pos + 1] == t.id;
    if (!s->r.ignore_end && e->tokenizer && tokenizer_is_end(e->tokenizer, t.id)) {
        engine_end(e, s, ENGINE_STOP, "");
        return false;
    }
    s->tokens[pos + 1] = t.id;
    s->known = pos + 2;
    atomic_fetch_add(&e->generated_tokens, 1);
    bool more = s->r.on_token(s->r.user, &t);
    if (!more || s->known == s->n_prompt + s->r.max_tokens) {
        engine_end(e, s, more ? ENGINE_LENGTH : ENGINE_STOP, "");
        return false;
    }
    if (guessed) {
        speculate_learn(&e->cost, &s->speculate, right);
        atomic_fetch_add(&e->drafts_right, right);
    } else {
        speculate_fade(&s->speculate);
    }
    if (guessed && !right) {
        engine_cut_back(e, s, pos + 1);
        e->middle->ops->cancel(e->middle, s->session, ++s->epoch);
        return false;
    }
    return true;
}

/* After a run of the tail: logits lie in row order, wanted rows only. */
static void take_batch_logits(struct engine *e, struct batch *b)
{
    const float *logits = e->logits;
    for (uint32_t i = 0; i < b->n_pieces; i++) {
        struct piece *piece = &b->pieces[i];
        for (uint32_t k = 0; k < piece->n; k++) {
            if (!b->rows[piece->row0 + k].want)
                continue;
            const float *mine = logits;
            logits += e->p.n_vocab;
            if (piece->s && !take_logits(e, piece->s, piece->pos0 + k, mine))
                piece->s = NULL; /* it ended, or an earlier row was guessed wrong: what follows is void */
        }
    }
}

/* --- the tail ---------------------------------------------------------------------------------------------------- */

bool engine_has_room_back(const struct engine *e)
{
    const struct batch *b = &e->back;
    return b->cap - b->n >= e->cfg.prefill_rows && b->cap - b->n > e->most_drafts && b->n_pieces < b->cap_pieces &&
           e->want_cap - b->n_want > e->most_drafts;
}

static void measure_trip(struct engine *e, struct seq *s, uint32_t n)
{
    if (s->speculate.sent_ns && s->returned + n == s->sent) {
        double trip_s = (double)(clock_now_ns() - s->speculate.sent_ns) / NS_PER_S, rtt_s = e->cost.rtt_s;
        speculate_measure(&e->cost.trip_s, trip_s > rtt_s ? rtt_s + (trip_s - rtt_s) / n : trip_s);
    }
    s->speculate.sent_ns = 0;
}

void engine_take_vectors(struct engine *e, struct seq *s, const struct middle_event *ev)
{
    if (ev->n == 0 || ev->pos0 != s->returned || ev->n > s->sent - s->returned || ev->n > e->back.cap - e->back.n) {
        engine_end(e, s, ENGINE_FAILED, "the cloud answered rows it was not asked for: its software does not fit ours");
        return;
    }
    measure_trip(e, s, ev->n);
    uint32_t skip = s->tail_next > ev->pos0 ? s->tail_next - ev->pos0 : 0; /* replayed: the tail has them */
    s->returned += ev->n;
    if (skip >= ev->n)
        return;
    uint32_t n = ev->n - skip;
    struct piece *piece = batch_add(&e->back, s, s->tail_seq, ev->pos0 + skip, n, true);
    memcpy(e->back.x + (size_t)piece->row0 * e->p.d, ev->x + (size_t)skip * e->p.d, sizeof(float) * n * e->p.d);
    s->tail_next += n;
}

/* Rows of sequences that ended or were cut back while they waited must not reach the tail. */
static void squeeze(struct batch *b, uint32_t d)
{
    uint32_t n = 0, n_pieces = 0;
    b->n_want = 0;
    for (uint32_t i = 0; i < b->n_pieces; i++) {
        struct piece piece = b->pieces[i];
        if (!piece.s)
            continue;
        memmove(b->rows + n, b->rows + piece.row0, sizeof(*b->rows) * piece.n);
        if (d)
            memmove(b->x + (size_t)n * d, b->x + (size_t)piece.row0 * d, sizeof(float) * piece.n * d);
        for (uint32_t k = 0; k < piece.n; k++)
            b->n_want += b->rows[n + k].want;
        piece.row0 = n;
        n += piece.n;
        b->pieces[n_pieces++] = piece;
    }
    b->n = n;
    b->n_pieces = n_pieces;
}

bool engine_run_tail(struct engine *e)
{
    struct batch *b = &e->back;
    struct error err = {""};
    if (!b->n)
        return false;
    squeeze(b, e->p.d);
    if (b->n && run(e, e->tail, b, b->x, e->logits, b->n == b->n_want ? &e->cost.tail_s : NULL, &err))
        fail_batch(e, b, &err);
    take_batch_logits(e, b);
    batch_clear(b);
    return true;
}

/* One row to run and nothing under way: urgent. (A prefill's last row alone is not: it must not overtake the others.) */
static bool in_decode(const struct seq *s)
{
    return s->state == SEQ_RUNNING && s->sent + 1 == s->known && s->returned == s->sent;
}

static bool in_prefill(const struct seq *s)
{
    return s->state == SEQ_RUNNING && s->sent < s->known && !in_decode(s);
}

/* --- the head ---------------------------------------------------------------------------------------------------- */

/* Hands over what the lane holds. True: the lane is empty now. */
static bool hand_over(struct engine *e, struct batch *b, bool urgent, bool *ret_any)
{
    for (; b->next_piece < b->n_pieces; b->next_piece++) {
        struct piece *piece = &b->pieces[b->next_piece];
        struct seq *s = piece->s;
        if (!s)
            continue;
        int rc = e->middle->ops->forward(
            e->middle, s->session, s->epoch, piece->pos0, piece->n, b->x + (size_t)piece->row0 * e->p.d, urgent);
        if (rc == -ENOBUFS)
            return false;
        *ret_any = true;
        if (rc)
            engine_end(e, s, ENGINE_FAILED, strerror(-rc));
    }
    batch_clear(b);
    return true;
}

static void run_head(struct engine *e, struct batch *b, bool urgent)
{
    struct error err = {""};
    bool any;
    if (run(e, e->head, b, NULL, b->x, urgent ? &e->cost.head_s : NULL, &err))
        fail_batch(e, b, &err);
    hand_over(e, b, urgent, &any);
}

static void head_add(struct engine *e, struct batch *b, struct seq *s, uint32_t n)
{
    if (!n)
        return;
    uint32_t again = s->sent < s->replay_to ? s->replay_to - s->sent : 0;
    atomic_fetch_add(&e->replayed_tokens, again < n ? again : n);
    batch_add(b, s, s->head_seq, s->sent, n, false);
    s->sent += n;
}

/* The last token of an answer is never run, so there is nothing to guess beyond it. */
static uint32_t guess(struct engine *e, struct seq *s)
{
    uint32_t room = s->n_prompt + s->r.max_tokens - s->known - 1, most = e->most_drafts < room ? e->most_drafts : room;
    uint32_t depth = most ? speculate_depth(&e->cost, &s->speculate) : 0;
    uint32_t n = speculate_draft(s->tokens, s->known, depth < most ? depth : most, s->tokens + s->known);
    atomic_fetch_add(&e->drafts, n);
    return n;
}

/* Guesses sent behind guesses: the next trip leaves before the last one is back. */
static uint32_t guess_on(struct engine *e, struct seq *s)
{
    if (s->speculate.tried == s->sent)
        return 0;
    s->speculate.tried = s->sent;
    uint32_t end = s->n_prompt + s->r.max_tokens - 1, room = end > s->sent ? end - s->sent : 0;
    uint32_t most = room < e->most_drafts ? room : e->most_drafts;
    uint32_t depth = most ? speculate_ahead(&e->cost, &s->speculate, s->sent - s->returned) : 0;
    uint32_t n = speculate_draft(s->tokens, s->sent, depth < most ? depth : most, s->tokens + s->sent);
    atomic_fetch_add(&e->drafts, n);
    return n;
}

bool engine_run_decode(struct engine *e, int64_t now_ns)
{
    struct batch *b = &e->decode;
    bool any = false;
    if (!hand_over(e, b, true, &any))
        return any;
    for (uint32_t i = 0; i < e->n_slots; i++) {
        struct seq *s = e->slots[i];
        if (in_decode(s)) {
            head_add(e, b, s, 1 + guess(e, s));
            s->speculate.sent_ns = now_ns;
        } else if (s->state == SEQ_RUNNING && s->sent >= s->known) {
            head_add(e, b, s, guess_on(e, s));
        }
    }
    if (!b->n)
        return any;
    run_head(e, b, true);
    return true;
}

static void whole_add(struct batch *b, struct seq *s, uint32_t n)
{
    batch_add(b, s, s->tail_seq, s->sent, n, true);
    s->returned = s->sent += n;
}

static uint32_t rows_under_way(const struct engine *e)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->n_slots; i++)
        if (e->slots[i]->state == SEQ_RUNNING)
            n += e->slots[i]->sent - e->slots[i]->returned;
    return n;
}

/* One chunk, begun with another sequence each time. A whole model has all sequences' decode steps in front of it. */
static uint32_t add_prefill(struct engine *e, struct batch *b, uint32_t room)
{
    uint32_t first = e->prefill_turn, added = 0;
    for (uint32_t i = 0; i < e->n_slots && added < room; i++) {
        struct seq *s = e->slots[(first + i) % e->n_slots];
        if (!in_prefill(s))
            continue;
        if (b->n_want == e->want_cap)
            break;
        uint32_t n = s->known - s->sent < room - added ? s->known - s->sent : room - added;
        e->prefill_turn = (first + i + 1) % e->n_slots;
        if (e->head) {
            head_add(e, b, s, n);
        } else {
            whole_add(b, s, n);
        }
        added += n;
    }
    return added;
}

bool engine_run_prefill(struct engine *e)
{
    struct batch *b = &e->prefill;
    bool any = false;
    if (!hand_over(e, b, false, &any) || rows_under_way(e) > PREFILL_CHUNKS_UNDER_WAY * e->cfg.prefill_rows)
        return any;
    if (!add_prefill(e, b, b->cap))
        return any;
    run_head(e, b, false);
    return true;
}

/* --- a whole model here ------------------------------------------------------------------------------------------ */

bool engine_run_whole(struct engine *e)
{
    struct batch *b = &e->back;
    struct error err = {""};
    uint32_t first = e->decode_turn;
    for (uint32_t i = 0; i < e->n_slots && b->n_want < e->want_cap; i++) {
        struct seq *s = e->slots[(first + i) % e->n_slots];
        if (!in_decode(s))
            continue;
        whole_add(b, s, 1);
        e->decode_turn = (first + i + 1) % e->n_slots;
    }
    add_prefill(e, b, e->cfg.prefill_rows);
    if (!b->n)
        return false;
    if (run(e, e->tail, b, NULL, e->logits, NULL, &err))
        fail_batch(e, b, &err);
    take_batch_logits(e, b);
    batch_clear(b);
    return true;
}
