/* The UDP flows of a lab: programs that it starts in namespaces (not shown in the help). Results are JSON. */
#include "base/clock.h"
#include "cli/verbs.h"
#include "lab/udp.h"
#include "scenario/units.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int needed(const char *option, const char *text, int failed, struct error *err)
{
    return failed ? (error_set(err, EINVAL, "--%s \"%s\" cannot be", option, text), CLI_USAGE) : 0;
}

static int run_send(const struct cli_args *args, struct error *err)
{
    struct lab_udp_send c = {.interrupted = &cli_interrupted};
    struct lab_udp_sent r;
    uint32_t port = 0, src_port = 0, dscp = 0;
    int rc = ip_addr_parse(&c.to, cli_operand(args, 0), err) ? CLI_USAGE : 0;
    rc = rc ? rc : cli_u32(args, "port", 1, 65535, &port, err);
    rc = rc ? rc : cli_u32(args, "source-port", 0, 65535, &src_port, err);
    rc = rc ? rc : cli_u32(args, "dscp", 0, 63, &dscp, err);
    rc = rc ? rc : cli_u32(args, "packet", 80, 65535, &c.packet, err);
    rc = rc ? rc : needed("rate", cli_str(args, "rate"), units_rate(cli_str(args, "rate"), &c.rate_bps), err);
    rc = rc ? rc : needed("bytes", cli_str(args, "bytes"), units_bytes(cli_str(args, "bytes"), &c.bytes), err);
    rc = rc ? rc : needed("on", cli_str(args, "on"), units_time(cli_str(args, "on"), &c.on_ns), err);
    rc = rc ? rc : needed("off", cli_str(args, "off"), units_time(cli_str(args, "off"), &c.off_ns), err);
    rc = rc ? rc
            : needed("duration", cli_str(args, "duration"), units_time(cli_str(args, "duration"), &c.duration_ns), err);
    if (rc)
        return rc;
    c.port = (uint16_t)port;
    c.src_port = (uint16_t)src_port;
    c.dscp = (uint8_t)dscp;
    c.ecn = cli_flag(args, "ecn");
    rc = lab_udp_send(&c, &r, err);
    printf("{\"packets\":%llu,\"payload_bytes\":%llu,\"refused\":%llu,\"seconds\":%.6f}\n",
        (unsigned long long)r.packets, (unsigned long long)r.payload, (unsigned long long)r.refused,
        (double)r.active_ns / 1e9);
    return rc;
}

static void ready(void)
{
    fprintf(stderr, "receiving\n");
}

static int run_receive(const struct cli_args *args, struct error *err)
{
    uint32_t port = 0;
    int rc = cli_u32(args, "port", 1, 65535, &port, err);
    struct lab_udp_got *g = rc ? NULL : malloc(sizeof(*g));
    if (!g)
        return rc ? rc : error_set(err, ENOMEM, "out of memory");
    rc = lab_udp_receive((uint16_t)port, 0, &cli_interrupted, ready, g, err);
    if (!rc)
        printf("{\"packets\":%llu,\"payload_bytes\":%llu,\"lost\":%llu,\"overtaken\":%llu,\"repeated\":%llu,"
               "\"ce_marked\":%llu,\"missed\":%llu,\"first_ns\":%lld,\"last_ns\":%lld,\"silence_ms\":%.3f,"
               "\"one_way\":{\"count\":%llu,\"min_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_"
               "us\":%.1f}}\n",
            (unsigned long long)g->packets, (unsigned long long)g->payload, (unsigned long long)g->lost,
            (unsigned long long)g->overtaken, (unsigned long long)g->repeated, (unsigned long long)g->ce_marked,
            (unsigned long long)g->missed, (long long)g->first_ns, (long long)g->last_ns, (double)g->silence_ns / 1e6,
            (unsigned long long)g->one_way.count, (double)g->one_way.least_ns / 1e3,
            (double)quantile_at(&g->one_way, QUANTILE_P50) / 1e3, (double)quantile_at(&g->one_way, QUANTILE_P99) / 1e3,
            (double)quantile_at(&g->one_way, QUANTILE_P999) / 1e3, (double)g->one_way.most_ns / 1e3);
    free(g);
    return rc;
}

const struct cli_verb verb_lab_udp_send = {
    .name = "lab udp-send",
    .summary = "send numbered packets at a rate",
    .operands = "ADDR",
    .min_operands = 1,
    .max_operands = 1,
    .options =
        (const struct cli_option[]){
            {"port", "N", "5000", "to"},
            {"source-port", "N", "0", "from; 0: any"},
            {"rate", "RATE", "1Mbit/s", "of IP packets"},
            {"packet", "BYTES", "1500", "size of an IP packet"},
            {"bytes", "BYTES", "0", "payload in all; 0: without end"},
            {"duration", "TIME", "0", "0: without end"},
            {"on", "TIME", "0", "send for so long …"},
            {"off", "TIME", "0", "… then be silent"},
            {"dscp", "N", "0", "mark"},
            {"ecn", NULL, NULL, "may be marked"},
            {NULL},
        },
    .run = run_send,
};

const struct cli_verb verb_lab_udp_receive = {
    .name = "lab udp-receive",
    .summary = "take numbered packets",
    .operands = "",
    .options = (const struct cli_option[]){{"port", "N", "5000", "at"}, {NULL}},
    .run = run_receive,
};
