/* 1+1 at the egress: streams that arrive over two lanes and leave as one, each packet once and in order (lane/duplicate.h; the
 * ingress is forward/protect.h).
 *
 * A stream is known by the router where its lanes begin, tenant, class and service SID; all of these are the lane's own words,
 * agreed hop by hop, and none of the packet's. There are so many streams at most, each with memory of its own from the
 * start. A packet that is held keeps its lane's cells; why that cannot block anybody for ever is written in docs/lanes.md. */
#ifndef MERIDIAN_FORWARD_STREAM_H
#define MERIDIAN_FORWARD_STREAM_H

#include "forward/core.h"

struct streams;

int streams_create(struct streams **ret, const struct forward_stream_config *, struct error *);
/* What is held is freed, and the queues towards hosts are emptied: while the lanes are still there. */
void streams_free(struct forward *);

/* A packet with a Destination Options header at w->at, whose last SID is h: End.DT*. Takes ownership. */
void stream_receive(struct forward *, struct walk *, const struct hop *h);
/* The queue at access port `out` for a packet of a stream; NULL: the stream is gone, or no queue is left. */
struct queue *stream_queue(struct forward *, const struct packet_meta *, uint16_t out);
int64_t stream_poll(struct forward *, int64_t now);

/* decap.c: what an End.DT* does with a packet whose turn it is. Takes ownership. */
void decap_open(struct forward *, struct walk *, const struct hop *);

#endif
