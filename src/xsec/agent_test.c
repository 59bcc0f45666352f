/* PEs that only hear each other's beacons: do both ends hold the same keys, at every moment of a renewal; and what an attacker
 * who owns the reflector can do. */
#include "xsec/agent.h"

#include "base/rng.h"
#include "base/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAS 512

struct pe {
    struct xsec_agent *agent;
    struct xsec_vpn vpn;
    struct xsec_agent_config config;
    uint8_t beacon[XSEC_BEACON_MOST];
    size_t beacon_len; /* 0: withdrawn */
    uint8_t list[XSEC_REVOCATIONS_MOST];
    size_t list_len;
    unsigned advertisements;
    struct xsec_sa in[SAS], out[SAS];
    unsigned n_in, n_out;
    uint64_t durable;
    bool disk_full;
    uint64_t *draws;
};

struct world {
    struct ed25519 *ca;
    uint8_t ca_public[32];
    uint64_t serial, draws;
    int64_t now;
    struct pe pe[4];
};

static int keep(void *user, uint64_t generation)
{
    struct pe *p = user;
    if (p->disk_full)
        return -ENOSPC;
    assert_true(generation > p->durable);
    p->durable = generation;
    return 0;
}

static void draw(void *user, uint8_t *ret, size_t len)
{
    struct pe *p = user;
    for (size_t i = 0; i < len; i++)
        ret[i] = (uint8_t)rng_u64(77, ++*p->draws);
}

static void advertise(void *user, const uint8_t vpn[8], const uint8_t *beacon, size_t len)
{
    struct pe *p = user;
    (void)vpn;
    assert_true(len <= XSEC_BEACON_MOST);
    p->beacon_len = len;
    if (!len)
        return;
    memcpy(p->beacon, beacon, len);
    p->advertisements++;
}

static void keep_list(void *user, const uint8_t *list, size_t len)
{
    struct pe *p = user;
    memcpy(p->list, list, len);
    p->list_len = len;
}

static bool same_place(const struct xsec_sa *x, const struct xsec_sa *y)
{
    return ip6_equal(&x->peer, &y->peer) && memcmp(x->vpn, y->vpn, 8) == 0 && x->lane == y->lane;
}

static void install(void *user, const struct xsec_sa *sa)
{
    struct pe *p = user;
    if (!sa->sending) {
        p->in[p->n_in++] = *sa;
        return;
    }
    for (unsigned i = 0; i < p->n_out; i++)
        if (same_place(&p->out[i], sa)) {
            assert_memory_not_equal(
                p->out[i].key.key, sa->key.key, 32); /* never the same key anew: its numbers would start again */
            p->out[i] = *sa;
            return;
        }
    p->out[p->n_out++] = *sa;
}

static void take_away(void *user, const struct xsec_sa *sa)
{
    struct pe *p = user;
    struct xsec_sa *list = sa->sending ? p->out : p->in;
    unsigned *n = sa->sending ? &p->n_out : &p->n_in;
    for (unsigned i = 0; i < *n; i++)
        if (same_place(&list[i], sa) && list[i].key.spi == sa->key.spi) {
            list[i] = list[--*n];
            return;
        }
    fail_msg("an SA was removed that had not been installed");
}

static void boot(struct world *w, int i)
{
    struct pe *p = &w->pe[i];
    struct xsec_above above = {.user = p,
        .persist = keep,
        .random = draw,
        .advertise = advertise,
        .keep_list = keep_list,
        .install = install,
        .remove = take_away};
    struct error err;
    p->n_in = p->n_out = 0;
    p->config.last_generation = p->durable;
    assert_int_equal(xsec_agent_create(&p->agent, &p->config, &above, w->now, &err), 0);
    assert_int_equal(xsec_vpn_add(p->agent, &p->vpn, w->now), 0);
}

