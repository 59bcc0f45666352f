/* bgp_pe: our speaker as a PE (or reflector) in a process, for interoperability tests. Commands come on stdin, a line each;
 * what the speaker tells its sink goes to stdout, a JSON object a line. Ends in order at end of input.
 *
 *   bgp_pe as=N id=A.B.C.D [next-hop=ADDRESS] [role=reflector] [listen=ADDRESS] [port=N] [hold=S] [restart=S] [retry=MS]
 *          [families=evpn,vpnv4,…] [quiet] PEER…        PEER: ADDRESS[,as=N][,client|link][,passive][,md5=KEY][,gtsm]
 *                                                             [,port=N][,limit=N][,local=ADDRESS][,next-hop-v6]
 *          [vrf=N,DEVICE,ADDRESS…]    a VRF with RD and target AS:N, its interface, our addresses there; peers of it are
 *                                     customers: [,vrf=N][,override][,allow-own=N][,site=RT][,pref=N]
 *
 *   ROUTE (pe_route.h)   originate it          withdraw ROUTE       many N RD WORD…   N RT-5 host routes from 10.0.0.0 on
 *   peers | dump         sessions; every best path with its bytes   want N            says so once N routes are held
 *   next-hop ADDRESS N   metric (4294967295: unreachable)           stop|start PEER   a peer by its address
 *   import[-end] RT      a route target that this PE wants          echo WORD         {"event":"echo","word":…} */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "bgp/vrf.h"
#include "pe_route.h"
#include "peering/peering.h"
#include "peering/show.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint32_t every_family[] = {
    BGP_EVPN, BGP_VPNV4, BGP_VPNV6, BGP_SR_POLICY_V6, BGP_SR_POLICY_V4, BGP_IPV6_UNICAST, BGP_RTC, BGP_IPV4_UNICAST};
#define FAMILIES (sizeof every_family / sizeof *every_family)

#define VRFS 4

struct pe_vrf { /* of the command line */
    uint32_t number;
    char device[16];
    struct ip_addr at[4];
    unsigned n;
};

struct pe {
    struct pe_vrf vrf[VRFS];
    unsigned n_vrfs;
    struct bgp_speaker *speaker;
    struct peering *peering;
    struct bgp_speaker_config config;
    struct bgp_session_config session; /* what all peers have in common */
    struct peering_config sockets;
    bool quiet, ends;
    size_t want;
    char line[16384];
    size_t len;
};

/* --- what is told ---------------------------------------------------------------------------------------------------------- */

static void print_hex(const char *name, const uint8_t *bytes, size_t len)
{
    char text[2 * 4096 + 1];
    if (len > 4096)
        len = 4096;
    hex_put(text, bytes, len);
    printf(",\"%s\":\"%s\"", name, text);
}

static void print_text(const char *name, const char *text)
{
    printf(",\"%s\":\"", name);
    for (; *text; text++)
        if (*text >= ' ' && *text < 0x7f)
            printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    printf("\"");
}

static void print_ip6(const char *name, const struct ip6 *a)
{
    char text[IP_TEXT_SIZE];
    print_text(name, ip6_print(text, a));
}

static void on_vpn(void *user, const struct bgp_vpn_route *r, bool withdrawn)
{
    const struct pe *pe = user;
    char prefix[IP_TEXT_SIZE];
    if (pe->quiet)
        return;
    printf("{\"event\":\"vpn\",\"withdrawn\":%s", withdrawn ? "true" : "false");
    print_text("family", peering_family_name(r->family));
    print_hex("rd", r->rd, 8);
    print_text("prefix", ip_prefix_print(prefix, &r->prefix));
    if (r->has_service) {
        print_ip6("sid", &r->service.sid);
        printf(",\"behaviour\":%u", r->service.behaviour);
    }
    if (!withdrawn) {
        print_hex("next_hop", r->next_hop, r->next_hop_len);
        print_hex("communities", r->communities, r->communities_len);
        printf(",\"color\":%u", r->color);
    }
    if (r->beacon)
        print_hex("beacon", r->beacon, r->beacon_len);
    printf("}\n");
}

