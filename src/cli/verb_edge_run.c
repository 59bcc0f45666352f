/* `meridian edge run`: the campus appliance. Joins model file, connection to the cloud, engine and HTTP server, and then
 * waits; everything else happens in their threads. */
#include "base/log.h"
#include "cli/remote.h"
#include "cli/verbs.h"
#include "edge/edge_server.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"
#include "split/engine.h"
#include "split/remote_middle.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_LISTEN 8

struct appliance {
    struct cli_model model;
    struct tokenizer *tokenizer;
    enum chat_family family;
    struct cli_remote remote;
    struct engine *engine;
    struct edge_server *server;
    char name[128], fingerprint[64];
    char listen_text[512];
    const char *listen[MOST_LISTEN];
    size_t n_listen;
};

static int open_model(struct appliance *a, const struct cli_args *args, struct error *err)
{
    const char *path;
    int rc = cli_need(args, "edge", &path, err);
    rc = rc ? rc : cli_model_open(&a->model, path, err);
    rc = rc ? rc : tokenizer_open(&a->tokenizer, a->model.file, err);
    if (rc)
        return rc;
    struct error why = {""};
    if (chat_family_of(&a->family, a->model.file, a->tokenizer, &why)) {
        log_warn("no chat: %s; /v1/completions works", why.text);
        a->family = CHAT_NONE;
    }
    return 0;
}

/* What clients call the model: as told, or the file's own name for it, or the file's name. */
static void name_model(struct appliance *a, const char *told)
{
    struct gguf_str own = {0};
    char path[4096];
    snprintf(path, sizeof(path), "%s", gguf_file_name(a->model.file));
    char *base = basename(path), *dot = strrchr(base, '.');
    if (dot && dot != base)
        *dot = 0;
    if (told)
        snprintf(a->name, sizeof(a->name), "%s", told);
    else if (!gguf_file_str(a->model.file, "general.name", &own) && own.len)
        snprintf(a->name, sizeof(a->name), "%.*s", (int)(own.len < 100 ? own.len : 100), own.s);
    else
        snprintf(a->name, sizeof(a->name), "%s", base);
    model_cut_name(&a->model.params.cut, a->fingerprint);
}

static int start_engine(struct appliance *a, const struct cli_args *args, struct error *err)
{
    struct engine_config cfg = {.plain = cli_flag(args, "plain")};
    struct middle *middle = NULL;
    int rc = cli_u32(args, "threads", 1, 1024, &cfg.n_threads, err);
    rc = rc ? rc : cli_u32(args, "max-running", 1, 1024, &cfg.max_running, err);
    rc = rc ? rc : cli_u32(args, "max-waiting", 0, 100000, &cfg.max_waiting, err);
    rc = rc ? rc : cli_u64(args, "kv-rows", 64, 1ull << 32, &cfg.kv_rows, err);
    if (!rc && a->model.params.cut.part != MODEL_WHOLE) {
        rc = cli_remote_init(&a->remote, args, &a->model, err);
        rc = rc ? rc : remote_middle_create(&middle, &a->remote.config, err);
    } else if (!rc && cli_str(args, "identity")) {
        rc = error_set(err, EINVAL, "%s is a whole model and needs no cloud; cut it with meridian model split",
            gguf_file_name(a->model.file));
    }
    return rc ? rc : engine_create(&a->engine, a->model.file, &a->model.params, a->tokenizer, middle, &cfg, err);
}

