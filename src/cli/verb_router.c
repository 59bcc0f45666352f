/* `meridian router`: the daemon, its configuration checked or printed, and its key. */
#include "base/hex.h"
#include "cli/verbs.h"
#include "router/identity.h"
#include "router/router.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile int reload;

static void on_reload(int sig)
{
    reload = 1;
}

static int print(const struct router_config *c, struct error *err)
{
    struct buf b = {0};
    int rc = fields_print(&b, &router_config_fields, c);
    if (!rc)
        fwrite(b.data, 1, b.len, stdout);
    buf_done(&b);
    return rc;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct router_config c;
    struct router *r;
    uint32_t drain = 0;
    int rc = cli_u32(args, "drain", 0, 3600, &drain, err);
    if (!rc)
        rc = router_config_load(&c, cli_operand(args, 0), err);
    if (rc)
        return rc;
    if (cli_flag(args, "print"))
        rc = print(&c, err);
    if (rc || cli_flag(args, "check") || cli_flag(args, "print")) {
        router_config_free(&c);
        return rc;
    }
    sigaction(SIGHUP, &(struct sigaction){.sa_handler = on_reload}, NULL);
    struct router_options o = {.path = cli_operand(args, 0),
        .drain_ns = drain * 1000000000ll,
        .keep_rights = cli_flag(args, "unsafe-keep-rights")};
    rc = router_start(&r, &c, &o, err);
    if (rc)
        return rc;
    rc = router_run(r, &cli_interrupted, &reload, err);
    router_free(r);
    return rc;
}

static int key(const struct cli_args *args, struct error *err)
{
    uint8_t seed[32], public[32];
    char hex[65];
    bool made;
    int rc = identity_load(cli_operand(args, 0), seed, &made, err);
    if (!rc)
        rc = identity_public(seed, public, err);
    explicit_bzero(seed, sizeof(seed));
    if (rc)
        return rc;
    hex_put(hex, public, 32);
    puts(hex);
    return 0;
}

const struct cli_verb verb_router = {
    .section = "Network",
    .name = "router",
    .summary = "run a router: SRv6 VPNs over lanes that lose no packet",
    .operands = "CONFIG",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Runs the router that the file describes until ^C or SIGTERM, then drains and ends. SIGHUP takes a changed\n"
        "file. Needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN where TAPs are made in namespaces; gives all of it up\n"
        "once its ports are open.",
    .example = "meridian router --check pe1.yaml\nmeridian router pe1.yaml",
    .options =
        (const struct cli_option[]){
            {"check", NULL, NULL, "only check the file", 'n'},
            {"print", NULL, NULL, "check the file and print what is in effect, defaults included", 'p'},
            {"drain", "SECONDS", "10", "how long an orderly end may take"},
            {"unsafe-keep-rights", NULL, NULL, "stay root and unfiltered (for builds with sanitizers only)"},
            {NULL},
        },
    .run = run,
};

const struct cli_verb verb_router_key = {
    .section = "Network",
    .name = "router key",
    .summary = "print the public key of a router, making the key if there is none",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .about = "Neighbours list it under `trusted`.",
    .example = "meridian router key /var/lib/meridian/pe1.key",
    .run = key,
};
