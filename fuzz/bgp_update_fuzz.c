/* A peer's bytes into the decoders of wire/bgp_*: header, OPEN, UPDATE with all that reads kept attributes and routes,
 * NOTIFICATION, ROUTE-REFRESH. What decodes must encode again to what decodes the same. */
#include "wire/bgp_update.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t families[] = {
    BGP_IPV4_UNICAST, BGP_IPV6_UNICAST, BGP_VPNV4, BGP_VPNV6, BGP_EVPN, BGP_SR_POLICY_V4, BGP_SR_POLICY_V6, BGP_RTC};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void use_rt5(const struct bgp_nlri *n)
{
    struct bgp_rt5 r, again;
    uint8_t raw[64];
    if (bgp_rt5_decode(&r, n->raw, n->raw_len))
        return;
    unsigned len = bgp_rt5_encode(&r, raw);
    must(bgp_rt5_decode(&again, raw, len) == 0 && memcmp(&r, &again, sizeof r) == 0);
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
        if (family == BGP_EVPN)
            use_rt5(&n);
    }
}

static void use_attributes(const struct bgp_update *u)
{
    const struct bgp_attribute *a;
    if ((a = bgp_attribute_find(u, BGP_PREFIX_SID)) != NULL) {
        struct bgp_srv6_service s;
        bgp_srv6_service_decode(&s, a->value, a->len, 0x30);
    }
    if ((a = bgp_attribute_find(u, BGP_TUNNEL_ENCAPSULATION)) != NULL) {
        struct bgp_sr_policy_path p, again;
        uint8_t bytes[4096];
        if (bgp_sr_policy_path_decode(&p, a->value, a->len) == 0) {
            int n = bgp_sr_policy_path_encode(&p, bytes, sizeof bytes);
            must(n > 0 && bgp_sr_policy_path_decode(&again, bytes, (size_t)n) == 0 && again.n_lists == p.n_lists);
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
        must(bgp_open_decode(&again, bytes + BGP_HEADER, (size_t)n - BGP_HEADER, &error) == 0 && again.as == o.as &&
             again.n_families == o.n_families);
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
