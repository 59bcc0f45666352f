/* Encrypted VPN packets through two forwarding cores, in memory, on one core of the machine, beside the bare cipher on packets
 * of the same sizes in the same memory: bench_xsec_packets [SECONDS [SIZE]] prints one line a case:
 *
 *   SIZE BYTES seal GBPS CYCLES RATIO LOW HIGH open GBPS CYCLES RATIO LOW HIGH bare_seal GBPS CYCLES bare_open GBPS CYCLES
 *     clear GBPS CYCLES esp GBPS CYCLES RATIO LOW HIGH (one line)
 *
 * seal   a host's frame comes in: classified, looked up, counted as a flow, sealed (ESP, AES-256-GCM), encapsulated, marked,
 *        queued, taken from the scheduler and given back
 * open   the same packets come out: SID, marking counted, opened, replay window, looked up in their VRF, neighbour, queue,
 *        taken from the scheduler and given back
 * bare   ipsec-mb's AES-256-GCM called in a loop on the same mbufs: as many bytes as the inner packet has, 12 bytes of AAD
 * clear  the way of `seal` in a VPN that is not encrypted: what forwarding alone takes
 * esp    esp_seal alone, 64 packets at a time
 *
 * Each slice runs one after the other all of them on the same 256 mbufs (of a pool of 4096 that is used round and round,
 * so what is sealed comes from the third level cache or from memory), in turns that change with each slice. CYCLES per packet
 * are the median of slices; GBPS are inner IP packets' bits at the processor's time stamp rate; RATIO is the median of
 * bare cycles / ours of the same slice, LOW and HIGH its quartiles. Writing the frames is not counted.
 *
 * SIZE is that of the inner IP packet, or imix (7 × 46, 4 × 576, 1 × 1500). Then a line
 *
 *   rekey PAIRS_PER_S INSTALLS_PER_S
 *
 * a pair of PEs in one VPN gets a new secret (X25519), eight keys out of it (HKDF; four lanes, two directions), installed in a
 * core with a thousand SAs; the four receiving ones before them go. */
#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/curve25519.h"
#include "forward/tables.h"
#include "wire/checksum.h"
#include "xsec/derive.h"

#include <intel-ipsec-mb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <x86intrin.h>

enum { HUGE_PAGE = 1 << 21, BATCH = 64, GROUP = 256, POOL = 4096, ROOM = 2560, SLICES = 1 << 14, FLOWS = 252 };
enum { CORE = 0, HOSTS = 1 };

static void must(int rc, const struct error *err)
{
    if (rc) {
        fprintf(stderr, "bench_xsec_packets: %s\n", err->text);
        exit(1);
    }
}

/* --- a pool that hands out what was given back longest ago; what is sent may be caught instead ----------------------- */

static struct {
    struct rte_mbuf *ring[POOL];
    unsigned head, tail;
    struct rte_mbuf *caught[GROUP];
    unsigned n_caught;
    bool catch;
} pool;

static struct rte_mbuf *pool_alloc(void *user)
{
    return pool.head == pool.tail ? NULL : pool.ring[pool.tail++ % POOL];
}

static void pool_free(void *user, struct rte_mbuf *m)
{
    if (pool.catch && pool.n_caught < GROUP)
        pool.caught[pool.n_caught++] = m;
    else
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
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 0x5a, size);
    for (unsigned i = 0; i < POOL; i++) {
        struct rte_mbuf *m = (struct rte_mbuf *)(void *)(memory + i * stride);
        memset(m, 0, sizeof *m + PACKET_META_SIZE);
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
    fprintf(stderr, "bench_xsec_packets: a packet was punted\n");
    exit(1);
}

static uint64_t random_bits(void *user)
{
    static uint64_t n;
    return rng_u64(7, n++);
}

/* --- two PEs ------------------------------------------------------------------------------------------------------ */

static const uint8_t host_mac[6] = {2, 1, 0, 0, 0, 9};

static struct ip6 address(uint16_t a, uint16_t b, uint16_t c, uint16_t d)
{
    struct ip6 ip = {{0}};
    bytes_put_be16(ip.b, a);
    bytes_put_be16(ip.b + 2, b);
    bytes_put_be16(ip.b + 4, c);
    bytes_put_be16(ip.b + 6, d);
    return ip;
}

static struct ip6 loopback(unsigned pe)
{
    return address(0x2001, 0xdb8, 0xffff, (uint16_t)(pe + 1));
}

