/* `meridian roce send` and `roce receive`: RDMA's traffic without its hardware, and what it suffers. */
#include "base/clock.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "roce/program.h"
#include "scenario/units.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- options --- */

static int wrong(const char *option, const char *text, const char *like, struct error *err)
{
    return error_set(err, EINVAL, "--%s \"%s\": write for example %s", option, text, like), CLI_USAGE;
}

static int option_time(const struct cli_args *args, const char *option, int64_t *ret, struct error *err)
{
    const char *text = cli_str(args, option);
    return text && units_time(text, ret) ? wrong(option, text, "10s, 67ms or 50us", err) : 0;
}

static int option_rate(const struct cli_args *args, const char *option, uint64_t *ret, struct error *err)
{
    const char *text = cli_str(args, option);
    return text && units_rate(text, ret) ? wrong(option, text, "2.5Gbit/s", err) : 0;
}

static int option_bytes(const struct cli_args *args, const char *option, uint64_t *ret, struct error *err)
{
    const char *text = cli_str(args, option);
    return text && units_bytes(text, ret) ? wrong(option, text, "4096, 64KiB or 2GB", err) : 0;
}

static int option_address(const struct cli_args *args, const char *option, struct ip_addr *ret, struct error *err)
{
    const char *text = cli_str(args, option);
    return text && ip_addr_parse(ret, text, err) ? CLI_USAGE : 0;
}

/* SIGUSR1 stalls the host, SIGUSR2 lets it go on. */
static volatile int stalled;

static void on_stall(int sig)
{
    stalled = sig == SIGUSR1;
}

/* What both verbs share. */
static int common(const struct cli_args *args, struct roce_program_config *c, uint8_t priorities[64], struct error *err)
{
    uint32_t vlan = 0, priority = 8, cnp = 0;
    const char *own = cli_str(args, "address");
    c->interface = cli_str(args, "interface");
    c->ignore_pfc = cli_flag(args, "ignore-pfc");
    c->interrupted = &cli_interrupted;
    c->stalled = &stalled;
    const struct sigaction act = {.sa_handler = on_stall};
    sigaction(SIGUSR1, &act, NULL);
    sigaction(SIGUSR2, &act, NULL);
    c->host.seed = ((uint64_t)clock_now_ns() << 16) ^ (uint64_t)getpid();
    c->progress = cli_flag(args, "json") ? PROGRESS_JSON : PROGRESS_AUTO;
    int rc = own && ip_gateway_parse(&c->own, own, err) ? CLI_USAGE : 0;
    rc = rc ? rc : option_address(args, "gateway", &c->gateway, err);
    rc = rc ? rc : cli_u32(args, "vlan", 1, 4094, &vlan, err);
    rc = rc ? rc : cli_u32(args, "priority", 0, 7, &priority, err);
    rc = rc ? rc : cli_u32(args, "cnp-dscp", 1, 63, &cnp, err);
    rc = rc ? rc : option_rate(args, "line", &c->line_bps, err);
    rc = rc ? rc : option_time(args, "duration", &c->duration_ns, err);
    c->vlan = (uint16_t)vlan;
    c->host.cnp_dscp = (uint8_t)cnp;
    for (uint8_t i = 0; i < 64; i++)
        priorities[i] = i / 8;
    c->host.priority_of_dscp = priorities;
    if (priority < 8)
        for (uint8_t i = 0; i < 64; i++)
            priorities[i] = i == cnp ? i / 8 : (uint8_t)priority; /* CNPs keep their own */
    return rc;
}

