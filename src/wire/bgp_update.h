/* UPDATE messages and their path attributes, with RFC 7606's error handling as a table: per attribute type the flags it must
 * have, how it is checked, and what a wrong one does. Decoding points into the caller's bytes and allocates nothing.
 *
 * The strongest action that any error asks for wins: discard the attribute < treat the routes as withdrawn < disable the
 * family < reset the session. */
#ifndef MERIDIAN_WIRE_BGP_UPDATE_H
#define MERIDIAN_WIRE_BGP_UPDATE_H

#include "wire/bgp_message.h"
#include "wire/bgp_nlri.h"
#include "wire/ip.h"

enum bgp_attribute_type {
    BGP_ORIGIN = 1,
    BGP_AS_PATH = 2,
    BGP_NEXT_HOP = 3,
    BGP_MED = 4,
    BGP_LOCAL_PREF = 5,
    BGP_ATOMIC_AGGREGATE = 6,
    BGP_AGGREGATOR = 7,
    BGP_COMMUNITIES = 8,
    BGP_ORIGINATOR_ID = 9,
    BGP_CLUSTER_LIST = 10,
    BGP_MP_REACH = 14,
    BGP_MP_UNREACH = 15,
    BGP_EXTENDED_COMMUNITIES = 16,
    BGP_AS4_PATH = 17,
    BGP_AS4_AGGREGATOR = 18,
    BGP_TUNNEL_ENCAPSULATION = 23,
    BGP_LARGE_COMMUNITIES = 32,
    BGP_PREFIX_SID = 40,
    BGP_XSEC_BEACON = 245, /* ours, from the range that nobody has been given (docs/wire-bgp.md) */
};
enum { BGP_FLAG_OPTIONAL = 0x80, BGP_FLAG_TRANSITIVE = 0x40, BGP_FLAG_PARTIAL = 0x20, BGP_FLAG_EXTENDED = 0x10 };

enum bgp_action { BGP_ACCEPT, BGP_DISCARD_ATTRIBUTE, BGP_TREAT_AS_WITHDRAW, BGP_DISABLE_FAMILY, BGP_RESET };

struct bgp_attribute {
    uint8_t flags, type;
    const uint8_t *value;
    uint16_t len;
    const uint8_t *raw; /* with its header */
    uint32_t raw_len;
};

#define BGP_XSEC_BEACON_MOST 1500 /* bytes: some daemons lose a route silently with an attribute of 3800 */
#define BGP_ATTRIBUTES_MOST  64   /* of one UPDATE; more: treat as withdraw (no speaker sends that many) */

struct bgp_update {
    const uint8_t *withdrawn, *announced; /* IPv4 unicast of the message's own fields */
    uint16_t withdrawn_len, announced_len;
    /* MP_REACH and MP_UNREACH; family 0: not there */
    uint32_t reach_family, unreach_family;
    const uint8_t *next_hop, *reach, *unreach;
    uint8_t next_hop_len;
    uint16_t reach_len, unreach_len;
    struct bgp_attribute attributes[BGP_ATTRIBUTES_MOST]; /* kept ones, without MP_*, in the order in which they came */
    uint8_t n_attributes;
    enum bgp_action action; /* strongest over all */
    uint32_t faults;        /* attributes that were wrong, however handled */
    char why[160];          /* the first fault in words, for log and `bgp show`; "" */
};

/* Where the message comes from: what is an error depends on it. */
struct bgp_update_context {
    bool ibgp, as4;
    uint32_t peer_as;
    const uint32_t *families; /* negotiated */
    uint8_t n_families;
};

/* Body: bytes behind the header. Fills *ret always as far as it could be read; BGP_RESET: *ret_error is what to send. */
enum bgp_action bgp_update_decode(struct bgp_update *ret, const uint8_t *body, size_t len,
    const struct bgp_update_context *where, struct bgp_notification *ret_error);

/* The row of the table for one attribute: what RFC 7606 (or the attribute's own RFC) says is right and what follows if not. */
struct bgp_attribute_rule {
    uint8_t type;
    uint8_t flags;         /* optional and transitive bits that it must have */
    enum bgp_action wrong; /* malformed; flags in conflict always treat as withdraw (RFC 7606 3c) */
    bool ibgp_only;        /* from outside: discarded silently (LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST) */
    /* true when the value is well formed */
    bool (*check)(const uint8_t *value, uint16_t len, const struct bgp_update_context *where);
    const char *name, *rfc;
};
const struct bgp_attribute_rule *bgp_attribute_rule(uint8_t type); /* NULL: not known to us */

/* --- reading kept attributes ------------------------------------------------------------------------------- */

const struct bgp_attribute *bgp_attribute_find(const struct bgp_update *u, uint8_t type);

/* SRv6 L3 Service TLV of a Prefix-SID attribute (RFC 9252). 0; -ENOENT: none in it; -EPROTO: wrong. */
struct bgp_srv6_service {
    struct ip6 sid; /* transposition undone with `label` */
    uint16_t behaviour;
    uint8_t block_bits, node_bits, function_bits, argument_bits;
};
int bgp_srv6_service_decode(struct bgp_srv6_service *ret, const uint8_t *value, size_t len, uint32_t label);
unsigned bgp_srv6_service_encode(
    const struct bgp_srv6_service *s, uint8_t to[64]); /* the attribute's value: 37 octets */

/* A route target in an extended communities value: the i-th, 8 bytes; -ENOENT behind the last. */
int bgp_route_target_next(const uint8_t *value, size_t len, size_t *at, uint8_t ret[8]);

/* SR Policy in a Tunnel Encapsulation attribute (RFC 9830, tunnel type 15): the first such TLV. */
#define BGP_SEGMENTS_MOST      16
#define BGP_SEGMENT_LISTS_MOST 4
struct bgp_sr_policy_path {
    uint32_t preference; /* 100 when not said */
    bool has_bsid;
    struct ip6 bsid;
    uint8_t priority; /* 128 when not said */
    char name[64];    /* printable; "" */
    struct {
        uint32_t weight; /* 1 when not said */
        struct ip6 segments[BGP_SEGMENTS_MOST];
        uint8_t n_segments;
    } lists[BGP_SEGMENT_LISTS_MOST];
    uint8_t n_lists;
};
int bgp_sr_policy_path_decode(struct bgp_sr_policy_path *ret, const uint8_t *value, size_t len);
int bgp_sr_policy_path_encode(const struct bgp_sr_policy_path *p, uint8_t *to, size_t cap); /* length or -ENOBUFS */

/* --- writing --------------------------------------------------------------------------------------------------- */

/* Appends one attribute with its header (extended length when needed). New length of `to`, or -ENOBUFS. */
int bgp_attribute_put(uint8_t *to, size_t at, size_t cap, uint8_t flags, uint8_t type, const void *value, size_t len);

#endif
