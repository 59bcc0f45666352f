/* forward_pcap FOLDER: what real forwarding cores put on their cables and towards hosts, for others to look at. One capture
 * file a network: NAME.pcap, each frame that entered a cable or left towards a host, in order. Networks: by one container,
 * by containers with an SRH, by full SIDs with an SRH; each without lanes and in lanes. In each of them both hosts send
 * IPv4 and IPv6, tagged and untagged, with and without ECN, packets with too few hops, too long ones, and ones to nobody. */
#include "base/bytes.h"
#include "base/clock.h"
#include "forward/testing_vpn.h"
#include "wire/checksum.h"

#include <stdio.h>
#include <stdlib.h>

static void put_header(FILE *file)
{
    uint8_t h[24] = {0};
    bytes_put_u32(h, 0xa1b23c4d); /* nanoseconds */
    bytes_put_u16(h + 4, 2);
    bytes_put_u16(h + 6, 4);
    bytes_put_u32(h + 16, 65535);
    bytes_put_u32(h + 20, 1); /* Ethernet */
    fwrite(h, sizeof h, 1, file);
}

static void put_frame(FILE *file, const struct testing_frame *f)
{
    uint8_t h[16];
    bytes_put_u32(h, (uint32_t)(f->at_ns / NS_PER_S));
    bytes_put_u32(h + 4, (uint32_t)(f->at_ns % NS_PER_S));
    bytes_put_u32(h + 8, f->len);
    bytes_put_u32(h + 12, f->len);
    fwrite(h, sizeof h, 1, file);
    fwrite(f->bytes, f->len, 1, file);
}

static void write_all(const struct testing_net *net, const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.pcap", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file) {
        fprintf(stderr, "forward_pcap: cannot write %s\n", path);
        exit(1);
    }
    put_header(file);
    const struct testing_frame *f;
    for (unsigned i = 0; (f = testing_net_any(net, i)); i++)
        put_frame(file, f);
    if (fclose(file)) {
        fprintf(stderr, "forward_pcap: cannot write %s\n", path);
        exit(1);
    }
}

/* An IPv6 packet of the left host whose destination has another byte there; UDP's checksum follows. */
static void to_nobody(struct testing_vpn *v, unsigned at, uint8_t value)
{
    uint8_t frame[512], *ip = frame + ETHER_SIZE, *udp = ip + IP6_SIZE;
    struct testing_udp u = {IP_V6, 34, 0, 64, 0, 1000, 2000, 100};
    uint32_t len = testing_vpn_udp(v, frame, 0, &u), size = len - ETHER_SIZE - IP6_SIZE;
    ip[IP6_DST + at] = value;
    bytes_put_be16(udp + 6, 0);
    bytes_put_be16(udp + 6, checksum_ip6(ip + IP6_SRC, ip + IP6_DST, IP_PROTO_UDP, udp, size));
    testing_net_send(v->net, 0, VPN_HOSTS, frame, len);
}

static void talk(struct testing_vpn *v)
{
    static const struct testing_udp packets[] = {
        {IP_V4, 34, 0, 64, 0, 1000, 2000, 100},
        {IP_V6, 34, 2, 64, 0, 1000, 2000, 100},
        {IP_V4, 0, 1, 64, 20, 1000, 2000, 100},
        {IP_V6, 46, 3, 64, 20, 1000, 2000, 100},
        {IP_V4, 34, 0, 64, 0, 1000, 2000, 1300},
        {IP_V4, 34, 0, 1, 0, 1000, 2000, 100}, /* no hop left at the first PE, and at the second */
        {IP_V6, 34, 0, 2, 0, 1000, 2000, 100},
        {IP_V4, 34, 0, 64, 0, 1000, 2000, 1472}, /* do not fit behind the headers */
        {IP_V6, 34, 0, 64, 20, 1000, 2000, 1452},
    };
    for (unsigned i = 0; i < sizeof packets / sizeof *packets; i++) {
        testing_vpn_send(v, 0, &packets[i]);
        testing_vpn_send(v, v->last, &packets[i]);
        testing_net_run(v->net, NS_PER_MS);
    }
    to_nobody(v, 3, 0xcc); /* no such network */
    to_nobody(v, 15, 9);   /* no such host: it is asked for, and an error comes back */
    testing_net_run(v->net, 5 * NS_PER_S);
}

static void network(const char *folder, const char *name, const struct testing_vpn_config *c)
{
    struct testing_vpn v;
    testing_vpn_init(&v, c, 1);
    testing_net_run(v.net, NS_PER_S);
    testing_vpn_meet(&v);
    talk(&v);
    write_all(v.net, folder, name);
    if (testing_vpn_done(&v)) {
        fprintf(stderr, "forward_pcap: %s leaked mbufs\n", name);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "forward_pcap FOLDER\n");
        return 2;
    }
    for (unsigned lanes = 0; lanes < 2; lanes++) {
        struct testing_vpn_config c = {
            .routers = 4, .lanes = lanes, .delay_ns = 1000, .core_mtu = 1500, .host_mtu = 1500};
        network(argv[1], lanes ? "container-lanes" : "container", &c);
        c.routers = 10;
        network(argv[1], lanes ? "containers-lanes" : "containers", &c);
        c.routers = 5;
        c.full_sids = true;
        network(argv[1], lanes ? "full-lanes" : "full", &c);
    }
    return 0;
}
