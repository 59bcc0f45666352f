/* Ports without lanes, for tests of forwarding alone: every lane is refused, every packet that claims to be in one is dropped.
 * Goes away when lane/lane.h is implemented. */
#include "lane/lane.h"

#include <errno.h>
#include <stdlib.h>

struct lane_node {
    struct lane_above above;
    struct port_set set;
    struct loss_log loss;
    struct port *ports[LANE_PORTS_MOST];
};

int lane_node_create(
    struct lane_node **ret, const struct lane_node_config *c, const struct lane_above *above, struct error *err)
{
    struct lane_node *n = calloc(1, sizeof *n);
    if (!n)
        return error_set(err, ENOMEM, "no memory");
    n->above = *above;
    n->set = (struct port_set){.above = &n->above, .loss = &n->loss, .mode = (uint8_t)c->mode};
    *ret = n;
    return 0;
}

void lane_node_free(struct lane_node *n)
{
    for (unsigned i = 0; n && i < LANE_PORTS_MOST; i++)
        if (n->ports[i]) {
            port_done(n->ports[i]);
            free(n->ports[i]);
        }
    free(n);
}

int lane_port_add(struct lane_node *n, uint16_t i, const struct port_config *c, struct error *err)
{
    n->ports[i] = calloc(1, sizeof(struct port));
    if (!n->ports[i])
        return error_set(err, ENOMEM, "no memory");
    port_init(n->ports[i], &n->set, n, i, c, 0);
    n->ports[i]->up = true;
    return 0;
}

struct port *lane_port(struct lane_node *n, uint16_t i)
{
    return n->ports[i];
}

struct loss_log *lane_loss(struct lane_node *n)
{
    return &n->loss;
}

uint64_t lane_ready_ports(const struct lane_node *n)
{
    return n->set.ready;
}

int lane_open(struct lane_node *n, const struct lane_spec *s, int64_t now, struct lane_tx **ret, struct error *err)
{
    return error_set(err, ENOSYS, "no lanes here");
}

void lane_close(struct lane_node *n, struct lane_tx *t, bool drain, int64_t now) {}

int lane_move(struct lane_node *n, struct lane_tx *old, const struct lane_spec *s, int64_t now, struct lane_tx **ret,
    struct error *err)
{
    return error_set(err, ENOSYS, "no lanes here");
}

struct lane_rx *lane_receive(
    struct lane_node *n, uint16_t port, const uint8_t option[8], uint32_t cells, int64_t now, int *ret_reason)
{
    *ret_reason = LOSS_UNKNOWN_LANE;
    loss_record(&n->loss,
        &(struct loss_record){.at_ns = now, .cells = cells, .packets = 1, .port = port, .reason = LOSS_UNKNOWN_LANE});
    return NULL;
}

void lane_discard(struct lane_rx *r, uint32_t cells) {}

void lane_marker(struct lane_node *n, struct lane_rx *r, int64_t now) {}

void lane_frame(struct lane_node *n, uint16_t port, const uint8_t *bytes, uint32_t len, int64_t now) {}

struct queue *lane_egress_queue(struct lane_node *n, struct lane_rx *r, uint16_t out)
{
    return NULL;
}

int64_t lane_poll(struct lane_node *n, int64_t now)
{
    return INT64_MAX;
}

void lane_link_down(struct lane_node *n, uint16_t port, int64_t now) {}
