/* The neighbour table as hosts see it: frames in, frames out, time passed in. */
#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"
#include "forward/neighbour.h"
#include "forward/neighbour_inner.h"
#include "lane/testing_mbuf.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>

#define FRAMES 256

static struct testing_mbufs *slab;
static struct neighbour_table *t;
static uint32_t net;

/* What came out. */
static struct rte_mbuf *sent[FRAMES], *ready[FRAMES];
static unsigned n_sent, n_ready, n_lost, n_failed;
static uint16_t sent_port;
static uint8_t ready_mac[6];

static void on_send(void *user, uint16_t port, struct rte_mbuf *m, int64_t now)
{
    assert_true(n_sent < FRAMES);
    sent_port = port;
    sent[n_sent++] = m;
}

static void on_ready(void *user, uint32_t which, const uint8_t mac[6], struct rte_mbuf *m, int64_t now)
{
    assert_int_equal(which, net);
    memcpy(ready_mac, mac, 6);
    ready[n_ready++] = m;
}

static void on_lost(void *user, uint32_t which, struct rte_mbuf *m, bool failed, int64_t now)
{
    n_lost++;
    n_failed += failed;
    testing_mbuf_free(slab, m);
}

static void clear(void)
{
    while (n_sent)
        testing_mbuf_free(slab, sent[--n_sent]);
    while (n_ready)
        testing_mbuf_free(slab, ready[--n_ready]);
    n_lost = n_failed = 0;
}

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, host_mac[6] = {2, 0, 0, 0, 0, 0x99},
                     other_mac[6] = {2, 0, 0, 0, 0, 0x66};

static struct ip_addr addr(const char *text)
{
    struct ip_addr a;
    assert_int_equal(ip_addr_parse(&a, text, NULL), 0);
    return a;
}

static struct neighbour_net plain(void)
{
    struct neighbour_net n = {.port = 3, .mtu = 1428, .share = 16};
    memcpy(n.mac, our_mac, 6);
    assert_int_equal(ip_gateway_parse(&n.gateway[0], "10.0.0.1/24", NULL), 0);
    assert_int_equal(ip_gateway_parse(&n.gateway[1], "2001:db8:1::1/64", NULL), 0);
    return n;
}

static int setup(void **state)
{
    const struct neighbour_config c = {.neighbours_most = 64, .nets_most = 4, .seed = 7};
    const struct neighbour_ops ops = {slab, testing_mbuf_alloc, on_send, on_ready, on_lost};
    const struct neighbour_net n = plain();
    assert_int_equal(neighbour_create(&t, &c, &ops), 0);
    assert_int_equal(neighbour_net_set(t, &n, 0, &net, NULL), 0);
    clear();
    return 0;
}

static int teardown(void **state)
{
    assert_true(neighbour_check(t));
    neighbour_free(t);
    clear();
    assert_int_equal(slab->used, 0);
    return 0;
}

/* --- hosts -------------------------------------------------------------------------------------------------- */

static void host_arp(uint16_t op, const char *sender, const uint8_t mac[6], const char *target, int64_t now)
{
    struct arp a = {.op = op};
    uint8_t p[ARP_SIZE];
    memcpy(a.sender_mac, mac, 6);
    memcpy(a.sender.b, addr(sender).a.b, 4);
    memcpy(a.target.b, addr(target).a.b, 4);
    arp_encode(p, &a);
    assert_true(neighbour_receive(t, net, ETHER_ARP, mac, p, sizeof(p), now));
    assert_true(neighbour_check(t));
}

static struct nd nd_of(uint8_t type, const char *src, const char *dst, const char *target)
{
    struct nd d = {.type = type, .has_mac = true, .src = addr(src).a, .dst = addr(dst).a, .target = addr(target).a};
    memcpy(d.mac, host_mac, 6);
    return d;
}

static void host_nd(const struct nd *d, int64_t now)
{
    uint8_t p[ND_SIZE_MOST];
    size_t n = nd_encode(p, d);
    assert_true(neighbour_receive(t, net, ETHER_IP6, host_mac, p, n, now));
    assert_true(neighbour_check(t));
}

