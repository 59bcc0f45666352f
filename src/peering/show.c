#include "peering/show.h"

#include "base/clock.h"
#include "bgp/vrf.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <yyjson.h>

static const uint32_t families[] = {
    BGP_IPV6_UNICAST, BGP_IPV4_UNICAST, BGP_EVPN, BGP_VPNV4, BGP_VPNV6, BGP_SR_POLICY_V6, BGP_SR_POLICY_V4, BGP_RTC};
#define FAMILIES (sizeof families / sizeof *families)

const char *peering_family_name(uint32_t family)
{
    static const char *const name[FAMILIES] = {
        "ipv6-unicast", "ipv4-unicast", "evpn", "vpnv4", "vpnv6", "sr-policy-v6", "sr-policy-v4", "rtc"};
    for (unsigned i = 0; i < FAMILIES; i++)
        if (families[i] == family)
            return name[i];
    return "unknown";
}

static const char *state_name(enum bgp_state state)
{
    static const char *const name[] = {"idle", "connect", "active", "open-sent", "open-confirm", "established"};
    return name[state];
}

static int finish(yyjson_mut_doc *doc, struct buf *ret)
{
    size_t len;
    char *text = doc ? yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, &len) : NULL;
    int rc = text ? buf_append(ret, text, len) : -ENOMEM;
    free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

static void put_counters(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct bgp_session *s)
{
    const struct bgp_session_counters *c = &s->counters;
    yyjson_mut_obj_add_uint(doc, o, "updates_in", c->updates_in);
    yyjson_mut_obj_add_uint(doc, o, "updates_out", c->updates_out);
    yyjson_mut_obj_add_uint(doc, o, "bytes_in", c->bytes_in);
    yyjson_mut_obj_add_uint(doc, o, "bytes_out", c->bytes_out);
    yyjson_mut_obj_add_uint(doc, o, "established", c->established);
    yyjson_mut_obj_add_uint(doc, o, "dropped", c->dropped);
    yyjson_mut_obj_add_uint(doc, o, "attributes_discarded", c->attributes_discarded);
    yyjson_mut_obj_add_uint(doc, o, "treated_as_withdraw", c->treated_as_withdraw);
    yyjson_mut_obj_add_uint(doc, o, "faulty_updates", c->faulty);
    yyjson_mut_obj_add_uint(doc, o, "routes_too_long", c->routes_too_long);
    if (s->last_fault[0])
        yyjson_mut_obj_add_strcpy(doc, o, "last_fault", s->last_fault);
}

static void put_refused(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct bgp_refused *r)
{
    static const char *const name[BGP_REFUSALS] = {
        [BGP_REFUSED_AS_LOOP] = "as_loop",
        [BGP_REFUSED_REFLECTED] = "reflected_before",
        [BGP_REFUSED_FAULTY] = "malformed",
        [BGP_REFUSED_OVERLAY] = "segment_and_gateway",
        [BGP_REFUSED_LIMIT] = "over_limit",
        [BGP_REFUSED_PROVIDERS] = "provider_attributes",
        [BGP_UNTOLD_TOO_LONG] = "untold_too_long",
        [BGP_UNTOLD_SIX_HOP] = "untold_ipv6_next_hop",
        [BGP_UNTOLD_SITE] = "untold_own_site",
    };
    uint64_t all = 0;
    yyjson_mut_val *counts = yyjson_mut_obj_add_obj(doc, o, "refused");
    for (int i = 0; i < BGP_REFUSALS; i++) {
        all += r->count[i];
        if (r->count[i])
            yyjson_mut_obj_add_uint(doc, counts, name[i], r->count[i]);
    }
    if (!all)
        return;
    yyjson_mut_val *last = yyjson_mut_obj_add_obj(doc, o, "last_refused");
    yyjson_mut_obj_add_strcpy(doc, last, "route", r->route);
    yyjson_mut_obj_add_str(doc, last, "why", bgp_refusal_text(r->last));
}

static const char *kind_name(enum bgp_peer_kind kind)
{
    static const char *const name[] = {"internal", "client", "link", "customer"};
    return name[kind];
}

