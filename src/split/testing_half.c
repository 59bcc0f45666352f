#include "split/testing_half.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_SEQS 64

struct seq {
    bool open;
    uint32_t n_ctx, len;
    float *state; /* [n_ctx][d]: state[p] = state[p-1] / 2 + in[p]; out[p] = state[p] + p */
};

struct fake_infer {
    struct half_infer half;
    struct testing_counts *c;
    uint64_t free_rows;
    struct seq seqs[MOST_SEQS];
};

void testing_infer_row(uint32_t d, uint32_t pos, const float *rows, float *out)
{
    for (uint32_t i = 0; i < d; i++) {
        float s = 0;
        for (uint32_t p = 0; p <= pos; p++)
            s = s * 0.5f + rows[(size_t)p * d + i];
        out[i] = s + (float)pos;
    }
}

static int fake_open(struct half_infer *h, uint32_t n_ctx, int32_t *ret_seq)
{
    struct fake_infer *f = (struct fake_infer *)h;
    if (n_ctx > h->kv_rows)
        return -E2BIG;
    if (n_ctx > f->free_rows)
        return -ENOSPC;
    for (int32_t i = 0; i < MOST_SEQS; i++)
        if (!f->seqs[i].open) {
            f->seqs[i] = (struct seq){true, n_ctx, 0, calloc((size_t)n_ctx * h->d, sizeof(float))};
            f->free_rows -= n_ctx;
            atomic_fetch_add(&f->c->open, 1);
            *ret_seq = i;
            return 0;
        }
    return -ENOSPC;
}

static void fake_close(struct half_infer *h, int32_t seq)
{
    struct fake_infer *f = (struct fake_infer *)h;
    f->free_rows += f->seqs[seq].n_ctx;
    free(f->seqs[seq].state);
    f->seqs[seq] = (struct seq){0};
    atomic_fetch_sub(&f->c->open, 1);
}

static int32_t fake_len(const struct half_infer *h, int32_t seq)
{
    return (int32_t)((const struct fake_infer *)h)->seqs[seq].len;
}

static void fake_truncate(struct half_infer *h, int32_t seq, int32_t len)
{
    ((struct fake_infer *)h)->seqs[seq].len = (uint32_t)len;
}

static void nap(struct testing_counts *c)
{
    long ns = atomic_load(&c->run_ns);
    while (atomic_load(&c->hold))
        nanosleep(&(struct timespec){0, 100000}, NULL);
    if (ns)
        nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
}

static int fake_run(
    struct half_infer *h, const struct infer_row *rows, uint32_t n, const float *in, float *out, struct error *err)
{
    struct fake_infer *f = (struct fake_infer *)h;
    uint32_t d = h->d;
    nap(f->c);
    if (atomic_load(&f->c->fail_run))
        return error_set(err, EIO, "the test wants this run to fail");
    for (uint32_t k = 0; k < n; k++) {
        struct seq *s = f->seqs + rows[k].seq;
        if (!s->open || rows[k].pos != (int32_t)s->len || s->len >= s->n_ctx)
            return error_set(err, EINVAL, "row %u does not fit", k);
        float *state = s->state + (size_t)s->len * d;
        for (uint32_t i = 0; i < d; i++) {
            state[i] = (s->len ? state[(int64_t)i - d] : 0) * 0.5f + in[(size_t)k * d + i];
            out[(size_t)k * d + i] = state[i] + (float)s->len;
        }
        s->len++;
    }
    atomic_fetch_add(&f->c->runs, 1);
    atomic_fetch_add(&f->c->rows, n);
    if (n > atomic_load(&f->c->most_rows))
        atomic_store(&f->c->most_rows, n);
    return 0;
}

static void fake_free(struct half_infer *h)
{
    struct fake_infer *f = (struct fake_infer *)h;
    for (int32_t i = 0; i < MOST_SEQS; i++)
        free(f->seqs[i].state);
    free(f);
}

struct half_infer *testing_infer(uint32_t d, uint64_t kv_rows, struct testing_counts *c)
{
    static const struct half_infer_ops ops = {fake_open, fake_close, fake_len, fake_truncate, fake_run, fake_free};
    struct fake_infer *f = calloc(1, sizeof(*f));
    f->half = (struct half_infer){&ops, d, 4096, kv_rows, MOST_SEQS};
    f->c = c;
    f->free_rows = kv_rows;
    return &f->half;
}

/* --- training: out = x · w; w is one vector; plain momentum, so that the state is more than the weights ------------ */

struct fake_train {
    struct half_train half;
    struct testing_counts *c;
    float *w, *grad, *m; /* [d] */
    float **x;           /* [n_slots]: inputs kept */
    uint32_t *n;
};

static int train_fake_forward(struct half_train *h, uint32_t slot, const uint32_t *sample_rows, uint32_t n_samples,
    const float *in, float *out, struct error *err)
{
    struct fake_train *f = (struct fake_train *)h;
    uint32_t n = 0, d = h->d;
    for (uint32_t i = 0; i < n_samples; i++)
        n += sample_rows[i];
    nap(f->c);
    memcpy(f->x[slot], in, (size_t)n * d * sizeof(float));
    f->n[slot] = n;
    for (size_t i = 0; i < (size_t)n * d; i++)
        out[i] = in[i] * f->w[i % d];
    atomic_fetch_add(&f->c->forwards, 1);
    return 0;
}

