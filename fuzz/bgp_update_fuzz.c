/* A peer's bytes into the decoders of wire/bgp_*: header, OPEN, UPDATE with all that reads kept attributes and routes,
 * NOTIFICATION, ROUTE-REFRESH. What decodes must encode again to what decodes the same. */
#include "wire/bgp_update.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t families[] = {
    BGP_IPV4_UNICAST, BGP_IPV6_UNICAST, BGP_VPNV4, BGP_VPNV6, BGP_EVPN, BGP_SR_POLICY_V4, BGP_SR_POLICY_V6, BGP_RTC};

static void must_at(bool holds, int line)
{
    if (holds)
        return;
    fprintf(stderr, "line %d does not hold\n", line);
    abort();
}

#define must(holds) must_at(holds, __LINE__)

/* Whatever decodes is written again and read again: the same fields. */
static void use_rt5(const struct bgp_nlri *n)
{
    struct bgp_rt5 r, again;
    uint8_t raw[64];
    if (bgp_rt5_decode(&r, n->raw, n->raw_len) == 0)
        must(bgp_rt5_decode(&again, raw, bgp_rt5_encode(&r, raw)) == 0 && memcmp(&r, &again, sizeof r) == 0);
}

static void use_vpn(uint32_t family, const struct bgp_nlri *n)
{
    struct bgp_vpn v, again;
    uint8_t raw[64];
    must(bgp_vpn_decode(&v, family, n->raw, n->raw_len) == 0);
    must(
        bgp_vpn_decode(&again, family, raw, bgp_vpn_encode(&v, family, raw)) == 0 && memcmp(&v, &again, sizeof v) == 0);
}

static void use_prefix(uint32_t family, const struct bgp_nlri *n)
{
    struct ip_prefix p, again;
    uint8_t raw[64];
    must(bgp_prefix_decode(&p, family, n->raw, n->raw_len) == 0);
    must(bgp_prefix_decode(&again, family, raw, bgp_prefix_encode(&p, raw)) == 0 && memcmp(&p, &again, sizeof p) == 0);
}

static void use_policy_key(uint32_t family, const struct bgp_nlri *n)
{
    struct bgp_sr_policy p, again;
    uint8_t raw[64];
    must(bgp_sr_policy_decode(&p, family, n->raw, n->raw_len) == 0);
    unsigned len = bgp_sr_policy_encode(&p, raw);
    must(bgp_sr_policy_decode(&again, family, raw, len) == 0 && p.distinguisher == again.distinguisher &&
         p.color == again.color && memcmp(&p.endpoint, &again.endpoint, sizeof p.endpoint) == 0);
}

static void use_rtc(const struct bgp_nlri *n)
{
    struct bgp_rtc r, again;
    uint8_t raw[64];
    must(bgp_rtc_decode(&r, n->raw, n->raw_len) == 0);
    must(bgp_rtc_decode(&again, raw, bgp_rtc_encode(&r, raw)) == 0 && r.origin_as == again.origin_as &&
         r.bits == again.bits && memcmp(r.target, again.target, 8) == 0);
}

static void use_route(uint32_t family, const struct bgp_nlri *n)
{
    switch (family) {
    case BGP_EVPN:
        use_rt5(n);
        break;
    case BGP_VPNV4:
    case BGP_VPNV6:
        use_vpn(family, n);
        break;
    case BGP_IPV4_UNICAST:
    case BGP_IPV6_UNICAST:
        use_prefix(family, n);
        break;
    case BGP_RTC:
        use_rtc(n);
        break;
    default:
        use_policy_key(family, n);
        break;
    }
}

static void use_routes(uint32_t family, const uint8_t *bytes, size_t len)
{
    struct bgp_nlri n;
    size_t at = 0;
    int rc;
    char text[256];
    while ((rc = bgp_nlri_next(family, false, bytes, len, &at, &n)) == 1 || rc == -EBADMSG) {
        if (rc != 1)
            continue;
        must(n.key_len <= BGP_NLRI_KEY_MOST);
        bgp_nlri_text(family, n.raw, n.raw_len, text, sizeof text);
        use_route(family, &n);
    }
}

