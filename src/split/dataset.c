#include "split/dataset.h"

#include "base/rng.h"
#include "os/file.h"
#include "split/dataset_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SPLIT 0x73706c6974ull
#define KEY_ORDER 0x6f72646572ull

static struct sample *samples(const struct dataset *ds)
{
    return (struct sample *)(void *)ds->samples.data;
}

static uint64_t n_samples(const struct dataset *ds)
{
    return ds->samples.len / sizeof(struct sample);
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static int check(struct dataset_config *c, struct error *err)
{
    if (!c->max_rows || c->max_rows > 1u << 24)
        return error_set(err, EINVAL, "a micro-batch must have between 1 and %u rows", 1u << 24);
    if (!(c->eval_fraction >= 0 && c->eval_fraction < 1))
        return error_set(err, EINVAL, "the share kept apart for evaluation must be 0 or more and below 1");
    if (!c->max_samples || c->max_samples > c->max_rows)
        c->max_samples = c->max_rows;
    if (!c->max_sample || c->max_sample > c->max_rows)
        c->max_sample = c->max_rows;
    return 0;
}

/* Each sample's lot is drawn by its number, so the same file is split the same way every time. */
static void split(struct dataset *ds)
{
    uint64_t key = rng_u64(ds->cfg.seed, KEY_SPLIT), n = n_samples(ds), least = 0, n_eval = 0;
    double least_u = 2;
    for (uint64_t i = 0; i < n; i++) {
        double u = rng_uniform(key, i);
        samples(ds)[i].eval = u < ds->cfg.eval_fraction;
        n_eval += samples(ds)[i].eval;
        if (u < least_u) {
            least_u = u;
            least = i;
        }
    }
    if (ds->cfg.eval_fraction > 0 && !n_eval && n > 1)
        samples(ds)[least].eval = true;
}

static int list(struct dataset *ds)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < n_samples(ds); i++) {
        const struct sample *s = &samples(ds)[i];
        rc = buf_append(s->eval ? &ds->eval : &ds->train, &i, sizeof(i));
        if (s->eval)
            continue;
        ds->counts.rows += s->rows;
        ds->counts.learnt += s->learnt;
    }
    ds->counts.train = ds->train.len / sizeof(uint32_t);
    ds->counts.eval = ds->eval.len / sizeof(uint32_t);
    return rc;
}

static uint64_t hash_bytes(uint64_t h, const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        h = rng_mix((h ^ b->data[i]) * 0x9e3779b97f4a7c15u + i);
    return h;
}

static uint64_t hash_all(const struct dataset *ds)
{
    uint64_t h = rng_u64(ds->cfg.seed, ((uint64_t)ds->cfg.max_rows << 32) + ds->cfg.max_samples);
    h = hash_bytes(hash_bytes(h, &ds->tokens), &ds->mask);
    return hash_bytes(hash_bytes(h, &ds->train), &ds->eval);
}

int dataset_open_bytes(struct dataset **ret, const char *bytes, size_t len, const char *name, const struct tokenizer *t,
    enum chat_family family, const struct dataset_config *cfg, struct error *err)
{
    struct dataset *ds = calloc(1, sizeof(*ds));
    if (!ds)
        return error_set(err, ENOMEM, "no memory for the data");
    ds->cfg = *cfg;
    int rc = check(&ds->cfg, err);
    if (!rc)
        rc = dataset_read_lines(ds, bytes, len, name, t, family, err);
    if (!rc && n_samples(ds) >= UINT32_MAX)
        rc = error_set(err, EFBIG, "%s: more samples than 4 billion", name);
    if (!rc) {
        split(ds);
        rc = list(ds) ? error_set(err, ENOMEM, "no memory for the data") : 0;
    }
    if (!rc && !ds->counts.train)
        rc = error_set(err, ENODATA,
            "%s: no sample to train on (%llu too long, %llu with nothing to learn, %llu kept for evaluation)", name,
            (unsigned long long)ds->counts.refused, (unsigned long long)ds->counts.empty,
            (unsigned long long)ds->counts.eval);
    if (rc) {
        dataset_free(ds);
        return rc;
    }
    ds->hash = hash_all(ds);
    *ret = ds;
    return 0;
}

int dataset_open(struct dataset **ret, const char *path, const struct tokenizer *t, enum chat_family family,
    const struct dataset_config *cfg, struct error *err)
{
    struct file_map m;
    int rc = file_map_open(&m, path, err);
    if (rc)
        return rc;
    rc = dataset_open_bytes(ret, (const char *)m.data, m.size, path, t, family, cfg, err);
    file_map_close(&m);
    return rc;
}

static void wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_done(b);
}

void dataset_free(struct dataset *ds)
{
    if (!ds)
        return;
    wipe(&ds->tokens);
    buf_done(&ds->mask);
    buf_done(&ds->samples);
    buf_done(&ds->train);
    buf_done(&ds->eval);
    free(ds);
}

