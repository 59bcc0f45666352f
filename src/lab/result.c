/* Programs' JSON becomes figures of workloads. A program that said nothing that can be read has failed. */
#include "lab/result.h"

#include "base/clock.h"
#include "lab/journal.h"
#include "os/file.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#define OUTPUT_MOST (64u << 20)

/* --- reading JSON --- */

static yyjson_doc *document(const char *path)
{
    struct buf b = {0};
    yyjson_doc *d = NULL;
    if (!file_read(&b, path, OUTPUT_MOST, NULL))
        d = yyjson_read((const char *)b.data, b.len, YYJSON_READ_STOP_WHEN_DONE);
    buf_done(&b);
    return d;
}

static double number(yyjson_val *o, const char *key)
{
    return yyjson_get_num(yyjson_obj_get(o, key));
}

static uint64_t whole(yyjson_val *o, const char *key)
{
    double v = number(o, key);
    return v > 0 ? (uint64_t)v : 0;
}

static void slowest(int64_t *to, yyjson_val *times, const char *key)
{
    int64_t ns = (int64_t)(number(times, key) * 1e3);
    *to = ns > *to ? ns : *to;
}

static void add_times(struct lab_work_result *r, yyjson_val *times)
{
    if (!whole(times, "count"))
        return;
    int64_t least = (int64_t)(number(times, "min_us") * 1e3);
    r->least_ns = r->timed && r->least_ns < least ? r->least_ns : least;
    r->timed = true;
    slowest(&r->p50_ns, times, "p50_us");
    slowest(&r->p99_ns, times, "p99_us");
    slowest(&r->p999_ns, times, "p999_us");
    slowest(&r->most_ns, times, "max_us");
}

static void add_silence(struct lab_work_result *r, double ms)
{
    int64_t ns = (int64_t)(ms * 1e6);
    r->heard = true;
    r->silence_ns = ns > r->silence_ns ? ns : r->silence_ns;
}

/* --- one flow of each kind --- */

/* When a flow's payload moved, on the clock that all processes share; together they say when the workload did. */
struct span {
    int64_t first_ns, last_ns;
};

static void widen(struct span *s, int64_t first_ns, int64_t last_ns)
{
    if (first_ns > 0 && (!s->first_ns || first_ns < s->first_ns))
        s->first_ns = first_ns;
    s->last_ns = last_ns > s->last_ns ? last_ns : s->last_ns;
}

static bool read_udp(struct lab_work_result *r, struct span *s, const struct lab_flow *f)
{
    yyjson_doc *sent = document(f->source.out), *got = document(f->sink.out);
    yyjson_val *a = yyjson_doc_get_root(sent), *b = yyjson_doc_get_root(got);
    bool good = a && b;
    if (good) {
        uint64_t packets = whole(a, "packets"), delivered = whole(b, "packets");
        r->sent += packets;
        r->delivered += delivered;
        r->lost += packets > delivered ? packets - delivered : 0;
        r->reordered += whole(b, "overtaken");
        r->payload += whole(b, "payload_bytes");
        r->marked += whole(b, "ce_marked");
        widen(s, (int64_t)number(b, "first_ns"), (int64_t)number(b, "last_ns"));
        add_times(r, yyjson_obj_get(b, "one_way"));
        add_silence(r, number(b, "silence_ms"));
    }
    yyjson_doc_free(sent);
    yyjson_doc_free(got);
    return good;
}

/* iperf3 counts in tenths of a second: what lasts longer without a byte is silence. */
static double tcp_silence_ms(yyjson_val *root)
{
    double longest = 0, now = 0;
    size_t i, n;
    yyjson_val *interval;
    yyjson_arr_foreach(yyjson_obj_get(root, "intervals"), i, n, interval)
    {
        yyjson_val *sum = yyjson_obj_get(interval, "sum");
        now = number(sum, "bytes") > 0 ? 0 : now + number(sum, "seconds") * 1e3;
        longest = now > longest ? now : longest;
    }
    return longest;
}

/* The receiver's count ends with the test: of a fixed amount, what was still under way then is missing in it, and the sender's
 * good end says that all of it went. */
