#include "split/testing_world.h"

#include "base/clock.h"
#include "base/test.h"
#include "os/file.h"
#include "split/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct world *the_world; /* service_halves have no argument for it */

/* --- halves --------------------------------------------------------------------------------------------------------- */

void world_half(const struct model_cut *cut, uint8_t ret[128])
{
    memset(ret, 0, 128);
    memcpy(ret, "half", 4);
    memcpy(ret + 8, cut->id, 32);
    memcpy(ret + 40, &cut->step, 8);
    memcpy(ret + 48, cut->run, 16);
}

void world_install(struct world *w, const struct model_cut *cut)
{
    struct store store;
    char path[STORE_PATH];
    uint8_t bytes[128];
    assert_int_equal(store_open(&store, w->dir, NULL), 0);
    store_half_path(&store, cut, path);
    world_half(cut, bytes);
    assert_int_equal(file_write(path, bytes, sizeof(bytes), 0600, NULL), 0);
}

static int halves_check(const char *path, const struct model_cut *cut, struct error *err)
{
    uint8_t wanted[128];
    struct file_map m;
    world_half(cut, wanted);
    if (file_map_open(&m, path, err))
        return -EBADMSG;
    bool right = m.size >= sizeof(wanted) && !memcmp(m.data, wanted, sizeof(wanted));
    file_map_close(&m);
    return right ? 0 : error_set(err, EBADMSG, "not a half of this cut");
}

static int halves_serve(struct half_infer **ret, const char *path, uint64_t kv_bytes, uint64_t memory_bytes,
    uint32_t n_threads, uint32_t max_sessions, struct error *err)
{
    *ret = testing_infer(WORLD_D, kv_bytes, &the_world->counts);
    return 0;
}

static int halves_train(struct half_train **ret, struct model_cut *ret_cut, const char *path,
    const struct split_train_config *cfg, uint64_t memory_bytes, uint32_t n_threads, struct error *err)
{
    *ret = testing_train(WORLD_D, cfg->n_slots, cfg->max_rows, &the_world->counts);
    *ret_cut = the_world->cut;
    return 0;
}

static const struct service_halves halves = {halves_check, halves_serve, halves_train};

/* --- a link that dies -------------------------------------------------------------------------------------------------- */

struct mortal {
    struct link link;
    struct link *inner;
    bool dead, mute;
};

/* How many of these bytes may pass; the link that carries the fatal byte is dead. */
static size_t let_pass(struct mortal *m, size_t n)
{
    long left = atomic_load(&the_world->die_after);
    while (left > 0) {
        long after = left > (long)n ? left - (long)n : 0;
        if (!atomic_compare_exchange_weak(&the_world->die_after, &left, after))
            continue;
        if (after)
            return n;
        m->dead = true;
        atomic_fetch_add(&the_world->deaths, 1);
        return (size_t)left;
    }
    return n;
}

static ssize_t mortal_recv(struct link *l, void *to, size_t cap)
{
    struct mortal *m = (struct mortal *)l;
    if (m->dead)
        return -ECONNRESET;
    if (m->mute || atomic_load(&the_world->frozen))
        return -EAGAIN;
    ssize_t n = m->inner->ops->recv(m->inner, to, cap);
    return n > 0 ? (ssize_t)let_pass(m, (size_t)n) : n;
}

static ssize_t mortal_send(struct link *l, const void *from, size_t len)
{
    struct mortal *m = (struct mortal *)l;
    if (m->dead)
        return -ECONNRESET;
    if (m->mute || atomic_load(&the_world->frozen)) {
        m->mute = true;
        return (ssize_t)len;
    }
    size_t n = let_pass(m, len);
    return n ? m->inner->ops->send(m->inner, from, n) : -ECONNRESET;
}

static int mortal_fd(const struct link *l)
{
    const struct mortal *m = (const struct mortal *)l;
    return m->inner->ops->fd(m->inner);
}