static void enrol(struct world *w, int i)
{
    struct pe *p = &w->pe[i];
    struct ed25519 *key;
    p->draws = &w->draws;
    draw(p, p->config.identity.seed, 32);
    ed25519_create(&key, p->config.identity.seed);
    struct xsec_certificate *c = &p->config.identity.certificate;
    *c = (struct xsec_certificate){.serial = ++w->serial,
        .pe = {{0xfd, [15] = (uint8_t)(i + 1)}},
        .not_before = w->now - 10,
        .not_after = w->now + 1000000,
        .name = "pe"};
    memcpy(c->key, ed25519_public(key), 32);
    ed25519_free(key);
    assert_int_equal(xsec_certificate_sign(c, w->ca), 0);
    memcpy(p->config.identity.ca, w->ca_public, 32);
    p->config.lifetime_s = 1000;
    p->vpn = (struct xsec_vpn){.target = {0, 2, 0xfd, 0xe8, 0, 0, 0, 10},
        .rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, (uint8_t)i},
        .next_hop = c->pe,
        .service_sid = {{0xfc, 0xbb, 0xbb, 0, 0, (uint8_t)(i + 1), 0xf0, 10}}};
}

static void begin(struct world *w, int n)
{
    memset(w, 0, sizeof *w);
    w->now = 1800000000;
    uint8_t seed[32] = {7};
    ed25519_create(&w->ca, seed);
    memcpy(w->ca_public, ed25519_public(w->ca), 32);
    for (int i = 0; i < n; i++) {
        enrol(w, i);
        boot(w, i);
    }
}

static void end(struct world *w)
{
    for (int i = 0; i < 4; i++) {
        xsec_agent_free(w->pe[i].agent);
        assert_int_equal(w->pe[i].n_in, 0); /* every SA goes with the agent */
        assert_int_equal(w->pe[i].n_out, 0);
    }
    ed25519_free(w->ca);
}

static enum xsec_verdict hear(struct world *w, int to, int from)
{
    return xsec_beacon_take(w->pe[to].agent, &w->pe[from].vpn, w->pe[from].beacon, w->pe[from].beacon_len, w->now);
}

static void spread(struct world *w, int n)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            if (i != k && w->pe[i].agent && w->pe[k].agent)
                assert_int_equal(hear(w, i, k), XSEC_GOOD);
}

/* Everything a sends to b, b can read: the point of it all. Also that keys of lanes and directions differ. */
static void check_path(struct world *w, int a, int b)
{
    unsigned sent = 0;
    for (unsigned i = 0; i < w->pe[a].n_out; i++) {
        const struct xsec_sa *out = &w->pe[a].out[i], *match = NULL;
        if (!ip6_equal(&out->peer, &w->pe[b].config.identity.certificate.pe))
            continue;
        sent++;
        assert_true(ip6_equal(&out->service_sid, &w->pe[b].vpn.service_sid));
        for (unsigned k = 0; k < w->pe[b].n_in; k++)
            if (w->pe[b].in[k].key.spi == out->key.spi)
                match = &w->pe[b].in[k];
        if (!match)
            fail_msg("what %d sends in lane %u nobody at %d can read", a, out->lane, b);
        assert_memory_equal(match->key.key, out->key.key, 32);
        assert_memory_equal(match->key.salt, out->key.salt, 4);
        assert_int_equal(match->lane, out->lane);
        for (unsigned k = 0; k < w->pe[a].n_in; k++)
            assert_memory_not_equal(w->pe[a].in[k].key.key, out->key.key, 32);
    }
    assert_int_equal(sent, XSEC_LANES);
}

static void check_all(struct world *w, int n)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            if (i != k)
                check_path(w, i, k);
}

static void test_beacons_alone_make_a_mesh(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4);
    spread(&w, 4);
    check_all(&w, 4);
    struct xsec_counters c = xsec_agent_counters(w.pe[0].agent);
    assert_int_equal(c.peers, 3);
    assert_int_equal(c.pairs, 3);
    spread(&w, 4); /* the same again changes nothing */
    check_all(&w, 4);
    assert_int_equal(xsec_agent_counters(w.pe[0].agent).pairs, 3);
    end(&w);
}

