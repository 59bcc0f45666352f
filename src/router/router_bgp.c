#include "router/router_bgp.h"

#include "base/clock.h"
#include "base/log.h"
#include "peering/peering.h"
#include "peering/show.h"
#include "router/router_changes.h"
#include "router/router_customers.h"
#include "router/router_keys.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MOVES_NS (20 * NS_PER_MS) /* between looks at slices that are being moved */
#define PEERS    64u

struct cluster_peer {
    struct config_bgp_peer config; /* its families are not ours */
    uint16_t number;
};

struct router_bgp {
    struct router *router;
    struct pe *pe;
    struct peering *peering;
    struct changes *changes;
    struct reactor_watch watch, show;
    struct reactor_timer timer;
    uint32_t scope; /* interface of the punt */
    struct cluster_peer peers[PEERS];
    unsigned n_peers;
    struct {
        struct config_customer config;
        uint16_t number;
    } *customers; /* CONFIG_CUSTOMERS_MOST */
    unsigned n_customers;
    struct log_limit refused;
    struct router_bgp_seen seen;
};

/* --- the turn: sockets, decisions, tables ------------------------------------------------------------------------ */

static void on_refused(void *user, uint32_t vrf, const struct ip_prefix *p, const char *why)
{
    struct router_bgp *b = user;
    unsigned skipped;
    if (p && vrf)
        pe_route_refused(b->pe, vrf, p);
    if (log_limit_pass(&b->refused, 1, &skipped))
        log_warn("BGP: the tables do not take a change: %s", why);
}

static void on_moved(void *user, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid, uint32_t path)
{
    pe_slice_moved(((struct router_bgp *)user)->pe, tenant, class_, service_sid, path, clock_now_ns());
}

static void note(struct router_bgp *b)
{
    struct router_bgp_seen now = {.pe = pe_counts(b->pe), .tables = router_bgp_counts(b)};
    for (uint16_t i = 1; i < BGP_PEERS_MOST; i++) {
        const struct bgp_session *s = bgp_peer_best_session(pe_speaker(b->pe), i);
        now.sessions += s != NULL;
        now.established += s && s->state == BGP_ESTABLISHED;
    }
    pthread_mutex_lock(&b->router->config_lock);
    b->seen = now;
    pthread_mutex_unlock(&b->router->config_lock);
}

const struct router_bgp_seen *router_bgp_seen(const struct router_bgp *b)
{
    return b ? &b->seen : NULL;
}

static void turn(struct router_bgp *b)
{
    int64_t now = 0, due = 0;
    bool moving = false;
    peering_step(b->peering, 0);
    for (int rounds = 0; rounds < 4 && due <= now; rounds++) {
        moving = changes_moves(b->changes, on_moved, b);
        now = clock_now_ns();
        due = pe_poll(b->pe, now);
        changes_flush(b->changes, on_refused, b);
    }
    peering_step(b->peering, 0); /* what pe_poll had to say */
    if (peering_due(b->peering) < due)
        due = peering_due(b->peering);
    if (moving && now + MOVES_NS < due)
        due = now + MOVES_NS;
    if (changes_waiting(b->changes)) /* that step has heard something, too */
        due = now;
    reactor_timer_set(&b->router->reactor, &b->timer, due);
    note(b);
}

void router_bgp_turn(struct router_bgp *b)
{
    if (b)
        turn(b);
}

static void on_ready(struct reactor_watch *w, uint32_t events)
{
    turn(w->user);
}

static void on_due(struct reactor_timer *t, int64_t now)
{
    turn(t->user);
}

static void on_show(struct reactor_watch *w, uint32_t events)
{
    peering_show_serve(w->fd, pe_speaker(((struct router_bgp *)w->user)->pe), clock_now_ns());
}

/* --- what src/pe asks for beside tables ----------------------------------------------------------------------------- */

