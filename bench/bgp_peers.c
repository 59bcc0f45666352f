/* bgp_peers REFLECTOR FIRST RECEIVERS ROUTES SETS plain|srv6: a client that feeds RT-5 routes to a route reflector over TCP and
 * clients that count what comes back, in one process, the same for every reflector that is measured. FIRST is the feeder's
 * IPv4 address, the receivers have the next ones; the reflector waits for connections on port 179.
 *
 * Prints {"up":true} once all sessions are established and everybody's End-of-RIB is over (a line on stdin starts the feed),
 * then {"seconds":…} when every receiver holds every route. */
#include "base/bytes.h"
#include "base/clock.h"
#include "bgp/testing_bgp.h"
#include "peering/socket.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint32_t families[] = {BGP_EVPN};

#define PEERS_MOST 32

struct peer {
    struct bgp_session session;
    struct bgp_session_above above;
    struct ip_addr address;
    int fd;
    uint32_t routes;
    uint64_t messages;
    uint8_t *seen; /* a byte a route */
};

struct bench {
    struct peer peer[PEERS_MOST]; /* the first one feeds */
    unsigned n;
    uint32_t routes;
    struct buf feed;
    size_t fed;
    struct ip_addr reflector;
};

static struct bench bench;

static void die(const char *what)
{
    fprintf(stderr, "bgp_peers: %s\n", what);
    exit(1);
}

/* --- the feed: what our own PE would say ---------------------------------------------------------------------------------- */

static struct bgp_speaker *speaker(enum bgp_role role, uint8_t last)
{
    struct bgp_speaker_config c = {.role = role, .identifier = {10, 0, 0, last}, .next_hop = {{0xfd, [15] = 1}}};
    struct bgp_speaker *s;
    struct error err;
    if (bgp_speaker_create(&s, &c, NULL, &err))
        die(err.text);
    return s;
}

/* plain: what VXLAN daemons say, label and Router's MAC; else an SRv6 service. One set of attributes for each of `sets` VRFs,
 * one after the other, as PEs have them. */
static void originate(struct bgp_speaker *s, uint32_t i, uint32_t vrf, bool srv6)
{
    struct bgp_rt5 r = {.rd = {0, 0, 0xfd, 0xe8}, .prefix = {IP_V4, 32, {{10}}}, .label = srv6 ? 0x30 : 1000};
    struct bgp_srv6_service sid = {
        .sid = {{0xfc, 0xbb, 0xbb, 0, 0, 1}}, .behaviour = 64, .block_bits = 32, .node_bits = 16, .function_bits = 16};
    uint8_t raw[64], value[64], attributes[128];
    uint8_t communities[16] = {0, 2, 0xfd, 0xe8, 0, 0, 0, 0, 6, 3, 2, 0, 0, 0, 0, 1};
    struct error err;
    bytes_put_be32(r.rd + 4, vrf);
    bytes_put_be32(r.prefix.a.b, 10u << 24 | i);
    bytes_put_be16(sid.sid.b + 6, (uint16_t)vrf);
    bytes_put_be32(communities + 4, vrf);
    int at =
        bgp_attribute_put(attributes, 0, sizeof attributes, 0xc0, BGP_EXTENDED_COMMUNITIES, communities, srv6 ? 8 : 16);
    if (srv6)
        at = bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0xc0, BGP_PREFIX_SID, value,
            bgp_srv6_service_encode(&sid, value));
    if (bgp_originate(s, BGP_EVPN, raw, bgp_rt5_encode(&r, raw), attributes, (size_t)at, 0, &err))
        die(err.text);
}

static void make_feed(uint32_t sets, bool srv6)
{
    struct testing_bgp t = {0};
    struct bgp_speaker *pe = speaker(BGP_PE, 1), *rr = speaker(BGP_REFLECTOR, 9);
    struct bgp_peer_config to_rr = testing_bgp_peer(BGP_PEER_INTERNAL, 9, families, 1);
    struct bgp_peer_config to_pe = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 1);
    struct testing_bgp_wire *w = testing_bgp_join(&t, pe, &to_rr, rr, &to_pe);
    testing_bgp_settle(&t);
    for (uint32_t i = 0; i < bench.routes; i++)
        originate(pe, i, (uint32_t)((uint64_t)i * sets / bench.routes), srv6);
    struct buf *out;
    while ((out = bgp_peer_out(pe, w->peer_of_a, BGP_CONNECTED, t.now))->len) {
        size_t n = out->len;
        buf_append(&bench.feed, out->data, n);
        bgp_peer_written(pe, w->peer_of_a, BGP_CONNECTED, n, t.now);
    }
    bgp_speaker_free(pe);
    bgp_speaker_free(rr);
}

/* --- sessions --------------------------------------------------------------------------------------------------------------- */

static void on_update(void *user, const struct bgp_update *u)
{
    struct peer *p = user;
    struct bgp_nlri n;
    struct bgp_rt5 r;
    size_t at = 0;
    p->messages++;
    while (u->reach_family == BGP_EVPN && bgp_nlri_next(BGP_EVPN, false, u->reach, u->reach_len, &at, &n) == 1) {
        uint32_t i = bgp_rt5_decode(&r, n.raw, n.raw_len) ? UINT32_MAX : bytes_get_be32(r.prefix.a.b) & 0xffffff;
        if (i < bench.routes && !p->seen[i]) {
            p->seen[i] = 1;
            p->routes++;
        }
    }
}

static void on_down(void *user, const struct bgp_notification *why, bool sent)
{
    char text[256];
    (void)user;
    fprintf(stderr, "bgp_peers: a session ended%s: %s\n", sent ? " (by us)" : "",
        why ? bgp_notification_text(why, text, sizeof text) : "connection lost");
    exit(1);
}

