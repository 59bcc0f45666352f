/* Between the two halves of TCP. Internal. */
#ifndef MERIDIAN_SIM_STREAM_TCP_H
#define MERIDIAN_SIM_STREAM_TCP_H

#include "sim/stream.h"

#define TCP_WINDOW_SHIFT 10 /* windows travel in units of 1 KiB (a note has 29 bits for them) */

enum { TCP_FLAG_ACK = 0x10, TCP_FLAG_ECE = 0x40, TCP_FLAG_CWR = 0x80 };

void tcp_sink_init(struct stream *s);
uint64_t tcp_room(const struct stream *s); /* the receiver's buffer */
void tcp_on_ack_timer(struct event_source *e, int64_t now);
void tcp_acknowledged(struct stream *s, const struct slab_note *n, int64_t now);

#endif
