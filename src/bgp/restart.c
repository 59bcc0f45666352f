/* Graceful restart (RFC 4724, with RFC 8538's NOTIFICATIONs and RFC 9494's long-lived staleness), as the receiving speaker:
 * routes of a peer that restarts stay in use until it has said End-of-RIB, or its time is over. */
#include "base/clock.h"
#include "bgp/inner.h"

static const struct bgp_graceful *graceful_of(const struct bgp_open *o, uint32_t family)
{
    for (int i = 0; o->graceful && i < o->n_graceful; i++)
        if (o->graceful_families[i].family == family)
            return &o->graceful_families[i];
    return NULL;
}

/* RFC 4724 4.2, RFC 8538 4: a lost connection keeps routes; a NOTIFICATION only when both sides said N, and never a hard
 * reset; nor does one that asks for the peer to stay away. */
static bool keeps(const struct bgp_peer *p, const struct bgp_open *open, const struct bgp_notification *why)
{
    if (!p->config.session.restart_time_s || !open->graceful)
        return false;
    if (!why || why->code == 0)
        return true;
    bool hard = why->code == BGP_ERROR_CEASE &&
                (why->subcode == BGP_CEASE_HARD_RESET || why->subcode == BGP_CEASE_SHUTDOWN ||
                    why->subcode == BGP_CEASE_DECONFIGURED || why->subcode == BGP_CEASE_PREFIXES);
    return open->graceful_notification && !hard;
}

void bgp_restart_session_down(
    struct bgp_peer *p, const struct bgp_open *open, const struct bgp_notification *why, int64_t now)
{
    bool keep = keeps(p, open, why);
    for (int i = 0; i < BGP_RIBS; i++) {
        const struct bgp_graceful *g = keep ? graceful_of(open, bgp_rib_families[i]) : NULL;
        struct bgp_peer_family *f = &p->family[i];
        if (!g) {
            bgp_rib_drop_source(p->speaker->rib[i], p->number);
            f->stale_until_ns = f->long_lived_until_ns = INT64_MAX;
            continue;
        }
        bgp_rib_sweep_stale(p->speaker->rib[i], p->number); /* stale ones of the restart before are not kept twice */
        bgp_rib_mark_stale(p->speaker->rib[i], p->number, false);
        f->stale_until_ns = now + open->restart_time_s * NS_PER_S;
        f->long_lived_s = g->long_lived;
    }
}

/* RFC 4724 4.2: a family that is not listed any more, or whose forwarding state was lost, is dropped at once. */
void bgp_restart_session_up(struct bgp_peer *p, const struct bgp_open *open)
{
    for (int i = 0; i < BGP_RIBS; i++) {
        struct bgp_peer_family *f = &p->family[i];
        const struct bgp_graceful *g = graceful_of(open, bgp_rib_families[i]);
        bool waits = f->stale_until_ns != INT64_MAX || f->long_lived_until_ns != INT64_MAX;
        if (!waits)
            continue;
        if (!g || !g->forwarding)
            bgp_rib_sweep_stale(p->speaker->rib[i], p->number);
        f->long_lived_until_ns = INT64_MAX;
        f->stale_until_ns =
            g && g->forwarding ? p->now + 360 * NS_PER_S : INT64_MAX; /* until End-of-RIB, but not for ever */
    }
}

void bgp_restart_end_of_rib(struct bgp_peer *p, uint32_t family)
{
    int i = bgp_rib_index(family);
    if (i < 0)
        return;
    p->family[i].stale_until_ns = p->family[i].long_lived_until_ns = INT64_MAX;
    bgp_rib_sweep_stale(p->speaker->rib[i], p->number);
}

static void expire(struct bgp_peer *p, int i, int64_t now)
{
    struct bgp_peer_family *f = &p->family[i];
    if (now >= f->stale_until_ns) {
        f->stale_until_ns = INT64_MAX;
        if (f->long_lived_s && p->up < 0) {
            bgp_rib_mark_stale(p->speaker->rib[i], p->number, true);
            f->long_lived_until_ns = now + f->long_lived_s * NS_PER_S;
        } else {
            bgp_rib_sweep_stale(p->speaker->rib[i], p->number);
        }
    }
    if (now >= f->long_lived_until_ns) {
        f->long_lived_until_ns = INT64_MAX;
        bgp_rib_sweep_stale(p->speaker->rib[i], p->number);
    }
}

int64_t bgp_restart_poll(struct bgp_peer *p, int64_t now)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < BGP_RIBS; i++) {
        expire(p, i, now);
        if (p->family[i].stale_until_ns < next)
            next = p->family[i].stale_until_ns;
        if (p->family[i].long_lived_until_ns < next)
            next = p->family[i].long_lived_until_ns;
    }
    return next;
}
