/* What others' beacons become: pairs of secrets when a beacon arrives (never when a packet does: that would let anybody make us
 * compute), receiving keys for every pair, one sending key per lane. */
#include "xsec/agent_inner.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#define SPREAD_S 3 /* BGP has told everybody by then */

/* --- keys in and out --------------------------------------------------------------------------------------------------- */

static void fill(
    struct xsec_sa *sa, const struct xsec_member *m, const struct xsec_peer *p, bool sending, uint16_t lane)
{
    *sa = (struct xsec_sa){
        .peer = p->beacon[0].certificate.pe, .lane = lane, .sending = sending, .service_sid = p->beacon[0].service_sid};
    memcpy(sa->vpn, m->vpn.target, 8);
}

static void remove_sa(struct xsec_agent *a, const struct xsec_member *m, const struct xsec_peer *p, bool sending,
    uint16_t lane, uint32_t spi)
{
    struct xsec_sa sa;
    fill(&sa, m, p, sending, lane);
    sa.key.spi = spi;
    a->above.remove(a->above.user, &sa);
}

static bool install_sa(struct xsec_agent *a, const struct xsec_member *m, const struct xsec_peer *p,
    const struct xsec_pair *pair, bool sending, uint16_t lane, uint32_t *ret_spi)
{
    struct xsec_sa sa;
    fill(&sa, m, p, sending, lane);
    if (xsec_key_derive(&sa.key, pair, sending, XSEC_AES_256_GCM, lane))
        return false;
    *ret_spi = sa.key.spi;
    a->above.install(a->above.user, &sa);
    OPENSSL_cleanse(&sa, sizeof sa);
    return true;
}

static void drop_pair(struct xsec_agent *a, const struct xsec_member *m, struct xsec_peer *p, int ours, int theirs)
{
    struct xsec_sas *s = &p->sas[ours][theirs];
    if (s->live) {
        for (uint16_t lane = 0; lane < XSEC_LANES; lane++)
            if (s->spi[lane])
                remove_sa(a, m, p, false, lane, s->spi[lane]);
        a->counters.pairs--;
    }
    OPENSSL_cleanse(s, sizeof *s);
}

static void make_pair(struct xsec_agent *a, const struct xsec_member *m, struct xsec_peer *p, int ours, int theirs)
{
    struct xsec_sas *s = &p->sas[ours][theirs];
    if (s->live || !m->own[ours].live || !p->live[theirs])
        return;
    if (xsec_pair_make(&s->pair, m->own[ours].private, &m->own[ours].beacon, &p->beacon[theirs], a->config.psk))
        return; /* their key is none: nothing is ever sent to it */
    s->live = true;
    a->counters.pairs++;
    for (uint16_t lane = 0; lane < XSEC_LANES; lane++)
        install_sa(a, m, p, &s->pair, false, lane, &s->spi[lane]);
}

static void stop_sending(struct xsec_agent *a, const struct xsec_member *m, struct xsec_peer *p)
{
    for (uint16_t lane = 0; lane < XSEC_LANES && p->sending_ours; lane++)
        remove_sa(a, m, p, true, lane, p->sending_spi[lane]);
    p->sending_ours = p->sending_theirs = 0;
}

/* Which of our generations to send under: the new one once the peer has it for sure, else the one before. Who came after it
 * was made never heard of the one before. */
static int our_side(const struct xsec_agent *a, const struct xsec_member *m, const struct xsec_peer *p, int64_t now_s)
{
    bool settled = p->confirmed >= m->own[0].beacon.generation || now_s >= m->own[0].made_s + a->config.settle_s ||
                   p->joined_s >= m->own[0].made_s;
    return settled || !m->own[1].live || !p->sas[1][0].live ? 0 : 1;
}

/* Sending always goes under the peer's newest generation: what it advertised, it accepts. Never back to an older pair, whose
 * sequence numbers would begin again. */
static void choose_sending(struct xsec_agent *a, const struct xsec_member *m, struct xsec_peer *p, int64_t now_s)
{
    int ours = our_side(a, m, p, now_s);
    const struct xsec_sas *s = &p->sas[ours][0];
    uint64_t our_generation = m->own[ours].beacon.generation, their_generation = p->beacon[0].generation;
    bool newer = our_generation > p->sending_ours || their_generation > p->sending_theirs;
    if (!s->live || !newer || our_generation < p->sending_ours || their_generation < p->sending_theirs)
        return;
    for (uint16_t lane = 0; lane < XSEC_LANES; lane++)
        install_sa(a, m, p, &s->pair, true, lane, &p->sending_spi[lane]);
    p->sending_ours = our_generation;
    p->sending_theirs = their_generation;
}

