/* The idea: a slab of rows at a time (about four million floats), divided among threads that live for one slab; the
 * slab is long enough that starting them costs nothing. The result does not depend on the number of threads. */
#include "model/convert.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SLAB = 1 << 22,           /* floats */
    WORTH_A_THREAD = 1 << 16, /* floats */
    MOST_THREADS = 64,
};

struct convert {
    uint32_t n_threads;
    float *floats;
    uint8_t *bytes;
    size_t floats_room, bytes_room;
};

int convert_create(struct convert **ret, uint32_t n_threads, struct error *err)
{
    struct convert *c = calloc(1, sizeof(*c));
    if (!c)
        return error_set(err, ENOMEM, "out of memory");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    c->n_threads = n_threads ? n_threads : cores > 0 ? (uint32_t)cores : 1;
    if (c->n_threads > MOST_THREADS)
        c->n_threads = MOST_THREADS;
    *ret = c;
    return 0;
}

void convert_free(struct convert *c)
{
    if (!c)
        return;
    free(c->floats);
    free(c->bytes);
    free(c);
}

bool convert_can_write(enum ggml_type type)
{
    switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q8_0:
    case GGML_TYPE_Q2_K:
    case GGML_TYPE_Q3_K:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q6_K:
    case GGML_TYPE_IQ4_NL:
    case GGML_TYPE_IQ4_XS:
        return true;
    default:
        return false;
    }
}

void convert_to_floats(enum ggml_type type, const void *from, float *to, int64_t n)
{
    if (type == GGML_TYPE_F32)
        memcpy(to, from, (size_t)n * sizeof(float));
    else
        ggml_get_type_traits(type)->to_float(from, to, n);
}

/* --- one thread's share of a slab --------------------------------------------------------------------------------- */

struct share {
    const struct gguf_tensor *t;
    enum ggml_type to;
    convert_change_fn *change;
    void *ctx;
    int64_t row, n; /* of the tensor */
    float *floats;  /* n rows */
    uint8_t *bytes; /* n rows of the new type */
    float *back;    /* NULL, or room for one row to measure with */
    struct convert_loss loss;
    int rc;
};

/* ggml's quantisers assert that numbers are finite, so they must not see others. */
static int check_values(const float *x, int64_t n, enum ggml_type to)
{
    float most = to == GGML_TYPE_F32 ? INFINITY : to == GGML_TYPE_F16 ? 65504.0f : 1e30f;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return -EINVAL;
        if (fabsf(x[i]) > most)
            return -ERANGE;
    }
    return 0;
}

static void measure(struct share *s, int64_t row, const float *floats, const uint8_t *bytes)
{
    int64_t n = s->t->ne[0];
    convert_to_floats(s->to, bytes, s->back, n);
    for (int64_t i = 0; i < n; i++) {
        double e = (double)s->back[i] - (double)floats[i];
        s->loss.error_sumsq += e * e;
        s->loss.value_sumsq += (double)floats[i] * (double)floats[i];
    }
    s->loss.n += (uint64_t)n;
}

static void *do_share(void *arg)
{
    struct share *s = arg;
    int64_t n = s->t->ne[0];
    const uint8_t *from = (const uint8_t *)s->t->data + (size_t)s->row * ggml_row_size(s->t->type, n);
    convert_to_floats(s->t->type, from, s->floats, n * s->n);
    if (s->change)
        s->change(s->ctx, s->row, s->n, s->floats);
    s->rc = check_values(s->floats, n * s->n, s->to);
    if (s->rc)
        return NULL;
    if (s->to == GGML_TYPE_F32)
        memcpy(s->bytes, s->floats, (size_t)(n * s->n) * sizeof(float));
    else
        ggml_quantize_chunk(s->to, s->floats, s->bytes, 0, s->n, n, NULL);
    for (int64_t i = 0; i < s->n && s->back; i++)
        measure(s, i, s->floats + i * n, s->bytes + (size_t)i * ggml_row_size(s->to, n));
    return NULL;
}

/* --- a slab ---------------------------------------------------------------------------------------------------------- */

