/* Training over real tiny models, the middle in the same process behind a wrapper that dies or restarts at any chosen
 * call. Everything runs in children: a killed one is really killed, and the parent only compares files. */
#include "split/trainer.h"

#include "base/clock.h"
#include "base/test.h"
#include "model/test_models.h"
#include "model/tokenizer.h"
#include "os/file.h"
#include "split/local_train.h"
#include "split/store.h"
#include "split/testing_train.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ROWS 64u

/* --- a middle with bad luck -------------------------------------------------------------------------------------- */

struct unlucky {
    struct train_middle base;
    struct train_middle *inner; /* NULL while it is away */
    const struct gguf_file *f;
    const struct model_params *p;
    struct local_train_config cfg;
    unsigned calls, die_at, lose_at; /* the call at which to die or restart; 0: never */
    bool tell_lost;
    unsigned down; /* events of being down still to tell */
};

static struct unlucky *mine(struct train_middle *m)
{
    return (struct unlucky *)m;
}

static void inner_start(struct unlucky *u)
{
    struct error err = {""};
    if (local_train_create(&u->inner, u->f, u->p, span_middle(u->p), &u->cfg, &err)) {
        fprintf(stderr, "%s\n", err.text);
        _exit(3);
    }
}

/* Dies on odd calls' eve and on even calls' morrow, so both sides of every request are met. */
static bool lucky(struct unlucky *u)
{
    u->calls++;
    if (u->die_at && u->calls == u->die_at)
        kill(getpid(), SIGKILL);
    if (u->lose_at && u->calls == u->lose_at) {
        u->inner->ops->free(u->inner);
        inner_start(u);
        u->tell_lost = true;
        u->down = 2;
    }
    return !u->tell_lost;
}

static int u_forward(struct train_middle *m, uint64_t batch, const uint32_t *sample_rows, uint32_t n_samples,
    uint32_t n_rows, const float *x, bool only_eval)
{
    struct unlucky *u = mine(m);
    return lucky(u) ? u->inner->ops->forward(u->inner, batch, sample_rows, n_samples, n_rows, x, only_eval) : 0;
}

static int u_backward(struct train_middle *m, uint64_t batch, uint32_t n_rows, const float *grad, bool want_grad_in)
{
    struct unlucky *u = mine(m);
    return lucky(u) ? u->inner->ops->backward(u->inner, batch, n_rows, grad, want_grad_in) : 0;
}

static int u_norm(struct train_middle *m, uint64_t step)
{
    struct unlucky *u = mine(m);
    return lucky(u) ? u->inner->ops->norm(u->inner, step) : 0;
}

static int u_step(struct train_middle *m, uint64_t step, const struct train_adamw *opt)
{
    struct unlucky *u = mine(m);
    return lucky(u) ? u->inner->ops->step(u->inner, step, opt) : 0;
}

static int u_save(struct train_middle *m, uint64_t step, const struct model_cut *cut, bool serve)
{
    struct unlucky *u = mine(m);
    return lucky(u) ? u->inner->ops->save(u->inner, step, cut, serve) : 0;
}

static int u_load(struct train_middle *m, uint64_t step)
{
    struct unlucky *u = mine(m);
    return lucky(u) ? u->inner->ops->load(u->inner, step) : 0;
}

static int u_next(struct train_middle *m, int64_t wait_ns, struct train_event *ret)
{
    struct unlucky *u = mine(m);
    struct store store;
    lucky(u);
    if (!u->tell_lost)
        return u->inner->ops->next(u->inner, wait_ns, ret);
    if (u->down) {
        *ret = (struct train_event){.kind = u->down-- == 2 ? TRAIN_DOWN : TRAIN_UP};
        return 0;
    }
    *ret = (struct train_event){.kind = TRAIN_LOST};
    store_open(&store, u->cfg.store, NULL);
    ret->n_steps = store_run_steps(&store, u->p->cut.id, u->cfg.run, ret->steps);
    ret->step = ret->n_steps ? ret->steps[0] : UINT64_MAX;
    u->tell_lost = false;
    return 0;
}

static void u_stats(struct train_middle *m, struct train_middle_stats *ret)
{
    mine(m)->inner->ops->stats(mine(m)->inner, ret);
}

static const struct train_middle_ops u_ops = {
    .forward = u_forward,
    .backward = u_backward,
    .norm = u_norm,
    .step = u_step,
    .save = u_save,
    .load = u_load,
    .next = u_next,
    .stats = u_stats,
};

