#include "pe/inner.h"

#include "wire/ip_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void pe_log(struct pe *pe, bool warning, const char *fmt, ...)
{
    char text[256];
    va_list args;
    if (!pe->above.log)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    pe->above.log(pe->above.user, warning, text);
}

static void peer_state(void *user, uint16_t peer, enum bgp_state state, const struct bgp_notification *why)
{
    struct pe *pe = user;
    char address[IP_TEXT_SIZE], text[160] = "";
    const struct bgp_peer_config *c = bgp_peer_config(pe->speaker, peer);
    if (!c)
        return;
    if (why)
        bgp_notification_text(why, text, sizeof text);
    pe_log(pe, state != BGP_ESTABLISHED, "BGP session with %s is %s%s%s", ip_addr_print(address, &c->address),
        state == BGP_ESTABLISHED ? "up" : "down", why ? ": " : "", text);
}

/* --- VRFs of the configuration -------------------------------------------------------------------------------------------------- */

/* What a configuration points to is copied: the caller's may go. */
static void *duplicate(const void *from, unsigned n, size_t size, bool *failed)
{
    void *to = n ? malloc(n * size) : NULL;
    if (to)
        memcpy(to, from, n * size);
    *failed |= n && !to;
    return to;
}

static void free_arrays(struct pe_vrf *v)
{
    free((void *)(uintptr_t)v->import);
    free((void *)(uintptr_t)v->export);
    free((void *)(uintptr_t)v->own);
}

static int copy_vrf(struct pe_vrf *to, const struct pe_vrf *from, struct error *err)
{
    bool failed = false;
    *to = *from;
    to->import = duplicate(from->import, from->n_import, 8, &failed);
    to->export = duplicate(from->export, from->n_export, 8, &failed);
    to->own = duplicate(from->own, from->n_own, sizeof *from->own, &failed);
    if (!failed)
        return 0;
    free_arrays(to);
    return error_set(err, ENOMEM, "not enough memory for VRF %u", from->id);
}

static bool same_targets(const uint8_t (*a)[8], unsigned n, const uint8_t (*b)[8], unsigned m)
{
    return n == m && (n == 0 || memcmp(a, b, n * 8) == 0);
}

/* Route target constraint: told before the old ones end, so that nothing is withdrawn in between. */
static void tell_targets(struct pe *pe, const struct pe_vrf *before, const struct pe_vrf *now)
{
    struct error err;
    for (unsigned i = 0; now && i < now->n_import; i++)
        bgp_import(pe->speaker, pe->config.as, now->import[i], pe->now, &err);
    for (unsigned i = 0; before && i < before->n_import; i++) {
        bool still = false;
        for (const struct vrf *v = pe->vrfs; v && !still; v = v->next)
            for (unsigned k = 0; k < v->config.n_import && !still; k++)
                still = &v->config != before && memcmp(v->config.import[k], before->import[i], 8) == 0;
        for (unsigned k = 0; now && k < now->n_import && !still; k++)
            still = memcmp(now->import[k], before->import[i], 8) == 0;
        if (!still)
            bgp_import_end(pe->speaker, pe->config.as, before->import[i], pe->now);
    }
}

static void remove_vrf(struct pe *pe, struct vrf **at)
{
    struct vrf *v = *at;
    customer_vrf_end(pe, v);
    export_vrf_end(pe, v);
    vpn_vrf_done(pe, v);
    signed_done(v);
    policy_vrf_gone(pe, v);
    tell_targets(pe, &v->config, NULL);
    *at = v->next;
    free_arrays(&v->config);
    free(v->beacon);
    free(v->shown);
    free(v);
    pe->counts.vrfs--;
}

static int add_vrf(struct pe *pe, const struct pe_vrf *c, struct error *err)
{
    struct vrf *v = calloc(1, sizeof *v), **at = &pe->vrfs;
    int rc = v ? copy_vrf(&v->config, c, err) : error_set(err, ENOMEM, "not enough memory for VRF %u", c->id);
    if (rc) {
        free(v);
        return rc;
    }
    while (*at)
        at = &(*at)->next;
    *at = v;
    pe->counts.vrfs++;
    tell_targets(pe, NULL, &v->config);
    vpn_vrf_targets(pe, v);
    rc = export_vrf(pe, v, err);
    return rc ? rc : customer_vrf(pe, v, err);
}

static int change_vrf(struct pe *pe, struct vrf *v, const struct pe_vrf *c, struct error *err)
{
    struct pe_vrf to, before = v->config;
    int rc = copy_vrf(&to, c, err);
    if (rc)
        return rc;
    if (memcmp(before.rd, to.rd, 8) != 0)
        export_vrf_end(pe, v);
    if (!same_targets(before.import, before.n_import, to.import, to.n_import)) {
        tell_targets(pe, &v->config, &to);
        v->config = to;
        vpn_vrf_targets(pe, v);
    }
    v->config = to;
    vpn_vrf_choose_all(pe, v);
    free_arrays(&before);
    rc = export_vrf(pe, v, err);
    return rc ? rc : customer_vrf(pe, v, err);
}

