#include "router/keys.h"

#include "base/log.h"
#include "router/xsec_files.h"
#include "router/xsec_state.h"
#include "wire/ip_text.h"
#include "wire/route_target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define HELD_MOST    65536u
#define PEERS_MOST   16384u /* of all VPNs together */
#define BUCKETS      4096u  /* of beacons; a power of two */
#define AT_ONCE      32u    /* beacons a poll */
#define RETRY_S      1
#define LOOK_AGAIN_S 30 /* at beacons that were early */
#define CHANGES      128u
#define DAY_MS       86400000u

struct held { /* a beacon as BGP has it */
    struct held *chain, *queued;
    bool waits;
    uint32_t vrf;
    struct xsec_vpn route;
    enum xsec_verdict verdict;
    size_t len; /* 0: withdrawn, goes when its turn comes */
    uint8_t bytes[XSEC_BEACON_MOST];
};

struct service_change {
    uint32_t vrf;
    struct ip6 peer, sid;
    bool gone;
};

struct keys {
    char kit[256], revoked[256];
    uint8_t seed[32], psk[32];
    bool has_psk;
    struct ip6 loopback;
    int64_t lifetime_s;
    struct keys_above above;
    struct xsec_state state;
    struct xsec_agent *agent; /* NULL: why says why */
    struct xsec_kit now;      /* the kit in force, while there is an agent */
    char why[sizeof(((struct error *)0)->text)];
    int64_t retry_s, look_s, polled_s;
    struct keys_vpn *vpns;
    unsigned n_vpns;
    struct held *bucket[BUCKETS];
    struct held *first, **last; /* that wait */
    uint64_t n_held, dropped;
    struct keys_change change[CHANGES];
    struct service_change service[CHANGES];
    unsigned n_changes, n_services;
};

/* --- what the agent asks of us ------------------------------------------------------------------------------------------- */

uint32_t keys_vrf(const struct keys *k, const uint8_t target[8])
{
    for (unsigned i = 0; i < k->n_vpns; i++)
        if (memcmp(k->vpns[i].target, target, 8) == 0)
            return k->vpns[i].vrf;
    return 0;
}

static void flush(struct keys *k)
{
    if (k->n_changes)
        k->above.core(k->above.user, k->change, k->n_changes);
    explicit_bzero(k->change, k->n_changes * sizeof *k->change);
    k->n_changes = 0;
    for (unsigned i = 0; i < k->n_services; i++) {
        const struct service_change *s = &k->service[i];
        k->above.service(k->above.user, s->vrf, &s->peer, s->gone ? NULL : &s->sid);
    }
    k->n_services = 0;
}

static void change(struct keys *k, const struct xsec_sa *sa, bool remove)
{
    struct keys_change c = {.sa = {.spi = sa->key.spi,
                                .peer = sa->peer,
                                .vrf = keys_vrf(k, sa->vpn),
                                .lane = sa->lane,
                                .sending = sa->sending},
        .remove = remove};
    memcpy(c.sa.key, sa->key.key, sizeof c.sa.key);
    memcpy(c.sa.salt, sa->key.salt, sizeof c.sa.salt);
    if (k->n_changes == CHANGES)
        flush(k);
    k->change[k->n_changes++] = c;
    explicit_bzero(&c, sizeof c);
    if (sa->sending && sa->lane == 0) /* one of the lanes stands for all: they come and go together */
        k->service[k->n_services++] = (struct service_change){
            .vrf = keys_vrf(k, sa->vpn), .peer = sa->peer, .sid = sa->service_sid, .gone = remove};
}

static void on_install(void *user, const struct xsec_sa *sa)
{
    change(user, sa, false);
}

static void on_remove(void *user, const struct xsec_sa *sa)
{
    change(user, sa, true);
}

static int on_persist(void *user, uint64_t generation)
{
    struct keys *k = user;
    int rc = xsec_state_keep_generation(&k->state, generation);
    if (rc)
        log_error("xSEC: a new generation cannot be made durable (%s); the one before stays", strerror(-rc));
    return rc;
}

static void on_random(void *user, uint8_t *ret, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = getrandom(ret + done, len - done, 0);
        done += n > 0 ? (size_t)n : 0;
    }
}

static void on_advertise(void *user, const uint8_t target[8], const uint8_t *beacon, size_t len)
{
    struct keys *k = user;
    k->above.advertise(k->above.user, keys_vrf(k, target), beacon, len);
}

