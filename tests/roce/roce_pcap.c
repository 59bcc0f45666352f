/* roce_pcap FILE: one RoCEv2 packet of each kind over IPv4 and IPv6, as our code writes them, for others to look at. */
#include "base/bytes.h"
#include "base/rng.h"
#include "wire/roce.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    uint8_t opcode, syndrome;
    uint16_t payload;
} kinds[] = {
    {ROCE_WRITE_FIRST, 0, 1024},
    {ROCE_WRITE_MIDDLE, 0, 1024},
    {ROCE_WRITE_LAST, 0, 1022},
    {ROCE_WRITE_ONLY, 0, 1},
    {ROCE_WRITE_ONLY, 0, 4096},
    {ROCE_ACKNOWLEDGE, ROCE_ACK, 0},
    {ROCE_ACKNOWLEDGE, ROCE_NAK_SEQUENCE, 0},
    {ROCE_ACKNOWLEDGE, ROCE_NAK_INVALID, 0},
    {ROCE_CNP, 0, 0},
};

static void put_header(FILE *f)
{
    uint8_t h[24] = {0};
    bytes_put_u32(h, 0xa1b2c3d4);
    bytes_put_u16(h + 4, 2);
    bytes_put_u16(h + 6, 4);
    bytes_put_u32(h + 16, 65535);
    bytes_put_u32(h + 20, 1); /* Ethernet */
    fwrite(h, sizeof(h), 1, f);
}

static void put_record(FILE *f, uint32_t number, const uint8_t *frame, uint32_t len)
{
    uint8_t h[16];
    bytes_put_u32(h, number);
    bytes_put_u32(h + 4, 0);
    bytes_put_u32(h + 8, len);
    bytes_put_u32(h + 12, len);
    fwrite(h, sizeof(h), 1, f);
    fwrite(frame, len, 1, f);
}

static uint32_t build(uint8_t *frame, uint8_t family, size_t kind)
{
    struct roce_packet p = {.src = {family, {{0xfd, 1, 2, 3}}},
        .dst = {family, {{0xfd, 1, 2, 4}}},
        .dscp = 26,
        .ecn = kind & 1 ? ROCE_ECT0 : ROCE_CE,
        .hops = (uint8_t)(60 + kind),
        .flow_label = 0x12345,
        .src_port = (uint16_t)(0xc000 + kind),
        .opcode = kinds[kind].opcode,
        .ack_request = kind == 2,
        .becn = kinds[kind].opcode == ROCE_CNP,
        .pkey = 0xffff,
        .qp = 0x00a1b2,
        .psn = (uint32_t)(0xfffffe + kind) & ROCE_PSN_MASK,
        .address = 0x7f0000001000,
        .key = 0x1234,
        .size = kinds[kind].opcode == ROCE_WRITE_FIRST ? 3070 : kinds[kind].payload,
        .syndrome = kinds[kind].syndrome,
        .msn = 77,
        .payload = kinds[kind].payload};
    memset(frame, 2, ETHER_SIZE);
    bytes_put_be16(frame + ETHER_TYPE, family == IP_V4 ? ETHER_IP4 : ETHER_IP6);
    uint32_t n = roce_put(frame + ETHER_SIZE, &p), len = roce_size(&p);
    for (uint32_t i = n; i < len; i++)
        frame[ETHER_SIZE + i] = i < n + p.payload ? (uint8_t)rng_u64(kind, i) : 0;
    roce_icrc_put(frame + ETHER_SIZE, len);
    return ETHER_SIZE + len;
}

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "wb") : NULL;
    if (!f)
        return perror("roce_pcap FILE"), 2;
    put_header(f);
    static uint8_t frame[ETHER_SIZE + ROCE_HEADERS_MAX + ROCE_PAYLOAD_MAX + 8];
    uint32_t number = 0;
    for (int family = IP_V4; family <= IP_V6; family += 2)
        for (size_t kind = 0; kind < sizeof(kinds) / sizeof(*kinds); kind++, number++)
            put_record(f, number, frame, build(frame, (uint8_t)family, kind));
    return fclose(f) ? perror(argv[1]), 1 : 0;
}
