/* The engine over a real small model: whole, and with its middle behind middle.h, the same tokens. */
#include "split/engine.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "compute/model_testing.h"
#include "split/local_middle.h"

#include <pthread.h>
#include <string.h>

#define N_CLIENTS 9
#define MOST      64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct client {
    int32_t prompt[MOST], got[MOST];
    float logprob[MOST];
    uint32_t n;
    int ends;
    enum engine_end why;
    struct engine_request r;
};

static bool on_token(void *user, const struct engine_token *t)
{
    struct client *c = user;
    assert_int_equal(t->n_top, 2);
    assert_true(t->top[0].logprob >= t->top[1].logprob);
    c->logprob[c->n] = t->logprob;
    c->got[c->n++] = t->id;
    return true;
}

static void on_end(void *user, enum engine_end why, const char *text)
{
    struct client *c = user;
    pthread_mutex_lock(&lock);
    c->ends++;
    c->why = why;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void start(struct client *c, uint32_t i, struct engine *e, uint32_t n_vocab)
{
    uint64_t id;
    struct error err = {""};
    *c = (struct client){.r = {.tokens = c->prompt,
                             .n_tokens = 1 + 7 * i % 40,
                             .max_tokens = 12 + i,
                             .n_top = 2,
                             .sampling = {.temperature = i % 2 ? 0.8f : 0, .top_p = i % 4 == 1 ? 0.9f : 1, .seed = i},
                             .ignore_end = true,
                             .on_token = on_token,
                             .on_end = on_end,
                             .user = c}};
    for (uint32_t k = 0; k < c->r.n_tokens; k++)
        c->prompt[k] = (int32_t)rng_below(i, k, n_vocab);
    if (engine_submit(e, &c->r, &id, &err))
        fail_msg("%s", err.text);
}

static void wait_end(struct client *c)
{
    pthread_mutex_lock(&lock);
    while (!c->ends)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    assert_int_equal(c->why, ENGINE_LENGTH);
    assert_int_equal(c->n, c->r.max_tokens);
}

static struct engine *create(const struct gguf_file *f, const struct model_params *p, struct middle *m, uint32_t chunk)
{
    struct engine *e = NULL;
    struct error err = {""};
    struct engine_config cfg = {.n_threads = 1, .prefill_rows = chunk, .kv_rows = 1024};
    if (engine_create(&e, f, p, NULL, m, &cfg, &err))
        fail_msg("%s", err.text);
    return e;
}

static void check(enum model_arch arch, enum ggml_type type)
{
    static struct client alone[N_CLIENTS], some[N_CLIENTS];
    struct model_testing m = model_testing_default();
    struct model_params p, uncut;
    struct error err = {""};
    m.arch = arch;
    m.type = type;
    m.head = m.tail = 1;
    struct gguf_file *f = model_testing_open(&m, &p);
    uncut = p;
    uncut.cut = (struct model_cut){.part = MODEL_WHOLE};
    struct engine *e = create(f, &uncut, NULL, 5);
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        start(&alone[i], i, e, p.n_vocab);
        wait_end(&alone[i]);
    }
    engine_free(e);

    for (int split = 0; split < 2; split++) {
        struct middle *middle = NULL;
        struct infer_config c = {.n_threads = 1, .kv_rows = 1024};
        if (split && local_middle_create(&middle, f, &p, span_middle(&p), &c, &err))
            fail_msg("%s", err.text);
        e = create(f, split ? &p : &uncut, middle, split ? 16 : 128);
        for (uint32_t i = 0; i < N_CLIENTS; i++)
            start(&some[i], i, e, p.n_vocab);
        for (uint32_t i = 0; i < N_CLIENTS; i++) {
            wait_end(&some[i]);
            assert_memory_equal(alone[i].got, some[i].got, sizeof(int32_t) * alone[i].n);
            assert_memory_equal(alone[i].logprob, some[i].logprob, sizeof(float) * alone[i].n);
        }
        engine_free(e);
    }
    gguf_file_close(f);
}

static void llama_f32(void **state)
{
    check(MODEL_LLAMA, GGML_TYPE_F32);
}

static void qwen3_q8_0(void **state)
{
    check(MODEL_QWEN3, GGML_TYPE_Q8_0);
}

static void qwen2_f16(void **state)
{
    check(MODEL_QWEN2, GGML_TYPE_F16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_f32),
        cmocka_unit_test(qwen2_f16),
        cmocka_unit_test(qwen3_q8_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
