/* Services that a PE has signed (xSEC's beacons carry its SID): in an encrypted VPN they stand in the place of what the route says,
 * so that a reflector which strips or changes Prefix-SID hinders nothing and leads nobody astray. */
#include "pe/inner.h"

#include <stdlib.h>

struct signed_service {
    struct ip6 peer, sid;
};

static struct signed_service *find(const struct vrf *v, const struct ip6 *peer)
{
    for (unsigned i = 0; i < v->n_signed; i++)
        if (ip6_equal(&v->signed_services[i].peer, peer))
            return &v->signed_services[i];
    return NULL;
}

const struct ip6 *signed_service(const struct vrf *v, const struct ip6 *peer)
{
    const struct signed_service *s = v->config.encrypted ? find(v, peer) : NULL;
    return s ? &s->sid : NULL;
}

static bool add(struct vrf *v, const struct ip6 *peer, const struct ip6 *sid)
{
    if (v->n_signed == v->signed_room) {
        unsigned room = v->signed_room ? 2 * v->signed_room : 16;
        struct signed_service *more = realloc(v->signed_services, room * sizeof *more);
        if (!more)
            return false;
        v->signed_services = more;
        v->signed_room = room;
    }
    v->signed_services[v->n_signed++] = (struct signed_service){*peer, *sid};
    return true;
}

void pe_service_signed(struct pe *pe, uint32_t vrf, const struct ip6 *peer, const struct ip6 *sid, int64_t now)
{
    struct vrf *v = vrf_of(pe, vrf);
    struct signed_service *s = v ? find(v, peer) : NULL;
    pe->now = now;
    if (!v || (!s && !sid) || (s && sid && ip6_equal(&s->sid, sid)))
        return;
    if (!sid)
        *s = v->signed_services[--v->n_signed];
    else if (s)
        s->sid = *sid;
    else if (!add(v, peer, sid))
        pe_log(pe, true, "not enough memory for a signed service");
    vpn_signed(pe, v, peer);
}

void signed_done(struct vrf *v)
{
    free(v->signed_services);
    v->signed_services = NULL;
    v->n_signed = v->signed_room = 0;
}
