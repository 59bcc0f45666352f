/* `meridian cloud run`, and the two verbs by which it starts its own processes (not shown in the help). */
#include "base/log.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "cloud/enrol.h"
#include "cloud/supervisor.h"
#include "cloud/worker.h"
#include "crypto/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "90d", "12h", "30m", "45s" in seconds. */
static int duration(const struct cli_args *args, const char *option, int64_t *ret, struct error *err)
{
    const char *text = cli_str(args, option);
    char *unit;
    unsigned long long n = strtoull(text, &unit, 10);
    int64_t seconds = *unit == 'd' ? 86400 : *unit == 'h' ? 3600 : *unit == 'm' ? 60 : *unit == 's' ? 1 : 0;
    if (!seconds || unit[1] || text[0] < '0' || text[0] > '9' || n < 1 || n > 3650ull * 86400 / (uint64_t)seconds)
        return error_set(
                   err, EINVAL, "--%s \"%s\": write for example 90d, 12h, 30m or 45s, at most 3650d", option, text),
               CLI_USAGE;
    *ret = (int64_t)n * seconds;
    return 0;
}

static int run(const struct cli_args *args, struct error *err)
{
    uint64_t uid = 0;
    struct supervisor_config cfg = {.dir = cli_str(args, "dir"),
        .listen = cli_str(args, "listen"),
        .keylog = cli_str(args, "unsafe-keylog"),
        .json_log = cli_flag(args, "json-log")};
    int rc = duration(args, "edge-life", &cfg.edge_s, err);
    rc = rc ? rc : duration(args, "server-life", &cfg.server_s, err);
    rc = rc ? rc : cli_u64(args, "uid-base", 1, UINT32_MAX - 1024, &uid, err);
    rc = rc ? rc : cli_size(args, "memory", 64 << 20, UINT64_MAX / 4, &cfg.memory_bytes, err);
    rc = rc ? rc : cli_size(args, "kv", 1 << 20, UINT64_MAX / 4, &cfg.kv_bytes, err);
    rc = rc ? rc : cli_u32(args, "threads", 1, 1024, &cfg.n_threads, err);
    if (rc)
        return rc;
    cfg.uid_base = (uid_t)uid;
    log_setup(LOG_LEVEL_INFO, cfg.json_log, "cloud");
    if (cfg.keylog) {
        int fd = -1;
        rc = tls_keylog_open(&fd, cfg.keylog, err); /* each process opens it for itself; this one warns early */
        if (rc)
            return rc;
        close(fd);
    }
    return supervisor_run(&cfg, err);
}

static const struct cli_option options[] = {
    {"dir", "DIR", "/var/lib/meridian/cloud", "the cloud's folder: authority, hospitals, stores"},
    {"listen", "ADDR:PORT", "[::]:7443", "where edges connect; [::] is all addresses of both families"},
    {"memory", "BYTES", NULL, "most memory of one worker (default: no limit)"},
    {"kv", "BYTES", NULL, "of it for keys and values (default: a quarter, at most 1G)"},
    CLI_OPTION_THREADS,
    {"edge-life", "TIME", "90d", "how long edges' certificates are good; they renew when a third of it is left"},
    {"server-life", "TIME", "7d", "how long workers' certificates are good; they renew after half of it"},
    /* Debian leaves 60706–61183 unused; the enrol process takes the first, hospitals follow */
    {"uid-base", "UID", "60710", "as root: first of 401 user ids for the enrol process and workers"},
    {"json-log", NULL, NULL, "log as JSON lines"},
    CLI_OPTION_KEYLOG,
    {NULL},
};

const struct cli_verb verb_cloud_run = {
    .section = "Cloud",
    .name = "cloud run",
    .summary = "run the cloud's side: one isolated worker for each hospital",
    .operands = "",
    .about =
        "Accepts connections, and hands each to the process of the hospital it names: a worker that owns its TLS key,\n"
        "sees only its own store, has no network of its own and a user id to itself (as root; otherwise a user\n"
        "namespace). Hospitals are admitted with `meridian cloud invite`. ^C ends everything in order.",
    .example = "meridian cloud run --dir /srv/meridian --listen 203.0.113.9:7443 --memory 64G",
    .options = options,
    .run = run,
};

