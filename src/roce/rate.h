/* How fast one queue pair may send: pacing to a rate, and that rate's reaction to congestion notifications.
 *
 * The reaction is DCQCN's reaction point (Zhu and others, "Congestion Control for Large-Scale RDMA Deployments", SIGCOMM
 * 2015): a CNP cuts the rate by alpha/2 and remembers the old one as target; every 55 us and every 10 MB the rate comes
 * half way back to the target, after five such steps of one kind the target grows, after five of both it grows faster;
 * alpha is an average of "was there a CNP lately". Nothing looks at the rate between packets, so its timers are caught up
 * with when a packet leaves. Integers only: the same in every build. */
#ifndef MERIDIAN_ROCE_RATE_H
#define MERIDIAN_ROCE_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct roce_rate {
    uint64_t fixed_bps; /* never faster; 0: not limited by wish */
    uint64_t line_bps;
    int64_t burst_ns;

    int64_t due_ns;     /* the next packet may leave now */
    uint64_t remainder; /* of due_ns, in 1/rate ns */

    bool told;    /* a CNP ever came */
    bool reduced; /* below the line because of CNPs */
    uint64_t current_bps, target_bps;
    uint64_t alpha;            /* in 2^-30 */
    int64_t alpha_ns, step_ns; /* when the timers last ran */
    uint64_t bytes;            /* since the last step by bytes */
    uint32_t steps_by_time, steps_by_bytes;
};

void roce_rate_init(struct roce_rate *r, uint64_t fixed_bps, uint64_t line_bps, int64_t burst_ns, int64_t start_ns);
/* The rate packets are paced to; 0: not paced. */
uint64_t roce_rate_now(const struct roce_rate *r);
/* A packet of so many bytes leaves. */
void roce_rate_sent(struct roce_rate *r, uint32_t bytes, int64_t now);
void roce_rate_cnp(struct roce_rate *r, int64_t now);

#endif