static uint32_t sequence; /* of packets handed to resolve */

static const uint8_t *resolve(const char *text, int64_t now)
{
    struct ip_addr a = addr(text);
    struct rte_mbuf *m = testing_mbuf_sized(slab, 100);
    bytes_put_be32(packet_at(m, 0), sequence++);
    const uint8_t *mac = neighbour_resolve(t, net, &a, m, now);
    if (mac)
        testing_mbuf_free(slab, m);
    assert_true(neighbour_check(t));
    return mac;
}

static enum neighbour_state look(const char *text)
{
    struct ip_addr a = addr(text);
    return neighbour_look(t, net, &a, NULL);
}

/* --- frames of ours ------------------------------------------------------------------------------------------- */

static void is_arp(const struct rte_mbuf *m, uint16_t op, const uint8_t dst[6], const char *sender, const char *target)
{
    const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
    struct arp a;
    assert_int_equal(m->data_len, ETHER_SIZE + ARP_SIZE);
    assert_memory_equal(p + ETHER_DST, dst, 6);
    assert_memory_equal(p + ETHER_SRC, our_mac, 6);
    assert_int_equal(bytes_get_be16(p + ETHER_TYPE), ETHER_ARP);
    assert_int_equal(arp_parse(&a, p + ETHER_SIZE, ARP_SIZE), 0);
    assert_int_equal(a.op, op);
    assert_memory_equal(a.sender_mac, our_mac, 6);
    assert_memory_equal(a.sender.b, addr(sender).a.b, 4);
    assert_memory_equal(a.target.b, addr(target).a.b, 4);
}

static struct nd is_nd(const struct rte_mbuf *m, uint8_t type, const uint8_t dst[6], const char *src, const char *to)
{
    const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
    struct nd d;
    char text[IP_TEXT_SIZE];
    assert_memory_equal(p + ETHER_DST, dst, 6);
    assert_int_equal(nd_parse(&d, p + ETHER_SIZE, m->data_len - ETHER_SIZE), 0);
    assert_int_equal(d.type, type);
    assert_string_equal(ip6_print(text, &d.src), src);
    assert_string_equal(ip6_print(text, &d.dst), to);
    return d;
}

static const uint8_t everyone[6] = {255, 255, 255, 255, 255, 255};

/* --- tests -------------------------------------------------------------------------------------------------- */

static void test_answers_arp(void **state)
{
    host_arp(ARP_REQUEST, "10.0.0.9", host_mac, "10.0.0.1", 5);
    assert_int_equal(n_sent, 1);
    assert_int_equal(sent_port, 3);
    is_arp(sent[0], ARP_REPLY, host_mac, "10.0.0.1", "10.0.0.9");
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_STALE); /* it will be spoken to soon */
    clear();
    host_arp(ARP_REQUEST, "10.0.0.9", host_mac, "10.0.0.8", 5); /* for another host */
    host_arp(ARP_REQUEST, "10.0.0.7", host_mac, "10.0.0.8", 5);
    assert_int_equal(n_sent, 0);
    assert_int_equal(look("10.0.0.7"), NEIGHBOUR_NONE);
    host_arp(ARP_REQUEST, "0.0.0.0", host_mac, "10.0.0.1", 5); /* somebody wants our address: defended */
    is_arp(sent[0], ARP_REPLY, host_mac, "10.0.0.1", "0.0.0.0");
}

static void test_believes_only_its_own_net(void **state)
{
    static const char *const foreign[] = {"10.0.1.9", "192.0.2.1", "10.0.0.1", "10.0.0.0", "10.0.0.255"};
    for (unsigned i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
        host_arp(ARP_REQUEST, foreign[i], host_mac, "10.0.0.1", 0);
        assert_int_equal(look(foreign[i]), NEIGHBOUR_NONE);
    }
    struct nd d = nd_of(ICMP6_NEIGHBOUR_SOLICIT, "2001:db8:2::9", "2001:db8:1::1", "2001:db8:1::1");
    host_nd(&d, 0);
    assert_int_equal(n_sent, 0);
    assert_int_equal(neighbour_counters(t)->foreign, 6);
    assert_int_equal(neighbour_count(t, net), 0);
}