static int split_listen(struct appliance *a, const char *text, struct error *err)
{
    snprintf(a->listen_text, sizeof(a->listen_text), "%s", text);
    for (char *save = NULL, *p = strtok_r(a->listen_text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        if (a->n_listen == MOST_LISTEN)
            return error_set(err, 0, "--listen takes at most %d addresses", MOST_LISTEN), CLI_USAGE;
        a->listen[a->n_listen++] = p;
    }
    return 0;
}

static int64_t link_not_after(void *user)
{
    struct appliance *a = user;
    return a->remote.identity ? time(NULL) + edge_identity_seconds_left(a->remote.identity) : 0;
}

static int start_server(struct appliance *a, const struct cli_args *args, struct error *err)
{
    struct edge_config cfg = {.engine = a->engine,
        .tokenizer = a->tokenizer,
        .family = a->family,
        .model = a->name,
        .fingerprint = a->fingerprint,
        .keys_file = cli_str(args, "keys"),
        .cors_origin = cli_str(args, "cors"),
        .uploads_dir = cli_str(args, "uploads"),
        .tls = cli_flag(args, "tls") || cli_str(args, "cert"),
        .cert_file = cli_str(args, "cert"),
        .key_file = cli_str(args, "key"),
        .tls_dir = cli_str(args, "tls-dir"),
        .link_not_after = link_not_after,
        .link_user = a,
        .stop_grace_ms = 3000};
    uint64_t body = 0;
    int rc = split_listen(a, cli_str(args, "listen"), err);
    rc = rc ? rc : cli_size(args, "body-limit", 1024, 1u << 30, &body, err);
    cfg.listen = a->listen;
    cfg.n_listen = a->n_listen;
    cfg.body_most = body;
    return rc ? rc : edge_server_start(&a->server, &cfg, err);
}

static void announce(const struct appliance *a, const char *identity)
{
    printf("serving %s at %s%s\n", a->name, edge_server_url(a->server),
        a->model.params.cut.part == MODEL_WHOLE ? ", whole, in this process" : "");
    if (edge_server_tls_fingerprint(a->server)[0])
        printf("certificate SHA-256 %s%s\n", edge_server_tls_fingerprint(a->server),
            edge_server_tls_is_new(a->server) ? " (made just now)" : "");
    if (edge_server_open(a->server))
        printf("no keys: anybody on this machine may ask; meridian edge key add NAME makes one\n");
    if (identity)
        printf("the middle runs at %s\n", edge_identity_address(a->remote.identity));
    fflush(stdout);
}

static void close_all(struct appliance *a)
{
    edge_server_stop(a->server);
    engine_free(a->engine);
    cli_remote_done(&a->remote);
    tokenizer_free(a->tokenizer);
    cli_model_close(&a->model);
}

static int run(const struct cli_args *args, struct error *err)
{
    struct appliance a = {0};
    log_setup(cli_flag(args, "verbose") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, cli_flag(args, "json"), "edge");
    int rc = open_model(&a, args, err);
    if (!rc) {
        name_model(&a, cli_str(args, "model-id"));
        rc = start_engine(&a, args, err);
    }
    rc = rc ? rc : start_server(&a, args, err);
    if (!rc)
        announce(&a, cli_str(args, "identity"));
    for (unsigned tick = 0; !rc && !cli_interrupted; tick++) {
        sleep(1); /* a signal ends it early */
        if (a.remote.identity && tick % 60 == 0)
            edge_identity_tick(a.remote.identity, NULL); /* says what is wrong in the log */
    }
    close_all(&a);
    return rc;
}

static const struct cli_option options[] = {
    {"edge", "FILE", NULL, "the campus half (or a whole model, served without a cloud)"},
    CLI_OPTION_IDENTITY,
    CLI_OPTION_CLOUD_HALF,
    CLI_OPTION_CODEC,
    CLI_OPTION_DSCP,
    {"listen", "ADDR:PORT,...", "localhost:8080",
        "where the API and the chat page are; beyond this machine needs keys"},
    {"model-id", "NAME", NULL, "what clients call the model (default: its own name)"},
    {"keys", "FILE", NULL, "API keys, made by `edge key add`"},
    {"tls", NULL, NULL, "HTTPS, with a certificate made at the first start and kept in --tls-dir"},
    {"tls-dir", "DIR", "/var/lib/meridian/edge", "where that certificate is kept"},
    {"cert", "FILE", NULL, "HTTPS with this certificate (PEM)"},
    {"key", "FILE", NULL, "and its key"},
    {"cors", "ORIGIN", NULL, "let web pages of this one origin use the API"},
    {"uploads", "FOLDER", NULL,
        "take files that hosts send up (meridian upload, or any tus client) and keep them there"},
    {"body-limit", "BYTES", "4M", "largest request"},
    {"max-running", "N", NULL, "requests generating at once (default 32)"},
    {"max-waiting", "N", NULL, "requests in line, then 429 (default 256)"},
    {"kv-rows", "N", NULL, "positions held on campus over all requests"},
    {"plain", NULL, NULL, "one token a trip, nothing guessed ahead"},
    {"verbose", NULL, NULL, "debug messages in the log"},
    CLI_OPTION_KEYLOG,
    CLI_OPTION_THREADS,
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_edge_run = {
    .section = "Campus",
    .name = "edge run",
    .summary = "serve a model on campus whose middle runs in the cloud",
    .operands = "",
    .about =
        "The OpenAI-compatible API, a chat page, /metrics and /health. Prompts and answers are read and written here;\n"
        "only vectors cross to the cloud. If the cloud is away, answers wait and go on where they were.",
    .example = "meridian edge run --edge edge.gguf --cloud-half cloud.gguf --identity /srv/meridian-edge\n"
               "meridian edge run --edge whole.gguf --listen localhost:8080",
    .options = options,
    .run = run,
};