static void test_renewal_breaks_nothing_in_whatever_order_it_spreads(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 30; seed++) {
        struct world w;
        begin(&w, 3);
        spread(&w, 3);
        uint64_t n = 0;
        for (int round = 0; round < 40; round++) {
            w.now += 1 + rng_below(seed, ++n, 40);
            for (int i = 0; i < 3; i++)
                if (rng_below(seed, ++n, 3))
                    xsec_agent_poll(w.pe[i].agent, w.now);
            check_all(&w, 3); /* before anybody has heard */
            for (int k = 0; k < 6; k++) {
                int to = (int)rng_below(seed, ++n, 3), from = (int)rng_below(seed, ++n, 3);
                if (to != from)
                    hear(&w, to, from);
                check_all(&w, 3);
            }
            for (int k = 0; k < 4; k++) { /* packets that arrive confirm */
                int to = (int)rng_below(seed, ++n, 3), from = (int)rng_below(seed, ++n, 3);
                if (to == from)
                    continue;
                for (unsigned i = 0; i < w.pe[from].n_out; i++)
                    if (ip6_equal(&w.pe[from].out[i].peer, &w.pe[to].config.identity.certificate.pe))
                        xsec_heard(w.pe[to].agent, &w.pe[from].config.identity.certificate.pe,
                            w.pe[from].out[i].key.spi, w.now);
                check_all(&w, 3);
            }
            spread(&w, 3); /* BGP converges within a round */
            check_all(&w, 3);
        }
        assert_true(w.pe[0].advertisements > 1);
        end(&w);
    }
}

static void test_a_reboot_never_uses_a_generation_again(void **state)
{
    (void)state;
    for (int with_disk = 0; with_disk < 2; with_disk++) {
        struct world w;
        begin(&w, 2);
        spread(&w, 2);
        uint8_t before[32];
        memcpy(before, w.pe[0].out[0].key.key, 32);
        xsec_agent_free(w.pe[0].agent);
        if (!with_disk)
            w.pe[0].durable = 0;
        w.now += 5;
        boot(&w, 0);
        spread(&w, 2);
        check_all(&w, 2);
        assert_memory_not_equal(before, w.pe[0].out[0].key.key, 32);
        end(&w);
    }
}

/* Who was away while we renewed knows our newest generation only: it is sent to under that one at once. */
static void test_who_comes_just_after_a_renewal(void **state)
{
    (void)state;
    for (int reboots = 0; reboots < 2; reboots++) {
        struct world w;
        begin(&w, 2);
        if (reboots)
            spread(&w, 2);
        xsec_agent_free(w.pe[1].agent);
        w.pe[1].agent = NULL;
        w.now += 500;
        xsec_agent_poll(w.pe[0].agent, w.now);
        assert_int_equal(w.pe[0].advertisements, 2);
        w.now += reboots ? 3 : 0;
        boot(&w, 1);
        spread(&w, 2);
        check_all(&w, 2);
        end(&w);
    }
}

static void test_a_full_disk_advertises_nothing_new(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2);
    spread(&w, 2);
    w.pe[0].disk_full = true;
    w.now += 600;
    int64_t next = xsec_agent_poll(w.pe[0].agent, w.now);
    assert_int_equal(w.pe[0].advertisements, 1);
    assert_true(next <= w.now + 10);
    check_all(&w, 2); /* the old generation still works */
    w.pe[0].disk_full = false;
    w.now = next;
    xsec_agent_poll(w.pe[0].agent, w.now);
    assert_int_equal(w.pe[0].advertisements, 2);
    end(&w);
}

