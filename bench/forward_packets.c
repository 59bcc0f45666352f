/* How fast the forwarding core is, alone, in memory, on one core: bench_forward_packets [SECONDS] prints one line a case:
 *
 *   NAME SIZE MPPS CYCLES GENERATOR_CYCLES
 *
 * A batch of 64 frames is written into mbufs of a pool that is used round and round (far larger than the second level cache, as
 * a card's rings are), received, taken from the scheduler and given back. MPPS is per second of the thread's processor time;
 * CYCLES are those of the time stamp counter per packet for all of that, the median of slices of 4096 packets;
 * GENERATOR_CYCLES what the same loop takes without the forwarding core, and is part of them.
 *
 *   end         NEXT-C-SID uN in a container: shift, look up, leave. 64 bytes: the shortest Ethernet frame
 *   end_srh     End of a full SID: the next segment from the SRH
 *   end_marked  uN with the hop-by-hop options of our own ingresses: counted by its colour
 *   encap       an IPv4 packet of a host: classified, routed, counted as a flow, H.Encaps.Red with options
 *   dt46        the same packet out of the tunnel: End.DT46 with options, IPv4 lookup, neighbour
 *
 * SIZE is that of the host's frame with FCS for encap and dt46, of the outer frame for the others ("imix": 7 × 64, 4 × 594,
 * 1 × 1518). */
#include "base/bytes.h"
#include "base/clock.h"
#include "forward/tables.h"
#include "wire/checksum.h"
#include "wire/hbh.h"
#include "wire/srh.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <x86intrin.h>

enum {
    HUGE_PAGE = 1 << 21,
    ROUNDS = 64,
    SLICES = 1 << 16,
    BATCH = 64,
    POOL = 4096,
    HEADERS = 192,
    ROOM = 9300,
    HOSTS = 2,
    CORE_IN = 0,
    CORE_OUT = 1,
    FLOWS = 252
};

/* --- a pool that hands out what was given back longest ago ------------------------------------------------------ */

static struct {
    struct rte_mbuf *ring[POOL];
    unsigned head, tail; /* taken from head, given back at tail */
} pool;

static struct rte_mbuf *pool_alloc(void *user)
{
    return pool.head - pool.tail == 0 ? NULL : pool.ring[pool.tail++ % POOL];
}

static void pool_free(void *user, struct rte_mbuf *m)
{
    pool.ring[pool.head++ % POOL] = m;
}

