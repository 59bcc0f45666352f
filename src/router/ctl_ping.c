/* `ping` and `traceroute` in a VRF: probes go out on the worker, their answers are looked for every few milliseconds, and each
 * is a line of the answer. */
#include "router/ctl.h"

#include "base/clock.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS (5 * NS_PER_MS)

struct ping {
    struct ctl_conn *k;
    struct probe_spec spec;
    bool trace;
    unsigned count, sent, answered, lost;
    int64_t interval_ns, timeout_ns, next_ns;
    struct { /* under way; index -1: none */
        int index;
        unsigned number; /* of the ping, or the hop */
    } flying[PROBE_MOST];
    unsigned n_flying;
    bool arrived; /* traceroute: the destination has answered */
    /* what a look found */
    struct probe found[PROBE_MOST];
    unsigned n_found, found_number[PROBE_MOST];
    int rc; /* of sending */
};

static const char *const answers[] = {[PROBE_REPLY] = "reply",
    [PROBE_TIME_EXCEEDED] = "time exceeded",
    [PROBE_UNREACHABLE] = "unreachable",
    [PROBE_TOO_BIG] = "too big",
    [PROBE_OTHER] = "error"};

/* --- on the worker ----------------------------------------------------------------------------------------------- */

static void collect_answers(struct ping *p, struct probe_set *s, int64_t now)
{
    p->n_found = 0;
    for (unsigned i = 0; i < p->n_flying;) {
        struct probe *probe = &s->probe[p->flying[i].index];
        bool late = probe->state == PROBE_SENT && now - probe->sent_ns > p->timeout_ns;
        if (probe->state == PROBE_SENT && !late) {
            i++;
            continue;
        }
        p->found_number[p->n_found] = p->flying[i].number;
        p->found[p->n_found++] = *probe;
        probe_forget(s, (unsigned)p->flying[i].index);
        memmove(&p->flying[i], &p->flying[i + 1], (--p->n_flying - i) * sizeof(*p->flying));
    }
}

static void send_next(struct ping *p, struct probe_set *s, int64_t now)
{
    struct probe_spec spec = p->spec;
    if (p->trace)
        spec.hops = (uint8_t)(p->sent + 1);
    int index = probe_send(s, &spec, now);
    if (index < 0) {
        p->rc = index;
        return;
    }
    p->flying[p->n_flying].index = index;
    p->flying[p->n_flying++].number = ++p->sent;
    p->next_ns = now + p->interval_ns;
}

static void look(void *user, int64_t now)
{
    struct ping *p = user;
    struct probe_set *s = &p->k->router->probes;
    collect_answers(p, s, now);
    /* A hop is asked once the one before it has been heard of, or given up. */
    bool turn = p->trace ? p->n_flying == 0 && p->n_found == 0 : now >= p->next_ns;
    if (p->sent < p->count && turn && !p->arrived && p->n_flying < PROBE_MOST)
        send_next(p, s, now);
}

static void forget(void *user, int64_t now)
{
    struct ping *p = user;
    for (unsigned i = 0; i < p->n_flying; i++)
        probe_forget(&p->k->router->probes, (unsigned)p->flying[i].index);
}

/* --- on the control thread ---------------------------------------------------------------------------------------- */

static void tell(struct ping *p, unsigned number, const struct probe *probe)
{
    yyjson_mut_val *o;
    yyjson_mut_doc *doc = ctl_answer(&o);
    char from[IP_TEXT_SIZE];
    bool heard = probe->state == PROBE_ANSWERED;
    if (!doc)
        return;
    yyjson_mut_obj_add_uint(doc, o, p->trace ? "hop" : "number", number);
    yyjson_mut_obj_add_str(doc, o, "answer", heard ? answers[probe->answer] : "none");
    if (heard) {
        yyjson_mut_obj_add_strcpy(doc, o, "from", ip_addr_print(from, &probe->from));
        yyjson_mut_obj_add_real(doc, o, "ms", (double)(probe->answered_ns - probe->sent_ns) * 1e-6);
        yyjson_mut_obj_add_uint(doc, o, "hops_left", probe->hops_left);
        if (probe->answer == PROBE_TOO_BIG)
            yyjson_mut_obj_add_uint(doc, o, "mtu", probe->value);
    }
    ctl_send(p->k, doc);
    p->answered += heard && probe->answer == PROBE_REPLY;
    p->lost += !heard;
    if (heard && probe->answer != PROBE_TIME_EXCEEDED)
        p->arrived = p->trace;
}

