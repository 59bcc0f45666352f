#include "forward/encap.h"
#include "forward/dscp.h"
#include "forward/mtu.h"
#include "forward/path.h"
#include "forward/protect.h"
#include "forward/vrf.h"
#include "wire/ip_text.h"
#include "wire/sequence.h"
#include "wire/srh.h"

#include <errno.h>
#include <stdlib.h>

#define OUTER_HOP_LIMIT 64u

/* --- the header ------------------------------------------------------------------------------------------- */

/* Addresses in the order of travel: containers, or the SIDs themselves. 0: more than fit. */
static unsigned segments(const struct forward *f, const struct forward_path *p, const struct ip6 *service_sid,
    struct ip6 ret[SRH_SEGMENTS_MOST])
{
    struct ip6 sids[LANE_SIDS_MOST + 1];
    unsigned n = 0;
    while (p && n < p->n_sids) {
        sids[n] = p->sids[n];
        n++;
    }
    sids[n++] = *service_sid;
    if (f->block_bits && !(p && p->full_sids)) {
        int packed = csid_pack(ret, SRH_SEGMENTS_MOST, sids, n, f->block_bits);
        return packed > 0 ? (unsigned)packed : 0;
    }
    if (n > SRH_SEGMENTS_MOST)
        return 0;
    memcpy(ret, sids, n * sizeof *sids);
    return n;
}

unsigned encap_addresses(const struct forward *f, const struct forward_path *p, const struct ip6 *service_sid)
{
    struct ip6 ways[SRH_SEGMENTS_MOST], longest = {{0}};
    if (!service_sid) {
        if (p->n_sids)
            memcpy(longest.b, p->sids[p->n_sids - 1].b, 16);
        memset(longest.b + f->block_bits / 8, 0xff, 4);
        memset(longest.b + f->block_bits / 8 + 4, 0, 12 - f->block_bits / 8);
        service_sid = &longest;
    }
    return segments(f, p, service_sid, ways);
}

unsigned encap_size(const struct forward *f, const struct forward_path *p, const struct ip6 *service_sid)
{
    unsigned n = encap_addresses(f, p, service_sid);
    unsigned size = IP6_SIZE + HBH_SIZE + (n ? (unsigned)srh_size(n) : 0);
    return n && size <= ENCAP_MOST ? size : 0;
}

static uint32_t flow_label(const struct forward *f, const struct encap *e)
{
    uint64_t a, b;
    memcpy(&a, e->service_sid.b, 8);
    memcpy(&b, e->service_sid.b + 8, 8);
    uint64_t h = rng_mix(a ^ rng_mix(b ^ rng_mix((uint64_t)e->tenant << 32 | e->path) ^ e->class_));
    uint32_t label = (uint32_t)(rng_mix(h ^ f->config.lanes.router_id) & 0xfffff);
    return label ? label : 1;
}

/* The last header: Destination Options with the number of a 1+1 stream. */
static void add_sequence(const struct forward *f, struct encap *e)
{
    e->bytes[e->next_at] = IP_PROTO_DSTOPTS;
    sequence_encode(e->bytes + e->size, IP_PROTO_NONE, f->config.option_sequence, e->protect->epoch, 0);
    e->next_at = e->size;
    e->number_at = (uint16_t)(e->size + SEQUENCE_NUMBER_AT);
    e->size = (uint16_t)(e->size + SEQUENCE_SIZE);
}

/* Writes the headers anew. They fit: that was checked when the path was chosen. */
static void write_headers(struct forward *f, struct encap *e, const struct forward_path *p)
{
    struct ip6 ways[SRH_SEGMENTS_MOST] = {0};
    unsigned n = segments(f, p, &e->service_sid, ways);
    struct hbh h = {
        .has = HBH_HAS_MARK | HBH_HAS_NR | (e->lane ? HBH_HAS_LANE : 0),
        .next = n > 1 ? IP_PROTO_ROUTING : 0,
        .flow_mon_id = e->flow_mon_id,
        .slice = e->tenant,
    };
    uint8_t *b = e->bytes;
    memset(b, 0, sizeof e->bytes);
    bytes_put_be32(b, 6u << 28 | (uint32_t)dscp_of_class((enum lane_class)e->class_) << 22 | flow_label(f, e));
    b[IP6_NEXT] = IP_PROTO_HOPOPT;
    b[IP6_HOPS] = OUTER_HOP_LIMIT;
    memcpy(b + IP6_SRC, f->config.loopback.b, 16);
    memcpy(b + IP6_DST, ways[0].b, 16);
    unsigned at = IP6_SIZE + (unsigned)hbh_encode(b + IP6_SIZE, &h, &f->option_types);
    e->next_at = n > 1 ? (uint16_t)(at + SRH_NEXT) : IP6_SIZE;
    e->mark_at = IP6_SIZE + HBH_MARK_AT;
    e->lane_at = e->lane ? IP6_SIZE + HBH_LANE_AT : 0;
    e->size = (uint16_t)(at + srh_encode(b + at, IP_PROTO_NONE, ways, n));
    e->number_at = 0;
    if (e->protect)
        add_sequence(f, e);
}

