#include "cloud/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "cloud/control.h"
#include "cloud/sandbox.h"
#include "compute/cpu.h"
#include "crypto/tls.h"
#include "split/half_model.h"
#include "split/link_tls.h"
#include "split/service.h"

#include <dlfcn.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST_SHAKING 16 /* connections within their handshake */
#define HANDSHAKE_NS (5 * NS_PER_S)

/* One epoll descriptor stands for everything that is ours; the service watches it. */
struct worker {
    const struct worker_config *cfg;
    struct service *service;
    struct control *message;
    int epoll, timer;
    EVP_PKEY *next_key;                    /* of the request that is under way */
    SSL_CTX *tls;                          /* NULL until the first certificate has come */
    int64_t certified_until, certified_at; /* seconds since 1970 */
    int64_t asked_ns;
    struct link *shaking[MOST_SHAKING];
    int64_t shaking_since_ns[MOST_SHAKING];
    struct control_use use, told;
    struct log_limit limit;
    bool revoked;
};

/* --- our certificate --- */

static void ask_for_certificate(struct worker *w)
{
    struct error err = {""};
    struct buf csr = {0};
    EVP_PKEY *key = NULL;
    int rc = pki_key_create(&key, &err);
    if (!rc)
        rc = pki_request_create(&csr, key, &err);
    if (!rc && (rc = control_send(w->cfg->control_fd, CONTROL_SIGN, w->cfg->id, csr.data, csr.len, -1)))
        error_set(&err, -rc, "the supervisor does not listen: %s", strerror(-rc));
    if (rc) {
        log_error("cannot ask for a certificate: %s", err.text);
        EVP_PKEY_free(key);
    } else {
        EVP_PKEY_free(w->next_key);
        w->next_key = key;
    }
    w->asked_ns = clock_now_ns();
    buf_done(&csr);
}

static int use_certificate(struct worker *w, const struct control *m, struct error *err)
{
    size_t first = strlen((const char *)m->body); /* a NUL is kept after the body */
    struct pki_chain chain = {0}, root = {0};
    SSL_CTX *ctx = NULL;
    if (!w->next_key || first + 1 >= m->len)
        return error_set(err, EPROTO, "a certificate came that was not asked for");
    int rc = pki_chain_parse(&chain, m->body, first, err);
    if (!rc)
        rc = pki_chain_parse(&root, m->body + first + 1, m->len - first - 1, err);
    if (!rc)
        rc = pki_verify(&chain, root.cert[0], PKI_SERVER, w->cfg->id, err);
    if (!rc) {
        struct tls_config tls = {.server = true,
            .key = w->next_key,
            .chain = &chain,
            .root = root.cert[0],
            .peer = w->cfg->id,
            .alpn = TLS_ALPN_SPLIT,
            .keylog_fd = w->cfg->keylog_fd};
        rc = tls_context_create(&ctx, &tls, err);
    }
    if (!rc) {
        tls_context_refuse(ctx, w->revoked);
        SSL_CTX_free(w->tls);
        w->tls = ctx;
        w->certified_at = (int64_t)time(NULL);
        w->certified_until = pki_not_after(chain.cert[0]);
        EVP_PKEY_free(w->next_key);
        w->next_key = NULL;
        w->asked_ns = 0;
    }
    pki_chain_done(&chain);
    pki_chain_done(&root);
    return rc;
}

static void on_certificate(struct worker *w, const struct control *m)
{
    struct error err;
    bool first = !w->tls;
    if (use_certificate(w, m, &err))
        log_error("its certificate: %s", err.text);
    else if (first)
        (void)control_send(w->cfg->control_fd, CONTROL_READY, w->cfg->id, NULL, 0, -1);
}

/* Half of its life over, or none yet: ask, again every 10 s until it comes. */
static void care_for_certificate(struct worker *w)
{
    int64_t now = (int64_t)time(NULL);
    bool due = !w->tls || now - w->certified_at > (w->certified_until - w->certified_at) / 2;
    if (due && (!w->asked_ns || clock_now_ns() - w->asked_ns > 10 * NS_PER_S))
        ask_for_certificate(w);
}

