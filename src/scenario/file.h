/* The YAML of a scenario as it stands in the file: every scalar a string, NULL where it was not given. libcyaml fills it
 * strictly: an unknown key, a key given twice, a list where a word belongs are refused. scenario.c makes sense of it. */
#ifndef MERIDIAN_SCENARIO_FILE_H
#define MERIDIAN_SCENARIO_FILE_H

#include "base/error.h"

#include <stddef.h>

typedef char *file_text;

struct file_list {
    file_text *at;
    unsigned n;
};

struct file_site {
    file_text name, city, kind;
};

struct file_router {
    file_text name, id, role, site, pool, tenant_pool, poll, pps, routes;
};

struct file_link {
    file_text name, a, b, rate, length, delay, mtu, group;
    file_text loss, bit_errors, duplicate, reorder, jitter, control_loss, control_duplicate, control_reorder;
};

struct file_host {
    file_text name, kind, router, vpn, port, machine, vlan, address, rate, length, delay, mtu, ecn, pfc;
};

struct file_class {
    file_text class_, guarantee, cap, rate, window_least, priority, dscp, ecn_at, xoff_at, xon_at, drop_at;
};

struct file_vpn {
    file_text name, tenant, vrf, encrypted;
    struct file_class *classes;
    unsigned n_classes;
    file_text best_effort;
};

struct file_path {
    file_text name, from, to, how, apart_from, vpn, both, standby, protects;
    struct file_list via, classes;
};

struct file_workload {
    file_text name, type, from, to, class_, dscp, rate, bytes, packet, message, start, duration, count, burst, pause,
        stagger, settle, command, server;
};

struct file_program {
    file_text name, kind, host, cloud, edge, to, after, start, duration, model, half, data, users, tokens, options,
        command, ready;
};

struct file_fault {
    file_text at, fault, of, for_, class_, from_path, to_path;
    file_text loss, bit_errors, duplicate, reorder, jitter, control_loss, control_duplicate, control_reorder;
};

struct file_scenario {
    file_text name, about, seed, duration, mode, hello, silence, watchdog, control_loss, bgp_hold, bgp_restart, heal,
        control;
    struct file_site *sites;
    struct file_router *routers;
    struct file_link *links;
    struct file_host *hosts;
    struct file_vpn *vpns;
    struct file_path *paths;
    struct file_workload *workloads;
    struct file_list setup;
    struct file_program *programs;
    struct file_fault *faults;
    unsigned n_sites, n_routers, n_links, n_hosts, n_vpns, n_paths, n_workloads, n_programs, n_faults;
    struct file_list expect;
};

/* -EINVAL with what libcyaml complains of and the line; -ENOMEM. */
int file_load(struct file_scenario **ret, const char *text, size_t len, struct error *err);
void file_free(struct file_scenario *f);

/* Every key of the schema as "section key", in order; for the test that the document has them. NULL at the end. */
const char *file_key(unsigned i);

#endif