/* --- its own processes --- */

static int open_keylog(const struct cli_args *args, int *ret_fd, struct error *err)
{
    const char *path = cli_str(args, "unsafe-keylog");
    *ret_fd = -1;
    return path ? tls_keylog_open(ret_fd, path, err) : 0;
}

static int run_enrol(const struct cli_args *args, struct error *err)
{
    uint64_t uid = 0, edge = 0, server = 0;
    struct enrol_config cfg = {.dir = cli_str(args, "dir"), .name = cli_str(args, "name"), .control_fd = 3};
    log_setup(LOG_LEVEL_INFO, cli_flag(args, "json-log"), "cloud/enrol");
    int rc = cli_u64(args, "uid", 0, UINT32_MAX, &uid, err);
    rc = rc ? rc : cli_u64(args, "edge-seconds", 1, UINT32_MAX, &edge, err);
    rc = rc ? rc : cli_u64(args, "server-seconds", 1, UINT32_MAX, &server, err);
    rc = rc ? rc : open_keylog(args, &cfg.keylog_fd, err);
    if (rc)
        return rc;
    cfg.uid = (uid_t)uid;
    cfg.edge_s = (int64_t)edge;
    cfg.server_s = (int64_t)server;
    return enrol_run(&cfg, err);
}

static const struct cli_option enrol_options[] = {
    {"dir", "DIR", "", "the cloud's folder"},
    {"name", "SNI", "", "its own name"},
    {"uid", "UID", "0", "to become"},
    {"edge-seconds", "N", "7776000", "life of edges' certificates"},
    {"server-seconds", "N", "604800", "life of workers' certificates"},
    {"json-log", NULL, NULL, "log as JSON lines"},
    {"unsafe-keylog", "FILE", NULL, "TLS secrets"},
    {NULL},
};

const struct cli_verb verb_cloud_enrol_process = {
    .name = "cloud enrol-process",
    .summary = "started by cloud run",
    .operands = "",
    .about = "",
    .example = "",
    .options = enrol_options,
    .run = run_enrol,
};

static int run_worker(const struct cli_args *args, struct error *err)
{
    uint64_t uid = 0;
    char who[64];
    struct worker_config cfg = {
        .name = cli_str(args, "name"), .id = cli_str(args, "id"), .store = cli_str(args, "store"), .control_fd = 3};
    snprintf(who, sizeof(who), "cloud/worker %s", cfg.name);
    log_setup(LOG_LEVEL_INFO, cli_flag(args, "json-log"), who);
    int rc = cli_u64(args, "uid", 0, UINT32_MAX, &uid, err);
    rc = rc ? rc : cli_u64(args, "memory", 0, UINT64_MAX, &cfg.memory_bytes, err);
    rc = rc ? rc : cli_u64(args, "kv", 0, UINT64_MAX, &cfg.kv_bytes, err);
    rc = rc ? rc : cli_u32(args, "threads", 0, 1024, &cfg.n_threads, err);
    rc = rc ? rc : open_keylog(args, &cfg.keylog_fd, err);
    if (rc)
        return rc;
    cfg.uid = (uid_t)uid;
    return worker_run(&cfg, err);
}

static const struct cli_option worker_options[] = {
    {"name", "NAME", "", "the hospital's, for the log"},
    {"id", "SNI", "", "the hospital's"},
    {"store", "DIR", "", "its store"},
    {"uid", "UID", "0", "to become"},
    {"memory", "BYTES", "0", "most memory"},
    {"kv", "BYTES", "0", "of it for keys and values"},
    {"threads", "N", "0", "to compute with"},
    {"json-log", NULL, NULL, "log as JSON lines"},
    {"unsafe-keylog", "FILE", NULL, "TLS secrets"},
    {NULL},
};

const struct cli_verb verb_cloud_worker_process = {
    .name = "cloud worker-process",
    .summary = "started by cloud run",
    .operands = "",
    .about = "",
    .example = "",
    .options = worker_options,
    .run = run_worker,
};