static void on_underlay(void *user, uint16_t peer, const struct ip_prefix *p, bool withdrawn)
{
    const struct pe *pe = user;
    char prefix[IP_TEXT_SIZE];
    if (pe->quiet)
        return;
    printf("{\"event\":\"underlay\",\"peer\":%u,\"withdrawn\":%s", peer, withdrawn ? "true" : "false");
    print_text("prefix", ip_prefix_print(prefix, p));
    printf("}\n");
}

static void on_customer(void *user, uint32_t vrf, const struct bgp_customer_route *r, bool withdrawn)
{
    char text[IP_TEXT_SIZE];
    (void)user;
    printf("{\"event\":\"customer\",\"vrf\":%u,\"withdrawn\":%s", vrf, withdrawn ? "true" : "false");
    print_text("prefix", ip_prefix_print(text, &r->prefix));
    if (!withdrawn)
        print_text("gateway", ip_addr_print(text, &r->gateway));
    printf("}\n");
}

static void on_policy(void *user, const struct bgp_sr_policy *key, const struct bgp_sr_policy_path *p, bool withdrawn)
{
    char endpoint[IP_TEXT_SIZE];
    (void)user;
    printf("{\"event\":\"policy\",\"withdrawn\":%s,\"distinguisher\":%u,\"color\":%u", withdrawn ? "true" : "false",
        key->distinguisher, key->color);
    print_text("endpoint", ip_addr_print(endpoint, &key->endpoint));
    if (p) {
        printf(",\"preference\":%u", p->preference);
        print_text("name", p->name);
        if (p->has_bsid)
            print_ip6("bsid", &p->bsid);
        printf(",\"lists\":[");
        for (int i = 0; i < p->n_lists; i++) {
            printf("%s[", i ? "," : "");
            for (int k = 0; k < p->lists[i].n_segments; k++) {
                char sid[IP_TEXT_SIZE];
                printf("%s\"%s\"", k ? "," : "", ip6_print(sid, &p->lists[i].segments[k]));
            }
            printf("]");
        }
        printf("]");
    }
    printf("}\n");
}

static void on_state(void *user, uint16_t peer, enum bgp_state state, const struct bgp_notification *why)
{
    const struct pe *pe = user;
    char text[256];
    const struct bgp_peer_config *c = bgp_peer_config(pe->speaker, peer);
    printf("{\"event\":\"peer\"");
    print_text("address", ip_addr_print(text, &c->address));
    printf(",\"up\":%s", state == BGP_ESTABLISHED ? "true" : "false");
    if (why)
        print_text("why", bgp_notification_text(why, text, sizeof text));
    printf("}\n");
}

/* --- commands ---------------------------------------------------------------------------------------------------------------- */

static void print_path(const struct pe *pe, uint32_t family, const struct bgp_path *p)
{
    char text[256];
    printf("{\"event\":\"path\"");
    print_text("family", peering_family_name(family));
    print_text("route", bgp_nlri_text(family, p->raw, p->raw_len, text, sizeof text));
    print_text("from", p->source ? ip_addr_print(text, &bgp_peer_config(pe->speaker, p->source)->address) : "self");
    printf(",\"stale\":%s", p->stale ? "true" : "false");
    print_hex("nlri", p->raw, p->raw_len);
    print_hex("next_hop", p->attributes->next_hop, p->attributes->next_hop_len);
    print_hex("attributes", p->attributes->bytes, p->attributes->len);
    printf("}\n");
}

static void dump(const struct pe *pe)
{
    for (unsigned i = 0; i < FAMILIES; i++) {
        const struct bgp_rib *rib = bgp_speaker_rib(pe->speaker, every_family[i]);
        for (const struct bgp_route *r = bgp_rib_next(rib, 0); r; r = bgp_rib_next(rib, r->version))
            if (r->best)
                print_path(pe, every_family[i], r->best);
    }
    printf("{\"event\":\"dumped\"}\n");
}

static size_t held(const struct pe *pe)
{
    size_t n = 0;
    for (unsigned i = 0; i < FAMILIES; i++)
        n += bgp_rib_count(bgp_speaker_rib(pe->speaker, every_family[i]));
    return n;
}

