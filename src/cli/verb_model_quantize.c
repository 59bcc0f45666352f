/* `meridian model quantize`: a model or a half with its weights in a smaller type. */
#include "cli/common.h"
#include "cli/verbs.h"
#include "model/quantize.h"

#include <math.h>
#include <stdio.h>

static void notice(void *ctx, const char *sentence)
{
    fprintf(stderr, "meridian model quantize: %s\n", sentence);
}

static void print(const struct cli_args *args, const char *out, const struct model_quantized *r)
{
    double loss = r->loss.value_sumsq > 0 ? sqrt(r->loss.error_sumsq / r->loss.value_sumsq) : 0;
    if (cli_flag(args, "json"))
        printf("{\"out\":\"%s\",\"bytes_before\":%llu,\"bytes_after\":%llu,\"relative_error\":%.6f}\n", out,
            (unsigned long long)r->bytes_before, (unsigned long long)r->bytes_after, loss);
    else
        printf("%s: %.1f MB became %.1f MB; relative error of the weights that changed type %.4f\n", out,
            (double)r->bytes_before / 1e6, (double)r->bytes_after / 1e6, loss);
}

static int run(const struct cli_args *args, struct error *err)
{
    struct model_quantize q = {.pure = cli_flag(args, "pure"), .notice = notice};
    struct model_quantized result;
    struct gguf_file *file;
    struct cli_progress progress;
    const char *out;
    int rc = cli_need(args, "out", &out, err);
    rc = rc ? rc : model_type_by_name(cli_str(args, "type"), &q.type, err);
    rc = rc ? rc : cli_u32(args, "threads", 1, 1024, &q.n_threads, err);
    rc = rc ? rc : gguf_file_open(&file, cli_operand(args, 0), err);
    if (rc)
        return rc;
    cli_progress_start(&progress, args, "quantising");
    rc = model_quantize(file, out, &q, &result, &progress.hook, err);
    if (!rc) {
        cli_progress_end(&progress);
        print(args, out, &result);
    }
    gguf_file_close(file);
    return rc;
}

static const struct cli_option options[] = {
    {"type", "TYPE", "q4_k", "f32, f16, bf16, q8_0, q6_k, q5_k, q4_k, q4_0 and what else ggml writes"},
    {"out", "FILE", NULL, "where to write it"},
    {"pure", NULL, NULL, "every matrix in this type, without the usual mixture"},
    CLI_OPTION_THREADS,
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_model_quantize = {
    .section = "Models",
    .name = "model quantize",
    .summary = "write a model or a half with smaller weights",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .about = "Cutting before or after quantising gives the same weights, and a half keeps its cut's identity.\n"
             "Quantise both halves with the same type.",
    .example = "meridian model quantize model-f16.gguf --type q4_k --out model-q4_k.gguf",
    .options = options,
    .run = run,
};
