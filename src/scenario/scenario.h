/* A scenario: what network there is, what runs over it, what goes wrong when, and what must hold. One YAML file, two
 * worlds: `meridian lab run` starts it with real processes, `meridian sim run` in virtual time (docs/scenarios.md has every
 * key; a test compares that document with the schema).
 *
 * scenario_read refuses unknown keys, wrong units and names that nothing carries, in one sentence that says where. What it
 * returns is plain: names are resolved to indices, quantities are in base units, patterns and `for:` are expanded, faults
 * are in order of time. Addresses, SIDs and paths follow from it in scenario/plan.h. */
#ifndef MERIDIAN_SCENARIO_SCENARIO_H
#define MERIDIAN_SCENARIO_SCENARIO_H

#include "base/error.h"
#include "wire/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The classes of lane/queue.h, in their order. */
enum scenario_class {
    SCENARIO_CONTROL,
    SCENARIO_INFERENCE,
    SCENARIO_PARAMETER,
    SCENARIO_BULK,
    SCENARIO_CLASSES,
};

/* enum lane_mode of lane/lane.h, in its order. */
enum scenario_mode { SCENARIO_LANES, SCENARIO_FIFO, SCENARIO_ECN, SCENARIO_PFC, SCENARIO_MODES };

enum scenario_role { SCENARIO_CPE, SCENARIO_PE, SCENARIO_P, SCENARIO_REFLECTOR };
enum scenario_host_kind { SCENARIO_LINUX, SCENARIO_ROCE, SCENARIO_TCP };

#define SCENARIO_NONE UINT32_MAX /* no index */

struct scenario_site {
    const char *name, *city, *kind; /* city, kind: "" not said */
};

struct scenario_router {
    const char *name;
    uint32_t id; /* 1..0xdfff, unique: its NEXT-C-SID node number (given, or the first one free) */
    enum scenario_role role;
    uint32_t site;        /* index or SCENARIO_NONE */
    uint64_t pool;        /* bytes that each core port may promise to its neighbour's lanes; 0: enough for its lanes */
    uint64_t tenant_pool; /* bytes of it for one tenant at most; 0: no limit of its own */
    int64_t poll_ns;      /* simulation: time between two looks at its receive rings (0: at once) */
    uint64_t pps;         /* simulation: packets a second that its core can forward; 0: any number */
    uint32_t routes; /* simulated control plane: VPN routes that it announces in each of its VPNs, beside its hosts' */
};

struct scenario_quality { /* what a link does to frames, in each direction */
    double loss;          /* share of frames lost */
    double bit_errors;    /* errors per bit; a frame with one is lost */
    double duplicate;     /* share of frames that arrive twice */
    double reorder;       /* share of frames held back by up to `jitter` and overtaken */
    double control_loss;  /* share of lane control frames lost, on top of `loss` */
    double control_duplicate, control_reorder;
    int64_t jitter_ns; /* delay varies by up to this much; order is kept but for `reorder` */
};

struct scenario_link {
    const char *name;
    uint32_t router[2];
    uint64_t rate_bps;
    double km;
    int64_t delay_ns; /* one way: 5 us a kilometre, or as given */
    struct scenario_quality quality;
    const char *group; /* shared-risk group; NULL: of its own */
    uint32_t mtu;      /* bytes of IP packet */
};

struct scenario_host {
    const char *name;
    enum scenario_host_kind kind;
    uint32_t router;
    uint32_t vpn;
    const char *port;    /* hosts of one router with the same name share a cable; NULL: one of its own */
    const char *machine; /* lab: hosts of the same name are one computer with several cables; NULL: one of its own */
    uint16_t vlan;       /* 0: untagged */
    struct ip_prefix
        subnet; /* its IPv4 (or IPv6) address with its subnet's length, host bits kept; family 0: planned */
    uint64_t rate_bps;
    int64_t delay_ns;
    uint32_t mtu;
    bool ecn; /* its TCP speaks ECN; default true */
    bool pfc; /* it obeys and sends PFC; default true */
};

