/* A VPN over a chain of routers, for tests and fuzzers:
 *
 *   host A — PE 0 — P 1 — … — PE n-1 — host B
 *
 * Core ports: 0 towards the smaller number, 1 towards the greater one. Hosts: port 2. Two tenants' VRFs with the same
 * addresses: VRF 10 of tenant 100 untagged, VRF 20 of tenant 200 on VLAN 20. In both, host A is 10.0.0.2 and fd00:a::2 behind
 * the gateways .1, host B is 10.0.1.2 and fd00:b::2. Path 1 leads right, path 2 left, without lanes or (lanes) with one
 * of the class parameter for each tenant and direction.
 *
 * Router k: loopback 2001:db8:ffff::k+1; NEXT-C-SIDs in the block fcbb:bb00::/32: uN :k+1::, uA :e00p:: to port p, uDT46
 * :k+1:d00v:: (v: 1, 2 for VRF 10, 20); full SIDs in 2001:db8:k+1::/48: End ::1, End.X ::e:p, End.DT46 ::d:v. The PEs'
 * encrypted service SIDs are uESP.DT46 :k+1:d10v:: and End.ESP.DT46 ::1d:v; `encrypted` makes routes and lanes lead there.
 * Keys are installed by testing_vpn_keys, an SA for each VRF, direction and class. */
#ifndef MERIDIAN_FORWARD_TESTING_VPN_H
#define MERIDIAN_FORWARD_TESTING_VPN_H

#include "forward/testing_net.h"

enum { VPN_LEFT = 0, VPN_RIGHT = 1, VPN_HOSTS = 2, VPN_MTU = 9000 };

struct testing_vpn_config {
    unsigned routers; /* 2 and more */
    bool full_sids;   /* SRH instead of NEXT-C-SID */
    bool lanes;
    bool encrypted;
    int64_t delay_ns;  /* of each cable */
    uint32_t core_mtu; /* 0: VPN_MTU + 500 */
    uint32_t host_mtu; /* 0: VPN_MTU */
    uint8_t option_nr, option_lane;
    uint32_t mbufs;   /* of each router, of 2048 bytes; 0: testing_net's */
    uint8_t flavours; /* of End and End.X */
};

struct testing_vpn {
    struct testing_net *net;
    struct testing_vpn_config config;
    unsigned last; /* the right PE */
};

extern bool testing_vpn_all_encrypted; /* so are networks made from now on, with keys of generation 0 */

void testing_vpn_init(struct testing_vpn *, const struct testing_vpn_config *, uint64_t seed);
uint32_t testing_vpn_done(struct testing_vpn *); /* mbufs leaked */

struct ip6 testing_vpn_loopback(unsigned router);
struct ip6 testing_vpn_end(const struct testing_vpn *, unsigned router);
struct ip6 testing_vpn_adjacency(const struct testing_vpn *, unsigned router, uint16_t port);
struct ip6 testing_vpn_service(const struct testing_vpn *, unsigned router, uint32_t vrf); /* where routes lead */
struct ip6 testing_vpn_clear(
    const struct testing_vpn *, unsigned router, uint32_t vrf); /* End.DT46, encrypted or not */
/* The SA of a generation for what PE `router` sends in a VRF's lane, as that PE (sending) or the other one has it. */
struct esp_sa_config testing_vpn_sa(
    const struct testing_vpn *, unsigned router, uint32_t vrf, uint16_t lane, unsigned generation, bool sending);
enum { VPN_KEYS_OPEN = 1, VPN_KEYS_SEAL = 2 }; /* which ends of the SAs */
void testing_vpn_keys(struct testing_vpn *, unsigned generation, unsigned which);
void testing_vpn_forget(struct testing_vpn *, unsigned generation);   /* their receiving ends */
void testing_vpn_mac(uint8_t ret[6], unsigned router, uint16_t port); /* of a router's port */
void testing_vpn_host_mac(uint8_t ret[6], unsigned router, uint16_t vlan);

/* --- packets ------------------------------------------------------------------------------------------------ */

/* Both hosts are known to their PEs: they have announced themselves, and what was seen meanwhile is forgotten. */
void testing_vpn_meet(struct testing_vpn *);
/* A UDP packet of the host beside `router` (0 or last) to the other one: writes a frame, returns its bytes. */
struct testing_udp {
    uint8_t family; /* IP_V4, IP_V6 */
    uint8_t dscp, ecn, hops;
    uint16_t vlan, src_port, dst_port;
    uint32_t payload;
};
uint32_t testing_vpn_udp(const struct testing_vpn *, uint8_t *frame, unsigned router, const struct testing_udp *);
/* testing_vpn_udp and testing_net_send. */
void testing_vpn_send(const struct testing_vpn *, unsigned router, const struct testing_udp *);

#endif