static int flow_options(const struct cli_args *args, struct roce_program_config *c, struct error *err)
{
    struct roce_flow *f = &c->flow;
    uint64_t message = 0, bytes = 0;
    uint32_t dscp = 0;
    int rc = ip_addr_parse(&f->peer, cli_operand(args, 0), err) ? CLI_USAGE : 0;
    rc = rc ? rc : cli_u32(args, "qps", 1, ROCE_FLOWS_MOST, &c->flows, err);
    rc = rc ? rc : option_bytes(args, "message", &message, err);
    rc = rc ? rc : option_bytes(args, "bytes", &bytes, err);
    rc = rc ? rc : option_rate(args, "rate", &f->rate_bps, err);
    rc = rc ? rc : option_time(args, "interval", &f->interval_ns, err);
    rc = rc ? rc : option_time(args, "timeout", &f->timeout_ns, err);
    rc = rc ? rc : cli_u32(args, "retries", 0, 1000, &f->retries, err);
    rc = rc ? rc : cli_u32(args, "mtu", 256, 4096, &f->mtu, err);
    rc = rc ? rc : cli_u32(args, "depth", 1, 1 << 20, &f->depth, err);
    rc = rc ? rc : cli_u32(args, "dscp", 0, 63, &dscp, err);
    if (rc)
        return rc;
    if (message < 1 || message > 1 << 30)
        return wrong("message", cli_str(args, "message"), "64KiB, at most 1GiB", err);
    c->send = true;
    f->message_bytes = (uint32_t)message;
    f->messages = (bytes / c->flows + message - 1) / message;
    f->dscp = (uint8_t)dscp;
    f->ecn = cli_flag(args, "ecn");
    f->retry_forever = f->retries == 0;
    f->rate_bps = f->rate_bps && f->rate_bps < c->flows ? 1 : f->rate_bps / c->flows;
    if (bytes && !f->messages)
        f->messages = 1;
    return 0;
}

/* --- results --- */

static void put_times(const char *name, const struct quantile *q)
{
    printf("\"%s\":{\"count\":%llu,\"min_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}",
        name, (unsigned long long)q->count, (double)q->least_ns / 1e3, (double)quantile_at(q, QUANTILE_P50) / 1e3,
        (double)quantile_at(q, QUANTILE_P99) / 1e3, (double)quantile_at(q, QUANTILE_P999) / 1e3,
        (double)q->most_ns / 1e3);
}

#define PUT(name, value) printf("\"%s\":%llu,", name, (unsigned long long)(value))

static double seconds_of(const struct roce_stats *s, bool sender)
{
    int64_t ns = sender ? s->tx_last_ns - s->tx_first_ns : s->rx_last_ns - s->rx_first_ns;
    return ns > 0 ? (double)ns / 1e9 : 0;
}

static void put_sources(const struct roce_program_result *r)
{
    char text[IP_TEXT_SIZE];
    printf("\"sources\":[");
    for (uint32_t i = 0; i < r->n_sources; i++) {
        const struct roce_source *s = &r->sources[i];
        printf("%s{\"peer\":\"%s\",\"dscp\":%u,", i ? "," : "", ip_addr_print(text, &s->peer), s->dscp);
        PUT("packets", s->packets);
        PUT("payload_bytes", s->payload);
        PUT("first_ns", s->first_ns);
        PUT("last_ns", s->last_ns);
        printf("\"silence_ms\":%.3f,", (double)s->silence_ns / 1e6);
        put_times("one_way", &s->one_way);
        printf("}");
    }
    printf("]");
}

static void put_json(const struct roce_program_result *r, bool sender)
{
    const struct roce_stats *s = &r->stats;
    char text[IP_TEXT_SIZE];
    printf("{\"role\":\"%s\",\"interface\":\"%s\",\"address\":\"%s\",\"seconds\":%.6f,\"goodput_bps\":%.0f,",
        sender ? "send" : "receive", r->interface, ip_addr_print(text, &r->address), seconds_of(s, sender),
        roce_program_goodput(s, sender));
    if (sender) {
        PUT("queue_pairs", r->flows);
        PUT("mtu", r->mtu);
        PUT("first_ns", s->tx_first_ns);
        PUT("last_ns", s->tx_last_ns);
        PUT("payload_bytes", s->acked_payload);
        PUT("messages", s->messages);
        PUT("packets", s->tx_packets);
        PUT("retransmitted_packets", s->retransmitted_packets);
        PUT("naks", s->naks_received);
        PUT("timeouts", s->timeouts);
        PUT("broken_queue_pairs", s->broken);
        PUT("cnps", s->cnps_received);
    } else {
        PUT("payload_bytes", s->rx_payload);
        PUT("messages", s->rx_messages);
        PUT("packets", s->rx_packets);
        PUT("out_of_order", s->out_of_order);
        PUT("duplicates", s->duplicates);
        PUT("naks", s->naks_sent);
        PUT("acks", s->acks_sent);
        PUT("ce_marked", s->ce_marked);
        PUT("cnps", s->cnps_sent);
        PUT("lost_on_purpose", s->lost_on_purpose);
        PUT("refused", s->refused);
        printf("\"silence_ms\":%.3f,", (double)s->rx_silence_ns / 1e6);
    }
    PUT("corrupted", s->corrupted);
    PUT("malformed", s->malformed);
    PUT("unexpected", s->unexpected);
    PUT("missed", r->missed);
    PUT("interface_full", r->stalls);
    PUT("pauses", s->pauses);
    printf("\"paused_ms\":%.3f,", (double)s->paused_ns / 1e6);
    if (sender)
        put_times("latency", &r->latency);
    else
        put_sources(r);
    printf("}\n");
}