static void link_peer(void *user, uint16_t peer, bool gone)
{
    struct router_bgp *b = changes_owner(user);
    struct error err;
    struct peering_peer p = {.peer = peer,
        .secure = {.gtsm = true},
        .source = {.family = IP_V6, .a = pe_link_address(b->router->config.id)},
        .scope = b->scope};
    if (gone)
        peering_peer_remove(b->peering, peer);
    else if (peering_peer_add(b->peering, &p, &err))
        log_warn("BGP: %s", err.text);
}

static void beacon(void *user, const struct pe_beacon *x, bool withdrawn)
{
    router_keys_beacon(((struct router_bgp *)changes_owner(user))->router->keys, x, withdrawn);
}

static void say(void *user, bool warning, const char *text)
{
    log_write(warning ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "%s", text);
}

/* --- peers of the cluster --------------------------------------------------------------------------------------------- */

static void families_of(const struct config_bgp_peer *p, struct bgp_session_config *ret)
{
    unsigned n = p->n_families ? p->n_families : 6;
    for (unsigned i = 0; i < n; i++)
        ret->families[i] = router_config_family(p->n_families ? p->families[i] : i);
    ret->n_families = (uint8_t)n;
}

static int add_peer(
    struct router_bgp *b, const struct router_config *c, const struct config_bgp_peer *p, struct error *err)
{
    struct bgp_peer_config peer = {.kind = BGP_PEER_INTERNAL,
        .address = p->address,
        .session = {.local_as = c->bgp.as,
            .peer_as = c->bgp.as,
            .hold_time_s = (uint16_t)c->bgp.hold_s,
            .restart_time_s = (uint16_t)c->bgp.restart_s,
            .long_lived_time_s = c->bgp.long_lived_s,
            .passive = p->passive,
            .hostname = b->router->config.name,
            .connect_retry_ns = NS_PER_S},
        .prefixes_most = p->limit};
    struct cluster_peer *to = &b->peers[b->n_peers];
    if (b->n_peers == PEERS)
        return error_set(err, ENOSPC, "there are already %u peers", PEERS);
    families_of(p, &peer.session);
    int rc = bgp_peer_add(pe_speaker(b->pe), &peer, clock_now_ns(), &to->number, err);
    if (rc)
        return rc;
    struct peering_peer sockets = {.peer = to->number, .secure = {.gtsm = p->ttl_security}};
    memcpy(sockets.secure.md5, p->md5, sizeof(sockets.secure.md5));
    if (p->address.family == IP_V6)
        sockets.source = (struct ip_addr){.family = IP_V6, .a = b->router->config.loopback};
    rc = peering_peer_add(b->peering, &sockets, err);
    if (rc) {
        bgp_peer_remove(pe_speaker(b->pe), to->number, clock_now_ns());
        return rc;
    }
    to->config = *p;
    to->config.families = NULL;
    b->n_peers++;
    return 0;
}

static void remove_peer(struct router_bgp *b, unsigned i)
{
    peering_peer_remove(b->peering, b->peers[i].number);
    bgp_peer_remove(pe_speaker(b->pe), b->peers[i].number, clock_now_ns());
    b->peers[i] = b->peers[--b->n_peers];
}

/* Families are compared by what the session was offered. */
static bool same_peer(const struct router_bgp *b, const struct cluster_peer *a, const struct config_bgp_peer *p)
{
    struct bgp_session_config now = {0};
    const struct bgp_session_config *was = &bgp_peer_config(pe_speaker(b->pe), a->number)->session;
    families_of(p, &now);
    return ip_addr_equal(&a->config.address, &p->address) && !strcmp(a->config.md5, p->md5) &&
           a->config.ttl_security == p->ttl_security && a->config.passive == p->passive &&
           a->config.limit == p->limit && now.n_families == was->n_families &&
           !memcmp(now.families, was->families, sizeof(now.families));
}

static const struct config_bgp_peer *in_config(const struct router_bgp *b, const struct config_bgp *c, unsigned i)
{
    for (unsigned k = 0; k < c->n_peers; k++)
        if (same_peer(b, &b->peers[i], &c->peers[k]))
            return &c->peers[k];
    return NULL;
}