static void test_answers_solicitations(void **state)
{
    struct nd d = nd_of(ICMP6_NEIGHBOUR_SOLICIT, "2001:db8:1::9", "ff02::1:ff00:1", "2001:db8:1::1"), got;
    host_nd(&d, 0);
    got = is_nd(sent[0], ICMP6_NEIGHBOUR_ADVERT, host_mac, "2001:db8:1::1", "2001:db8:1::9");
    assert_int_equal(got.flags, ND_ROUTER | ND_SOLICITED | ND_OVERRIDE);
    assert_memory_equal(got.mac, our_mac, 6);
    assert_int_equal(look("2001:db8:1::9"), NEIGHBOUR_STALE);
    clear();
    d = nd_of(ICMP6_NEIGHBOUR_SOLICIT, "fe80::9", "fe80::ff:fe00:1", "fe80::ff:fe00:1"); /* our link-local address */
    host_nd(&d, 0);
    is_nd(sent[0], ICMP6_NEIGHBOUR_ADVERT, host_mac, "fe80::ff:fe00:1", "fe80::9");
    clear();
    d = nd_of(ICMP6_NEIGHBOUR_SOLICIT, "::", "ff02::1:ff00:1", "2001:db8:1::1"); /* duplicate address detection */
    d.has_mac = false;
    host_nd(&d, 0);
    const uint8_t all[6] = {0x33, 0x33, 0, 0, 0, 1};
    got = is_nd(sent[0], ICMP6_NEIGHBOUR_ADVERT, all, "2001:db8:1::1", "ff02::1");
    assert_int_equal(got.flags, ND_ROUTER | ND_OVERRIDE);
    clear();
    d = nd_of(ICMP6_NEIGHBOUR_SOLICIT, "2001:db8:1::9", "ff02::1:ff00:7", "2001:db8:1::7"); /* for another host */
    host_nd(&d, 0);
    assert_int_equal(n_sent, 0);
}

static void test_resolves_with_arp(void **state)
{
    assert_null(resolve("10.0.0.9", 0));
    assert_null(resolve("10.0.0.9", 0));
    assert_int_equal(n_sent, 1);
    is_arp(sent[0], ARP_REQUEST, everyone, "10.0.0.1", "10.0.0.9");
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_INCOMPLETE);
    host_arp(ARP_REPLY, "10.0.0.9", host_mac, "10.0.0.1", 10);
    assert_int_equal(n_ready, 2);
    assert_memory_equal(ready_mac, host_mac, 6);
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_REACHABLE);
    assert_memory_equal(resolve("10.0.0.9", 11), host_mac, 6);
    assert_int_equal(n_sent, 1);
    /* a word of its own also ends the waiting */
    assert_null(resolve("10.0.0.10", 20));
    host_arp(ARP_REQUEST, "10.0.0.10", other_mac, "10.0.0.44", 20);
    assert_int_equal(n_ready, 3);
    assert_int_equal(look("10.0.0.10"), NEIGHBOUR_STALE);
}

static void test_resolves_with_discovery(void **state)
{
    assert_null(resolve("2001:db8:1::9", 0));
    const uint8_t group[6] = {0x33, 0x33, 0xff, 0, 0, 9};
    struct nd got = is_nd(sent[0], ICMP6_NEIGHBOUR_SOLICIT, group, "2001:db8:1::1", "ff02::1:ff00:9");
    assert_memory_equal(got.mac, our_mac, 6);
    struct nd d = nd_of(ICMP6_NEIGHBOUR_ADVERT, "2001:db8:1::9", "2001:db8:1::1", "2001:db8:1::9");
    d.has_mac = false;
    host_nd(&d, 1); /* says nothing */
    assert_int_equal(n_ready, 0);
    d.has_mac = true;
    d.flags = ND_SOLICITED;
    host_nd(&d, 1);
    assert_int_equal(n_ready, 1);
    assert_int_equal(look("2001:db8:1::9"), NEIGHBOUR_REACHABLE);
    assert_null(resolve("fe80::9", 1)); /* link-local ones from our link-local address */
    is_nd(sent[1], ICMP6_NEIGHBOUR_SOLICIT, group, "fe80::ff:fe00:1", "ff02::1:ff00:9");
}