static void test_expiry_follows_signed_time(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2);
    spread(&w, 2);
    w.now += 1000 + XSEC_SKEW_S + 1;
    xsec_agent_poll(w.pe[0].agent, w.now); /* it renews itself, but has heard nothing of the other */
    assert_int_equal(w.pe[0].n_out, 0);
    assert_int_equal(w.pe[0].n_in, 0);
    assert_int_equal(hear(&w, 0, 1), XSEC_EXPIRED);
    end(&w);
}

static void test_no_room_for_more_members(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 3);
    xsec_agent_free(w.pe[0].agent);
    w.pe[0].config.peers_most = 1;
    w.now++;
    boot(&w, 0);
    spread(&w, 3);
    struct xsec_counters c = xsec_agent_counters(w.pe[0].agent);
    assert_int_equal(c.peers, 1);
    assert_int_equal(c.crowded, 1);
    assert_int_equal(w.pe[0].n_out, XSEC_LANES);
    check_path(&w, 0, 1);
    check_path(&w, 1, 2); /* the others are not concerned */
    end(&w);
}

static void test_clock_skew(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2);
    w.now -= XSEC_SKEW_S;
    assert_int_equal(hear(&w, 0, 1), XSEC_GOOD);
    w.now -= 1;
    assert_int_equal(hear(&w, 0, 1), XSEC_EARLY);
    end(&w);
}

static void test_a_clock_that_is_set_back(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2);
    spread(&w, 2);
    uint64_t before = w.pe[0].durable;
    w.now += 86400 * 400; /* somebody mistyped the year */
    for (int i = 0; i < 2; i++)
        xsec_agent_poll(w.pe[i].agent, w.now);
    uint64_t wrong = w.pe[0].durable;
    assert_true(wrong > before);
    w.now -= 86400 * 400; /* and set it right */
    for (int i = 0; i < 2; i++)
        xsec_agent_poll(w.pe[i].agent, w.now);
    assert_int_equal(w.pe[0].durable, wrong + 1); /* generations rise all the same */
    spread(&w, 2);
    check_all(&w, 2);
    end(&w);
}

static void test_revocation_ends_a_member_at_once(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 3);
    spread(&w, 3);
    struct xsec_revocations r = {.number = 1, .issued = w.now, .n = 1, .serial = {2}};
    uint8_t bytes[XSEC_REVOCATIONS_MOST];
    xsec_revocations_sign(&r, w.ca);
    size_t len = xsec_revocations_encode(&r, bytes);
    assert_true(xsec_revocations_take(w.pe[0].agent, bytes, len, w.now));
    assert_int_equal(w.pe[0].n_out, XSEC_LANES); /* only the third is left */
    assert_int_equal(hear(&w, 0, 1), XSEC_REVOKED);
    assert_false(xsec_revocations_take(w.pe[0].agent, bytes, len, w.now)); /* not newer */
    bytes[len - 1] ^= 1;
    assert_false(xsec_revocations_take(w.pe[2].agent, bytes, len, w.now)); /* forged */
    end(&w);
}

static size_t list_of(struct world *w, uint64_t number, uint64_t serial, uint8_t bytes[XSEC_REVOCATIONS_MOST])
{
    struct xsec_revocations r = {.number = number, .issued = w->now, .n = 1, .serial = {serial}};
    xsec_revocations_sign(&r, w->ca);
    return xsec_revocations_encode(&r, bytes);
}

