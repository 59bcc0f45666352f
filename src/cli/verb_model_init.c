/* `meridian model init`: a model with random weights, with a vocabulary of its own or another's, to train from nothing. */
#include "cli/common.h"
#include "cli/verbs.h"
#include "model/bpe_train.h"
#include "model/init.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

/* Every string that training would read: "text", and each message's "content". */
static int add_record(struct bpe_train *b, yyjson_val *record)
{
    int rc = 0;
    yyjson_val *text = yyjson_obj_get(record, "text"), *messages = yyjson_obj_get(record, "messages"), *message;
    if (yyjson_is_str(text))
        rc = bpe_train_add(b, yyjson_get_str(text), yyjson_get_len(text));
    size_t i, n;
    yyjson_arr_foreach(messages, i, n, message)
    {
        yyjson_val *content = yyjson_obj_get(message, "content");
        if (!rc && yyjson_is_str(content))
            rc = bpe_train_add(b, yyjson_get_str(content), yyjson_get_len(content));
    }
    return rc;
}

static int add_line(
    struct bpe_train *b, const char *line, size_t len, bool json, const char *path, int number, struct error *err)
{
    if (!json) {
        int rc = bpe_train_add(b, line, len);
        return rc ? error_set(err, -rc, "%s: %s", path, strerror(-rc)) : 0;
    }
    yyjson_doc *doc = yyjson_read(line, len, 0);
    if (!doc || !yyjson_is_obj(yyjson_doc_get_root(doc))) {
        yyjson_doc_free(doc);
        return error_set(err, EINVAL, "%s: line %d is not a JSON object with \"messages\" or \"text\"", path, number);
    }
    int rc = add_record(b, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return rc ? error_set(err, -rc, "%s: line %d: %s", path, number, strerror(-rc)) : 0;
}

static int learn_file(struct bpe_train *b, const char *path, struct error *err)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return error_set(err, errno, "%s: cannot open: %s", path, strerror(errno));
    size_t cap = 0, path_len = strlen(path);
    bool json = path_len > 6 && !strcmp(path + path_len - 6, ".jsonl");
    char *line = NULL;
    ssize_t len;
    int rc = 0;
    for (int number = 1; !rc && (len = getline(&line, &cap, f)) > 0; number++)
        rc = add_line(b, line, (size_t)len, json, path, number, err);
    free(line);
    fclose(f);
    return rc;
}

static int learn_vocabulary(const char *path, uint32_t n, struct bpe_vocab *ret, struct error *err)
{
    struct bpe_train *b;
    int rc = bpe_train_create(&b, err);
    if (rc)
        return rc;
    rc = learn_file(b, path, err);
    rc = rc ? rc : bpe_train_run(b, n, BPE_TRAIN_SPECIALS, 3, ret, err);
    bpe_train_free(b);
    return rc;
}

static int architecture(const char *name, enum model_arch *ret, struct error *err)
{
    static const enum model_arch all[] = {MODEL_LLAMA, MODEL_QWEN2, MODEL_QWEN3};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (!strcmp(name, model_arch_name(all[i]))) {
            *ret = all[i];
            return 0;
        }
    }
    return error_set(err, 0, "--arch must be llama, qwen2 or qwen3, not \"%s\"", name), CLI_USAGE;
}

static int sizes(const struct cli_args *args, struct model_init *m, struct error *err)
{
    double base = 0;
    int rc = architecture(cli_str(args, "arch"), &m->arch, err);
    rc = rc ? rc : cli_u32(args, "width", 8, 65536, &m->d, err);
    rc = rc ? rc : cli_u32(args, "blocks", 1, 1024, &m->n_block, err);
    rc = rc ? rc : cli_u32(args, "heads", 1, 1024, &m->n_head, err);
    m->n_head_kv = m->n_head;
    rc = rc ? rc : cli_u32(args, "kv-heads", 1, 1024, &m->n_head_kv, err);
    m->d_ff = m->d * 8 / 3 / 32 * 32;
    rc = rc ? rc : cli_u32(args, "ff", 8, 1 << 20, &m->d_ff, err);
    rc = rc ? rc : cli_u32(args, "context", 16, 1 << 24, &m->n_ctx, err);
    rc = rc ? rc : cli_f64(args, "rope-base", 1, 1e9, &base, err);
    rc = rc ? rc : cli_u64(args, "seed", 0, UINT64_MAX, &m->seed, err);
    m->rope_base = (float)base;
    m->tied = cli_flag(args, "tied");
    m->name = cli_str(args, "name");
    return rc;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct model_init m = {0};
    struct bpe_vocab vocab = {0};
    struct gguf_file *from = NULL;
    struct cli_progress progress;
    const char *text = cli_str(args, "text"), *other = cli_str(args, "vocab-from");
    uint32_t n_vocab = 0;
    if (!text == !other)
        return error_set(err, 0, "give either --text FILE (learn a vocabulary) or --vocab-from MODEL"), CLI_USAGE;
    int rc = sizes(args, &m, err);
    rc = rc ? rc : cli_u32(args, "vocab", 300, BPE_TRAIN_MOST, &n_vocab, err);
    if (!rc && text && !(rc = learn_vocabulary(text, n_vocab, &vocab, err)))
        bpe_vocab_for_init(&vocab, &m.vocab);
    if (!rc && other && !(rc = gguf_file_open(&from, other, err)))
        m.vocab.from = from;
    if (!rc) {
        cli_progress_start(&progress, args, "writing");
        rc = model_init(&m, cli_operand(args, 0), &progress.hook, err);
    }
    if (!rc) {
        cli_progress_end(&progress);
        printf("%s: a new %s of %u blocks, width %u%s\n", cli_operand(args, 0), model_arch_name(m.arch), m.n_block, m.d,
            text ? ", with a vocabulary learnt from the text" : "");
    }
    bpe_vocab_done(&vocab);
    gguf_file_close(from);
    return rc;
}

static const struct cli_option options[] = {
    {"text", "FILE", NULL,
        "learn a byte-level BPE vocabulary from this file (.jsonl of chats or texts, or plain text)"},
    {"vocab", "N", "2000", "entries of that vocabulary"},
    {"vocab-from", "MODEL", NULL, "take the vocabulary and chat template of another model instead"},
    {"arch", "NAME", "qwen3", "llama, qwen2 or qwen3"},
    {"width", "N", "256", "embedding width"},
    {"blocks", "N", "6", "blocks"},
    {"heads", "N", "4", "attention heads"},
    {"kv-heads", "N", NULL, "key/value heads (default: as many as heads)"},
    {"ff", "N", NULL, "width of the feed-forward part (default: 8/3 of the width)"},
    {"context", "N", "1024", "positions it will be trained for"},
    {"rope-base", "X", "10000", "base of the rotary frequencies"},
    {"tied", NULL, NULL, "the output matrix is the embedding"},
    {"name", "TEXT", NULL, "general.name in the file"},
    {"seed", "N", "1", "the weights are a function of this"},
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_model_init = {
    .section = "Models",
    .name = "model init",
    .summary = "make a new model with random weights",
    .operands = "OUT",
    .min_operands = 1,
    .max_operands = 1,
    .about = "Makes a model to train from nothing, with its own small vocabulary or another model's.",
    .example = "meridian model init whole.gguf --text cases.jsonl --vocab 2000 --width 128 --blocks 4",
    .options = options,
    .run = run,
};