static const struct pe_vrf *in_config(const struct pe_config *c, uint32_t id)
{
    for (unsigned i = 0; i < c->n_vrfs; i++)
        if (c->vrfs[i].id == id)
            return &c->vrfs[i];
    return NULL;
}

static int take_vrfs(struct pe *pe, const struct pe_config *c, struct error *err)
{
    int rc = 0;
    for (struct vrf **at = &pe->vrfs; *at;) {
        const struct pe_vrf *now = in_config(c, (*at)->config.id);
        if (now && now->tenant == (*at)->config.tenant)
            at = &(*at)->next;
        else
            remove_vrf(pe, at);
    }
    for (unsigned i = 0; rc == 0 && i < c->n_vrfs; i++) {
        struct vrf *v = vrf_of(pe, c->vrfs[i].id);
        rc = v ? change_vrf(pe, v, &c->vrfs[i], err) : add_vrf(pe, &c->vrfs[i], err);
    }
    return rc;
}

/* --- life --------------------------------------------------------------------------------------------------------------------------- */

static bool same_identity(const struct pe_config *a, const struct pe_config *b)
{
    return a->router == b->router && memcmp(a->identifier, b->identifier, 4) == 0 && a->as == b->as &&
           ip6_equal(&a->loopback, &b->loopback) && prefix_equal(&a->locator, &b->locator) && a->links == b->links;
}

int pe_configure(struct pe *pe, const struct pe_config *c, int64_t now, struct error *err)
{
    pe->now = now;
    if (!same_identity(&pe->config, c))
        return error_set(err, EINVAL, "who this router is cannot change while it runs");
    pe->config.block_bits = c->block_bits;
    int rc = underlay_configure(pe, c, err);
    rc = rc ? rc : take_vrfs(pe, c, err);
    pe->policies_dirty = true;
    pe_poll(pe, now);
    return rc;
}

int pe_create(struct pe **ret, const struct pe_config *c, const struct pe_above *a, int64_t now, struct error *err)
{
    struct pe *pe = calloc(1, sizeof *pe);
    if (!pe)
        return error_set(err, ENOMEM, "not enough memory for BGP");
    pe->above = *a;
    pe->config = (struct pe_config){.router = c->router,
        .as = c->as,
        .loopback = c->loopback,
        .locator = c->locator,
        .block_bits = c->block_bits,
        .seed = c->seed,
        .links = c->links};
    memcpy(pe->config.identifier, c->identifier, 4);
    pe->underlay_version = pe->chosen_version = 1;
    pe->next_path = PE_PATHS_FROM;
    struct bgp_speaker_config s = {.role = BGP_PE, .next_hop = c->loopback, .forwarding_kept = true, .seed = c->seed};
    struct bgp_sink sink = {.user = pe,
        .vpn_route = vpn_route,
        .underlay_route = underlay_route,
        .policy = policy_take,
        .customer_route = customer_route,
        .peer_state = peer_state,
        .metric = nexthop_metric};
    memcpy(s.identifier, c->identifier, 4);
    int rc = bgp_speaker_create(&pe->speaker, &s, &sink, err);
    rc = rc ? rc : pe_configure(pe, c, now, err);
    if (rc) {
        pe_free(pe);
        return rc;
    }
    *ret = pe;
    return 0;
}

static void no_set(void *user, uint32_t vrf, const struct ip_prefix *p, const struct forward_route *r) {}
static void no_del(void *user, uint32_t vrf, const struct ip_prefix *p) {}

void pe_free(struct pe *pe)
{
    if (!pe)
        return;
    pe->above = (struct pe_above){.route_set = no_set, .route_del = no_del};
    bgp_speaker_free(pe->speaker);
    vpn_done(pe);
    policy_done(pe);
    for (struct vrf *v = pe->vrfs, *next; v; v = next) {
        next = v->next;
        free(v->originated.at);
        free(v->announced_beacon.at);
        free(v->bucket);
        signed_done(v);
        free_arrays(&v->config);
        free(v->beacon);
        free(v->shown);
        free(v);
    }
    underlay_done(pe);
    free(pe->underlay.at);
    free(pe);
}

struct bgp_speaker *pe_speaker(struct pe *pe)
{
    return pe->speaker;
}

int64_t pe_poll(struct pe *pe, int64_t now)
{
    pe->now = now;
    while (pe->chosen_version != pe->underlay_version) {
        pe->chosen_version = pe->underlay_version;
        bgp_next_hops_changed(pe->speaker);
        vpn_choose_all(pe);
        pe->policies_dirty = true;
    }
    return policy_poll(pe);
}

struct pe_counts pe_counts(const struct pe *pe)
{
    struct pe_counts c = pe->counts;
    c.vpn_routes = (uint32_t)pe->n_vpns;
    return c;
}