/* --- one run ----------------------------------------------------------------------------------------------------- */

struct job {
    const char *name; /* of its folder */
    enum model_arch arch;
    bool whole, freeze, resume, recompute;
    uint32_t in_flight, accumulate, rows, lora;
    uint64_t steps, stop_after;
    unsigned die_at, lose_at;
    int64_t far_ns; /* one way to the middle and back; 0: in this thread */
    bool export_best;
    float clip, lr;
    uint64_t eval_every, save_every;
};

struct outcome {
    int rc;
    char text[256];
    struct trainer_result r;
    unsigned calls;
    double first_loss, first_norm, first_eval, seconds;
};

struct watcher {
    struct outcome *o;
    uint64_t stop_after;
};

static bool watch(void *user, const struct trainer_progress *p)
{
    struct watcher *w = user;
    if (p->step == 1 && isnan(w->o->first_loss)) {
        w->o->first_loss = p->loss;
        w->o->first_norm = p->grad_norm;
    }
    if (isnan(w->o->first_eval))
        w->o->first_eval = p->eval_loss;
    return !w->stop_after || p->step < w->stop_after;
}

/* Samples of 1 to 31 rows with a pattern that can be learnt; `equal`: all of 16 rows. */
static void make_data(struct buf *b, bool equal)
{
    for (unsigned i = 0; i < 60; i++) {
        buf_append_str(b, "{\"text\":\"");
        for (unsigned k = 0; k < (equal ? 16 : 2 + i * 7 % 30); k++)
            buf_printf(b, "%c", 'a' + (i + k) % 7);
        buf_append_str(b, "\"}\n");
    }
}

static struct train *make_edge(const struct job *j, const struct gguf_file *f, const struct model_params *p)
{
    struct train *x = NULL;
    struct error err = {""};
    uint32_t slots = j->in_flight ? j->in_flight : 4;
    struct train_part split[2] = {
        {.span = span_head(p), .n_slots = slots, .freeze = j->freeze}, {.span = span_tail(p), .n_slots = 1}};
    struct train_part whole = {.span = span_whole(p), .n_slots = 1};
    struct train_config c = {.n_threads = 1,
        .max_rows = j->rows ? j->rows : ROWS,
        .lora_rank = j->lora,
        .lora_alpha = 8,
        .lora_targets = LORA_ALL,
        .seed = 1,
        .recompute = j->recompute};
    if (train_create(&x, f, p, j->whole ? &whole : split, j->whole ? 1 : 2, &c, &err)) {
        fprintf(stderr, "%s\n", err.text);
        _exit(3);
    }
    return x;
}

static void run_job(const struct job *j, struct outcome *o)
{
    char dir[512], store[600];
    struct error err = {""};
    struct buf text = {0};
    struct dataset *ds = NULL;
    struct tokenizer *tok = NULL;
    struct model_params p;
    snprintf(dir, sizeof(dir), "%s", test_path(j->name));
    snprintf(store, sizeof(store), "%s/middle", dir);
    struct gguf_file *f = test_open(test_path(model_arch_name(j->arch)));
    assert_int_equal(model_params_read(&p, f, &err), 0);
    p.cut.head = p.cut.tail = 1;
    assert_int_equal(tokenizer_open(&tok, f, &err), 0);
    make_data(&text, j->rows > 0);
    struct dataset_config dc = {.max_rows = j->rows ? j->rows : ROWS, .eval_fraction = 0.1, .seed = 3};
    assert_int_equal(dataset_open_bytes(&ds, (char *)text.data, text.len, "data", tok, CHAT_NONE, &dc, &err), 0);
    struct train *edge = make_edge(j, f, &p);

    struct unlucky u = {.base = {.ops = &u_ops}, .f = f, .p = &p, .die_at = j->die_at, .lose_at = j->lose_at};
    u.cfg = (struct local_train_config){
        .n_slots = j->in_flight ? j->in_flight : 4, .store = store, .run = "sixteen bytes.."};
    u.cfg.train = (struct train_config){.n_threads = 1,
        .max_rows = j->rows ? j->rows : ROWS,
        .lora_rank = j->lora,
        .lora_alpha = 8,
        .lora_targets = LORA_ALL,
        .seed = 1,
        .recompute = j->recompute};
    assert_int_equal(file_make_dir(dir, 0700, &err), 0);
    if (!j->whole)
        inner_start(&u);
    struct watcher w = {o, j->stop_after};
    struct trainer_config c = {.steps = j->steps ? j->steps : 6,
        .accumulate = j->accumulate ? j->accumulate : 3,
        .in_flight = j->in_flight,
        .lr = j->lr > 0 ? j->lr : 3e-3f,
        .lr_least = 0.1f,
        .schedule = TRAINER_COSINE,
        .warmup = 2,
        .weight_decay = 0.01f,
        .clip = j->clip,
        .freeze_head = j->freeze,
        .eval_every = j->eval_every,
        .save_every = j->save_every,
        .dir = dir,
        .run = "sixteen bytes..",
        .resume = j->resume,
        .export_best = j->export_best,
        .lora = j->lora > 0,
        .base = f,
        .on_progress = watch,
        .user = &w};
    o->first_loss = o->first_norm = o->first_eval = NAN;
    struct train_middle *m = j->whole ? NULL : &u.base;
    if (j->far_ns)
        m = testing_train_create(u.inner, p.d, j->far_ns, 1);
    int64_t began = clock_now_ns();
    o->rc = trainer_run(edge, m, &p, ds, &c, &o->r, &err);
    o->seconds = (double)(clock_now_ns() - began) / NS_PER_S;
    snprintf(o->text, sizeof(o->text), "%s", err.text);
    o->calls = u.calls;
    if (j->far_ns)
        m->ops->free(m);
    else if (u.inner)
        u.inner->ops->free(u.inner);
    train_free(edge);
    dataset_free(ds);
    buf_done(&text);
    tokenizer_free(tok);
    gguf_file_close(f);
}

