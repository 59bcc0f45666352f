#include "router/router_keys.h"

#include "base/clock.h"
#include "base/log.h"
#include "forward/tables.h"
#include "router/router_bgp.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define HEARD 256u /* SAs whose first packet came since the control thread looked; what does not fit settles by time */

struct router_keys {
    struct router *router;
    struct keys *keys;
    struct reactor_timer timer;
    struct reactor_watch watch; /* the worker has heard something */
    struct {
        struct ip6 peer;
        uint32_t spi;
    } heard[HEARD];
    _Atomic uint32_t written, read;
    struct log_limit refused;
};

static int64_t wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

/* --- to the worker ------------------------------------------------------------------------------------------------- */

struct batch {
    struct router_keys *k;
    const struct keys_change *c;
    unsigned n, refused;
    struct error why;
};

static void apply(void *user, int64_t now)
{
    struct batch *b = user;
    struct forward *f = b->k->router->forward;
    for (unsigned i = 0; i < b->n; i++) {
        const struct esp_sa_config *sa = &b->c[i].sa;
        if (b->c[i].remove)
            forward_sa_remove(f, sa->spi, &sa->peer, sa->sending); /* one that was refused is not there */
        else if (forward_sa_install(f, sa, &b->why))
            b->refused++;
    }
}

static void core(void *user, const struct keys_change *c, unsigned n)
{
    struct router_keys *k = user;
    struct batch b = {.k = k, .c = c, .n = n};
    unsigned skipped;
    loop_call(k->router->loop, apply, &b);
    if (b.refused && log_limit_pass(&k->refused, 1, &skipped))
        log_warn("xSEC: %u keys do not fit the tables: %s", b.refused, b.why.text);
}

/* --- to BGP ------------------------------------------------------------------------------------------------------------ */

static void advertise(void *user, uint32_t vrf, const uint8_t *beacon, size_t len)
{
    struct router_keys *k = user;
    struct error err;
    int rc = pe_beacon_set(router_bgp_pe(k->router->bgp), vrf, beacon, len, clock_now_ns(), &err);
    if (rc && len)
        log_error("xSEC: our beacon cannot be advertised: %s", err.text);
}

static void service(void *user, uint32_t vrf, const struct ip6 *peer, const struct ip6 *sid)
{
    struct router_keys *k = user;
    pe_service_signed(router_bgp_pe(k->router->bgp), vrf, peer, sid, clock_now_ns());
}

/* --- from BGP and from the worker ------------------------------------------------------------------------------------------ */

static void soon(struct router_keys *k)
{
    reactor_timer_set(&k->router->reactor, &k->timer, clock_now_ns());
}

void router_keys_beacon(struct router_keys *k, const struct pe_beacon *b, bool withdrawn)
{
    if (!k)
        return;
    struct keys_beacon x = {.vrf = b->vrf,
        .route = {.next_hop = b->next_hop, .service_sid = b->service_sid},
        .bytes = withdrawn ? NULL : b->bytes,
        .len = withdrawn ? 0 : b->len};
    memcpy(x.route.target, b->target, 8);
    memcpy(x.route.rd, b->rd, 8);
    keys_beacon(k->keys, &x);
    soon(k);
}

void router_keys_heard(struct router_keys *k, const struct ip6 *peer, uint32_t spi)
{
    uint32_t at = k ? atomic_load_explicit(&k->written, memory_order_relaxed) : 0;
    if (!k || at - atomic_load_explicit(&k->read, memory_order_acquire) == HEARD)
        return;
    k->heard[at % HEARD].peer = *peer;
    k->heard[at % HEARD].spi = spi;
    atomic_store_explicit(&k->written, at + 1, memory_order_release);
    eventfd_write(k->watch.fd, 1);
}

static void on_heard(struct reactor_watch *w, uint32_t events)
{
    struct router_keys *k = w->user;
    eventfd_t n;
    eventfd_read(w->fd, &n);
    uint32_t at = atomic_load_explicit(&k->read, memory_order_relaxed);
    for (; at != atomic_load_explicit(&k->written, memory_order_acquire); at++)
        keys_heard(k->keys, &k->heard[at % HEARD].peer, k->heard[at % HEARD].spi, wall_s());
    atomic_store_explicit(&k->read, at, memory_order_release);
    soon(k);
}

/* At least every second: the wall clock may be set. */
static void on_due(struct reactor_timer *t, int64_t now)
{
    struct router_keys *k = t->user;
    int64_t wall = wall_s(), due = keys_poll(k->keys, wall);
    reactor_timer_set(&k->router->reactor, t, due <= wall ? now : now + NS_PER_S);
    router_bgp_turn(k->router->bgp); /* what it had to say */
}

/* --- life -------------------------------------------------------------------------------------------------------------------- */