static void print_peers(const struct pe *pe)
{
    struct buf b = {0};
    peering_show_peers(pe->speaker, clock_now_ns(), &b);
    printf("{\"event\":\"peers\",%s\n", buf_str(&b) + 1);
    buf_done(&b);
}

static int originate(struct pe *pe, char *line, bool withdrawn, struct error *err)
{
    struct pe_route r;
    int rc = pe_route_parse(&r, line, err);
    if (rc)
        return rc;
    if (!withdrawn)
        return bgp_originate(pe->speaker, r.family, r.raw, r.raw_len, r.attributes, r.len, clock_now_ns(), err);
    rc = bgp_withdraw(pe->speaker, r.family, r.raw, r.raw_len, clock_now_ns());
    return rc ? error_set(err, -rc, "there was no such route") : 0;
}

static int many(struct pe *pe, char *rest, struct error *err)
{
    char line[1024], rd[64], words[900] = "";
    unsigned n;
    int at = 0, rc = 0;
    if (sscanf(rest, "%u %63s%n", &n, rd, &at) != 2)
        return error_set(err, EINVAL, "many N RD WORD…");
    snprintf(words, sizeof words, "%s", rest + at);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        uint32_t a = 10u << 24 | i;
        snprintf(
            line, sizeof line, "rt5 %s %u.%u.%u.%u/32 %s", rd, a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255, words);
        rc = originate(pe, line, false, err);
    }
    return rc;
}

static int by_address(struct pe *pe, const char *text, uint16_t *ret, struct error *err)
{
    struct ip_addr a;
    int rc = ip_addr_parse(&a, text, err);
    *ret = rc ? 0 : bgp_peer_of_address(pe->speaker, &a);
    return rc ? rc : *ret ? 0 : error_set(err, ENOENT, "there is no peer %s", text);
}

static int metric(struct pe *pe, char *rest, struct error *err)
{
    char address[64];
    unsigned value;
    struct ip6 hop;
    if (sscanf(rest, "%63s %u", address, &value) != 2)
        return error_set(err, EINVAL, "next-hop ADDRESS METRIC");
    int rc = ip6_parse(&hop, address, err);
    return rc ? rc : bgp_next_hop_set(pe->speaker, &hop, value);
}

static int import(struct pe *pe, const char *text, bool wanted, struct error *err)
{
    uint8_t target[8];
    int rc = pe_pair_parse(target, text, 2, err);
    if (rc == 0 && wanted)
        return bgp_import(pe->speaker, pe->session.local_as, target, clock_now_ns(), err);
    if (rc == 0 && bgp_import_end(pe->speaker, pe->session.local_as, target, clock_now_ns()))
        return error_set(err, ENOENT, "%s was not wanted", text);
    return rc;
}

static int command(struct pe *pe, char *line, struct error *err)
{
    char word[32] = "", *rest;
    int at = 0;
    uint16_t peer;
    sscanf(line, "%31s %n", word, &at);
    rest = line + at;
    if (strcmp(word, "withdraw") == 0)
        return originate(pe, rest, true, err);
    if (strcmp(word, "many") == 0)
        return many(pe, rest, err);
    if (strcmp(word, "import") == 0 || strcmp(word, "import-end") == 0)
        return import(pe, rest, !word[6], err);
    if (strcmp(word, "next-hop") == 0)
        return metric(pe, rest, err);
    if (strcmp(word, "stop") == 0 || strcmp(word, "start") == 0) {
        int rc = by_address(pe, rest, &peer, err);
        if (rc == 0 && word[2] == 'o')
            bgp_peer_stop(pe->speaker, peer, "a test", clock_now_ns());
        else if (rc == 0)
            bgp_peer_start(pe->speaker, peer, clock_now_ns());
        return rc;
    }
    if (strcmp(word, "want") == 0)
        pe->want = strtoul(rest, NULL, 10);
    else if (strcmp(word, "peers") == 0)
        print_peers(pe);
    else if (strcmp(word, "dump") == 0)
        dump(pe);
    else if (strcmp(word, "echo") == 0)
        printf("{\"event\":\"echo\",\"word\":\"%s\"}\n", rest);
    else
        return originate(pe, line, false, err);
    return 0;
}

