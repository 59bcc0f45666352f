/* Programs of a scenario: who each one talks to, and that it was told what its kind needs. */
#include "scenario/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
    "cloud", "train", "edge", "chat", "receive", "send", "storescp", "storescu", "command", "check", NULL};

const char *scenario_program_kind_name(enum scenario_program_kind k)
{
    return kinds[k];
}

/* What a kind needs and what it may have, a bit for each key below. */
enum {
    HOST = 1,
    CLOUD = 2,
    EDGE = 4,
    TO = 8,
    MODEL = 16,
    HALF = 32,
    DATA = 64,
    USERS = 128,
    COMMAND = 256,
    READY = 512
};
static const struct {
    unsigned needs, may;
} keys_of[SCENARIO_PROGRAMS] = {
    [SCENARIO_PROGRAM_CLOUD] = {HOST, 0},
    [SCENARIO_PROGRAM_TRAIN] = {HOST | CLOUD | MODEL | DATA, HALF},
    [SCENARIO_PROGRAM_EDGE] = {HOST | CLOUD | MODEL, HALF},
    [SCENARIO_PROGRAM_CHAT] = {HOST | EDGE, DATA | USERS},
    [SCENARIO_PROGRAM_RECEIVE] = {HOST, 0},
    [SCENARIO_PROGRAM_SEND] = {HOST | TO | DATA, 0},
    [SCENARIO_PROGRAM_STORESCP] = {HOST, 0},
    [SCENARIO_PROGRAM_STORESCU] = {HOST | TO | DATA, 0},
    [SCENARIO_PROGRAM_COMMAND] = {HOST | COMMAND, TO | READY},
    [SCENARIO_PROGRAM_CHECK] = {COMMAND, 0},
};

static int keys(const struct place *p, const struct file_program *in, enum scenario_program_kind kind)
{
    const struct {
        const char *key, *text;
        unsigned bit;
    } all[] = {{"host", in->host, HOST}, {"cloud", in->cloud, CLOUD}, {"edge", in->edge, EDGE}, {"to", in->to, TO},
        {"model", in->model, MODEL}, {"half", in->half, HALF}, {"data", in->data, DATA}, {"users", in->users, USERS},
        {"tokens", in->tokens, USERS}, {"command", in->command, COMMAND}, {"ready", in->ready, READY}};
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char what[64];
        if (!all[i].text && (keys_of[kind].needs & all[i].bit))
            return place_missing(p, all[i].key);
        snprintf(what, sizeof(what), "means nothing to a program of kind %s", kinds[kind]);
        if (all[i].text && !((keys_of[kind].needs | keys_of[kind].may) & all[i].bit))
            return place_bad(p, all[i].key, all[i].text, what);
    }
    return 0;
}

/* Another program, of a certain kind, listed above. */
static int other(const struct place *p, const struct scenario *s, const char *key, const char *text,
    enum scenario_program_kind kind, uint32_t *ret)
{
    char what[64];
    snprintf(what, sizeof(what), "%s above this one", kind < SCENARIO_PROGRAMS ? kinds[kind] : "program");
    int rc = get_name(p, key, text, s, scenario_program_find, what, ret);
    if (rc || !text || kind == SCENARIO_PROGRAMS || s->programs[*ret].kind == kind)
        return rc;
    snprintf(what, sizeof(what), "is a program of kind %s, not %s", kinds[s->programs[*ret].kind], kinds[kind]);
    return place_bad(p, key, text, what);
}

/* The host of `machine` (or that host itself) that is in this VPN: where a program of the VPN reaches it. */
uint32_t scenario_reached_at(const struct scenario *s, uint32_t host, uint32_t vpn)
{
    const char *machine = s->hosts[host].machine;
    if (s->hosts[host].vpn == vpn)
        return host;
    for (uint32_t i = 0; i < s->n_hosts && machine; i++)
        if (s->hosts[i].machine && strcmp(s->hosts[i].machine, machine) == 0 && s->hosts[i].vpn == vpn)
            return i;
    return SCENARIO_NONE;
}