/* --- handshakes --- */

static void refused(struct worker *w, struct link *l)
{
    unsigned skipped;
    w->use.handshakes_refused++;
    if (log_limit_pass(&w->limit, 2, &skipped))
        log_warn("refused %s: %s (%u more not logged)", link_tls_peer(l), l->ops->why(l), skipped);
    l->ops->free(l);
}

static void watch_shaking(struct worker *w, int i, int op)
{
    struct link *l = w->shaking[i];
    short wants = l->ops->events(l, 0); /* EPOLLIN, EPOLLOUT are POLLIN, POLLOUT */
    struct epoll_event e = {.events = (uint32_t)wants, .data.u32 = (uint32_t)i};
    (void)epoll_ctl(w->epoll, op, l->ops->fd(l), &e);
}

static void go_on_shaking(struct worker *w, int i)
{
    struct link *l = w->shaking[i];
    int rc = link_tls_handshake(l);
    if (rc == -EAGAIN) {
        watch_shaking(w, i, EPOLL_CTL_MOD);
        return;
    }
    (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, l->ops->fd(l), NULL);
    w->shaking[i] = NULL;
    if (rc) {
        refused(w, l);
        return;
    }
    char peer[96];
    strncpy(peer, link_tls_peer(l), sizeof(peer) - 1);
    peer[sizeof(peer) - 1] = 0;
    w->use.accepted++;
    rc = service_add_link(w->service, l, peer);
    if (rc)
        log_warn("%s: no room for another connection: %s", peer, strerror(-rc));
}

static void give_up_shaking(struct worker *w, int i)
{
    struct link *l = w->shaking[i];
    (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, l->ops->fd(l), NULL);
    w->shaking[i] = NULL;
    (void)link_tls_handshake(l); /* notices the time limit, so that the log says why */
    refused(w, l);
}

static void on_connection(struct worker *w, int fd)
{
    struct error err;
    struct link *l;
    if (!w->tls) {
        close(fd);
        return;
    }
    if (link_tls_accept(&l, w->tls, fd, HANDSHAKE_NS, &err)) {
        log_warn("%s", err.text);
        return;
    }
    int at = 0;
    for (int i = 0; i < MOST_SHAKING; i++) {
        if (!w->shaking[i]) {
            at = i;
            break;
        }
        if (w->shaking_since_ns[i] < w->shaking_since_ns[at])
            at = i;
    }
    if (w->shaking[at])
        give_up_shaking(w, at); /* the oldest makes room */
    w->shaking[at] = l;
    w->shaking_since_ns[at] = clock_now_ns();
    watch_shaking(w, at, EPOLL_CTL_ADD);
    go_on_shaking(w, at);
}

/* --- the supervisor --- */

static void on_revoked(struct worker *w)
{
    w->revoked = true;
    if (w->tls)
        tls_context_refuse(w->tls, true);
    service_revoke(w->service, "this hospital's certificate has been revoked: ask for a new invitation and join again");
}

static void obey(struct worker *w)
{
    struct control *m = w->message;
    int fd, rc;
    while (!(rc = control_recv(w->cfg->control_fd, m, &fd)) || rc == -EPROTO) {
        if (rc)
            continue;
        if (m->kind == CONTROL_CONNECTION && fd >= 0) {
            on_connection(w, fd);
            continue;
        }
        if (fd >= 0)
            close(fd);
        if (m->kind == CONTROL_SIGNED)
            on_certificate(w, m);
        if (m->kind == CONTROL_REVOKED)
            on_revoked(w);
        if (m->kind == CONTROL_STOP)
            service_stop(w->service);
    }
    if (rc == -EPIPE) {
        log_warn("the supervisor is gone");
        service_stop(w->service);
    }
}

static void every_second(struct worker *w)
{
    uint64_t ticks;
    struct service_stats stats;
    while (read(w->timer, &ticks, sizeof(ticks)) > 0)
        ;
    for (int i = 0; i < MOST_SHAKING; i++)
        if (w->shaking[i] && clock_now_ns() - w->shaking_since_ns[i] >= HANDSHAKE_NS)
            give_up_shaking(w, i);
    care_for_certificate(w);
    service_stats(w->service, &stats);
    w->use.links = stats.links;
    if (memcmp(&w->use, &w->told, sizeof(w->use)) &&
        !control_send(w->cfg->control_fd, CONTROL_USE, w->cfg->id, &w->use, sizeof(w->use), -1))
        w->told = w->use;
}

