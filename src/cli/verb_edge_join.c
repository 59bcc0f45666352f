/* `meridian edge join` and `meridian edge renew`. */
#include "base/log.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "crypto/tls.h"
#include "edge/identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPTION_DIR {"dir", "DIR", "/var/lib/meridian/edge", "the edge's folder"}

static int open_keylog(const struct cli_args *args, int *ret_fd, struct error *err)
{
    const char *path = cli_str(args, "unsafe-keylog");
    *ret_fd = -1;
    return path ? tls_keylog_open(ret_fd, path, err) : 0;
}

static void say_how_long(const char *dir)
{
    struct edge_identity *i;
    if (edge_identity_open(&i, dir, -1, NULL))
        return;
    printf("certificate good for %.1f days, cloud at %s\n", (double)edge_identity_seconds_left(i) / 86400,
        edge_identity_address(i));
    edge_identity_free(i);
}

static int run_join(const struct cli_args *args, struct error *err)
{
    const char *dir = cli_str(args, "dir");
    int keylog, rc = open_keylog(args, &keylog, err);
    rc = rc ? rc : edge_join(cli_operand(args, 0), dir, cli_flag(args, "again"), keylog, err);
    if (!rc) {
        printf("joined; the key was made here and stays in %s/key.pem\n", dir);
        say_how_long(dir);
    }
    if (keylog >= 0)
        close(keylog);
    return rc;
}

static const struct cli_option join_options[] = {
    OPTION_DIR,
    {"again", NULL, NULL, "leave the cloud that this folder belongs to"},
    CLI_OPTION_KEYLOG,
    {NULL},
};

const struct cli_verb verb_edge_join = {
    .section = "Campus",
    .name = "edge join",
    .summary = "join a cloud with the start-up kit from its operator",
    .operands = "KIT",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Makes this edge's key, here, and has it certified by the cloud that the kit names. The cloud is recognised\n"
        "by the fingerprint in the kit. If the connection breaks, run it again: the key waits.",
    .example = "meridian edge join hospital-a.kit --dir /srv/meridian-edge",
    .options = join_options,
    .run = run_join,
};

static int run_renew(const struct cli_args *args, struct error *err)
{
    const char *dir = cli_str(args, "dir");
    struct edge_identity *i = NULL;
    int keylog, rc = open_keylog(args, &keylog, err);
    rc = rc ? rc : edge_identity_open(&i, dir, keylog, err);
    rc = rc ? rc : edge_identity_renew(i, err);
    if (!rc)
        printf("renewed\n");
    edge_identity_free(i);
    if (!rc)
        say_how_long(dir);
    if (keylog >= 0)
        close(keylog);
    return rc;
}

static const struct cli_option renew_options[] = {
    OPTION_DIR,
    CLI_OPTION_KEYLOG,
    {NULL},
};

const struct cli_verb verb_edge_renew = {
    .section = "Campus",
    .name = "edge renew",
    .summary = "renew this edge's certificate now",
    .operands = "",
    .about = "A running edge does it by itself when a third of the certificate's life is left.",
    .example = "meridian edge renew --dir /srv/meridian-edge",
    .options = renew_options,
    .run = run_renew,
};
