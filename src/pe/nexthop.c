/* How far a next hop is: the longest route of the underlay that leads to it, in routers on the way. Asked by BGP for every path
 * that it compares, so answers are remembered until the underlay changes. */
#include "pe/inner.h"

#include "base/bytes.h"
#include "base/rng.h"

static bool is_link_local(const struct ip6 *a)
{
    return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static uint32_t look_up(const struct pe *pe, const struct ip6 *a)
{
    uint32_t metric = 0;
    if (is_link_local(a)) /* of the underlay's own sessions, which end with their link */
        return 0;
    if (ip6_equal(a, &pe->config.loopback))
        return 0;
    return underlay_port(pe, a, &metric) < 0 ? UINT32_MAX : metric;
}

uint32_t nexthop_metric(void *user, const struct ip6 *a)
{
    struct pe *pe = user;
    uint64_t mixed = rng_mix(bytes_get_be64(a->b) ^ rng_mix(bytes_get_be64(a->b + 8)));
    struct hop_distance *h = &pe->hops[mixed % PE_HOPS];
    if (h->version != pe->underlay_version || !ip6_equal(&h->address, a))
        *h = (struct hop_distance){*a, pe->underlay_version, look_up(pe, a)};
    return h->metric;
}

void nexthop_changed(struct pe *pe)
{
    pe->underlay_version++;
}