static void put_peer(yyjson_mut_doc *doc, yyjson_mut_val *list, struct bgp_speaker *s, uint16_t peer, int64_t now)
{
    const struct bgp_peer_config *config = bgp_peer_config(s, peer);
    const struct bgp_session *session = bgp_peer_best_session(s, peer);
    char text[256];
    uint64_t routes = 0;
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);
    yyjson_mut_obj_add_uint(doc, o, "peer", peer);
    yyjson_mut_obj_add_strcpy(doc, o, "address", ip_addr_print(text, &config->address));
    yyjson_mut_obj_add_uint(doc, o, "as", config->session.peer_as);
    yyjson_mut_obj_add_str(doc, o, "kind", kind_name(config->kind));
    if (config->kind == BGP_PEER_CUSTOMER)
        yyjson_mut_obj_add_uint(doc, o, "vrf", config->customer.vrf);
    yyjson_mut_obj_add_str(doc, o, "state", state_name(session->state));
    yyjson_mut_obj_add_real(doc, o, "since_s", (double)(now - session->state_since_ns) / NS_PER_S);
    yyjson_mut_val *list_of = yyjson_mut_obj_add_arr(doc, o, "families");
    for (unsigned i = 0; i < FAMILIES; i++) {
        routes += bgp_rib_from(bgp_peer_rib(s, peer, families[i]), peer);
        if (session->state == BGP_ESTABLISHED && bgp_session_family(session, families[i]))
            yyjson_mut_arr_add_str(doc, list_of, peering_family_name(families[i]));
    }
    yyjson_mut_obj_add_uint(doc, o, "routes_in", routes);
    if (session->state >= BGP_OPEN_CONFIRM && session->peer.hostname[0])
        yyjson_mut_obj_add_strcpy(doc, o, "hostname", session->peer.hostname);
    if (session->last.code) {
        yyjson_mut_obj_add_strcpy(doc, o, "last_error", bgp_notification_text(&session->last, text, sizeof text));
        yyjson_mut_obj_add_bool(doc, o, "last_error_sent", session->last_sent);
    }
    put_counters(doc, o, session);
    put_refused(doc, o, bgp_peer_refused(s, peer));
}

int peering_show_peers(struct bgp_speaker *s, int64_t now, struct buf *ret)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *list = yyjson_mut_obj_add_arr(doc, root, "peers");
    yyjson_mut_doc_set_root(doc, root);
    for (uint16_t i = 1; i < BGP_PEERS_MOST; i++)
        if (bgp_peer_config(s, i))
            put_peer(doc, list, s, i, now);
    return finish(doc, ret);
}

static void put_path(
    yyjson_mut_doc *doc, yyjson_mut_val *list, uint32_t vrf, uint32_t family, const struct bgp_path *p, bool best)
{
    char text[256];
    uint16_t len;
    struct bgp_srv6_service service;
    const struct bgp_attributes *a = p->attributes;
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);
    yyjson_mut_obj_add_str(doc, o, "family", peering_family_name(family));
    if (vrf)
        yyjson_mut_obj_add_uint(doc, o, "vrf", vrf);
    yyjson_mut_obj_add_strcpy(doc, o, "route", bgp_nlri_text(family, p->raw, p->raw_len, text, sizeof text));
    yyjson_mut_obj_add_uint(doc, o, "source", p->source);
    if (p->source >= BGP_IMPORTED_EVPN)
        yyjson_mut_obj_add_bool(doc, o, "imported", true);
    yyjson_mut_obj_add_bool(doc, o, "best", best);
    yyjson_mut_obj_add_bool(doc, o, "stale", p->stale);
    yyjson_mut_obj_add_uint(doc, o, "local_pref", a->local_pref);
    yyjson_mut_obj_add_uint(doc, o, "path_length", a->path_length);
    if (a->next_hop_len == 4) {
        struct ip_addr four = {.family = IP_V4};
        memcpy(four.a.b, a->next_hop, 4);
        yyjson_mut_obj_add_strcpy(doc, o, "next_hop", ip_addr_print(text, &four));
    } else if (a->next_hop_len >= 16) {
        struct ip6 hop;
        memcpy(hop.b, a->next_hop + (a->next_hop_len == 24 || a->next_hop_len == 48 ? 8 : 0), 16);
        yyjson_mut_obj_add_strcpy(doc, o, "next_hop", ip6_print(text, &hop));
    }
    const uint8_t *sid = bgp_attributes_find(a, BGP_PREFIX_SID, &len);
    if (sid && bgp_srv6_service_decode(&service, sid, len, 0) == 0) {
        yyjson_mut_obj_add_strcpy(doc, o, "sid", ip6_print(text, &service.sid));
        yyjson_mut_obj_add_uint(doc, o, "behaviour", service.behaviour);
    }
    if (bgp_attributes_find(a, BGP_XSEC_BEACON, &len))
        yyjson_mut_obj_add_uint(doc, o, "beacon_bytes", len);
    yyjson_mut_val *types = yyjson_mut_obj_add_arr(doc, o, "attributes");
    for (size_t at = 0; at < a->len;) {
        bool extended = a->bytes[at] & BGP_FLAG_EXTENDED;
        yyjson_mut_arr_add_uint(doc, types, a->bytes[at + 1]);
        at += extended ? 4u + (uint32_t)(a->bytes[at + 2] << 8 | a->bytes[at + 3]) : 3u + a->bytes[at + 2];
    }
}

