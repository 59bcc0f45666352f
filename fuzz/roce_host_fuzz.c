/* A RoCE host between a stranger's packets: each nine bytes of input are one packet that decodes (so that the state machines
 * are reached), a pull, a pause, or time going by. Whatever comes, it goes on answering, its counters agree with each
 * other, and what it sends decodes. */
#include "base/bytes.h"
#include "roce/roce_host.h"
#include "wire/roce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t opcodes[] = {
    ROCE_WRITE_FIRST, ROCE_WRITE_MIDDLE, ROCE_WRITE_LAST, ROCE_WRITE_ONLY, ROCE_ACKNOWLEDGE, ROCE_CNP};

static const struct ip_addr us = {IP_V4, {{10, 0, 0, 1}}}, peer = {IP_V4, {{10, 0, 0, 2}}};

static struct roce_packet packet(const uint8_t *d, uint32_t qp)
{
    struct roce_packet p = {.src = peer, .dst = us, .opcode = opcodes[d[1] % sizeof(opcodes)]};
    p.ecn = d[2] & 3;
    p.ack_request = d[2] >> 2 & 1;
    p.qp = d[2] & 8 ? qp : d[2] >> 4; /* one of ours, or the stranger's own */
    p.psn = (roce_first_psn(p.qp) + (uint32_t)(int16_t)bytes_get_u16(d + 3)) & ROCE_PSN_MASK;
    if (p.opcode == ROCE_ACKNOWLEDGE || p.opcode == ROCE_CNP) {
        p.syndrome = d[5];
        return p;
    }
    p.payload = d[5] & 1 ? 256u << (d[5] >> 1 & 3) : bytes_get_u16(d + 6) % 1024u;
    p.size = p.opcode == ROCE_WRITE_ONLY ? p.payload : p.payload + bytes_get_u16(d + 7);
    return p;
}

static uint32_t pull(struct roce_host *h, int64_t now, uint32_t qp)
{
    uint8_t headers[ROCE_HEADERS_MOST];
    struct roce_out out;
    struct roce_packet p;
    if (!roce_host_pull(h, now, headers, &out))
        return qp;
    if (roce_decode(&p, headers, out.headers, out.len) || roce_size(&p) != out.len || p.qp != out.qp)
        abort();
    return out.control ? qp : out.qp;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct roce_host *h;
    const struct roce_host_config config = {.address = us, .seed = 5, .responders_most = 3};
    const struct roce_flow flow = {
        .peer = peer, .message_bytes = 3000, .mtu = 256, .depth = 3, .ecn = true, .dscp = 26};
    uint32_t index, qp = 0;
    int64_t now = 0;
    if (roce_host_create(&h, &config, NULL) || roce_host_connect(h, &flow, &index, NULL))
        abort();
    for (; size >= 9; data += 9, size -= 9) {
        uint8_t bytes[ROCE_HEADERS_MAX];
        switch (data[0] & 3) {
        case 0:
            qp = pull(h, now, qp);
            break;
        case 1:
            now += (int64_t)bytes_get_u32(data + 1) << (data[5] & 3);
            break;
        case 2:
            if (data[0] & 4) {
                roce_host_pause(h, data[1] & 7, now + bytes_get_u16(data + 2), now);
                break;
            }
            __attribute__((fallthrough));
        default: {
            struct roce_packet p = packet(data, qp);
            uint32_t n = roce_put(bytes, &p);
            if (!roce_host_receive(h, bytes, n, roce_size(&p), now))
                abort();
        }
        }
    }
    struct roce_stats s;
    roce_host_stats(h, now, &s);
    if (s.retransmitted_packets > s.tx_packets || s.acked_payload > s.tx_bytes || s.paused_ns > now || s.broken > 1 ||
        s.messages * flow.message_bytes > s.acked_payload)
        abort();
    roce_host_free(h);
    return 0;
}
