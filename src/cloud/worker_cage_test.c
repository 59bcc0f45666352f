/* A worker's real work inside its cage: a half is served and trained, saved, loaded and exported, with threads, OpenMP and
 * BLAS, under the system call filter and the limits. The test starts itself again through spawn() for that. */
#include "cloud/sandbox.h"

#include "base/test.h"
#include "compute/cpu.h"
#include "model/cut.h"
#include "model/init.h"
#include "os/file.h"
#include "split/half_model.h"

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { D = 256, ROWS = 96, UID = 60791 };

static void must(int rc, const struct error *err, const char *what)
{
    if (!rc)
        return;
    fprintf(stderr, "in the cage: %s: %s\n", what, err->text);
    _exit(1);
}

static void all_finite(const float *x, const char *what)
{
    double sum = 0;
    for (int i = 0; i < ROWS * D; i++)
        sum += fabs((double)x[i]);
    if (sum > 0 && isfinite(sum))
        return;
    fprintf(stderr, "in the cage: %s: nonsense\n", what);
    _exit(1);
}

static float x[ROWS * D], y[ROWS * D], g[ROWS * D];

static void serve(struct error *err)
{
    struct half_infer *h;
    struct infer_row rows[ROWS];
    int32_t seq;
    must(half_files.serve(&h, "/store/cloud.gguf", 8 << 20, 0, 2, 4, err), err, "serving");
    must(h->ops->open(h, 128, &seq), &(struct error){"no room"}, "a session");
    for (int i = 0; i < ROWS; i++)
        rows[i] = (struct infer_row){.seq = seq, .pos = i};
    must(h->ops->run(h, rows, ROWS, x, y, err), err, "running");
    all_finite(y, "vectors");
    h->ops->free(h);
}

static void train(struct error *err)
{
    struct half_train *h;
    struct model_cut cut, back;
    struct split_train_config cfg = {.n_slots = 2, .max_rows = ROWS, .max_samples = 2, .seed = 7};
    struct train_adamw opt = {.lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .grad_scale = 1, .t = 1};
    const uint32_t samples[2] = {ROWS / 2, ROWS / 2};
    must(half_files.train(&h, &cut, "/store/cloud.gguf", &cfg, 0, 2, err), err, "training");
    must(h->ops->forward(h, 0, samples, 2, x, y, err), err, "forward");
    must(h->ops->backward(h, 0, y, g, err), err, "backward");
    all_finite(g, "gradients");
    h->ops->step(h, &opt);
    cut.step = 1;
    must(h->ops->save(h, "/store/step-1.state", &cut, err), err, "saving");
    must(h->ops->load(h, "/store/step-1.state", &back, err), err, "loading");
    must(h->ops->export(h, "/store/exported.gguf", &cut, err), err, "exporting");
    h->ops->free(h);
}

static void *work(void *arg)
{
    struct error err = {""};
    for (int i = 0; i < ROWS * D; i++)
        x[i] = (float)sin(i * 0.37);
    serve(&err);
    train(&err);
    return NULL;
}

static int inside(char **argv)
{
    struct error err = {""};
    const struct cpu *cpu;
    pthread_t thread;
    struct sandbox_config cage = {.folder = argv[2],
        .uid = (uid_t)atoi(argv[3]),
        .memory_bytes = 1ull << 30,
        .max_files = 256,
        .max_threads = 64};
    must(cpu_get(&cpu, &err), &err, "the processor's kernels");
    must(sandbox_enter(&cage, &err), &err, "entering");
    if (pthread_create(&thread, NULL, work, NULL))
        _exit(1);
    pthread_join(thread, NULL);
    _exit(0);
}

static void make_half(const char *dir)
{
    char whole[128], edge[128], cloud[128];
    struct error err = {""};
    struct model_init cfg = {
        .arch = MODEL_LLAMA, .d = D, .n_block = 4, .n_head = 4, .n_head_kv = 2, .d_ff = 2 * D, .seed = 1};
    struct gguf_file *f;
    snprintf(whole, sizeof(whole), "%s/whole.gguf", dir);
    snprintf(edge, sizeof(edge), "%s/edge.gguf", dir);
    snprintf(cloud, sizeof(cloud), "%s/cloud.gguf", dir);
    struct model_split cut = {.head = 1, .tail = 1, .edge_path = edge, .cloud_path = cloud};
    if (model_init(&cfg, whole, NULL, &err) || gguf_file_open(&f, whole, &err) ||
        model_split(f, &cut, NULL, NULL, &err))
        fail_msg("%s", err.text);
    gguf_file_close(f);
}

static void test_a_half_works_in_the_cage(void **state)
{
    char dir[] = "/tmp/worker-cage-XXXXXX", path[128], uid[16] = "0";
    static const char *const left[] = {"cloud.gguf", "exported.gguf", "step-1.state"};
    struct error err;
    int pidfd, status = 0, control = open("/dev/null", O_RDWR);
    pid_t pid;
    assert_non_null(mkdtemp(dir));
    make_half(dir);
    if (!geteuid() && !chown(dir, UID, UID)) {
        snprintf(uid, sizeof(uid), "%d", UID);
        snprintf(path, sizeof(path), "%s/cloud.gguf", dir);
        assert_int_equal(chown(path, UID, UID), 0);
    }
    const char *argv[] = {"/proc/self/exe", "--inside", dir, uid, NULL};
    if (spawn(&pid, &pidfd, &(struct spawn_config){argv, control, -1}, &err)) {
        print_message("skipped: %s\n", err.text);
        skip();
    }
    struct pollfd p = {pidfd, POLLIN, 0};
    if (poll(&p, 1, 25000) != 1)
        kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        fail_msg("ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, left[i]);
        assert_int_equal(access(path, R_OK), 0);
    }
    snprintf(path, sizeof(path), "rm -rf %s", dir);
    assert_int_equal(system(path), 0);
    close(pidfd);
    close(control);
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "--inside"))
        return inside(argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_half_works_in_the_cage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