static void pool_create(void)
{
    size_t stride = sizeof(struct rte_mbuf) + PACKET_META_SIZE + PACKET_HEADROOM + ROOM;
    stride = (stride + 63) / 64 * 64;
    size_t size = (stride * POOL + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uint8_t *memory = aligned_alloc(HUGE_PAGE, size);
    if (!memory)
        abort();
    madvise(memory, size, MADV_HUGEPAGE); /* as a router's pools are, where it may */
    memset(memory, 0, size);
    for (unsigned i = 0; i < POOL; i++) {
        struct rte_mbuf *m = (struct rte_mbuf *)(void *)(memory + i * stride);
        m->buf_addr = (uint8_t *)(m + 1) + PACKET_META_SIZE;
        m->buf_len = PACKET_HEADROOM + ROOM;
        m->nb_segs = 1;
        m->refcnt = 1;
        m->priv_size = PACKET_META_SIZE;
        pool_free(NULL, m);
    }
}

static void no_punt(void *user, uint32_t vrf, uint16_t port, struct rte_mbuf *m)
{
    fprintf(stderr, "bench_forward_packets: a packet was punted\n");
    exit(1);
}

static uint64_t random_bits(void *user)
{
    static uint64_t n;
    return rng_u64(7, n++);
}

/* --- one router ---------------------------------------------------------------------------------------------------- */

static void must(int rc, const struct error *err)
{
    if (rc) {
        fprintf(stderr, "bench_forward_packets: %s\n", err->text);
        exit(1);
    }
}

static struct ip_prefix prefix(uint8_t family, uint8_t len, const void *bytes, unsigned n)
{
    struct ip_prefix p = {family, len, {{0}}};
    memcpy(p.a.b, bytes, n);
    return p;
}

static const uint8_t un[16] = {0xfc, 0xbb, 0xbb, 0, 0, 1};                    /* ours */
static const uint8_t un_next[16] = {0xfc, 0xbb, 0xbb, 0, 0, 2};               /* beyond the core link */
static const uint8_t un_two[16] = {0xfc, 0xbb, 0xbb, 0, 0, 1, 0, 2, 0xd0, 1}; /* us, then them */
static const uint8_t udt[16] = {0xfc, 0xbb, 0xbb, 0, 0, 1, 0xd0, 1};          /* our service */
static const uint8_t end_full[16] = {0x20, 1, 0xd, 0xb8, 0, 1, [15] = 1};     /* ours */
static const uint8_t next_full[16] = {0x20, 1, 0xd, 0xb8, 0, 2, [15] = 1};    /* theirs */
static const uint8_t host_mac[6] = {2, 1, 0, 0, 0, 9};

static void add_sids(struct forward *f)
{
    struct error err = {0};
    struct forward_sid sids[] = {
        {prefix(IP_V6, 48, un, 16), SID_END_NEXT_CSID, 0, 0, 0},
        {prefix(IP_V6, 64, udt, 16), SID_END_DT46_NEXT_CSID, 0, 0, 10},
        {prefix(IP_V6, 128, end_full, 16), SID_END, 0, 0, 0},
    };
    for (unsigned i = 0; i < 3; i++)
        must(forward_sid_set(f, &sids[i], &err), &err);
    struct forward_route out = {.kind = ROUTE_ADJACENT, .port = CORE_OUT};
    struct ip_prefix beyond[2] = {prefix(IP_V6, 48, un_next, 6), prefix(IP_V6, 48, next_full, 6)};
    for (unsigned i = 0; i < 2; i++)
        must(forward_route_set(f, 0, &beyond[i], &out, &err), &err);
}

static void add_vpn(struct forward *f)
{
    struct error err = {0};
    must(forward_vrf_add(f, 10, 100, &err), &err);
    struct forward_access a = {
        .port = HOSTS, .vrf = 10, .tenant = 100, .gateway = {prefix(IP_V4, 24, (uint8_t[]){10, 0, 0, 1}, 4)}};
    must(forward_access_set(f, &a, 1, &err), &err);
    struct forward_path p = {.id = 1, .out_port = CORE_OUT, .no_lanes = true, .n_sids = 1};
    memcpy(p.sids[0].b, un_next, 16);
    must(forward_path_set(f, &p, &err), &err);
    struct forward_route r = {.kind = ROUTE_REMOTE, .path_of_class = {1, 1, 1, 1}};
    memcpy(r.service_sid.b, (uint8_t[]){0xfc, 0xbb, 0xbb, 0, 0, 3, 0xd0, 1}, 8);
    for (unsigned i = 0; i < 1000; i++) { /* a table of some size */
        struct ip_prefix to = prefix(IP_V4, 24, (uint8_t[]){10, (uint8_t)(1 + i / 250), (uint8_t)(i % 250), 0}, 4);
        must(forward_route_set(f, 10, &to, &r, &err), &err);
    }
}

/* The host asks for its gateway, so that its MAC is known. */
static void meet_host(struct forward *f)
{
    struct rte_mbuf *m = pool_alloc(NULL);
    m->data_off = PACKET_HEADROOM;
    m->data_len = 42;
    m->pkt_len = 42;
    uint8_t *e = packet_at(m, 0);
    memset(e, 0, 60);
    memset(e, 0xff, 6);
    memcpy(e + 6, host_mac, 6);
    memcpy(e + 12, (uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, 10);
    memcpy(e + 22, host_mac, 6);
    memcpy(e + 28, (uint8_t[]){10, 0, 0, 2}, 4);
    memcpy(e + 38, (uint8_t[]){10, 0, 0, 1}, 4);
    forward_receive(f, HOSTS, &m, 1, 1);
}

static struct forward *router_create(void)
{
    struct error err = {0};
    struct forward *f;
    struct forward_config c = {.locator_block_bits = 32, .lanes = {.router_id = 1, .lanes_most = 16}};
    struct forward_ops ops = {NULL, pool_alloc, pool_free, no_punt, NULL, random_bits};
    memcpy(c.loopback.b, (uint8_t[]){0x20, 1, 0xd, 0xb8, 0xff, 0xff}, 6);
    must(forward_create(&f, &c, &ops, &err), &err);
    for (uint16_t i = 0; i < 3; i++) {
        struct port_config p = {.kind = i == HOSTS ? PORT_ACCESS : PORT_CORE,
            .mtu = 9216,
            .pool_cells = 4096,
            .mac = {2, 0, 0, 0, 0, (uint8_t)i},
            .peer_mac = {2, 2, 0, 0, 0, (uint8_t)i}};
        must(forward_port_add(f, i, &p, &err), &err);
    }
    add_vpn(f);
    add_sids(f);
    meet_host(f);
    return f;
}

/* --- frames ---------------------------------------------------------------------------------------------------------- */

/* A frame as it comes in: the first bytes are written anew for each packet, the rest is whatever lies there. */
struct sample {
    uint8_t bytes[HEADERS];
    uint32_t headers, len;
};

static struct sample samples[FLOWS];

/* The outer header and what follows it up to `len`, which is the frame's. */
static uint8_t *put_outer(struct sample *s, const uint8_t da[16], uint8_t next, uint32_t len)
{
    uint8_t *p = s->bytes;
    s->len = len;
    memcpy(p, (uint8_t[]){2, 0, 0, 0, 0, CORE_IN, 2, 2, 0, 0, 0, 0, 0x86, 0xdd, 0x60, 0, 0x12, 0x34}, 18);
    bytes_put_be16(p + 18, (uint16_t)(len - ETHER_SIZE - IP6_SIZE));
    p[20] = next;
    p[21] = 64;
    memcpy(p + 22, (uint8_t[16]){0x20, 1, 0xd, 0xb8, 0xff, 0xff, [15] = 9}, 16);
    memcpy(p + 38, da, 16);
    return p + 54;
}

static uint8_t *put_ip4(uint8_t *p, const uint8_t src[4], const uint8_t dst[4], uint16_t port, uint32_t len)
{
    memset(p, 0, 28);
    memcpy(p, (uint8_t[]){0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, IP_PROTO_UDP}, 10);
    bytes_put_be16(p + IP4_LEN, (uint16_t)len);
    memcpy(p + IP4_SRC, src, 4);
    memcpy(p + IP4_DST, dst, 4);
    bytes_put_be16(p + IP4_SUM, checksum_ip4(p, IP4_SIZE));
    bytes_put_be16(p + 20, port);
    bytes_put_be16(p + 22, 4791);
    return p + 28;
}

static uint8_t *put_options(uint8_t *p, uint8_t next)
{
    struct hbh_types types = {HBH_NR_DEFAULT, HBH_LANE_DEFAULT};
    struct hbh h = {.next = next, .has = HBH_HAS_MARK | HBH_HAS_NR, .flow_mon_id = 0x1001, .slice = 100};
    return p + hbh_encode(p, &h, &types);
}

static uint32_t least(uint32_t len, uint32_t most)
{
    return len > most ? len : most;
}

static uint8_t *make_end(struct sample *s, unsigned flow, uint32_t len)
{
    return put_outer(s, un_two, IP_PROTO_NONE, len);
}

static uint8_t *make_end_srh(struct sample *s, unsigned flow, uint32_t len)
{
    uint8_t *p = put_outer(s, end_full, IP_PROTO_ROUTING, least(len, 94));
    struct ip6 way[2];
    memcpy(way[0].b, end_full, 16);
    memcpy(way[1].b, next_full, 16);
    return p + srh_encode(p, IP_PROTO_NONE, way, 2);
}

static uint8_t *make_end_marked(struct sample *s, unsigned flow, uint32_t len)
{
    return put_options(put_outer(s, un_two, IP_PROTO_HOPOPT, least(len, 78)), IP_PROTO_NONE);
}

static uint8_t *make_encap(struct sample *s, unsigned flow, uint32_t len)
{
    const uint8_t dst[4] = {10, (uint8_t)(1 + flow % 4), (uint8_t)(flow % 250), 7};
    memcpy(s->bytes, (uint8_t[]){2, 0, 0, 0, 0, HOSTS, 2, 1, 0, 0, 0, 9, 8, 0}, 14);
    s->len = len;
    return put_ip4(s->bytes + 14, (uint8_t[]){10, 0, 0, 2}, dst, (uint16_t)(1024 + flow), len - ETHER_SIZE);
}

static uint8_t *make_dt46(struct sample *s, unsigned flow, uint32_t len)
{
    const uint8_t src[4] = {10, 1, (uint8_t)flow, 7};
    uint8_t *p = put_options(put_outer(s, udt, IP_PROTO_HOPOPT, len + IP6_SIZE + 24), IP_PROTO_IPIP);
    return put_ip4(p, src, (uint8_t[]){10, 0, 0, 2}, (uint16_t)(1024 + flow), len - ETHER_SIZE);
}

static const struct kind {
    const char *name;
    uint16_t in, out;
    uint8_t *(*make)(struct sample *, unsigned flow, uint32_t len);
} kinds[] = {
    {"end", CORE_IN, CORE_OUT, make_end},
    {"end_srh", CORE_IN, CORE_OUT, make_end_srh},
    {"end_marked", CORE_IN, CORE_OUT, make_end_marked},
    {"encap", HOSTS, CORE_OUT, make_encap},
    {"dt46", CORE_IN, HOSTS, make_dt46},
};

/* size: with FCS; 0: IMIX. */
static void make_samples(const struct kind *k, uint32_t size)
{
    static const uint32_t imix[12] = {64, 594, 64, 594, 64, 1518, 64, 594, 64, 594, 64, 64};
    for (unsigned i = 0; i < FLOWS; i++) {
        struct sample *s = &samples[i];
        uint32_t len = (size ? size : imix[i % 12]) - 4;
        s->headers = (uint32_t)(k->make(s, i, len) - s->bytes);
        s->headers = (s->headers + 15) / 16 * 16;
    }
}

/* --- running ----------------------------------------------------------------------------------------------------------- */

static inline void fill(struct rte_mbuf *m, const struct sample *s)
{
    m->data_off = PACKET_HEADROOM;
    m->data_len = (uint16_t)s->len;
    m->pkt_len = s->len;
    uint8_t *to = packet_at(m, 0);
    for (uint32_t at = 0; at < s->headers; at += 16)
        memcpy(to + at, s->bytes + at, 16);
}

static unsigned generate(struct rte_mbuf **pkts, unsigned *flow)
{
    for (unsigned i = 0; i < BATCH; i++)
        __builtin_prefetch(pool.ring[(pool.tail + BATCH + i) % POOL], 1);
    for (unsigned i = 0; i < BATCH; i++) {
        pkts[i] = pool_alloc(NULL);
        fill(pkts[i], &samples[*flow]);
        *flow = *flow + 1 < FLOWS ? *flow + 1 : 0;
    }
    return BATCH;
}

struct result {
    double mpps, cycles;
};

static int64_t cpu_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static unsigned round_trip(struct forward *f, const struct kind *k, unsigned *flow, int64_t now)
{
    struct rte_mbuf *pkts[BATCH];
    unsigned n = generate(pkts, flow);
    if (f) {
        forward_receive(f, k->in, pkts, n, now);
        n = forward_transmit(f, k->out, pkts, BATCH, now);
        forward_sent(f, k->out, pkts, n, now);
    } else {
        for (unsigned i = 0; i < n; i++)
            pool_free(NULL, pkts[i]);
    }
    return n;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Packets per second of this thread's processor time; the median of many short slices' cycles, which other programs that
 * take the processor away do not show in. */
static struct result measure(struct forward *f, const struct kind *k, double seconds)
{
    static uint64_t slices[SLICES];
    unsigned flow = 0, n = 0;
    uint64_t out = 0;
    int64_t begin = cpu_now_ns(), end = begin + (int64_t)(seconds * 1e9), cpu = begin;
    for (; cpu < end && n < SLICES; n++) {
        int64_t now = clock_now_ns();
        uint64_t t = __rdtsc();
        for (unsigned round = 0; round < ROUNDS; round++)
            out += round_trip(f, k, &flow, now);
        slices[n] = __rdtsc() - t;
        cpu = cpu_now_ns();
    }
    if (out != (uint64_t)n * ROUNDS * BATCH) {
        fprintf(stderr, "bench_forward_packets: %s lost packets\n", k->name);
        exit(1);
    }
    qsort(slices, n, sizeof *slices, by_size);
    return (struct result){(double)out * 1e3 / (double)(cpu - begin), (double)slices[n / 2] / (ROUNDS * BATCH)};
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t size;
    } sizes[] = {{"64", 64}, {"imix", 0}, {"1500", 1500}, {"9000", 9000}};
    double seconds = argc > 1 ? atof(argv[1]) : 0.3;
    const char *only = argc > 2 ? argv[2] : NULL;
    pool_create();
    struct forward *f = router_create();
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (unsigned s = 0; s < 4; s++) {
            if (only && (strcmp(only, kinds[k].name) != 0 || s))
                continue;
            make_samples(&kinds[k], sizes[s].size);
            measure(f, &kinds[k], seconds / 10);
            struct result r = measure(f, &kinds[k], seconds), g = measure(NULL, &kinds[k], seconds / 5);
            printf("%s %s %.3f %.1f %.1f\n", kinds[k].name, sizes[s].name, r.mpps, r.cycles, g.cycles);
            fflush(stdout);
        }
    forward_free(f);
    return 0;
}
