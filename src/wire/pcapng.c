#include "wire/pcapng.h"

#include "base/bytes.h"

#include <string.h>

enum { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_STATISTICS = 5, BLOCK_PACKET = 6 };
enum { LINK_ETHERNET = 1 };
enum {
    OPTION_END = 0,
    SECTION_PROGRAM = 4,
    IF_NAME = 2,
    IF_RESOLUTION = 9,
    PACKET_FLAGS = 2,
    STAT_RECEIVED = 4,
    STAT_DROPPED = 5
};

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    bytes_put_u32(p, v);
    return p + 4;
}

static uint8_t *put_time(uint8_t *p, int64_t ns)
{
    return put32(put32(p, (uint32_t)((uint64_t)ns >> 32)), (uint32_t)(uint64_t)ns);
}

static uint8_t *put_option(uint8_t *p, uint16_t code, const void *value, size_t len)
{
    bytes_put_u16(p, code);
    bytes_put_u16(p + 2, (uint16_t)len);
    memset(p + 4, 0, (len + 3) / 4 * 4);
    memcpy(p + 4, value, len);
    return p + 4 + (len + 3) / 4 * 4;
}

static uint8_t *end_block(uint8_t *start, uint8_t *p)
{
    p = put32(p, OPTION_END);
    uint32_t total = (uint32_t)(p - start) + 4;
    bytes_put_u32(start + 4, total);
    return put32(p, total);
}

static uint8_t *start_block(uint8_t *p, uint32_t type)
{
    return put32(put32(p, type), 0);
}

static int append(struct buf *to, const uint8_t *from, const uint8_t *end)
{
    return buf_append(to, from, (size_t)(end - from));
}

int pcapng_start(struct buf *to, const char *interface, const char *program, uint32_t snap)
{
    uint8_t b[512], *p = b, *block = b;
    const uint8_t nanoseconds = 9;
    p = start_block(p, BLOCK_SECTION);
    p = put32(p, 0x1a2b3c4d);
    p = put32(p, 1); /* version 1.0 */
    p = put32(put32(p, UINT32_MAX), UINT32_MAX);
    p = put_option(p, SECTION_PROGRAM, program, strnlen(program, 100));
    p = end_block(block, p);
    block = p;
    p = start_block(p, BLOCK_INTERFACE);
    p = put32(p, LINK_ETHERNET);
    p = put32(p, snap);
    p = put_option(p, IF_NAME, interface, strnlen(interface, 100));
    p = put_option(p, IF_RESOLUTION, &nanoseconds, 1);
    p = end_block(block, p);
    return append(to, b, p);
}

int pcapng_packet(struct buf *to, const struct pcapng_packet *k, const uint8_t *bytes)
{
    uint8_t head[28], tail[4 + 16], flags[4], *p = head, *t = tail;
    uint32_t pad = (4 - k->captured % 4) % 4, total = (uint32_t)sizeof(head) + k->captured + pad + 8 + 4 + 4;
    p = put32(put32(p, BLOCK_PACKET), total);
    p = put_time(put32(p, 0), k->wall_ns);
    put32(put32(p, k->captured), k->length);
    memset(t, 0, pad);
    t += pad;
    put32(flags, k->out ? 2 : 1);
    t = put_option(t, PACKET_FLAGS, flags, 4);
    t = put32(put32(t, OPTION_END), total);
    int rc = buf_reserve(to, total);
    if (rc)
        return rc;
    buf_append(to, head, sizeof(head));
    buf_append(to, bytes, k->captured);
    return append(to, tail, t);
}

int pcapng_end(struct buf *to, int64_t wall_ns, uint64_t received, uint64_t dropped)
{
    uint8_t b[128], v[8], *p = b;
    p = start_block(p, BLOCK_STATISTICS);
    p = put_time(put32(p, 0), wall_ns);
    bytes_put_u64(v, received);
    p = put_option(p, STAT_RECEIVED, v, 8);
    bytes_put_u64(v, dropped);
    p = put_option(p, STAT_DROPPED, v, 8);
    return append(to, b, end_block(b, p));
}
