/* One flow between two hosts that are memif ports of this process: UDP over IPv4, numbered, at a steady rate, and what arrives of
 * it at the other port. For flows that Linux' own TAP could not carry (acceptance figure 20).
 *
 *   bench_flow IN OUT RATE SECONDS SIZE     IN, OUT: sockets of routers' access ports; RATE: bits of IP a second; SIZE: of an IP packet
 *
 * Host 1 is 10.0.1.2 behind 10.0.1.1, host 2 is 10.0.2.2 behind 10.0.2.1. Prints one JSON object. */
#include "base/bytes.h"
#include "base/clock.h"
#include "router/device_memif.h"
#include "router/eal.h"
#include "wire/checksum.h"
#include "wire/ip.h"
#include "wire/neighbour.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST   64u
#define HEAD    42u                 /* Ethernet, IPv4, UDP */
#define LATE_NS (2 * 1000000ll)     /* kept from running for longer: the schedule moves, and the rate says so */
#define UP_NS   (20 * 1000000000ll) /* until both ports are up and both hosts know their gateways */
#define END_NS  (2 * 1000000000ll)  /* nothing came for so long: that was all */

struct side {
    struct memif *memif;
    struct device *device;
    struct pool *pool;
    uint8_t mac[6], gateway_mac[6];
    struct ip4 address, gateway;
    bool known; /* the gateway's MAC */
};

static volatile sig_atomic_t stopped;
static struct pool pool;
static struct reactor reactor;
static struct side in, out;
static struct {
    uint64_t sent, received, lost, reordered, other, next;
    int64_t first_ns, last_ns, late_ns;
} n;

static void on_signal(int sig)
{
    stopped = 1;
}

static void connected(void *user, struct memif_rings *rings)
{
    device_memif_attach(((struct side *)user)->device, rings);
}

static void disconnected(void *user, const char *why)
{
    device_memif_detach(((struct side *)user)->device);
}

static int open_side(struct side *s, const char *path, uint8_t number, struct error *err)
{
    struct memif_config c = {.log2 = 12, .buffer = 10240, .owner = getuid(), .name = "flow"};
    *s = (struct side){.pool = &pool,
        .mac = {2, 0, 0, 0, 0x77, number},
        .address = {{10, 0, number, 2}},
        .gateway = {{10, 0, number, 1}}};
    snprintf(c.path, sizeof(c.path), "%s", path);
    int rc = device_memif_create(&s->device, "flow", &pool, err);
    return rc ? rc : memif_open(&s->memif, &reactor, &c, &(struct memif_hooks){s, connected, disconnected}, err);
}

/* How many were taken; a device that gives nothing back is done with them. */
static unsigned transmit(struct side *s, struct rte_mbuf **m, unsigned many)
{
    unsigned took = many ? s->device->ops->transmit(s->device, m, many, clock_now_ns()) : 0;
    for (unsigned i = 0; i < took && !s->device->ops->reclaim; i++)
        pool_free(m[i]);
    return took;
}

static void send_one(struct side *s, struct rte_mbuf *m)
{
    if (transmit(s, &m, 1) == 0)
        pool_free(m);
}

static void send_arp(struct side *s, uint16_t op, const uint8_t to[6], const struct ip4 *who)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
    struct rte_mbuf *m = pool_alloc(&pool);
    if (!m)
        return;
    struct arp a = {.op = op, .sender = s->address, .target = *who};
    memcpy(a.sender_mac, s->mac, 6);
    memcpy(a.target_mac, op == ARP_REPLY ? to : (const uint8_t[6]){0}, 6);
    uint8_t *p = packet_at(m, 0);
    memcpy(p, op == ARP_REPLY ? to : all, 6);
    memcpy(p + 6, s->mac, 6);
    bytes_put_be16(p + 12, 0x0806);
    arp_encode(p + 14, &a);
    memset(p + 14 + ARP_SIZE, 0, 18);
    m->data_len = 60;
    m->pkt_len = 60;
    send_one(s, m);
}