static void on_list(void *user, const uint8_t *list, size_t len)
{
    struct keys *k = user;
    struct xsec_revocations r;
    int rc = xsec_state_keep_list(&k->state, list, len);
    if (rc)
        log_error("xSEC: the revocation list cannot be made durable: %s", strerror(-rc));
    if (xsec_revocations_decode(&r, list, len) == 0)
        log_info("xSEC: revocation list %llu with %u members is in force", (unsigned long long)r.number, r.n);
}

/* --- beacons of others --------------------------------------------------------------------------------------------------- */

static void enqueue(struct keys *k, struct held *h)
{
    if (h->waits)
        return;
    h->waits = true;
    h->queued = NULL;
    *k->last = h;
    k->last = &h->queued;
}

static struct held **place_of(struct keys *k, const struct keys_beacon *b)
{
    uint32_t hash = 2166136261u ^ b->vrf;
    for (int i = 0; i < 8; i++)
        hash = (hash ^ b->route.rd[i]) * 16777619u;
    for (int i = 8; i < 16; i++)
        hash = (hash ^ b->route.next_hop.b[i]) * 16777619u;
    struct held **at = &k->bucket[(hash ^ hash >> 15) % BUCKETS];
    while (*at && ((*at)->vrf != b->vrf || memcmp((*at)->route.rd, b->route.rd, 8) != 0 ||
                      !ip6_equal(&(*at)->route.next_hop, &b->route.next_hop)))
        at = &(*at)->chain;
    return at;
}

void keys_beacon(struct keys *k, const struct keys_beacon *b)
{
    struct held **at = place_of(k, b), *h = *at;
    if (!h && !b->bytes)
        return;
    if (!h && k->n_held < HELD_MOST)
        h = *at = calloc(1, sizeof *h);
    if (!h) {
        k->dropped++;
        return;
    }
    k->n_held += h->vrf == 0;
    h->vrf = b->vrf;
    h->route = b->route;
    /* What is too long is not of the form: the agent is to say so and count it. */
    h->len = b->bytes ? (b->len <= sizeof h->bytes ? b->len : sizeof h->bytes) : 0;
    if (h->len)
        memcpy(h->bytes, b->bytes, h->len);
    enqueue(k, h);
}

static void forget(struct keys *k, struct held *h)
{
    struct held **at = place_of(k, &(struct keys_beacon){.vrf = h->vrf, .route = h->route});
    *at = h->chain;
    k->n_held--;
    free(h);
}

static void look_again(struct keys *k, bool only_early)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct held *h = k->bucket[i]; h; h = h->chain)
            if (!only_early || h->verdict == XSEC_EARLY)
                enqueue(k, h);
}

static void note(const struct held *h, enum xsec_verdict v)
{
    char hop[IP_TEXT_SIZE], target[ROUTE_TARGET_TEXT];
    if (v == XSEC_GOOD || v == h->verdict)
        return;
    log_warn("xSEC: a beacon for %s from %s is refused: %s", route_target_print(target, h->route.target),
        ip6_print(hop, &h->route.next_hop), xsec_verdict_name(v));
}

static void take_some(struct keys *k, int64_t now_s)
{
    for (unsigned i = 0; i < AT_ONCE && k->first; i++) {
        struct held *h = k->first;
        k->first = h->queued;
        if (!k->first)
            k->last = &k->first;
        h->waits = false;
        if (!h->len) {
            forget(k, h);
            continue;
        }
        enum xsec_verdict v = xsec_beacon_take(k->agent, &h->route, h->bytes, h->len, now_s);
        note(h, v);
        h->verdict = v;
    }
}

/* --- life ------------------------------------------------------------------------------------------------------------------ */

static void add_vpn(struct keys *k, const struct keys_vpn *v, int64_t now_s)
{
    char target[ROUTE_TARGET_TEXT];
    struct xsec_vpn x = {.next_hop = k->loopback, .service_sid = v->service_sid};
    memcpy(x.target, v->target, 8);
    memcpy(x.rd, v->rd, 8);
    int rc = xsec_vpn_add(k->agent, &x, now_s);
    if (rc)
        log_error("xSEC: VPN %s gets no keys: %s", route_target_print(target, v->target),
            rc == -EPERM ? "this router's certificate is not for it" : strerror(-rc));
}