/* What a VPN gets in one class (a slice). A class that is not wanted has no lane: its packets go best effort. A VPN that
 * lists no classes gets those that its workloads use. */
struct scenario_slice {
    bool wanted;
    uint64_t guarantee_bps, cap_bps, rate_bps; /* 0: none, none, the slowest link's rate */
    uint64_t window_least;                     /* bytes */
    uint8_t priority;                          /* 802.1p priority of this class at the VPN's access ports */
    uint8_t dscp;                              /* that marks the class inside the VPN */
    /* the ingress buffer, bytes; 0: planned from the access port's rate */
    uint64_t ecn_at, xoff_at, xon_at, drop_at;
};

struct scenario_vpn {
    const char *name, *tenant;
    uint32_t tenant_id; /* > 0; VPNs that name the same tenant share it */
    uint32_t vrf;       /* 1..4095, unique */
    bool encrypted;
    bool best_effort; /* no lanes at all */
    struct scenario_slice slice[SCENARIO_CLASSES];
};

enum scenario_how { SCENARIO_VIA, SCENARIO_SHORTEST, SCENARIO_DISJOINT };

struct scenario_path {
    const char *name;
    uint32_t from, to; /* routers */
    enum scenario_how how;
    const char *const *via; /* names of routers or links, in order */
    uint32_t n_via;
    uint32_t apart_from; /* SCENARIO_DISJOINT: the path to keep away from, listed before it */
    uint32_t vpn;        /* SCENARIO_NONE: any */
    uint8_t classes;     /* bit per enum scenario_class; all: any */
    bool both;           /* also the other way round, over the same links */
    bool standby;        /* its lanes are opened only by a fault `move` */
    uint32_t protects;   /* 1+1: what goes by that path, listed before it, also goes by this one; SCENARIO_NONE: no */
};

#define SCENARIO_DSCP_OF_CLASS 0xff

enum scenario_work { SCENARIO_WORK_TCP, SCENARIO_WORK_UDP, SCENARIO_WORK_ROCE, SCENARIO_WORK_COMMAND };

struct scenario_workload {
    const char *name;
    enum scenario_work type;
    const char *from, *to; /* host names, '*' matches any run of characters; the flows are plan_flow */
    enum scenario_class class_;
    uint8_t dscp;
    uint64_t rate_bps;     /* udp: sent at; tcp, roce: at most. 0: as fast as it goes */
    uint64_t bytes;        /* that each flow sends; 0: until it stops */
    uint32_t packet;       /* bytes of IP packet; 0: the host's MTU */
    uint64_t message;      /* roce: bytes of one message; 0: 1 MiB */
    int64_t start_ns;      /* after the scenario's start */
    int64_t duration_ns;   /* 0: to the end */
    uint32_t count;        /* flows for each pair of hosts */
    int64_t on_ns, off_ns; /* udp: bursts; 0 0: steady */
    const char *command;   /* lab: run in the namespace of `from` */
    const char *server;    /* lab: run before it in the namespace of `to`; NULL: none */
    int64_t settle_ns;     /* latency and goodput are measured from so long after its start */
    int64_t stagger_ns;    /* the next flow of the workload starts this much later */
};

enum scenario_program_kind {
    SCENARIO_PROGRAM_CLOUD,    /* meridian cloud run: the compute centre */
    SCENARIO_PROGRAM_TRAIN,    /* meridian train */
    SCENARIO_PROGRAM_EDGE,     /* meridian edge run */
    SCENARIO_PROGRAM_CHAT,     /* people who ask an edge, and how long each token took */
    SCENARIO_PROGRAM_RECEIVE,  /* takes files */
    SCENARIO_PROGRAM_SEND,     /* sends files there, resumed when the connection breaks */
    SCENARIO_PROGRAM_STORESCP, /* dcmtk's: takes DICOM studies */
    SCENARIO_PROGRAM_STORESCU, /* dcmtk's: sends them */
    SCENARIO_PROGRAM_COMMAND,  /* a person's */
    SCENARIO_PROGRAM_CHECK,    /* a person's, run at the end while everything still runs */
    SCENARIO_PROGRAMS,
};

