/* What the Linux kernel takes for the same packets: bench_kernel_packets IFACE DST_MAC DA SIZE SECONDS sends NEXT-C-SID (or any
 * other) IPv6 packets of SIZE bytes (with FCS) to the address DA out of IFACE, a veth, and prints one line:
 *
 *   PACKETS CYCLES
 *
 * A veth hands a frame to its other end in the sender's own context, and the kernel forwards it there and then, before
 * sendmmsg returns. So CYCLES, the median over short slices of the time stamp counter per packet, holds sending and
 * forwarding; bench/forward subtracts a run whose frames are thrown away at once behind the veth. */
#include "base/bytes.h"
#include "base/clock.h"
#include "wire/ip.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <x86intrin.h>

enum { BATCH = 64, SLICE = 8, SLICES = 1 << 16, FRAME_MOST = 9300 };

static uint8_t frame[FRAME_MOST];

static void make_frame(const char *mac, const char *da, uint32_t len)
{
    struct ip6 dst;
    struct error err = {0};
    unsigned m[6];
    if (sscanf(mac, "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6 || ip6_parse(&dst, da, &err)) {
        fprintf(stderr, "bench_kernel_packets: no MAC or IPv6 address\n");
        exit(2);
    }
    for (unsigned i = 0; i < 6; i++)
        frame[i] = (uint8_t)m[i];
    frame[ETHER_SRC] = 2;
    bytes_put_be16(frame + ETHER_TYPE, ETHER_IP6);
    uint8_t *ip = frame + ETHER_SIZE;
    ip[0] = 0x60;
    bytes_put_be16(ip + IP6_LEN, (uint16_t)(len - ETHER_SIZE - IP6_SIZE));
    ip[IP6_NEXT] = IP_PROTO_NONE;
    ip[IP6_HOPS] = 64;
    memcpy(ip + IP6_SRC, (uint8_t[16]){0x20, 1, 0xd, 0xb8, 0xff, 0xff, [15] = 9}, 16);
    memcpy(ip + IP6_DST, dst.b, 16);
}

static int open_socket(const char *iface)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(iface)};
    int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) ||
        bind(fd, (struct sockaddr *)&to, sizeof to)) {
        fprintf(stderr, "bench_kernel_packets: %s: %s\n", iface, strerror(errno));
        exit(1);
    }
    return fd;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    static uint64_t slices[SLICES];
    static struct mmsghdr batch[BATCH];
    if (argc != 6) {
        fprintf(stderr, "bench_kernel_packets IFACE DST_MAC DA SIZE SECONDS\n");
        return 2;
    }
    uint32_t len = (uint32_t)atoi(argv[4]) - 4;
    if (len < ETHER_SIZE + IP6_SIZE || len > FRAME_MOST)
        return 2;
    make_frame(argv[2], argv[3], len);
    int fd = open_socket(argv[1]);
    struct iovec v = {frame, len};
    for (unsigned i = 0; i < BATCH; i++)
        batch[i].msg_hdr = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1};
    uint64_t packets = 0;
    unsigned n = 0;
    for (int64_t end = clock_now_ns() + (int64_t)(atof(argv[5]) * 1e9); clock_now_ns() < end && n < SLICES; n++) {
        uint64_t t = __rdtsc();
        unsigned sent = 0;
        for (unsigned k = 0; k < SLICE; k++) {
            int rc = sendmmsg(fd, batch, BATCH, 0);
            sent += rc > 0 ? (unsigned)rc : 0;
        }
        slices[n] = sent ? (__rdtsc() - t) / sent : 0;
        packets += sent;
    }
    close(fd);
    qsort(slices, n, sizeof *slices, by_size);
    printf("%llu %llu\n", (unsigned long long)packets, (unsigned long long)slices[n / 2]);
    return 0;
}
