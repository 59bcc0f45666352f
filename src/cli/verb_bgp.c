/* `meridian bgp reflect`: a route reflector alone, for networks whose controller is something else, and for interoperability
 * tests. `meridian bgp show`: sessions and routes of any of our speakers, over its control socket. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "peering/peering.h"
#include "peering/show.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static const uint32_t all_families[] = {
    BGP_EVPN, BGP_VPNV4, BGP_VPNV6, BGP_SR_POLICY_V6, BGP_SR_POLICY_V4, BGP_IPV6_UNICAST, BGP_RTC};

#define RANGES_MOST 8u

/* What operands say of a peer, or of all that may come from a prefix. */
struct client {
    struct ip_prefix range; /* family 0: one peer */
    struct bgp_peer_config speaker;
    struct peering_peer sockets;
};

struct reflector {
    struct client ranges[RANGES_MOST];
    unsigned n_ranges;
    struct bgp_speaker *speaker;
    struct peering *peering;
    struct ip_addr source; /* family 0: the kernel's choice */
    int control;
    char control_path[108];
};

static void on_state(void *user, uint16_t peer, enum bgp_state state, const struct bgp_notification *why)
{
    struct reflector *r = user;
    char address[IP_TEXT_SIZE], text[256] = "";
    ip_addr_print(address, &bgp_peer_config(r->speaker, peer)->address);
    if (why)
        bgp_notification_text(why, text, sizeof text);
    log_info("BGP session with %s is %s%s%s", address, state == BGP_ESTABLISHED ? "up" : "down", why ? ": " : "", text);
}

static int read_address(struct client *c, const char *word, struct error *err)
{
    if (!strchr(word, '/'))
        return ip_addr_parse(&c->speaker.address, word, err);
    c->speaker.session.passive = true; /* nobody knows yet where they are */
    return ip_prefix_parse(&c->range, word, err);
}

/* One of the words behind the address. */
static int read_word(struct client *c, const char *word, const char *operand, struct error *err)
{
    if (strncmp(word, "md5=", 4) == 0 && strlen(word) <= 4 + PEERING_MD5_MOST && !c->range.family)
        strcpy(c->sockets.secure.md5, word + 4);
    else if (strncmp(word, "port=", 5) == 0)
        c->sockets.port = (uint16_t)strtoul(word + 5, NULL, 10);
    else if (strncmp(word, "limit=", 6) == 0)
        c->speaker.prefixes_most = (uint32_t)strtoul(word + 6, NULL, 10);
    else if (strcmp(word, "passive") == 0)
        c->speaker.session.passive = true;
    else if (strcmp(word, "next-hop-v6") == 0)
        c->speaker.six_hops_assumed = true;
    else if (strcmp(word, "gtsm") == 0)
        c->sockets.secure.gtsm = true;
    else
        return error_set(err, EINVAL,
            "\"%s\" in peer %s: known are md5=KEY (of one peer, not of a prefix), port=N, limit=N, passive, gtsm and "
            "next-hop-v6",
            word, operand);
    return 0;
}

static int add_client(struct reflector *r, const struct client *like, struct error *err)
{
    struct peering_peer sockets = like->sockets;
    if (r->source.family == like->speaker.address.family)
        sockets.source = r->source;
    int rc = bgp_peer_add(r->speaker, &like->speaker, clock_now_ns(), &sockets.peer, err);
    return rc ? rc : peering_peer_add(r->peering, &sockets, err);
}