static void add_keys(struct forward *f, unsigned pe)
{
    struct error err = {0};
    for (unsigned i = 0; i < 1024; i++) { /* other peers' and our pair's */
        struct esp_sa_config c = {.spi = 4096 + i,
            .peer = i < 4 ? loopback(1 - pe) : address(0x2001, 0xdb8, 0xfffe, (uint16_t)(i / 8)),
            .vrf = 10,
            .lane = (uint16_t)(i % 4),
            .sending = i < 4 ? pe == 0 : i / 4 % 2};
        for (unsigned k = 0; k < sizeof c.key; k++)
            c.key[k] = (uint8_t)rng_u64(i, k);
        must(forward_sa_install(f, &c, &err), &err);
    }
}

/* The host asks for its gateway, so that its MAC is known. */
static void meet_host(struct forward *f, unsigned pe)
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
    memcpy(e + 28, (uint8_t[]){10, (uint8_t)pe, 0, 2}, 4);
    memcpy(e + 38, (uint8_t[]){10, (uint8_t)pe, 0, 1}, 4);
    forward_receive(f, HOSTS, &m, 1, 1);
}

static struct forward *pe_create(unsigned pe)
{
    struct error err = {0};
    struct forward *f;
    struct forward_config c = {
        .locator_block_bits = 32, .loopback = loopback(pe), .lanes = {.router_id = pe + 1, .lanes_most = 16}};
    struct forward_ops ops = {NULL, pool_alloc, pool_free, no_punt, NULL, random_bits};
    must(forward_create(&f, &c, &ops, &err), &err);
    for (uint16_t i = 0; i < 2; i++) {
        struct port_config p = {.kind = i == HOSTS ? PORT_ACCESS : PORT_CORE,
            .mtu = 9216,
            .pool_cells = 4096,
            .mac = {2, 0, 0, 0, (uint8_t)pe, (uint8_t)i},
            .peer_mac = {2, 0, 0, 0, (uint8_t)(1 - pe), (uint8_t)i}};
        must(forward_port_add(f, i, &p, &err), &err);
    }
    must(forward_vrf_add(f, 10, 100, &err), &err);
    must(forward_vrf_add(f, 20, 200, &err), &err);
    must(forward_vrf_encrypt(f, 10, true, &err), &err);
    struct forward_access a = {
        .port = HOSTS, .vrf = 10, .tenant = 100, .gateway = {{IP_V4, 16, {{10, (uint8_t)pe, 0, 1}}}}};
    must(forward_access_set(f, &a, 1, &err), &err);
    a.vlan = a.vrf = 20;
    a.tenant = 200;
    must(forward_access_set(f, &a, 1, &err), &err);
    struct ip6 service = address(0xfcbb, 0xbb00, (uint16_t)(pe + 1), 0xd101),
               theirs = address(0xfcbb, 0xbb00, (uint16_t)(2 - pe), 0xd101);
    struct forward_sid s = {{IP_V6, 64, service}, SID_END_ESP_DT46_NEXT_CSID, 0, 0, 10};
    must(forward_sid_set(f, &s, &err), &err);
    struct forward_path p = {.id = 1, .out_port = CORE, .no_lanes = true};
    must(forward_path_set(f, &p, &err), &err);
    struct forward_route r = {.kind = ROUTE_REMOTE,
        .path_of_class = {1, 1, 1, 1},
        .service_sid = theirs,
        .encrypted = true,
        .peer = loopback(1 - pe)};
    for (unsigned i = 0; i < 1000; i++) { /* a table of some size */
        struct ip_prefix to = {IP_V4, 24, {{10, (uint8_t)(10 + i / 250), (uint8_t)(i % 250), 0}}};
        must(forward_route_set(f, 10, &to, &r, &err), &err);
        must(forward_route_set(f, 20, &to, &r, &err), &err);
    }
    struct ip_prefix to = {IP_V4, 16, {{10, (uint8_t)(1 - pe)}}};
    must(forward_route_set(f, 10, &to, &r, &err), &err);
    r.encrypted = false;
    must(forward_route_set(f, 20, &to, &r, &err), &err);
    add_keys(f, pe);
    meet_host(f, pe);
    return f;
}

/* --- frames ---------------------------------------------------------------------------------------------------------- */

struct sample {
    uint8_t bytes[64];
    uint32_t len; /* of the frame */
};

static struct sample samples[FLOWS];

