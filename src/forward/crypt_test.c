/* Encrypted VPNs over real forwarding cores (X2, X3): what goes in comes out, nothing shows on the way, and whatever is changed,
 * repeated, moved to another VPN or sent in clear is lost with its own reason. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "forward/testing_vpn.h"

#include <errno.h>
#include <stdlib.h>

enum { AF41 = 34, EF = 46, BOTH = VPN_KEYS_OPEN | VPN_KEYS_SEAL };

static const struct testing_udp udp = {IP_V4, AF41, 0, 64, 0, 1000, 2000, 100};

static uint64_t lost(const struct testing_vpn *v, enum loss_reason r)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= v->last; i++)
        sum += forward_loss(testing_net_forward(v->net, i))->packets[r];
    return sum;
}

static uint64_t lost_all(const struct testing_vpn *v)
{
    uint64_t sum = 0;
    for (unsigned r = 0; r < LOSS_REASONS; r++)
        sum += lost(v, (enum loss_reason)r);
    return sum;
}

/* A network with keys, its lanes open, its hosts known. */
static void begin(struct testing_vpn *v, struct testing_vpn_config c)
{
    c.encrypted = true;
    c.delay_ns = 1000;
    testing_vpn_init(v, &c, 1);
    testing_vpn_keys(v, 0, BOTH);
    for (unsigned i = 0; c.lanes && i < 100 && testing_net_events(v->net, 0, LANE_EVENT_OPEN) < 2; i++)
        testing_net_run(v->net, 10 * NS_PER_MS);
    for (unsigned i = 0; c.lanes && i < 100 && testing_net_events(v->net, v->last, LANE_EVENT_OPEN) < 2; i++)
        testing_net_run(v->net, 10 * NS_PER_MS);
    testing_vpn_meet(v);
}

static void end(struct testing_vpn *v)
{
    testing_net_hook(v->net, NULL, NULL);
    assert_int_equal(testing_vpn_done(v), 0);
}

static const struct testing_frame *arrived(const struct testing_vpn *v, unsigned router, unsigned i)
{
    return testing_net_seen(v->net, router, VPN_HOSTS, i);
}

/* The frame holds the same IP packet but for its hop limit, checksum and ECN. */
static void assert_same(const struct testing_vpn *v, const struct testing_frame *f, unsigned from, struct testing_udp u)
{
    uint8_t sent[TESTING_NET_ROOM];
    assert_non_null(f);
    uint32_t len = testing_vpn_udp(v, sent, from, &u), l3 = u.vlan ? 18 : 14, head = u.family == IP_V4 ? 20 : 40;
    assert_int_equal(f->len, len);
    assert_memory_equal(f->bytes + l3 + head, sent + l3 + head, len - l3 - head);
    assert_memory_equal(f->bytes + l3 + head - 8, sent + l3 + head - 8, 8); /* addresses' end */
    assert_int_equal(f->bytes[l3 + (u.family == IP_V4 ? IP4_TTL : IP6_HOPS)], u.hops - 2);
}

/* Where the ESP header is in a frame of a core link, or 0. */
static uint32_t esp_at(const struct testing_frame *f)
{
    if (f->len < ETHER_SIZE + IP6_SIZE || bytes_get_be16(f->bytes + ETHER_TYPE) != ETHER_IP6)
        return 0;
    uint32_t at = ETHER_SIZE + IP6_SIZE;
    uint8_t next = f->bytes[ETHER_SIZE + IP6_NEXT];
    while ((next == IP_PROTO_HOPOPT || next == IP_PROTO_ROUTING) && at + 8 <= f->len) {
        next = f->bytes[at];
        at += 8u + f->bytes[at + 1] * 8u;
    }
    return next == IP_PROTO_ESP && at < f->len ? at : 0;
}

static bool contains(const uint8_t *bytes, uint32_t len, const uint8_t *what, uint32_t n)
{
    for (uint32_t i = 0; i + n <= len; i++)
        if (memcmp(bytes + i, what, n) == 0)
            return true;
    return false;
}

/* Core frames that carry ESP; none of them, and no other one, shows the payload's pattern or a host's address. */
static unsigned sealed_frames(const struct testing_vpn *v)
{
    static const uint8_t pattern[] = {16, 17, 18, 19, 20, 21, 22, 23}, host[] = {10, 0, 0, 2, 10, 0, 1, 2};
    unsigned n = 0;
    const struct testing_frame *f;
    for (unsigned i = 0; (f = testing_net_any(v->net, i)); i++) {
        if (f->port == VPN_HOSTS)
            continue;
        n += esp_at(f) != 0;
        assert_false(contains(f->bytes, f->len, pattern, sizeof pattern));
        assert_false(contains(f->bytes, f->len, host, sizeof host));
    }
    return n;
}

/* --- through ---------------------------------------------------------------------------------------------------- */

static void goes_through(struct testing_vpn_config c)
{
    static const uint8_t dscp[] = {0, AF41, EF};
    struct testing_vpn v;
    unsigned sent = 0;
    begin(&v, c);
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < 48; i++) {
            struct testing_udp u = udp;
            unsigned from = side ? v.last : 0, to = side ? 0 : v.last;
            u.family = i % 2 ? IP_V4 : IP_V6;
            u.vlan = i % 4 < 2 ? 0 : 20;
            u.dscp = dscp[i % 3];
            u.payload = 24 + i;
            testing_vpn_send(&v, from, &u);
            testing_net_run(v.net, NS_PER_MS);
            assert_same(&v, arrived(&v, to, 0), from, u);
            assert_null(arrived(&v, to, 1));
            assert_int_equal(sealed_frames(&v), c.routers - 1);
            testing_net_clear(v.net);
            sent++;
        }
    assert_int_equal(lost_all(&v), 0);
    struct forward_counts left = forward_counts(testing_net_forward(v.net, 0)),
                          right = forward_counts(testing_net_forward(v.net, v.last));
    assert_int_equal(left.sealed + right.sealed, sent);
    assert_int_equal(left.opened + right.opened, sent);
    end(&v);
}

static void both_families_over_a_container(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 4});
}

static void between_two_routers(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 2});
}

static void in_lanes(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 3, .lanes = true});
}

static void over_containers_with_an_srh(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 10, .lanes = true});
}

static void over_full_sids_with_an_srh(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 5, .full_sids = true});
}