static void test_dead_host(void **state)
{
    assert_null(resolve("10.0.0.9", 0));
    assert_int_equal(neighbour_poll(t, 0), SECOND_NS);
    assert_int_equal(neighbour_poll(t, SECOND_NS), 2 * SECOND_NS);
    assert_int_equal(neighbour_poll(t, 2 * SECOND_NS), 3 * SECOND_NS);
    assert_int_equal(n_sent, 3);
    is_arp(sent[2], ARP_REQUEST, everyone, "10.0.0.1", "10.0.0.9");
    assert_int_equal(neighbour_poll(t, 3 * SECOND_NS), DEADLINE_NEVER);
    assert_int_equal(n_lost, 1);
    assert_int_equal(n_failed, 1);
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_NONE);
    assert_int_equal(neighbour_counters(t)->failed, 1);
}

static void test_reachability(void **state)
{
    int64_t now = RETRANSMIT_NS;
    assert_null(resolve("10.0.0.9", 0));
    neighbour_poll(t, now); /* answers when asked again */
    host_arp(ARP_REPLY, "10.0.0.9", host_mac, "10.0.0.1", now);
    clear();
    now += REACHABLE_NS;
    neighbour_poll(t, now);
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_STALE);
    assert_non_null(resolve("10.0.0.9", now)); /* used without waiting, checked behind */
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_DELAY);
    now += DELAY_NS;
    neighbour_poll(t, now);
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_PROBE);
    is_arp(sent[0], ARP_REQUEST, host_mac, "10.0.0.1", "10.0.0.9");
    host_arp(ARP_REPLY, "10.0.0.9", host_mac, "10.0.0.1", now);
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_REACHABLE);
    now += REACHABLE_NS;
    neighbour_poll(t, now);
    assert_non_null(resolve("10.0.0.9", now));
    clear();
    for (unsigned i = 0; i < 5; i++)
        neighbour_poll(t, now += DELAY_NS);
    assert_int_equal(n_sent, 3); /* three probes, then it is gone */
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_NONE);
    /* one that is not used is forgotten */
    host_arp(ARP_REQUEST, "10.0.0.9", host_mac, "10.0.0.1", now);
    neighbour_poll(t, now + STALE_KEPT_NS);
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_NONE);
}

static void test_other_mac(void **state)
{
    assert_null(resolve("10.0.0.9", 0));
    host_arp(ARP_REPLY, "10.0.0.9", host_mac, "10.0.0.1", 0);
    host_arp(ARP_REPLY, "10.0.0.9", other_mac, "10.0.0.1", 0); /* nobody asked */
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_STALE);
    assert_memory_equal(resolve("10.0.0.9", 0), other_mac, 6);
    assert_null(resolve("2001:db8:1::9", 0));
    struct nd d = nd_of(ICMP6_NEIGHBOUR_ADVERT, "2001:db8:1::9", "2001:db8:1::1", "2001:db8:1::9");
    d.flags = ND_SOLICITED;
    host_nd(&d, 0);
    memcpy(d.mac, other_mac, 6); /* without override: the old MAC is kept, but doubted */
    host_nd(&d, 0);
    assert_int_equal(look("2001:db8:1::9"), NEIGHBOUR_STALE);
    assert_memory_equal(resolve("2001:db8:1::9", 0), host_mac, 6);
    d.flags = ND_OVERRIDE;
    host_nd(&d, 0);
    assert_int_equal(look("2001:db8:1::9"), NEIGHBOUR_STALE);
    assert_memory_equal(resolve("2001:db8:1::9", 0), other_mac, 6);
}

static void test_waiting_is_bounded(void **state)
{
    uint32_t first = sequence;
    for (unsigned i = 0; i < NEIGHBOUR_WAITING + 5; i++)
        assert_null(resolve("10.0.0.9", 0));
    assert_int_equal(n_lost, 5);
    assert_int_equal(n_failed, 0);
    host_arp(ARP_REPLY, "10.0.0.9", host_mac, "10.0.0.1", 0);
    assert_int_equal(n_ready, NEIGHBOUR_WAITING);
    for (unsigned i = 0; i < n_ready; i++) /* the oldest five are gone, the order is kept */
        assert_int_equal(bytes_get_be32(packet_at(ready[i], 0)), first + 5 + i);
}