static void on_input(void *user)
{
    struct pe *pe = user;
    struct error err = {0};
    ssize_t n = read(0, pe->line + pe->len, sizeof pe->line - 1 - pe->len);
    pe->ends = n <= 0;
    pe->len += n > 0 ? (size_t)n : 0;
    pe->line[pe->len] = 0;
    for (char *end; (end = strchr(pe->line, '\n')) != NULL;) {
        *end = 0;
        if (*pe->line && command(pe, pe->line, &err)) {
            printf("{\"event\":\"error\"");
            print_text("text", err.text);
            printf("}\n");
        }
        pe->len -= (size_t)(end + 1 - pe->line);
        memmove(pe->line, end + 1, pe->len + 1);
    }
}

/* --- the command line ----------------------------------------------------------------------------------------------------------- */

static int take_families(struct bgp_session_config *s, char *list, struct error *err)
{
    char *rest;
    s->n_families = 0;
    for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        unsigned i = 0;
        while (i < FAMILIES && strcmp(peering_family_name(every_family[i]), name) != 0)
            i++;
        if (i == FAMILIES)
            return error_set(err, EINVAL, "%s is no address family", name);
        s->families[s->n_families++] = every_family[i];
    }
    return 0;
}

static int take_peer_word(struct bgp_peer_config *c, struct peering_peer *s, char *word, struct error *err)
{
    char *v = strchr(word, '=');
    v = v ? v + 1 : word + strlen(word);
    if (strncmp(word, "as=", 3) == 0)
        c->session.peer_as = (uint32_t)strtoul(v, NULL, 10);
    else if (strncmp(word, "md5=", 4) == 0)
        snprintf(s->secure.md5, sizeof s->secure.md5, "%s", v);
    else if (strncmp(word, "port=", 5) == 0)
        s->port = (uint16_t)strtoul(v, NULL, 10);
    else if (strncmp(word, "limit=", 6) == 0)
        c->prefixes_most = (uint32_t)strtoul(v, NULL, 10);
    else if (strncmp(word, "local=", 6) == 0)
        return ip_addr_parse(&s->source, v, err);
    else if (strncmp(word, "allow-own=", 10) == 0)
        c->own_as_allowed = (uint8_t)strtoul(v, NULL, 10);
    else if (strncmp(word, "pref=", 5) == 0)
        c->customer.local_pref = (uint32_t)strtoul(v, NULL, 10);
    else if (strncmp(word, "site=", 5) == 0) {
        c->customer.has_site = true;
        return pe_pair_parse(c->customer.site, v, 3, err);
    } else if (strcmp(word, "override") == 0)
        c->customer.as_override = true;
    else if (strcmp(word, "next-hop-v6") == 0)
        c->six_hops_assumed = true;
    else if (strcmp(word, "gtsm") == 0)
        s->secure.gtsm = true;
    else if (strcmp(word, "passive") == 0)
        c->session.passive = true;
    else if (strcmp(word, "client") == 0)
        c->kind = BGP_PEER_CLIENT;
    else if (strcmp(word, "link") == 0)
        c->kind = BGP_PEER_LINK;
    else
        return error_set(err, EINVAL, "\"%s\" of a peer is not known", word);
    return 0;
}

static struct pe_vrf *vrf_of(struct pe *pe, uint32_t number)
{
    for (unsigned i = 0; i < pe->n_vrfs; i++)
        if (pe->vrf[i].number == number)
            return &pe->vrf[i];
    return NULL;
}

/* "vrf=7": a customer of it. */
static int take_customer(
    struct pe *pe, struct bgp_peer_config *c, struct peering_peer *s, const char *v, struct error *err)
{
    struct pe_vrf *vrf = vrf_of(pe, (uint32_t)strtoul(v, NULL, 10));
    if (!vrf)
        return error_set(err, EINVAL, "there is no VRF %s", v);
    c->kind = BGP_PEER_CUSTOMER;
    c->customer.vrf = vrf->number;
    c->session.n_families = 2;
    c->session.families[0] = BGP_IPV4_UNICAST;
    c->session.families[1] = BGP_IPV6_UNICAST;
    snprintf(s->secure.device, sizeof s->secure.device, "%s", vrf->device);
    for (unsigned i = 0; i < vrf->n; i++)
        if (vrf->at[i].family == IP_V4)
            memcpy(c->customer.next_hop4, vrf->at[i].a.b, 4);
        else
            c->next_hop = vrf->at[i].a;
    return 0;
}

