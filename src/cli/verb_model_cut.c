/* `meridian model split` and `meridian model merge`: one model in two halves, and whole again. */
#include "cli/common.h"
#include "cli/verbs.h"
#include "model/cut.h"

#include <errno.h>
#include <stdio.h>

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

static int run_merge(const struct cli_args *args, struct error *err)
{
    struct gguf_file *edge = NULL, *cloud = NULL;
    const char *out;
    struct cli_progress progress;
    int rc = cli_need(args, "out", &out, err);
    rc = rc ? rc : gguf_file_open(&edge, cli_operand(args, 0), err);
    rc = rc ? rc : gguf_file_open(&cloud, cli_operand(args, 1), err);
    if (!rc) {
        cli_progress_start(&progress, args, "merging");
        rc = model_merge(edge, cloud, out, &progress.hook, err);
    }
    if (!rc) {
        cli_progress_end(&progress);
        printf(cli_flag(args, "json") ? "{\"out\":\"%s\"}\n" : "%s is the whole model again\n", out);
    }
    gguf_file_close(edge);
    gguf_file_close(cloud);
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
    {"out", "FILE", NULL, "where to write the whole model"},
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_model_merge = {
    .section = "Models",
    .name = "model merge",
    .summary = "put two halves of one cut together again",
    .operands = "EDGE CLOUD",
    .min_operands = 2,
    .max_operands = 2,
    .about = "For whoever owns both halves. Halves of different cuts or training steps are refused by name.",
    .example = "meridian model merge edge.gguf cloud.gguf --out whole.gguf",
    .options = merge_options,
    .run = run_merge,
};
