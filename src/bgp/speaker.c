/* The speaker and its peers: what they are made of, what RIBs ask, what every peer has been told. */
#include "bgp/speaker.h"

#include "base/clock.h"
#include "bgp/inner.h"

#include <errno.h>
#include <stdlib.h>

#define SETTLES_NS (60 * NS_PER_S) /* RFC 4724 4.1's Selection_Deferral_Timer: less than peers keep our routes */

const uint32_t bgp_rib_families[BGP_RIBS] = {
    BGP_IPV6_UNICAST, BGP_EVPN, BGP_VPNV4, BGP_VPNV6, BGP_SR_POLICY_V6, BGP_SR_POLICY_V4, BGP_RTC, BGP_IPV4_UNICAST};

int bgp_rib_index(uint32_t family)
{
    for (int i = 0; i < BGP_RIBS; i++)
        if (bgp_rib_families[i] == family)
            return i;
    return -1;
}

/* --- what RIBs ask ---------------------------------------------------------------------------------------------------- */

uint32_t bgp_next_hop_metric(const struct bgp_speaker *s, const uint8_t *next_hop, uint8_t len)
{
    const uint8_t *hop = len == 24 || len == 48 ? next_hop + 8 : next_hop; /* VPN next hops carry an RD of zero */
    if (s->sink.metric && len >= 16) {
        struct ip6 a;
        memcpy(a.b, hop, 16);
        return s->sink.metric(s->sink.user, &a);
    }
    for (size_t i = 0; len >= 16 && i < s->n_metrics; i++)
        if (memcmp(s->metrics[i].next_hop.b, hop, 16) == 0)
            return s->metrics[i].metric;
    return 0;
}

static uint32_t metric(void *user, const uint8_t *next_hop, uint8_t len)
{
    return bgp_next_hop_metric(user, next_hop, len);
}

static void peer_order(void *user, uint16_t source, uint8_t ret_identifier[4], struct ip_addr *ret_address)
{
    const struct bgp_speaker *s = user;
    const struct bgp_peer *p = s->peers[source];
    if (!p)
        return;
    memcpy(ret_identifier, p->identifier, 4);
    *ret_address = p->config.address;
}

/* Nothing is sent to the next hops of wishes and policies: who told them need not be reached. */
static bool packets_follow(uint32_t family)
{
    return family != BGP_RTC && family != BGP_SR_POLICY_V4 && family != BGP_SR_POLICY_V6;
}

/* --- the speaker ------------------------------------------------------------------------------------------------------- */

int bgp_speaker_create(
    struct bgp_speaker **ret, const struct bgp_speaker_config *c, const struct bgp_sink *sink, struct error *err)
{
    struct bgp_speaker *s = calloc(1, sizeof *s);
    if (!s || bgp_attribute_table_create(&s->attributes, &c->seed))
        goto no_memory;
    s->config = *c;
    if (sink)
        s->sink = *sink;
    struct bgp_rib_above above = {.user = s, .metric = metric, .peer_order = peer_order, .best = bgp_sink_best};
    for (int i = 0; i < BGP_RIBS; i++) {
        above.metric = packets_follow(bgp_rib_families[i]) ? metric : NULL;
        if (bgp_rib_create(&s->rib[i], bgp_rib_families[i], s->attributes, &above))
            goto no_memory;
    }
    if (c->role == BGP_REFLECTOR && bgp_import(s, 0, NULL, 0, err))
        goto no_memory;
    *ret = s;
    return 0;
no_memory:
    bgp_speaker_free(s);
    return error_set(err, ENOMEM, "not enough memory for a BGP speaker");
}

static void free_peer(struct bgp_peer *p)
{
    bgp_session_done(&p->side[BGP_CONNECTED]);
    bgp_session_done(&p->side[BGP_ACCEPTED]);
    bgp_targets_done(p);
    free(p);
}

void bgp_speaker_free(struct bgp_speaker *s)
{
    if (!s)
        return;
    s->sink = (struct bgp_sink){0};
    for (int i = 0; i < BGP_RIBS; i++)
        bgp_rib_free(s->rib[i]);
    for (struct bgp_vrf *v = s->vrfs, *next; v; v = next) {
        next = v->next;
        bgp_vrf_free(v);
    }
    for (unsigned i = 0; i < BGP_PEERS_MOST; i++)
        if (s->peers[i])
            free_peer(s->peers[i]);
    bgp_attribute_table_free(s->attributes);
    free(s->metrics);
    free(s);
}

struct bgp_rib *bgp_speaker_rib(struct bgp_speaker *s, uint32_t family)
{
    int i = bgp_rib_index(family);
    return i < 0 ? NULL : s->rib[i];
}

size_t bgp_speaker_bytes(const struct bgp_speaker *s)
{
    size_t n = bgp_attribute_table_bytes(s->attributes);
    for (int i = 0; i < BGP_RIBS; i++)
        n += bgp_rib_bytes(s->rib[i]);
    for (const struct bgp_vrf *v = s->vrfs; v; v = v->next)
        n += sizeof *v + v->len + bgp_rib_bytes(v->rib[0]) + bgp_rib_bytes(v->rib[1]);
    return n;
}

