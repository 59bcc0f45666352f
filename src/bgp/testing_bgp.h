/* Speakers joined in memory, for tests and benchmarks: bytes go from one to the other in pieces of any size, time is a number. */
#ifndef MERIDIAN_BGP_TESTING_BGP_H
#define MERIDIAN_BGP_TESTING_BGP_H

#include "bgp/speaker.h"

#define TESTING_BGP_WIRES 64

struct testing_bgp_wire { /* one TCP connection: a opened it, b accepted it */
    struct bgp_speaker *a, *b;
    uint16_t peer_of_a, peer_of_b; /* how a knows b, how b knows a */
    bool cut;
};

struct testing_bgp {
    struct testing_bgp_wire wire[TESTING_BGP_WIRES];
    int n_wires;
    int64_t now;
    size_t piece; /* bytes carried at a time; 0: all there is */
};

struct bgp_peer_config testing_bgp_peer(enum bgp_peer_kind kind, uint8_t last, const uint32_t *families, unsigned n);
/* Joins them: a connects. */
struct testing_bgp_wire *testing_bgp_join(struct testing_bgp *t, struct bgp_speaker *a,
    const struct bgp_peer_config *as_a, struct bgp_speaker *b, const struct bgp_peer_config *as_b);
void testing_bgp_connect(struct testing_bgp *t, struct testing_bgp_wire *w); /* again, after a cut */
void testing_bgp_cut(struct testing_bgp *t, struct testing_bgp_wire *w);
void testing_bgp_settle(struct testing_bgp *t);              /* carries bytes until nobody has any */
void testing_bgp_advance(struct testing_bgp *t, int64_t ns); /* time passes in steps of a second, bytes flow */

#endif
