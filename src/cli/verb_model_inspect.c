/* `meridian model inspect`: what a file is, whether it runs here, and what each cut would need. */
#include "base/buf.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "model/inspect.h"

#include <errno.h>
#include <stdio.h>

static int report(const struct cli_args *args, const struct gguf_file *file, struct buf *ret, struct error *err)
{
    struct model_facts facts;
    struct model_cut_place place = {1, 1}, *cut = NULL;
    struct model_cut_cost cost;
    int rc = cli_u32(args, "head", 0, 10000, &place.head, err);
    rc = rc ? rc : cli_u32(args, "tail", 0, 10000, &place.tail, err);
    rc = rc ? rc : model_inspect(&facts, file, err);
    if (!rc && (cli_flag(args, "head") || cli_flag(args, "tail"))) {
        if (!facts.runs)
            return error_set(err, ENOTSUP, "%s: %s", gguf_file_name(file), facts.why_not);
        cut = &place;
        rc = model_cut_cost(&cost, &facts, place.head, place.tail, err);
    }
    if (rc)
        return rc;
    rc = cli_flag(args, "json") ? model_inspect_json(ret, &facts, cut) : model_inspect_text(ret, &facts, cut);
    return rc ? error_set(err, -rc, "out of memory") : 0;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct gguf_file *file;
    struct buf text = {0};
    int rc = gguf_file_open(&file, cli_operand(args, 0), err);
    if (rc)
        return rc;
    rc = report(args, file, &text, err);
    if (!rc)
        fputs(buf_str(&text), stdout);
    buf_done(&text);
    gguf_file_close(file);
    return rc;
}

static const struct cli_option options[] = {
    {"head", "H", NULL, "show this cut: blocks on campus at the input side (with --tail; default 1)"},
    {"tail", "T", NULL, "and at the output side (default 1)"},
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_model_inspect = {
    .section = "Models",
    .name = "model inspect",
    .summary = "tell what a model file is and what a cut would need on each side",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Architecture, sizes, vocabulary; whether it runs here and if not why; and for one cut or several: memory on\n"
        "campus and in the cloud, bytes of vectors for each token, and traffic of a training step.",
    .example = "meridian model inspect qwen2.5-7b-instruct-q4_k_m.gguf\n"
               "meridian model inspect qwen2.5-7b-instruct-q4_k_m.gguf --head 2 --tail 2 --json",
    .options = options,
    .run = run,
};