static void take_arp(struct side *s, const uint8_t *p, uint32_t len)
{
    struct arp a;
    if (arp_parse(&a, p + 14, len - 14))
        return;
    if (memcmp(&a.sender, &s->gateway, 4) == 0) {
        memcpy(s->gateway_mac, a.sender_mac, 6);
        s->known = true;
    }
    if (a.op == ARP_REQUEST && memcmp(&a.target, &s->address, 4) == 0)
        send_arp(s, ARP_REPLY, a.sender_mac, &a.sender);
}

static void take_numbered(const uint8_t *p, int64_t now)
{
    uint64_t number;
    memcpy(&number, p + HEAD, 8);
    n.received++;
    n.first_ns = n.first_ns ? n.first_ns : now;
    n.last_ns = now;
    if (number < n.next)
        n.reordered++;
    else
        n.next = number + 1;
}

static void receive(struct side *s)
{
    struct rte_mbuf *m[BURST];
    int64_t now = clock_now_ns();
    unsigned got = s->device->up ? s->device->ops->receive(s->device, m, BURST, now) : 0;
    for (unsigned i = 0; i < got; i++) {
        const uint8_t *p = packet_at(m[i], 0);
        uint16_t type = m[i]->data_len >= HEAD ? bytes_get_be16(p + 12) : 0;
        if (type == 0x0806)
            take_arp(s, p, m[i]->data_len);
        else if (s == &out && type == 0x0800 && p[23] == 17 && m[i]->data_len >= HEAD + 8)
            take_numbered(p, now);
        else
            n.other++;
        pool_free(m[i]);
    }
}

static void reclaim(struct side *s)
{
    struct rte_mbuf *m[BURST];
    if (!s->device->ops->reclaim)
        return;
    for (unsigned got; (got = s->device->ops->reclaim(s->device, m, BURST, clock_now_ns()));)
        for (unsigned i = 0; i < got; i++)
            pool_free(m[i]);
}

static struct rte_mbuf *numbered(uint32_t size, const uint8_t *head)
{
    struct rte_mbuf *m = pool_alloc(&pool);
    if (!m)
        return NULL;
    memcpy(packet_at(m, 0), head, HEAD);
    m->data_len = (uint16_t)(size + 14);
    m->pkt_len = size + 14;
    return m;
}

static void make_head(uint8_t *p, uint32_t size)
{
    memset(p, 0, HEAD);
    memcpy(p, in.gateway_mac, 6);
    memcpy(p + 6, in.mac, 6);
    bytes_put_be16(p + 12, 0x0800);
    p[14] = 0x45;
    bytes_put_be16(p + 16, (uint16_t)size);
    p[22] = 64;
    p[23] = 17;
    memcpy(p + 26, &in.address, 4);
    memcpy(p + 30, &out.address, 4);
    bytes_put_be16(p + 24, checksum_ip4(p + 14, 20));
    bytes_put_be16(p + 34, 7777);
    bytes_put_be16(p + 36, 7777);
    bytes_put_be16(p + 38, (uint16_t)(size - 20));
}

/* What is due, and what waits because the ring was full. */
static void generate(uint64_t due, uint32_t size, const uint8_t *head)
{
    static struct rte_mbuf *waiting[BURST];
    static unsigned n_waiting;
    while (n_waiting < BURST && n.sent + n_waiting < due) {
        struct rte_mbuf *m = numbered(size, head);
        if (!m)
            break;
        uint64_t number = n.sent + n_waiting;
        memcpy(packet_at(m, HEAD), &number, 8);
        waiting[n_waiting++] = m;
    }
    unsigned took = transmit(&in, waiting, n_waiting);
    n.sent += took;
    n_waiting -= took;
    memmove(waiting, waiting + took, n_waiting * sizeof(*waiting));
}