static void test_a_list_given_to_one_reaches_all_through_beacons(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4);
    spread(&w, 4);
    uint8_t bytes[XSEC_REVOCATIONS_MOST], without[XSEC_BEACON_MOST], key[32];
    memcpy(without, w.pe[0].beacon, sizeof without);
    size_t size = w.pe[0].beacon_len, its = w.pe[3].beacon_len, len = list_of(&w, 7, 4, bytes);
    memcpy(key, w.pe[0].out[0].key.key, 32);
    assert_true(xsec_revocations_take(w.pe[0].agent, bytes, len, w.now));
    assert_int_equal(w.pe[0].beacon_len, size + len);
    assert_int_equal(hear(&w, 1, 0), XSEC_GOOD);
    assert_int_equal(hear(&w, 2, 1), XSEC_GOOD); /* on from the second to the third */
    assert_int_equal(hear(&w, 3, 2), XSEC_GOOD); /* and to whom it concerns */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(xsec_agent_counters(w.pe[i].agent).list_number, 7);
        assert_int_equal(w.pe[i].list_len, len);
        assert_int_equal(w.pe[i].n_out, 2 * XSEC_LANES);
        assert_int_equal(xsec_beacon_take(w.pe[i].agent, &w.pe[3].vpn, w.pe[3].beacon, its, w.now), XSEC_REVOKED);
    }
    check_all(&w, 3); /* nobody's keys changed meanwhile */
    assert_memory_equal(w.pe[0].out[0].key.key, key, 32);
    assert_true(xsec_agent_counters(w.pe[3].agent).revoked);
    assert_int_equal(w.pe[3].n_out, 0);
    assert_int_equal(w.pe[3].n_in, 0);
    assert_int_equal(w.pe[3].beacon_len, 0); /* withdrawn */
    w.now += 5000;
    assert_int_equal(xsec_agent_poll(w.pe[3].agent, w.now), INT64_MAX);
    assert_int_equal(w.pe[3].beacon_len, 0);
    w.now -= 5000;
    /* The reflector keeps showing the beacon from before the list, or cuts the list off: nothing is forgotten. */
    assert_int_equal(xsec_beacon_take(w.pe[1].agent, &w.pe[0].vpn, without, size, w.now), XSEC_GOOD);
    assert_int_equal(xsec_agent_counters(w.pe[1].agent).list_number, 7);
    struct xsec_beacon b;
    struct xsec_carried carried;
    xsec_beacon_decode(&b, &carried, w.pe[0].beacon, w.pe[0].beacon_len);
    size_t cut = xsec_beacon_encode(&b, NULL, without);
    assert_int_equal(xsec_beacon_take(w.pe[1].agent, &w.pe[0].vpn, without, cut, w.now), XSEC_FORGED);
    /* A member passes off an older list, or one of its own. */
    len = list_of(&w, 6, 2, bytes);
    struct xsec_carried older = {bytes, (uint16_t)len};
    struct ed25519 *member;
    ed25519_create(&member, w.pe[0].config.identity.seed);
    size_t n = xsec_beacon_sign(&b, &older, member, without);
    assert_int_equal(xsec_beacon_take(w.pe[2].agent, &w.pe[0].vpn, without, n, w.now), XSEC_GOOD);
    assert_int_equal(xsec_agent_counters(w.pe[2].agent).list_number, 7);
    struct xsec_revocations own = {.number = 99, .issued = w.now, .n = 1, .serial = {2}};
    xsec_revocations_sign(&own, member);
    older.len = (uint16_t)xsec_revocations_encode(&own, bytes);
    n = xsec_beacon_sign(&b, &older, member, without);
    assert_int_equal(xsec_beacon_take(w.pe[2].agent, &w.pe[0].vpn, without, n, w.now), XSEC_GOOD);
    assert_int_equal(xsec_agent_counters(w.pe[2].agent).list_number, 7);
    ed25519_free(member);
    check_all(&w, 3);
    end(&w);
}

static void test_a_new_kit_ends_a_revocation(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    begin(&w, 2);
    spread(&w, 2);
    uint8_t bytes[XSEC_REVOCATIONS_MOST];
    size_t len = list_of(&w, 1, 2, bytes);
    assert_true(xsec_revocations_take(w.pe[0].agent, bytes, len, w.now));
    assert_true(xsec_revocations_take(w.pe[1].agent, bytes, len, w.now));
    assert_int_equal(w.pe[0].n_out, 0);
    w.now++;
    struct xsec_identity *i = &w.pe[1].config.identity;
    i->certificate.serial = 77;
    assert_int_equal(xsec_agent_identity_set(w.pe[1].agent, i, w.now, &err), -EINVAL); /* not signed like that */
    xsec_certificate_sign(&i->certificate, w.ca);
    assert_int_equal(xsec_agent_identity_set(w.pe[1].agent, i, w.now, &err), 0);
    spread(&w, 2);
    check_all(&w, 2);
    end(&w);
}