int bgp_next_hop_set(struct bgp_speaker *s, const struct ip6 *next_hop, uint32_t value)
{
    size_t i = 0;
    while (i < s->n_metrics && !ip6_equal(&s->metrics[i].next_hop, next_hop))
        i++;
    if (i == s->n_metrics) {
        struct bgp_metric *more = realloc(s->metrics, (i + 1) * sizeof *more);
        if (!more)
            return -ENOMEM;
        s->metrics = more;
        s->metrics[s->n_metrics++] = (struct bgp_metric){*next_hop, 0};
    }
    if (s->metrics[i].metric == value)
        return 0;
    s->metrics[i].metric = value;
    bgp_next_hops_changed(s);
    return 0;
}

void bgp_next_hops_changed(struct bgp_speaker *s)
{
    for (int k = 0; k < BGP_RIBS; k++)
        bgp_rib_select_all(s->rib[k]);
    for (struct bgp_vrf *v = s->vrfs; v; v = v->next)
        for (int k = 0; k < 2; k++)
            bgp_rib_select_all(v->rib[k]);
}

/* --- peers ------------------------------------------------------------------------------------------------------------------- */

static bool same_address(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && memcmp(a->a.b, b->a.b, a->family == IP_V4 ? 4 : 16) == 0;
}

/* VRF 0: the provider's network. Customers may have the same addresses as others. */
static uint16_t peer_in(const struct bgp_speaker *s, uint32_t vrf, const struct ip_addr *from)
{
    for (uint16_t i = 1; i < BGP_PEERS_MOST; i++) {
        const struct bgp_peer_config *c = s->peers[i] ? &s->peers[i]->config : NULL;
        if (c && (c->kind == BGP_PEER_CUSTOMER ? c->customer.vrf : 0) == vrf && same_address(&c->address, from))
            return i;
    }
    return 0;
}

uint16_t bgp_peer_of_address(const struct bgp_speaker *s, const struct ip_addr *from)
{
    return peer_in(s, 0, from);
}

uint16_t bgp_peer_of_customer(const struct bgp_speaker *s, uint32_t vrf, const struct ip_addr *from)
{
    return vrf ? peer_in(s, vrf, from) : 0;
}

struct bgp_rib *bgp_peer_rib(const struct bgp_speaker *s, uint16_t peer, uint32_t family)
{
    int i = bgp_rib_index(family);
    return i >= 0 && peer < BGP_PEERS_MOST && s->peers[peer] ? s->peers[peer]->rib[i] : NULL;
}

static int check_customer(const struct bgp_speaker *s, const struct bgp_peer_config *c, struct error *err)
{
    if (!bgp_vrf_find(s, c->customer.vrf))
        return error_set(err, EINVAL, "a customer's peer needs a VRF: there is no VRF %u", c->customer.vrf);
    for (int i = 0; i < c->session.n_families; i++)
        if (c->session.families[i] != BGP_IPV4_UNICAST && c->session.families[i] != BGP_IPV6_UNICAST)
            return error_set(err, EINVAL, "with a customer only IPv4 and IPv6 unicast are spoken");
    return 0;
}

static int check_peer(const struct bgp_speaker *s, const struct bgp_peer_config *c, struct error *err)
{
    bool internal = c->session.local_as == c->session.peer_as;
    bool customer = c->kind == BGP_PEER_CUSTOMER;
    if (c->session.local_as == 0 || c->session.peer_as == 0)
        return error_set(err, EINVAL, "a BGP peer needs an AS number on both sides");
    if (internal != (c->kind != BGP_PEER_LINK && !customer))
        return error_set(err, EINVAL,
            "a peer over a link and a customer have another AS number than ours, any other peer has the same");
    if (c->kind == BGP_PEER_CLIENT && s->config.role != BGP_REFLECTOR)
        return error_set(err, EINVAL, "only a reflector has clients");
    if (c->session.hold_time_s == 1 || c->session.hold_time_s == 2)
        return error_set(err, EINVAL, "a hold time of %u s is not allowed: 0 or at least 3", c->session.hold_time_s);
    if (c->session.n_families == 0 || c->session.n_families > BGP_FAMILIES_MOST)
        return error_set(err, EINVAL, "a BGP peer needs 1 to %d address families", BGP_FAMILIES_MOST);
    int rc = customer ? check_customer(s, c, err) : 0;
    if (rc == 0 && peer_in(s, customer ? c->customer.vrf : 0, &c->address))
        rc = error_set(err, EEXIST, "there is already a BGP peer with this address");
    return rc;
}

