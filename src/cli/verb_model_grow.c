/* `meridian model grow`: a larger model that computes the same, to measure large shapes with sensible weights. */
#include "cli/common.h"
#include "cli/verbs.h"
#include "model/grow.h"

#include <stdio.h>

static int run(const struct cli_args *args, struct error *err)
{
    struct model_grow g = {.type = GGML_TYPE_F16};
    struct gguf_file *file;
    struct cli_progress progress;
    const char *out;
    int rc = cli_need(args, "out", &out, err);
    rc = rc ? rc : cli_u32(args, "width", 8, 65536, &g.d, err);
    rc = rc ? rc : cli_u32(args, "blocks", 1, 1024, &g.n_block, err);
    rc = rc ? rc : cli_u32(args, "heads", 1, 1024, &g.n_head, err);
    rc = rc ? rc : cli_u32(args, "kv-heads", 1, 1024, &g.n_head_kv, err);
    rc = rc ? rc : cli_u32(args, "ff", 8, 1 << 20, &g.d_ff, err);
    rc = rc ? rc : gguf_file_open(&file, cli_operand(args, 0), err);
    if (rc)
        return rc;
    cli_progress_start(&progress, args, "growing");
    rc = model_grow(file, &g, out, &progress.hook, err);
    if (!rc) {
        cli_progress_end(&progress);
        printf("%s computes the same function\n", out);
    }
    gguf_file_close(file);
    return rc;
}

static const struct cli_option options[] = {
    {"out", "FILE", NULL, "where to write it (matrices as F16)"},
    {"width", "N", NULL, "new embedding width"},
    {"blocks", "N", NULL, "new number of blocks"},
    {"heads", "N", NULL, "new number of attention heads (their width stays)"},
    {"kv-heads", "N", NULL, "new number of key/value heads"},
    {"ff", "N", NULL, "new width of the feed-forward part"},
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_model_grow = {
    .section = "Models",
    .name = "model grow",
    .summary = "make a larger model that computes the same function",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "For measurements: how would a model of this shape perform on these machines? New width, heads and blocks add\n"
        "nothing to the result, but cost what they would cost. What is not given stays as it is.",
    .example =
        "meridian model grow small.gguf --width 2048 --blocks 16 --heads 64 --kv-heads 16 --ff 5632 --out big.gguf",
    .options = options,
    .run = run,
};
