#include "lab/work.h"

#include "base/clock.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READY_WITHIN (20 * NS_PER_S)
#define DRAIN_GRACE  (5 * NS_PER_S) /* for sources to finish what they began */
#define SINK_GRACE   (3 * NS_PER_S)
#define WORDS        40
#define TEXTS        24

static const volatile int never;

/* A command line in the making; numbers and addresses are written into it. */
struct words {
    const char *word[WORDS];
    char text[TEXTS][LAB_PATH_SIZE];
    unsigned n, n_texts;
};

static void add(struct words *w, const char *word)
{
    if (w->n + 1 < WORDS)
        w->word[w->n++] = word;
}

__attribute__((format(printf, 2, 3))) static void add_text(struct words *w, const char *fmt, ...)
{
    va_list list;
    if (w->n_texts == TEXTS)
        return;
    char *to = w->text[w->n_texts++];
    va_start(list, fmt);
    vsnprintf(to, LAB_PATH_SIZE, fmt, list);
    va_end(list);
    add(w, to);
}

static const struct scenario_workload *workload_of(const struct lab_work *k, const struct lab_flow *f)
{
    return &k->world->plan->scenario->workloads[f->flow->workload];
}

uint8_t lab_work_dscp(const struct plan *p, const struct plan_flow *f)
{
    const struct scenario *s = p->scenario;
    const struct scenario_workload *w = &s->workloads[f->workload];
    return w->dscp == SCENARIO_DSCP_OF_CLASS ? s->vpns[s->hosts[f->from].vpn].slice[w->class_].dscp : w->dscp;
}

static void add_dscp(struct words *w, const struct lab_work *k, const struct lab_flow *f)
{
    add(w, "--dscp");
    add_text(w, "%u", lab_work_dscp(k->world->plan, f->flow));
}

static uint16_t port_of(const struct lab_work *k, const struct lab_flow *f)
{
    return (uint16_t)(LAB_FIRST_PORT + (f - k->flows));
}

/* IPv4 where there is some. */
static const struct ip_prefix *prefix_of(const struct lab_work *k, uint32_t host)
{
    const struct plan_host *h = &k->world->plan->hosts[host];
    return h->address4.family ? &h->address4 : &h->address6;
}

static void add_address(struct words *w, const struct lab_work *k, uint32_t host)
{
    const struct ip_prefix *p = prefix_of(k, host);
    char text[IP_TEXT_SIZE];
    add_text(w, "%s", ip_addr_print(text, &(struct ip_addr){p->family, p->a}));
}

/* How long a flow may send: to its workload's end, or the scenario's. */
static int64_t time_of(const struct lab_work *k, const struct lab_flow *f)
{
    const struct scenario_workload *w = workload_of(k, f);
    int64_t left = k->duration_ns - f->flow->start_ns;
    return w->duration_ns && w->duration_ns < left ? w->duration_ns : left;
}

/* --- RoCE --- */

/* Where the kernel has no address for a host, its programs are the host. */
static void roce_place(struct words *w, const struct lab_work *k, uint32_t host)
{
    const struct plan_host *h = &k->world->plan->hosts[host];
    char text[IP_TEXT_SIZE];
    const struct scenario *s = k->world->plan->scenario;
    if (!s->hosts[host].pfc)
        add(w, "--ignore-pfc");
    add(w, "--cnp-dscp"), add_text(w, "%u", s->vpns[s->hosts[host].vpn].slice[SCENARIO_INFERENCE].dscp);
    add(w, "--line");
    add_text(w, "%llubit/s", (unsigned long long)s->hosts[host].rate_bps);
    if (!k->world->bare[host])
        return;
    const struct ip_prefix *p = prefix_of(k, host);
    add(w, "--interface"), add(w, "eth0");
    add(w, "--address"), add_text(w, "%s", ip_prefix_print(text, p));
    add(w, "--gateway"), add_text(w, "%s", ip_addr_print(text, p->family == IP_V4 ? &h->gateway4 : &h->gateway6));
    add(w, "--vlan"), add_text(w, "%u", h->vlan);
}