static void psp_takes_the_srh_off_around_esp(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 5, .full_sids = true, .flavours = SID_PSP, .lanes = true});
}

static void batches_keep_the_order(void **state)
{
    struct testing_vpn v;
    begin(&v, (struct testing_vpn_config){.routers = 3, .lanes = true});
    for (unsigned i = 0; i < 500; i++) {
        struct testing_udp u = udp;
        u.src_port = (uint16_t)i;
        u.payload = 30 + i % 7 * 200;
        testing_vpn_send(&v, 0, &u);
    }
    testing_net_run(v.net, 20 * NS_PER_MS);
    for (unsigned i = 0; i < 500; i++) {
        const struct testing_frame *f = arrived(&v, v.last, i);
        assert_non_null(f);
        assert_int_equal(bytes_get_be16(f->bytes + ETHER_SIZE + IP4_SIZE), i);
    }
    assert_int_equal(lost_all(&v), 0);
    end(&v);
}

static void no_key_means_no_packet(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .encrypted = true, .delay_ns = 1000}, 1);
    testing_vpn_meet(&v);
    testing_vpn_send(&v, 0, &udp);
    testing_net_run(v.net, NS_PER_MS);
    assert_null(testing_net_any(v.net, 0));
    assert_int_equal(lost(&v, LOSS_NO_KEY), 1);
    testing_vpn_keys(&v, 0, VPN_KEYS_SEAL);
    testing_vpn_send(&v, 0, &udp); /* leaves, and nobody can open it */
    testing_net_run(v.net, NS_PER_MS);
    assert_null(arrived(&v, v.last, 0));
    assert_int_equal(lost(&v, LOSS_NO_KEY), 2);
    testing_vpn_keys(&v, 0, VPN_KEYS_OPEN);
    testing_vpn_send(&v, 0, &udp);
    testing_net_run(v.net, NS_PER_MS);
    assert_same(&v, arrived(&v, v.last, 0), 0, udp);
    end(&v);
}

/* --- what is done to packets on the way -------------------------------------------------------------------------- */

/* One change to frames that enter a cable at router 0, port VPN_RIGHT. */
struct meddling {
    void (*change)(const struct meddling *, uint8_t *frame, uint32_t len);
    uint32_t at;      /* of the change, its own use */
    uint8_t value;    /* likewise */
    int64_t delay_ns; /* of the first frame of `dscp` */
    uint8_t dscp;
    unsigned from, until; /* frames with ESP, counted */
    unsigned seen;
};

static int64_t meddle(void *user, unsigned router, uint16_t port, uint8_t *bytes, uint32_t len, int64_t now)
{
    struct meddling *m = user;
    const struct testing_frame f = {.bytes = bytes, .len = len};
    if (router != 0 || port != VPN_RIGHT || !esp_at(&f))
        return 0;
    unsigned number = m->seen++;
    if (number < m->from || number >= m->until)
        return 0;
    if (m->change)
        m->change(m, bytes, len);
    return m->delay_ns && (bytes_get_be16(bytes + ETHER_SIZE) >> 6 & 63) == m->dscp ? m->delay_ns : 0;
}

static void send_and_run(const struct testing_vpn *v, const struct testing_udp *u)
{
    testing_vpn_send(v, 0, u);
    testing_net_run(v->net, NS_PER_MS);
}

static void assert_only_lost(const struct testing_vpn *v, enum loss_reason r, uint64_t n)
{
    assert_null(arrived(v, v->last, 0));
    assert_int_equal(lost(v, r), n);
    assert_int_equal(lost_all(v), n);
}

static void flip(const struct meddling *m, uint8_t *frame, uint32_t len)
{
    const struct testing_frame f = {.bytes = frame, .len = len};
    frame[esp_at(&f) + m->at] ^= m->value;
}

/* Every bit that a flip can reach from the SPI to the last one of the ICV. */
static void no_flipped_bit_passes(void **state)
{
    struct testing_vpn v;
    struct meddling m = {.change = flip, .until = UINT32_MAX};
    begin(&v, (struct testing_vpn_config){.routers = 3});
    testing_net_hook(v.net, meddle, &m);
    struct testing_udp u = udp;
    u.payload = 20; /* 48 bytes, 2 of trailer and 2 of padding */
    const uint32_t size = ESP_HEAD + 52 + AEAD_TAG;
    for (uint32_t bit = 0; bit < 8 * size; bit++) {
        m.at = bit / 8;
        m.value = (uint8_t)(1 << bit % 8);
        send_and_run(&v, &u);
        assert_null(arrived(&v, v.last, 0));
    }
    assert_int_equal(lost(&v, LOSS_NO_KEY), 30); /* another SPI; two of them are those of other classes */
    assert_int_equal(lost(&v, LOSS_NOT_AUTHENTIC), 8 * size - 30);
    m.until = 0;
    send_and_run(&v, &u);
    assert_same(&v, arrived(&v, v.last, 0), 0, u);
    struct loss_record r;
    assert_int_equal(loss_read(forward_loss(testing_net_forward(v.net, v.last)), &r, 1), 1);
    assert_int_equal(r.reason, LOSS_NO_KEY);
    assert_int_equal(r.tenant, 100);
    assert_int_equal(r.packets, 1);
    assert_int_not_equal(r.flow, 0);
    end(&v);
}

static void rewrite_service(const struct meddling *m, uint8_t *frame, uint32_t len)
{
    for (uint32_t at = ETHER_SIZE + IP6_DST; at < ETHER_SIZE + IP6_SIZE; at += 2)
        if (bytes_get_be16(frame + at) == 0xd101)
            bytes_put_be16(frame + at, m->at ? (uint16_t)m->at : 0xd102);
}

static void another_vpns_sid_does_not_open_it(void **state)
{
    struct testing_vpn v;
    struct meddling m = {.change = rewrite_service, .until = 1};
    begin(&v, (struct testing_vpn_config){.routers = 3});
    testing_net_hook(v.net, meddle, &m);
    send_and_run(&v, &udp);
    assert_only_lost(&v, LOSS_WRONG_VPN, 1);
    send_and_run(&v, &udp); /* untouched: its SA did not suffer */
    assert_same(&v, arrived(&v, v.last, 0), 0, udp);
    end(&v);
}

