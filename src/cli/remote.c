#include "cli/remote.h"

#include "crypto/tls.h"
#include "split/half_model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int connect_link(void *user, enum split_which which, struct link **ret, struct error *err)
{
    const struct cli_remote *r = user;
    return edge_identity_connect(r->identity, r->dscp[which], ret, err);
}

/* "46,26,0": the interactive connection, the other one, and installing. */
static int read_dscp(struct cli_remote *r, const char *text, struct error *err)
{
    char more;
    if (sscanf(text, "%u,%u,%u%c", &r->dscp[SPLIT_INTERACTIVE], &r->dscp[SPLIT_BULK], &r->config.install_dscp, &more) !=
            3 ||
        r->dscp[SPLIT_INTERACTIVE] > 63 || r->dscp[SPLIT_BULK] > 63 || r->config.install_dscp > 63)
        return error_set(err, 0, "--dscp \"%s\": write three numbers from 0 to 63, for example 46,26,0", text),
               CLI_USAGE;
    return 0;
}

static void on_install(void *user, uint64_t done, uint64_t total)
{
    struct cli_remote *r = user;
    if (!r->installing)
        progress_start(&r->progress, r->progress.mode, "installing the cloud's half", "bytes", total);
    r->installing = true;
    if (done < total) {
        progress_at(&r->progress, done, "", "");
        return;
    }
    progress_end(&r->progress, done, "", "");
    r->installing = false;
}

static int codec_by_name(const char *name, enum split_codec *ret, struct error *err)
{
    static const char *const names[] = {"f32", "f16", "int8"};
    for (int i = 0; i < 3; i++) {
        if (!strcmp(name, names[i])) {
            *ret = (enum split_codec)i;
            return 0;
        }
    }
    return error_set(err, 0, "--codec must be f32, f16 or int8, not \"%s\"", name), CLI_USAGE;
}

int cli_remote_init(
    struct cli_remote *ret, const struct cli_args *args, const struct cli_model *edge, struct error *err)
{
    const char *dir, *keylog = cli_str(args, "unsafe-keylog");
    ret->keylog_fd = -1;
    int rc = cli_need(args, "identity", &dir, err);
    if (!rc && edge->params.cut.part != MODEL_EDGE)
        rc = error_set(
            err, EINVAL, "%s is not a campus half; make one with meridian model split", gguf_file_name(edge->file));
    rc = rc ? rc : read_dscp(ret, cli_str(args, "dscp"), err);
    rc = rc ? rc : codec_by_name(cli_str(args, "codec"), &ret->config.codec, err);
    if (!rc && keylog)
        rc = tls_keylog_open(&ret->keylog_fd, keylog, err);
    rc = rc ? rc : edge_identity_open(&ret->identity, dir, ret->keylog_fd, err);
    if (rc)
        return rc;
    ret->progress.mode = cli_flag(args, "json") ? PROGRESS_JSON : PROGRESS_AUTO;
    ret->config.connect = connect_link;
    ret->config.user = ret;
    ret->config.peer = edge_identity_address(ret->identity);
    ret->config.cut = edge->params.cut;
    ret->config.d = edge->params.d;
    ret->config.cloud_half = cli_str(args, "cloud-half");
    ret->config.check_half = half_files.check;
    ret->config.on_install = on_install;
    return 0;
}

void cli_remote_done(struct cli_remote *r)
{
    edge_identity_free(r->identity);
    if (r->keylog_fd > 0) /* 0 in a zeroed struct: none */
        close(r->keylog_fd);
    r->identity = NULL;
    r->keylog_fd = 0;
}
