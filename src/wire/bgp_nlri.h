/* Network layer reachability of the families we speak: IPv4 and IPv6 unicast (RFC 4271, 4760), VPNv4 and VPNv6 (RFC 4364,
 * 4659), EVPN (RFC 7432 framing, RFC 9136 route type 5), SR Policy (RFC 9830), route target constraint (RFC 4684).
 *
 * A route is known by its *key*: the canonical bytes of what identifies it in its family (for RT-5 RD, tag, length and prefix;
 * label and gateway are not part of it, nor is VPNv4's label). What is not key is *rest*. The reflector hands on `raw`. */
#ifndef MERIDIAN_WIRE_BGP_NLRI_H
#define MERIDIAN_WIRE_BGP_NLRI_H

#include "wire/bgp_message.h"
#include "wire/ip.h"

#define BGP_NLRI_KEY_MOST 64u

struct bgp_nlri {
    uint64_t path_id;   /* RFC 7911; 0 where not negotiated. Above the wire: what tells one source's paths apart */
    const uint8_t *raw; /* in the caller's bytes: the NLRI as it came, without path id */
    uint16_t raw_len;
    uint8_t key[BGP_NLRI_KEY_MOST];
    uint8_t key_len;
    bool known; /* false: an EVPN route type that we only carry */
};

enum bgp_evpn_type { BGP_EVPN_PREFIX = 5 };

struct bgp_rt5 { /* RFC 9136: key is rd, tag, prefix */
    uint8_t rd[8], esi[10];
    uint32_t tag;
    struct ip_prefix prefix;
    struct ip6 gateway; /* IPv4: first four bytes; all zero: none */
    uint32_t label;     /* 24 bits as on the wire, EXP masked on receipt */
};

struct bgp_vpn { /* VPNv4, VPNv6 */
    uint8_t rd[8];
    struct ip_prefix prefix;
    uint32_t label; /* the (one) label field, 24 bits as on the wire */
};

struct bgp_sr_policy {
    uint32_t distinguisher, color;
    struct ip_addr endpoint;
};

struct bgp_rtc {
    uint32_t origin_as;
    uint8_t target[8];
    uint8_t bits; /* 0 (default) or 32..96 */
};

/* The next NLRI at bytes[*at] of `family`; advances *at. 1: one is in *ret; 0: the end; -EPROTO: cannot be parsed (RFC 7606
 * 5.3: what follows is lost too); -EBADMSG: this one is wrong but its length is sound (bad prefix length inside an EVPN
 * route): skipped, the caller counts it and treats the UPDATE as RFC 7606 says. */
int bgp_nlri_next(uint32_t family, bool add_path, const uint8_t *bytes, size_t len, size_t *at, struct bgp_nlri *ret);

/* The fields of an NLRI of a known type (from raw). -EINVAL: another type. */
int bgp_rt5_decode(struct bgp_rt5 *ret, const uint8_t *raw, size_t len);
int bgp_vpn_decode(struct bgp_vpn *ret, uint32_t family, const uint8_t *raw, size_t len);
int bgp_prefix_decode(struct ip_prefix *ret, uint32_t family, const uint8_t *raw, size_t len);
int bgp_sr_policy_decode(struct bgp_sr_policy *ret, uint32_t family, const uint8_t *raw, size_t len);
int bgp_rtc_decode(struct bgp_rtc *ret, const uint8_t *raw, size_t len);

/* To raw bytes (no path id); the length, at most 64. */
unsigned bgp_rt5_encode(const struct bgp_rt5 *r, uint8_t to[64]);
unsigned bgp_vpn_encode(const struct bgp_vpn *v, uint32_t family, uint8_t to[64]);
unsigned bgp_prefix_encode(const struct ip_prefix *p, uint8_t to[64]);
unsigned bgp_sr_policy_encode(const struct bgp_sr_policy *p, uint8_t to[64]);
unsigned bgp_rtc_encode(const struct bgp_rtc *r, uint8_t to[64]);

/* "RT-5 65000:10 10.1.0.0/16", for people. Returns to. */
const char *bgp_nlri_text(uint32_t family, const uint8_t *raw, size_t len, char *to, size_t cap);

#endif
