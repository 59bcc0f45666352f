/* A real small model, cut in two: what the cloud's half computes behind the protocol is what it computes here, bit for
 * bit, when generating, when training, and when what was trained is served. */
#include "base/clock.h"
#include "base/rng.h"
#include "model/cut.h"
#include "model/test_models.h"
#include "split/half_model.h"
#include "split/local_middle.h"
#include "split/local_train.h"
#include "split/remote_middle.h"
#include "split/remote_train.h"
#include "split/store.h"
#include "split/testing_world.h"

#define D    64u
#define ROWS 40u

static struct world world;
static struct gguf_file *cloud;
static struct model_params params;
static char cloud_path[512], here[512];
static float vectors[ROWS * D];

static int setup(void **state)
{
    struct error err = {""};
    struct model_init tiny = test_tiny(MODEL_LLAMA);
    test_folder_make(NULL);
    snprintf(cloud_path, sizeof(cloud_path), "%s", test_path("cloud.gguf"));
    snprintf(here, sizeof(here), "%s", test_path("here"));
    test_make(&tiny, test_path("whole.gguf"));
    struct gguf_file *whole = test_open(test_path("whole.gguf"));
    struct model_split split = {.head = 1, .tail = 1, .edge_path = test_path("edge.gguf"), .cloud_path = cloud_path};
    if (model_split(whole, &split, NULL, NULL, &err))
        fail_msg("%s", err.text);
    gguf_file_close(whole);
    cloud = test_open(cloud_path);
    assert_int_equal(model_params_read(&params, cloud, &err), 0);
    world.cfg.halves = &half_files;
    world.cfg.n_threads = 1;
    world.cfg.kv_bytes = 4 << 20;
    world_start(&world);
    for (uint32_t i = 0; i < ROWS * D; i++)
        vectors[i] = (float)rng_uniform(1, i) - 0.5f;
    return 0;
}

static int teardown(void **state)
{
    char command[600];
    gguf_file_close(cloud);
    world_end(&world);
    snprintf(command, sizeof(command), "rm -rf %s", test_folder);
    return system(command);
}

static struct remote_config to_worker(const struct model_cut *cut, const char *half)
{
    struct remote_config c = world_remote(&world);
    c.d = D;
    c.cut = *cut;
    c.cloud_half = half;
    return c;
}

static struct middle_event next(struct middle *m, enum middle_event_kind kind)
{
    struct middle_event e;
    do
        assert_int_equal(m->ops->next(m, 20 * NS_PER_S, &e), 0);
    while (e.kind == MIDDLE_UP || e.kind == MIDDLE_DOWN);
    if (e.kind != kind)
        fail_msg("event %d: %s", e.kind, e.text ? e.text : "");
    return e;
}

/* Prefill, decode steps, a step back: out [ROWS][D]. Frees the middle. */
static void generate(struct middle *m, float *out)
{
    static const struct {
        uint32_t pos, n;
    } pieces[] = {{0, 30}, {30, 1}, {31, 5}, {33, 1}, {34, 6}};
    assert_int_equal(m->ops->open(m, 1, ROWS), 0);
    next(m, MIDDLE_OPENED);
    for (uint32_t k = 0; k < 5; k++) {
        assert_int_equal(
            m->ops->forward(m, 1, k, pieces[k].pos, pieces[k].n, vectors + pieces[k].pos * D, pieces[k].n < 10), 0);
        struct middle_event e = next(m, MIDDLE_VECTORS);
        assert_int_equal(e.n, pieces[k].n);
        memcpy(out + pieces[k].pos * D, e.x, e.n * D * sizeof(float));
    }
    m->ops->free(m);
}

static void generate_here(const char *path, float *out)
{
    struct gguf_file *f = test_open(path);
    struct model_params p;
    struct middle *m;
    struct error err = {""};
    assert_int_equal(model_params_read(&p, f, &err), 0);
    if (local_middle_create(&m, f, &p, span_middle(&p), &(struct infer_config){.n_threads = 1, .kv_rows = 100}, &err))
        fail_msg("%s", err.text);
    generate(m, out);
    gguf_file_close(f);
}