static void finish(struct ping *p)
{
    struct ctl_conn *k = p->k;
    yyjson_mut_val *o;
    yyjson_mut_doc *doc = ctl_answer(&o);
    if (doc) {
        yyjson_mut_obj_add_bool(doc, o, "end", true);
        yyjson_mut_obj_add_uint(doc, o, "sent", p->sent);
        yyjson_mut_obj_add_uint(doc, o, "answered", p->answered);
        yyjson_mut_obj_add_uint(doc, o, "lost", p->lost);
        ctl_send(k, doc);
    }
    ctl_work_done(k);
}

static void tick(struct reactor_timer *t, int64_t now)
{
    struct ctl_conn *k = t->user;
    struct ping *p = k->work;
    loop_call(k->router->loop, look, p);
    for (unsigned i = 0; i < p->n_found; i++)
        tell(p, p->found_number[i], &p->found[i]);
    if (p->rc) {
        ctl_fail(k, "no probe can be sent: %s", strerror(-p->rc));
        ctl_work_done(k);
        return;
    }
    if (k->closing || (p->n_flying == 0 && (p->sent == p->count || p->arrived)))
        finish(p);
    else
        reactor_timer_set(&k->router->reactor, t, now + LOOK_NS);
}

static void end_work(struct ctl_conn *k)
{
    loop_call(k->router->loop, forget, k->work);
    free(k->work);
}

/* Our address towards `to`: a gateway of the VRF of its family, preferably in its subnet; in the underlay the loopback. */
static bool choose_source(struct ctl_conn *k, struct probe_spec *s)
{
    const struct router_config *c = &k->router->config;
    bool found = false;
    if (s->vrf == 0) {
        s->from = (struct ip_addr){.family = IP_V6, .a = c->loopback};
        return s->to.family == IP_V6;
    }
    for (unsigned i = 0; i < c->n_access; i++)
        for (unsigned g = 0; c->access[i].vrf == s->vrf && g < c->access[i].n_gateways; g++) {
            const struct ip_prefix *p = &c->access[i].gateways[g];
            bool near = p->family == s->to.family && ip_match(&p->a, &s->to.a, p->len);
            if (p->family == s->to.family && (!found || near)) {
                s->from = (struct ip_addr){.family = p->family, .a = p->a};
                found = true;
            }
        }
    return found;
}

static void start(struct ctl_conn *k, yyjson_val *rq, bool trace)
{
    struct error err = {""};
    double count, interval, timeout, size, dscp, hops = 64;
    const char *to = ctl_text(k, rq, "to");
    struct ping *p;
    struct probe_spec s = {0};
    if (!to || !ctl_vrf(k, rq, &s.vrf) ||
        !ctl_number(k, rq, trace ? "hops" : "count", 1, trace ? 64 : 1e6, trace ? 30 : 5, &count) ||
        !ctl_number(k, rq, "interval_ms", 1, 1e6, 1000, &interval) ||
        !ctl_number(k, rq, "timeout_ms", 1, 1e5, 1000, &timeout) || !ctl_number(k, rq, "size", 0, 65000, 56, &size) ||
        !ctl_number(k, rq, "dscp", 0, 63, 0, &dscp) || (!trace && !ctl_number(k, rq, "hops", 1, 255, 64, &hops)))
        return;
    if (ip_addr_parse(&s.to, to, &err))
        return ctl_fail(k, "%s", err.text);
    if (!choose_source(k, &s))
        return ctl_fail(k, "there is no address of ours for \"%.60s\" there", to);
    if (!(p = calloc(1, sizeof(*p))))
        return ctl_fail(k, "no memory");
    s.hops = (uint8_t)hops;
    s.size = (uint32_t)size;
    s.traffic = (uint8_t)((unsigned)dscp << 2);
    *p = (struct ping){.k = k,
        .spec = s,
        .trace = trace,
        .count = (unsigned)count,
        .interval_ns = (int64_t)(interval * NS_PER_MS),
        .timeout_ns = (int64_t)(timeout * NS_PER_MS)};
    k->work = p;
    k->end_work = end_work;
    k->busy = true;
    k->timer.due = tick;
    reactor_timer_set(&k->router->reactor, &k->timer, 0);
}

void ctl_ping(struct ctl_conn *k, yyjson_val *rq)
{
    start(k, rq, false);
}

void ctl_traceroute(struct ctl_conn *k, yyjson_val *rq)
{
    start(k, rq, true);
}