static void put_line(const char *what, const struct quantile *q)
{
    if (q->count)
        printf("%s p50 %.1f us, p99 %.1f us, p99.9 %.1f us, most %.1f us (%llu)\n", what,
            (double)quantile_at(q, QUANTILE_P50) / 1e3, (double)quantile_at(q, QUANTILE_P99) / 1e3,
            (double)quantile_at(q, QUANTILE_P999) / 1e3, (double)q->most_ns / 1e3, (unsigned long long)q->count);
}

static void put_text(const struct roce_program_result *r, bool sender)
{
    const struct roce_stats *s = &r->stats;
    printf("%.3f Gbit/s of payload over %.3f s: %llu bytes, %llu messages, %llu packets\n",
        roce_program_goodput(s, sender) * 1e-9, seconds_of(s, sender),
        (unsigned long long)(sender ? s->acked_payload : s->rx_payload),
        (unsigned long long)(sender ? s->messages : s->rx_messages),
        (unsigned long long)(sender ? s->tx_packets : s->rx_packets));
    if (sender)
        printf(
            "sent again %llu packets (%.2f %%); %llu NAKs, %llu timeouts, %llu CNPs, %llu of %u queue pairs broken\n",
            (unsigned long long)s->retransmitted_packets,
            s->tx_packets ? 100.0 * (double)s->retransmitted_packets / (double)s->tx_packets : 0,
            (unsigned long long)s->naks_received, (unsigned long long)s->timeouts, (unsigned long long)s->cnps_received,
            (unsigned long long)s->broken, r->flows);
    else
        printf("out of order %llu, duplicates %llu, NAKs %llu, CE marks %llu, lost on purpose %llu, corrupted %llu, "
               "missed "
               "here %llu\n",
            (unsigned long long)s->out_of_order, (unsigned long long)s->duplicates, (unsigned long long)s->naks_sent,
            (unsigned long long)s->ce_marked, (unsigned long long)s->lost_on_purpose, (unsigned long long)s->corrupted,
            (unsigned long long)r->missed);
    printf("paused %llu times, %.3f ms in all\n", (unsigned long long)s->pauses, (double)s->paused_ns / 1e6);
    put_line("messages", &r->latency);
    for (uint32_t i = 0; i < r->n_sources; i++) {
        char text[IP_TEXT_SIZE], what[IP_TEXT_SIZE + 40];
        snprintf(what, sizeof(what), "from %s, DSCP %u: one way", ip_addr_print(text, &r->sources[i].peer),
            r->sources[i].dscp);
        put_line(what, &r->sources[i].one_way);
    }
}

static int go(const struct cli_args *args, const struct roce_program_config *c, struct error *err)
{
    struct roce_program_result *r = malloc(sizeof(*r));
    if (!r)
        return error_set(err, ENOMEM, "out of memory");
    int rc = roce_program_run(c, r, err);
    if (!rc) {
        if (cli_flag(args, "json"))
            put_json(r, c->send);
        else
            put_text(r, c->send);
        if (r->stats.broken)
            rc = error_set(
                err, ETIMEDOUT, "%llu of %u queue pairs broke", (unsigned long long)r->stats.broken, r->flows);
    }
    free(r);
    return rc;
}

static int run_send(const struct cli_args *args, struct error *err)
{
    struct roce_program_config c = {0};
    uint8_t priorities[64];
    int rc = common(args, &c, priorities, err);
    rc = rc ? rc : flow_options(args, &c, err);
    return rc ? rc : go(args, &c, err);
}