static void test_scan_pushes_nobody_out(void **state)
{
    char text[32];
    for (unsigned i = 0; i < 10; i++) { /* no more than a quarter of the share is asked for at a time */
        sprintf(text, "10.0.0.%u", 200 + i);
        assert_null(resolve(text, 0));
    }
    assert_int_equal(neighbour_count(t, net), 4);
    for (unsigned i = 0; i < 12; i++) { /* 12 of 16 answer */
        sprintf(text, "10.0.0.%u", 10 + i);
        assert_null(resolve(text, 0));
        host_arp(ARP_REPLY, text, host_mac, "10.0.0.1", 0);
    }
    clear();
    for (unsigned i = 0; i < 100; i++) {
        sprintf(text, "10.0.0.%u", 100 + i);
        assert_null(resolve(text, 0));
    }
    assert_int_equal(neighbour_count(t, net), 16);
    for (unsigned i = 0; i < 12; i++) {
        sprintf(text, "10.0.0.%u", 10 + i);
        assert_non_null(resolve(text, 0));
    }
    assert_true(n_sent < 60);         /* the net is not flooded with questions */
    assert_int_equal(n_lost, 3 + 96); /* of the first ones, and of these */
    /* other nets have what they reserved */
    struct neighbour_net n = plain();
    uint32_t second;
    n.vlan = 5;
    n.share = 49;
    struct error err;
    assert_int_equal(neighbour_net_set(t, &n, 0, &second, &err), -ENOSPC);
    n.share = 48;
    assert_int_equal(neighbour_net_set(t, &n, 0, &second, &err), 0);
    assert_int_not_equal(second, net);
    assert_int_equal(neighbour_count(t, second), 0);
}

static void test_full_of_reachable(void **state)
{
    char text[32];
    for (unsigned i = 0; i < 16; i++) {
        sprintf(text, "10.0.0.%u", 10 + i);
        assert_null(resolve(text, 0));
        host_arp(ARP_REPLY, text, host_mac, "10.0.0.1", 0);
    }
    assert_null(resolve("10.0.0.100", 0));
    assert_int_equal(n_lost, 1);
    assert_int_equal(neighbour_counters(t)->refused, 1);
    neighbour_poll(t, REACHABLE_NS); /* stale ones give way, the one unheard for longest first */
    assert_null(resolve("10.0.0.100", REACHABLE_NS));
    assert_int_equal(n_lost, 1);
    assert_int_equal(look("10.0.0.10"), NEIGHBOUR_NONE);
    assert_int_equal(look("10.0.0.11"), NEIGHBOUR_STALE);
}

static void test_tagged_frames(void **state)
{
    struct neighbour_net n = plain();
    uint32_t tagged;
    n.port = 4;
    n.vlan = 100;
    assert_int_equal(neighbour_net_set(t, &n, 0, &tagged, NULL), 0);
    assert_int_equal(n_sent, 2); /* it tells who it is: gratuitous ARP, unsolicited advertisement */
    const uint8_t *p = packet_at(sent[0], 0);
    const uint8_t tag[6] = {0x81, 0, 0, 100, 0x08, 0x06};
    assert_int_equal(sent[0]->data_len, ETHER_SIZE + VLAN_SIZE + ARP_SIZE);
    assert_memory_equal(p + ETHER_TYPE, tag, 6);
    assert_int_equal(sent_port, 4);
    assert_int_equal(neighbour_net_find(t, 4, 100), tagged);
    assert_int_equal(neighbour_net_find(t, 4, 0), UINT32_MAX);
    assert_int_equal(neighbour_net_del(t, tagged, 0), 0);
    assert_int_equal(neighbour_net_del(t, tagged, 0), -ENOENT);
    assert_int_equal(neighbour_net_find(t, 4, 100), UINT32_MAX);
}