static void a_clear_sid_does_not_open_it(void **state)
{
    struct testing_vpn v;
    struct meddling m = {.change = rewrite_service, .at = 0xd001, .until = 1};
    begin(&v, (struct testing_vpn_config){.routers = 3});
    testing_net_hook(v.net, meddle, &m);
    send_and_run(&v, &udp);
    assert_only_lost(&v, LOSS_NO_KEY, 1);
    end(&v);
}

static void another_source(const struct meddling *m, uint8_t *frame, uint32_t len)
{
    frame[ETHER_SIZE + IP6_SRC + 15] ^= 8;
}

static void another_senders_address_does_not_open_it(void **state)
{
    struct testing_vpn v;
    struct meddling m = {.change = another_source, .until = 1};
    begin(&v, (struct testing_vpn_config){.routers = 3});
    testing_net_hook(v.net, meddle, &m);
    send_and_run(&v, &udp);
    assert_only_lost(&v, LOSS_NO_KEY, 1);
    end(&v);
}

/* The class, the flow label, hop limit, marks and the slice: transit may change all that, and does. */
static void change_outer(const struct meddling *m, uint8_t *frame, uint32_t len)
{
    uint8_t *ip = frame + ETHER_SIZE;
    ip[1] ^= 0x0f;
    ip[2] ^= 0xff;
    ip[3] ^= 0xff;
    ip[IP6_HOPS] = 17;
    ip[IP6_SIZE + 6] ^= 8;
    ip[IP6_SIZE + 19] ^= 1;
}

static void transit_may_change_what_is_around(void **state)
{
    struct testing_vpn v;
    struct meddling m = {.change = change_outer, .until = UINT32_MAX};
    begin(&v, (struct testing_vpn_config){.routers = 4});
    testing_net_hook(v.net, meddle, &m);
    send_and_run(&v, &udp);
    assert_int_equal(m.seen, 1);
    assert_same(&v, arrived(&v, v.last, 0), 0, udp);
    assert_int_equal(lost_all(&v), 0);
    end(&v);
}

static void mark_ce(const struct meddling *m, uint8_t *frame, uint32_t len)
{
    frame[ETHER_SIZE + 1] |= 0x30;
}

static unsigned ecn_of(const struct testing_frame *f)
{
    const uint8_t *ip = f->bytes + ETHER_SIZE;
    return (ip[0] >> 4 == 4 ? ip[IP4_TOS] : bytes_get_be16(ip) >> 4) & 3;
}

/* RFC 6040: the inner field goes out; what was marked on the way goes in behind the encryption. */
static void congestion_marks_go_through(void **state)
{
    struct testing_vpn v;
    struct meddling m = {.change = mark_ce};
    begin(&v, (struct testing_vpn_config){.routers = 3});
    testing_net_hook(v.net, meddle, &m);
    for (unsigned i = 0; i < 8; i++) {
        struct testing_udp u = udp;
        u.family = i % 2 ? IP_V4 : IP_V6;
        u.ecn = (uint8_t)(i / 2);
        m.seen = m.until = 0;
        send_and_run(&v, &u);
        assert_int_equal(ecn_of(testing_net_any(v.net, 0)), u.ecn); /* outer */
        assert_int_equal(ecn_of(arrived(&v, v.last, 0)), u.ecn);
        testing_net_clear(v.net);
        m.seen = 0;
        m.until = 1;
        send_and_run(&v, &u);
        if (u.ecn == 0) {
            assert_null(arrived(&v, v.last, 0)); /* its transport would not know what it means */
        } else {
            assert_int_equal(ecn_of(arrived(&v, v.last, 0)), 3);
            assert_same(&v, arrived(&v, v.last, 0), 0, u);
        }
        testing_net_clear(v.net);
    }
    assert_int_equal(lost(&v, LOSS_MALFORMED), 2);
    assert_int_equal(lost_all(&v), 2);
    end(&v);
}

/* --- order, repetition ------------------------------------------------------------------------------------------- */

/* A frame with ESP that has entered the last cable; a copy. */
static uint32_t captured(const struct testing_vpn *v, unsigned i, uint8_t *ret)
{
    const struct testing_frame *f;
    for (unsigned k = 0; (f = testing_net_any(v->net, k)); k++)
        if (f->router == v->last - 1 && f->port == VPN_RIGHT && esp_at(f) && i-- == 0) {
            memcpy(ret, f->bytes, f->len);
            return f->len;
        }
    fail_msg("no such frame");
    return 0;
}

static void receive(const struct testing_vpn *v, const uint8_t *frame, uint32_t len)
{
    testing_net_send(v->net, v->last, VPN_LEFT, frame, len);
    testing_net_run(v->net, NS_PER_MS);
}

static void a_packet_opens_once(void **state)
{
    struct testing_vpn v;
    uint8_t frame[TESTING_NET_ROOM];
    begin(&v, (struct testing_vpn_config){.routers = 3});
    send_and_run(&v, &udp);
    uint32_t len = captured(&v, 0, frame);
    testing_net_clear(v.net);
    receive(&v, frame, len);
    receive(&v, frame, len);
    assert_only_lost(&v, LOSS_REPLAY, 2);
    end(&v);
}

static void twice_in_one_batch_opens_once(void **state)
{
    struct testing_vpn v;
    uint8_t frame[TESTING_NET_ROOM];
    struct meddling m = {.change = rewrite_service, .until = UINT32_MAX};
    begin(&v, (struct testing_vpn_config){.routers = 3});
    testing_net_hook(v.net, meddle, &m); /* held up: sent to a VPN where it does not open */
    send_and_run(&v, &udp);
    uint32_t len = captured(&v, 0, frame);
    testing_net_clear(v.net);
    for (uint32_t at = ETHER_SIZE + IP6_DST; at < ETHER_SIZE + IP6_SIZE; at += 2)
        if (bytes_get_be16(frame + at) == 0xd102)
            bytes_put_be16(frame + at, 0xd101);
    testing_net_send(v.net, v.last, VPN_LEFT, frame, len);
    testing_net_send(v.net, v.last, VPN_LEFT, frame, len);
    testing_net_run(v.net, NS_PER_MS);
    assert_same(&v, arrived(&v, v.last, 0), 0, udp);
    assert_null(arrived(&v, v.last, 1));
    assert_int_equal(lost(&v, LOSS_REPLAY), 1);
    end(&v);
}