static int run_receive(const struct cli_args *args, struct error *err)
{
    struct roce_program_config c = {0};
    uint8_t priorities[64];
    const char *lose = cli_str(args, "lose");
    int rc = common(args, &c, priorities, err);
    if (!rc && lose && units_share(lose, &c.host.lose))
        rc = wrong("lose", lose, "1% or 0.01", err);
    return rc ? rc : go(args, &c, err);
}

#define SHARED_OPTIONS                                                                                                 \
    {"interface", "IF", NULL, "where (default: by the route to the peer, or the only one that is up)"},                \
        {"address", "ADDR/LEN", NULL, "be a host of its own, with this address that the kernel does not have"},        \
        {"gateway", "ADDR", NULL, "with --address: the router for everything outside its subnet"},                     \
        {"vlan", "ID", NULL, "tag frames with this VLAN and the packet's priority"},                                   \
        {"priority", "N", NULL, "802.1p priority of the traffic, 0 to 7, by which it is paused (default: DSCP / 8)"},  \
        {"line", "RATE", NULL,                                                                                         \
            "the link's speed, in which PFC counts time (default: what the driver says, or 10Gbit/s)"},                \
        {"cnp-dscp", "N", "48", "DSCP of the congestion notifications that it sends"},                                 \
        {"ignore-pfc", NULL, NULL, "do not stop when the other side asks for it"}

static const struct cli_option send_options[] = {
    {"qps", "N", "1", "queue pairs"},
    {"message", "BYTES", "1MiB", "size of one RDMA WRITE"},
    {"bytes", "BYTES", NULL, "send so much in all, rounded up to whole messages, then end"},
    {"rate", "RATE", NULL, "at most so fast, all queue pairs together (default: as fast as the interface takes)"},
    {"interval", "TIME", NULL, "post a message of each queue pair so often, however long earlier ones take"},
    {"duration", "TIME", NULL, "end after this time (default: when --bytes are sent, or ^C)"},
    {"dscp", "N", "26", "DSCP, 0 to 63"},
    {"ecn", NULL, NULL, "packets may be marked, and rates follow the receiver's notifications (DCQCN)"},
    {"mtu", "BYTES", NULL, "payload of a packet: 256, 512, 1024, 2048 or 4096 (default: the largest that fits)"},
    {"depth", "N", "16", "messages outstanding at most, per queue pair"},
    {"timeout", "TIME", "67ms", "retransmission timeout"},
    {"retries", "N", "7", "timeouts in a row until a queue pair breaks; 0: never"},
    SHARED_OPTIONS,
    CLI_OPTION_JSON,
    {NULL},
};

static const struct cli_option receive_options[] = {
    {"duration", "TIME", NULL, "end after this time (default: ^C)"},
    {"lose", "SHARE", NULL, "throw away this share of packets, e.g. 1%, to see what that does to RDMA"},
    SHARED_OPTIONS,
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_roce_send = {
    .section = "Network",
    .name = "roce send",
    .summary = "write messages to a `meridian roce receive` as an RDMA adapter would (RoCEv2)",
    .operands = "PEER",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Real packets (UDP port 4791, valid ICRC) from user space: reliable connections that go back to the first "
        "missing\n"
        "packet when one is lost or overtaken, and priorities that stop when a PFC frame says so. No connection "
        "manager:\n"
        "any receiver takes any queue pair. Needs CAP_NET_RAW. It says how much arrived, what had to be sent again,\n"
        "how long messages took, and fails if a queue pair broke.",
    .example = "meridian roce send 10.1.1.2 --qps 4 --message 1MiB --rate 1Gbit/s --duration 10s",
    .options = send_options,
    .run = run_send,
};

const struct cli_verb verb_roce_receive = {
    .section = "Network",
    .name = "roce receive",
    .summary = "take what `meridian roce send` writes, and answer as an RDMA adapter would",
    .operands = "",
    .about =
        "Takes packets in order only, as adapters do: behind a lost or overtaken packet everything is thrown away "
        "until\n"
        "the sender has gone back. ^C ends it and shows what came. SIGUSR1 stalls it: it takes nothing and pauses its\n"
        "peers by PFC, until SIGUSR2.",
    .example = "meridian roce receive --interface eth0 --lose 0.1%",
    .options = receive_options,
    .run = run_receive,
};