static short mortal_events(const struct link *l, int want_send)
{
    const struct mortal *m = (const struct mortal *)l;
    if (m->mute || atomic_load(&the_world->frozen))
        return 0;
    return m->dead ? POLLIN | POLLOUT : m->inner->ops->events(m->inner, want_send);
}

static size_t mortal_pending(const struct link *l)
{
    return 0;
}

static const char *mortal_why(const struct link *l)
{
    return "the test cut the cable";
}

static void mortal_free(struct link *l)
{
    struct mortal *m = (struct mortal *)l;
    m->inner->ops->free(m->inner);
    free(m);
}

static struct link *mortal_create(int fd)
{
    static const struct link_ops ops = {
        mortal_recv, mortal_send, mortal_fd, mortal_events, mortal_pending, mortal_why, mortal_free};
    struct mortal *m = calloc(1, sizeof(*m));
    m->link.ops = &ops;
    assert_int_equal(link_plain_create(&m->inner, fd), 0);
    return &m->link;
}

/* --- the network --------------------------------------------------------------------------------------------------------- */

int world_socket(struct world *w)
{
    int pair[2];
    struct link *l;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(link_plain_create(&l, pair[1]), 0);
    pthread_mutex_lock(&w->lock);
    if (w->service)
        service_add_link(w->service, l, "a test");
    else
        l->ops->free(l);
    pthread_mutex_unlock(&w->lock);
    return pair[0];
}

static int world_connect(void *user, enum split_which which, struct link **ret, struct error *err)
{
    struct world *w = user;
    if (atomic_load(&w->cut_off))
        return error_set(err, ECONNREFUSED, "the test has cut everything off");
    atomic_fetch_add(&w->links, 1);
    *ret = mortal_create(world_socket(w));
    return 0;
}

struct remote_config world_remote(struct world *w)
{
    return (struct remote_config){.connect = world_connect,
        .user = w,
        .peer = "the worker",
        .cut = w->cut,
        .d = WORLD_D,
        .codec = SPLIT_F32,
        .retry_least_ns = NS_PER_MS,
        .retry_most_ns = 4 * NS_PER_MS,
        .ping_ns = 200 * NS_PER_MS};
}

/* --- the worker -------------------------------------------------------------------------------------------------------- */

static void *worker_main(void *arg)
{
    struct world *w = arg;
    struct error err;
    service_run(w->service, &err);
    return NULL;
}

void world_worker_start(struct world *w)
{
    struct error err = {""};
    struct service *s;
    w->cfg.store = w->dir;
    w->cfg.halves = w->cfg.halves ? w->cfg.halves : &halves;
    if (!w->cfg.kv_bytes)
        w->cfg.kv_bytes = 2000;
    if (service_create(&s, &w->cfg, &err))
        fail_msg("%s", err.text);
    pthread_mutex_lock(&w->lock);
    w->service = s;
    pthread_mutex_unlock(&w->lock);
    assert_int_equal(pthread_create(&w->thread, NULL, worker_main, w), 0);
}

void world_worker_stop(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    struct service *s = w->service;
    pthread_mutex_unlock(&w->lock);
    service_stop(s);
    pthread_join(w->thread, NULL);
    pthread_mutex_lock(&w->lock);
    w->service = NULL;
    pthread_mutex_unlock(&w->lock);
    service_free(s);
}

void world_start(struct world *w)
{
    the_world = w;
    w->cut = (struct model_cut){.part = MODEL_CLOUD, .id = {0xab, 0xcd, 0xef}, .head = 1, .tail = 1};
    pthread_mutex_init(&w->lock, NULL);
    snprintf(w->dir, sizeof(w->dir), "/tmp/meridian-world-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    world_install(w, &w->cut);
    world_worker_start(w);
}

void world_end(struct world *w)
{
    char command[128];
    if (w->service)
        world_worker_stop(w);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    pthread_mutex_destroy(&w->lock);
}
