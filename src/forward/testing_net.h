/* A small network in memory for tests and fuzzers: real forwarding cores joined by cables, hosts that are nothing but what the
 * test sends and sees, and virtual time. Deterministic: frames arrive in (time, number) order, random numbers come from
 * the seed.
 *
 *   struct testing_net *n = testing_net_create(1);
 *   unsigned a = testing_net_router(n, &config_a), b = testing_net_router(n, &config_b);
 *   testing_net_port(n, a, 0, &core); testing_net_port(n, b, 0, &core);
 *   testing_net_cable(n, a, 0, b, 0, 10000);
 *   forward_route_set(testing_net_forward(n, a), …);
 *   testing_net_send(n, a, 1, frame, len);          // a host beside port 1 of a
 *   testing_net_run(n, 1000000);                    // a millisecond
 *   const struct testing_frame *f = testing_net_seen(n, b, 1, 0); // the first frame that left port 1 of b
 *   assert_int_equal(testing_net_free(n), 0);       // mbufs leaked
 *
 * What goes wrong in here (no memory, too many of something) aborts. */
#ifndef MERIDIAN_FORWARD_TESTING_NET_H
#define MERIDIAN_FORWARD_TESTING_NET_H

#include "forward/tables.h"
#include "lane/testing_mbuf.h"

enum { TESTING_NET_ROUTERS = 16, TESTING_NET_MBUFS = 4096, TESTING_NET_ROOM = 9300 };

struct testing_frame {
    int64_t at_ns;
    unsigned router;
    uint16_t port;
    uint32_t vrf; /* of punted packets */
    uint32_t len;
    uint8_t *bytes;
};

/* What a cable does to a frame that enters it: may change its bytes. Returns extra delay in ns, or TESTING_LOSE. */
#define TESTING_LOSE (-1)
typedef int64_t testing_hook(void *user, unsigned router, uint16_t port, uint8_t *bytes, uint32_t len, int64_t now);

struct testing_net;

struct testing_net *testing_net_create(uint64_t seed);
/* Of each router that is added from now on, instead of TESTING_NET_MBUFS of TESTING_NET_ROOM bytes: fuzzers make many. */
void testing_net_mbufs(struct testing_net *, uint32_t count, uint32_t room);
uint32_t testing_net_free(struct testing_net *); /* how many mbufs the routers never gave back */

/* Router id and identity are set where they are zero. Returns its number. */
unsigned testing_net_router(struct testing_net *, const struct forward_config *);
struct forward *testing_net_forward(struct testing_net *, unsigned router);
struct testing_mbufs *testing_net_slab(struct testing_net *, unsigned router);
/* forward_port_add; a MAC of its own where that is zero: 02:00:00:ROUTER:PORT_HIGH:PORT_LOW. */
void testing_net_port(struct testing_net *, unsigned router, uint16_t port, const struct port_config *);
/* What leaves at one end comes in at the other after delay_ns. Ports without a cable show what leaves (testing_net_seen). */
void testing_net_cable(
    struct testing_net *, unsigned a, uint16_t port_a, unsigned b, uint16_t port_b, int64_t delay_ns);
void testing_net_cut(struct testing_net *, unsigned a, uint16_t port_a, bool cut); /* silently: nobody is told */
void testing_net_hook(struct testing_net *, testing_hook *, void *user);           /* of every cable; NULL: none */

/* A frame comes in at a port now. */
void testing_net_send(struct testing_net *, unsigned router, uint16_t port, const void *bytes, uint32_t len);
/* Everything that happens within the next `ns`. */
void testing_net_run(struct testing_net *, int64_t ns);
int64_t testing_net_now(const struct testing_net *);

/* Frame number `i` that left by a port without cable since the last clear; NULL: there is none. */
const struct testing_frame *testing_net_seen(const struct testing_net *, unsigned router, uint16_t port, unsigned i);
/* Every frame that entered a cable or left, in order; for captures. */
const struct testing_frame *testing_net_any(const struct testing_net *, unsigned i);
const struct testing_frame *testing_net_punted(const struct testing_net *, unsigned router, unsigned i);
unsigned testing_net_events(const struct testing_net *, unsigned router, enum lane_event_kind); /* how many */
/* SAs that were heard under for the first time: how many, and the last one. */
unsigned testing_net_heard(const struct testing_net *, unsigned router, struct ip6 *ret_peer, uint32_t *ret_spi);
void testing_net_clear(struct testing_net *); /* forgets frames seen and punted, not events */

#endif
