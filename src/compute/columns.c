/* The probe: one random matrix of the type, one random set of columns, multiplied with every likely number of columns
 * on one thread and on two, and compared with the longest. */
#include "compute/columns.h"

#include "base/rng.h"

#include <ggml-alloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH  512 /* two of the longest blocks */
#define HEIGHT 64

struct probe {
    const struct cpu *cpu;
    ggml_backend_t backend;
    struct ggml_context *ctx;
    ggml_backend_buffer_t weights, columns;
    struct ggml_tensor *w, *x, *y;
    float *want, *got; /* [COLUMNS_MOST][HEIGHT] */
};

static float *noise(uint64_t key, uint64_t n)
{
    float *f = malloc(n * sizeof *f);
    for (uint64_t i = 0; f && i < n; i++)
        f[i] = (float)(rng_uniform(key, i) - 0.5);
    return f;
}

static bool fill(struct ggml_tensor *t, uint64_t key)
{
    float *f = noise(key, (uint64_t)ggml_nelements(t)), *even = NULL;
    void *packed = malloc(ggml_nbytes(t));
    bool needs = ggml_quantize_requires_imatrix(t->type);
    if (needs) { /* some types want to know which columns matter: all alike */
        even = malloc(WIDTH * sizeof *even);
        for (int i = 0; even && i < WIDTH; i++)
            even[i] = 1;
    }
    bool ok = f && packed && (even || !needs);
    if (ok && t->type != GGML_TYPE_F32)
        ggml_quantize_chunk(t->type, f, packed, 0, t->ne[1], t->ne[0], even);
    if (ok)
        ggml_backend_tensor_set(t, t->type == GGML_TYPE_F32 ? (void *)f : packed, 0, ggml_nbytes(t));
    free(f);
    free(packed);
    free(even);
    return ok;
}

static void probe_done(struct probe *p)
{
    ggml_backend_buffer_free(p->weights);
    ggml_backend_buffer_free(p->columns);
    ggml_free(p->ctx);
    if (p->backend)
        ggml_backend_free(p->backend);
    free(p->want);
    free(p->got);
}

static bool probe_init(struct probe *p, const struct cpu *cpu, enum ggml_type type, bool repack)
{
    struct ggml_init_params init = {.mem_size = 8 * ggml_tensor_overhead(), .no_alloc = true};
    *p = (struct probe){.cpu = cpu, .backend = ggml_backend_dev_init(cpu->dev, NULL), .ctx = ggml_init(init)};
    if (!p->backend || !p->ctx)
        return false;
    p->w = ggml_new_tensor_2d(p->ctx, type, WIDTH, HEIGHT);
    p->weights = ggml_backend_alloc_ctx_tensors_from_buft(p->ctx, repack ? cpu->repack : cpu->plain);
    p->x = ggml_new_tensor_2d(p->ctx, GGML_TYPE_F32, WIDTH, COLUMNS_MOST);
    p->y = ggml_new_tensor_2d(p->ctx, GGML_TYPE_F32, HEIGHT, COLUMNS_MOST);
    p->columns = ggml_backend_alloc_ctx_tensors_from_buft(p->ctx, cpu->plain);
    p->want = malloc(ggml_nbytes(p->y));
    p->got = malloc(ggml_nbytes(p->y));
    return p->weights && p->columns && p->want && p->got && fill(p->w, 1) && fill(p->x, 2);
}

static bool multiply(struct probe *p, uint32_t n, int n_threads, float *ret)
{
    struct ggml_init_params init = {
        .mem_size = 8 * ggml_tensor_overhead() + ggml_graph_overhead_custom(8, false), .no_alloc = true};
    struct ggml_context *ctx = ggml_init(init);
    if (!ctx)
        return false;
    struct ggml_cgraph *g = ggml_new_graph_custom(ctx, 8, false);
    struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, WIDTH, n);
    x->data = p->x->data;
    x->buffer = p->x->buffer;
    struct ggml_tensor *y = ggml_mul_mat(ctx, p->w, x);
    y->data = p->y->data;
    y->buffer = p->y->buffer;
    ggml_build_forward_expand(g, y);
    p->cpu->set_n_threads(p->backend, n_threads);
    bool ok = ggml_backend_graph_compute(p->backend, g) == GGML_STATUS_SUCCESS;
    memcpy(ret, p->y->data, (uint64_t)n * HEIGHT * sizeof(float));
    ggml_free(ctx);
    return ok;
}

static uint32_t least(struct probe *p)
{
    uint32_t from = COLUMNS_MOST;
    if (!multiply(p, COLUMNS_MOST, 1, p->want))
        return 0;
    for (uint32_t n = COLUMNS_MOST; n >= 4; n -= 4) {
        for (int threads = 1; threads <= 2; threads++)
            if (!multiply(p, n, threads, p->got) || memcmp(p->got, p->want, (uint64_t)n * HEIGHT * sizeof(float)))
                return n == COLUMNS_MOST ? 0 : from;
        from = n;
    }
    return from;
}

uint32_t columns_least(const struct cpu *cpu, enum ggml_type type, bool repack)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int known[GGML_TYPE_COUNT][2]; /* 0: not tried yet, else answer + 1 */
    pthread_mutex_lock(&lock);
    int *k = &known[type][repack];
    if (!*k) {
        struct probe p;
        *k = 1 + (int)(probe_init(&p, cpu, type, repack) ? least(&p) : 0);
        probe_done(&p);
    }
    uint32_t n = (uint32_t)*k - 1;
    pthread_mutex_unlock(&lock);
    return n;
}