/* --- peers ------------------------------------------------------------------------------------------------------------------ */

static void drop_theirs(struct xsec_agent *a, const struct xsec_member *m, struct xsec_peer *p, int theirs)
{
    drop_pair(a, m, p, 0, theirs);
    drop_pair(a, m, p, 1, theirs);
    p->live[theirs] = false;
}

static void drop_peer(struct xsec_agent *a, struct xsec_member *m, struct xsec_peer **at)
{
    struct xsec_peer *p = *at;
    stop_sending(a, m, p);
    drop_theirs(a, m, p, 0);
    drop_theirs(a, m, p, 1);
    *at = p->next;
    OPENSSL_cleanse(p, sizeof *p);
    free(p);
    a->counters.peers--;
}

void xsec_peers_free(struct xsec_agent *a, struct xsec_member *m)
{
    while (m->peers)
        drop_peer(a, m, &m->peers);
}

void xsec_peers_drop_revoked(struct xsec_agent *a, struct xsec_member *m)
{
    for (struct xsec_peer **at = &m->peers; *at;)
        if (xsec_revoked(&a->revoked, (*at)->beacon[0].certificate.serial))
            drop_peer(a, m, at);
        else
            at = &(*at)->next;
}

void xsec_peers_drop_own(struct xsec_agent *a, struct xsec_member *m, int which)
{
    for (struct xsec_peer *p = m->peers; p; p = p->next) {
        drop_pair(a, m, p, which, 0);
        drop_pair(a, m, p, which, 1);
    }
}

void xsec_peers_renewed(struct xsec_agent *a, struct xsec_member *m, int64_t now_s)
{
    for (struct xsec_peer *p = m->peers; p; p = p->next) {
        for (int theirs = 0; theirs < 2; theirs++) {
            p->sas[1][theirs] =
                p->sas[0][theirs]; /* what was ours before is the older one now; its SAs stay installed */
            OPENSSL_cleanse(&p->sas[0][theirs], sizeof p->sas[0][theirs]);
            make_pair(a, m, p, 0, theirs);
        }
        choose_sending(a, m, p, now_s);
    }
}

static struct xsec_peer *obtain(struct xsec_agent *a, struct xsec_member *m, const struct ip6 *pe, int64_t now_s)
{
    for (struct xsec_peer *p = m->peers; p; p = p->next)
        if (ip6_equal(&p->beacon[0].certificate.pe, pe))
            return p;
    if (a->counters.peers >= a->config.peers_most)
        return NULL;
    struct xsec_peer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->joined_s = now_s;
    p->next = m->peers;
    m->peers = p;
    a->counters.peers++;
    return p;
}

/* Their new generation: the current one becomes the older, whose packets are accepted for the overlap. */
static void adopt(
    struct xsec_agent *a, struct xsec_member *m, struct xsec_peer *p, const struct xsec_beacon *b, int64_t now_s)
{
    if (p->live[0]) {
        drop_theirs(a, m, p, 1);
        p->beacon[1] = p->beacon[0];
        p->live[1] = true;
        for (int ours = 0; ours < 2; ours++) {
            p->sas[ours][1] = p->sas[ours][0];
            OPENSSL_cleanse(&p->sas[ours][0], sizeof p->sas[ours][0]);
        }
    }
    p->beacon[0] = *b;
    p->live[0] = true;
    p->replaced_s = now_s;
    /* What it says reaches us, so what we said a while ago has reached it. It may have just started, and know the newest only. */
    if (now_s >= m->own[0].made_s + SPREAD_S)
        p->confirmed = m->own[0].beacon.generation;
    make_pair(a, m, p, 0, 0);
    make_pair(a, m, p, 1, 0);
    choose_sending(a, m, p, now_s);
}

static bool agrees(const struct xsec_beacon *b, const struct xsec_vpn *route)
{
    /* The next hop may be the reflector's doing (next-hop-self); the signed one is used. SID and RD must be the signed ones
     * where the route still has them: zero means that somebody on the way stripped them. */
    static const struct ip6 none;
    bool sid = ip6_equal(&route->service_sid, &none) || ip6_equal(&route->service_sid, &b->service_sid);
    return sid && memcmp(route->target, b->vpn, 8) == 0 && memcmp(route->rd, b->rd, 8) == 0;
}

