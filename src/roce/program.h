/* `meridian roce`: a RoCE host on a Linux interface: the core of roce_host.h between real packets and a real clock. */
#ifndef MERIDIAN_ROCE_PROGRAM_H
#define MERIDIAN_ROCE_PROGRAM_H

#include "os/progress.h"
#include "roce/roce_host.h"

struct roce_program_config {
    const char *interface;       /* NULL: from the route to the peer, or the only one */
    struct ip_prefix own;        /* a host of its own: address and subnet that the kernel does not have; family 0: no */
    struct ip_addr gateway;      /* with `own`: for what is not in its subnet; family 0: none */
    uint16_t vlan;               /* frames carry this tag and the packet's priority; 0: untagged */
    uint64_t line_bps;           /* what PFC's times are counted in; 0: as the driver says, else 10 Gbit/s */
    bool ignore_pfc;             /* nor is it spoken */
    const volatile int *stalled; /* not 0: takes and sends nothing, and pauses its peers by PFC; NULL: never */
    bool send;                   /* flows go to flow.peer; otherwise only what peers write is taken */
    struct roce_flow flow;       /* mtu 0: the largest that the interface takes */
    uint32_t flows;              /* queue pairs */
    struct roce_host_config host; /* addresses and line are filled in */
    int64_t duration_ns; /* of sending (then what is begun is finished), or of receiving; 0: until interrupted */
    const volatile int *interrupted;
    enum progress_mode progress;
};

#define ROCE_SOURCES 64u

/* What came from one peer with one DSCP. */
struct roce_source {
    struct ip_addr peer;
    uint8_t dscp;
    uint64_t packets, payload;             /* all packets; payload taken in order */
    int64_t first_ns, last_ns, silence_ns; /* of deliveries in order; longest time between two */
    struct quantile one_way;               /* packets that carry our stamp; means something where clocks agree */
};

struct roce_program_result {
    struct roce_stats stats;
    struct quantile latency;                  /* messages, posted to acknowledged */
    struct roce_source sources[ROCE_SOURCES]; /* further ones are not told apart */
    uint32_t n_sources;
    uint64_t missed; /* packets that this machine was too slow to take */
    uint64_t stalls; /* times that the interface took no more packets for a moment: none is lost by it */
    uint32_t mtu, flows;
    char interface[16];
    struct ip_addr address;
};

/* 0 when the time is over, all is sent, or it was interrupted. -errno with a sentence. */
int roce_program_run(const struct roce_program_config *, struct roce_program_result *ret, struct error *err);

/* Bits of payload a second, between the first packet and the last one in order (or acknowledged, for a sender). */
double roce_program_goodput(const struct roce_stats *, bool sender);

#endif