static bool same_path(const struct bgp_sr_policy_path *x, const struct bgp_sr_policy_path *y)
{
    bool same = x->preference == y->preference && x->has_bsid == y->has_bsid && x->priority == y->priority &&
                x->n_lists == y->n_lists && strcmp(x->name, y->name) == 0 &&
                memcmp(&x->bsid, &y->bsid, sizeof x->bsid) == 0;
    for (int i = 0; same && i < x->n_lists; i++)
        same = x->lists[i].weight == y->lists[i].weight && x->lists[i].n_segments == y->lists[i].n_segments &&
               memcmp(x->lists[i].segments, y->lists[i].segments, 16u * x->lists[i].n_segments) == 0;
    return same;
}

static void use_attributes(const struct bgp_update *u)
{
    const struct bgp_attribute *a;
    if ((a = bgp_attribute_find(u, BGP_PREFIX_SID)) != NULL) {
        struct bgp_srv6_service s, again;
        uint8_t bytes[64];
        if (bgp_srv6_service_decode(&s, a->value, a->len, 0x30) == 0)
            must(bgp_srv6_service_decode(&again, bytes, bgp_srv6_service_encode(&s, bytes), 0x30) == 0 &&
                 memcmp(&s, &again, sizeof s) == 0);
    }
    if ((a = bgp_attribute_find(u, BGP_TUNNEL_ENCAPSULATION)) != NULL) {
        struct bgp_sr_policy_path p, again;
        uint8_t bytes[4096];
        if (bgp_sr_policy_path_decode(&p, a->value, a->len) == 0) {
            int n = bgp_sr_policy_path_encode(&p, bytes, sizeof bytes);
            must(n > 0 && bgp_sr_policy_path_decode(&again, bytes, (size_t)n) == 0);
            must(same_path(&p, &again));
        }
    }
    if ((a = bgp_attribute_find(u, BGP_EXTENDED_COMMUNITIES)) != NULL) {
        uint8_t rt[8];
        size_t at = 0;
        while (bgp_route_target_next(a->value, a->len, &at, rt) == 0)
            continue;
    }
}

static void use_update(const uint8_t *body, size_t len, bool ibgp)
{
    struct bgp_update_context where = {
        .ibgp = ibgp, .as4 = ibgp, .peer_as = 65000, .families = families, .n_families = 8};
    struct bgp_update u;
    struct bgp_notification error;
    if (bgp_update_decode(&u, body, len, &where, &error) == BGP_RESET)
        return;
    use_routes(BGP_IPV4_UNICAST, u.withdrawn, u.withdrawn_len);
    use_routes(BGP_IPV4_UNICAST, u.announced, u.announced_len);
    use_routes(u.reach_family, u.reach, u.reach_len);
    use_routes(u.unreach_family, u.unreach, u.unreach_len);
    use_attributes(&u);
}

static void use_open(const uint8_t *body, size_t len)
{
    struct bgp_open o, again;
    struct bgp_notification error;
    uint8_t bytes[1024];
    if (bgp_open_decode(&o, body, len, &error))
        return;
    int n = bgp_open_encode(&o, bytes, sizeof bytes);
    if (n > 0)
        must(bgp_open_decode(&again, bytes + BGP_HEADER, (size_t)n - BGP_HEADER, &error) == 0 &&
             memcmp(&again, &o, sizeof o) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bgp_notification error;
    uint8_t type;
    uint32_t len;
    uint32_t family;
    enum bgp_refresh_kind kind;
    char text[300];
    if (size < 1 || bgp_header_decode(data + 1, size - 1, BGP_EXTENDED_MOST, &type, &len, &error))
        return 0;
    const uint8_t *body = data + 1 + BGP_HEADER;
    len -= BGP_HEADER;
    if (type == BGP_OPEN)
        use_open(body, len);
    else if (type == BGP_UPDATE)
        use_update(body, len, data[0] & 1);
    else if (type == BGP_NOTIFICATION && bgp_notification_decode(&error, body, len) == 0)
        bgp_notification_text(&error, text, sizeof text);
    else if (type == BGP_ROUTE_REFRESH)
        bgp_refresh_decode(&family, &kind, body, len, &error);
    return 0;
}