/* "ADDRESS|PREFIX[,md5=KEY][,port=N][,limit=N][,passive][,gtsm][,next-hop-v6]" */
static int add_peer(struct reflector *r, const char *operand, uint32_t as, struct error *err)
{
    char copy[512], *rest, *word;
    struct client c = {
        .speaker = {.kind = BGP_PEER_CLIENT,
            .session = {.local_as = as, .peer_as = as, .hold_time_s = 90, .restart_time_s = 120, .n_families = 7}}};
    memcpy(c.speaker.session.families, all_families, sizeof all_families);
    if (snprintf(copy, sizeof copy, "%s", operand) >= (int)sizeof copy)
        return error_set(err, EINVAL, "%.60s…: too long for a peer", operand);
    word = strtok_r(copy, ",", &rest);
    int rc = read_address(&c, word ? word : "", err);
    while (rc == 0 && (word = strtok_r(NULL, ",", &rest)) != NULL)
        rc = read_word(&c, word, operand, err);
    if (rc || !c.range.family)
        return rc ? rc : add_client(r, &c, err);
    if (r->n_ranges == RANGES_MOST)
        return error_set(err, ENOSPC, "at most %u prefixes of peers", RANGES_MOST);
    r->ranges[r->n_ranges++] = c;
    return 0;
}

static bool holds(const struct ip_prefix *p, const struct ip_addr *a)
{
    unsigned whole = p->len / 8, rest = p->len % 8;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return p->family == a->family && memcmp(p->a.b, a->a.b, whole) == 0 &&
           (!rest || ((p->a.b[whole] ^ a->a.b[whole]) & mask) == 0);
}

/* A connection from one of the prefixes: a client more. */
static uint16_t on_stranger(void *user, const struct ip_addr *from)
{
    struct reflector *r = user;
    struct error err;
    char text[IP_TEXT_SIZE];
    for (unsigned i = 0; i < r->n_ranges; i++) {
        struct client c = r->ranges[i];
        if (!holds(&c.range, from))
            continue;
        c.speaker.address = *from;
        if (add_client(r, &c, &err) == 0)
            return bgp_peer_of_address(r->speaker, from);
        log_warn("BGP: %s cannot be a client: %s", ip_addr_print(text, from), err.text);
    }
    return 0;
}

static void on_control(void *user)
{
    struct reflector *r = user;
    peering_show_serve(r->control, r->speaker, clock_now_ns());
}

static int open_control(struct reflector *r, const char *path, struct error *err)
{
    if (!path)
        return 0;
    r->control = peering_show_listen(path, err);
    if (r->control < 0)
        return r->control;
    snprintf(r->control_path, sizeof r->control_path, "%s", path);
    return peering_watch(r->peering, r->control, on_control, r);
}

static int open_reflector(struct reflector *r, const struct cli_args *args, struct error *err)
{
    struct bgp_speaker_config c = {.role = BGP_REFLECTOR};
    struct bgp_sink sink = {.user = r, .peer_state = on_state};
    struct peering_config sockets = {.n_listen = 1};
    struct ip_addr id;
    uint32_t as = 0, port = 179;
    const char *text;
    int rc = cli_need(args, "id", &text, err);
    if (rc == 0)
        rc = ip_addr_parse(&id, text, err);
    if (rc == 0 && id.family != IP_V4)
        rc = error_set(err, EINVAL, "--id %s: a BGP identifier is written like an IPv4 address", text);
    if (rc == 0)
        rc = cli_need(args, "as", &text, err);
    if (rc == 0)
        rc = cli_u32(args, "as", 1, UINT32_MAX, &as, err);
    if (rc == 0)
        rc = cli_u32(args, "port", 1, 65535, &port, err);
    if (rc == 0)
        rc = ip_addr_parse(&sockets.listen[0], cli_str(args, "listen"), err);
    if (rc)
        return rc;
    static const struct ip6 any;
    if (!ip6_equal(&sockets.listen[0].a, &any)) /* who listens at one address connects from it too */
        r->source = sockets.listen[0];
    memcpy(c.identifier, id.a.b, 4);
    if (getrandom(&c.seed, sizeof c.seed, 0) != sizeof c.seed)
        return error_set(err, errno, "no random bytes: %s", strerror(errno));
    rc = bgp_speaker_create(&r->speaker, &c, &sink, err);
    sockets.speaker = r->speaker;
    sockets.port = (uint16_t)port;
    if (rc == 0)
        rc = peering_create(&r->peering, &sockets, err);
    if (rc == 0)
        rc = open_control(r, cli_str(args, "control"), err);
    for (size_t i = 0; rc == 0 && i < cli_n_operands(args); i++)
        rc = add_peer(r, cli_operand(args, i), as, err);
    if (rc == 0 && r->n_ranges)
        peering_strangers(r->peering, on_stranger, r);
    return rc;
}