struct dataset_counts dataset_counts(const struct dataset *ds)
{
    return ds->counts;
}

uint64_t dataset_hash(const struct dataset *ds)
{
    return ds->hash;
}

uint32_t dataset_max_rows(const struct dataset *ds)
{
    return ds->cfg.max_rows;
}

uint32_t dataset_max_samples(const struct dataset *ds)
{
    return ds->cfg.max_samples;
}

/* --- micro-batches ----------------------------------------------------------------------------------------------- */

int micro_batch_init(struct micro_batch *b, const struct dataset *ds)
{
    *b = (struct micro_batch){
        .tokens = calloc(ds->cfg.max_rows, sizeof(int32_t)),
        .targets = calloc(ds->cfg.max_rows, sizeof(int32_t)),
        .sample_rows = calloc(ds->cfg.max_samples, sizeof(uint32_t)),
    };
    if (b->tokens && b->targets && b->sample_rows)
        return 0;
    micro_batch_done(b);
    return -ENOMEM;
}

void micro_batch_done(struct micro_batch *b)
{
    free(b->tokens);
    free(b->targets);
    free(b->sample_rows);
    *b = (struct micro_batch){0};
}

static bool fits(const struct dataset *ds, const struct micro_batch *b, const struct sample *s)
{
    return b->n_samples < ds->cfg.max_samples && b->n_rows + s->rows <= ds->cfg.max_rows;
}

static void add(const struct dataset *ds, struct micro_batch *b, const struct sample *s)
{
    const int32_t *tokens = (const int32_t *)(const void *)ds->tokens.data + s->first;
    const uint8_t *mask = ds->mask.data + s->first;
    memcpy(b->tokens + b->n_rows, tokens, sizeof(int32_t) * s->rows);
    for (uint32_t i = 0; i < s->rows; i++)
        b->targets[b->n_rows + i] = mask[i + 1] ? tokens[i + 1] : -1;
    b->sample_rows[b->n_samples++] = s->rows;
    b->n_rows += s->rows;
    b->n_learnt += s->learnt;
}

static void clear(struct micro_batch *b)
{
    b->n_rows = b->n_samples = b->n_learnt = 0;
}

void dataset_order_done(struct dataset_order *o)
{
    free(o->at);
    *o = (struct dataset_order){0};
}

/* Fisher and Yates, drawn by (seed, epoch). */
static int order_make(const struct dataset *ds, struct dataset_order *o, uint64_t epoch)
{
    const uint32_t *train = (const uint32_t *)(const void *)ds->train.data;
    uint32_t n = (uint32_t)ds->counts.train;
    uint64_t key = rng_u64(rng_u64(ds->cfg.seed, KEY_ORDER), epoch);
    if (o->at && o->epoch == epoch)
        return 0;
    if (!o->at)
        o->at = malloc(sizeof(uint32_t) * n);
    if (!o->at)
        return -ENOMEM;
    o->epoch = epoch;
    memcpy(o->at, train, sizeof(uint32_t) * n);
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = rng_below(key, i, i), was = o->at[i - 1];
        o->at[i - 1] = o->at[k];
        o->at[k] = was;
    }
    return 0;
}

int dataset_next(
    const struct dataset *ds, struct dataset_order *order, struct dataset_cursor *cursor, struct micro_batch *ret)
{
    if (cursor->at >= ds->counts.train)
        *cursor = (struct dataset_cursor){.epoch = cursor->epoch + 1};
    if (order_make(ds, order, cursor->epoch))
        return -ENOMEM;
    clear(ret);
    while (cursor->at < ds->counts.train && fits(ds, ret, &samples(ds)[order->at[cursor->at]]))
        add(ds, ret, &samples(ds)[order->at[cursor->at++]]);
    return 0;
}

bool dataset_eval(const struct dataset *ds, uint64_t *at, struct micro_batch *ret)
{
    const uint32_t *eval = (const uint32_t *)(const void *)ds->eval.data;
    clear(ret);
    while (*at < ds->counts.eval && fits(ds, ret, &samples(ds)[eval[*at]]))
        add(ds, ret, &samples(ds)[eval[(*at)++]]);
    return ret->n_rows > 0;
}

int dataset_count_batches(const struct dataset *ds, uint64_t epochs, uint64_t *ret)
{
    struct dataset_order order = {0};
    uint64_t batches = 0;
    for (uint64_t epoch = 0; epoch < epochs; epoch++) {
        if (order_make(ds, &order, epoch))
            return -ENOMEM;
        struct micro_batch b = {0};
        batches++;
        for (uint64_t at = 0; at < ds->counts.train; at++) {
            const struct sample *s = &samples(ds)[order.at[at]];
            if (!fits(ds, &b, s)) {
                clear(&b);
                batches++;
            }
            b.n_samples++;
            b.n_rows += s->rows;
        }
    }
    dataset_order_done(&order);
    *ret = batches;
    return 0;
}
