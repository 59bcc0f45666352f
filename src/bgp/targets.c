/* Route target constraint (RFC 4684): a peer that speaks it is told VPN routes of the targets it wants, and no others.
 *
 * A PE announces what its VRFs import. A reflector announces the default, "everything": so its clients tell it all they have,
 * and what one client wants need not be reflected to the others. */
#include "base/clock.h"
#include "bgp/inner.h"

#include <errno.h>
#include <stdlib.h>

#define WAIT_NS (60 * NS_PER_S) /* RFC 4684 6: how long VPN routes wait for a peer's targets */

static bool spoken(const struct bgp_peer *p)
{
    return p->up >= 0 && bgp_session_family(&p->side[p->up], BGP_RTC);
}

bool bgp_targets_ready(struct bgp_peer *p, int64_t now)
{
    if (p->targets_until_ns == INT64_MAX)
        return true;
    if (!p->family[bgp_rib_index(BGP_RTC)].ended && now < p->targets_until_ns)
        return false;
    p->targets_until_ns = INT64_MAX;
    return true;
}

void bgp_targets_session_up(struct bgp_peer *p)
{
    p->constrained = spoken(p);
    p->targets_until_ns = p->constrained ? p->now + WAIT_NS : INT64_MAX;
}

static bool matches(const struct bgp_target *t, const uint8_t target[8])
{
    unsigned whole = t->bits / 8, rest = t->bits % 8;
    return memcmp(t->value, target, whole) == 0 &&
           (rest == 0 || ((t->value[whole] ^ target[whole]) & 0xff << (8 - rest) & 0xff) == 0);
}

bool bgp_targets_wanted(const struct bgp_peer *p, const struct bgp_attributes *a)
{
    uint8_t target[8];
    uint16_t len;
    size_t at = 0;
    if (!p->constrained)
        return true;
    for (unsigned i = 0; i < p->n_targets; i++)
        if (p->targets[i].bits == 0)
            return true;
    const uint8_t *communities = bgp_attributes_find(a, BGP_EXTENDED_COMMUNITIES, &len);
    while (communities && bgp_route_target_next(communities, len, &at, target) == 0)
        for (unsigned i = 0; i < p->n_targets; i++)
            if (matches(&p->targets[i], target))
                return true;
    return false;
}

/* --- what a peer wants ---------------------------------------------------------------------------------------------------- */

static const struct bgp_path *path_of(const struct bgp_route *r, uint16_t source)
{
    const struct bgp_path *path = r->paths;
    while (path && path->source != source)
        path = path->next;
    return path;
}

static unsigned collect(const struct bgp_peer *p, struct bgp_target *to, unsigned most)
{
    const struct bgp_rib *rib = p->speaker->rib[bgp_rib_index(BGP_RTC)];
    unsigned n = 0;
    for (const struct bgp_route *r = bgp_rib_next(rib, 0); r && n < most; r = bgp_rib_next(rib, r->version)) {
        struct bgp_rtc rtc;
        const struct bgp_path *path = path_of(r, p->number);
        if (!path || bgp_rtc_decode(&rtc, path->raw, path->raw_len))
            continue;
        to[n] = (struct bgp_target){.bits = (uint8_t)(rtc.bits > 32 ? rtc.bits - 32 : 0)};
        memcpy(to[n++].value, rtc.target, 8);
    }
    return n;
}

void bgp_targets_look(struct bgp_peer *p)
{
    unsigned most = bgp_rib_from(p->speaker->rib[bgp_rib_index(BGP_RTC)], p->number);
    struct bgp_target *found = calloc(most + 1, sizeof *found);
    if (!found)
        return; /* it stays changed: next time */
    unsigned n = collect(p, found, most);
    bool same = n == p->n_targets && (n == 0 || memcmp(found, p->targets, n * sizeof *found) == 0);
    free(p->targets);
    p->targets = found;
    p->n_targets = n;
    p->targets_changed = false;
    for (int i = 0; !same && i < BGP_RIBS; i++)
        if (bgp_family_has_targets(bgp_rib_families[i]))
            bgp_output_again(p, i);
}

void bgp_targets_done(struct bgp_peer *p)
{
    free(p->targets);
}

/* --- what we want ------------------------------------------------------------------------------------------------------------ */

int bgp_import(struct bgp_speaker *s, uint32_t as, const uint8_t target[8], int64_t now, struct error *err)
{
    struct bgp_rtc rtc = {.origin_as = as, .bits = target ? 96 : 0};
    uint8_t raw[64];
    if (target)
        memcpy(rtc.target, target, 8);
    unsigned len = bgp_rtc_encode(&rtc, raw);
    return bgp_originate(s, BGP_RTC, raw, len, NULL, 0, now, err);
}

int bgp_import_end(struct bgp_speaker *s, uint32_t as, const uint8_t target[8], int64_t now)
{
    struct bgp_rtc rtc = {.origin_as = as, .bits = target ? 96 : 0};
    uint8_t raw[64];
    if (target)
        memcpy(rtc.target, target, 8);
    unsigned len = bgp_rtc_encode(&rtc, raw);
    return bgp_withdraw(s, BGP_RTC, raw, len, now);
}
