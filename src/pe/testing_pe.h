/* Provider edges, a reflector and links between them in memory: bytes flow between speakers, what the core would hold is
 * a table. For tests. */
#ifndef MERIDIAN_PE_TESTING_PE_H
#define MERIDIAN_PE_TESTING_PE_H

#include "bgp/testing_bgp.h"
#include "pe/pe.h"

#define TESTING_PE_ROUTES 16384

struct testing_route {
    uint32_t vrf;
    struct ip_prefix prefix;
    struct forward_route route;
};

struct testing_slice {
    struct forward_slice slice;
    uint32_t moving_to; /* 0: it is not being moved */
};

struct testing_pe {
    struct testing_bgp *net;
    struct pe *pe;
    struct pe_config config;
    struct pe_vrf vrf[8];
    struct pe_own own[8][8];
    uint8_t targets[8][4][8]; /* import targets of each VRF; exports: the first of them */
    /* what the core would hold */
    struct testing_route *routes; /* TESTING_PE_ROUTES */
    unsigned n_routes;
    struct forward_path paths[32];
    unsigned n_paths;
    struct testing_slice slices[32];
    unsigned n_slices;
    unsigned changes;
    /* what was heard */
    uint8_t beacon[64];
    struct pe_beacon last_beacon;
    unsigned beacons, beacons_gone;
    char said[256];
};

/* Router `id` with loopback fd00:6d65::id, locator fcbb:bb00:id::/48, nothing else yet. */
void testing_pe_init(struct testing_pe *t, struct testing_bgp *net, uint32_t id);
/* A VRF that imports and exports target 65000:`target`, with its subnet 10.`subnet`.0.0/16 (0: none). Before testing_pe_start,
 * or followed by testing_pe_apply. */
struct pe_vrf *testing_pe_vrf(struct testing_pe *t, uint32_t id, uint32_t target, uint8_t subnet);
void testing_pe_start(struct testing_pe *t);
int testing_pe_apply(struct testing_pe *t); /* the changed configuration */
void testing_pe_done(struct testing_pe *t);

/* A link, port to port, is up (HELLO), or cut: BGP over it follows. */
void testing_pe_link(struct testing_pe *a, uint16_t port_a, struct testing_pe *b, uint16_t port_b);
void testing_pe_cut(struct testing_pe *a, uint16_t port_a, struct testing_pe *b, uint16_t port_b);
/* An iBGP session with a reflector (number `last` of fd00::last). */
struct testing_bgp_wire *testing_pe_client(struct testing_pe *t, struct bgp_speaker *reflector, uint8_t last);
/* Bytes flow and every router does what is due until nothing happens. */
void testing_pe_settle(struct testing_bgp *net, struct testing_pe *const *all, unsigned n);

void testing_target(uint8_t ret[8], uint32_t number); /* 65000:number */
struct ip_prefix testing_prefix(const char *text);
/* NULL: the core has no such route. */
const struct forward_route *testing_pe_route(const struct testing_pe *t, uint32_t vrf, const char *prefix);
/* Why the route to `prefix` of the PE with this loopback is not (or is) used in `vrf` (0: any line of it). PE_REASONS: unknown. */
enum pe_reason testing_pe_reason(struct testing_pe *t, uint32_t vrf, const char *prefix, uint32_t from);
/* A service SID as testing_pe_vrf gives it: of router `id`, VRF `vrf`. */
struct ip6 testing_service(uint32_t id, uint32_t vrf);

#endif