static int take_vrf(struct pe *pe, char *words, struct error *err)
{
    char *rest, *word = strtok_r(words, ",", &rest);
    struct pe_vrf *v = &pe->vrf[pe->n_vrfs];
    int rc = 0;
    if (pe->n_vrfs == VRFS || !word)
        return error_set(err, EINVAL, "at most %d VRFs", VRFS);
    v->number = (uint32_t)strtoul(word, NULL, 10);
    word = strtok_r(NULL, ",", &rest);
    snprintf(v->device, sizeof v->device, "%s", word ? word : "");
    while (rc == 0 && v->n < 4 && (word = strtok_r(NULL, ",", &rest)) != NULL)
        rc = ip_addr_parse(&v->at[v->n++], word, err);
    pe->n_vrfs++;
    return rc;
}

static int open_vrf(struct pe *pe, const struct pe_vrf *v, struct error *err)
{
    uint8_t attributes[64], sid[64];
    struct bgp_srv6_service service = {
        .sid = {{0xfc, 0xbb, 0xbb, 0}}, .behaviour = 64, .block_bits = 32, .node_bits = 16, .function_bits = 16};
    struct bgp_vrf_config c = {.vrf = v->number, .rd = {0, 1}, .n_imports = 1, .attributes = attributes};
    memcpy(c.rd + 2, pe->config.identifier, 4);
    bytes_put_be16(c.rd + 6, (uint16_t)v->number);
    memcpy(c.imports[0], (uint8_t[]){0, 2}, 2);
    bytes_put_be16(c.imports[0] + 2, (uint16_t)pe->session.local_as);
    bytes_put_be32(c.imports[0] + 4, v->number);
    memcpy(service.sid.b + 4, pe->config.identifier + 2, 2);
    bytes_put_be16(service.sid.b + 6, (uint16_t)(0xf000 + v->number));
    int at = bgp_attribute_put(attributes, 0, sizeof attributes, 0xc0, BGP_EXTENDED_COMMUNITIES, c.imports[0], 8);
    at = bgp_attribute_put(
        attributes, (size_t)at, sizeof attributes, 0xc0, BGP_PREFIX_SID, sid, bgp_srv6_service_encode(&service, sid));
    c.len = (size_t)at;
    int rc = bgp_vrf_set(pe->speaker, &c, clock_now_ns(), err);
    for (unsigned i = 0; rc == 0 && i < v->n; i++)
        rc = peering_listen_vrf(pe->peering, v->number, &v->at[i], v->device, err);
    return rc;
}

static int add_peer(struct pe *pe, char *operand, struct error *err)
{
    char *rest, *word = strtok_r(operand, ",", &rest);
    struct bgp_peer_config c = {.session = pe->session, .next_hop = pe->config.next_hop};
    struct peering_peer sockets = {0};
    c.session.peer_as = c.session.local_as;
    int rc = ip_addr_parse(&c.address, word, err);
    while (rc == 0 && (word = strtok_r(NULL, ",", &rest)) != NULL)
        rc = strncmp(word, "vrf=", 4) == 0 ? take_customer(pe, &c, &sockets, word + 4, err)
                                           : take_peer_word(&c, &sockets, word, err);
    if (rc == 0)
        rc = bgp_peer_add(pe->speaker, &c, clock_now_ns(), &sockets.peer, err);
    return rc ? rc : peering_peer_add(pe->peering, &sockets, err);
}

