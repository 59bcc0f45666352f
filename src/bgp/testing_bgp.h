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

/* --- a peer made of bytes ------------------------------------------------------------------------------------------------- */

/* What such a peer says of itself: the families given, everything modern; change it before joining. */
struct bgp_open testing_bgp_open(uint8_t last, const uint32_t *families, unsigned n);
/* Its connection to `s` (accepted there), up to an established session. 0: refused. */
uint16_t testing_bgp_raw(
    struct testing_bgp *t, struct bgp_speaker *s, const struct bgp_peer_config *as, const struct bgp_open *open);
void testing_bgp_raw_again(struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer, const struct bgp_open *open);
void testing_bgp_say(
    struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer, enum bgp_type type, const void *body, size_t len);
/* An UPDATE of these attributes (raw), MP_REACH_NLRI for the NLRI in front; next hop fd00::last. */
void testing_bgp_announce(struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer, uint32_t family,
    const uint8_t *nlri, size_t nlri_len, const uint8_t *attributes, size_t len, uint8_t last);
void testing_bgp_unreach(
    struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer, uint32_t family, const uint8_t *nlri, size_t nlri_len);
/* Everything that waits for it, message by message. */
void testing_bgp_hear(struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer,
    void (*message)(void *user, uint8_t type, const uint8_t *body, size_t len), void *user);

#endif