static void join(struct peer *p, unsigned number)
{
    struct bgp_session_config c = {.local_as = 65000,
        .peer_as = 65000,
        .identifier = {10, 1, 0, (uint8_t)(number + 1)},
        .hold_time_s = 180,
        .families = {BGP_EVPN},
        .n_families = 1};
    struct peering_secure secure = {0};
    struct error err;
    p->above = (struct bgp_session_above){.user = p, .update = on_update, .down = on_down};
    p->seen = calloc(bench.routes, 1);
    if (!p->seen || bgp_session_init(&p->session, &c, &p->above))
        die("not enough memory");
    bgp_session_start(&p->session, clock_now_ns());
    for (int i = 0; i < 600; i++) {
        p->fd = peering_connect(&bench.reflector, 179, 0, &p->address, &secure, &err);
        struct pollfd wait = {.fd = p->fd, .events = POLLOUT};
        if (p->fd >= 0 && poll(&wait, 1, 2000) == 1 && peering_connected(p->fd) == 0)
            break;
        close(p->fd);
        p->fd = -1;
        usleep(50000);
    }
    if (p->fd < 0)
        die("the reflector does not answer");
    bgp_session_transport_up(&p->session, clock_now_ns());
}

static void read_peer(struct peer *p, int64_t now)
{
    static uint8_t bytes[262144];
    ssize_t n = read(p->fd, bytes, sizeof bytes);
    if (n > 0)
        bgp_session_bytes(&p->session, bytes, (size_t)n, now);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        on_down(p, NULL, false);
}

static void write_peer(struct peer *p, int64_t now)
{
    struct buf *out = bgp_session_out(&p->session);
    ssize_t n = out->len ? write(p->fd, out->data, out->len) : 0;
    if (n > 0)
        bgp_session_written(&p->session, (size_t)n, now);
}

/* The feed goes straight to the socket; keepalives only between its messages, that is before and after it. */
static void write_feed(struct peer *p)
{
    ssize_t n = write(p->fd, bench.feed.data + bench.fed, bench.feed.len - bench.fed);
    bench.fed += n > 0 ? (size_t)n : 0;
}

static void step(bool feeding, int wait_ms)
{
    struct pollfd polls[PEERS_MOST];
    bool more = feeding && bench.fed < bench.feed.len;
    for (unsigned i = 0; i < bench.n; i++) {
        bool writes = (i == 0 && more) || bgp_session_out(&bench.peer[i].session)->len;
        polls[i] = (struct pollfd){.fd = bench.peer[i].fd, .events = writes ? POLLIN | POLLOUT : POLLIN};
    }
    poll(polls, bench.n, wait_ms);
    int64_t now = clock_now_ns();
    for (unsigned i = 0; i < bench.n; i++) {
        struct peer *p = &bench.peer[i];
        if (polls[i].revents & (POLLIN | POLLHUP | POLLERR))
            read_peer(p, now);
        bgp_session_poll(&p->session, now);
        if (i == 0 && more && polls[i].revents & POLLOUT)
            write_feed(p);
        else if (i || !more)
            write_peer(p, now);
    }
}

static bool all_up(void)
{
    for (unsigned i = 0; i < bench.n; i++)
        if (bench.peer[i].session.state != BGP_ESTABLISHED)
            return false;
    return true;
}

static bool all_have_all(void)
{
    for (unsigned i = 1; i < bench.n; i++)
        if (bench.peer[i].routes < bench.routes)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct ip_addr first;
    struct error err;
    char line[16];
    if (argc != 7 || ip_addr_parse(&bench.reflector, argv[1], &err) || ip_addr_parse(&first, argv[2], &err))
        die("REFLECTOR FIRST RECEIVERS ROUTES SETS plain|srv6");
    bench.n = 1 + (unsigned)strtoul(argv[3], NULL, 10);
    bench.routes = (uint32_t)strtoul(argv[4], NULL, 10);
    if (bench.n > PEERS_MOST || bench.routes > 1u << 24)
        die("too many");
    make_feed((uint32_t)strtoul(argv[5], NULL, 10), strcmp(argv[6], "srv6") == 0);
    for (unsigned i = 0; i < bench.n; i++) {
        bench.peer[i].address = first;
        bench.peer[i].address.a.b[3] = (uint8_t)(first.a.b[3] + i);
        join(&bench.peer[i], i);
    }
    int64_t limit = clock_now_ns() + 300 * NS_PER_S;
    while (!all_up() && clock_now_ns() < limit)
        step(false, 100);
    for (int64_t end = clock_now_ns() + NS_PER_S / 2; clock_now_ns() < end;)
        step(false, 50); /* End-of-RIBs of nothing */
    printf("{\"up\":%s}\n", all_up() ? "true" : "false");
    fflush(stdout);
    if (!all_up() || !fgets(line, sizeof line, stdin))
        return 1;
    int64_t begin = clock_now_ns();
    while (!all_have_all() && clock_now_ns() < limit)
        step(true, 1000);
    int64_t end = clock_now_ns();
    uint64_t messages = 0;
    for (unsigned i = 1; i < bench.n; i++)
        messages += bench.peer[i].messages;
    printf("{\"seconds\":%.6f,\"complete\":%s,\"messages\":%llu,\"feed_bytes\":%zu}\n", (double)(end - begin) / 1e9,
        all_have_all() ? "true" : "false", (unsigned long long)messages, bench.feed.len);
    fflush(stdout);
    return fgets(line, sizeof line, stdin) ? 0 : 1; /* sessions stay until told, so that memory can be looked at */
}