static void make_samples(uint32_t size)
{
    static const uint32_t imix[12] = {46, 576, 46, 576, 46, 1500, 46, 576, 46, 576, 46, 46};
    for (unsigned i = 0; i < FLOWS; i++) {
        struct sample *s = &samples[i];
        uint32_t len = size ? size : imix[i % 12];
        uint8_t *p = s->bytes + ETHER_SIZE;
        s->len = len + ETHER_SIZE;
        memset(s->bytes, 0, sizeof s->bytes);
        memcpy(s->bytes, (uint8_t[]){2, 0, 0, 0, 0, HOSTS, 2, 1, 0, 0, 0, 9, 8, 0}, ETHER_SIZE);
        memcpy(p, (uint8_t[]){0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, IP_PROTO_UDP}, 10);
        bytes_put_be16(p + IP4_LEN, (uint16_t)len);
        memcpy(p + IP4_SRC, (uint8_t[]){10, 0, 0, 2}, 4);
        memcpy(p + IP4_DST, (uint8_t[]){10, 1, 0, 2}, 4);
        bytes_put_be16(p + IP4_SUM, checksum_ip4(p, IP4_SIZE));
        bytes_put_be16(p + 20, (uint16_t)(1024 + i));
        bytes_put_be16(p + 22, 4791);
    }
}

static void generate(struct rte_mbuf **pkts, unsigned *flow)
{
    for (unsigned i = 0; i < GROUP; i++) {
        struct rte_mbuf *m = pkts[i] = pool_alloc(NULL);
        const struct sample *s = &samples[*flow];
        m->data_off = PACKET_HEADROOM;
        m->data_len = (uint16_t)s->len;
        m->pkt_len = s->len;
        memcpy(packet_at(m, 0), s->bytes, sizeof s->bytes);
        *flow = *flow + 1 < FLOWS ? *flow + 1 : 0;
    }
}

/* --- what is measured -------------------------------------------------------------------------------------------------- */

static void stage(struct forward *f, uint16_t in, uint16_t out, struct rte_mbuf **pkts, int64_t now)
{
    struct rte_mbuf *left[BATCH];
    for (unsigned at = 0; at < GROUP; at += BATCH) {
        forward_receive(f, in, pkts + at, BATCH, now);
        unsigned n = forward_transmit(f, out, left, BATCH, now);
        forward_sent(f, out, left, n, now);
    }
}

static struct {
    IMB_MGR *mgr;
    struct gcm_key_data key __attribute__((aligned(64)));
    uint64_t number;
} bare;

static void bare_create(void)
{
    IMB_ARCH arch;
    uint8_t key[32] = {1};
    bare.mgr = alloc_mb_mgr(0);
    if (!bare.mgr)
        abort();
    init_mb_mgr_auto(bare.mgr, &arch);
    IMB_AES256_GCM_PRE(bare.mgr, key, &bare.key);
}

static void bare_run(struct rte_mbuf **pkts, bool seal)
{
    struct gcm_context_data c;
    uint8_t nonce[12] = {0}, aad[12] = {0}, tag[16];
    for (unsigned i = 0; i < GROUP; i++) {
        uint8_t *p = packet_at(pkts[i], ETHER_SIZE);
        uint64_t len = pkts[i]->pkt_len - ETHER_SIZE;
        bytes_put_be64(nonce + 4, ++bare.number);
        if (seal)
            IMB_AES256_GCM_ENC(bare.mgr, &bare.key, &c, p, p, len, nonce, aad, sizeof aad, p + len, 16);
        else
            IMB_AES256_GCM_DEC(bare.mgr, &bare.key, &c, p, p, len, nonce, aad, sizeof aad, tag, 16);
    }
}

enum { SEAL, OPEN, BARE_SEAL, BARE_OPEN, CLEAR, ESP, KINDS };

static uint64_t cycles[KINDS][SLICES];

/* One group of packets through one of the two ways. */
static void ours(struct forward *const pe[2], unsigned *flow, unsigned slice)
{
    struct rte_mbuf *pkts[GROUP];
    generate(pkts, flow);
    int64_t now = clock_now_ns();
    pool.n_caught = 0;
    pool.catch = true;
    uint64_t t0 = __rdtsc();
    stage(pe[0], HOSTS, CORE, pkts, now);
    uint64_t t1 = __rdtsc();
    pool.catch = false;
    if (pool.n_caught != GROUP || forward_counts(pe[0]).sealed % GROUP) {
        fprintf(stderr, "bench_xsec_packets: %u of %u packets were sealed\n", pool.n_caught, GROUP);
        exit(1);
    }
    uint64_t t2 = __rdtsc();
    stage(pe[1], CORE, HOSTS, pool.caught, now);
    uint64_t t3 = __rdtsc();
    cycles[SEAL][slice] = t1 - t0;
    cycles[OPEN][slice] = t3 - t2;
}