/* In a child. Returns its outcome; rc 1 when it was killed. */
static struct outcome go(struct job j)
{
    struct outcome o = {.rc = 1};
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        run_job(&j, &o);
        _exit(write(fd[1], &o, sizeof(o)) == sizeof(o) ? 0 : 4);
    }
    close(fd[1]);
    ssize_t n = read(fd[0], &o, sizeof(o));
    close(fd[0]);
    int status;
    waitpid(pid, &status, 0);
    if (n != sizeof(o)) {
        o.rc = 1;
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    return o;
}

static struct outcome go_well(struct job j)
{
    struct outcome o = go(j);
    if (o.rc)
        fail_msg("%s: %d %s", j.name, o.rc, o.text);
    return o;
}

static void remove_dir(const char *name)
{
    char command[600];
    snprintf(command, sizeof(command), "rm -rf '%s'", test_path(name));
    assert_int_equal(system(command), 0);
}

static void same_file(const char *a, const char *b)
{
    struct buf x = {0}, y = {0};
    struct error err = {""};
    if (file_read(&x, a, 1u << 30, &err) || file_read(&y, b, 1u << 30, &err))
        fail_msg("%s", err.text);
    if (x.len != y.len || memcmp(x.data, y.data, x.len))
        fail_msg("%s and %s differ", a, b);
    buf_done(&x);
    buf_done(&y);
}

static void middle_path(char ret[STORE_PATH], const char *name, uint64_t step)
{
    struct store s;
    char dir[512];
    struct model_cut cut = {.head = 1, .tail = 1, .step = step, .run = "sixteen bytes.."};
    snprintf(dir, sizeof(dir), "%s/middle", test_path(name));
    assert_int_equal(store_open(&s, dir, NULL), 0);
    store_half_path(&s, &cut, ret);
}

