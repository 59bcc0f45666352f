#include "roce/rate.h"

#include "base/clock.h"

#define ALPHA_ONE      (1ull << 30)
#define ALPHA_SHIFT    8 /* g = 1/256 */
#define PERIOD_NS      (55 * NS_PER_US)
#define BYTES_OF_STEP  10000000u
#define FAST_STEPS     5u
#define ADDITIVE_SHARE 1000u /* of the line: 40 Mbit/s at 40 Gbit/s, as in the paper */
#define HYPER_SHARE    200u
#define LEAST_SHARE    1000u
#define CATCH_UP_MOST  8192 /* periods: 0.45 s; after that alpha is 0 and the rate is the line's anyway */

void roce_rate_init(struct roce_rate *r, uint64_t fixed_bps, uint64_t line_bps, int64_t burst_ns, int64_t start_ns)
{
    *r = (struct roce_rate){.fixed_bps = fixed_bps,
        .line_bps = line_bps,
        .burst_ns = burst_ns,
        .due_ns = start_ns,
        .current_bps = line_bps,
        .target_bps = line_bps,
        .alpha = ALPHA_ONE};
}

uint64_t roce_rate_now(const struct roce_rate *r)
{
    if (!r->reduced)
        return r->fixed_bps;
    return r->fixed_bps && r->fixed_bps < r->current_bps ? r->fixed_bps : r->current_bps;
}

/* One step back up, by time or by bytes. */
static void step_up(struct roce_rate *r)
{
    uint32_t most = r->steps_by_time > r->steps_by_bytes ? r->steps_by_time : r->steps_by_bytes;
    uint32_t least = r->steps_by_time < r->steps_by_bytes ? r->steps_by_time : r->steps_by_bytes;
    if (least > FAST_STEPS)
        r->target_bps += r->line_bps / HYPER_SHARE * (least - FAST_STEPS);
    else if (most > FAST_STEPS)
        r->target_bps += r->line_bps / ADDITIVE_SHARE;
    if (r->target_bps > r->line_bps)
        r->target_bps = r->line_bps;
    r->current_bps = (r->current_bps + r->target_bps) / 2;
    if (r->current_bps >= r->line_bps - r->line_bps / ADDITIVE_SHARE)
        r->reduced = false;
}

static void catch_up(struct roce_rate *r, int64_t now)
{
    for (int i = 0; i < CATCH_UP_MOST && now - r->alpha_ns >= PERIOD_NS; i++) {
        r->alpha -= r->alpha >> ALPHA_SHIFT;
        r->alpha_ns += PERIOD_NS;
    }
    for (int i = 0; i < CATCH_UP_MOST && r->reduced && now - r->step_ns >= PERIOD_NS; i++) {
        r->steps_by_time++;
        r->step_ns += PERIOD_NS;
        step_up(r);
    }
    while (r->reduced && r->bytes >= BYTES_OF_STEP) {
        r->bytes -= BYTES_OF_STEP;
        r->steps_by_bytes++;
        step_up(r);
    }
}

void roce_rate_cnp(struct roce_rate *r, int64_t now)
{
    if (r->told)
        catch_up(r, now);
    if (!r->reduced)
        r->current_bps = r->line_bps;
    r->told = true;
    r->target_bps = r->current_bps;
    r->current_bps -= r->current_bps / 2 * (r->alpha >> 15) >> 15;
    if (r->current_bps < r->line_bps / LEAST_SHARE)
        r->current_bps = r->line_bps / LEAST_SHARE;
    r->alpha = r->alpha - (r->alpha >> ALPHA_SHIFT) + (ALPHA_ONE >> ALPHA_SHIFT);
    r->reduced = true;
    r->alpha_ns = r->step_ns = now;
    r->bytes = 0;
    r->steps_by_time = r->steps_by_bytes = 0;
}

void roce_rate_sent(struct roce_rate *r, uint32_t bytes, int64_t now)
{
    if (r->reduced) {
        r->bytes += bytes;
        catch_up(r, now);
    }
    uint64_t bps = roce_rate_now(r);
    if (r->due_ns < now - r->burst_ns) {
        r->due_ns = now - r->burst_ns;
        r->remainder = 0;
    }
    if (!bps)
        return;
    uint64_t share = (uint64_t)bytes * 8 * (uint64_t)NS_PER_S + r->remainder;
    r->due_ns += (int64_t)(share / bps);
    r->remainder = share % bps;
}