static void put_rib(
    yyjson_mut_doc *doc, yyjson_mut_val *list, uint32_t vrf, uint32_t family, const struct bgp_rib *rib, unsigned most)
{
    const struct bgp_route *r = bgp_rib_next(rib, 0);
    for (unsigned n = 0; r && n < most; r = bgp_rib_next(rib, r->version), n++)
        for (const struct bgp_path *p = r->paths; p; p = p->next)
            put_path(doc, list, vrf, family, p, p == r->best);
}

int peering_show_routes(struct bgp_speaker *s, unsigned most, int64_t now, struct buf *ret)
{
    (void)now;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *list = yyjson_mut_obj_add_arr(doc, root, "routes");
    yyjson_mut_val *total = yyjson_mut_obj_add_obj(doc, root, "total");
    yyjson_mut_doc_set_root(doc, root);
    for (unsigned i = 0; i < FAMILIES; i++) {
        const struct bgp_rib *rib = bgp_speaker_rib(s, families[i]);
        yyjson_mut_obj_add_uint(doc, total, peering_family_name(families[i]), bgp_rib_count(rib));
        put_rib(doc, list, 0, families[i], rib, most);
    }
    for (unsigned i = 0; bgp_vrf_at(s, i); i++)
        for (unsigned k = 0; k < 2; k++) /* the first two of families[] */
            put_rib(doc, list, bgp_vrf_at(s, i), families[k], bgp_vrf_rib(s, bgp_vrf_at(s, i), families[k]), most);
    return finish(doc, ret);
}

/* --- the socket ---------------------------------------------------------------------------------------------------------- */

static int address(struct sockaddr_un *sa, const char *path, struct error *err)
{
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa->sun_path)
        return error_set(
            err, ENAMETOOLONG, "%s: a socket's path has at most %zu characters", path, sizeof sa->sun_path - 1);
    memcpy(sa->sun_path, path, strlen(path));
    return 0;
}

int peering_show_listen(const char *path, struct error *err)
{
    struct sockaddr_un sa;
    int rc = address(&sa, path, err);
    if (rc)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(path);
    mode_t before = umask(0177);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(fd, 8) == 0;
    int code = errno;
    umask(before);
    if (bound)
        return fd;
    if (fd >= 0)
        close(fd);
    return error_set(err, code, "cannot open the control socket %s: %s", path, strerror(code));
}

/* Reads up to a newline or `cap`, at most a second. */
static size_t read_line(int fd, char *to, size_t cap)
{
    size_t n = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (n < cap - 1 && !memchr(to, '\n', n) && poll(&p, 1, 1000) > 0) {
        ssize_t got = read(fd, to + n, cap - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    to[n] = 0;
    to[strcspn(to, "\n")] = 0;
    return n;
}

static void write_all(int fd, const uint8_t *bytes, size_t len)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    while (len && poll(&p, 1, 1000) > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return;
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

void peering_show_serve(int listening, struct bgp_speaker *s, int64_t now)
{
    char line[128];
    struct buf answer = {0};
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    read_line(fd, line, sizeof line);
    if (strcmp(line, "peers") == 0)
        peering_show_peers(s, now, &answer);
    else if (strncmp(line, "routes", 6) == 0)
        peering_show_routes(s, line[6] == ' ' ? (unsigned)strtoul(line + 7, NULL, 10) : 1000, now, &answer);
    else
        buf_append_str(&answer, "{\"error\":\"ask for peers or routes\"}");
    write_all(fd, answer.data, answer.len);
    buf_done(&answer);
    close(fd);
}

int peering_show_ask(const char *path, const char *request, struct buf *ret, struct error *err)
{
    struct sockaddr_un sa;
    uint8_t bytes[65536];
    ssize_t n;
    int rc = address(&sa, path, err);
    if (rc)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa)) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return error_set(err, code, "nobody answers at %s (%s): is the daemon running, and is this its control socket?",
            path, strerror(code));
    }
    write_all(fd, (const uint8_t *)request, strlen(request));
    write_all(fd, (const uint8_t *)"\n", 1);
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        if (buf_append(ret, bytes, (size_t)n))
            break;
    close(fd);
    return 0;
}
