/* The bytes of TCP connections in a capture, in the order in which they were sent.
 *
 * Reads classic pcap (either byte order, microseconds or nanoseconds) of Ethernet, raw IP or "any"; IPv4 and IPv6. Segments
 * that were repeated are given once, segments that came early wait for those before them. */
#ifndef MERIDIAN_LEAK_TCP_STREAMS_H
#define MERIDIAN_LEAK_TCP_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TCP_CLIENT, TCP_SERVER }; /* directions: who sent it */

struct tcp_sink {
    void *(*open)(void *user, unsigned number); /* a connection; its result goes to data */
    void (*data)(void *connection, int direction, const uint8_t *bytes, size_t len);
};

struct tcp_counts {
    uint64_t packets, payload; /* payload: bytes of TCP to or from the port, each once */
    uint64_t repeated;         /* bytes seen again */
    uint64_t missing;          /* bytes that never came but were followed by others: the capture lost them */
    uint64_t unordered;        /* bytes after such a hole: not given to the sink */
    uint64_t cut;              /* bytes of packets that the capture did not keep whole */
    uint64_t headless;         /* bytes of connections whose beginning is not in the capture */
    unsigned connections;
};

/* 0, or -1 with a sentence on stderr. `port` is the server's. */
int tcp_streams_read(const char *path, uint16_t port, const struct tcp_sink *sink, void *user, struct tcp_counts *ret);

#endif
