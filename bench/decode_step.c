/* What the split protocol adds to one decode step: the same half that computes nothing (it copies), in this process and
 * behind the protocol over loopback TCP, one row at a time and with eight sessions at once. Prints JSON lines. */
#include "base/clock.h"
#include "os/file.h"
#include "split/local_middle.h"
#include "split/remote_middle.h"
#include "split/service.h"
#include "split/store.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEPS 3000

/* --- a half that copies ------------------------------------------------------------------------------------------------ */

struct copier {
    struct half_infer half;
    int32_t len[64];
    bool used[64];
};

static int c_open(struct half_infer *h, uint32_t n_ctx, int32_t *ret)
{
    struct copier *c = (struct copier *)h;
    for (int32_t i = 0; i < 64; i++)
        if (!c->used[i]) {
            c->used[i] = true;
            c->len[i] = 0;
            *ret = i;
            return 0;
        }
    return -ENOSPC;
}

static void c_close(struct half_infer *h, int32_t seq)
{
    ((struct copier *)h)->used[seq] = false;
}

static int32_t c_len(const struct half_infer *h, int32_t seq)
{
    return ((const struct copier *)h)->len[seq];
}

static void c_truncate(struct half_infer *h, int32_t seq, int32_t len)
{
    ((struct copier *)h)->len[seq] = len;
}

static int c_run(
    struct half_infer *h, const struct infer_row *rows, uint32_t n, const float *in, float *out, struct error *err)
{
    memcpy(out, in, (size_t)n * h->d * sizeof(float));
    for (uint32_t i = 0; i < n; i++)
        ((struct copier *)h)->len[rows[i].seq] = rows[i].pos + 1;
    return 0;
}

static void c_free(struct half_infer *h)
{
    free(h);
}

static uint32_t width;

static struct half_infer *copier(void)
{
    static const struct half_infer_ops ops = {c_open, c_close, c_len, c_truncate, c_run, c_free};
    struct copier *c = calloc(1, sizeof(*c));
    c->half = (struct half_infer){&ops, width, 1 << 20, 1 << 20, 64};
    return &c->half;
}

static int h_check(const char *path, const struct model_cut *cut, struct error *err)
{
    return 0;
}

static int h_serve(struct half_infer **ret, const char *path, uint64_t kv_bytes, uint64_t memory_bytes,
    uint32_t n_threads, uint32_t max_sessions, struct error *err)
{
    *ret = copier();
    return 0;
}

static int h_train(struct half_train **ret, struct model_cut *ret_cut, const char *path,
    const struct split_train_config *cfg, uint64_t memory_bytes, uint32_t n_threads, struct error *err)
{
    return error_set(err, ENOTSUP, "not here");
}

static const struct service_halves halves = {h_check, h_serve, h_train};

/* --- measuring ------------------------------------------------------------------------------------------------------------ */

static int cmp(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void wait_for(struct middle *m, enum middle_event_kind kind)
{
    struct middle_event e;
    for (;;) {
        if (m->ops->next(m, 10 * NS_PER_S, &e)) {
            fprintf(stderr, "nothing came\n");
            exit(1);
        }
        if (e.kind == kind)
            return;
        if (e.kind == MIDDLE_FAILED) {
            fprintf(stderr, "%s\n", e.text);
            exit(1);
        }
    }
}

static void measure(const char *what, struct middle *m, uint32_t n_sessions)
{
    static int64_t took[STEPS];
    float *x = calloc(width, sizeof(float));
    for (uint32_t s = 1; s <= n_sessions; s++) {
        m->ops->open(m, s, 2 * STEPS);
        wait_for(m, MIDDLE_OPENED);
    }
    for (uint32_t k = 0; k < STEPS; k++) {
        int64_t began = clock_now_ns();
        for (uint32_t s = 1; s <= n_sessions; s++)
            m->ops->forward(m, s, 0, k, 1, x, true);
        for (uint32_t s = 1; s <= n_sessions; s++)
            wait_for(m, MIDDLE_VECTORS);
        took[k] = clock_now_ns() - began;
    }
    qsort(took, STEPS, sizeof(*took), cmp);
    printf("{\"what\":\"%s\",\"d\":%u,\"sessions\":%u,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f}\n", what, width,
        n_sessions, (double)took[STEPS / 2] / 1e3, (double)took[STEPS * 9 / 10] / 1e3,
        (double)took[STEPS * 99 / 100] / 1e3);
    fflush(stdout);
    free(x);
    m->ops->free(m);
}

static int listener;
static struct sockaddr_in address = {.sin_family = AF_INET};

static int tcp_connect(void *user, enum split_which which, struct link **ret, struct error *err)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
        return error_set(err, errno, "connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return link_plain_create(ret, fd);
}

static void on_listener(void *user, int fd)
{
    struct link *l;
    int got = accept(fd, NULL, NULL), one = 1;
    setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (got >= 0 && !link_plain_create(&l, got))
        service_add_link(user, l, "bench");
}

static void *serve(void *arg)
{
    struct error err;
    service_run(arg, &err);
    return NULL;
}

static void remote(const char *dir, enum split_codec codec, const char *what, uint32_t n_sessions)
{
    struct remote_config cfg = {
        .connect = tcp_connect, .d = width, .codec = codec, .cut = {.part = MODEL_CLOUD, .id = {1}}};
    struct middle *m;
    struct error err = {""};
    (void)dir;
    if (remote_middle_create(&m, &cfg, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    measure(what, m, n_sessions);
}

int main(void)
{
    char dir[] = "/tmp/meridian-bench-XXXXXX", path[STORE_PATH], command[64];
    struct error err = {""};
    struct store store;
    struct model_cut cut = {.part = MODEL_CLOUD, .id = {1}};
    pthread_t thread;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!mkdtemp(dir) || bind(listener, (struct sockaddr *)&address, len) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &len) || store_open(&store, dir, &err))
        return 1;
    store_half_path(&store, &cut, path);
    file_write(path, "x", 1, 0600, &err);
    for (width = 1024; width <= 4096; width *= 4) {
        struct service *s;
        struct service_config cfg = {.store = dir, .halves = &halves};
        struct middle *m;
        for (uint32_t n = 1; n <= 8; n *= 8) {
            if (local_middle_create_over(&m, copier(), NULL))
                return 1;
            measure("in this process", m, n);
        }
        if (service_create(&s, &cfg, &err) || service_watch(s, listener, on_listener, s) ||
            pthread_create(&thread, NULL, serve, s))
            return 1;
        remote(dir, SPLIT_F32, "loopback TCP, f32", 1);
        remote(dir, SPLIT_F32, "loopback TCP, f32", 8);
        remote(dir, SPLIT_F16, "loopback TCP, f16", 1);
        remote(dir, SPLIT_INT8, "loopback TCP, int8", 1);
        service_stop(s);
        pthread_join(thread, NULL);
        service_free(s);
    }
    close(listener);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) != 0;
}