/* A real program, lab only: docs/scenarios.md says what each kind is given. */
struct scenario_program {
    const char *name;
    enum scenario_program_kind kind;
    uint32_t host;                         /* SCENARIO_NONE: a check, which is nowhere */
    uint32_t cloud, edge, to, after;       /* programs, SCENARIO_NONE: none */
    int64_t start_ns, duration_ns;         /* after the scenario's start; 0: until it ends by itself or all does */
    const char *model, *half, *data;       /* files in its host's folder; NULL */
    uint32_t users, tokens;                /* chat */
    const char *options, *command, *ready; /* more words for its command line; shell; what it says once it is ready */
};

enum scenario_fault_kind {
    SCENARIO_CUT,
    SCENARIO_RESTORE,
    SCENARIO_DEGRADE, /* link: `quality` replaces what it had */
    SCENARIO_HEAL,    /* link: its own quality again */
    SCENARIO_STALL,   /* host: takes nothing from the wire (PFC where it speaks it), reads nothing */
    SCENARIO_RESUME,
    SCENARIO_KILL,  /* router or program: its process ends, everything it held is gone */
    SCENARIO_DRAIN, /* router: it ends in good order, once its lanes have gone elsewhere or wait */
    SCENARIO_RESTART,
    SCENARIO_RESET, /* router: its BGP sessions, by a NOTIFICATION (simulated control plane only) */
    SCENARIO_MOVE,  /* vpn's class to another path */
};

struct scenario_fault {
    int64_t at_ns;
    enum scenario_fault_kind kind;
    uint32_t what; /* index of link, host, router or vpn; of kill and restart: n_routers + program, too */
    struct scenario_quality quality;
    enum scenario_class class_;
    uint32_t from_path, to_path; /* SCENARIO_MOVE */
};

enum scenario_metric {
    SCENARIO_LANE_DROPS,  /* packets lost inside lanes by routers, not by links */
    SCENARIO_DROPS,       /* packets of the workload (or of all) lost anywhere, once accepted by the network */
    SCENARIO_GOODPUT,     /* bit/s of payload delivered in order, while the workload ran */
    SCENARIO_P50,         /* ns, one way, host to host */
    SCENARIO_P99,         /* ns */
    SCENARIO_P999,        /* ns */
    SCENARIO_JITTER,      /* ns: p99.9 - p50 */
    SCENARIO_COMPLETED,   /* share of the workload's bytes that arrived */
    SCENARIO_RETRANSMIT,  /* packets sent again */
    SCENARIO_REORDERED,   /* packets delivered behind one that was sent later (udp) */
    SCENARIO_SILENCE,     /* ns: longest time without a delivery, while the workload ran */
    SCENARIO_RAMP,        /* ns: from its start until it is delivered at the full rate of its sink's line or its own */
    SCENARIO_PEAK_OVER_W, /* highest lane occupancy / its window, all hops */
    SCENARIO_UNACCOUNTED, /* link losses that the routers' records attribute to no or a wrong link */
    /* of programs */
    SCENARIO_ENDED,      /* 1: it ended well, or served to the end; 0 */
    SCENARIO_STEPS,      /* train: optimiser steps done in the end */
    SCENARIO_RESTARTS,   /* how often it was started again */
    SCENARIO_EFFICIENCY, /* train: steps a second while elephants ran / while none did */
    SCENARIO_TOKEN_P50,  /* chat: ns between two pieces of an answer */
    SCENARIO_TOKEN_P99,
    SCENARIO_TOKEN_MOST,
    SCENARIO_FIRST_P99, /* chat: ns from the question to the first piece */
    SCENARIO_ANSWERS,   /* chat: that came whole */
    SCENARIO_BROKEN,    /* chat: that did not */
    SCENARIO_CANARIES,  /* check: what it found; unknown unless it searched everything */
    SCENARIO_METRICS,
};