int router_keys_vpns(const struct router_config *c, struct keys_vpn **ret, unsigned *ret_n, struct error *err)
{
    struct keys_vpn *vpns = calloc(c->n_vrfs + 1, sizeof(*vpns));
    unsigned n = 0;
    int rc = vpns ? 0 : error_set(err, ENOMEM, "no memory");
    for (unsigned i = 0; !rc && i < c->n_vrfs; i++) {
        uint8_t imports[CONFIG_TARGETS_MOST][8], exports[CONFIG_TARGETS_MOST][8];
        const struct config_sid *s = router_config_service(c, c->vrfs[i].id);
        if (!c->vrfs[i].encrypt)
            continue;
        int n_imports = router_config_targets(c, i, false, imports, CONFIG_TARGETS_MOST, err);
        int n_exports = router_config_targets(c, i, true, exports, CONFIG_TARGETS_MOST, err);
        if (n_imports < 0 || n_exports < 0)
            rc = n_imports < 0 ? n_imports : n_exports;
        else if (n_imports != 1 || n_exports != 1 || memcmp(imports, exports, 8) != 0 || !s)
            rc = error_set(
                err, EINVAL, "an encrypted VPN has one route target, imported and exported: it is what keys belong to");
        vpns[n].vrf = c->vrfs[i].id;
        memcpy(vpns[n].target, exports, 8);
        vpns[n].service_sid = s ? s->sid.a : (struct ip6){{0}};
        rc = rc ? rc : router_config_rd(c, i, vpns[n].rd, err);
        n++;
        if (rc)
            error_prefix(err, rc, "vrfs[%u]", i);
    }
    if (rc) {
        free(vpns);
        return rc;
    }
    *ret = vpns;
    *ret_n = n;
    return 0;
}

static int configure(struct router_keys *k, const struct router_config *c, struct error *err)
{
    struct keys_vpn *vpns;
    unsigned n;
    int rc = router_keys_vpns(c, &vpns, &n, err);
    if (rc)
        return rc;
    rc = keys_configure(k->keys, vpns, n, wall_s(), err);
    free(vpns);
    return rc;
}

static int open_keys(struct router_keys *k, const struct router_config *c, struct error *err)
{
    struct keys_config x = {.kit = c->xsec.kit,
        .state = c->xsec.state,
        .revoked = c->xsec.revoked,
        .psk = c->xsec.psk,
        .loopback = c->loopback,
        .lifetime_s = c->xsec.lifetime_ns / NS_PER_S,
        .uid = k->router->uid,
        .gid = k->router->gid};
    struct keys_above above = {k, advertise, core, service};
    memcpy(x.seed, k->router->seed, sizeof(x.seed));
    int rc = keys_create(&k->keys, &x, &above, wall_s(), err);
    explicit_bzero(x.seed, sizeof(x.seed));
    return rc ? rc : configure(k, c, err);
}

int router_keys_open(struct router_keys **ret, struct router *r, struct error *err)
{
    struct router_keys *k = calloc(1, sizeof(*k));
    if (!k)
        return error_set(err, ENOMEM, "no memory for xSEC");
    k->router = r;
    k->timer = (struct reactor_timer){.due = on_due, .user = k};
    k->watch = (struct reactor_watch){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = on_heard, .user = k};
    int rc = k->watch.fd < 0 || reactor_add(&r->reactor, &k->watch, EPOLLIN)
                 ? error_set(err, errno, "no descriptor for xSEC: %s", strerror(errno))
                 : open_keys(k, &r->config, err);
    if (rc) {
        router_keys_close(k);
        return error_prefix(err, rc, "xSEC");
    }
    soon(k);
    *ret = k;
    return 0;
}

/* On the worker: from here on it tells us nothing. */
static void detach(void *user, int64_t now)
{
    ((struct router *)user)->keys = NULL;
}

void router_keys_close(struct router_keys *k)
{
    if (!k)
        return;
    loop_call(k->router->loop, detach, k->router);
    reactor_timer_clear(&k->router->reactor, &k->timer);
    keys_free(k->keys);
    if (k->watch.fd >= 0) {
        reactor_remove(&k->router->reactor, &k->watch);
        close(k->watch.fd);
    }
    free(k);
}

void router_keys_reload(struct router_keys *k, const struct router_config *to)
{
    struct error err;
    if (!k)
        return;
    if (keys_reload(k->keys, wall_s(), &err))
        log_error("xSEC: nothing has changed: %s", err.text);
    if (configure(k, to, &err))
        log_error("xSEC did not take all of the changed configuration: %s", err.text);
    soon(k);
}

const struct keys *router_keys_view(const struct router_keys *k)
{
    return k ? k->keys : NULL;
}
