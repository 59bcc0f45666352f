#include "base/clock.h"
#include "router/device_ethdev.h"
#include "router/device_tap.h"
#include "router/exporter.h"
#include "router/router_inner.h"

#include <string.h>

#define REPORTS_NS   (20 * NS_PER_MS) /* while there may be elephants */
#define REPORTS_MOST 64u
#define LOSS_MOST    256u

/* --- once a second -------------------------------------------------------------------------------------------- */

static void read_cards(void *user, int64_t now)
{
    struct router *r = user;
    for (unsigned i = 0; i < r->config.n_ports; i++)
        device_ethdev_statistics(r->ports[i].inner);
}

static void rate(const struct ports_view *a, const struct ports_view *b, unsigned i, struct port_rates *ret)
{
    double s = (double)(b->at_ns - a->at_ns) * 1e-9;
    *ret = (struct port_rates){0};
    if (s <= 0 || a->at_ns == 0)
        return;
    ret->rx_bps = (double)(b->port[i].rx_bytes - a->port[i].rx_bytes) * 8 / s;
    ret->tx_bps = (double)(b->port[i].tx_bytes - a->port[i].tx_bytes) * 8 / s;
    ret->rx_pps = (double)(b->port[i].rx_packets - a->port[i].rx_packets) / s;
    ret->tx_pps = (double)(b->port[i].tx_packets - a->port[i].tx_packets) / s;
}

static void every_second(struct reactor_timer *t, int64_t now)
{
    struct collect *c = t->user;
    struct router *r = c->router;
    struct ports_view before = c->ports;
    for (unsigned i = 0; i < r->config.n_ports; i++)
        device_tap_statistics(r->ports[i].inner);
    loop_call(r->loop, read_cards, r);
    router_view_ports(r, &c->ports);
    for (unsigned i = 0; i < c->ports.n; i++)
        rate(&before, &c->ports, i, &c->rates[i]);
    exporter_counters(r->exporter, &c->ports);
    reactor_timer_set(&r->reactor, t, now + NS_PER_S);
}

/* --- reports -------------------------------------------------------------------------------------------------- */

struct reports {
    struct router *router;
    struct elephant_report elephant[REPORTS_MOST];
    struct marking_record marking[REPORTS_MOST];
    struct loss_record loss[LOSS_MOST];
    unsigned n_elephants, n_markings, n_losses;
    int64_t next;
};

static void read_reports(void *user, int64_t now)
{
    struct reports *p = user;
    struct forward *f = p->router->forward;
    p->n_elephants = elephant_poll(forward_elephants(f), now, p->elephant, REPORTS_MOST);
    p->n_markings = marking_poll(forward_marking(f), now, p->marking, REPORTS_MOST);
    p->n_losses = loss_read(forward_loss(f), p->loss, LOSS_MOST);
    int64_t a = elephant_next(forward_elephants(f)), b = marking_next(forward_marking(f));
    p->next = a < b ? a : b;
}

static void note_flow(struct collect *c, const struct elephant_report *e)
{
    unsigned i = 0;
    while (i < c->n_flows && c->flows[i].flow != e->flow)
        i++;
    if (e->what == ELEPHANT_GONE) {
        if (i < c->n_flows)
            c->flows[i] = c->flows[--c->n_flows];
    } else if (i < COLLECT_FLOWS) {
        c->flows[i] = *e;
        c->n_flows += i == c->n_flows;
    }
}

static void look_for_reports(struct reactor_timer *t, int64_t now)
{
    static struct reports p;
    struct collect *c = t->user;
    p.router = c->router;
    loop_call(c->router->loop, read_reports, &p);
    for (unsigned i = 0; i < p.n_elephants; i++) {
        note_flow(c, &p.elephant[i]);
        exporter_flow(c->router->exporter, &p.elephant[i]);
    }
    for (unsigned i = 0; i < p.n_markings; i++)
        exporter_marking(c->router->exporter, &p.marking[i]);
    for (unsigned i = 0; i < p.n_losses; i++) {
        c->losses[c->n_losses++ % COLLECT_LOSSES] = p.loss[i];
        exporter_loss(c->router->exporter, &p.loss[i]);
    }
    exporter_flush(c->router->exporter);
    bool more = p.n_elephants == REPORTS_MOST || p.n_markings == REPORTS_MOST || p.n_losses == LOSS_MOST;
    int64_t next = p.next < now + NS_PER_S / 2 ? p.next : now + NS_PER_S / 2;
    if (next < now + REPORTS_NS)
        next = now + REPORTS_NS;
    reactor_timer_set(&c->router->reactor, t, more ? now : next);
}

void collect_start(struct collect *c, struct router *r)
{
    *c = (struct collect){.router = r};
    c->second = (struct reactor_timer){.due = every_second, .user = c};
    c->reports = (struct reactor_timer){.due = look_for_reports, .user = c};
    reactor_timer_set(&r->reactor, &c->second, 0);
    reactor_timer_set(&r->reactor, &c->reports, 0);
}

void collect_stop(struct collect *c)
{
    if (!c->router)
        return;
    reactor_timer_clear(&c->router->reactor, &c->second);
    reactor_timer_clear(&c->router->reactor, &c->reports);
}
