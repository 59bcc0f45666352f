/* A packet on the core links of this router, from its hop-by-hop options to where it leaves. */
#ifndef MERIDIAN_FORWARD_CORE_H
#define MERIDIAN_FORWARD_CORE_H

#include "forward/forward_inner.h"

struct walk {
    struct rte_mbuf *m;
    struct packet_meta *meta;
    uint8_t *ip;      /* the outer header; what of it is there: `there` bytes */
    uint32_t there;   /* bytes from ip on within data_len */
    uint32_t size;    /* of the IP packet */
    uint16_t next_at; /* offset from ip of the byte that names the header at `at` */
    uint16_t at;      /* offset from ip of the first header behind the hop-by-hop options that is not dealt with yet */
    uint8_t proto;    /* of it */
    bool hop_counted; /* the hop limit has been lowered here */
    struct prefix_key da; /* the destination address as it is now */
    struct hbh hbh;
    struct lane_rx *rx; /* NULL: without a lane */
    int64_t now;
};

/* n frames of a core port; takes ownership. Returns their bytes. */
uint64_t core_receive(struct forward *, struct forward_port *, struct rte_mbuf *const *pkts, unsigned n, int64_t now);
/* An IPv6 packet of the underlay that came out of a tunnel or is our own: data begins at the Ethernet header's place
 * (14 bytes that will be written), in_port of its meta is set or LANE_PORTS_MOST. Takes ownership. */
void core_inject(struct forward *, struct rte_mbuf *, bool ours, int64_t now);

enum sid_step {
    SID_LOOK_UP, /* its destination address has changed */
    SID_LEAVE,   /* by the hop's port */
    SID_GONE,    /* kept, dropped or delivered */
};
enum sid_step sid_run(struct forward *, struct walk *, const struct hop *);

void walk_drop(struct forward *, const struct walk *, enum loss_reason, uint16_t port);

#endif
