#include "pe_route.h"

#include "base/bytes.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the words behind the route said. */
struct words {
    struct pe_route *route;
    uint8_t communities[256];
    size_t communities_len;
    struct bgp_srv6_service service;
    bool has_service, is_policy;
    struct bgp_sr_policy_path policy;
    uint32_t label;
    struct ip6 gateway;
};

int pe_hex_parse(uint8_t *to, size_t cap, size_t *ret_len, const char *text, struct error *err)
{
    size_t n = strlen(text) / 2;
    if (strlen(text) % 2 || n > cap)
        return error_set(err, EINVAL, "\"%.40s\": an even number of hex digits, at most %zu bytes", text, cap);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return error_set(err, EINVAL, "\"%.40s\" is not hexadecimal", text);
        to[i] = (uint8_t)byte;
    }
    *ret_len = n;
    return 0;
}

int pe_pair_parse(uint8_t ret[8], const char *text, uint8_t kind, struct error *err)
{
    char left[64];
    const char *colon = strrchr(text, ':');
    struct ip_addr a;
    if (!colon || colon - text >= (long)sizeof left)
        return error_set(err, EINVAL, "\"%s\": AS:NUMBER or A.B.C.D:NUMBER", text);
    memcpy(left, text, (size_t)(colon - text));
    left[colon - text] = 0;
    uint32_t number = (uint32_t)strtoul(colon + 1, NULL, 10), as = (uint32_t)strtoul(left, NULL, 10);
    memset(ret, 0, 8);
    ret[1] = kind; /* of a route target; an RD has its type in both octets */
    if (strchr(left, '.') && ip_addr_parse(&a, left, err) == 0) {
        ret[kind ? 0 : 1] = 1;
        memcpy(ret + 2, a.a.b, 4);
        bytes_put_be16(ret + 6, (uint16_t)number);
    } else if (as > 0xffff) {
        ret[kind ? 0 : 1] = 2;
        bytes_put_be32(ret + 2, as);
        bytes_put_be16(ret + 6, (uint16_t)number);
    } else {
        bytes_put_be16(ret + 2, (uint16_t)as);
        bytes_put_be32(ret + 4, number);
    }
    return 0;
}

static int put(struct pe_route *r, uint8_t flags, uint8_t type, const void *value, size_t len, struct error *err)
{
    int n = bgp_attribute_put(r->attributes, r->len, sizeof r->attributes, flags, type, value, len);
    if (n < 0)
        return error_set(err, EINVAL, "too many bytes of attributes");
    r->len = (size_t)n;
    return 0;
}

static int community(struct words *w, const uint8_t value[8], struct error *err)
{
    if (w->communities_len + 8 > sizeof w->communities)
        return error_set(err, EINVAL, "too many communities");
    memcpy(w->communities + w->communities_len, value, 8);
    w->communities_len += 8;
    return 0;
}

static int take_mac(struct words *w, const char *v, struct error *err)
{
    uint8_t value[8] = {6, 3}; /* EVPN Router's MAC (RFC 9135 8.1) */
    size_t n;
    int rc = pe_hex_parse(value + 2, 6, &n, v, err);
    return rc ? rc : community(w, value, err);
}

static int take_color(struct words *w, const char *v, struct error *err)
{
    uint8_t value[8] = {3, 0x0b};
    bytes_put_be32(value + 4, (uint32_t)strtoul(v, NULL, 10));
    return community(w, value, err);
}

static int take_attr(struct words *w, char *v, struct error *err)
{
    uint8_t value[BGP_MESSAGE_MOST];
    unsigned type, flags;
    int at = 0;
    size_t n;
    if (sscanf(v, "%x:%x:%n", &type, &flags, &at) != 2 || !at)
        return error_set(err, EINVAL, "attr=TYPE:FLAGS:HEX");
    int rc = pe_hex_parse(value, sizeof value, &n, v + at, err);
    return rc ? rc : put(w->route, (uint8_t)flags, (uint8_t)type, value, n, err);
}

