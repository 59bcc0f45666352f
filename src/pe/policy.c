/* SR Policies become paths and slices. */
#include "pe/inner.h"

void policy_take(void *user, const struct bgp_sr_policy *key, const struct bgp_sr_policy_path *p, bool withdrawn) {}

uint32_t policy_path(struct pe *pe, struct vrf *v, enum lane_class c, const struct vpn *route)
{
    return 0;
}

void policy_vrf_gone(struct pe *pe, struct vrf *v) {}

int64_t policy_poll(struct pe *pe)
{
    return INT64_MAX;
}

void policy_done(struct pe *pe) {}

void pe_slice_moved(
    struct pe *pe, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid, uint32_t path, int64_t now)
{
}