static bool read_tcp(
    struct lab_work_result *r, double *ret_seconds, const struct lab_flow *f, const struct scenario_workload *w)
{
    yyjson_doc *d = document(f->source.out);
    yyjson_val *root = yyjson_doc_get_root(d), *end = yyjson_obj_get(root, "end");
    yyjson_val *got = yyjson_obj_get(end, "sum_received"), *sent = yyjson_obj_get(end, "sum_sent");
    bool good = got && !yyjson_obj_get(root, "error");
    if (got) {
        double seconds = number(got, "seconds");
        bool all = good && w->bytes && whole(sent, "bytes") >= w->bytes;
        r->payload += all ? w->bytes : whole(got, "bytes");
        r->retransmitted += whole(sent, "retransmits");
        *ret_seconds = seconds > *ret_seconds ? seconds : *ret_seconds;
        add_silence(r, tcp_silence_ms(root));
    }
    yyjson_doc_free(d);
    return good;
}

static bool read_roce_source(struct lab_work_result *r, struct span *s, const struct lab_flow *f)
{
    yyjson_doc *d = document(f->source.out);
    yyjson_val *root = yyjson_doc_get_root(d);
    if (root) {
        r->sent += whole(root, "packets");
        r->payload += whole(root, "payload_bytes");
        r->retransmitted += whole(root, "retransmitted_packets");
        r->broken += whole(root, "broken_queue_pairs");
        widen(s, (int64_t)number(root, "first_ns"), (int64_t)number(root, "last_ns"));
    }
    yyjson_doc_free(d);
    return root != NULL;
}

/* The part of a RoCE receiver's words that is about this flow: from its source, with its workload's mark. */
static bool read_roce_sink(struct lab_work_result *r, const struct lab_work *k, const struct lab_flow *f)
{
    const struct plan *p = k->world->plan;
    const struct plan_host *h = &p->hosts[f->flow->from];
    const struct ip_prefix *at = h->address4.family ? &h->address4 : &h->address6;
    char peer[IP_TEXT_SIZE];
    ip_addr_print(peer, &(struct ip_addr){at->family, at->a});
    yyjson_doc *d = document(k->receivers[f->flow->to].out);
    yyjson_val *root = yyjson_doc_get_root(d), *source;
    size_t i, n;
    yyjson_arr_foreach(yyjson_obj_get(root, "sources"), i, n, source)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(source, "peer"));
        if (!name || strcmp(name, peer) || whole(source, "dscp") != lab_work_dscp(p, f->flow))
            continue;
        r->delivered +=
            f->flow->number % p->scenario->workloads[f->flow->workload].count ? 0 : whole(source, "packets");
        add_times(r, yyjson_obj_get(source, "one_way"));
        add_silence(r, number(source, "silence_ms"));
    }
    bool good = root != NULL;
    yyjson_doc_free(d);
    return good;
}

/* --- workloads --- */

static bool ended_well(const struct lab_process *p)
{
    return !p->pid || (!p->running && p->status == 0);
}

static void note_failure(struct lab_work_result *r, const struct lab_process *p, const char *what)
{
    char text[220];
    if (r->failed++)
        return;
    lab_process_describe(p, text, sizeof(text));
    snprintf(r->why, sizeof(r->why), "%s %s%s", p->name, what, what[0] ? "" : text);
}

static void read_flow(struct lab_work_result *r, struct span *s, double *seconds, const struct lab_work *k,
    const struct lab_flow *f, const struct scenario_workload *w)
{
    bool good = true;
    r->ran = true;
    r->flows++;
    r->wanted += w->bytes;
    if (w->type == SCENARIO_WORK_UDP)
        good = read_udp(r, s, f);
    else if (w->type == SCENARIO_WORK_TCP)
        good = read_tcp(r, seconds, f, w);
    else if (w->type == SCENARIO_WORK_ROCE)
        good = read_roce_source(r, s, f) && read_roce_sink(r, k, f);
    if (w->type == SCENARIO_WORK_COMMAND && f->ended)
        return; /* its time was over: however it took that */
    if (w->type == SCENARIO_WORK_ROCE && good)
        return; /* broken queue pairs are a result, and told as one */
    if (!ended_well(&f->source))
        note_failure(r, &f->source, "");
    else if (!good)
        note_failure(r, &f->source, "said nothing that can be read");
}