static int take_option(struct pe *pe, char *word, struct error *err)
{
    char *v = strchr(word, '=');
    struct ip_addr a;
    int rc = 0;
    if (!v || v++ == word) {
        pe->quiet |= strcmp(word, "quiet") == 0;
        return 0;
    }
    if (strncmp(word, "as=", 3) == 0) {
        pe->session.local_as = (uint32_t)strtoul(v, NULL, 10);
    } else if (strncmp(word, "id=", 3) == 0) {
        rc = ip_addr_parse(&a, v, err);
        memcpy(pe->config.identifier, a.a.b, 4);
    } else if (strncmp(word, "next-hop=", 9) == 0) {
        rc = ip6_parse(&pe->config.next_hop, v, err);
    } else if (strncmp(word, "listen=", 7) == 0) {
        rc = ip_addr_parse(&pe->sockets.listen[0], v, err);
        pe->sockets.n_listen = 1;
    } else if (strncmp(word, "vrf=", 4) == 0) {
        rc = take_vrf(pe, v, err);
    } else if (strncmp(word, "families=", 9) == 0) {
        rc = take_families(&pe->session, v, err);
    } else if (strcmp(word, "role=reflector") == 0) {
        pe->config.role = BGP_REFLECTOR;
    } else if (strncmp(word, "port=", 5) == 0) {
        pe->sockets.port = (uint16_t)strtoul(v, NULL, 10);
    } else if (strncmp(word, "hold=", 5) == 0) {
        pe->session.hold_time_s = (uint16_t)strtoul(v, NULL, 10);
    } else if (strncmp(word, "restart=", 8) == 0) {
        pe->session.restart_time_s = (uint16_t)strtoul(v, NULL, 10);
    } else if (strncmp(word, "retry=", 6) == 0) {
        pe->session.connect_retry_ns = (int64_t)strtoul(v, NULL, 10) * NS_PER_MS;
    } else {
        rc = error_set(err, EINVAL, "\"%s\" is not known", word);
    }
    return rc;
}

static bool is_peer(const char *word)
{
    return !strchr(word, '=') ? strcmp(word, "quiet") != 0 : strcspn(word, ",") < strcspn(word, "=");
}

static int start(struct pe *pe, int argc, char **argv, struct error *err)
{
    struct bgp_sink sink = {.user = pe,
        .vpn_route = on_vpn,
        .customer_route = on_customer,
        .underlay_route = on_underlay,
        .policy = on_policy,
        .peer_state = on_state};
    int rc = 0;
    for (int i = 1; rc == 0 && i < argc; i++)
        if (!is_peer(argv[i]))
            rc = take_option(pe, argv[i], err);
    if (rc == 0)
        rc = bgp_speaker_create(&pe->speaker, &pe->config, &sink, err);
    pe->sockets.speaker = pe->speaker;
    if (rc == 0)
        rc = peering_create(&pe->peering, &pe->sockets, err);
    for (unsigned i = 0; rc == 0 && i < pe->n_vrfs; i++)
        rc = open_vrf(pe, &pe->vrf[i], err);
    for (int i = 1; rc == 0 && i < argc; i++)
        if (is_peer(argv[i]))
            rc = add_peer(pe, argv[i], err);
    return rc ? rc : peering_watch(pe->peering, 0, on_input, pe);
}

int main(int argc, char **argv)
{
    static struct pe pe = {.session = {.hold_time_s = 90, .restart_time_s = 120, .connect_retry_ns = 500 * NS_PER_MS}};
    struct error err = {0};
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    log_setup(LOG_LEVEL_WARN, false, "bgp_pe");
    memcpy(pe.session.families, every_family, sizeof every_family);
    pe.session.n_families = 6;
    int rc = start(&pe, argc, argv, &err);
    if (rc)
        fprintf(stderr, "%s\n", err.text);
    printf("{\"event\":\"started\"}\n");
    fflush(stdout);
    while (rc == 0 && !pe.ends) {
        peering_step(pe.peering, 200 * NS_PER_MS);
        if (pe.want && held(&pe) >= pe.want) {
            printf("{\"event\":\"held\",\"routes\":%zu,\"at_ns\":%lld}\n", held(&pe), (long long)clock_now_ns());
            pe.want = 0;
        }
        fflush(stdout);
    }
    peering_free(pe.peering);
    bgp_speaker_free(pe.speaker);
    return rc ? 1 : 0;
}