static int take_fill(struct words *w, const char *v, struct error *err)
{
    uint8_t value[BGP_MESSAGE_MOST];
    unsigned type, n;
    if (sscanf(v, "%x:%u", &type, &n) != 2 || n > sizeof value)
        return error_set(err, EINVAL, "fill=TYPE:LENGTH");
    for (unsigned i = 0; i < n; i++)
        value[i] = (uint8_t)(i * 7 + 1);
    return put(w->route, BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE, (uint8_t)type, value, n, err);
}

static int take_beacon(struct words *w, const char *v, struct error *err)
{
    uint8_t value[BGP_XSEC_BEACON_MOST];
    size_t n;
    int rc = pe_hex_parse(value, sizeof value, &n, v, err);
    return rc ? rc : put(w->route, BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE, BGP_XSEC_BEACON, value, n, err);
}

static int take_list(struct words *w, char *v, struct error *err)
{
    char *rest, *one;
    unsigned i = w->policy.n_lists++;
    if (i == BGP_SEGMENT_LISTS_MOST)
        return error_set(err, EINVAL, "too many segment lists");
    w->policy.lists[i].weight = 1;
    for (one = strtok_r(v, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        unsigned k = w->policy.lists[i].n_segments;
        int rc = k < BGP_SEGMENTS_MOST ? ip6_parse(&w->policy.lists[i].segments[k], one, err) : -EINVAL;
        if (rc)
            return rc;
        w->policy.lists[i].n_segments++;
    }
    return 0;
}

static int take_gateway(struct words *w, const char *v, struct error *err)
{
    struct ip_addr a;
    int rc = ip_addr_parse(&a, v, err);
    w->gateway = a.a;
    return rc;
}

static int take_word(struct words *w, char *word, struct error *err)
{
    char *v = strchr(word, '=');
    uint8_t target[8];
    if (!v)
        return error_set(err, EINVAL, "\"%s\": NAME=VALUE", word);
    *v++ = 0;
    if (strcmp(word, "sid") == 0) {
        w->has_service = true;
        return ip6_parse(&w->service.sid, v, err);
    }
    if (strcmp(word, "rt") == 0) {
        int rc = pe_pair_parse(target, v, 2, err);
        return rc ? rc : community(w, target, err);
    }
    if (strcmp(word, "color") == 0)
        return take_color(w, v, err);
    if (strcmp(word, "mac") == 0)
        return take_mac(w, v, err);
    if (strcmp(word, "beacon") == 0)
        return take_beacon(w, v, err);
    if (strcmp(word, "attr") == 0)
        return take_attr(w, v, err);
    if (strcmp(word, "fill") == 0)
        return take_fill(w, v, err);
    if (strcmp(word, "list") == 0)
        return take_list(w, v, err);
    if (strcmp(word, "gw") == 0)
        return take_gateway(w, v, err);
    if (strcmp(word, "bsid") == 0) {
        w->policy.has_bsid = true;
        return ip6_parse(&w->policy.bsid, v, err);
    }
    if (strcmp(word, "behaviour") == 0)
        w->service.behaviour = (uint16_t)strtoul(v, NULL, 0);
    else if (strcmp(word, "label") == 0)
        w->label = (uint32_t)strtoul(v, NULL, 0);
    else if (strcmp(word, "pref") == 0)
        w->policy.preference = (uint32_t)strtoul(v, NULL, 10);
    else if (strcmp(word, "name") == 0)
        snprintf(w->policy.name, sizeof w->policy.name, "%s", v);
    else
        return error_set(err, EINVAL, "\"%s\" is not known", word);
    return 0;
}

/* --- the routes themselves -------------------------------------------------------------------------------------------------- */

static const char *next(char **rest)
{
    const char *w = strtok_r(NULL, " \t\r\n", rest);
    return w ? w : "";
}

/* The NLRI needs label and gateway, which words behind it say: so it is made last. */
struct named {
    char kind[16];
    uint8_t rd[8];
    struct ip_prefix prefix;
    struct bgp_sr_policy policy;
    struct bgp_rtc rtc;
};

static int take_name(struct named *n, char **rest, struct error *err)
{
    int rc = 0;
    if (strcmp(n->kind, "rt5") == 0 || strcmp(n->kind, "vpn") == 0) {
        rc = pe_pair_parse(n->rd, next(rest), 0, err);
        return rc ? rc : ip_prefix_parse(&n->prefix, next(rest), err);
    }
    if (strcmp(n->kind, "unicast") == 0)
        return ip_prefix_parse(&n->prefix, next(rest), err);
    if (strcmp(n->kind, "policy") == 0) {
        n->policy.distinguisher = (uint32_t)strtoul(next(rest), NULL, 10);
        n->policy.color = (uint32_t)strtoul(next(rest), NULL, 10);
        return ip_addr_parse(&n->policy.endpoint, next(rest), err);
    }
    if (strcmp(n->kind, "rtc") == 0) {
        n->rtc.origin_as = (uint32_t)strtoul(next(rest), NULL, 10);
        const char *target = next(rest);
        if (strcmp(target, "default") == 0)
            return 0;
        n->rtc.bits = 96;
        return pe_pair_parse(n->rtc.target, target, 2, err);
    }
    return error_set(err, EINVAL, "\"%s\": rt5, vpn, unicast, policy or rtc", n->kind);
}

static void encode(struct pe_route *r, const struct named *n, const struct words *w)
{
    bool v4 = n->prefix.family == IP_V4;
    if (n->kind[0] == 'r' && n->kind[2] == '5') {
        struct bgp_rt5 rt5 = {.prefix = n->prefix, .gateway = w->gateway, .label = w->label};
        memcpy(rt5.rd, n->rd, 8);
        r->family = BGP_EVPN;
        r->raw_len = bgp_rt5_encode(&rt5, r->raw);
    } else if (n->kind[0] == 'v') {
        struct bgp_vpn vpn = {.prefix = n->prefix, .label = w->label};
        memcpy(vpn.rd, n->rd, 8);
        r->family = v4 ? BGP_VPNV4 : BGP_VPNV6;
        r->raw_len = bgp_vpn_encode(&vpn, r->family, r->raw);
    } else if (n->kind[0] == 'u') {
        r->family = v4 ? BGP_IPV4_UNICAST : BGP_IPV6_UNICAST;
        r->raw_len = bgp_prefix_encode(&n->prefix, r->raw);
    } else if (n->kind[0] == 'p') {
        r->family = n->policy.endpoint.family == IP_V4 ? BGP_SR_POLICY_V4 : BGP_SR_POLICY_V6;
        r->raw_len = bgp_sr_policy_encode(&n->policy, r->raw);
    } else {
        r->family = BGP_RTC;
        r->raw_len = bgp_rtc_encode(&n->rtc, r->raw);
    }
}

static int close_attributes(struct words *w, struct error *err)
{
    uint8_t value[2048];
    int rc = 0;
    if (w->communities_len)
        rc = put(w->route, 0xc0, BGP_EXTENDED_COMMUNITIES, w->communities, w->communities_len, err);
    if (rc == 0 && w->has_service)
        rc = put(w->route, 0xc0, BGP_PREFIX_SID, value, bgp_srv6_service_encode(&w->service, value), err);
    if (rc == 0 && w->is_policy) {
        int n = bgp_sr_policy_path_encode(&w->policy, value, sizeof value);
        rc = n < 0 ? error_set(err, EINVAL, "this policy is too long")
                   : put(w->route, 0xc0, BGP_TUNNEL_ENCAPSULATION, value, (size_t)n, err);
    }
    return rc;
}

int pe_route_parse(struct pe_route *ret, char *line, struct error *err)
{
    struct words w = {.route = ret,
        .service = {.behaviour = 64, .block_bits = 32, .node_bits = 16, .function_bits = 16},
        .policy = {.preference = 100, .priority = 128},
        .label = 0x30};
    struct named n = {0};
    char *rest, *word = strtok_r(line, " \t\r\n", &rest);
    ret->len = 0;
    snprintf(n.kind, sizeof n.kind, "%s", word ? word : "");
    w.is_policy = strcmp(n.kind, "policy") == 0;
    w.label |= strcmp(n.kind, "vpn") == 0; /* implicit null; the only one of its stack (RFC 3107, not of EVPN) */
    int rc = take_name(&n, &rest, err);
    while (rc == 0 && (word = strtok_r(NULL, " \t\r\n", &rest)) != NULL)
        rc = take_word(&w, word, err);
    if (rc)
        return rc;
    encode(ret, &n, &w);
    return close_attributes(&w, err);
}