static int reach(const struct place *p, const struct scenario *s, const struct scenario_program *x, const char *key,
    const char *text, uint32_t program)
{
    if (program == SCENARIO_NONE ||
        scenario_reached_at(s, s->programs[program].host, s->hosts[x->host].vpn) != SCENARIO_NONE)
        return 0;
    return place_bad(p, key, text, "is not reached: its machine has no host in the VPN of this one");
}

static int talks_to(
    const struct place *p, const struct scenario *s, const struct file_program *in, struct scenario_program *x)
{
    enum scenario_program_kind to = x->kind == SCENARIO_PROGRAM_SEND       ? SCENARIO_PROGRAM_RECEIVE
                                    : x->kind == SCENARIO_PROGRAM_STORESCU ? SCENARIO_PROGRAM_STORESCP
                                                                           : SCENARIO_PROGRAMS;
    int rc = other(p, s, "cloud", in->cloud, SCENARIO_PROGRAM_CLOUD, &x->cloud);
    rc = rc ? rc : other(p, s, "edge", in->edge, SCENARIO_PROGRAM_EDGE, &x->edge);
    rc = rc ? rc : other(p, s, "to", in->to, to, &x->to);
    rc = rc ? rc : other(p, s, "after", in->after, SCENARIO_PROGRAMS, &x->after);
    rc = rc ? rc : reach(p, s, x, "cloud", in->cloud, x->cloud);
    rc = rc ? rc : reach(p, s, x, "edge", in->edge, x->edge);
    return rc ? rc : reach(p, s, x, "to", in->to, x->to);
}

static int one_program(struct scenario *s, const struct file_program *in, uint32_t i, struct error *err)
{
    struct scenario_program *x = &s->programs[i];
    struct place p = {"programs", i, in->name, err};
    uint32_t kind = 0;
    *x = (struct scenario_program){.name = in->name,
        .host = SCENARIO_NONE,
        .cloud = SCENARIO_NONE,
        .edge = SCENARIO_NONE,
        .to = SCENARIO_NONE,
        .after = SCENARIO_NONE,
        .users = 1,
        .tokens = 48,
        .model = in->model,
        .half = in->half,
        .data = in->data,
        .options = in->options,
        .command = in->command,
        .ready = in->ready};
    int rc = check_name(&p, in->name);
    rc = rc                                                    ? rc
         : scenario_program_find(s, in->name) == SCENARIO_NONE ? 0
                                                               : place_bad(&p, "name", in->name, "is taken");
    if (!rc && scenario_router_find(s, in->name) != SCENARIO_NONE)
        rc = place_bad(&p, "name", in->name, "is a router's");
    rc = rc ? rc : in->kind ? get_choice(&p, "kind", in->kind, kinds, &kind) : place_missing(&p, "kind");
    x->kind = (enum scenario_program_kind)kind;
    rc = rc ? rc : keys(&p, in, x->kind);
    rc = rc ? rc : get_name(&p, "host", in->host, s, scenario_host_find, "host", &x->host);
    rc = rc ? rc : talks_to(&p, s, in, x);
    rc = rc ? rc : get_time(&p, "start", in->start, &x->start_ns);
    rc = rc ? rc : get_time(&p, "duration", in->duration, &x->duration_ns);
    rc = rc ? rc : get_u32(&p, "users", in->users, 1, 64, &x->users);
    rc = rc ? rc : get_u32(&p, "tokens", in->tokens, 1, 4096, &x->tokens);
    s->n_programs++;
    return rc;
}

int resolve_programs(struct scenario *s, struct file_scenario *f, struct error *err)
{
    s->setup = (const char *const *)f->setup.at;
    s->n_setup = f->setup.n;
    s->programs = calloc(f->n_programs + 1, sizeof(*s->programs));
    int rc = s->programs ? 0 : error_set(err, ENOMEM, "no memory");
    for (uint32_t i = 0; i < f->n_programs && !rc; i++)
        rc = one_program(s, &f->programs[i], i, err);
    return rc;
}
