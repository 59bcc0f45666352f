#include "xsec/agent.h"

#include "xsec/agent_inner.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#define RETRY_S 5

static int64_t or_else(int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

static int64_t shorter(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

int xsec_agent_create(struct xsec_agent **ret, const struct xsec_agent_config *c, const struct xsec_above *above,
    int64_t now_s, struct error *err)
{
    int rc = xsec_identity_check(&c->identity, now_s, err);
    if (rc)
        return rc;
    struct xsec_agent *a = calloc(1, sizeof *a);
    if (!a || ed25519_create(&a->signer, c->identity.seed)) {
        free(a);
        return error_set(err, ENOMEM, "not enough memory for xSEC");
    }
    a->config = *c;
    a->above = *above;
    if (c->psk) {
        memcpy(a->psk, c->psk, 32);
        a->config.psk = a->psk;
    }
    a->config.lifetime_s = or_else(c->lifetime_s, 3600);
    a->config.renew_s = or_else(c->renew_s, a->config.lifetime_s / 2);
    a->config.settle_s = or_else(c->settle_s, shorter(30, a->config.renew_s / 4));
    a->config.overlap_s = or_else(c->overlap_s, shorter(120, a->config.renew_s / 2));
    if (!a->config.peers_most)
        a->config.peers_most = 4096;
    a->generation = c->last_generation;
    *ret = a;
    return 0;
}

static void wipe_own(struct xsec_own *o)
{
    OPENSSL_cleanse(o, sizeof *o);
}

static void drop_member(struct xsec_agent *a, struct xsec_member **at)
{
    struct xsec_member *m = *at;
    *at = m->next;
    xsec_peers_free(a, m);
    OPENSSL_cleanse(m, sizeof *m);
    free(m);
    a->counters.vpns--;
}

void xsec_agent_free(struct xsec_agent *a)
{
    if (!a)
        return;
    while (a->members)
        drop_member(a, &a->members);
    ed25519_free(a->signer);
    OPENSSL_cleanse(a, sizeof *a);
    free(a);
}

unsigned xsec_agent_peers(const struct xsec_agent *a, struct xsec_peer_view *ret, unsigned most)
{
    unsigned n = 0;
    for (const struct xsec_member *m = a->members; m; m = m->next)
        for (const struct xsec_peer *p = m->peers; p; p = p->next, n++) {
            if (n >= most)
                continue;
            const struct xsec_beacon *b = &p->beacon[0];
            struct xsec_peer_view *v = &ret[n];
            *v = (struct xsec_peer_view){.peer = b->certificate.pe,
                .serial = b->certificate.serial,
                .generation = b->generation,
                .our_generation = p->sending_ours,
                .not_after = b->not_after,
                .service_sid = b->service_sid};
            memcpy(v->vpn, m->vpn.target, 8);
            memcpy(v->name, b->certificate.name, XSEC_NAME);
        }
    return n;
}

struct xsec_counters xsec_agent_counters(const struct xsec_agent *a)
{
    return a->counters;
}

/* --- our generations -------------------------------------------------------------------------------------------------- */

/* Strictly above every one before, also above those of a life that left no disk: the wall clock counts on meanwhile. */
static uint64_t next_generation(const struct xsec_agent *a, int64_t now_s)
{
    uint64_t clock = (uint64_t)now_s * 1000;
    return a->generation + 1 > clock ? a->generation + 1 : clock;
}

static int make_own(
    struct xsec_agent *a, const struct xsec_member *m, struct xsec_own *o, uint64_t generation, int64_t now_s)
{
    *o = (struct xsec_own){.live = true, .made_s = now_s};
    struct xsec_beacon *b = &o->beacon;
    *b = (struct xsec_beacon){.certificate = a->config.identity.certificate,
        .next_hop = m->vpn.next_hop,
        .service_sid = m->vpn.service_sid,
        .generation = generation,
        .not_before = now_s,
        .not_after = now_s + a->config.lifetime_s,
        .suites = 1u << XSEC_AES_256_GCM};
    memcpy(b->vpn, m->vpn.target, 8);
    memcpy(b->rd, m->vpn.rd, 8);
    a->above.random(a->above.user, o->private, 32);
    a->above.random(a->above.user, b->nonce, 32);
    return x25519_public(b->key, o->private) ? -EIO : 0;
}

static int tell(struct xsec_agent *a, const struct xsec_vpn *v, struct xsec_beacon *b)
{
    struct xsec_carried list = {a->list, a->list_len};
    uint8_t bytes[XSEC_BEACON_MOST];
    size_t len = xsec_beacon_sign(b, &list, a->signer, bytes);
    if (len)
        a->above.advertise(a->above.user, v->target, bytes, len);
    return len ? 0 : -EIO;
}

/* A new current generation; the one before stays beside it. Nothing changes when it cannot be made durable. */
static void renew(struct xsec_agent *a, struct xsec_member *m, int64_t now_s)
{
    struct xsec_own fresh;
    uint64_t generation = next_generation(a, now_s);
    if (a->counters.revoked || !xsec_serves(&a->config.identity.certificate, m->vpn.target))
        return;
    m->retry = a->above.persist(a->above.user, generation) != 0;
    if (m->retry)
        return;
    a->generation = generation;
    m->retry = make_own(a, m, &fresh, generation, now_s) != 0;
    if (m->retry) {
        wipe_own(&fresh);
        return;
    }
    if (m->own[1].live)
        xsec_peers_drop_own(a, m, 1);
    wipe_own(&m->own[1]);
    m->own[1] = m->own[0];
    m->own[0] = fresh;
    wipe_own(&fresh);
    a->counters.generations++;
    xsec_peers_renewed(a, m, now_s);
    m->retry = tell(a, &m->vpn, &m->own[0].beacon) != 0;
}

static struct xsec_member **find(struct xsec_agent *a, const uint8_t target[8])
{
    struct xsec_member **m = &a->members;
    while (*m && memcmp((*m)->vpn.target, target, 8) != 0)
        m = &(*m)->next;
    return m;
}

int xsec_vpn_add(struct xsec_agent *a, const struct xsec_vpn *v, int64_t now_s)
{
    struct xsec_member **at = find(a, v->target);
    if (*at)
        return -EEXIST;
    if (!xsec_serves(&a->config.identity.certificate, v->target))
        return -EPERM;
    *at = calloc(1, sizeof **at);
    if (!*at)
        return -ENOMEM;
    (*at)->vpn = *v;
    a->counters.vpns++;
    renew(a, *at, now_s);
    return 0;
}

int xsec_vpn_remove(struct xsec_agent *a, const uint8_t target[8])
{
    struct xsec_member **at = find(a, target);
    if (!*at)
        return -ENOENT;
    a->above.advertise(a->above.user, target, NULL, 0);
    drop_member(a, at);
    return 0;
}

/* --- who no longer counts ------------------------------------------------------------------------------------------------ */

/* We are on the list: whatever we say, nobody takes it. So nothing goes out, and nothing comes in, that others know better. */
static void retire(struct xsec_agent *a)
{
    a->counters.revoked = true;
    for (struct xsec_member *m = a->members; m; m = m->next) {
        a->above.advertise(a->above.user, m->vpn.target, NULL, 0);
        xsec_peers_free(a, m);
        wipe_own(&m->own[0]);
        wipe_own(&m->own[1]);
    }
}

bool xsec_revocations_take(struct xsec_agent *a, const uint8_t *bytes, size_t len, int64_t now_s)
{
    struct xsec_revocations r;
    /* The number first: the same list comes with every beacon, and looking at signatures takes time. */
    if (xsec_revocations_decode(&r, bytes, len) || (a->has_revocations && r.number <= a->revoked.number) ||
        xsec_revocations_read(&r, a->config.identity.ca, bytes, len))
        return false;
    a->revoked = r;
    a->has_revocations = true;
    a->counters.list_number = r.number;
    memcpy(a->list, bytes, len);
    a->list_len = (uint16_t)len;
    if (a->above.keep_list)
        a->above.keep_list(a->above.user, bytes, len);
    for (struct xsec_member *m = a->members; m; m = m->next)
        xsec_peers_drop_revoked(a, m);
    if (xsec_revoked(&r, a->config.identity.certificate.serial))
        retire(a);
    for (struct xsec_member *m = a->members; m; m = m->next) /* and on to everybody, with the keys that we have */
        if (m->own[0].live)
            tell(a, &m->vpn, &m->own[0].beacon);
    return true;
}

int xsec_agent_identity_set(struct xsec_agent *a, const struct xsec_identity *i, int64_t now_s, struct error *err)
{
    struct ed25519 *signer;
    int rc = xsec_identity_check(i, now_s, err);
    if (rc)
        return rc;
    if (!ip6_equal(&i->certificate.pe, &a->config.identity.certificate.pe))
        return error_set(err, EINVAL, "the certificate is for another loopback than the one before");
    if (ed25519_create(&signer, i->seed))
        return error_set(err, ENOMEM, "not enough memory for xSEC");
    ed25519_free(a->signer);
    a->signer = signer;
    a->config.identity = *i;
    a->counters.revoked = xsec_revoked(a->has_revocations ? &a->revoked : NULL, i->certificate.serial);
    for (struct xsec_member *m = a->members; m; m = m->next)
        renew(a, m, now_s);
    return 0;
}

/* --- time ---------------------------------------------------------------------------------------------------------------- */

int64_t xsec_agent_poll(struct xsec_agent *a, int64_t now_s)
{
    int64_t next = INT64_MAX;
    if (a->counters.revoked)
        return next; /* until there is another certificate */
    for (struct xsec_member *m = a->members; m; m = m->next) {
        /* A clock that was set back would let the generation live on in others' eyes until it is over for them. */
        bool back = now_s + XSEC_SKEW_S < m->own[0].made_s;
        if (m->retry || !m->own[0].live || now_s >= m->own[0].made_s + a->config.renew_s || back)
            renew(a, m, now_s);
        if (m->own[1].live && now_s >= m->own[0].made_s + a->config.overlap_s) {
            xsec_peers_drop_own(a, m, 1);
            wipe_own(&m->own[1]);
        }
        next = shorter(next, xsec_peers_poll(a, m, now_s));
        next = shorter(next, m->retry ? now_s + RETRY_S : m->own[0].made_s + a->config.renew_s);
        if (m->own[1].live)
            next = shorter(next, m->own[0].made_s + a->config.overlap_s);
    }
    return next;
}
