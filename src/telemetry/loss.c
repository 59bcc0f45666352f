#include "telemetry/loss.h"

void loss_record(struct loss_log *log, const struct loss_record *r)
{
    log->packets[r->reason] += r->packets;
    log->cells[r->reason] += r->cells;
    if (r->reason == LOSS_REDUNDANT)
        return; /* there is one for every packet: they would leave no room for others */
    if (log->written - log->read == LOSS_RING) {
        log->read++;
        log->overrun++;
    }
    log->ring[log->written++ % LOSS_RING] = *r;
}

unsigned loss_read(struct loss_log *log, struct loss_record *ret, unsigned most)
{
    unsigned n = 0;
    while (n < most && log->read < log->written)
        ret[n++] = log->ring[log->read++ % LOSS_RING];
    return n;
}

const char *loss_reason_name(enum loss_reason r)
{
    static const char *const name[LOSS_REASONS] = {
        [LOSS_NONE] = "none",
        [LOSS_LINK] = "link",
        [LOSS_DUPLICATE] = "duplicate",
        [LOSS_BEYOND_CREDIT] = "beyond-credit",
        [LOSS_STALE_EPOCH] = "stale-epoch",
        [LOSS_UNKNOWN_LANE] = "unknown-lane",
        [LOSS_WRONG_PATH] = "wrong-path",
        [LOSS_WATCHDOG] = "watchdog",
        [LOSS_CUT] = "cut",
        [LOSS_POLICED] = "policed",
        [LOSS_TAIL] = "tail",
        [LOSS_MALFORMED] = "malformed",
        [LOSS_NO_ROUTE] = "no-route",
        [LOSS_NO_NEIGHBOUR] = "no-neighbour",
        [LOSS_HOP_LIMIT] = "hop-limit",
        [LOSS_TOO_BIG] = "too-big",
        [LOSS_NO_KEY] = "no-key",
        [LOSS_REPLAY] = "replay",
        [LOSS_NO_BUFFER] = "no-buffer",
        [LOSS_REDUNDANT] = "redundant",
        [LOSS_LINK_DOWN] = "link-down",
        [LOSS_NOT_AUTHENTIC] = "not-authentic",
        [LOSS_WRONG_VPN] = "wrong-vpn",
        [LOSS_CLEARTEXT] = "cleartext",
    };
    return r < LOSS_REASONS ? name[r] : "unknown";
}
