#include "forward/forward.h"
#include "forward/access.h"
#include "forward/crypt.h"
#include "forward/encap.h"
#include "forward/hop.h"
#include "forward/local.h"
#include "forward/path.h"
#include "forward/protect.h"
#include "forward/sid.h"
#include "forward/slice.h"
#include "forward/stream.h"
#include "forward/vrf.h"
#include "wire/sequence.h"

#include <errno.h>
#include <stdlib.h>

#define ROUTES_MOST     65536u
#define NEIGHBOURS_MOST 16384u
#define VRFS_MOST       1024u
#define SAS_MOST        65536u

/* --- what the lane layer asks ---------------------------------------------------------------------------- */

static struct rte_mbuf *lane_alloc(void *user)
{
    struct forward *f = user;
    return f->ops.alloc(f->ops.user);
}

static void lane_free(void *user, struct rte_mbuf *m)
{
    struct forward *f = user;
    f->ops.free(f->ops.user, m);
}

static int lane_resolve(void *user, const struct ip6 *sids, unsigned n, unsigned at, struct lane_hop *ret)
{
    return sid_resolve(user, sids, n, at, ret);
}

static void lane_event(void *user, const struct lane_event *e)
{
    struct forward *f = user;
    slice_event(f, e);
    if (f->ops.lane_event)
        f->ops.lane_event(f->ops.user, e);
}

static uint64_t lane_random(void *user)
{
    struct forward *f = user;
    return f->ops.random(f->ops.user);
}

static struct rte_mbuf *lane_marker_make(void *user, struct lane_tx *t)
{
    return slice_marker(user, t);
}

/* --- life ------------------------------------------------------------------------------------------------- */

static void defaults(struct forward_config *c)
{
    if (!c->routes_most)
        c->routes_most = ROUTES_MOST;
    if (!c->neighbours_most)
        c->neighbours_most = NEIGHBOURS_MOST;
    if (!c->vrfs_most)
        c->vrfs_most = VRFS_MOST;
    if (!c->sas_most)
        c->sas_most = SAS_MOST;
    if (!c->option_nr)
        c->option_nr = HBH_NR_DEFAULT;
    if (!c->option_lane)
        c->option_lane = HBH_LANE_DEFAULT;
    if (!c->option_sequence)
        c->option_sequence = SEQUENCE_DEFAULT;
}

static int check(const struct forward_config *c, const struct forward_ops *ops, struct error *err)
{
    if (!ops->alloc || !ops->free || !ops->punt || !ops->random)
        return error_set(err, EINVAL, "forwarding needs alloc, free, punt and random");
    if (c->locator_block_bits != 0 && c->locator_block_bits != 32 && c->locator_block_bits != 48)
        return error_set(err, EINVAL, "a locator block of %u bits: only 32 and 48 are known", c->locator_block_bits);
    if (c->option_nr == c->option_lane)
        return error_set(err, EINVAL, "the NR and the lane option cannot both be 0x%02x", c->option_nr);
    return 0;
}

static int make_neighbours(struct forward *f)
{
    struct neighbour_config c = {f->config.neighbours_most, ACCESSES_MOST, f->ops.random(f->ops.user)};
    struct neighbour_ops ops;
    local_neighbour_ops(&ops, f);
    return neighbour_create(&f->neighbours, &c, &ops);
}

/* All that is allocated once. */
static int make_tables(struct forward *f, struct error *err)
{
    int rc = -ENOMEM;
    f->vrfs = calloc(f->config.vrfs_most, sizeof(struct vrf *));
    f->access = calloc(ACCESSES_MOST, sizeof *f->access);
    if (!f->vrfs || !f->access)
        return error_set(err, ENOMEM, "no memory for the forwarding tables");
    rc = marking_create(&f->marking, &f->config.marking);
    if (!rc)
        rc = elephant_create(&f->elephants, &f->config.elephants);
    if (!rc)
        rc = make_neighbours(f);
    if (!rc && (rc = streams_create(&f->streams, &f->config.streams, err)))
        return rc;
    if (rc)
        return error_set(err, -rc, "the tables of marking, elephants or neighbours cannot be made");
    return forward_vrf_add(f, 0, 0, err);
}