/* Classes have SAs of their own: what one of them sends meanwhile does not move another one's numbers, nor its window. */
static void classes_do_not_age_each_other(void **state)
{
    struct testing_vpn v;
    uint8_t frame[TESTING_NET_ROOM];
    uint32_t numbers[2] = {0};
    begin(&v, (struct testing_vpn_config){.routers = 3});
    for (unsigned i = 0; i < 300; i++) {
        struct testing_udp u = udp;
        u.dscp = i % 5 ? AF41 : EF;
        send_and_run(&v, &u);
    }
    for (unsigned i = 0; i < 300; i++) {
        uint32_t len = captured(&v, i, frame), class_ = i % 5 ? LANE_PARAMETER : LANE_INFERENCE;
        const struct testing_frame f = {.bytes = frame, .len = len};
        assert_int_equal(bytes_get_be32(frame + esp_at(&f)), testing_vpn_sa(&v, 0, 10, (uint16_t)class_, 0, true).spi);
        assert_int_equal(bytes_get_be32(frame + esp_at(&f) + 4), ++numbers[i % 5 != 0]);
    }
    end(&v);
}

/* One that a thousand others have overtaken on another path. */
static void a_late_packet_opens(void **state)
{
    struct testing_vpn v;
    struct meddling m = {.delay_ns = 5 * NS_PER_MS, .dscp = AF41, .until = 1};
    begin(&v, (struct testing_vpn_config){.routers = 3});
    testing_net_hook(v.net, meddle, &m);
    for (unsigned i = 0; i <= 3000; i++) {
        struct testing_udp u = udp;
        u.src_port = (uint16_t)i;
        testing_vpn_send(&v, 0, &u);
        testing_net_run(v.net, 1000);
    }
    testing_net_run(v.net, 10 * NS_PER_MS);
    assert_int_equal(bytes_get_be16(arrived(&v, v.last, 3000)->bytes + ETHER_SIZE + IP4_SIZE), 0);
    assert_int_equal(lost_all(&v), 0);
    end(&v);
}

/* --- in lanes ----------------------------------------------------------------------------------------------------- */

static void flip_last(const struct meddling *m, uint8_t *frame, uint32_t len)
{
    frame[len - 1] ^= 1;
}

/* What does not open gives its cells back: the lane goes on at full width. */
static void what_does_not_open_returns_its_credit(void **state)
{
    struct testing_vpn v;
    struct error err = {0};
    struct meddling m = {.change = flip_last, .until = 2000};
    begin(&v, (struct testing_vpn_config){.routers = 3, .lanes = true});
    testing_net_hook(v.net, meddle, &m);
    for (unsigned i = 0; i < 2100; i++) {
        testing_vpn_send(&v, 0, &udp);
        testing_net_run(v.net, 10000);
        assert_int_equal(lane_check(forward_lanes(testing_net_forward(v.net, v.last)), &err), 0);
        assert_int_equal(lane_check(forward_lanes(testing_net_forward(v.net, 1)), &err), 0);
    }
    testing_net_run(v.net, 20 * NS_PER_MS);
    assert_int_equal(m.seen, 2100);
    assert_non_null(arrived(&v, v.last, 99));
    assert_null(arrived(&v, v.last, 100));
    assert_int_equal(lost(&v, LOSS_NOT_AUTHENTIC), 2000);
    assert_int_equal(lost_all(&v), 2000);
    end(&v);
}

/* --- in pieces ------------------------------------------------------------------------------------------------------ */

static void free_chain(void *slab, struct rte_mbuf *m)
{
    for (struct rte_mbuf *next; m; m = next) {
        next = m->next;
        m->next = NULL;
        m->nb_segs = 1;
        testing_mbuf_free(slab, m);
    }
}

static void drop_punted(void *slab, uint32_t vrf, uint16_t port, struct rte_mbuf *m)
{
    free_chain(slab, m);
}

static uint64_t seven(void *user)
{
    return 7;
}

struct pe {
    struct testing_mbufs *slab;
    struct forward *f;
    struct testing_vpn v; /* of addresses and keys only */
};

/* The left one of two, alone. */
static void pe_begin(struct pe *p, bool virtual, uint32_t room)
{
    struct error err = {0};
    *p = (struct pe){
        .slab = testing_mbufs_create(64, room), .v = {.config = {.routers = 2, .encrypted = true}, .last = 1}};
    struct forward_ops ops = {p->slab, testing_mbuf_alloc, free_chain, drop_punted, NULL, seven, NULL, virtual};
    struct forward_config c = {
        .locator_block_bits = 32, .loopback = testing_vpn_loopback(0), .lanes = {.router_id = 1, .lanes_most = 4}};
    assert_int_equal(forward_create(&p->f, &c, &ops, &err), 0);
    for (uint16_t port = VPN_RIGHT; port <= VPN_HOSTS; port++) {
        struct port_config x = {
            .kind = port == VPN_HOSTS ? PORT_ACCESS : PORT_CORE, .mtu = 9000, .pool_cells = 64, .peer_mac = {2}};
        testing_vpn_mac(x.mac, 0, port);
        assert_int_equal(forward_port_add(p->f, port, &x, &err), 0);
    }
    assert_int_equal(forward_vrf_add(p->f, 10, 100, &err), 0);
    struct forward_access a = {.port = VPN_HOSTS, .vrf = 10, .gateway = {{IP_V4, 24, {{10, 0, 0, 1}}}}};
    assert_int_equal(forward_access_set(p->f, &a, 1, &err), 0);
    struct forward_path path = {.id = 1, .out_port = VPN_RIGHT, .no_lanes = true};
    assert_int_equal(forward_path_set(p->f, &path, &err), 0);
    struct forward_route r = {.kind = ROUTE_REMOTE,
        .service_sid = testing_vpn_service(&p->v, 1, 10),
        .path_of_class = {1, 1, 1, 1},
        .encrypted = true,
        .peer = testing_vpn_loopback(1)};
    struct ip_prefix to = {IP_V4, 24, {{10, 0, 1, 0}}};
    assert_int_equal(forward_route_set(p->f, 10, &to, &r, &err), 0);
    struct forward_sid s = {{IP_V6, 64, testing_vpn_service(&p->v, 0, 10)}, SID_END_ESP_DT46_NEXT_CSID, 0, 0, 10};
    assert_int_equal(forward_sid_set(p->f, &s, &err), 0);
    struct esp_sa_config out = testing_vpn_sa(&p->v, 0, 10, LANE_PARAMETER, 0, true),
                         in = testing_vpn_sa(&p->v, 1, 10, LANE_PARAMETER, 0, false);
    assert_int_equal(forward_sa_install(p->f, &out, &err), 0);
    assert_int_equal(forward_sa_install(p->f, &in, &err), 0);
}