int lab_result_read(struct lab_result *ret, const struct lab_work *k, const struct lab_programs *p, struct error *err)
{
    const struct scenario *s = k->world->plan->scenario;
    struct lab_work_result *works = calloc(s->n_workloads + 1, sizeof(*works));
    if (!works)
        return error_set(err, ENOMEM, "out of memory");
    for (uint32_t w = 0; w < s->n_workloads; w++) {
        struct lab_work_result *r = &works[w];
        struct span span = {0};
        double seconds = 0;
        r->name = s->workloads[w].name;
        r->type = scenario_work_name(s->workloads[w].type);
        for (uint32_t i = 0; i < k->n_flows; i++)
            if (k->flows[i].flow->workload == w && k->flows[i].started)
                read_flow(r, &span, &seconds, k, &k->flows[i], &s->workloads[w]);
        seconds = seconds > 0 ? seconds : (double)(span.last_ns - span.first_ns) / (double)NS_PER_S;
        r->goodput_bps = seconds > 0 ? (double)r->payload * 8 / seconds : 0;
    }
    ret->works = works;
    ret->n_works = s->n_workloads;
    int rc = lab_result_programs(ret, k, p, err);
    if (rc)
        lab_result_done(ret);
    return rc;
}

void lab_result_done(struct lab_result *r)
{
    free(r->works);
    for (uint32_t i = 0; i < r->n_programs; i++)
        yyjson_doc_free(r->programs[i].said);
    free(r->programs);
    r->programs = NULL;
    r->n_programs = 0;
    r->works = NULL;
    r->n_works = 0;
}

/* --- expectations --- */

static double of_work(const struct lab_work_result *r, enum scenario_metric m)
{
    switch (m) {
    case SCENARIO_GOODPUT:
        return r->goodput_bps;
    case SCENARIO_P50:
        return r->timed ? (double)r->p50_ns : NAN;
    case SCENARIO_P99:
        return r->timed ? (double)r->p99_ns : NAN;
    case SCENARIO_P999:
        return r->timed ? (double)r->p999_ns : NAN;
    case SCENARIO_JITTER:
        return r->timed ? (double)(r->p999_ns - r->p50_ns) : NAN;
    case SCENARIO_COMPLETED:
        if (r->wanted)
            return r->payload < r->wanted ? (double)r->payload / (double)r->wanted : 1;
        return r->flows ? (double)(r->flows - (r->failed < r->flows ? r->failed : r->flows)) / r->flows : NAN;
    case SCENARIO_RETRANSMIT:
        return (double)r->retransmitted;
    case SCENARIO_REORDERED: /* only UDP numbers its packets */
        return r->timed && r->sent ? (double)r->reordered : NAN;
    case SCENARIO_SILENCE:
        return r->heard ? (double)r->silence_ns : NAN;
    default:
        return NAN;
    }
}

static double of_program(const struct lab_program_result *p, enum scenario_metric m)
{
    switch (m) {
    case SCENARIO_ENDED:
        return p->ended;
    case SCENARIO_STEPS:
        return p->steps;
    case SCENARIO_RESTARTS:
        return p->restarts;
    case SCENARIO_EFFICIENCY:
        return p->efficiency;
    case SCENARIO_TOKEN_P50:
        return p->token_p50_ns;
    case SCENARIO_TOKEN_P99:
        return p->token_p99_ns;
    case SCENARIO_TOKEN_MOST:
        return p->token_most_ns;
    case SCENARIO_FIRST_P99:
        return p->first_p99_ns;
    case SCENARIO_ANSWERS:
        return p->answers;
    case SCENARIO_BROKEN:
        return p->broken;
    case SCENARIO_CANARIES:
        return p->canaries;
    default:
        return NAN;
    }
}

double lab_result_metric(const struct lab_result *r, const struct scenario_expect *e)
{
    const struct lab_router_totals *t = &r->routers;
    if (scenario_metric_of_program(e->metric))
        return e->program < r->n_programs ? of_program(&r->programs[e->program], e->metric) : NAN;
    if (e->metric == SCENARIO_LANE_DROPS)
        return t->known ? (double)t->lane_drops : NAN;
    if (e->metric == SCENARIO_PEAK_OVER_W)
        return t->known ? t->peak_over_w : NAN;
    if (e->metric == SCENARIO_UNACCOUNTED)
        return NAN; /* the fibres do not tell lanes' packets from others */
    if (e->metric == SCENARIO_DROPS && e->workload == SCENARIO_NONE)
        return t->known ? (double)t->drops : NAN;
    if (e->workload >= r->n_works || !r->works[e->workload].ran)
        return NAN;
    const struct lab_work_result *w = &r->works[e->workload];
    if (e->metric == SCENARIO_DROPS) /* only UDP numbers its packets where we see both ends */
        return w->sent && !w->broken && w->timed && w->retransmitted == 0 && w->lost + w->delivered == w->sent
                   ? (double)w->lost
                   : NAN;
    return of_work(w, e->metric);
}