enum { OUR_CONTROL = 1000, OUR_TIMER };

static void on_ready(void *user, int fd)
{
    struct worker *w = user;
    struct epoll_event events[16];
    int n = epoll_wait(w->epoll, events, 16, 0);
    for (int i = 0; i < n; i++) {
        uint32_t which = events[i].data.u32;
        if (which == OUR_CONTROL)
            obey(w);
        else if (which == OUR_TIMER)
            every_second(w);
        else if (w->shaking[which])
            go_on_shaking(w, (int)which);
    }
}

/* --- start --- */

/* What needs files that are out of sight afterwards. */
static int load_before_the_cage(struct error *err)
{
    const struct cpu *cpu;
    (void)dlopen("libgcc_s.so.1", RTLD_NOW); /* wanted by the C library when a thread is cancelled or exits */
    return cpu_get(&cpu, err);
}

static int open_descriptors(struct worker *w, struct error *err)
{
    struct itimerspec each = {{1, 0}, {0, 1}};
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event control = {.events = EPOLLIN, .data.u32 = OUR_CONTROL},
                       timer = {.events = EPOLLIN, .data.u32 = OUR_TIMER};
    if (w->epoll < 0 || w->timer < 0 || timerfd_settime(w->timer, 0, &each, NULL) ||
        epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->cfg->control_fd, &control) ||
        epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->timer, &timer))
        return error_set(err, errno, "cannot wait for events: %s", strerror(errno));
    return 0;
}

/* Unless told: a quarter of the memory, at most 1 GiB (the service's own default). */
static uint64_t kv_bytes(const struct worker_config *cfg)
{
    uint64_t quarter = cfg->memory_bytes / 4;
    if (cfg->kv_bytes || !quarter)
        return cfg->kv_bytes;
    return quarter < 1ull << 30 ? quarter : 1ull << 30;
}

static int serve(struct worker *w, struct error *err)
{
    struct service_config cfg = {.store = "/store",
        .kv_bytes = kv_bytes(w->cfg),
        .memory_bytes = w->cfg->memory_bytes,
        .n_threads = w->cfg->n_threads,
        .halves = &half_files};
    int rc = service_create(&w->service, &cfg, err);
    if (!rc && (rc = service_watch(w->service, w->epoll, on_ready, w)))
        error_set(err, -rc, "cannot wait for events: %s", strerror(-rc));
    return rc ? rc : service_run(w->service, err);
}

int worker_run(const struct worker_config *cfg, struct error *err)
{
    struct worker *w = calloc(1, sizeof(*w));
    if (!w || !(w->message = calloc(1, sizeof(*w->message)))) {
        free(w);
        return error_set(err, ENOMEM, "out of memory");
    }
    w->cfg = cfg;
    w->epoll = w->timer = -1;
    /* The service counts what models take; the cage holds a little more for code, stacks and buffers. */
    struct sandbox_config cage = {.folder = cfg->store,
        .uid = cfg->uid,
        .memory_bytes = cfg->memory_bytes ? cfg->memory_bytes + (512ull << 20) : 0,
        .max_files = 256,
        .max_threads = 512};
    int rc = load_before_the_cage(err);
    if (!rc)
        rc = open_descriptors(w, err);
    if (!rc)
        rc = sandbox_enter(&cage, err);
    if (!rc)
        rc = serve(w, err);
    for (int i = 0; i < MOST_SHAKING; i++)
        if (w->shaking[i])
            w->shaking[i]->ops->free(w->shaking[i]);
    service_free(w->service);
    SSL_CTX_free(w->tls);
    EVP_PKEY_free(w->next_key);
    if (w->epoll >= 0)
        close(w->epoll);
    if (w->timer >= 0)
        close(w->timer);
    free(w->message);
    free(w);
    return rc;
}