static void test_a_member_serves_only_the_vpns_of_its_certificate(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2);
    xsec_agent_free(w.pe[1].agent);
    w.pe[1].agent = NULL;
    struct xsec_certificate *c = &w.pe[1].config.identity.certificate;
    struct xsec_above above = {.user = &w.pe[1],
        .persist = keep,
        .random = draw,
        .advertise = advertise,
        .install = install,
        .remove = take_away};
    struct error err;
    c->n_vpns = 2;
    memcpy(c->vpn[1], w.pe[1].vpn.target, 8);
    xsec_certificate_sign(c, w.ca);
    w.now++;
    boot(&w, 1); /* its VPN is one of them */
    spread(&w, 2);
    check_all(&w, 2);
    xsec_agent_free(w.pe[1].agent);
    /* Not any more: it does not try. A PE that tries nevertheless is not believed. */
    c->vpn[1][7] ^= 1;
    xsec_certificate_sign(c, w.ca);
    w.now++;
    w.pe[1].config.last_generation = w.pe[1].durable;
    assert_int_equal(xsec_agent_create(&w.pe[1].agent, &w.pe[1].config, &above, w.now, &err), 0);
    assert_int_equal(xsec_vpn_add(w.pe[1].agent, &w.pe[1].vpn, w.now), -EPERM);
    struct xsec_beacon b;
    struct xsec_carried none;
    struct ed25519 *key;
    xsec_beacon_decode(&b, &none, w.pe[1].beacon, w.pe[1].beacon_len);
    b.certificate = *c;
    b.generation++;
    ed25519_create(&key, w.pe[1].config.identity.seed);
    w.pe[1].beacon_len = xsec_beacon_sign(&b, NULL, key, w.pe[1].beacon);
    ed25519_free(key);
    assert_int_equal(hear(&w, 0, 1), XSEC_WRONG_VPN);
    end(&w);
}

static void test_what_a_hostile_reflector_tries(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 3);
    spread(&w, 3);
    struct xsec_beacon b;
    struct xsec_carried none;
    uint8_t bytes[XSEC_BEACON_MOST], old[XSEC_BEACON_MOST];
    const size_t size = w.pe[1].beacon_len;
    memcpy(old, w.pe[1].beacon, size);
    /* Swaps the key. */
    xsec_beacon_decode(&b, &none, old, size);
    b.key[3] ^= 1;
    b.generation++;
    xsec_beacon_encode(&b, NULL, bytes);
    assert_int_equal(xsec_beacon_take(w.pe[0].agent, &w.pe[1].vpn, bytes, size, w.now), XSEC_FORGED);
    /* Signs with a member's key that is not in the certificate: its own beacon under another's name. */
    struct ed25519 *mallory;
    ed25519_create(&mallory, w.pe[2].config.identity.seed);
    xsec_beacon_sign(&b, NULL, mallory, bytes);
    assert_int_equal(xsec_beacon_take(w.pe[0].agent, &w.pe[1].vpn, bytes, size, w.now), XSEC_FORGED);
    /* Makes a certificate itself. */
    xsec_certificate_sign(&b.certificate, mallory);
    xsec_beacon_sign(&b, NULL, mallory, bytes);
    assert_int_equal(xsec_beacon_take(w.pe[0].agent, &w.pe[1].vpn, bytes, size, w.now), XSEC_NOT_A_MEMBER);
    ed25519_free(mallory);
    /* Puts a good beacon on another route: other VPN, other SID, other RD. */
    struct xsec_vpn route = w.pe[1].vpn;
    route.target[7] = 99;
    assert_int_equal(xsec_beacon_take(w.pe[0].agent, &route, old, size, w.now), XSEC_INCONSISTENT);
    route = w.pe[1].vpn;
    route.service_sid.b[7] = 99;
    assert_int_equal(xsec_beacon_take(w.pe[0].agent, &route, old, size, w.now), XSEC_INCONSISTENT);
    /* Strips the SID: the signed one serves. */
    memset(&route.service_sid, 0, 16);
    assert_int_equal(xsec_beacon_take(w.pe[0].agent, &route, old, size, w.now), XSEC_GOOD);
    /* Replays an old generation. */
    w.now += 501;
    xsec_agent_poll(w.pe[1].agent, w.now);
    assert_int_equal(hear(&w, 0, 1), XSEC_GOOD);
    assert_int_equal(xsec_beacon_take(w.pe[0].agent, &w.pe[1].vpn, old, size, w.now), XSEC_REPLAYED);
    check_path(&w, 1, 0);
    check_path(&w, 0, 1);
    /* Cuts it short, makes it longer, changes any byte. */
    for (size_t len = 0; len < size; len++)
        assert_int_equal(xsec_beacon_take(w.pe[0].agent, &w.pe[1].vpn, old, len, w.now), XSEC_MALFORMED);
    for (size_t i = 0; i < size; i++) {
        memcpy(bytes, w.pe[1].beacon, size);
        bytes[i] ^= 0x10;
        assert_int_not_equal(xsec_beacon_take(w.pe[2].agent, &w.pe[1].vpn, bytes, size, w.now), XSEC_GOOD);
    }
    end(&w);
}