static bool come_up(void)
{
    int64_t until = clock_now_ns() + UP_NS, ask = 0;
    while (!stopped && clock_now_ns() < until && !(in.known && out.known)) {
        int64_t now = clock_now_ns();
        reactor_run(&reactor, now + 1000000);
        if (now > ask && in.device->up && out.device->up) {
            send_arp(&in, ARP_REQUEST, NULL, &in.gateway);
            send_arp(&out, ARP_REQUEST, NULL, &out.gateway);
            ask = now + 200000000;
        }
        receive(&in);
        receive(&out);
    }
    return in.known && out.known;
}

/* One packet first: the last router learns where its host is, and lanes open, before it counts. */
static bool settle(uint32_t size, const uint8_t *head)
{
    int64_t until = clock_now_ns() + UP_NS, again = 0;
    while (!stopped && clock_now_ns() < until && !n.received) {
        int64_t now = clock_now_ns();
        if (now > again) {
            generate(n.sent + 1, size, head);
            again = now + 100000000;
        }
        reactor_run(&reactor, now + 1000000);
        receive(&in);
        receive(&out);
        reclaim(&in);
        reclaim(&out);
    }
    return n.received > 0;
}

static void flow(double rate, double seconds, uint32_t size, const uint8_t *head)
{
    double pps = rate / 8 / size;
    int64_t start = clock_now_ns(), look = start, before = start;
    int64_t give_up = start + (int64_t)(4e9 * seconds); /* a machine that never lets us run */
    uint64_t total = (uint64_t)(pps * seconds);
    for (int64_t now = start; !stopped && (n.sent < total || now - n.last_ns < END_NS); now = clock_now_ns()) {
        if (now > give_up)
            total = n.sent;
        if (now - before > LATE_NS) {
            n.late_ns += now - before;
            start += now - before;
        }
        before = now;
        uint64_t due = (uint64_t)((double)(now - start) / 1e9 * pps);
        generate(due < total ? due : total, size, head);
        receive(&out);
        receive(&in);
        reclaim(&in);
        reclaim(&out);
        if (now > look) {
            reactor_run(&reactor, now);
            look = now + 1000000;
        }
        if (n.received == n.sent && n.sent >= total)
            break;
    }
}

int main(int argc, char **argv)
{
    struct error err = {""};
    bool huge;
    uint8_t head[HEAD];
    if (argc != 6) {
        fprintf(stderr, "usage: bench_flow IN OUT RATE SECONDS SIZE\n");
        return 2;
    }
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    uint32_t size = (uint32_t)atoi(argv[5]);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (size < 64 || size > 9000 || rate <= 0 || seconds <= 0) {
        fprintf(stderr, "sizes are 64 to 9000, rates and times positive\n");
        return 2;
    }
    if (eal_start(&(struct eal_config){.name = "flow", .memory_mib = 512, .huge = EAL_HUGE_NO}, &huge, &err) ||
        pool_init(&pool, 32768, 9300, &err) || reactor_init(&reactor) || open_side(&in, argv[1], 1, &err) ||
        open_side(&out, argv[2], 2, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    bool up = come_up();
    if (up)
        make_head(head, size);
    up = up && settle(size, head);
    memset(&n, 0, sizeof(n));
    if (up)
        flow(rate, seconds, size, head);
    double took = (double)(n.last_ns - n.first_ns) / 1e9;
    printf("{\"up\":%s,\"sent\":%llu,\"received\":%llu,\"lost\":%llu,\"reordered\":%llu,\"gbps\":%.3f,\"seconds\":%.2f,"
           "\"late_s\":%.3f}\n",
        up ? "true" : "false", (unsigned long long)n.sent, (unsigned long long)n.received,
        (unsigned long long)(n.sent - n.received), (unsigned long long)n.reordered,
        took > 0 ? (double)n.received * size * 8 / took / 1e9 : 0, took, (double)n.late_ns / 1e9);
    memif_close(in.memif);
    memif_close(out.memif);
    return up ? 0 : 1;
}