static void theirs(unsigned *flow, unsigned slice)
{
    struct rte_mbuf *pkts[GROUP];
    generate(pkts, flow);
    uint64_t t0 = __rdtsc();
    bare_run(pkts, true);
    uint64_t t1 = __rdtsc();
    bare_run(pkts, false);
    uint64_t t2 = __rdtsc();
    cycles[BARE_SEAL][slice] = t1 - t0;
    cycles[BARE_OPEN][slice] = t2 - t1;
    for (unsigned i = 0; i < GROUP; i++)
        pool_free(NULL, pkts[i]);
}

/* The same packets in the VPN beside, which is not encrypted. */
static void clear(struct forward *const pe[2], unsigned *flow, unsigned slice)
{
    struct rte_mbuf *pkts[GROUP];
    generate(pkts, flow);
    for (unsigned i = 0; i < GROUP; i++) { /* the tag's room is in the sample */
        uint8_t *e = packet_at(pkts[i], 0) - VLAN_SIZE;
        memmove(e, e + VLAN_SIZE, 12);
        memcpy(e + 12, (uint8_t[]){0x81, 0, 0, 20}, VLAN_SIZE);
        pkts[i]->data_off -= VLAN_SIZE;
        pkts[i]->data_len += VLAN_SIZE;
        pkts[i]->pkt_len += VLAN_SIZE;
    }
    int64_t now = clock_now_ns();
    uint64_t t = __rdtsc();
    stage(pe[0], HOSTS, CORE, pkts, now);
    cycles[CLEAR][slice] = __rdtsc() - t;
}