static void roce_source(struct words *w, const struct lab_work *k, const struct lab_flow *f)
{
    const struct scenario *s = k->world->plan->scenario;
    const struct scenario_workload *x = workload_of(k, f);
    add(w, k->world->program), add(w, "roce"), add(w, "send");
    add_address(w, k, f->flow->to);
    roce_place(w, k, f->flow->from);
    add(w, "--message"), add_text(w, "%llu", (unsigned long long)(x->message ? x->message : 1 << 20));
    add_dscp(w, k, f);
    add(w, "--priority"), add_text(w, "%u", s->vpns[s->hosts[f->flow->from].vpn].slice[x->class_].priority);
    add(w, "--duration"), add_text(w, "%lldns", (long long)time_of(k, f));
    if (x->rate_bps)
        add(w, "--rate"), add_text(w, "%llubit/s", (unsigned long long)x->rate_bps);
    if (x->bytes)
        add(w, "--bytes"), add_text(w, "%llu", (unsigned long long)x->bytes);
    if (s->hosts[f->flow->from].ecn)
        add(w, "--ecn");
    add(w, "--json");
}

static int roce_receiver(struct lab_work *k, uint32_t host, struct error *err)
{
    struct words w = {.n = 0};
    char name[80];
    add(&w, k->world->program), add(&w, "roce"), add(&w, "receive");
    roce_place(&w, k, host);
    add(&w, "--json");
    snprintf(name, sizeof(name), "roce-%.60s", k->world->plan->scenario->hosts[host].name);
    return lab_process_start(&k->receivers[host], k->world->journal, lab_world_ns(k->world, host), name, w.word, err);
}

/* --- TCP, UDP, commands --- */

static void tcp_source(struct words *w, const struct lab_work *k, const struct lab_flow *f)
{
    const struct scenario_workload *x = workload_of(k, f);
    add(w, "iperf3"), add(w, "--json"), add(w, "--interval"), add(w, "0.1"), add(w, "-c");
    add_address(w, k, f->flow->to);
    add(w, "-p"), add_text(w, "%u", port_of(k, f));
    add_dscp(w, k, f);
    if (x->rate_bps)
        add(w, "-b"), add_text(w, "%llu", (unsigned long long)x->rate_bps);
    if (x->bytes)
        add(w, "-n"), add_text(w, "%llu", (unsigned long long)x->bytes);
    else
        add(w, "-t"), add_text(w, "%lld", (long long)((time_of(k, f) + NS_PER_S - 1) / NS_PER_S));
}

static void udp_source(struct words *w, const struct lab_work *k, const struct lab_flow *f)
{
    const struct scenario *s = k->world->plan->scenario;
    const struct scenario_workload *x = workload_of(k, f);
    add(w, k->world->program), add(w, "lab"), add(w, "udp-send");
    add_address(w, k, f->flow->to);
    add(w, "--port"), add_text(w, "%u", port_of(k, f));
    add(w, "--rate"), add_text(w, "%llubit/s", (unsigned long long)x->rate_bps);
    add(w, "--packet"), add_text(w, "%u", x->packet ? x->packet : s->hosts[f->flow->from].mtu);
    add_dscp(w, k, f);
    add(w, "--duration"), add_text(w, "%lldns", (long long)time_of(k, f));
    add(w, "--bytes"), add_text(w, "%llu", (unsigned long long)x->bytes);
    add(w, "--on"), add_text(w, "%lldns", (long long)x->on_ns);
    add(w, "--off"), add_text(w, "%lldns", (long long)x->off_ns);
    if (s->hosts[f->flow->from].ecn)
        add(w, "--ecn");
}

/* In the shell; it learns where it is by FROM, TO (addresses), FROM_NAME, TO_NAME, DSCP and MERIDIAN (the program). */
static void command(struct words *w, const struct lab_work *k, const struct lab_flow *f, const char *text)
{
    const struct scenario *s = k->world->plan->scenario;
    const struct ip_prefix *from = prefix_of(k, f->flow->from), *to = prefix_of(k, f->flow->to);
    char a[IP_TEXT_SIZE], b[IP_TEXT_SIZE];
    add(w, "env");
    add_text(w, "FROM=%s", ip_addr_print(a, &(struct ip_addr){from->family, from->a}));
    add_text(w, "TO=%s", ip_addr_print(b, &(struct ip_addr){to->family, to->a}));
    add_text(w, "FROM_NAME=%s", s->hosts[f->flow->from].name);
    add_text(w, "TO_NAME=%s", s->hosts[f->flow->to].name);
    add_text(w, "DSCP=%u", lab_work_dscp(k->world->plan, f->flow));
    add_text(w, "MERIDIAN=%s", k->world->program);
    add(w, "sh"), add(w, "-c"), add(w, text);
}

/* --- starting --- */