static void test_changed_nets(void **state)
{
    struct neighbour_net n = plain();
    uint32_t again;
    host_arp(ARP_REQUEST, "10.0.0.9", host_mac, "10.0.0.1", 0);
    n.mtu = 1300; /* nothing that hosts' entries depend on */
    assert_int_equal(neighbour_net_set(t, &n, 0, &again, NULL), 0);
    assert_int_equal(again, net);
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_STALE);
    assert_null(resolve("10.0.0.8", 0));
    n.gateway[0].len = 25;
    assert_int_equal(neighbour_net_set(t, &n, 0, &again, NULL), 0);
    assert_int_equal(look("10.0.0.9"), NEIGHBOUR_NONE);
    assert_int_equal(n_lost, 1);
    static const char *const bad[] = {
        "224.0.0.1/24", "10.0.0.0/24", "10.0.0.255/24", "0.0.0.0/0", "::/64", "ff02::1/64"};
    struct error err;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(ip_gateway_parse(&n.gateway[0], bad[i], NULL), 0);
        assert_int_equal(neighbour_net_set(t, &n, 0, &again, &err), -EINVAL);
    }
}

/* --- router advertisements ------------------------------------------------------------------------------------ */

static void is_router(const struct rte_mbuf *m, const char *to, uint16_t lifetime)
{
    const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *) + ETHER_SIZE, *icmp = p + IP6_SIZE;
    struct ip6 dst;
    char text[IP_TEXT_SIZE];
    memcpy(dst.b, p + IP6_DST, 16);
    assert_string_equal(ip6_print(text, &dst), to);
    assert_int_equal(icmp[0], ICMP6_ROUTER_ADVERT);
    assert_int_equal(bytes_get_be16(icmp + 6), lifetime);
    assert_int_equal(icmp[5], 0); /* neither M nor O */
    assert_int_equal(bytes_get_be32(icmp + 16 + 8 + 4), 1428);
    assert_int_equal(icmp[16 + 16 + 2], 64);
    assert_int_equal(icmp[16 + 16 + 3], 0xc0);
    assert_memory_equal(icmp + 16 + 16 + 16, addr("2001:db8:1::").a.b, 16);
}

static void test_advertisements(void **state)
{
    struct neighbour_net n = plain();
    n.advertise = true;
    int64_t now = 1000 * SECOND_NS;
    assert_int_equal(neighbour_net_set(t, &n, now, &net, NULL), 0);
    unsigned early = 0, late = 0;
    int64_t last = now, start = now;
    for (clear(); now < start + 4000 * SECOND_NS; clear()) {
        int64_t next = neighbour_poll(t, now);
        assert_int_equal(n_sent, 1);
        is_router(sent[0], "ff02::1", 1800);
        if (now - last <= 16 * SECOND_NS)
            early++;
        else {
            assert_true(now - last >= 198 * SECOND_NS && now - last <= 600 * SECOND_NS);
            late++;
        }
        last = now;
        now = next;
    }
    assert_int_equal(early, 3);
    assert_true(late >= 6);
    clear();
    assert_int_equal(neighbour_net_del(t, net, now), 0);
    is_router(sent[0], "ff02::1", 0);
}

static void test_solicited_advertisements(void **state)
{
    struct neighbour_net n = plain();
    struct nd d = nd_of(ICMP6_ROUTER_SOLICIT, "fe80::9", "ff02::2", "::");
    host_nd(&d, 0); /* not asked to advertise */
    assert_int_equal(n_sent, 0);
    n.advertise = true;
    assert_int_equal(neighbour_net_set(t, &n, 0, &net, NULL), 0);
    neighbour_poll(t, 0);
    clear();
    for (unsigned i = 0; i < 100; i++)
        host_nd(&d, 1);
    assert_int_equal(n_sent, 10); /* limited */
    is_router(sent[0], "fe80::9", 1800);
    assert_memory_equal(packet_at(sent[0], 0), host_mac, 6);
    clear();
    d.src = addr("::").a;
    d.has_mac = false;
    for (unsigned i = 0; i < 100; i++)
        host_nd(&d, 1);
    assert_int_equal(n_sent, 0);
    assert_int_equal(neighbour_poll(t, 1), 3 * SECOND_NS); /* three seconds after the last one to all */
    neighbour_poll(t, 3 * SECOND_NS);
    assert_int_equal(n_sent, 1);
    is_router(sent[0], "ff02::1", 1800);
}

