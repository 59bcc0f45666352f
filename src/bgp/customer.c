/* What a customer's router may say, and what it is told (RFC 4364 7): nothing that means something inside the provider's network
 * comes from it, and nothing of that kind leaves towards it. */
#include "base/bytes.h"
#include "bgp/inner.h"

/* Route targets would put it into other VPNs, a SID or a beacon make it the source of other people's. */
static bool provider_only(uint8_t type)
{
    return type == BGP_EXTENDED_COMMUNITIES || type == BGP_PREFIX_SID || type == BGP_TUNNEL_ENCAPSULATION ||
           type == BGP_XSEC_BEACON;
}

static struct bgp_attribute made(uint8_t *raw, uint8_t flags, uint8_t type, const void *value, uint8_t len)
{
    raw[0] = flags;
    raw[1] = type;
    raw[2] = len;
    memcpy(raw + 3, value, len);
    return (struct bgp_attribute){
        .flags = flags, .type = type, .value = raw + 3, .len = len, .raw = raw, .raw_len = 3u + len};
}

bool bgp_customer_said(
    struct bgp_peer *p, struct bgp_update *to, const struct bgp_update *u, struct bgp_customer_space *space)
{
    const struct bgp_customer_config *c = &p->config.customer;
    uint8_t pref[4];
    *to = *u;
    to->n_attributes = 0;
    for (int i = 0; i < u->n_attributes; i++)
        if (!provider_only(u->attributes[i].type))
            to->attributes[to->n_attributes++] = u->attributes[i];
    if (to->n_attributes < u->n_attributes)
        bgp_refused(p, BGP_REFUSED_PROVIDERS, u->reach_family ? u->reach_family : BGP_IPV4_UNICAST, NULL, 0);
    if (to->n_attributes > BGP_ATTRIBUTES_MOST - 2)
        return false;
    if (c->local_pref) {
        bytes_put_be32(pref, c->local_pref);
        to->attributes[to->n_attributes++] = made(space->pref, 0x40, BGP_LOCAL_PREF, pref, 4);
    }
    if (c->has_site)
        to->attributes[to->n_attributes++] = made(space->site, 0xc0, BGP_EXTENDED_COMMUNITIES, c->site, 8);
    return true;
}

bool bgp_customer_untold(uint8_t type)
{
    return provider_only(type);
}

/* A site that is reached over two PEs must not hear its own routes from the other one (RFC 4364 7, site of origin). */
bool bgp_customer_of_its_site(const struct bgp_peer *p, const struct bgp_attributes *a)
{
    uint16_t len = 0;
    const uint8_t *v = bgp_attributes_find(a, BGP_EXTENDED_COMMUNITIES, &len);
    for (size_t at = 0; v && p->config.customer.has_site && at + 8 <= len; at += 8)
        if (memcmp(v + at, p->config.customer.site, 8) == 0)
            return true;
    return false;
}

/* Sites of one customer that have the same AS number take each other's routes only when it is replaced by ours. */
void bgp_customer_override(const struct bgp_peer *p, uint8_t *path, size_t len)
{
    if (p->config.kind != BGP_PEER_CUSTOMER || !p->config.customer.as_override)
        return;
    for (size_t at = 0; at + 2 <= len; at += 2 + (size_t)path[at + 1] * 4)
        for (unsigned i = 0; i < path[at + 1]; i++)
            if (bytes_get_be32(path + at + 2 + 4 * i) == p->config.session.peer_as)
                bytes_put_be32(path + at + 2 + 4 * i, p->config.session.local_as);
}