static void take_list_file(struct keys *k, int64_t now_s)
{
    uint8_t list[XSEC_REVOCATIONS_MOST];
    struct error err;
    size_t len;
    if (!k->revoked[0])
        return;
    int rc = xsec_list_load(list, &len, k->revoked, &err);
    if (rc == -ENOENT)
        log_warn("xSEC: there is no revocation list yet: %s", err.text);
    else if (rc)
        log_error("xSEC: %s", err.text);
    else
        xsec_revocations_take(k->agent, list, len, now_s);
}

static int read_kit(struct keys *k, struct xsec_kit *kit, struct xsec_identity *i, int64_t now_s, struct error *err)
{
    int rc = xsec_kit_load(kit, k->kit, err);
    return rc ? rc : error_prefix(err, xsec_kit_open(i, kit, k->seed, &k->loopback, now_s, err), "%s", k->kit);
}

/* The kit holds and the clock is believable: there is an agent, and all that was waiting for one. */
static int begin(struct keys *k, int64_t now_s, struct error *err)
{
    struct xsec_agent_config c = {.psk = k->has_psk ? k->psk : NULL,
        .lifetime_s = k->lifetime_s,
        .last_generation = k->state.generation,
        .peers_most = PEERS_MOST};
    struct xsec_above above = {.user = k,
        .persist = on_persist,
        .random = on_random,
        .advertise = on_advertise,
        .keep_list = on_list,
        .install = on_install,
        .remove = on_remove};
    struct xsec_state was = k->state; /* its list may be an older one of another CA: the agent is to judge */
    int rc = read_kit(k, &k->now, &c.identity, now_s, err);
    if (rc == 0)
        rc = xsec_agent_create(&k->agent, &c, &above, now_s, err);
    explicit_bzero(c.identity.seed, sizeof c.identity.seed);
    if (rc)
        return rc;
    if (k->state.generation > (uint64_t)now_s * 1000 + DAY_MS)
        log_warn("xSEC: the clock is more than a day behind what it was in this router's last life; is it right?");
    xsec_revocations_take(k->agent, was.list, was.list_len, now_s);
    xsec_revocations_take(k->agent, k->now.list, k->now.list_len, now_s);
    take_list_file(k, now_s);
    for (unsigned i = 0; i < k->n_vpns; i++)
        add_vpn(k, &k->vpns[i], now_s);
    look_again(k, false);
    log_info("xSEC: a member as %s", k->now.certificate.name);
    return 0;
}

static void try_to_begin(struct keys *k, int64_t now_s)
{
    struct error err;
    k->retry_s = now_s + RETRY_S;
    if (begin(k, now_s, &err) == 0) {
        k->why[0] = 0;
    } else if (strcmp(k->why, err.text) != 0) {
        log_error("xSEC: encrypted VPNs pass nothing: %s", err.text);
        snprintf(k->why, sizeof k->why, "%s", err.text);
    }
}

static int copy_path(char to[256], const char *from, struct error *err)
{
    if (snprintf(to, 256, "%s", from ? from : "") >= 256)
        return error_set(err, ENAMETOOLONG, "%.60s…: this path is too long", from);
    return 0;
}

int keys_create(
    struct keys **ret, const struct keys_config *c, const struct keys_above *a, int64_t now_s, struct error *err)
{
    struct keys *k = calloc(1, sizeof *k);
    if (!k)
        return error_set(err, ENOMEM, "not enough memory for xSEC");
    k->state.fd = -1;
    k->above = *a;
    k->loopback = c->loopback;
    k->lifetime_s = c->lifetime_s;
    k->last = &k->first;
    k->polled_s = now_s;
    memcpy(k->seed, c->seed, 32);
    int rc = copy_path(k->kit, c->kit, err);
    rc = rc ? rc : copy_path(k->revoked, c->revoked, err);
    rc = rc ? rc : xsec_state_open(&k->state, c->state, c->uid, c->gid, err);
    k->has_psk = c->psk && c->psk[0];
    if (rc == 0 && k->has_psk)
        rc = xsec_psk_load(k->psk, c->psk, err);
    if (rc) {
        keys_free(k);
        return rc;
    }
    try_to_begin(k, now_s);
    flush(k);
    *ret = k;
    return 0;
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    xsec_agent_free(k->agent);
    flush(k);
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct held *h = k->bucket[i], *next; h; h = next) {
            next = h->chain;
            free(h);
        }
    xsec_state_close(&k->state);
    free(k->vpns);
    explicit_bzero(k, sizeof *k);
    free(k);
}

/* --- configuration ----------------------------------------------------------------------------------------------------------- */