static void pe_end(struct pe *p)
{
    forward_free(p->f);
    assert_int_equal(p->slab->used, 0);
    testing_mbufs_free(p->slab);
}

/* A host's packet of which only `there` bytes are in the first mbuf; chained: the others are in a second one. */
static unsigned pe_send(struct pe *p, uint32_t payload, uint32_t there, bool chained, struct rte_mbuf **ret)
{
    uint8_t frame[4096];
    struct testing_udp u = udp;
    u.payload = payload;
    uint32_t len = testing_vpn_udp(&p->v, frame, 0, &u);
    there = there < len ? there : len;
    struct rte_mbuf *m = testing_mbuf_bytes(p->slab, frame, there);
    m->pkt_len = len;
    if (chained) {
        m->next = testing_mbuf_bytes(p->slab, frame + there, len - there);
        m->nb_segs = 2;
    }
    forward_receive(p->f, VPN_HOSTS, &m, 1, 1);
    return forward_transmit(p->f, VPN_RIGHT, ret, 1, 1);
}

static void only_whole_packets_are_sealed(void **state)
{
    struct pe p;
    struct rte_mbuf *m;
    pe_begin(&p, false, 2048);
    assert_int_equal(pe_send(&p, 1000, 200, true, &m), 0);
    assert_int_equal(pe_send(&p, 1000, 200, false, &m), 0);
    assert_int_equal(forward_loss(p.f)->packets[LOSS_NO_BUFFER], 2);
    assert_int_equal(pe_send(&p, 1000, 4096, false, &m), 1);
    assert_int_equal(m->data_len, m->pkt_len);
    forward_sent(p.f, VPN_RIGHT, &m, 1, 1);
    pe_end(&p);
}

static void the_trailer_needs_room(void **state)
{
    struct pe p;
    struct rte_mbuf *m;
    pe_begin(&p, false, 1042 + 20); /* one byte less than ESP_TAIL_MOST behind a frame of 1042 */
    assert_int_equal(pe_send(&p, 1000, 4096, false, &m), 0);
    assert_int_equal(forward_loss(p.f)->packets[LOSS_NO_BUFFER], 1);
    assert_int_equal(pe_send(&p, 999, 4096, false, &m), 1);
    forward_sent(p.f, VPN_RIGHT, &m, 1, 1);
    pe_end(&p);
}

/* The simulator's packets: what is there stays readable, lengths are those of a sealed one, and keys and windows are real. */
static void a_virtual_payload_costs_its_bytes(void **state)
{
    struct pe p;
    struct rte_mbuf *m;
    pe_begin(&p, true, 2048);
    for (uint32_t payload = 1000; payload < 1008; payload++) {
        assert_int_equal(pe_send(&p, payload, 200, false, &m), 1);
        uint32_t inner = payload + IP4_SIZE + UDP_SIZE;
        assert_int_equal(m->pkt_len, ETHER_SIZE + 64 + inner + esp_overhead(inner));
        assert_int_equal(m->data_len, 200 + 64 + ESP_HEAD);
        const struct testing_frame f = {.bytes = packet_at(m, 0), .len = m->data_len};
        uint32_t at = esp_at(&f);
        assert_int_equal(at, ETHER_SIZE + 64);
        assert_int_equal(f.bytes[at + ESP_HEAD] >> 4, 4);
        /* As if it came back from the other end. */
        struct ip6 us = testing_vpn_service(&p.v, 0, 10), them = testing_vpn_loopback(1);
        struct rte_mbuf *back[2];
        for (unsigned i = 0; i < 2; i++) {
            back[i] = testing_mbuf_bytes(p.slab, f.bytes, f.len);
            back[i]->pkt_len = m->pkt_len;
            uint8_t *e = packet_at(back[i], 0);
            testing_vpn_mac(e, 0, VPN_RIGHT);
            memcpy(e + ETHER_SIZE + IP6_DST, us.b, 16);
            memcpy(e + ETHER_SIZE + IP6_SRC, them.b, 16);
            bytes_put_be32(e + at, testing_vpn_sa(&p.v, 1, 10, LANE_PARAMETER, 0, false).spi);
        }
        forward_sent(p.f, VPN_RIGHT, &m, 1, 1);
        forward_receive(p.f, VPN_RIGHT, back, 2, 1); /* twice: one opens, and finds no way on from here */
    }
    assert_int_equal(forward_counts(p.f).opened, 8);
    assert_int_equal(forward_loss(p.f)->packets[LOSS_REPLAY], 8);
    assert_int_equal(forward_loss(p.f)->packets[LOSS_NO_ROUTE], 8);
    pe_end(&p);
}

/* --- keys that come and go --------------------------------------------------------------------------------------- */

static void a_new_key_loses_nothing_on_the_way(void **state)
{
    struct testing_vpn v;
    unsigned sent = 0;
    begin(&v, (struct testing_vpn_config){.routers = 4, .lanes = true});
    for (unsigned generation = 1; generation <= 20; generation++) {
        testing_vpn_keys(&v, generation, VPN_KEYS_OPEN);
        for (unsigned i = 0; i < 40; i++, sent++) {
            struct testing_udp u = udp;
            u.src_port = (uint16_t)sent;
            u.dscp = sent % 2 ? AF41 : 0;
            testing_vpn_send(&v, 0, &u);
            testing_net_run(v.net, 500); /* a cable is longer: there are always some on the way */
            if (i == 20)
                testing_vpn_keys(&v, generation, VPN_KEYS_SEAL);
        }
        testing_net_run(v.net, NS_PER_MS);
        testing_vpn_forget(&v, generation - 1);
    }
    for (unsigned i = 0; i < sent; i++)
        assert_non_null(arrived(&v, v.last, i));
    assert_int_equal(lost_all(&v), 0);
    end(&v);
}