static void flow_name(char ret[80], const struct lab_work *k, const struct lab_flow *f, const char *what)
{
    snprintf(ret, 80, "%.50s-%u%s", workload_of(k, f)->name, (unsigned)f->flow->number, what);
}

/* Programs in a host whose address the kernel does not have would have none. */
static int must_be_real(const struct lab_work *k, const struct lab_flow *f, struct error *err)
{
    const struct scenario *s = k->world->plan->scenario;
    uint32_t host = k->world->bare[f->flow->from] ? f->flow->from : f->flow->to;
    if (workload_of(k, f)->type == SCENARIO_WORK_ROCE || !k->world->bare[host])
        return 0;
    return error_set(err, EOPNOTSUPP,
        "workload %s: host %s is in a VLAN, which this Linux does not have; only roce workloads can be there",
        workload_of(k, f)->name, s->hosts[host].name);
}

static int start_sink(struct lab_work *k, struct lab_flow *f, const char **ret_ready, struct error *err)
{
    const struct scenario_workload *x = workload_of(k, f);
    struct words w = {.n = 0};
    char name[80];
    *ret_ready = NULL;
    if (x->type == SCENARIO_WORK_TCP) {
        add(&w, "iperf3"), add(&w, "-s"), add(&w, "-1"), add(&w, "--forceflush");
        add(&w, "-p"), add_text(&w, "%u", port_of(k, f));
        *ret_ready = "Server listening";
    } else if (x->type == SCENARIO_WORK_UDP) {
        add(&w, k->world->program), add(&w, "lab"), add(&w, "udp-receive");
        add(&w, "--port"), add_text(&w, "%u", port_of(k, f));
        *ret_ready = "receiving";
    } else if (x->type == SCENARIO_WORK_COMMAND && x->server) {
        command(&w, k, f, x->server);
    } else {
        return 0;
    }
    flow_name(name, k, f, "-sink");
    return lab_process_start(&f->sink, k->world->journal, lab_world_ns(k->world, f->flow->to), name, w.word, err);
}

static int start_source(struct lab_work *k, struct lab_flow *f, struct error *err)
{
    const struct scenario_workload *x = workload_of(k, f);
    struct words w = {.n = 0};
    char name[80];
    if (x->type == SCENARIO_WORK_ROCE)
        roce_source(&w, k, f);
    else if (x->type == SCENARIO_WORK_TCP)
        tcp_source(&w, k, f);
    else if (x->type == SCENARIO_WORK_UDP)
        udp_source(&w, k, f);
    else
        command(&w, k, f, x->command);
    flow_name(name, k, f, "");
    f->started = true;
    return lab_process_start(&f->source, k->world->journal, lab_world_ns(k->world, f->flow->from), name, w.word, err);
}

static int start_sinks(struct lab_work *k, struct error *err)
{
    int64_t until = clock_now_ns() + READY_WITHIN;
    const char **ready = calloc(k->n_flows + 1, sizeof(*ready));
    int rc = ready ? 0 : error_set(err, ENOMEM, "out of memory");
    for (uint32_t i = 0; i < k->n_flows && !rc; i++) {
        struct lab_flow *f = &k->flows[i];
        if (!lab_work_wanted(k, f->flow->workload))
            continue;
        rc = must_be_real(k, f, err);
        rc = rc ? rc : start_sink(k, f, &ready[i], err);
        if (!rc && workload_of(k, f)->type == SCENARIO_WORK_ROCE && !k->receivers[f->flow->to].pid)
            rc = roce_receiver(k, f->flow->to, err);
    }
    for (uint32_t i = 0; i < k->n_flows && !rc; i++)
        if (ready[i])
            rc = lab_process_ready(&k->flows[i].sink, ready[i], until, k->world->interrupted, err);
    for (uint32_t h = 0; h < k->world->plan->scenario->n_hosts && !rc; h++)
        if (k->receivers[h].pid)
            rc = lab_process_ready(&k->receivers[h], "\"receiving\"", until, k->world->interrupted, err);
    free(ready);
    return rc;
}