int forward_create(
    struct forward **ret, const struct forward_config *config, const struct forward_ops *ops, struct error *err)
{
    struct forward *f = aligned_alloc(64, (sizeof *f + 63) / 64 * 64);
    if (!f)
        return error_set(err, ENOMEM, "no memory for a forwarding core");
    memset(f, 0, sizeof *f);
    f->config = *config;
    f->ops = *ops;
    f->underlay_version = f->sas_version = 1;
    defaults(&f->config);
    f->block_bits = f->config.locator_block_bits;
    f->option_types = (struct hbh_types){f->config.option_nr, f->config.option_lane};
    for (unsigned i = 0; i < LANE_PORTS_MOST; i++)
        f->ports[i].index = (uint16_t)i;
    icmp_limit_init(&f->icmp, 0, 0);
    struct lane_above above = {f, lane_alloc, lane_free, lane_resolve, lane_event, lane_random, lane_marker_make};
    int rc = check(&f->config, ops, err);
    if (!rc)
        rc = make_tables(f, err);
    if (!rc)
        rc = lane_node_create(&f->lanes, &f->config.lanes, &above, err);
    if (rc) {
        forward_free(f);
        return rc;
    }
    f->loss = lane_loss(f->lanes);
    *ret = f;
    return 0;
}

void forward_free(struct forward *f)
{
    if (!f)
        return;
    neighbour_free(f->neighbours); /* what waits in it is dropped at a port: before they go */
    streams_free(f);
    slice_free_all(f);
    if (f->vrfs)
        vrf_free_all(f);
    path_free_all(f);
    lane_node_free(f->lanes);
    hop_table_done(&f->hops);
    marking_free(f->marking);
    elephant_free(f->elephants);
    esp_free(f->esp);
    for (unsigned i = 0; i < LANE_PORTS_MOST; i++)
        free(f->ports[i].access_of);
    free(f->access);
    free(f);
}

/* --- ports ------------------------------------------------------------------------------------------------ */

int forward_port_add(struct forward *f, uint16_t port, const struct port_config *config, struct error *err)
{
    if (port >= LANE_PORTS_MOST)
        return error_set(err, EINVAL, "port %u: ports are numbered below %u", port, LANE_PORTS_MOST);
    struct forward_port *p = &f->ports[port];
    if (p->port)
        return error_set(err, EEXIST, "port %u is there already", port);
    if (config->mtu < 1280 || config->mtu > 65535 - ENCAP_MOST)
        return error_set(err, EINVAL, "port %u: an MTU of %u cannot be used (IPv6 needs 1280)", port, config->mtu);
    uint16_t *access_of = NULL;
    if (config->kind == PORT_ACCESS && !(access_of = calloc(VLANS, sizeof *access_of)))
        return error_set(err, ENOMEM, "no memory for port %u", port);
    int rc = lane_port_add(f->lanes, port, config, err);
    if (rc) {
        free(access_of);
        return rc;
    }
    p->access_of = access_of;
    p->port = lane_port(f->lanes, port);
    f->underlay_version++;
    return 0;
}

uint64_t forward_ready_ports(const struct forward *f)
{
    return lane_ready_ports(f->lanes);
}

unsigned forward_transmit(struct forward *f, uint16_t port, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    struct port *p = port < LANE_PORTS_MOST ? f->ports[port].port : NULL;
    return p ? port_dequeue(p, ret, most, now) : 0;
}

void forward_sent(struct forward *f, uint16_t port, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    port_sent(f->ports[port].port, pkts, n, now);
}

int64_t forward_port_next(const struct forward *f, uint16_t port, int64_t now)
{
    const struct port *p = port < LANE_PORTS_MOST ? f->ports[port].port : NULL;
    return p ? port_next(p, now) : INT64_MAX;
}

void forward_link_down(struct forward *f, uint16_t port, int64_t now)
{
    f->now = now;
    if (port < LANE_PORTS_MOST && f->ports[port].port)
        lane_link_down(f->lanes, port, now);
}

/* --- time, and what is inside --------------------------------------------------------------------------------- */

int64_t forward_poll(struct forward *f, int64_t now)
{
    f->now = now;
    int64_t streams = stream_poll(f, now), protects = protect_poll(f, now);
    crypt_flush(f, now); /* before a lane can end */
    int64_t lanes = lane_poll(f->lanes, now), neighbours = neighbour_poll(f->neighbours, now);
    crypt_flush(f, now);
    streams = streams < protects ? streams : protects;
    lanes = lanes < neighbours ? lanes : neighbours;
    return lanes < streams ? lanes : streams;
}

struct forward_counts forward_counts(const struct forward *f)
{
    return f->counts;
}

void forward_awake(struct forward *f, int64_t now)
{
    lane_awake(f->lanes, now);
}

struct lane_node *forward_lanes(struct forward *f)
{
    return f->lanes;
}

struct marking_table *forward_marking(struct forward *f)
{
    return f->marking;
}

struct elephant_table *forward_elephants(struct forward *f)
{
    return f->elephants;
}

struct loss_log *forward_loss(struct forward *f)
{
    return f->loss;
}
