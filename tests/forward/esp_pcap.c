/* esp_pcap FOLDER: what two PEs of an encrypted VPN put on their cables, for others to decrypt: NAME.pcap and NAME.keys, a line
 * for each SA "SPI SOURCE KEY-AND-SALT", in hexadecimal. Networks: one container, containers with an SRH in lanes, full
 * SIDs with an SRH. Both hosts send IPv4 and IPv6 of many sizes, tagged and untagged, in every class, under a first key and,
 * half of the packets later, under a second one. */
#include "base/bytes.h"
#include "base/clock.h"
#include "forward/testing_vpn.h"
#include "wire/ip_text.h"

#include <stdio.h>
#include <stdlib.h>

static FILE *create(const char *folder, const char *name, const char *end)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, end);
    FILE *file = fopen(path, "wb");
    if (!file) {
        fprintf(stderr, "esp_pcap: cannot write %s\n", path);
        exit(1);
    }
    return file;
}

static void finish(FILE *file, const char *name)
{
    if (fclose(file)) {
        fprintf(stderr, "esp_pcap: cannot write %s\n", name);
        exit(1);
    }
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

static void write_frames(const struct testing_vpn *v, const char *folder, const char *name)
{
    FILE *file = create(folder, name, "pcap");
    uint8_t h[24] = {0};
    bytes_put_u32(h, 0xa1b23c4d); /* nanoseconds */
    bytes_put_u16(h + 4, 2);
    bytes_put_u16(h + 6, 4);
    bytes_put_u32(h + 16, 65535);
    bytes_put_u32(h + 20, 1); /* Ethernet */
    fwrite(h, sizeof h, 1, file);
    const struct testing_frame *f;
    for (unsigned i = 0; (f = testing_net_any(v->net, i)); i++)
        put_frame(file, f);
    finish(file, name);
}

static void write_keys(const struct testing_vpn *v, const char *folder, const char *name, unsigned generations)
{
    FILE *file = create(folder, name, "keys");
    for (unsigned g = 0; g < generations; g++)
        for (unsigned router = 0; router <= v->last; router += v->last)
            for (uint32_t vrf = 10; vrf <= 20; vrf += 10)
                for (uint16_t lane = 0; lane < LANE_CLASSES; lane++) {
                    struct esp_sa_config c = testing_vpn_sa(v, router, vrf, lane, g, false);
                    char text[IP_TEXT_SIZE];
                    fprintf(file, "%08x %s ", c.spi, ip6_print(text, &c.peer));
                    for (unsigned i = 0; i < sizeof c.key; i++)
                        fprintf(file, "%02x", c.key[i]);
                    for (unsigned i = 0; i < sizeof c.salt; i++)
                        fprintf(file, "%02x", c.salt[i]);
                    fprintf(file, "\n");
                }
    finish(file, name);
}

static void talk(struct testing_vpn *v)
{
    static const uint8_t dscp[] = {0, 34, 46};
    for (unsigned i = 0; i < 60; i++) {
        struct testing_udp u = {i % 2 ? IP_V4 : IP_V6, dscp[i % 3], (uint8_t)(i % 4), 64, i % 4 < 2 ? 0 : 20,
            (uint16_t)(50000 + i), 50000, i < 40 ? i : 33 * i};
        testing_vpn_send(v, 0, &u);
        testing_vpn_send(v, v->last, &u);
        testing_net_run(v->net, NS_PER_MS);
        if (i == 29)
            testing_vpn_keys(v, 1, VPN_KEYS_OPEN | VPN_KEYS_SEAL);
    }
}

static void network(const char *folder, const char *name, struct testing_vpn_config c)
{
    struct testing_vpn v;
    c.encrypted = true;
    c.delay_ns = 1000;
    testing_vpn_init(&v, &c, 1);
    testing_vpn_keys(&v, 0, VPN_KEYS_OPEN | VPN_KEYS_SEAL);
    testing_net_run(v.net, NS_PER_S);
    testing_vpn_meet(&v);
    talk(&v);
    write_frames(&v, folder, name);
    write_keys(&v, folder, name, 2);
    if (testing_vpn_done(&v)) {
        fprintf(stderr, "esp_pcap: %s leaked mbufs\n", name);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "esp_pcap FOLDER\n");
        return 2;
    }
    network(argv[1], "container", (struct testing_vpn_config){.routers = 3});
    network(argv[1], "containers", (struct testing_vpn_config){.routers = 9, .lanes = true});
    network(argv[1], "full", (struct testing_vpn_config){.routers = 4, .full_sids = true});
    return 0;
}