int lab_work_create(struct lab_work **ret, struct lab_world *w, int64_t duration_ns, uint32_t only, struct error *err)
{
    struct lab_work *k = calloc(1, sizeof(*k));
    if (!k)
        return error_set(err, ENOMEM, "out of memory");
    *k = (struct lab_work){.world = w, .duration_ns = duration_ns, .only = only, .n_flows = w->plan->n_flows};
    k->flows = calloc(k->n_flows + 1, sizeof(*k->flows));
    k->receivers = calloc(w->plan->scenario->n_hosts + 1, sizeof(*k->receivers));
    int rc = k->flows && k->receivers ? 0 : error_set(err, ENOMEM, "out of memory");
    if (!rc && k->n_flows > 65535 - LAB_FIRST_PORT)
        rc = error_set(err, E2BIG, "%u flows are too many for the lab", k->n_flows);
    for (uint32_t i = 0; i < k->n_flows && !rc; i++)
        k->flows[i].flow = &w->plan->flows[i];
    rc = rc ? rc : start_sinks(k, err);
    if (rc) {
        lab_work_free(k);
        return rc;
    }
    *ret = k;
    return 0;
}

void lab_work_free(struct lab_work *k)
{
    if (!k)
        return;
    free(k->flows);
    free(k->receivers);
    free(k);
}

/* --- running --- */

bool lab_work_wanted(const struct lab_work *k, uint32_t workload)
{
    return k->only == SCENARIO_NONE || k->only == workload;
}

/* iperf3 tells nothing of what it did when it is interrupted, so it is given whole seconds and waited for. */
static bool ends_itself(const struct lab_work *k, const struct lab_flow *f)
{
    return workload_of(k, f)->type == SCENARIO_WORK_TCP;
}

int lab_work_at(struct lab_work *k, int64_t elapsed_ns, struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < k->n_flows && !rc; i++) {
        struct lab_flow *f = &k->flows[i];
        if (!lab_work_wanted(k, f->flow->workload))
            continue;
        if (!f->started && f->flow->start_ns <= elapsed_ns && f->flow->start_ns < k->duration_ns)
            rc = start_source(k, f, err);
        else if (f->started && !f->ended && lab_process_check(&f->source) &&
                 elapsed_ns >= f->flow->start_ns + time_of(k, f)) {
            f->ended = true;
            if (!ends_itself(k, f))
                lab_process_signal(&f->source, SIGINT);
        }
    }
    return rc;
}

bool lab_work_over(const struct lab_work *k)
{
    for (uint32_t i = 0; i < k->n_flows; i++) {
        const struct lab_flow *f = &k->flows[i];
        if (lab_work_wanted(k, f->flow->workload) && (!f->started || f->source.running))
            return false;
    }
    return true;
}

/* Sources that were told once are not told again: a second ^C would end them without a word. */
static void stop_sources(struct lab_work *k, struct lab_process **all)
{
    int64_t until = clock_now_ns() + DRAIN_GRACE;
    uint32_t n = 0;
    for (uint32_t i = 0; i < k->n_flows; i++) {
        struct lab_flow *f = &k->flows[i];
        if (!f->started)
            continue;
        all[n++] = &f->source;
        if (!f->ended && (!ends_itself(k, f) || *k->world->interrupted))
            lab_process_signal(&f->source, SIGINT);
    }
    for (uint32_t i = 0; i < n; i++)
        lab_process_wait(all[i], until, &never);
    lab_process_stop(all, n, SIGTERM, SINK_GRACE);
}

void lab_work_stop(struct lab_work *k)
{
    uint32_t hosts = k->world->plan->scenario->n_hosts, n = 0;
    struct lab_process **all = calloc(k->n_flows + hosts + 1, sizeof(*all));
    if (!all)
        return;
    stop_sources(k, all);
    for (uint32_t i = 0; i < k->n_flows; i++)
        if (k->flows[i].sink.pid)
            all[n++] = &k->flows[i].sink;
    for (uint32_t h = 0; h < hosts; h++)
        if (k->receivers[h].pid)
            all[n++] = &k->receivers[h];
    lab_process_stop(all, n, SIGINT, SINK_GRACE);
    free(all);
}

/* A RoCE host stops reading and says so by PFC; other programs are stopped, and their kernel's windows close. */
void lab_work_stall(struct lab_work *k, uint32_t host, bool stall)
{
    lab_process_signal(&k->receivers[host], stall ? SIGUSR1 : SIGUSR2);
    for (uint32_t i = 0; i < k->n_flows; i++) {
        struct lab_flow *f = &k->flows[i];
        bool roce = workload_of(k, f)->type == SCENARIO_WORK_ROCE;
        if (f->flow->from == host)
            lab_process_signal(&f->source, roce ? stall ? SIGUSR1 : SIGUSR2 : stall ? SIGSTOP : SIGCONT);
        if (f->flow->to == host)
            lab_process_signal(&f->sink, stall ? SIGSTOP : SIGCONT);
    }
}