/* Where it leaves, and what fits. */
static void aim(struct forward *f, struct encap *e, const struct forward_path *p)
{
    struct ip6 da;
    memcpy(da.b, e->bytes + IP6_DST, 16);
    const struct hop *h = p ? NULL : underlay_find(f, prefix_key_of(&da));
    e->made_at = f->underlay_version;
    e->ready = p || (h && h->kind == ROUTE_ADJACENT);
    e->inner_most = e->sealed_most = 0;
    if (!e->ready)
        return;
    e->out_port = p ? p->out_port : h->port;
    uint32_t mtu = p && p->mtu ? p->mtu : f->ports[e->out_port].port->config.mtu;
    e->inner_most = mtu > e->size ? mtu - e->size : 0;
    e->sealed_most = mtu_sealed(e->inner_most);
}

static void make(struct forward *f, struct encap *e)
{
    const struct path *p = e->path ? path_find(f, e->path) : NULL;
    write_headers(f, e, p ? &p->config : NULL);
    aim(f, e, p ? &p->config : NULL);
}

void encap_refresh(struct forward *f, struct encap *e)
{
    const struct path *p = e->path ? path_find(f, e->path) : NULL;
    aim(f, e, p ? &p->config : NULL);
}

void encap_lane_set(struct forward *f, struct encap *e, struct lane_tx *lane)
{
    e->lane = lane;
    make(f, e);
}

/* --- the list of them ------------------------------------------------------------------------------------- */

/* One FlowMonID per (tenant, class, service SID), whatever the path: so that a moved flow is the same flow. Twelve bits of
 * our own behind eight of the router's id keep the routers of a network apart. */
static bool flow_mon_taken(const struct forward *f, uint32_t id)
{
    for (const struct encap *e = f->encaps; e; e = e->next)
        if (e->flow_mon_id == id)
            return true;
    return false;
}

static uint32_t flow_mon_id(struct forward *f, const struct encap_key *k)
{
    for (const struct encap *e = f->encaps; e; e = e->next)
        if (e->tenant == k->tenant && e->class_ == k->class_ && ip6_equal(&e->service_sid, &k->service_sid))
            return e->flow_mon_id;
    uint32_t id = 0;
    for (unsigned tries = 0; tries < 4096; tries++) { /* when all are taken, flows are counted together */
        f->flow_mon_next = f->flow_mon_next % 4095 + 1;
        id = (uint32_t)(f->config.lanes.router_id & 0xff) << 12 | f->flow_mon_next;
        if (!flow_mon_taken(f, id))
            break;
    }
    return id;
}

static struct encap *find(const struct forward *f, const struct encap_key *k)
{
    for (struct encap *e = f->encaps; e; e = e->next)
        if (e->tenant == k->tenant && e->path == k->path && e->class_ == k->class_ &&
            ip6_equal(&e->service_sid, &k->service_sid))
            return e;
    return NULL;
}

static int too_long(struct error *err, uint32_t path, const struct ip6 *service_sid)
{
    char text[IP_TEXT_SIZE];
    return error_set(err, E2BIG, "path %u to %s needs more than the %u bytes of outer headers that fit", path,
        ip6_print(text, service_sid), ENCAP_MOST);
}

int encap_get(struct forward *f, const struct encap_key *k, struct encap **ret, struct error *err)
{
    struct encap *e = find(f, k);
    if (e) {
        e->users++;
        *ret = e;
        return 0;
    }
    const struct path *p = k->path ? path_find(f, k->path) : NULL;
    if (k->path && !p)
        return error_set(err, ENOENT, "there is no path %u", k->path);
    if (!encap_size(f, p ? &p->config : NULL, &k->service_sid))
        return too_long(err, k->path, &k->service_sid);
    e = aligned_alloc(64, (sizeof *e + 63) / 64 * 64);
    if (!e)
        return error_set(err, ENOMEM, "no memory for the headers of path %u", k->path);
    *e = (struct encap){
        .class_ = k->class_,
        .flow_mon_id = flow_mon_id(f, k),
        .tenant = k->tenant,
        .path = k->path,
        .service_sid = k->service_sid,
        .users = 1,
        .next = f->encaps,
    };
    f->encaps = e;
    make(f, e);
    *ret = e;
    return 0;
}

void encap_put(struct forward *f, struct encap *e)
{
    if (!e || --e->users)
        return;
    struct encap **at = &f->encaps;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    free(e);
}

int encap_path_check(struct forward *f, const struct forward_path *p, struct error *err)
{
    for (const struct encap *e = f->encaps; e; e = e->next)
        if (e->path == p->id && !encap_size(f, p, &e->service_sid))
            return too_long(err, p->id, &e->service_sid);
    return 0;
}

void encap_path_changed(struct forward *f, uint32_t path)
{
    for (struct encap *e = f->encaps; e; e = e->next)
        if (e->path == path)
            make(f, e);
}