static void a_key_that_is_gone_opens_nothing(void **state)
{
    struct testing_vpn v;
    uint8_t frame[TESTING_NET_ROOM];
    begin(&v, (struct testing_vpn_config){.routers = 3});
    send_and_run(&v, &udp);
    uint32_t len = captured(&v, 0, frame);
    testing_vpn_forget(&v, 0);
    testing_net_clear(v.net);
    receive(&v, frame, len);
    assert_only_lost(&v, LOSS_NO_KEY, 1);
    struct esp_sa_config c = testing_vpn_sa(&v, 0, 10, LANE_PARAMETER, 0, true);
    assert_int_equal(forward_sa_remove(testing_net_forward(v.net, 0), c.spi, &c.peer, true), 0);
    assert_int_equal(forward_sa_remove(testing_net_forward(v.net, 0), c.spi, &c.peer, true), -ENOENT);
    send_and_run(&v, &udp); /* nothing leaves any more */
    assert_null(testing_net_any(v.net, 1));
    assert_int_equal(lost(&v, LOSS_NO_KEY), 2);
    end(&v);
}

static void an_sa_is_heard_once(void **state)
{
    struct testing_vpn v;
    struct ip6 peer, us = testing_vpn_loopback(0);
    uint32_t spi;
    begin(&v, (struct testing_vpn_config){.routers = 3});
    assert_int_equal(testing_net_heard(v.net, v.last, &peer, &spi), 0);
    for (unsigned i = 0; i < 40; i++)
        testing_vpn_send(&v, 0, &udp); /* a whole batch comes first */
    testing_net_run(v.net, NS_PER_MS);
    assert_int_equal(testing_net_heard(v.net, v.last, &peer, &spi), 1);
    assert_int_equal(spi, testing_vpn_sa(&v, 0, 10, LANE_PARAMETER, 0, false).spi);
    assert_memory_equal(&peer, &us, sizeof peer);
    struct testing_udp u = udp;
    u.vlan = 20;
    u.dscp = EF;
    send_and_run(&v, &u);
    assert_int_equal(testing_net_heard(v.net, v.last, &peer, &spi), 2);
    assert_int_equal(spi, testing_vpn_sa(&v, 0, 20, LANE_INFERENCE, 0, false).spi);
    testing_vpn_keys(&v, 1, BOTH);
    send_and_run(&v, &udp);
    send_and_run(&v, &udp);
    assert_int_equal(testing_net_heard(v.net, v.last, &peer, &spi), 3);
    end(&v);
}

static void sas_say_no_and_why(void **state)
{
    struct testing_vpn v;
    struct error err = {0};
    begin(&v, (struct testing_vpn_config){.routers = 2});
    struct forward *f = testing_net_forward(v.net, 0);
    struct esp_sa_config c = testing_vpn_sa(&v, 1, 10, 0, 0, false);
    assert_int_equal(forward_sa_install(f, &c, &err), -EEXIST);
    c.spi++;
    c.vrf = 11;
    assert_int_equal(forward_sa_install(f, &c, &err), -ENOENT);
    c.vrf = 0;
    assert_int_equal(forward_sa_install(f, &c, &err), -ENOENT);
    c.vrf = 10;
    c.lane = 4;
    assert_int_equal(forward_sa_install(f, &c, &err), -EINVAL);
    assert_int_equal(forward_vrf_encrypt(f, 0, true, &err), -EINVAL);
    assert_int_equal(forward_vrf_encrypt(f, 77, true, &err), -ENOENT);
    assert_string_not_equal(forward_cipher(f), "none");
    end(&v);
}

static void no_more_sas_than_were_planned(void **state)
{
    struct testing_net *n = testing_net_create(1);
    struct error err = {0};
    testing_net_router(n, &(struct forward_config){.locator_block_bits = 32, .sas_most = 3});
    struct forward *f = testing_net_forward(n, 0);
    assert_int_equal(forward_vrf_add(f, 10, 100, &err), 0);
    assert_string_equal(forward_cipher(f), "none");
    for (uint32_t i = 0; i < 4; i++) {
        struct esp_sa_config c = {.spi = 256 + i, .vrf = 10, .sending = i == 0};
        assert_int_equal(forward_sa_install(f, &c, &err), i < 3 ? 0 : -ENOSPC);
    }
    struct esp_sa_config next = {.spi = 300, .vrf = 10, .sending = true};
    assert_int_equal(forward_sa_install(f, &next, &err), 0); /* takes another one's place */
    assert_int_equal(testing_net_free(n), 0);
}

/* --- encrypt, or refuse ------------------------------------------------------------------------------------------ */

static void policy(struct testing_vpn *v, unsigned router, bool on)
{
    struct error err = {0};
    assert_int_equal(forward_vrf_encrypt(testing_net_forward(v->net, router), 10, on, &err), 0);
}

static void cleartext_is_refused_at_both_ends(void **state)
{
    struct testing_vpn v;
    struct testing_udp other = udp;
    other.vlan = 20;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .delay_ns = 1000}, 1); /* routes in clear */
    testing_vpn_keys(&v, 0, BOTH);
    testing_vpn_meet(&v);
    policy(&v, v.last, true);
    send_and_run(&v, &udp); /* leaves: the first PE does not know better */
    assert_only_lost(&v, LOSS_CLEARTEXT, 1);
    policy(&v, 0, true);
    testing_net_clear(v.net);
    send_and_run(&v, &udp);
    assert_null(testing_net_any(v.net, 0));
    assert_int_equal(lost(&v, LOSS_NO_KEY), 1);
    send_and_run(&v, &other); /* another VPN's policy is its own */
    assert_same(&v, arrived(&v, v.last, 0), 0, other);
    policy(&v, 0, false);
    policy(&v, v.last, false);
    testing_net_clear(v.net);
    send_and_run(&v, &udp);
    assert_same(&v, arrived(&v, v.last, 0), 0, udp);
    end(&v);
}

static void the_policy_lets_encrypted_packets_pass(void **state)
{
    struct testing_vpn v;
    begin(&v, (struct testing_vpn_config){.routers = 3, .lanes = true});
    policy(&v, 0, true);
    policy(&v, v.last, true);
    send_and_run(&v, &udp);
    assert_same(&v, arrived(&v, v.last, 0), 0, udp);
    assert_int_equal(lost_all(&v), 0);
    end(&v);
}

