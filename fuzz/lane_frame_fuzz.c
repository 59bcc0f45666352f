/* A control frame of a neighbour: header, and by its type the body, all entries read. */
#include "wire/lane_frame.h"

#include <stddef.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lists(uint8_t type, const uint8_t *body, uint32_t len)
{
    unsigned n = 0;
    uint64_t word;
    struct lane_credit credit;
    if (type == LANE_CREDIT && lane_credit_decode(&credit, &n, body, len) == 0)
        for (unsigned i = 0; i < n; i++)
            lane_credit_entry_get(&(struct lane_credit_entry){0}, body, i);
    if (type == LANE_SYNC && lane_sync_decode(&word, &n, body, len) == 0)
        for (unsigned i = 0; i < n; i++)
            lane_sync_entry_get(&(struct lane_sync_entry){0}, body, i);
    if (type == LANE_LOSS && lane_loss_decode(&word, &n, body, len) == 0)
        for (unsigned i = 0; i < n; i++)
            lane_gap_get(&(struct lane_gap){0}, body, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lane_header h;
    if (lane_header_decode(&h, data, (uint32_t)size) != 0)
        return 0;
    const uint8_t *body = data + LANE_FRAME_HEADER;
    union {
        struct lane_hello hello;
        struct lane_open_frame open;
        struct lane_accept accept;
        struct lane_refuse refuse;
        struct lane_close_frame close;
        struct lane_closed closed;
        struct lane_reclaim reclaim;
        struct lane_release release;
    } u;
    uint8_t again[LANE_FRAME_MOST];
    lists(h.type, body, h.length);
    lane_hello_decode(&u.hello, body, h.length);
    if (lane_open_decode(&u.open, body, h.length) == 0 && lane_open_encode(again, &u.open) != h.length)
        abort();
    lane_accept_decode(&u.accept, body, h.length);
    lane_refuse_decode(&u.refuse, body, h.length);
    lane_close_decode(&u.close, body, h.length);
    lane_closed_decode(&u.closed, body, h.length);
    lane_reclaim_decode(&u.reclaim, body, h.length);
    lane_release_decode(&u.release, body, h.length);
    return 0;
}
