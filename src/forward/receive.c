#include "forward/access.h"
#include "forward/core.h"
#include "forward/crypt.h"

void forward_receive(struct forward *f, uint16_t port, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct forward_port *in = port < LANE_PORTS_MOST ? &f->ports[port] : NULL;
    f->now = now;
    if (!in || !in->port) {
        f->counts.ignored += n; /* of a port that was never added */
        for (unsigned i = 0; i < n; i++)
            f->ops.free(f->ops.user, pkts[i]);
        return;
    }
    uint64_t bytes = 0;
    in->port->rx_packets += n;
    if (in->port->config.kind == PORT_CORE)
        bytes = core_receive(f, in, pkts, n, now);
    else
        bytes = access_receive(f, in, pkts, n, now);
    in->port->rx_bytes += bytes;
    crypt_flush(f, now);
}