/* Final weights on both sides. */
static void same_results(const char *a, const char *b, uint64_t steps)
{
    char x[600], y[600], mx[STORE_PATH], my[STORE_PATH];
    snprintf(x, sizeof(x), "%s/edge.gguf", test_path(a));
    snprintf(y, sizeof(y), "%s/edge.gguf", test_path(b));
    same_file(x, y);
    middle_path(mx, a, steps);
    middle_path(my, b, steps);
    same_file(mx, my);
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void pipelined_is_sequential(void **state)
{
    struct outcome a = go_well((struct job){.name = "seq", .in_flight = 1, .clip = 1});
    struct outcome b = go_well((struct job){.name = "pipe", .in_flight = 4, .clip = 1});
    assert_true(a.r.last.loss == b.r.last.loss);
    assert_true(b.r.last.loss < 0.8 * b.first_loss);
    assert_true(b.r.last.eval_loss < b.first_eval);
    assert_int_equal(b.r.saved_step, 6);
    same_results("seq", "pipe", 6);
    go_well((struct job){.name = "recompute", .recompute = true, .clip = 1});
    same_results("seq", "recompute", 6);
    remove_dir("pipe");
    remove_dir("recompute");
}

static void tied_pipelined_is_sequential(void **state)
{
    go_well((struct job){.name = "tied-seq", .arch = MODEL_QWEN2, .in_flight = 1, .clip = 1});
    go_well((struct job){.name = "tied-pipe", .arch = MODEL_QWEN2, .in_flight = 4, .clip = 1});
    same_results("tied-seq", "tied-pipe", 6);
    remove_dir("tied-seq");
    remove_dir("tied-pipe");
}

/* Answers that come late and in bursts change nothing; with enough under way the distance hardly costs time. */
static void distance_changes_nothing(void **state)
{
    struct job j = {.name = "near", .in_flight = 8, .accumulate = 8, .steps = 3, .clip = 1};
    go_well(j);
    j.name = "far";
    j.far_ns = 5 * NS_PER_MS;
    struct outcome far = go_well(j);
    same_results("near", "far", 3);
    remove_dir("far");
    j.in_flight = 1;
    struct outcome one = go_well(j);
    same_results("near", "far", 3);
    print_message("10 ms away: %.0f ms with 8 under way, %.0f ms with one\n", far.seconds * 1e3, one.seconds * 1e3);
    assert_true(far.seconds < one.seconds);
    remove_dir("near");
    remove_dir("far");
}

static void split_is_whole(void **state)
{
    struct outcome a = go_well((struct job){.name = "cut", .in_flight = 3});
    struct outcome b = go_well((struct job){.name = "uncut", .whole = true});
    assert_true(a.r.last.loss == b.r.last.loss);
    assert_true(a.r.last.eval_loss == b.r.last.eval_loss);
    assert_true(fabs(a.first_norm - b.first_norm) < 1e-9 * a.first_norm);
    remove_dir("cut");
    remove_dir("uncut");
}

static void accumulation_is_a_bigger_batch(void **state)
{
    struct outcome a = go_well((struct job){.name = "small", .rows = 32, .accumulate = 4, .steps = 3});
    struct outcome b = go_well((struct job){.name = "big", .rows = 128, .accumulate = 1, .steps = 3});
    assert_true(fabs(a.first_loss - b.first_loss) < 1e-6 * a.first_loss);
    assert_true(fabs(a.first_norm - b.first_norm) < 1e-6 * a.first_norm);
    assert_true(fabs(a.r.last.loss - b.r.last.loss) < 1e-4 * a.r.last.loss);
    remove_dir("small");
    remove_dir("big");
}

static struct job eventful(const char *name)
{
    return (struct job){.name = name,
        .in_flight = 2,
        .accumulate = 2,
        .steps = 5,
        .clip = 0.5f,
        .eval_every = 3,
        .export_best = true,
        .save_every = 2};
}

/* Calls at which to have bad luck: all of them, when slow. */
static unsigned stride = 7;

/* Killed at any call (all of it dies at once), then resumed: the same weights as if nothing had happened. */
static void killed_and_resumed_is_uninterrupted(void **state)
{
    struct outcome o = go_well(eventful("calm"));
    assert_true(o.calls > 40);
    for (unsigned at = 1; at <= o.calls; at += stride) {
        struct job j = eventful("killed");
        j.die_at = at;
        assert_int_equal(go(j).rc, 1);
        j.die_at = 0;
        j.resume = true;
        struct outcome again = go(j);
        if (again.rc == -ENOENT && at <= 3) { /* before there was anything to resume */
            j.resume = false;
            again = go(j);
        }
        if (again.rc)
            fail_msg("killed at call %u: %s", at, again.text);
        same_results("calm", "killed", 5);
        remove_dir("killed");
    }
}

static void a_middle_that_restarts_changes_nothing(void **state)
{
    struct outcome o = go_well(eventful("calm2"));
    for (unsigned at = 1; at <= o.calls; at += stride) {
        struct job j = eventful("restarted");
        j.lose_at = at;
        struct outcome r = go(j);
        if (r.rc)
            fail_msg("restarted at call %u: %s", at, r.text);
        assert_int_equal(r.r.last.losses, 1);
        same_results("calm2", "restarted", 5);
        remove_dir("restarted");
    }
}

static void stopped_and_resumed_is_uninterrupted(void **state)
{
    struct job j = {.name = "stopped", .stop_after = 3, .clip = 1};
    struct outcome o = go_well(j);
    assert_int_equal(o.r.end, TRAINER_STOPPED);
    assert_int_equal(o.r.saved_step, 3);
    j.stop_after = 0;
    assert_int_equal(go(j).rc, -EEXIST); /* never over an old run by accident */
    j.resume = true;
    j.accumulate = 2;
    o = go(j);
    assert_int_equal(o.rc, -EINVAL);
    assert_non_null(strstr(o.text, "3 micro-batches"));
    j.accumulate = 3;
    o = go_well(j);
    assert_int_equal(o.r.end, TRAINER_DONE);
    same_results("seq", "stopped", 6);
    remove_dir("stopped");
}

static void a_frozen_head_stays(void **state)
{
    char path[600];
    struct outcome o = go_well((struct job){.name = "frozen", .freeze = true});
    assert_true(o.r.last.loss < o.first_loss);
    snprintf(path, sizeof(path), "%s/edge.gguf", test_path("frozen"));
    struct gguf_file *f = test_open(test_path("llama")), *g = test_open(path);
    const struct gguf_tensor *a = gguf_file_tensor(f, "blk.0.attn_q.weight"), *b = gguf_file_tensor(g, a->name);
    assert_memory_equal(a->data, b->data, a->size);
    a = gguf_file_tensor(f, "blk.4.attn_q.weight");
    b = gguf_file_tensor(g, a->name);
    assert_memory_not_equal(a->data, b->data, a->size);
    gguf_file_close(f);
    gguf_file_close(g);
    remove_dir("frozen");
}

static void adapters_are_exported_and_folded(void **state)
{
    char path[600], middle[STORE_PATH];
    struct outcome o = go_well((struct job){.name = "lora", .lora = 4, .lr = 1e-2f, .steps = 8});
    assert_true(o.r.last.loss < o.first_loss);
    snprintf(path, sizeof(path), "%s/edge-adapter.gguf", test_path("lora"));
    gguf_file_close(test_open(path));
    snprintf(path, sizeof(path), "%s/edge.gguf", test_path("lora"));
    gguf_file_close(test_open(path));
    middle_path(middle, "lora", 8);
    gguf_file_close(test_open(middle));

    struct job j = {.name = "lora2", .lora = 4, .lr = 1e-2f, .steps = 8, .stop_after = 3}; /* and resumed, the same */
    go_well(j);
    j.stop_after = 0;
    j.resume = true;
    go_well(j);
    same_results("lora", "lora2", 8);
    remove_dir("lora");
    remove_dir("lora2");
}

static void the_rate_rises_and_falls(void **state)
{
    struct trainer_config c = {.steps = 110, .lr = 1, .lr_least = 0.1f, .warmup = 10, .schedule = TRAINER_COSINE};
    assert_true(fabs(trainer_rate(&c, 5) - 0.5) < 1e-6);
    assert_true(fabs(trainer_rate(&c, 10) - 1) < 1e-6);
    assert_true(fabs(trainer_rate(&c, 60) - 0.55) < 1e-6);
    assert_true(fabs(trainer_rate(&c, 110) - 0.1) < 1e-6);
    c.schedule = TRAINER_LINEAR;
    assert_true(fabs(trainer_rate(&c, 60) - 0.55) < 1e-6);
    c.schedule = TRAINER_CONSTANT;
    assert_true(trainer_rate(&c, 110) == 1);
}

static int setup(void **state)
{
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    test_folder_make(state);
    struct model_init llama = test_tiny(MODEL_LLAMA), qwen = test_tiny(MODEL_QWEN2);
    test_make(&llama, test_path("llama"));
    test_make(&qwen, test_path("qwen2"));
    return 0;
}

static int teardown(void **state)
{
    char command[600];
    snprintf(command, sizeof(command), "rm -rf '%s'", test_folder);
    return system(command);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "all"))
        stride = 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_rises_and_falls),
        cmocka_unit_test(pipelined_is_sequential),
        cmocka_unit_test(tied_pipelined_is_sequential),
        cmocka_unit_test(distance_changes_nothing),
        cmocka_unit_test(split_is_whole),
        cmocka_unit_test(accumulation_is_a_bigger_batch),
        cmocka_unit_test(stopped_and_resumed_is_uninterrupted),
        cmocka_unit_test(a_frozen_head_stays),
        cmocka_unit_test(adapters_are_exported_and_folded),
        cmocka_unit_test(killed_and_resumed_is_uninterrupted),
        cmocka_unit_test(a_middle_that_restarts_changes_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