static void test_a_preshared_key_must_be_the_same(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2);
    xsec_agent_free(w.pe[1].agent);
    uint8_t psk[32] = {1};
    w.pe[1].config.psk = psk;
    w.now++;
    boot(&w, 1);
    spread(&w, 2);
    assert_memory_not_equal(w.pe[0].out[0].key.key, w.pe[1].in[0].key.key, 32);
    end(&w);
}

static void test_an_identity_that_does_not_hold(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1);
    struct xsec_identity i = w.pe[0].config.identity;
    struct error err;
    i.seed[0] ^= 1;
    assert_int_equal(xsec_identity_check(&i, w.now, &err), -EINVAL);
    assert_non_null(strstr(err.text, "another key"));
    i = w.pe[0].config.identity;
    i.ca[0] ^= 1;
    assert_int_equal(xsec_identity_check(&i, w.now, &err), -EINVAL);
    i = w.pe[0].config.identity;
    assert_int_equal(xsec_identity_check(&i, w.now + 2000000, &err), -EINVAL);
    assert_non_null(strstr(err.text, "expired"));
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beacons_alone_make_a_mesh),
        cmocka_unit_test(test_renewal_breaks_nothing_in_whatever_order_it_spreads),
        cmocka_unit_test(test_a_reboot_never_uses_a_generation_again),
        cmocka_unit_test(test_who_comes_just_after_a_renewal),
        cmocka_unit_test(test_a_full_disk_advertises_nothing_new),
        cmocka_unit_test(test_expiry_follows_signed_time),
        cmocka_unit_test(test_no_room_for_more_members),
        cmocka_unit_test(test_clock_skew),
        cmocka_unit_test(test_a_clock_that_is_set_back),
        cmocka_unit_test(test_revocation_ends_a_member_at_once),
        cmocka_unit_test(test_a_list_given_to_one_reaches_all_through_beacons),
        cmocka_unit_test(test_a_new_kit_ends_a_revocation),
        cmocka_unit_test(test_a_member_serves_only_the_vpns_of_its_certificate),
        cmocka_unit_test(test_what_a_hostile_reflector_tries),
        cmocka_unit_test(test_a_preshared_key_must_be_the_same),
        cmocka_unit_test(test_an_identity_that_does_not_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
