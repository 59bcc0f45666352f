/* Graceful restart (RFC 4724, with RFC 8538's NOTIFICATIONs and RFC 9494's long-lived staleness).
 *
 * As the receiving speaker: routes of a peer that restarts stay in use until it has said End-of-RIB, or its time is over. The
 * same marks serve enhanced route refresh (RFC 7313): what is not said again between BoRR and EoRR is gone.
 *
 * As the one that restarts: RFC 4724 4.1 has us wait with choosing and telling routes until every peer has said End-of-RIB.
 * Ours tells what it learns at once (it replaces what the peer kept of us, route by route) and waits only with its own
 * End-of-RIB, which is what makes peers drop the rest. */
#include "base/clock.h"
#include "bgp/inner.h"

static const struct bgp_graceful *graceful_of(const struct bgp_open *o, uint32_t family)
{
    for (int i = 0; o->graceful && i < o->n_graceful; i++)
        if (o->graceful_families[i].family == family)
            return &o->graceful_families[i];
    return NULL;
}

#define STALE_MOST_NS (360 * NS_PER_S) /* until End-of-RIB or EoRR, but not for ever */

/* RFC 4724 4.2, RFC 8538 4: a lost connection keeps routes; a NOTIFICATION only when both sides said N, and not a hard one. */
static bool keeps(const struct bgp_peer *p, const struct bgp_open *open, const struct bgp_notification *why)
{
    if (!p->config.session.restart_time_s || !open->graceful)
        return false;
    if (!why || why->code == 0)
        return true;
    bool hard = why->code == BGP_ERROR_CEASE && why->subcode == BGP_CEASE_HARD_RESET;
    return open->graceful_notification && !hard;
}

void bgp_restart_session_down(
    struct bgp_peer *p, const struct bgp_open *open, const struct bgp_notification *why, int64_t now)
{
    bool keep = keeps(p, open, why);
    for (int i = 0; i < BGP_RIBS; i++) {
        const struct bgp_graceful *g = keep ? graceful_of(open, bgp_rib_families[i]) : NULL;
        struct bgp_peer_family *f = &p->family[i];
        f->ended = f->refreshed = false;
        if (!g) {
            bgp_rib_drop_source(p->rib[i], p->number);
            f->stale_until_ns = f->long_lived_until_ns = INT64_MAX;
            continue;
        }
        bgp_rib_sweep_stale(p->rib[i], p->number); /* stale ones of the restart before are not kept twice */
        bgp_rib_mark_stale(p->rib[i], p->number, false);
        f->stale_until_ns = now + open->restart_time_s * NS_PER_S;
        f->long_lived_s = p->config.session.long_lived_time_s ? g->long_lived : 0;
    }
    p->targets_changed = true;
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
            bgp_rib_sweep_stale(p->rib[i], p->number);
        f->long_lived_until_ns = INT64_MAX;
        f->stale_until_ns = g && g->forwarding ? p->now + STALE_MOST_NS : INT64_MAX;
    }
    p->targets_changed = true;
}

static void sweep(struct bgp_peer *p, int i)
{
    struct bgp_peer_family *f = &p->family[i];
    f->stale_until_ns = f->long_lived_until_ns = INT64_MAX;
    f->refreshed = false;
    bgp_rib_sweep_stale(p->rib[i], p->number);
    p->targets_changed |= bgp_rib_families[i] == BGP_RTC;
}

void bgp_restart_end_of_rib(struct bgp_peer *p, uint32_t family)
{
    int i = bgp_rib_index(family);
    if (i < 0)
        return;
    p->family[i].ended = true;
    if (!p->family[i].refreshed)
        sweep(p, i);
}

void bgp_restart_refresh(struct bgp_peer *p, uint32_t family, enum bgp_refresh_kind kind)
{
    int i = bgp_rib_index(family);
    if (i < 0)
        return;
    struct bgp_peer_family *f = &p->family[i];
    if (kind == BGP_REFRESH_END && f->refreshed) {
        sweep(p, i);
    } else if (kind == BGP_REFRESH_BEGIN && (f->ended || !p->side[p->up].peer.graceful)) { /* RFC 7313 4.2 */
        bgp_rib_sweep_stale(p->rib[i], p->number);
        bgp_rib_mark_stale(p->rib[i], p->number, false);
        f->refreshed = true;
        f->stale_until_ns = p->now + STALE_MOST_NS;
    }
}

/* --- we restart ------------------------------------------------------------------------------------------------------------ */

static bool configured(const struct bgp_peer *p, uint32_t family)
{
    for (int i = 0; i < p->config.session.n_families; i++)
        if (p->config.session.families[i] == family)
            return true;
    return false;
}

/* RFC 4724 4.1: not those that restart themselves, nor those that do not speak it. */
static bool owes_end_of_rib(const struct bgp_peer *p, int i)
{
    if (p->stopped || !configured(p, bgp_rib_families[i]))
        return false;
    if (p->up < 0)
        return true;
    const struct bgp_session *s = &p->side[p->up];
    return bgp_session_family(s, bgp_rib_families[i]) && s->peer.graceful && !s->peer.restarting && !p->family[i].ended;
}

bool bgp_restart_going_on(const struct bgp_speaker *s, int64_t now)
{
    return s->settles_ns && now < s->settles_ns;
}

bool bgp_restart_may_end(struct bgp_peer *p, int rib, int64_t now)
{
    const struct bgp_speaker *s = p->speaker;
    bool passes_on = s->config.role == BGP_REFLECTOR || bgp_rib_families[rib] == BGP_IPV6_UNICAST;
    if (!passes_on || bgp_rib_families[rib] == BGP_RTC || !bgp_restart_going_on(s, now))
        return true;
    for (unsigned i = 1; i < BGP_PEERS_MOST; i++)
        if (s->peers[i] && s->peers[i] != p && s->peers[i]->rib[rib] == p->rib[rib] &&
            owes_end_of_rib(s->peers[i], rib))
            return false;
    return true;
}

/* --- time -------------------------------------------------------------------------------------------------------------------- */

static void expire(struct bgp_peer *p, int i, int64_t now)
{
    struct bgp_peer_family *f = &p->family[i];
    if (now >= f->stale_until_ns) {
        f->stale_until_ns = INT64_MAX;
        if (f->long_lived_s && p->up < 0) {
            bgp_rib_mark_stale(p->rib[i], p->number, true);
            f->long_lived_until_ns = now + f->long_lived_s * NS_PER_S;
        } else {
            sweep(p, i);
        }
    }
    if (now >= f->long_lived_until_ns)
        sweep(p, i);
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