static int train_fake_backward(
    struct half_train *h, uint32_t slot, const float *grad_out, float *grad_in, struct error *err)
{
    struct fake_train *f = (struct fake_train *)h;
    uint32_t d = h->d;
    nap(f->c);
    for (size_t i = 0; i < (size_t)f->n[slot] * d; i++) {
        f->grad[i % d] += grad_out[i] * f->x[slot][i];
        if (grad_in)
            grad_in[i] = grad_out[i] * f->w[i % d];
    }
    atomic_fetch_add(&f->c->backwards, 1);
    return 0;
}

static void train_fake_drop(struct half_train *h, uint32_t slot)
{
    ((struct fake_train *)h)->n[slot] = 0;
}

static double train_fake_sumsq(const struct half_train *h)
{
    const struct fake_train *f = (const struct fake_train *)h;
    double sum = 0;
    for (uint32_t i = 0; i < h->d; i++)
        sum += (double)f->grad[i] * f->grad[i];
    return sum;
}

static void train_fake_zero(struct half_train *h)
{
    memset(((struct fake_train *)h)->grad, 0, h->d * sizeof(float));
}

static void train_fake_step(struct half_train *h, const struct train_adamw *opt)
{
    struct fake_train *f = (struct fake_train *)h;
    for (uint32_t i = 0; i < h->d; i++) {
        f->m[i] = opt->beta1 * f->m[i] + f->grad[i] * opt->grad_scale;
        f->w[i] -= opt->lr * f->m[i];
    }
    train_fake_zero(h);
    atomic_fetch_add(&f->c->steps, 1);
}

static int train_fake_save(const struct half_train *h, const char *path, const struct model_cut *cut, struct error *err)
{
    const struct fake_train *f = (const struct fake_train *)h;
    FILE *to = fopen(path, "wb");
    if (!to)
        return error_set(err, errno, "%s: cannot write", path);
    fwrite(cut, sizeof(*cut), 1, to);
    fwrite(f->w, sizeof(float), h->d, to);
    fwrite(f->m, sizeof(float), h->d, to);
    atomic_fetch_add(&f->c->saves, 1);
    return fclose(to) ? error_set(err, errno, "%s: cannot write", path) : 0;
}

static int train_fake_load(struct half_train *h, const char *path, struct model_cut *ret_cut, struct error *err)
{
    struct fake_train *f = (struct fake_train *)h;
    FILE *from = fopen(path, "rb");
    if (!from)
        return error_set(err, errno, "%s: cannot read", path);
    bool ok = fread(ret_cut, sizeof(*ret_cut), 1, from) == 1 && fread(f->w, sizeof(float), h->d, from) == h->d &&
              fread(f->m, sizeof(float), h->d, from) == h->d;
    fclose(from);
    atomic_fetch_add(&f->c->loads, 1);
    return ok ? 0 : error_set(err, EBADMSG, "%s: too short", path);
}

static int train_fake_reset(struct half_train *h, struct error *err)
{
    struct fake_train *f = (struct fake_train *)h;
    for (uint32_t i = 0; i < h->d; i++) {
        f->w[i] = 1 + 0.01f * (float)i;
        f->m[i] = f->grad[i] = 0;
    }
    return 0;
}

static int train_fake_export(
    const struct half_train *h, const char *path, const struct model_cut *cut, struct error *err)
{
    const struct fake_train *f = (const struct fake_train *)h;
    FILE *to = fopen(path, "wb");
    if (!to)
        return error_set(err, errno, "%s: cannot write", path);
    fwrite(f->w, sizeof(float), h->d, to);
    return fclose(to) ? error_set(err, errno, "%s: cannot write", path) : 0;
}

static void train_fake_free(struct half_train *h)
{
    struct fake_train *f = (struct fake_train *)h;
    for (uint32_t i = 0; i < h->n_slots; i++)
        free(f->x[i]);
    free(f->x);
    free(f->n);
    free(f->w);
    free(f->grad);
    free(f->m);
    free(f);
}

const float *testing_train_weights(const struct half_train *h)
{
    return ((const struct fake_train *)h)->w;
}

struct half_train *testing_train(uint32_t d, uint32_t n_slots, uint32_t max_rows, struct testing_counts *c)
{
    static const struct half_train_ops ops = {train_fake_forward, train_fake_backward, train_fake_drop,
        train_fake_sumsq, train_fake_step, train_fake_zero, train_fake_save, train_fake_load, train_fake_reset,
        train_fake_export, train_fake_free};
    struct fake_train *f = calloc(1, sizeof(*f));
    f->half = (struct half_train){&ops, d, n_slots, max_rows, max_rows};
    f->c = c;
    f->w = calloc(d, sizeof(float));
    f->grad = calloc(d, sizeof(float));
    f->m = calloc(d, sizeof(float));
    f->x = calloc(n_slots, sizeof(*f->x));
    f->n = calloc(n_slots, sizeof(*f->n));
    for (uint32_t i = 0; i < n_slots; i++)
        f->x[i] = calloc((size_t)max_rows * d, sizeof(float));
    train_fake_reset(&f->half, NULL);
    return &f->half;
}
