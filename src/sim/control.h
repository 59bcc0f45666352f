/* The control plane of a scenario in virtual time: a BGP speaker for every PE and CPE, one for every reflector, byte streams
 * between them over the scenario's links, its faults, and how long it takes until every PE is right again.
 *
 * The speakers are src/bgp's, the same that routers run. What is a model: streams (in order; delay and rate of the shortest way
 * that works; at most a window under way), the underlay (every PE hears of a change after the links' silence and the way from
 * there to it), and the processor (a time for each octet that a speaker reads or writes). Nothing forwards packets here.
 *
 * A PE announces a route for each host that it has in a VPN, and `routes` more; VPNs without hosts are at every PE that has
 * `routes`. A PE is right while its speaker offers exactly the routes of its VPNs that working, reachable PEs announce. After
 * each fault, and after the start, the time until the last PE is right is measured. Same seed, same hash. */
#ifndef MERIDIAN_SIM_CONTROL_H
#define MERIDIAN_SIM_CONTROL_H

#include "base/buf.h"
#include "base/error.h"
#include "scenario/scenario.h"

#include <stdio.h>

struct control_options {
    uint64_t seed;       /* 0: the scenario's */
    int64_t duration_ns; /* 0: the scenario's */
    double octet_ns;     /* processor time of a speaker for an octet in or out; 0: none */
    FILE *trace;         /* faults and who becomes right when, a line each; NULL */
};

/* After one moment in which something happened; the first is the start. */
struct control_window {
    int64_t at_ns;
    char what[64];                   /* "kill pe7" */
    uint32_t affected;               /* PEs that were wrong at any time since */
    uint32_t unfinished;             /* still wrong when the next thing happened */
    int64_t p50_ns, p99_ns, last_ns; /* until affected PEs were right for good; -1: none was affected, or unfinished */
};

struct control_result {
    uint32_t pes, reflectors, vpns, routes, sessions;
    int64_t now_ns;
    const struct control_window *windows; /* the control's */
    uint32_t n_windows;
    int64_t p50_ns, p99_ns, most_ns; /* over windows behind the start, until the last PE; -1: none */
    uint32_t unfinished;             /* windows in which a PE stayed wrong */
    uint64_t events, octets, updates;
    size_t reflector_bytes, pe_bytes, all_bytes; /* tables: of the largest reflector, the largest PE, all speakers */
    uint64_t hash;
};

struct control;
/* -EINVAL with a sentence for scenarios without reflectors, PEs or routes, or with too many. The scenario must outlive it. */
int control_create(struct control **ret, const struct scenario *s, const struct control_options *o, struct error *err);
void control_free(struct control *c);
/* Until the end, or until `tick` (NULL: none; about every virtual second) says false. -ENOMEM. */
int control_run(
    struct control *c, bool (*tick)(void *user, int64_t now_ns, int64_t end_ns), void *user, struct error *err);
void control_result(struct control *c, struct control_result *ret);

/* A scenario as YAML: a ring of core routers with chords, `pes` PEs on two of them each, reflectors, `vpns` VPNs at all PEs with
 * `routes` routes each, and `faults` faults in turn (a PE dies and comes back, a PE loses its links, a core link and a PE's link
 * flap, sessions are reset, a reflector dies and comes back). A function of its arguments. -ENOMEM. */
struct control_make {
    uint32_t pes, reflectors, vpns, routes, faults;
    uint64_t seed;
};
int control_make(struct buf *ret, const struct control_make *m);

void control_print(FILE *to, const struct scenario *s, const struct control_result *r);
int control_json(FILE *to, const struct scenario *s, const struct control_result *r, double cpu_s, size_t resident);

#endif
