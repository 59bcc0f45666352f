/* wire_pcap FILE: packets as our codecs write them, for others to look at: core packets with each set of hop-by-hop options
 * and paths of one to four addresses, then ARP, discovery and ICMP, in the order that tests/integration/wire_tshark.py
 * expects. */
#include "base/bytes.h"
#include "wire/checksum.h"
#include "wire/hbh.h"
#include "wire/icmp.h"
#include "wire/ip_text.h"
#include "wire/neighbour.h"
#include "wire/sequence.h"
#include "wire/srh.h"

#include <stdio.h>
#include <stdlib.h>

static FILE *file;
static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

static void put_header(void)
{
    uint8_t h[24] = {0};
    bytes_put_u32(h, 0xa1b2c3d4);
    bytes_put_u16(h + 4, 2);
    bytes_put_u16(h + 6, 4);
    bytes_put_u32(h + 16, 65535);
    bytes_put_u32(h + 20, 1); /* Ethernet */
    fwrite(h, sizeof(h), 1, file);
}

static void put_frame(uint16_t type, const uint8_t *packet, size_t len)
{
    uint8_t h[16 + ETHER_SIZE] = {0};
    bytes_put_u32(h + 8, (uint32_t)(len + ETHER_SIZE));
    bytes_put_u32(h + 12, (uint32_t)(len + ETHER_SIZE));
    memcpy(h + 16 + ETHER_SRC, mac, 6);
    h[16 + ETHER_DST] = 2;
    bytes_put_be16(h + 16 + ETHER_TYPE, type);
    fwrite(h, sizeof(h), 1, file);
    fwrite(packet, len, 1, file);
}

static struct ip_addr addr(const char *text)
{
    struct ip_addr a;
    if (ip_addr_parse(&a, text, NULL))
        abort();
    return a;
}

static void put_ip6(uint8_t *p, const char *src, const struct ip6 *dst, uint8_t next, size_t payload)
{
    bytes_put_be32(p, 6u << 28 | 0x12345);
    bytes_put_be16(p + IP6_LEN, (uint16_t)payload);
    p[IP6_NEXT] = next;
    p[IP6_HOPS] = 64;
    memcpy(p + IP6_SRC, addr(src).a.b, 16);
    memcpy(p + IP6_DST, dst->b, 16);
}

/* A host's UDP packet of eight bytes over IPv4. */
static size_t put_host4(uint8_t *p)
{
    memset(p, 0, 36);
    p[0] = 0x45;
    bytes_put_be16(p + IP4_LEN, 36);
    p[IP4_TTL] = 63;
    p[IP4_PROTO] = IP_PROTO_UDP;
    memcpy(p + IP4_SRC, addr("10.0.0.9").a.b, 4);
    memcpy(p + IP4_DST, addr("10.1.0.9").a.b, 4);
    bytes_put_be16(p + IP4_SUM, checksum_ip4(p, IP4_SIZE));
    bytes_put_be16(p + 20, 4791);
    bytes_put_be16(p + 22, 9);
    bytes_put_be16(p + 24, 16);
    return 36;
}

static size_t core_packet(uint8_t *p, unsigned has, unsigned addresses)
{
    static const char *const path[] = {
        "fcbb:bb00:1:a:b:c:d:e", "fcbb:bb00:1:1:2:3:4:5", "fcbb:bb00:1:6:7:8:9:0", "fcbb:bb00:1:f:f123::"};
    const struct hbh_types types = {HBH_NR_DEFAULT, HBH_LANE_DEFAULT};
    struct hbh h = {.has = (uint8_t)has, .mark = HBH_MARK_L, .flow_mon_id = 0x12345, .slice = 77};
    struct ip6 sids[4];
    for (unsigned i = 0; i < addresses; i++)
        sids[i] = addr(path[4 - addresses + i]).a;
    h.lane_index = 0x102;
    h.lane_epoch = 0x304;
    h.lane_cell = 0xa0b0c0d0;
    h.next = addresses > 1 ? IP_PROTO_ROUTING : IP_PROTO_IPIP;
    size_t at = IP6_SIZE;
    at += hbh_encode(p + at, &h, &types);
    at += srh_encode(p + at, IP_PROTO_IPIP, sids, addresses);
    at += put_host4(p + at);
    put_ip6(p, "2001:db8:ffff::1", &sids[0], has ? IP_PROTO_HOPOPT : h.next, at - IP6_SIZE);
    return at;
}

