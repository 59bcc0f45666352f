/* One side of a race: our training steps, timed. For each line on stdin it runs one round and prints how many
 * milliseconds it took; train_step_torch.py runs the other side and takes turns.
 *
 *   train_step D BLOCKS VOCAB THREADS wall|cpu
 *
 * VOCAB 0: a middle (vectors in, gradients in, no vocabulary). cpu: the process's own time, for one thread on a busy machine. A round is MICRO micro-batches forward and backward and
 * one AdamW step. Shapes here and there must be the same. */
#include "base/rng.h"
#include "compute/model_testing.h"
#include "compute/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MICRO 4
#define ROWS  512

static const uint32_t rows[] = {96, 57, 131, 120, 108};
#define SAMPLES (sizeof rows / sizeof *rows)

static void must(int rc, const struct error *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "train_step: %s\n", err->text);
    exit(1);
}

static float *noise(uint64_t n)
{
    float *x = malloc(sizeof(float) * n);
    for (uint64_t i = 0; x && i < n; i++)
        x[i] = (float)(2 * rng_uniform(3, i) - 1);
    return x;
}

struct side {
    struct train *x;
    bool whole, cpu;
    int32_t tokens[ROWS], targets[ROWS];
    float *in, *grad, *out, *grad_in;
    uint64_t t;
};

static void micro_batch(struct side *s)
{
    struct error err = {0};
    struct train_loss loss;
    if (s->whole) {
        must(train_forward(s->x, 0, 0, rows, SAMPLES, s->tokens, NULL, NULL, &err), &err);
        must(train_loss(s->x, 0, 0, s->targets, false, &loss, &err), &err);
        must(train_backward(s->x, 0, 0, NULL, NULL, &err), &err);
        return;
    }
    must(train_forward(s->x, 0, 0, rows, SAMPLES, NULL, s->in, s->out, &err), &err);
    must(train_backward(s->x, 0, 0, s->grad, s->grad_in, &err), &err);
}

static double now_ms(const struct side *s)
{
    struct timespec t;
    clock_gettime(s->cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double a_round(struct side *s)
{
    double start = now_ms(s);
    for (int i = 0; i < MICRO; i++)
        micro_batch(s);
    struct train_adamw opt = {
        .lr = 1e-5f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .grad_scale = 1e-3f, .t = ++s->t};
    train_step(s->x, &opt);
    return now_ms(s) - start;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: train_step D BLOCKS VOCAB THREADS wall|cpu\n");
        return 2;
    }
    uint32_t d = (uint32_t)atoi(argv[1]), vocab = (uint32_t)atoi(argv[3]), heads = d / 64;
    struct model_testing t = {.arch = MODEL_LLAMA,
        .d = d,
        .n_block = (uint32_t)atoi(argv[2]),
        .n_head = heads,
        .n_head_kv = heads / 2,
        .d_ff = 3 * d,
        .head_dim = 64,
        .n_vocab = vocab ? vocab : 64,
        .n_ctx = 4096,
        .untied = true,
        .alike = true};
    struct model_params p;
    struct error err = {0};
    struct gguf_file *f = model_testing_open(&t, &p);
    struct side s = {.whole = vocab > 0, .cpu = argv[5][0] == 'c'};
    struct train_part part = {.span = {0, p.n_block, s.whole, s.whole}};
    struct train_config cfg = {.n_threads = (uint32_t)atoi(argv[4]), .max_rows = ROWS, .max_samples = SAMPLES};
    must(train_create(&s.x, f, &p, &part, 1, &cfg, &err), &err);
    for (uint32_t i = 0; i < ROWS; i++) {
        s.tokens[i] = (int32_t)rng_below(1, i, t.n_vocab);
        s.targets[i] = (int32_t)rng_below(2, i, t.n_vocab);
    }
    s.in = noise((uint64_t)ROWS * d);
    s.grad = noise((uint64_t)ROWS * d);
    s.out = noise((uint64_t)ROWS * d);
    s.grad_in = noise((uint64_t)ROWS * d);
    for (int c = getchar(); c != EOF; c = getchar())
        if (c == '\n') {
            printf("%.3f\n", a_round(&s));
            fflush(stdout);
        }
    train_free(s.x);
    gguf_file_close(f);
    free(s.in);
    free(s.grad);
    free(s.out);
    free(s.grad_in);
    return 0;
}