static void test_generating(void **state)
{
    static float a[ROWS * D], b[ROWS * D];
    struct middle *m;
    struct remote_config c = to_worker(&params.cut, cloud_path);
    generate_here(cloud_path, a);
    assert_int_equal(remote_middle_create(&m, &c, NULL), 0); /* installs the half first */
    generate(m, b);
    assert_memory_equal(a, b, sizeof(a));
    c.cloud_half = NULL;
    atomic_store(&world.die_after, 20000);
    assert_int_equal(remote_middle_create(&m, &c, NULL), 0);
    generate(m, b);
    assert_memory_equal(a, b, sizeof(a));
    assert_int_equal(atomic_load(&world.deaths), 1);
}

static struct train_event await(struct train_middle *m, enum train_event_kind kind)
{
    struct train_event e;
    do
        assert_int_equal(m->ops->next(m, 20 * NS_PER_S, &e), 0);
    while (e.kind == TRAIN_UP || e.kind == TRAIN_DOWN);
    if (e.kind != kind)
        fail_msg("event %d: %s", e.kind, e.text ? e.text : "");
    return e;
}

/* Two steps of two micro-batches, saved to be served as `served`; everything that comes back is mixed into one number. */
static uint64_t train(struct train_middle *m, const struct model_cut *served)
{
    uint64_t h = 0;
    for (uint64_t b = 0; b < 4; b++) {
        assert_int_equal(m->ops->forward(m, b, (uint32_t[]){25, 15}, 2, ROWS, vectors, false), 0);
        struct train_event e = await(m, TRAIN_OUT);
        for (uint32_t i = 0; i < ROWS * D; i++)
            h = rng_mix(h + ((const uint32_t *)(const void *)e.x)[i]);
        assert_int_equal(m->ops->backward(m, b, ROWS, vectors, true), 0);
        e = await(m, TRAIN_GRAD);
        for (uint32_t i = 0; i < ROWS * D; i++)
            h = rng_mix(h + ((const uint32_t *)(const void *)e.x)[i]);
        if (b % 2) {
            struct train_adamw opt = {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.01f, b / 2 + 1};
            assert_int_equal(m->ops->norm(m, b / 2 + 1), 0);
            double norm = await(m, TRAIN_NORM).value;
            h = rng_mix(h + (uint64_t)(norm * 1e3));
            assert_int_equal(m->ops->step(m, b / 2 + 1, &opt), 0);
            await(m, TRAIN_STEPPED);
        }
    }
    assert_int_equal(m->ops->save(m, 2, served, true), 0);
    await(m, TRAIN_SAVED);
    assert_int_equal(m->ops->load(m, 2), 0);
    await(m, TRAIN_LOADED);
    m->ops->free(m);
    return h;
}

static void test_training_and_serving_it(void **state)
{
    static float a[ROWS * D], b[ROWS * D], before[ROWS * D];
    struct model_cut served = params.cut;
    struct train_middle *m;
    struct error err = {""};
    struct local_train_config lc = {
        .train = {.n_threads = 1, .max_rows = ROWS}, .n_slots = 2, .store = here, .run = {9}};
    struct remote_train_config rc = {
        .remote = to_worker(&params.cut, cloud_path), .train = lc.train, .n_slots = 2, .run = {9}};
    served.step = 2;
    served.run[0] = 9;
    if (local_train_create(&m, cloud, &params, span_middle(&params), &lc, &err))
        fail_msg("%s", err.text);
    uint64_t right = train(m, &served);
    assert_int_equal(remote_train_create(&m, &rc, &err), 0);
    assert_true(train(m, &served) == right);

    struct store store;
    char path[STORE_PATH];
    struct middle *served_middle;
    struct remote_config c = to_worker(&served, NULL);
    assert_int_equal(store_open(&store, here, NULL), 0);
    store_half_path(&store, &served, path);
    generate_here(cloud_path, before);
    generate_here(path, a);
    assert_memory_not_equal(a, before, sizeof(a));
    assert_int_equal(remote_middle_create(&served_middle, &c, NULL), 0);
    generate(served_middle, b);
    assert_memory_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generating),
        cmocka_unit_test(test_training_and_serving_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
