/* An edge for tests: a tiny model with random weights (bytes as tokens, ChatML), whole in this process, behind the real
 * engine and the real HTTP server. Prints the address, the key and the model's name as one JSON line; ends when standard
 * input does.
 *
 *   openai_server DIR [--slow] [--tls] [--open]
 *
 * DIR keeps the model and the keys. --slow: a larger model whose answers never end by themselves, for tests that stop
 * them. --open: no keys. */
#include "base/log.h"
#include "edge/edge_server.h"
#include "edge/keys.h"
#include "model/init.h"
#include "model/params.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct parts {
    struct gguf_file *file;
    struct model_params params;
    struct tokenizer *tokenizer;
    enum chat_family family;
    struct engine *engine;
    struct edge_server *server;
};

static int make_model(const char *path, bool slow, struct error *err)
{
    struct model_init m = {
        .arch = MODEL_QWEN3,
        .d = slow ? 512 : 64,
        .n_block = slow ? 12 : 2,
        .n_head = slow ? 8 : 4,
        .n_head_kv = slow ? 8 : 4,
        .d_ff = slow ? 1536 : 128,
        .n_ctx = 4096,
        .std = 0.3f, /* otherwise every token is as likely as any other */
        .seed = 1,
        .name = "tiny",
    };
    return access(path, F_OK) ? model_init(&m, path, NULL, err) : 0;
}

static int open_parts(struct parts *p, const char *path, bool endless, struct error *err)
{
    struct engine_config cfg = {.n_threads = 2, .max_running = 16, .max_waiting = 16};
    int rc = gguf_file_open(&p->file, path, err);
    if (!rc)
        rc = model_params_read(&p->params, p->file, err);
    if (!rc)
        rc = tokenizer_open(&p->tokenizer, p->file, err);
    if (!rc)
        rc = chat_family_of(&p->family, p->file, p->tokenizer, err);
    if (!rc)
        rc = engine_create(&p->engine, p->file, &p->params, endless ? NULL : p->tokenizer, NULL, &cfg, err);
    return rc;
}

static int serve(struct parts *p, const char *dir, bool tls, bool open, struct error *err)
{
    static const char *const listen[] = {"localhost:0"};
    char keys[4096], key[64] = "";
    snprintf(keys, sizeof(keys), "%s/keys", dir);
    unlink(keys);
    int rc = open ? 0 : keys_file_add(keys, "test", key, err);
    struct edge_config cfg = {.engine = p->engine,
        .tokenizer = p->tokenizer,
        .family = p->family,
        .model = "tiny",
        .listen = listen,
        .n_listen = 1,
        .keys_file = open ? NULL : keys,
        .tls = tls,
        .tls_dir = dir,
        .per_key_most = 12};
    if (!rc)
        rc = edge_server_start(&p->server, &cfg, err);
    if (rc)
        return rc;
    printf("{\"url\":\"%s\",\"key\":\"%s\",\"model\":\"tiny\",\"fingerprint\":\"%s\",\"context\":%u}\n",
        edge_server_url(p->server), key, edge_server_tls_fingerprint(p->server), engine_context(p->engine));
    fflush(stdout);
    char bytes[64];
    while (read(STDIN_FILENO, bytes, sizeof(bytes)) > 0)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    bool slow = false, tls = false, open = false;
    const char *dir = argc > 1 ? argv[1] : "";
    for (int i = 2; i < argc; i++) {
        slow |= !strcmp(argv[i], "--slow");
        tls |= !strcmp(argv[i], "--tls");
        open |= !strcmp(argv[i], "--open");
    }
    if (argc < 2) {
        fprintf(stderr, "usage: openai_server DIR [--slow] [--tls] [--open]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_LEVEL_WARN, false, "test edge");
    mkdir(dir, 0755);
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.gguf", dir, slow ? "slow" : "tiny");
    struct parts p = {0};
    struct error err = {""};
    int rc = make_model(path, slow, &err);
    if (!rc)
        rc = open_parts(&p, path, slow, &err);
    if (!rc)
        rc = serve(&p, dir, tls, open, &err);
    if (rc)
        fprintf(stderr, "openai_server: %s\n", err.text);
    edge_server_stop(p.server);
    engine_free(p.engine);
    tokenizer_free(p.tokenizer);
    gguf_file_close(p.file);
    return rc ? 1 : 0;
}