static int do_slab(struct convert *c, const struct share *model, float *back, struct convert_loss *loss)
{
    struct share shares[MOST_THREADS];
    pthread_t threads[MOST_THREADS];
    bool running[MOST_THREADS] = {false};
    int64_t ne0 = model->t->ne[0], want = (model->n * ne0 + WORTH_A_THREAD - 1) / WORTH_A_THREAD;
    int64_t k = want < c->n_threads ? want : c->n_threads;
    if (k > model->n)
        k = model->n;
    for (int64_t i = 0; i < k; i++) {
        struct share *s = &shares[i];
        int64_t first = model->n * i / k, last = model->n * (i + 1) / k;
        *s = *model;
        s->row += first;
        s->n = last - first;
        s->floats += first * ne0;
        s->bytes += (size_t)first * ggml_row_size(s->to, ne0);
        s->back = back ? back + i * ne0 : NULL;
        running[i] = i + 1 < k && !pthread_create(&threads[i], NULL, do_share, s);
        if (!running[i])
            do_share(s);
    }
    int rc = 0;
    for (int64_t i = 0; i < k; i++) {
        if (running[i])
            pthread_join(threads[i], NULL);
        rc = rc ? rc : shares[i].rc;
        if (loss) {
            loss->error_sumsq += shares[i].loss.error_sumsq;
            loss->value_sumsq += shares[i].loss.value_sumsq;
            loss->n += shares[i].loss.n;
        }
    }
    return rc;
}

static int reserve(struct convert *c, size_t floats, size_t bytes)
{
    if (floats > c->floats_room) {
        free(c->floats);
        c->floats = malloc(floats * sizeof(float));
        c->floats_room = c->floats ? floats : 0;
    }
    if (bytes > c->bytes_room) {
        free(c->bytes);
        c->bytes = malloc(bytes);
        c->bytes_room = c->bytes ? bytes : 0;
    }
    return c->floats && c->bytes ? 0 : -ENOMEM;
}

static int tell(const struct gguf_tensor *t, int rc, struct error *err)
{
    if (rc == -EINVAL)
        return error_set(err, EINVAL, "tensor %s holds values that are no numbers; the model is damaged", t->name);
    if (rc == -ERANGE)
        return error_set(err, ERANGE, "tensor %s holds values too large for this type; use BF16 or F32", t->name);
    return error_set(err, -rc, "out of memory for tensor %s", t->name);
}

int convert_tensor(struct convert *c, struct gguf_write *w, const struct gguf_tensor *t, enum ggml_type to,
    convert_change_fn *change, void *ctx, struct convert_loss *loss, struct error *err)
{
    if (to == t->type && !change)
        return gguf_write_data(w, t->data, t->size, err);
    if (!convert_can_write(to) || t->ne[0] % ggml_blck_size(to) ||
        (t->type != GGML_TYPE_F32 && !ggml_get_type_traits(t->type)->to_float))
        return error_set(err, ENOTSUP, "tensor %s cannot be converted from %s to %s", t->name, ggml_type_name(t->type),
            ggml_type_name(to));
    int64_t ne0 = t->ne[0], rows = t->ne[1] * t->ne[2] * t->ne[3], step = SLAB / ne0 ? SLAB / ne0 : 1;
    step = step < rows ? step : rows;
    bool measured = loss && to != GGML_TYPE_F32;
    size_t back = measured ? (size_t)ne0 * c->n_threads : 0;
    int rc = reserve(c, (size_t)(step * ne0) + back, (size_t)step * ggml_row_size(to, ne0));
    if (rc)
        return tell(t, rc, err);
    for (int64_t row = 0; row < rows; row += step) {
        int64_t n = rows - row < step ? rows - row : step;
        struct share model = {
            .t = t, .to = to, .change = change, .ctx = ctx, .row = row, .n = n, .floats = c->floats, .bytes = c->bytes};
        rc = do_slab(c, &model, measured ? c->floats + step * ne0 : NULL, loss);
        if (rc)
            return tell(t, rc, err);
        rc = gguf_write_data(w, c->bytes, (size_t)n * ggml_row_size(to, ne0), err);
        if (rc)
            return rc;
    }
    return 0;
}
