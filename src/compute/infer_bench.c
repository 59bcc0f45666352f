/* How long one run takes for so many rows: T(1), T(4), T(8) … of a random model, 2048 wide and 16 blocks deep unless
 * told otherwise.
 *
 *   infer_bench [TYPE [THREADS [WIDTH [BLOCKS [CONTEXT]]]]]     e.g. infer_bench q4_K 2 2048 16 128
 *   GGML=1 infer_bench …                                        the products left to ggml's kernels
 *
 * Prints the best of several runs, by the clock and by processor time: the machine may be shared. */
#include "base/clock.h"
#include "compute/infer.h"
#include "compute/kernels.h"
#include "compute/matrix.h"
#include "compute/model_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum ggml_type type_named(const char *name)
{
    for (int t = 0; t < GGML_TYPE_COUNT; t++)
        if (ggml_type_name((enum ggml_type)t) && strcasecmp(ggml_type_name((enum ggml_type)t), name) == 0)
            return (enum ggml_type)t;
    fprintf(stderr, "no ggml type is called %s\n", name);
    exit(2);
}

static struct infer *open_model(struct gguf_file *f, const struct model_params *p, uint32_t n_threads)
{
    struct infer_config cfg = {.n_threads = n_threads, .max_rows = 512, .kv_rows = 16384};
    struct error err = {""};
    struct infer *x = NULL;
    if (infer_create(&x, f, p, span_whole(p), &cfg, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return x;
}

struct cost {
    double wall_ms, cpu_ms;
};

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Best time of a run of n rows after a context of that length; logits of `want` rows. */
static struct cost best_of(struct infer *x, uint32_t n, uint32_t context, uint32_t want, float *out)
{
    static struct infer_row rows[16384];
    struct cost best = {1e30, 1e30};
    double spent = 0;
    int32_t seq;
    if (infer_seq_open(x, context + n, &seq))
        exit(1);
    for (uint32_t i = 0; i < context + n; i++)
        rows[i] = (struct infer_row){
            .seq = seq, .pos = (int32_t)i, .token = (int32_t)(i * 7 % 100), .want = i + want >= context + n};
    infer_run(x, rows, context, NULL, out, NULL);
    for (int i = 0; i < 30 && (spent < 3000 || i < 4); i++) {
        int64_t t = clock_now_ns();
        double c = cpu_ms();
        infer_run(x, rows + context, n, NULL, out, NULL);
        c = cpu_ms() - c;
        double ms = (double)(clock_now_ns() - t) / 1e6;
        spent += ms;
        best.wall_ms = ms < best.wall_ms ? ms : best.wall_ms;
        best.cpu_ms = c < best.cpu_ms ? c : best.cpu_ms;
        infer_seq_truncate(x, seq, (int32_t)context);
    }
    infer_seq_close(x, seq);
    return best;
}

int main(int argc, char **argv)
{
    struct model_testing m = model_testing_default();
    matrix_allow(!getenv("GGML"));
    m.type = type_named(argc > 1 ? argv[1] : "q4_K");
    uint32_t threads = argc > 2 ? (uint32_t)atoi(argv[2]) : 0, context = argc > 5 ? (uint32_t)atoi(argv[5]) : 128;
    m.d = argc > 3 ? (uint32_t)atoi(argv[3]) : 2048;
    m.n_block = argc > 4 ? (uint32_t)atoi(argv[4]) : 16;
    m.head_dim = m.d < 1024 ? 64 : 128;
    m.n_head = m.d / m.head_dim;
    m.n_head_kv = m.n_head / 4 ? m.n_head / 4 : 1;
    m.d_ff = m.d * 4;
    m.n_vocab = 32000;
    m.alike = m.untied = true;
    struct model_params p;
    struct gguf_file *f = model_testing_open(&m, &p);
    int64_t t = clock_now_ns();
    struct infer *x = open_model(f, &p, threads);
    struct infer_use use = infer_use(x);
    printf("%s, %u wide, %u blocks: %.0f MB of weights, opened in %.1f s, kernels %s\n", ggml_type_name(m.type), m.d,
        m.n_block, (double)use.weight_bytes / 1e6, (double)(clock_now_ns() - t) / 1e9, kernels_get()->name);
    static const uint32_t sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
    float *out = malloc(512ull * p.n_vocab * sizeof *out);
    double one = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t n = sizes[i];
        struct cost c = best_of(x, n, context, n <= 16 ? n : 1, out);
        one = n == 1 ? c.wall_ms : one;
        printf("T(%3u) %9.2f ms  %8.1f rows/s  %5.2f T(1)  %9.2f ms of processor\n", n, c.wall_ms, n * 1e3 / c.wall_ms,
            c.wall_ms / one, c.cpu_ms);
        fflush(stdout);
    }
    free(out);
    infer_free(x);
    gguf_file_close(f);
    return 0;
}
