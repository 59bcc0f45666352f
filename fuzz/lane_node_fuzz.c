/* A neighbour that has our key and means ill: a node in the middle of two, with a lane through it, is sent frames whose bodies
 * come from the input, sealed as they should be (or raw), data packets with any option, and time. Whatever comes, what must
 * hold of a node (lane_check_packets) holds after each.
 *
 * Input: records of {kind, port, length, bytes}. kind: 1…12 a control frame of that type, 0 a raw frame, 13 a data packet with
 * the option in bytes, else time. */
#include "lane/lane_inner.h"
#include "lane/testing_link.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct testing_net *middle(void)
{
    static const struct port_config core = {.rate_bps = 1000000000, .mtu = 1500, .pool_cells = 256, .link_window = 512};
    static const struct testing_flow flow = {
        .node = 1, .path = {2, 3}, .class_ = LANE_BULK, .size = 1514, .backlog = 4, .window_least = 8};
    struct lane_node_config c = {.lanes_most = 8, .history_packets = 64, .watchdog_ns = 50 * NS_PER_MS};
    testing_net_mbufs = 512;
    struct testing_net *net = testing_chain(1, 3, &c, 20 * NS_PER_US, &core);
    testing_flow_add(net, &flow);
    net->check_every = 100000;
    testing_net_complete(net, NS_PER_S);
    testing_net_run(net, NS_PER_MS);
    return net;
}

static void data_packet(struct testing_net *net, uint16_t port, const uint8_t option[8])
{
    int reason;
    struct rte_mbuf *m = testing_mbuf_sized(net->slab, 1514);
    struct lane_rx *r = lane_receive(net->node[2].lanes, port, option, 1, net->now, &reason);
    if (r && r->next) {
        packet_meta(m)->from = r;
        packet_meta(m)->lane_option = ETHER_SIZE;
        port_enqueue(r->next->queue.port, &r->next->queue, m, net->now);
        return;
    }
    struct queue *q = r ? lane_egress_queue(net->node[2].lanes, r, TESTING_HOST_PORT) : NULL;
    if (q) {
        packet_meta(m)->from = r;
        port_enqueue(q->port, q, m, net->now);
        return;
    }
    if (r)
        lane_discard(r, 1);
    testing_mbuf_free(net->slab, m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct testing_net *net = middle();
    for (unsigned i = 0; size >= 3 && i < 64; i++) {
        uint8_t kind = data[0] % 16, port = data[1] & 1;
        uint32_t len = data[2];
        data += 3;
        size -= 3;
        len = len < size ? len : (uint32_t)size;
        if (kind == 0)
            lane_frame(net->node[2].lanes, port, data, len, net->now);
        else if (kind < LANE_TYPE_END)
            testing_inject(net, 2, port, kind, data, len);
        else if (kind == 13 && len >= 8)
            data_packet(net, port, data);
        else
            net->now += (int64_t)len * len * 1000;
        testing_node_alone(net, 2, 1000);
        data += len;
        size -= len;
    }
    testing_net_free(net);
    return 0;
}