static struct xsec_member *member_of(struct xsec_agent *a, const uint8_t vpn[8])
{
    for (struct xsec_member *m = a->members; m; m = m->next)
        if (memcmp(m->vpn.target, vpn, 8) == 0)
            return m;
    return NULL;
}

static enum xsec_verdict take(
    struct xsec_agent *a, const struct xsec_vpn *route, const uint8_t *bytes, size_t len, int64_t now_s)
{
    struct xsec_beacon b;
    struct xsec_carried carried;
    enum xsec_verdict verdict = xsec_beacon_read(
        &b, &carried, bytes, len, a->config.identity.ca, a->has_revocations ? &a->revoked : NULL, now_s);
    if (verdict != XSEC_GOOD)
        return verdict;
    if (!agrees(&b, route))
        return XSEC_INCONSISTENT;
    if (carried.len && xsec_revocations_take(a, carried.list, carried.len, now_s) &&
        xsec_revoked(&a->revoked, b.certificate.serial))
        return XSEC_REVOKED;
    struct xsec_member *m = member_of(a, b.vpn);
    if (!m || a->counters.revoked || ip6_equal(&b.certificate.pe, &a->config.identity.certificate.pe))
        return XSEC_GOOD; /* not a VPN of ours, or our own beacon on its way round */
    struct xsec_peer *p = obtain(a, m, &b.certificate.pe, now_s);
    if (!p) {
        a->counters.crowded++; /* nothing is sent to it, which fails closed */
        return XSEC_GOOD;
    }
    if (p->live[0] && b.generation <= p->beacon[0].generation)
        return b.generation == p->beacon[0].generation && memcmp(b.key, p->beacon[0].key, 32) == 0 ? XSEC_GOOD
                                                                                                   : XSEC_REPLAYED;
    adopt(a, m, p, &b, now_s);
    return XSEC_GOOD;
}

enum xsec_verdict xsec_beacon_take(
    struct xsec_agent *a, const struct xsec_vpn *route, const uint8_t *bytes, size_t len, int64_t now_s)
{
    enum xsec_verdict v = take(a, route, bytes, len, now_s);
    a->counters.verdicts[v]++;
    return v;
}

void xsec_heard(struct xsec_agent *a, const struct ip6 *peer, uint32_t spi, int64_t now_s)
{
    for (struct xsec_member *m = a->members; m; m = m->next)
        for (struct xsec_peer *p = m->peers; p; p = p->next) {
            const struct xsec_sas *s = &p->sas[0][0];
            if (!s->live || !ip6_equal(&p->beacon[0].certificate.pe, peer) || p->confirmed >= s->pair.our_generation)
                continue;
            for (uint16_t lane = 0; lane < XSEC_LANES; lane++)
                if (s->spi[lane] == spi) {
                    p->confirmed = s->pair.our_generation;
                    choose_sending(a, m, p, now_s);
                }
        }
}

/* --- time --------------------------------------------------------------------------------------------------------------------- */

static int64_t earlier(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

static int64_t end_of(const struct xsec_beacon *b)
{
    return earlier(b->not_after, b->certificate.not_after) + XSEC_SKEW_S;
}

int64_t xsec_peers_poll(struct xsec_agent *a, struct xsec_member *m, int64_t now_s)
{
    int64_t next = INT64_MAX;
    for (struct xsec_peer **at = &m->peers; *at;) {
        struct xsec_peer *p = *at;
        if (now_s > end_of(&p->beacon[0])) {
            drop_peer(a, m, at);
            continue;
        }
        int64_t over = earlier(p->replaced_s + a->config.overlap_s, end_of(&p->beacon[1]));
        if (p->live[1] && now_s >= over)
            drop_theirs(a, m, p, 1);
        choose_sending(a, m, p, now_s);
        next = earlier(next, end_of(&p->beacon[0]) + 1);
        if (p->live[1])
            next = earlier(next, over);
        if (p->sending_ours < m->own[0].beacon.generation)
            next = earlier(next, m->own[0].made_s + a->config.settle_s);
        at = &p->next;
    }
    return next;
}
