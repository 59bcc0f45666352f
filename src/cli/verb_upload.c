/* `meridian upload`: files to the campus, in pieces, going on where they stopped. */
#include "cli/common.h"
#include "cli/verbs.h"
#include "edge/upload_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shown {
    struct progress progress;
    bool started, json;
    const char *what;
};

static void at(void *user, uint64_t done, uint64_t total, const char *trouble)
{
    struct shown *s = user;
    char figures[200] = "", json[8] = "";
    if (!s->started)
        progress_start(&s->progress, s->json ? PROGRESS_JSON : PROGRESS_AUTO, s->what, "bytes", total);
    s->started = true;
    if (trouble)
        snprintf(figures, sizeof(figures), "waiting: %.150s", trouble);
    progress_at(&s->progress, done, figures, json);
}

static int one(struct upload_client *c, const char *path, bool json, struct error *err)
{
    struct shown shown = {.json = json, .what = path};
    struct upload_done done;
    c->user = &shown;
    int rc = upload_client_send(c, path, &done, err);
    if (shown.started)
        progress_end(&shown.progress, rc ? 0 : done.bytes, "", "");
    if (rc == -EINTR)
        return error_set(err, EINTR, "%s: stopped; the same command goes on where it was", path);
    if (!rc && json)
        printf("{\"file\":\"%s\",\"bytes\":%llu,\"resumed_from\":%llu,\"breaks\":%u}\n", strchr(path, '"') ? "" : path,
            (unsigned long long)done.bytes, (unsigned long long)done.resumed_from, done.breaks);
    else if (!rc)
        printf("%s: %llu bytes arrived whole%s\n", path, (unsigned long long)done.bytes,
            done.resumed_from ? ", some of them before" : "");
    return rc;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct upload_client c = {.interrupted = &cli_interrupted, .at = at};
    const char *key = cli_str(args, "key");
    uint64_t piece = 0, patience = 0;
    int rc = http_url_parse(&c.http.url, cli_str(args, "url"), err);
    rc = rc ? rc : cli_size(args, "piece", 1024, 64 << 20, &piece, err);
    rc = rc ? rc : cli_u64(args, "patience", 1, 1 << 30, &patience, err);
    c.piece = (uint32_t)piece;
    c.patience_s = (int64_t)patience;
    c.http.key = key ? key : getenv("MERIDIAN_API_KEY");
    c.http.ca_file = cli_str(args, "ca");
    c.http.fingerprint = cli_str(args, "fingerprint");
    c.http.cancel_fd = -1;
    for (size_t i = 0; i < cli_n_operands(args) && !rc; i++)
        rc = one(&c, cli_operand(args, i), cli_flag(args, "json"), err);
    return rc;
}

const struct cli_verb verb_upload = {
    .section = "Campus",
    .name = "upload",
    .summary = "send files up to an edge, going on where it stopped",
    .operands = "FILE...",
    .min_operands = 1,
    .max_operands = -1,
    .about = "Sends samples from a branch to the campus that trains with them. What arrived stays: after a broken "
             "line, a restart "
             "of either side or ^C it goes on from there, also when the same command is given again later. Each file "
             "is compared "
             "by its SHA-256 at the end. The edge takes uploads when it runs with --uploads FOLDER.",
    .example = "meridian upload --url https://hq.example:8080 study-1.dcm study-2.dcm",
    .options =
        (const struct cli_option[]){
            {"url", "URL", "http://localhost:8080", "where the edge serves", 0},
            {"key", "KEY", NULL,
                "API key; better in the environment as MERIDIAN_API_KEY, where other users cannot see it", 0},
            {"ca", "FILE", NULL, "authority of the edge's certificate (PEM); default: the system's", 0},
            {"fingerprint", "HEX", NULL, "trust the certificate with this SHA-256, which the edge prints", 0},
            {"piece", "BYTES", "1M", "of one request, at most the edge's --body-limit", 0},
            {"patience", "SECONDS", "600", "give up after so long without progress", 0},
            CLI_OPTION_JSON,
            {0},
        },
    .run = run,
};