static void esp_alone(struct esp *e, struct esp_sa *sa, unsigned *flow, unsigned slice)
{
    struct rte_mbuf *pkts[GROUP];
    static struct esp_packet p[ESP_BATCH];
    generate(pkts, flow);
    uint64_t t = __rdtsc();
    for (unsigned at = 0; at < GROUP; at += ESP_BATCH) {
        for (unsigned i = 0; i < ESP_BATCH; i++) {
            struct rte_mbuf *m = pkts[at + i];
            p[i] = (struct esp_packet){
                .sa = sa, .bytes = packet_at(m, ETHER_SIZE), .len = m->pkt_len - ETHER_SIZE, .next = IP_PROTO_IPIP};
        }
        esp_seal(e, p, ESP_BATCH);
    }
    cycles[ESP][slice] = __rdtsc() - t;
    for (unsigned i = 0; i < GROUP; i++)
        pool_free(NULL, pkts[i]);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quartile(double *list, unsigned n, unsigned which)
{
    qsort(list, n, sizeof *list, by_size);
    return list[(size_t)n * which / 4 < n ? (size_t)n * which / 4 : n - 1];
}

static double median_cycles(unsigned kind, unsigned n)
{
    static double list[SLICES];
    for (unsigned i = 0; i < n; i++)
        list[i] = (double)cycles[kind][i] / GROUP;
    return quartile(list, n, 2);
}

static void print_ours(const char *name, unsigned kind, unsigned bare_kind, unsigned n, double bits_hz)
{
    static double list[SLICES];
    double c = median_cycles(kind, n), q[3];
    for (unsigned i = 0; i < n; i++)
        list[i] = (double)cycles[bare_kind][i] / (double)cycles[kind][i];
    for (unsigned i = 0; i < 3; i++)
        q[i] = quartile(list, n, i + 1);
    printf(" %s %.3f %.1f %.3f %.3f %.3f", name, bits_hz / c / 1e9, c, q[1], q[0], q[2]);
}

static double tsc_hz(void)
{
    int64_t begin = clock_now_ns(), now;
    uint64_t t = __rdtsc();
    while ((now = clock_now_ns()) - begin < 50000000)
        continue;
    return (double)(__rdtsc() - t) * 1e9 / (double)(now - begin);
}

/* All of it once, in an order that changes. */
static void slice(struct forward *const pe[2], unsigned *flow, unsigned n)
{
    static struct esp *esp;
    static struct esp_sa *sa;
    if (!esp) {
        struct esp_sa_config c = {.spi = 4096, .vrf = 10, .sending = true};
        if (esp_create(&esp, 16) || esp_install(esp, &c))
            abort();
        sa = esp_sending(esp, &c.peer, 10, 0);
    }
    for (unsigned i = 0; i < 4; i++)
        switch ((n + i) % 4) {
        case 0:
            ours(pe, flow, n);
            break;
        case 1:
            theirs(flow, n);
            break;
        case 2:
            clear(pe, flow, n);
            break;
        default:
            esp_alone(esp, sa, flow, n);
        }
}

static void measure(struct forward *const pe[2], const char *name, uint32_t size, double seconds, double hz)
{
    unsigned flow = 0, n = 0;
    double bytes = 0;
    make_samples(size);
    for (unsigned i = 0; i < FLOWS; i++)
        bytes += (samples[i].len - ETHER_SIZE) / (double)FLOWS;
    uint64_t before = forward_counts(pe[1]).opened;
    for (unsigned i = 0; i < 20; i++)
        slice(pe, &flow, 0);
    int64_t end = clock_now_ns() + (int64_t)(seconds * 1e9);
    for (; clock_now_ns() < end && n < SLICES; n++)
        slice(pe, &flow, n);
    if (forward_counts(pe[1]).opened - before != (uint64_t)(n + 20) * GROUP) {
        fprintf(stderr, "bench_xsec_packets: packets of %s bytes did not open\n", name);
        exit(1);
    }
    printf("%s %.1f", name, bytes);
    print_ours("seal", SEAL, BARE_SEAL, n, bytes * 8 * hz);
    print_ours("open", OPEN, BARE_OPEN, n, bytes * 8 * hz);
    static const char *const names[KINDS] = {[BARE_SEAL] = "bare_seal", [BARE_OPEN] = "bare_open", [CLEAR] = "clear"};
    for (unsigned kind = BARE_SEAL; kind <= CLEAR; kind++)
        printf(" %s %.3f %.1f", names[kind], bytes * 8 * hz / median_cycles(kind, n) / 1e9, median_cycles(kind, n));
    print_ours("esp", ESP, BARE_SEAL, n, bytes * 8 * hz);
    printf("\n");
    fflush(stdout);
}

/* --- keys --------------------------------------------------------------------------------------------------------------- */

static void rekey(struct forward *f, double seconds)
{
    struct error err = {0};
    struct xsec_beacon ours = {.generation = 1}, theirs = {.generation = 1};
    uint8_t our_private[32] = {8}, their_private[32] = {9};
    ours.certificate.pe = loopback(0);
    theirs.certificate.pe = address(0x2001, 0xdb8, 0xfffd, 1);
    if (x25519_public(ours.key, our_private) || x25519_public(theirs.key, their_private))
        abort();
    unsigned pairs = 0;
    uint64_t installs = 0;
    int64_t begin = clock_now_ns(), now = begin, in_core = 0;
    uint32_t before[4] = {0};
    for (; now - begin < (int64_t)(seconds * 1e9); pairs++) {
        struct xsec_pair pair;
        ours.generation++;
        bytes_put_u64(ours.nonce, ours.generation);
        if (xsec_pair_make(&pair, our_private, &ours, &theirs, NULL))
            abort();
        for (uint16_t i = 0; i < 8; i++) {
            struct xsec_key k;
            if (xsec_key_derive(&k, &pair, i % 2, XSEC_AES_256_GCM, i / 2))
                abort();
            struct esp_sa_config c = {
                .spi = k.spi, .peer = theirs.certificate.pe, .vrf = 10, .lane = i / 2, .sending = i % 2};
            memcpy(c.key, k.key, sizeof c.key);
            memcpy(c.salt, k.salt, sizeof c.salt);
            int64_t t = clock_now_ns();
            must(forward_sa_install(f, &c, &err), &err);
            if (!c.sending && before[c.lane])
                forward_sa_remove(f, before[c.lane], &c.peer, false);
            if (!c.sending)
                before[c.lane] = c.spi;
            in_core += clock_now_ns() - t;
            installs++;
        }
        now = clock_now_ns();
    }
    printf("rekey %.0f %.0f\n", pairs * 1e9 / (double)(now - begin), (double)installs * 1e9 / (double)in_core);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t size;
    } sizes[] = {{"1420", 1420}, {"imix", 0}, {"64", 64}, {"576", 576}, {"2048", 2048}};
    double seconds = argc > 1 ? atof(argv[1]) : 0.5, hz = tsc_hz();
    pool_create();
    bare_create();
    struct forward *const pe[2] = {pe_create(0), pe_create(1)};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (argc < 3 || strcmp(argv[2], sizes[i].name) == 0)
            measure(pe, sizes[i].name, sizes[i].size, seconds, hz);
    if (argc < 3)
        rekey(pe[0], seconds);
    printf("cipher %s\n", forward_cipher(pe[0]));
    forward_free(pe[0]);
    forward_free(pe[1]);
    return 0;
}