/* Without any policy an encrypted SID takes nothing in clear. */
static void an_encrypted_sid_takes_no_cleartext(void **state)
{
    struct testing_vpn v;
    struct error err = {0};
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .delay_ns = 1000}, 1);
    testing_vpn_meet(&v);
    struct forward_route r;
    struct ip_addr a = {IP_V4, {{10, 0, 1, 2}}};
    struct ip_prefix p;
    assert_int_equal(forward_route_find(testing_net_forward(v.net, 0), 10, &a, &r, &p), 0);
    v.config.encrypted = true;
    r.service_sid = testing_vpn_service(&v, v.last, 10);
    assert_int_equal(forward_route_set(testing_net_forward(v.net, 0), 10, &p, &r, &err), 0);
    send_and_run(&v, &udp);
    assert_only_lost(&v, LOSS_CLEARTEXT, 1);
    end(&v);
}

/* --- sizes ------------------------------------------------------------------------------------------------------ */

/* The MTU that an ICMP error in a host's frame tells. */
static uint32_t told(const struct testing_frame *f)
{
    const uint8_t *ip = f->bytes + ETHER_SIZE;
    return ip[0] >> 4 == 4 ? bytes_get_be16(ip + IP4_SIZE + 6) : bytes_get_be32(ip + IP6_SIZE + 4);
}

static void sizes(struct testing_vpn_config c, uint8_t family)
{
    struct testing_vpn v;
    struct testing_udp u = udp;
    uint32_t head = (family == IP_V4 ? 20u : 40u) + UDP_SIZE;
    u.family = family;
    c.core_mtu = 1500;
    begin(&v, c);
    u.payload = 1500 - head;
    send_and_run(&v, &u);
    assert_null(arrived(&v, v.last, 0));
    assert_non_null(arrived(&v, 0, 0));
    uint32_t most = told(arrived(&v, 0, 0));
    assert_in_range(most, 1280, 1500 - 64 - ESP_HEAD - 2 - AEAD_TAG);
    uint32_t planned = forward_path_mtu(testing_net_forward(v.net, 0), 1, true);
    assert_in_range(planned, most - (c.lanes ? 0 : 8), most);
    for (uint32_t size = most - 8; size <= most + 1; size++) {
        testing_net_clear(v.net);
        u.payload = size - head;
        send_and_run(&v, &u);
        if (size <= most) {
            const struct testing_frame *f = testing_net_any(v.net, 0);
            assert_same(&v, arrived(&v, v.last, 0), 0, u);
            assert_in_range(f->len, 1, ETHER_SIZE + 1500);
            if (size == most)
                assert_in_range(f->len, ETHER_SIZE + 1500 - 3, ETHER_SIZE + 1500);
        } else {
            assert_null(arrived(&v, v.last, 0));
            assert_int_equal(told(arrived(&v, 0, 0)), most);
        }
    }
    assert_int_equal(lost(&v, LOSS_TOO_BIG), 2);
    assert_int_equal(lost_all(&v), 2);
    end(&v);
}

static void the_largest_packet_fits_and_the_next_is_told(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t family = i ? IP_V4 : IP_V6;
        sizes((struct testing_vpn_config){.routers = 3}, family);
        sizes((struct testing_vpn_config){.routers = 3, .lanes = true}, family);
        sizes((struct testing_vpn_config){.routers = 4, .full_sids = true}, family);
        sizes((struct testing_vpn_config){.routers = 10, .lanes = true}, family);
    }
}

static void every_size(void **state)
{
    struct testing_vpn v;
    begin(&v, (struct testing_vpn_config){.routers = 2});
    for (uint32_t payload = 0; payload < 300; payload++) {
        struct testing_udp u = udp;
        u.family = payload & 16 ? IP_V4 : IP_V6;
        u.payload = payload;
        testing_net_clear(v.net);
        send_and_run(&v, &u);
        assert_same(&v, arrived(&v, v.last, 0), 0, u);
        const struct testing_frame *f = testing_net_any(v.net, 0);
        uint32_t size = payload + UDP_SIZE + (u.family == IP_V4 ? (uint32_t)IP4_SIZE : (uint32_t)IP6_SIZE);
        assert_int_equal(f->len - esp_at(f), size + esp_overhead(size));
    }
    assert_int_equal(lost_all(&v), 0);
    end(&v);
}

/* One flow label for all flows of a lane: inner ones do not show. */
static void inner_flows_do_not_show(void **state)
{
    struct testing_vpn v;
    begin(&v, (struct testing_vpn_config){.routers = 2});
    uint32_t label = 0;
    for (unsigned i = 0; i < 50; i++) {
        struct testing_udp u = udp;
        u.src_port = (uint16_t)(1000 + 7 * i);
        u.family = i % 2 ? IP_V4 : IP_V6;
        testing_net_clear(v.net);
        send_and_run(&v, &u);
        uint32_t word = bytes_get_be32(testing_net_any(v.net, 0)->bytes + ETHER_SIZE);
        assert_true(i == 0 || word == label);
        label = word;
    }
    end(&v);
}

/* --- packets that no router of ours sends -------------------------------------------------------------------------- */

/* What a PE that has the keys, and does what it wants, could send from the left to the right in VRF 10. */
struct crafter {
    struct testing_vpn v;
    struct esp *esp;
};

static void crafter_begin(struct crafter *c)
{
    begin(&c->v, (struct testing_vpn_config){.routers = 2});
    assert_int_equal(esp_create(&c->esp, 8), 0);
    struct esp_sa_config sa = testing_vpn_sa(&c->v, 0, 10, LANE_PARAMETER, 0, true);
    assert_int_equal(esp_install(c->esp, &sa), 0);
}

static void crafter_end(struct crafter *c)
{
    esp_free(c->esp);
    end(&c->v);
}

/* Seals the bytes and puts an IPv6 header in front. */
static uint32_t craft(struct crafter *c, uint8_t *frame, const uint8_t *payload, uint32_t len, uint8_t next)
{
    uint8_t *ip = frame + ETHER_SIZE;
    struct ip6 to = testing_vpn_service(&c->v, 1, 10), from = testing_vpn_loopback(0);
    struct esp_packet p = {.bytes = ip + IP6_SIZE + ESP_HEAD, .len = len, .next = next};
    struct ip6 peer = testing_vpn_loopback(1);
    p.sa = esp_sending(c->esp, &peer, 10, LANE_PARAMETER);
    memcpy(p.bytes, payload, len);
    esp_seal(c->esp, &p, 1);
    testing_vpn_mac(frame, 1, VPN_LEFT);
    testing_vpn_mac(frame + 6, 0, VPN_RIGHT);
    bytes_put_be16(frame + ETHER_TYPE, ETHER_IP6);
    bytes_put_be32(ip, 6u << 28 | 34u << 22);
    bytes_put_be16(ip + IP6_LEN, (uint16_t)p.len);
    ip[IP6_NEXT] = IP_PROTO_ESP;
    ip[IP6_HOPS] = 64;
    memcpy(ip + IP6_SRC, from.b, 16);
    memcpy(ip + IP6_DST, to.b, 16);
    return ETHER_SIZE + IP6_SIZE + p.len;
}