static void test_nonsense(void **state)
{
    uint8_t p[ND_SIZE_MOST] = {0};
    assert_true(neighbour_receive(t, net, ETHER_ARP, host_mac, p, 10, 0));
    assert_false(neighbour_receive(t, net, ETHER_IP6, host_mac, p, sizeof(p), 0));
    assert_false(neighbour_receive(t, net, ETHER_IP4, host_mac, p, sizeof(p), 0));
    struct nd d = nd_of(ICMP6_NEIGHBOUR_SOLICIT, "2001:db8:1::9", "2001:db8:1::1", "2001:db8:1::1");
    size_t n = nd_encode(p, &d);
    p[n - 1]++;
    assert_true(neighbour_receive(t, net, ETHER_IP6, host_mac, p, n, 0));
    p[n - 1]--;
    assert_true(neighbour_receive(t, net, ETHER_IP6, everyone, p, n, 0));
    assert_int_equal(neighbour_counters(t)->malformed, 3);
    assert_int_equal(n_sent, 0);
    while (testing_mbuf_alloc(slab)) /* no memory for answers */
        ;
    assert_true(neighbour_receive(t, net, ETHER_IP6, host_mac, p, n, 0));
    assert_int_equal(neighbour_counters(t)->no_buffer, 1);
    testing_mbufs_free(slab);
    slab = testing_mbufs_create(FRAMES, 512);
}

/* Hosts that do anything at any time: everything stays consistent and within bounds. */
static void test_random(void **state)
{
    int64_t now = 0;
    char text[32];
    for (unsigned i = 0; i < 20000; i++) {
        unsigned host = 2 + rng_below(9, 3 * i, 40);
        sprintf(text, rng_u64(9, 3 * i) % 2 ? "10.0.0.%u" : "2001:db8:1::%u", host);
        bool six = strchr(text, ':');
        struct nd d = nd_of(ICMP6_NEIGHBOUR_ADVERT, six ? text : "fe80::1", "2001:db8:1::1", six ? text : "fe80::2");
        switch (rng_below(9, 3 * i + 1, 6)) {
        case 0:
        case 1:
            resolve(text, now);
            break;
        case 2:
            if (!six)
                host_arp(ARP_REPLY, text, i % 3 ? host_mac : other_mac, "10.0.0.1", now);
            break;
        case 3:
            if (!six)
                host_arp(ARP_REQUEST, text, host_mac, i % 2 ? "10.0.0.1" : "10.0.0.3", now);
            break;
        case 4:
            d.flags = (uint8_t)(rng_u64(8, i) & (ND_SOLICITED | ND_OVERRIDE));
            host_nd(&d, now);
            break;
        default:
            now += rng_below(9, 3 * i + 2, 3) * 700000000ll;
            assert_true(neighbour_poll(t, now) > now);
        }
        assert_true(neighbour_check(t));
        assert_true(neighbour_count(t, net) <= 16);
        clear();
    }
    assert_true(neighbour_counters(t)->resolved > 100 && neighbour_counters(t)->failed > 20);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    slab = testing_mbufs_create(FRAMES, 512);
    const struct CMUnitTest tests[] = {
        T(test_answers_arp),
        T(test_believes_only_its_own_net),
        T(test_answers_solicitations),
        T(test_resolves_with_arp),
        T(test_resolves_with_discovery),
        T(test_dead_host),
        T(test_reachability),
        T(test_other_mac),
        T(test_waiting_is_bounded),
        T(test_scan_pushes_nobody_out),
        T(test_full_of_reachable),
        T(test_tagged_frames),
        T(test_changed_nets),
        T(test_advertisements),
        T(test_solicited_advertisements),
        T(test_nonsense),
        T(test_random),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    testing_mbufs_free(slab);
    return rc;
}