static bool has_peer(const struct router_bgp *b, const struct ip_addr *a)
{
    for (unsigned i = 0; i < b->n_peers; i++)
        if (ip_addr_equal(&b->peers[i].config.address, a))
            return true;
    return false;
}

static int take_peers(struct router_bgp *b, const struct router_config *c, struct error *err)
{
    int rc = 0;
    for (unsigned i = b->n_peers; i-- > 0;)
        if (!in_config(b, &c->bgp, i))
            remove_peer(b, i);
    for (unsigned k = 0; !rc && k < c->bgp.n_peers; k++)
        if (!has_peer(b, &c->bgp.peers[k].address) && (rc = add_peer(b, c, &c->bgp.peers[k], err)) != 0)
            error_prefix(err, rc, "bgp.peers[%u]", k);
    return rc;
}

/* --- customers' routers -------------------------------------------------------------------------------------------------- */

static const struct ip6 no_hop;

static int add_customer(
    struct router_bgp *b, const struct router_config *c, const struct config_customer *k, struct error *err)
{
    struct bgp_peer_config peer = {.kind = BGP_PEER_CUSTOMER,
        .address = k->address,
        .next_hop = k->next_hop6,
        .session = {.local_as = c->bgp.as,
            .peer_as = k->as,
            .hold_time_s = (uint16_t)c->bgp.hold_s,
            .restart_time_s = (uint16_t)c->bgp.restart_s,
            .passive = k->passive,
            .connect_retry_ns = NS_PER_S},
        .customer = {.vrf = k->vrf,
            .local_pref = k->preference,
            .as_override = k->as_override,
            .has_site = k->site_text[0] != 0},
        .own_as_allowed = (uint8_t)k->own_as,
        .prefixes_most = k->limit};
    const char *device = customers_device(b->router, k->vrf);
    uint16_t number;
    if (!device)
        return error_set(err, EPERM, "its VRF has no interface for BGP; that takes a restart");
    memcpy(peer.customer.next_hop4, k->next_hop4.b, 4);
    memcpy(peer.customer.site, k->site, 8);
    if (!ip6_equal(&k->next_hop4, &no_hop))
        peer.session.families[peer.session.n_families++] = BGP_IPV4_UNICAST;
    if (!ip6_equal(&k->next_hop6, &no_hop))
        peer.session.families[peer.session.n_families++] = BGP_IPV6_UNICAST;
    int rc = bgp_peer_add(pe_speaker(b->pe), &peer, clock_now_ns(), &number, err);
    if (rc)
        return rc;
    struct peering_peer sockets = {.peer = number, .source = k->local, .secure = {.gtsm = k->ttl_security}};
    memcpy(sockets.secure.md5, k->md5, sizeof(sockets.secure.md5));
    snprintf(sockets.secure.device, sizeof(sockets.secure.device), "%s", device);
    rc = peering_peer_add(b->peering, &sockets, err);
    if (rc) {
        bgp_peer_remove(pe_speaker(b->pe), number, clock_now_ns());
        return rc;
    }
    b->customers[b->n_customers].config = *k;
    b->customers[b->n_customers++].number = number;
    return 0;
}

static bool same_customer(const struct config_customer *a, const struct config_customer *b)
{
    return a->vrf == b->vrf && ip_addr_equal(&a->address, &b->address) && ip_addr_equal(&a->local, &b->local) &&
           ip6_equal(&a->next_hop4, &b->next_hop4) && ip6_equal(&a->next_hop6, &b->next_hop6) && a->as == b->as &&
           !strcmp(a->md5, b->md5) && a->ttl_security == b->ttl_security && a->passive == b->passive &&
           a->as_override == b->as_override && a->limit == b->limit && a->preference == b->preference &&
           a->own_as == b->own_as && !strcmp(a->site_text, b->site_text);
}