/* The same with the number of a 1+1 stream before the inner packet. */
static size_t stream_packet(uint8_t *p, unsigned addresses)
{
    uint8_t inner[64];
    size_t len = core_packet(p, HBH_HAS_ALL, addresses), behind = put_host4(inner), at = len - behind;
    sequence_encode(p + at, IP_PROTO_IPIP, SEQUENCE_DEFAULT, 0xa1b2c3d4, 0x1122334455);
    memcpy(p + at + SEQUENCE_SIZE, inner, behind);
    p[IP6_SIZE + (addresses > 1 ? HBH_SIZE : 0)] = IP_PROTO_DSTOPTS; /* next header of the last one before */
    bytes_put_be16(p + IP6_LEN, (uint16_t)(len + SEQUENCE_SIZE - IP6_SIZE));
    return len + SEQUENCE_SIZE;
}

static void put_nd(uint8_t type, uint8_t flags, const char *src, const char *dst, const char *target)
{
    struct nd d = {.type = type, .flags = flags, .src = addr(src).a, .dst = addr(dst).a, .target = addr(target).a};
    uint8_t p[ND_SIZE_MOST];
    d.has_mac = true;
    memcpy(d.mac, mac, 6);
    put_frame(ETHER_IP6, p, nd_encode(p, &d));
}

static void put_neighbours(void)
{
    struct arp a = {.op = ARP_REQUEST, .sender.b = {10, 0, 0, 1}, .target.b = {10, 0, 0, 9}};
    uint8_t p[ND_ROUTER_MOST];
    memcpy(a.sender_mac, mac, 6);
    arp_encode(p, &a);
    put_frame(ETHER_ARP, p, ARP_SIZE);
    put_nd(ICMP6_NEIGHBOUR_SOLICIT, 0, "2001:db8:1::1", "ff02::1:ff00:9", "2001:db8:1::9");
    put_nd(ICMP6_NEIGHBOUR_ADVERT, ND_ROUTER | ND_SOLICITED | ND_OVERRIDE, "2001:db8:1::1", "2001:db8:1::9",
        "2001:db8:1::1");
    struct nd_router r = {
        .src = addr("fe80::1").a, .dst = nd_all_nodes, .lifetime_s = 1800, .mtu = 1428, .n_prefixes = 1};
    memcpy(r.mac, mac, 6);
    if (ip_prefix_parse(&r.prefixes[0], "2001:db8:1::/64", NULL))
        abort();
    put_frame(ETHER_IP6, p, nd_router_encode(p, &r));
}

static void put_errors(void)
{
    const struct ip_addr us6 = addr("2001:db8:ffff::2"), us4 = addr("10.0.0.1");
    uint8_t packet[512], to[ICMP6_ERROR_MOST];
    for (unsigned kind = 0; kind < ICMP_ERROR_KINDS; kind++) {
        size_t len = core_packet(packet, HBH_HAS_ALL, 3);
        put_frame(
            ETHER_IP6, to, icmp_error_write(to, sizeof(to), kind, kind == ICMP_TOO_BIG ? 1400 : 40, packet, len, &us6));
        len = put_host4(packet);
        put_frame(
            ETHER_IP4, to, icmp_error_write(to, sizeof(to), kind, kind == ICMP_TOO_BIG ? 1400 : 9, packet, len, &us4));
    }
}

int main(int argc, char **argv)
{
    uint8_t packet[512];
    file = argc == 2 ? fopen(argv[1], "wb") : NULL;
    if (!file) {
        fprintf(stderr, "usage: wire_pcap FILE\n");
        return 2;
    }
    put_header();
    for (unsigned has = 0; has <= HBH_HAS_ALL; has++)
        for (unsigned addresses = 1; addresses <= 4; addresses++)
            put_frame(ETHER_IP6, packet, core_packet(packet, has, addresses));
    put_neighbours();
    put_errors();
    for (unsigned addresses = 1; addresses <= 4; addresses++)
        put_frame(ETHER_IP6, packet, stream_packet(packet, addresses));
    return fclose(file) ? 1 : 0;
}