static bool same_vpn(const struct keys_vpn *x, const struct keys_vpn *y)
{
    return x->vrf == y->vrf && memcmp(x->target, y->target, 8) == 0 && memcmp(x->rd, y->rd, 8) == 0 &&
           ip6_equal(&x->service_sid, &y->service_sid);
}

static bool among(const struct keys_vpn *v, const struct keys_vpn *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (same_vpn(v, &list[i]))
            return true;
    return false;
}

int keys_configure(struct keys *k, const struct keys_vpn *vpns, unsigned n, int64_t now_s, struct error *err)
{
    struct keys_vpn *copy = calloc(n + 1, sizeof *copy), *was = k->vpns;
    unsigned n_was = k->n_vpns;
    char target[ROUTE_TARGET_TEXT];
    if (!copy)
        return error_set(err, ENOMEM, "not enough memory for xSEC");
    for (unsigned i = 0; i < n; i++) {
        copy[i] = vpns[i];
        for (unsigned j = 0; j < i; j++)
            if (memcmp(copy[j].target, copy[i].target, 8) == 0) {
                free(copy);
                return error_set(err, EINVAL, "two encrypted VRFs have the route target %s",
                    route_target_print(target, vpns[i].target));
            }
    }
    for (unsigned i = 0; k->agent && i < n_was; i++)
        if (!among(&was[i], copy, n))
            xsec_vpn_remove(k->agent, was[i].target); /* while its target still leads to its VRF */
    flush(k);
    k->vpns = copy;
    k->n_vpns = n;
    for (unsigned i = 0; k->agent && i < n; i++)
        if (!among(&copy[i], was, n_was))
            add_vpn(k, &copy[i], now_s);
    free(was);
    look_again(k, false);
    flush(k);
    return 0;
}

int keys_reload(struct keys *k, int64_t now_s, struct error *err)
{
    struct xsec_kit kit;
    struct xsec_identity i;
    if (!k->agent) {
        try_to_begin(k, now_s);
        flush(k);
        return k->agent ? 0 : error_set(err, EINVAL, "%s", k->why);
    }
    int rc = read_kit(k, &kit, &i, now_s, err);
    if (rc == 0 && kit.certificate.serial != k->now.certificate.serial) {
        rc = xsec_agent_identity_set(k->agent, &i, now_s, err);
        if (rc == 0)
            look_again(k, false);
    }
    explicit_bzero(i.seed, sizeof i.seed);
    if (rc)
        return rc;
    k->now = kit;
    xsec_revocations_take(k->agent, kit.list, kit.list_len, now_s);
    take_list_file(k, now_s);
    flush(k);
    return 0;
}

/* --- time --------------------------------------------------------------------------------------------------------------------- */

void keys_heard(struct keys *k, const struct ip6 *peer, uint32_t spi, int64_t now_s)
{
    if (k->agent)
        xsec_heard(k->agent, peer, spi, now_s);
    flush(k);
}

int64_t keys_poll(struct keys *k, int64_t now_s)
{
    if (now_s + XSEC_SKEW_S < k->polled_s)
        look_again(k, false); /* the clock was set back: what seemed expired may not be */
    k->polled_s = now_s;
    if (!k->agent && now_s >= k->retry_s)
        try_to_begin(k, now_s);
    if (!k->agent) {
        flush(k);
        return k->retry_s;
    }
    if (now_s >= k->look_s) {
        look_again(k, true);
        k->look_s = now_s + LOOK_AGAIN_S;
    }
    take_some(k, now_s);
    int64_t next = xsec_agent_poll(k->agent, now_s);
    flush(k);
    if (k->first)
        return now_s;
    return next < k->look_s ? next : k->look_s;
}

/* --- what a person may see ------------------------------------------------------------------------------------------------------ */

const char *keys_why(const struct keys *k)
{
    return k->why;
}

struct keys_view keys_view(const struct keys *k)
{
    struct keys_view v = {.beacons = k->n_held, .dropped = k->dropped, .generation = k->state.generation};
    if (k->agent) {
        v.counters = xsec_agent_counters(k->agent);
        v.member_until = k->now.certificate.not_after;
        memcpy(v.name, k->now.certificate.name, sizeof v.name);
    }
    return v;
}

unsigned keys_peers(const struct keys *k, struct xsec_peer_view *ret, unsigned most)
{
    return k->agent ? xsec_agent_peers(k->agent, ret, most) : 0;
}