enum scenario_unit { SCENARIO_COUNT, SCENARIO_RATE, SCENARIO_TIME, SCENARIO_SHARE };
enum scenario_op { SCENARIO_EQ, SCENARIO_LE, SCENARIO_GE, SCENARIO_LT, SCENARIO_GT };

/* "goodput(train) >= 40 Gbit/s", "p99(victim) <= 1.1 x alone": against its own value with only that workload running. */
struct scenario_expect {
    const char *text;
    enum scenario_metric metric;
    uint32_t workload; /* SCENARIO_NONE: all */
    uint32_t program;  /* of metrics of programs */
    enum scenario_op op;
    double value; /* count, bit/s, ns or share; with `alone` a factor */
    bool alone;
};

struct scenario {
    const char *name, *about;
    uint64_t seed;
    int64_t duration_ns;
    enum scenario_mode mode;
    int64_t hello_ns, silence_ns, watchdog_ns; /* 0: the router's own */
    bool control_bgp;                          /* lab: underlay, VPN routes without lanes, and keys come by BGP */
    bool heal;                                 /* lab: it takes the controller's place (lab/heal.h) */
    double control_loss;                       /* that windows are sized to hide; 0: the router's own */
    int64_t bgp_hold_ns, bgp_restart_ns;       /* simulated control plane: hold time, graceful restart */

    struct scenario_site *sites;
    struct scenario_router *routers;
    struct scenario_link *links;
    struct scenario_host *hosts;
    struct scenario_vpn *vpns;
    struct scenario_path *paths;
    struct scenario_workload *workloads;
    struct scenario_program *programs;
    struct scenario_fault *faults;
    struct scenario_expect *expect;
    uint32_t n_sites, n_routers, n_links, n_hosts, n_vpns, n_paths, n_workloads, n_programs, n_faults, n_expect;
    const char *const *setup; /* lab: shell commands that make files before programs start */
    uint32_t n_setup;

    void *file; /* what the strings point into */
};

/* -ENOENT, -EINVAL, -ENOMEM with a sentence that begins with the file's name. */
int scenario_read(struct scenario **ret, const char *path, struct error *err);
/* The same from memory; `name` stands for the file in sentences. */
int scenario_parse(struct scenario **ret, const char *name, const char *text, size_t len, struct error *err);
void scenario_free(struct scenario *s);

/* SCENARIO_NONE when nothing is called so. */
uint32_t scenario_router_find(const struct scenario *s, const char *name);
uint32_t scenario_link_find(const struct scenario *s, const char *name);
uint32_t scenario_host_find(const struct scenario *s, const char *name);
uint32_t scenario_vpn_find(const struct scenario *s, const char *name);
uint32_t scenario_path_find(const struct scenario *s, const char *name);
uint32_t scenario_workload_find(const struct scenario *s, const char *name);
uint32_t scenario_program_find(const struct scenario *s, const char *name);

const char *scenario_class_name(enum scenario_class c); /* "inference" */
const char *scenario_work_name(enum scenario_work w);   /* "tcp" */
const char *scenario_mode_name(enum scenario_mode m);   /* "lanes" */
uint32_t scenario_reflector(const struct scenario *s);  /* the first router of this role; SCENARIO_NONE */

/* Where programs of a VPN reach the machine that `host` is part of: a host of that VPN, SCENARIO_NONE: nowhere. */
uint32_t scenario_reached_at(const struct scenario *s, uint32_t host, uint32_t vpn);

const char *scenario_program_kind_name(enum scenario_program_kind k); /* "cloud" */
bool scenario_metric_of_program(enum scenario_metric m);
enum scenario_unit scenario_metric_unit(enum scenario_metric m);
bool scenario_holds(const struct scenario_expect *e, double seen, double alone);

#endif
