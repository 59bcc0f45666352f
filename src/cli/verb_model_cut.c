/* `meridian model split` and `meridian model merge`: one model in two halves, and whole again. */
#include "cli/common.h"
#include "cli/verbs.h"
#include "model/cut.h"
#include "model/lora_file.h"
#include "model/quantize.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int run_split(const struct cli_args *args, struct error *err)
{
    struct model_split split = {.head = 1, .tail = 1, .bare = cli_flag(args, "bare")};
    struct cli_model m;
    struct model_cut cut;
    struct cli_progress progress;
    int rc = cli_u32(args, "head", 0, 10000, &split.head, err);
    rc = rc ? rc : cli_u32(args, "tail", 0, 10000, &split.tail, err);
    rc = rc ? rc : cli_need(args, "edge", &split.edge_path, err);
    rc = rc ? rc : cli_need(args, "cloud", &split.cloud_path, err);
    if (rc || (rc = cli_model_open(&m, cli_operand(args, 0), err)))
        return rc;
    cli_progress_start(&progress, args, "splitting");
    rc = model_split(m.file, &split, &cut, &progress.hook, err);
    if (!rc) {
        char name[48];
        cli_progress_end(&progress);
        model_cut_name(&cut, name);
        if (cli_flag(args, "json"))
            printf(
                "{\"cut\":\"%s\",\"blocks\":%u,\"head\":%u,\"tail\":%u}\n", name, m.params.n_block, cut.head, cut.tail);
        else
            printf("cut %s: campus holds blocks 0-%d and %u-%u in %s; the cloud's half, blocks %u-%u, is %s\n", name,
                (int)cut.head - 1, m.params.n_block - cut.tail, m.params.n_block - 1, split.edge_path, cut.head,
                m.params.n_block - cut.tail - 1, split.cloud_path);
    }
    cli_model_close(&m);
    return rc;
}

static int merge_halves(const struct cli_args *args, const struct gguf_file *edge, const char *out, struct error *err)
{
    struct gguf_file *cloud;
    struct cli_progress progress;
    if (cli_n_operands(args) != 2)
        return error_set(err, 0, "a campus half is merged with its cloud half: EDGE CLOUD"), CLI_USAGE;
    int rc = gguf_file_open(&cloud, cli_operand(args, 1), err);
    if (rc)
        return rc;
    cli_progress_start(&progress, args, "merging");
    rc = model_merge(edge, cloud, out, &progress.hook, err);
    if (!rc) {
        cli_progress_end(&progress);
        printf(cli_flag(args, "json") ? "{\"out\":\"%s\"}\n" : "%s is the whole model again\n", out);
    }
    gguf_file_close(cloud);
    return rc;
}

static void say_folded(const struct cli_args *args, const char *out, const struct lora_folded *f)
{
    double lost = f->change_sumsq > 0 ? sqrt(f->loss.error_sumsq / f->change_sumsq) : 0;
    if (cli_flag(args, "json"))
        printf("{\"out\":\"%s\",\"folded\":%zu,\"elsewhere\":%zu,\"rounding\":%.6f}\n", out, f->n_folded,
            f->n_elsewhere, lost);
    else
        printf("%s: %zu matrices changed, %zu belong to the other half; rounding is %.4f of the change%s\n", out,
            f->n_folded, f->n_elsewhere, lost, lost > 0.5 ? ": it drowns the adapter, fold into f16 with --type" : "");
}

static int fold_adapters(const struct cli_args *args, const struct gguf_file *base, const char *out, struct error *err)
{
    enum { MOST = 16 };
    struct gguf_file *files[MOST] = {0};
    struct lora_file adapters[MOST] = {0};
    const struct lora_file *all[MOST];
    struct lora_fold fold = {.type = GGML_TYPE_COUNT};
    struct lora_folded folded;
    struct cli_progress progress;
    size_t n = cli_n_operands(args) - 1;
    if (n > MOST)
        return error_set(err, 0, "at most %d adapters at once", MOST), CLI_USAGE;
    int rc = cli_str(args, "type") ? model_type_by_name(cli_str(args, "type"), &fold.type, err) : 0;
    for (size_t i = 0; i < n && !rc; i++) {
        rc = gguf_file_open(&files[i], cli_operand(args, i + 1), err);
        rc = rc ? rc : lora_file_read(&adapters[i], files[i], err);
        all[i] = &adapters[i];
    }
    if (!rc) {
        cli_progress_start(&progress, args, "folding");
        rc = model_merge_lora(base, all, n, &fold, out, &folded, &progress.hook, err);
    }
    if (!rc) {
        cli_progress_end(&progress);
        say_folded(args, out, &folded);
    }
    for (size_t i = 0; i < n; i++) {
        lora_file_done(&adapters[i]);
        gguf_file_close(files[i]);
    }
    return rc;
}

static bool is_adapter(const char *path)
{
    struct gguf_file *f;
    struct gguf_str type = {0};
    if (gguf_file_open(&f, path, NULL))
        return false;
    bool yes = !gguf_file_str(f, "general.type", &type) && type.len == 7 && !memcmp(type.s, "adapter", 7);
    gguf_file_close(f);
    return yes;
}

static int run_merge(const struct cli_args *args, struct error *err)
{
    struct gguf_file *first;
    const char *out;
    int rc = cli_need(args, "out", &out, err);
    rc = rc ? rc : gguf_file_open(&first, cli_operand(args, 0), err);
    if (rc)
        return rc;
    rc = is_adapter(cli_operand(args, 1)) ? fold_adapters(args, first, out, err) : merge_halves(args, first, out, err);
    gguf_file_close(first);
    return rc;
}

static const struct cli_option split_options[] = {
    {"head", "H", "1", "blocks at the input side that stay on campus"},
    {"tail", "T", "1", "blocks at the output side that stay on campus"},
    {"edge", "FILE", NULL, "where to write the campus half"},
    {"cloud", "FILE", NULL, "where to write the half that `edge run` or `train` will install in the cloud"},
    {"bare", NULL, NULL, "allow --head 0 or --tail 0, which give tokens away"},
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_model_split = {
    .section = "Models",
    .name = "model split",
    .summary = "cut a model into a campus half and a cloud half",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "The campus half holds vocabulary, embedding, the first H and the last T blocks and the output matrix. The "
        "cloud\n"
        "half holds only the blocks between. Both carry the same cut identity; halves of different cuts refuse each\n"
        "other by name. `meridian model inspect MODEL` tells what each cut would need.",
    .example = "meridian model split qwen2.5-7b-q4_k_m.gguf --head 2 --tail 1 --edge edge.gguf --cloud cloud.gguf",
    .options = split_options,
    .run = run_split,
};

static const struct cli_option merge_options[] = {
    {"out", "FILE", NULL, "where to write the result"},
    {"type", "TYPE", NULL, "with adapters: the type of changed matrices (default: the type each has)"},
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_model_merge = {
    .section = "Models",
    .name = "model merge",
    .summary = "put two halves together again, or fold LoRA adapters in",
    .operands = "EDGE CLOUD | BASE ADAPTER...",
    .min_operands = 2,
    .max_operands = -1,
    .about =
        "For whoever owns both halves; halves of different cuts or training steps are refused by name. With adapters\n"
        "(GGUF LoRA files) their changes are added to the base's weights; a half takes those that belong to it.",
    .example = "meridian model merge edge.gguf cloud.gguf --out whole.gguf\n"
               "meridian model merge base.gguf adapter.gguf --out tuned.gguf",
    .options = merge_options,
    .run = run_merge,
};
