/* The header of a frame. */
#include "wire/split_frame.h"

#include "base/bytes.h"

#include <errno.h>

static int allowed(const struct split_header *h)
{
    unsigned never = 0;
    switch (h->op) {
    case SPLIT_FORWARD:
    case SPLIT_BACKWARD:
        break;
    case SPLIT_CANCEL:
    case SPLIT_WINDOW:
    case SPLIT_GOAWAY:
        never = SPLIT_MORE | SPLIT_REPLY;
        break;
    default:
        never = SPLIT_MORE;
    }
    return h->op > 0 && h->op < SPLIT_OP_END && !(h->flags & ~(SPLIT_REPLY | SPLIT_MORE)) && !(h->flags & never) &&
           h->len <= SPLIT_MAX_PAYLOAD;
}

int split_header_decode(struct split_header *ret, const uint8_t *bytes, size_t len)
{
    if (len < SPLIT_HEADER)
        return -EAGAIN;
    struct split_header h = {
        .len = bytes_get_u32(bytes),
        .op = bytes[4],
        .flags = bytes[5],
        .session = bytes_get_u32(bytes + 8),
        .epoch = bytes_get_u32(bytes + 12),
        .seq = bytes_get_u64(bytes + 16),
    };
    if (bytes_get_u16(bytes + 6) || !allowed(&h))
        return -EPROTO;
    *ret = h;
    return 0;
}

void split_header_encode(uint8_t to[SPLIT_HEADER], const struct split_header *h)
{
    bytes_put_u32(to, h->len);
    to[4] = h->op;
    to[5] = h->flags;
    bytes_put_u16(to + 6, 0);
    bytes_put_u32(to + 8, h->session);
    bytes_put_u32(to + 12, h->epoch);
    bytes_put_u64(to + 16, h->seq);
}