/* Those that are in the file no longer, or otherwise: before the VRFs change. */
static void drop_customers(struct router_bgp *b, const struct config_bgp *c)
{
    for (unsigned i = b->n_customers; i-- > 0;) {
        bool stays = false;
        for (unsigned k = 0; k < c->n_customers; k++)
            stays |= same_customer(&b->customers[i].config, &c->customers[k]);
        if (stays)
            continue;
        peering_peer_remove(b->peering, b->customers[i].number);
        bgp_peer_remove(pe_speaker(b->pe), b->customers[i].number, clock_now_ns());
        b->customers[i] = b->customers[--b->n_customers];
    }
}

static int take_customers(struct router_bgp *b, const struct router_config *c, struct error *err)
{
    int rc = 0;
    for (unsigned k = 0; !rc && k < c->bgp.n_customers; k++) {
        bool there = false;
        for (unsigned i = 0; i < b->n_customers; i++)
            there |= same_customer(&b->customers[i].config, &c->bgp.customers[k]);
        if (!there && (rc = add_customer(b, c, &c->bgp.customers[k], err)) != 0)
            error_prefix(err, rc, "bgp.customers[%u]", k);
    }
    return rc;
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static int open_pe(struct router_bgp *b, struct router *r, struct error *err)
{
    struct pe_config c;
    struct pe_above above = {0};
    int rc = changes_create(&b->changes, r->loop, r->forward, b);
    rc = rc ? error_set(err, -rc, "no memory") : router_bgp_config(&r->config, &c, err);
    if (rc)
        return rc;
    changes_above(&above, b->changes);
    above.link_peer = link_peer;
    above.beacon = beacon;
    above.log = say;
    if (getrandom(&c.seed, sizeof(c.seed), 0) != sizeof(c.seed))
        rc = error_set(err, errno, "no random numbers");
    rc = rc ? rc : pe_create(&b->pe, &c, &above, clock_now_ns(), err);
    router_bgp_config_free(&c);
    return rc;
}

static int open_sockets(struct router_bgp *b, struct router *r, struct error *err)
{
    struct peering_config c = {.speaker = pe_speaker(b->pe)};
    b->scope = if_nametoindex(r->config.punt.device);
    c.scope = b->scope;
    if (r->config.bgp.links)
        c.listen[c.n_listen++] = (struct ip_addr){.family = IP_V6, .a = pe_link_address(r->config.id)};
    if (r->config.bgp.n_peers) /* a reflector beside a router without peers has the loopback for itself */
        c.listen[c.n_listen++] = (struct ip_addr){.family = IP_V6, .a = r->config.loopback};
    int rc = peering_create(&b->peering, &c, err);
    rc = rc ? rc : customers_listen(r, b->peering, err);
    if (rc)
        return rc;
    b->watch = (struct reactor_watch){.fd = peering_descriptor(b->peering), .ready = on_ready, .user = b};
    if (b->watch.fd < 0 || reactor_add(&r->reactor, &b->watch, EPOLLIN))
        return error_set(err, errno, "no descriptor for BGP: %s", strerror(errno));
    return 0;
}

static int open_show(struct router_bgp *b, struct router *r, struct error *err)
{
    const char *path = r->config.bgp.control;
    if (!path[0])
        return 0;
    int fd = peering_show_listen(path, err);
    if (fd < 0)
        return fd;
    b->show = (struct reactor_watch){.fd = fd, .ready = on_show, .user = b};
    if (chown(path, r->uid, r->gid) || reactor_add(&r->reactor, &b->show, EPOLLIN))
        return error_set(err, errno, "%s: %s", path, strerror(errno));
    return 0;
}

int router_bgp_open(struct router_bgp **ret, struct router *r, struct error *err)
{
    struct router_bgp *b = calloc(1, sizeof(*b));
    if (!b)
        return error_set(err, ENOMEM, "no memory for BGP");
    b->router = r;
    b->watch.fd = b->show.fd = -1;
    b->timer = (struct reactor_timer){.due = on_due, .user = b};
    *ret = b;
    b->customers = calloc(CONFIG_CUSTOMERS_MOST, sizeof(*b->customers));
    int rc = b->customers ? open_pe(b, r, err) : error_set(err, ENOMEM, "no memory for BGP");
    rc = rc ? rc : open_sockets(b, r, err);
    rc = rc ? rc : open_show(b, r, err);
    rc = rc ? rc : take_peers(b, &r->config, err);
    rc = rc ? rc : take_customers(b, &r->config, err);
    if (rc)
        return error_prefix(err, rc, "BGP");
    reactor_timer_set(&r->reactor, &b->timer, 0);
    return 0;
}

void router_bgp_close(struct router_bgp *b)
{
    if (!b)
        return;
    reactor_timer_clear(&b->router->reactor, &b->timer);
    if (b->watch.fd >= 0)
        reactor_remove(&b->router->reactor, &b->watch);
    if (b->show.fd >= 0) {
        reactor_remove(&b->router->reactor, &b->show);
        close(b->show.fd);
        unlink(b->router->config.bgp.control);
    }
    peering_free(b->peering);
    pe_free(b->pe);
    changes_free(b->changes);
    free(b->customers);
    free(b);
}

struct lane_look {
    struct router_bgp *bgp;
    uint64_t lane;
    struct forward_slice slice;
    bool found;
};

static void look_for_slice(void *user, int64_t now)
{
    struct lane_look *l = user;
    l->found = forward_slice_of_lane(l->bgp->router->forward, l->lane, &l->slice);
}

/* A lane that begins here, on a path of BGP's. */
static void lane_event(struct router_bgp *b, const struct lane_event *e)
{
    struct lane_look l = {.bgp = b, .lane = e->lane};
    loop_call(b->router->loop, look_for_slice, &l);
    if (!l.found || l.slice.path < PE_PATHS_FROM)
        return;
    pe_slice_state(b->pe, l.slice.tenant, l.slice.class_, &l.slice.service_sid, l.slice.path,
        e->kind == LANE_EVENT_OPEN, clock_now_ns());
    turn(b);
}

void router_bgp_event(struct router_bgp *b, const struct lane_event *e)
{
    bool lane = e->kind == LANE_EVENT_OPEN || e->kind == LANE_EVENT_REFUSED || e->kind == LANE_EVENT_DOWN;
    if (b && lane && e->lane >> 32 == b->router->config.id)
        lane_event(b, e);
    if (!b || (e->kind != LANE_EVENT_LINK_UP && e->kind != LANE_EVENT_LINK_DOWN))
        return;
    if (e->kind == LANE_EVENT_LINK_UP)
        pe_link_up(b->pe, e->port, e->peer, clock_now_ns());
    else
        pe_link_down(b->pe, e->port, clock_now_ns());
    turn(b);
}

void router_bgp_reload(struct router_bgp *b, const struct router_config *to)
{
    struct pe_config c;
    struct error err;
    if (!b)
        return;
    int rc = router_bgp_config(to, &c, &err);
    drop_customers(b, &to->bgp);
    if (!rc) {
        rc = pe_configure(b->pe, &c, clock_now_ns(), &err);
        router_bgp_config_free(&c);
    }
    rc = rc ? rc : take_peers(b, to, &err);
    rc = rc ? rc : take_customers(b, to, &err);
    if (rc)
        log_error("BGP did not take all of the changed configuration: %s", err.text);
    turn(b);
}

void router_bgp_drain(struct router_bgp *b)
{
    for (unsigned i = 0; b && i < b->n_peers; i++)
        bgp_peer_stop(pe_speaker(b->pe), b->peers[i].number, "this router is being drained", clock_now_ns());
    if (b)
        turn(b);
}

struct pe *router_bgp_pe(struct router_bgp *b)
{
    return b ? b->pe : NULL;
}

struct router_bgp_counts router_bgp_counts(const struct router_bgp *b)
{
    struct router_bgp_counts c = {0};
    if (!b)
        return c;
    c.changes = changes_done(b->changes, &c.refused, &c.batches);
    c.waiting = changes_waiting(b->changes);
    return c;
}