static void choose_tables(struct bgp_peer *p)
{
    memcpy(p->rib, p->speaker->rib, sizeof p->rib);
    if (p->config.kind != BGP_PEER_CUSTOMER)
        return;
    struct bgp_vrf *v = bgp_vrf_find(p->speaker, p->config.customer.vrf);
    p->rib[bgp_rib_index(BGP_IPV4_UNICAST)] = v->rib[0];
    p->rib[bgp_rib_index(BGP_IPV6_UNICAST)] = v->rib[1];
}

int bgp_peer_add(struct bgp_speaker *s, const struct bgp_peer_config *c, int64_t now, uint16_t *ret, struct error *err)
{
    uint16_t number = 1;
    int rc = check_peer(s, c, err);
    if (rc)
        return rc;
    while (number < BGP_PEERS_MOST && s->peers[number])
        number++;
    if (number == BGP_PEERS_MOST)
        return error_set(err, ENOSPC, "there are already %u BGP peers, which is the most", BGP_PEERS_MOST - 1);
    struct bgp_peer *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, ENOMEM, "not enough memory for a BGP peer");
    *p = (struct bgp_peer){.speaker = s, .number = number, .config = *c, .up = -1, .now = now};
    for (int i = 0; i < BGP_RIBS; i++)
        p->family[i].stale_until_ns = p->family[i].long_lived_until_ns = INT64_MAX;
    choose_tables(p);
    p->targets_until_ns = INT64_MAX;
    bgp_connection_init(p, BGP_CONNECTED);
    bgp_connection_init(p, BGP_ACCEPTED);
    if (!s->settles_ns)
        s->settles_ns = now + SETTLES_NS;
    s->peers[number] = p;
    bgp_peer_start(s, number, now);
    *ret = number;
    return 0;
}

int bgp_peer_remove(struct bgp_speaker *s, uint16_t peer, int64_t now)
{
    struct bgp_peer *p = peer < BGP_PEERS_MOST ? s->peers[peer] : NULL;
    if (!p)
        return -ENOENT;
    p->now = now;
    p->stopped = true;
    for (int side = 0; side < BGP_SIDES; side++)
        bgp_session_stop(&p->side[side], BGP_CEASE_DECONFIGURED, NULL, now);
    for (int i = 0; i < BGP_RIBS; i++) {
        bgp_rib_drop_source(p->rib[i], peer);
        bgp_rib_untell(p->rib[i], peer);
    }
    s->peers[peer] = NULL;
    free_peer(p);
    return 0;
}

const struct bgp_peer_config *bgp_peer_config(const struct bgp_speaker *s, uint16_t peer)
{
    return peer < BGP_PEERS_MOST && s->peers[peer] ? &s->peers[peer]->config : NULL;
}

struct bgp_session *bgp_peer_session(struct bgp_speaker *s, uint16_t peer, enum bgp_side side)
{
    return peer < BGP_PEERS_MOST && s->peers[peer] ? &s->peers[peer]->side[side] : NULL;
}

const struct bgp_session *bgp_peer_best_session(const struct bgp_speaker *s, uint16_t peer)
{
    const struct bgp_peer *p = peer < BGP_PEERS_MOST ? s->peers[peer] : NULL;
    if (!p)
        return NULL;
    return &p->side[p->side[BGP_ACCEPTED].state > p->side[BGP_CONNECTED].state ? BGP_ACCEPTED : BGP_CONNECTED];
}

/* --- time ------------------------------------------------------------------------------------------------------------------------ */

/* What every established peer knows, and every VRF has read, need not be remembered for telling. */
static void forget_told(struct bgp_speaker *s, struct bgp_rib *rib, int family)
{
    uint64_t least = bgp_rib_version(rib), passed = bgp_vrf_passed(s, rib);
    least = passed < least ? passed : least;
    for (unsigned k = 1; k < BGP_PEERS_MOST; k++) {
        const struct bgp_peer *p = s->peers[k];
        if (p && p->rib[family] == rib && p->up >= 0 && bgp_session_family(&p->side[p->up], bgp_rib_families[family]) &&
            p->family[family].told < least)
            least = p->family[family].told;
    }
    bgp_rib_forget(rib, least);
}

int64_t bgp_speaker_poll(struct bgp_speaker *s, int64_t now)
{
    int64_t next = bgp_restart_going_on(s, now) ? s->settles_ns : INT64_MAX;
    for (unsigned i = 1; i < BGP_PEERS_MOST; i++) {
        int64_t due = s->peers[i] ? bgp_connection_poll(s->peers[i], now) : INT64_MAX;
        next = due < next ? due : next;
    }
    bgp_vrf_pass(s, now);
    for (int i = 0; i < BGP_RIBS; i++)
        forget_told(s, s->rib[i], i);
    for (struct bgp_vrf *v = s->vrfs; v; v = v->next) {
        forget_told(s, v->rib[0], bgp_rib_index(BGP_IPV4_UNICAST));
        forget_told(s, v->rib[1], bgp_rib_index(BGP_IPV6_UNICAST));
    }
    return next;
}