static int run_reflect(const struct cli_args *args, struct error *err)
{
    struct reflector r = {.control = -1};
    log_setup(LOG_LEVEL_INFO, false, "bgp");
    int rc = open_reflector(&r, args, err);
    if (rc == 0)
        log_info("reflecting for %zu clients", cli_n_operands(args));
    while (rc == 0 && !cli_interrupted)
        peering_step(r.peering, 500 * NS_PER_MS);
    peering_free(r.peering);
    bgp_speaker_free(r.speaker);
    if (r.control >= 0) {
        close(r.control);
        unlink(r.control_path);
    }
    return rc;
}

static const struct cli_option reflect_options[] = {
    {"as", "NUMBER", NULL, "the AS number, ours and the clients'"},
    {"id", "A.B.C.D", NULL, "BGP identifier, also the cluster's"},
    {"listen", "ADDRESS", "::", "address to listen on; :: takes both families"},
    {"port", "PORT", "179", "port to listen on and to connect to"},
    {"control", "SOCKET", NULL, "unix socket for `meridian bgp show`"},
    {0},
};

const struct cli_verb verb_bgp_reflect = {
    .section = "Network",
    .name = "bgp reflect",
    .summary = "reflect BGP routes between clients",
    .operands = "PEER...",
    .min_operands = 1,
    .max_operands = -1,
    .about =
        "A route reflector (RFC 4456) for EVPN, VPNv4, VPNv6, SR Policy and IPv6 unicast that hands on every "
        "attribute byte\n"
        "for byte; clients that speak route target constraint get only what they want. PEER is\n"
        "ADDRESS[,md5=KEY][,port=N][,limit=ROUTES][,passive][,gtsm][,next-hop-v6]; next-hop-v6: it takes VPNv4 routes "
        "with IPv6\n"
        "next hops though it does not offer RFC 8950. A PREFIX instead of an address: whoever connects from there "
        "becomes a "
        "client,\n"
        "so that a new router needs nothing written here (without MD5). Ends on ^C or SIGTERM; sessions are told to "
        "cease.",
    .example = "meridian bgp reflect --as 65000 --id 10.0.0.9 --control /run/bgp.sock fd00::1 fd00::2,md5=secret\n"
               "meridian bgp reflect --as 65000 --id 10.0.0.9 fd00:6d65::/32,limit=10000",
    .options = reflect_options,
    .run = run_reflect,
};

static int run_show(const struct cli_args *args, struct error *err)
{
    struct buf answer = {0};
    const char *what = cli_operand(args, 0);
    if (strcmp(what, "peers") != 0 && strcmp(what, "routes") != 0) {
        error_set(err, EINVAL, "\"%s\": show peers or routes", what);
        return CLI_USAGE;
    }
    int rc = peering_show_ask(cli_operand(args, 1), what, &answer, err);
    if (rc == 0)
        printf("%s\n", buf_str(&answer));
    buf_done(&answer);
    return rc;
}

const struct cli_verb verb_bgp_show = {
    .section = "Network",
    .name = "bgp show",
    .summary = "show BGP sessions or routes of a running daemon as JSON",
    .operands = "peers|routes SOCKET",
    .min_operands = 2,
    .max_operands = 2,
    .about = "Asks a daemon over its control socket: sessions with their state, counters and last error, or routes "
             "with every\n"
             "path, its attributes and which one is best.",
    .example = "meridian bgp show peers /run/bgp.sock",
    .run = run_show,
};