/* A packet of host A as it would be inside. */
static uint32_t inside(const struct crafter *c, uint8_t *ret, const struct testing_udp *u)
{
    uint8_t frame[TESTING_NET_ROOM];
    uint32_t len = testing_vpn_udp(&c->v, frame, 0, u) - ETHER_SIZE;
    memcpy(ret, frame + ETHER_SIZE, len);
    return len;
}

static void padding_for_confidentiality_comes_off(void **state)
{
    struct crafter c;
    uint8_t frame[TESTING_NET_ROOM], payload[2048];
    crafter_begin(&c);
    for (uint32_t more = 0; more < 20; more++) {
        uint32_t len = inside(&c, payload, &udp);
        memset(payload + len, 0xee, more);
        testing_net_clear(c.v.net);
        receive(&c.v, frame, craft(&c, frame, payload, len + more, IP_PROTO_IPIP));
        const struct testing_frame *f = arrived(&c.v, 1, 0);
        assert_non_null(f);
        assert_int_equal(f->len, ETHER_SIZE + len);
    }
    crafter_end(&c);
}

static void what_is_inside_is_looked_at(void **state)
{
    static const uint8_t nexts[] = {
        IP_PROTO_NONE, IP_PROTO_UDP, IP_PROTO_ESP, IP_PROTO_LANE_MARKER, IP_PROTO_IPV6 /* says 4 */};
    struct crafter c;
    uint8_t frame[TESTING_NET_ROOM], payload[2048];
    crafter_begin(&c);
    uint32_t len = inside(&c, payload, &udp);
    for (unsigned i = 0; i < sizeof nexts; i++) {
        receive(&c.v, frame, craft(&c, frame, payload, len, nexts[i]));
        assert_only_lost(&c.v, LOSS_MALFORMED, i + 1);
    }
    for (uint32_t cut = 0; cut < len; cut += 3) { /* the inner packet is not all there */
        receive(&c.v, frame, craft(&c, frame, payload, cut, IP_PROTO_IPIP));
        assert_null(arrived(&c.v, 1, 0));
    }
    crafter_end(&c);
}

static void every_length_that_is_not_its_own(void **state)
{
    struct crafter c;
    uint8_t frame[TESTING_NET_ROOM], payload[2048];
    crafter_begin(&c);
    uint32_t len = inside(&c, payload, &udp), whole = craft(&c, frame, payload, len, IP_PROTO_IPIP);
    for (uint32_t n = ETHER_SIZE + IP6_SIZE; n < whole + 64; n++) {
        if (n == whole)
            continue;
        bytes_put_be16(frame + ETHER_SIZE + IP6_LEN, (uint16_t)(n - ETHER_SIZE - IP6_SIZE));
        receive(&c.v, frame, n);
        assert_null(arrived(&c.v, 1, 0));
    }
    assert_int_equal(lost_all(&c.v), whole + 64 - ETHER_SIZE - IP6_SIZE - 1);
    assert_int_equal(lost(&c.v, LOSS_MALFORMED) + lost(&c.v, LOSS_NOT_AUTHENTIC), lost_all(&c.v));
    bytes_put_be16(frame + ETHER_SIZE + IP6_LEN, (uint16_t)(whole - ETHER_SIZE - IP6_SIZE));
    receive(&c.v, frame, whole + 5); /* a padded frame is whole */
    assert_same(&c.v, arrived(&c.v, 1, 0), 0, (struct testing_udp){IP_V4, AF41, 0, 65, 0, 1000, 2000, 100});
    crafter_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_families_over_a_container),
        cmocka_unit_test(between_two_routers),
        cmocka_unit_test(in_lanes),
        cmocka_unit_test(over_containers_with_an_srh),
        cmocka_unit_test(over_full_sids_with_an_srh),
        cmocka_unit_test(psp_takes_the_srh_off_around_esp),
        cmocka_unit_test(batches_keep_the_order),
        cmocka_unit_test(no_key_means_no_packet),
        cmocka_unit_test(no_flipped_bit_passes),
        cmocka_unit_test(another_vpns_sid_does_not_open_it),
        cmocka_unit_test(a_clear_sid_does_not_open_it),
        cmocka_unit_test(another_senders_address_does_not_open_it),
        cmocka_unit_test(transit_may_change_what_is_around),
        cmocka_unit_test(congestion_marks_go_through),
        cmocka_unit_test(a_packet_opens_once),
        cmocka_unit_test(twice_in_one_batch_opens_once),
        cmocka_unit_test(classes_do_not_age_each_other),
        cmocka_unit_test(a_late_packet_opens),
        cmocka_unit_test(what_does_not_open_returns_its_credit),
        cmocka_unit_test(only_whole_packets_are_sealed),
        cmocka_unit_test(the_trailer_needs_room),
        cmocka_unit_test(a_virtual_payload_costs_its_bytes),
        cmocka_unit_test(a_new_key_loses_nothing_on_the_way),
        cmocka_unit_test(a_key_that_is_gone_opens_nothing),
        cmocka_unit_test(an_sa_is_heard_once),
        cmocka_unit_test(sas_say_no_and_why),
        cmocka_unit_test(no_more_sas_than_were_planned),
        cmocka_unit_test(cleartext_is_refused_at_both_ends),
        cmocka_unit_test(the_policy_lets_encrypted_packets_pass),
        cmocka_unit_test(an_encrypted_sid_takes_no_cleartext),
        cmocka_unit_test(the_largest_packet_fits_and_the_next_is_told),
        cmocka_unit_test(every_size),
        cmocka_unit_test(inner_flows_do_not_show),
        cmocka_unit_test(padding_for_confidentiality_comes_off),
        cmocka_unit_test(what_is_inside_is_looked_at),
        cmocka_unit_test(every_length_that_is_not_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
