/* Two RoCE hosts and a line between them in virtual time, for tests: rate, delay, and a hook that sees every packet and may
 * lose it, mark it or let the next one overtake it. Packets are headers with a virtual length, or whole ones with ICRC. */
#ifndef MERIDIAN_ROCE_TESTING_LINE_H
#define MERIDIAN_ROCE_TESTING_LINE_H

#include "roce/roce_host.h"
#include "wire/roce.h"

#include <stdbool.h>
#include <stdint.h>

enum line_fate { LINE_PASS, LINE_LOSE, LINE_MARK, LINE_SWAP /* the next packet of its direction goes first */ };

struct line_packet {
    int64_t at_ns;
    uint32_t have, len;
    uint8_t bytes[ROCE_HEADERS_MAX + ROCE_PAYLOAD_MAX + 8];
};

#define LINE_ROOM 4096u /* packets under way in one direction */

struct line_direction {
    struct line_packet *ring;
    uint32_t head, n;
    int64_t free_ns; /* when the sender's line is free */
    bool hold;       /* the newest packet waits for the next one to pass it */
    struct line_packet held;
};

struct line {
    struct roce_host *host[2];
    uint64_t rate_bps;
    int64_t delay_ns, now;
    bool whole; /* real payload and ICRC */
    void *user;
    enum line_fate (*fate)(void *user, int from, const struct roce_packet *p, int64_t now);
    struct line_direction to[2]; /* towards host 0 and 1 */
    uint64_t hash, packets[2];   /* of everything sent; sent by each */
};

/* Hosts 10.0.0.1 and 10.0.0.2 (fd00::1, fd00::2), 10 Gbit/s, 10 us, seed 1. The config of host 1 may be changed first. */
struct line *line_create(struct roce_host_config config[2]);
void line_default(struct roce_host_config config[2], uint8_t family);
void line_free(struct line *l);
/* Runs until `until` or until nothing will ever happen again. */
void line_run(struct line *l, int64_t until);
struct roce_flow line_flow(uint8_t family);

struct line *line_of(uint8_t family); /* as line_default says */
struct roce_stats line_stats(struct line *l, int host);
void line_connect(struct line *l, const struct roce_flow *f); /* from host 0 */
/* Every message arrived once, and nobody complains. */
void line_assert_complete(struct line *l, const struct roce_flow *f);

#endif
