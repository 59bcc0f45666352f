/* `meridian train`: teach a model on campus, its middle in the cloud or everything here. */
#include "base/clock.h"
#include "cli/remote.h"
#include "cli/verbs.h"
#include "split/remote_train.h"
#include "split/train_job.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct show {
    struct progress bar;
    bool json, split, started;
    uint64_t first_step; /* of this process */
};

/* --- options to a job -------------------------------------------------------------------------------------------- */

static int read_floats(const struct cli_args *args, struct train_job *job, struct error *err)
{
    double lr = 3e-4, least = 0.1, clip = 1, decay = 0.01, alpha = 0;
    int rc = cli_f64(args, "lr", 0, 10, &lr, err);
    rc = rc ? rc : cli_f64(args, "lr-least", 0, 1, &least, err);
    rc = rc ? rc : cli_f64(args, "clip", 0, 1e6, &clip, err);
    rc = rc ? rc : cli_f64(args, "weight-decay", 0, 1, &decay, err);
    rc = rc ? rc : cli_f64(args, "lora-alpha", 0, 1e6, &alpha, err);
    rc = rc ? rc : cli_f64(args, "epochs", 0, 1e6, &job->epochs_asked, err);
    rc = rc ? rc : cli_f64(args, "eval-fraction", 0, 0.9, &job->eval_fraction, err);
    job->plan.lr = (float)lr;
    job->plan.lr_least = (float)least;
    job->plan.clip = (float)clip;
    job->plan.weight_decay = (float)decay;
    job->lora_alpha = (float)alpha;
    return rc;
}

static int read_counts(const struct cli_args *args, struct train_job *job, struct error *err)
{
    job->plan.warmup = UINT64_MAX;
    int rc = cli_u64(args, "steps", 1, UINT32_MAX, &job->plan.steps, err);
    rc = rc ? rc : cli_u64(args, "warmup", 0, UINT32_MAX, &job->plan.warmup, err);
    rc = rc ? rc : cli_u64(args, "eval-every", 0, UINT32_MAX, &job->plan.eval_every, err);
    rc = rc ? rc : cli_u64(args, "save-every", 0, UINT32_MAX, &job->plan.save_every, err);
    rc = rc ? rc : cli_u64(args, "seed", 0, UINT64_MAX, &job->seed, err);
    rc = rc ? rc : cli_u32(args, "batch-rows", 1, 65536, &job->batch_rows, err);
    rc = rc ? rc : cli_u32(args, "accumulate", 1, 65536, &job->plan.accumulate, err);
    rc = rc ? rc : cli_u32(args, "in-flight", 1, 256, &job->plan.in_flight, err);
    rc = rc ? rc : cli_u32(args, "lora-rank", 0, 4096, &job->lora_rank, err);
    return rc ? rc : cli_u32(args, "threads", 1, 1024, &job->n_threads, err);
}

static int choose(
    const struct cli_args *args, const char *option, const char *const names[], int *ret, struct error *err)
{
    const char *given = cli_str(args, option);
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], given)) {
            *ret = i;
            return 0;
        }
    error_set(err, EINVAL, "--%s %s: choose one of those that `meridian train --help` lists", option, given);
    return CLI_USAGE;
}

static int read_choices(const struct cli_args *args, struct train_job *job, struct error *err)
{
    static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
    static const char *const too_long[] = {"truncate", "refuse", "chop", NULL};
    int schedule = 0, how = 0;
    int rc = choose(args, "schedule", schedules, &schedule, err);
    rc = rc ? rc : choose(args, "too-long", too_long, &how, err);
    if (!rc && train_job_targets(cli_str(args, "lora-targets"), &job->lora_targets, err))
        rc = CLI_USAGE;
    job->plan.schedule = (enum trainer_schedule)schedule;
    job->too_long = (enum dataset_long)how;
    return rc;
}

static int read_files(const struct cli_args *args, struct train_job *job, struct error *err)
{
    const char *edge = cli_str(args, "edge"), *local = cli_str(args, "local");
    job->cloud_half = cli_str(args, "cloud-half");
    job->model = edge ? edge : local;
    if (!edge == !local) {
        error_set(
            err, EINVAL, "give either --edge HALF (with its middle in the cloud) or --local MODEL (all of it here)");
        return CLI_USAGE;
    }
    if (local && (job->cloud_half || cli_str(args, "identity"))) {
        error_set(err, EINVAL, "--cloud-half and --identity belong to --edge; --local takes a whole model");
        return CLI_USAGE;
    }
    if (edge && !job->cloud_half && !cli_str(args, "identity")) {
        error_set(err, EINVAL,
            "--edge needs --identity DIR (made by `edge join`), or --cloud-half FILE to train both "
            "halves here");
        return CLI_USAGE;
    }
    int rc = cli_need(args, "data", &job->data, err);
    return rc ? rc : cli_need(args, "out", &job->dir, err);
}

static int read_job(const struct cli_args *args, struct train_job *job, struct error *err)
{
    int rc = read_files(args, job, err);
    rc = rc ? rc : read_floats(args, job, err);
    rc = rc ? rc : read_counts(args, job, err);
    rc = rc ? rc : read_choices(args, job, err);
    job->plan.freeze_head = cli_flag(args, "freeze-head");
    job->plan.resume = cli_flag(args, "resume");
    job->plan.export_best = cli_flag(args, "export-best");
    job->plan.keep_types = cli_flag(args, "keep-types");
    job->recompute = cli_flag(args, "recompute");
    return rc;
}

/* --- what a person sees ------------------------------------------------------------------------------------------ */

static void on_ready(void *user, const struct dataset_counts *c, const struct trainer_config *plan, uint64_t bytes)
{
    struct show *s = user;
    uint64_t odd = c->truncated + c->refused + c->chopped;
    if (!s->json) {
        fprintf(stderr,
            "%" PRIu64 " samples to learn from (%" PRIu64 " tokens, %" PRIu64 " of them learnt), %" PRIu64
            " kept apart; %" PRIu64 " steps of %u micro-batches; %.1f MB here\n",
            c->train, c->rows, c->learnt, c->eval, plan->steps, plan->accumulate, (double)bytes / 1e6);
        if (odd)
            fprintf(stderr,
                "%" PRIu64 " samples were too long: %" PRIu64 " truncated, %" PRIu64 " left out, %" PRIu64 " chopped\n",
                odd, c->truncated, c->refused, c->chopped);
    }
    progress_start(&s->bar, s->json ? PROGRESS_JSON : PROGRESS_AUTO, "training", "steps", plan->steps);
}

/* null where there is no number yet. */
static const char *json_number(char to[32], double v)
{
    if (isfinite(v))
        snprintf(to, 32, "%.6g", v);
    else
        snprintf(to, 32, "null");
    return to;
}

static void figures(const struct show *s, const struct trainer_progress *p, char to[256])
{
    int n = isnan(p->loss) ? snprintf(to, 256, "begins") : snprintf(to, 256, "loss %.4f", p->loss);
    if (!isnan(p->eval_loss))
        n += snprintf(to + n, (size_t)(256 - n), ", eval %.4f (%.1f %% right)", p->eval_loss, 100 * p->eval_right);
    n += snprintf(to + n, (size_t)(256 - n), ", %.0f tokens/s, busy %.0f %%", p->rows_per_s, 100 * p->busy_edge);
    if (s->split)
        n += snprintf(to + n, (size_t)(256 - n), " here %.0f %% there, %.1f MB up %.1f MB down", 100 * p->busy_middle,
            (double)p->bytes_up / 1e6, (double)p->bytes_down / 1e6);
    if (p->waiting)
        snprintf(to + n, (size_t)(256 - n), ", waiting for the cloud");
}

static void figures_json(const struct trainer_progress *p, char to[768])
{
    char a[32], b[32], c[32], d[32], e[32];
    snprintf(to, 768,
        "\"loss\":%s,\"eval_loss\":%s,\"eval_right\":%s,\"best_loss\":%s,\"best_step\":%" PRIu64
        ",\"lr\":%.4g,\"grad_norm\":%s,\"epoch\":%" PRIu64 ",\"tokens\":%" PRIu64
        ",\"tokens_per_second\":%.1f,\"busy_campus\":%.3f,\"busy_cloud\":%.3f,\"bytes_up\":%" PRIu64
        ",\"bytes_down\":%" PRIu64 ",\"waiting\":%s,\"restarts\":%" PRIu64,
        json_number(a, p->loss), json_number(b, p->eval_loss), json_number(c, p->eval_right),
        json_number(d, p->best_loss), p->best_step, p->lr, json_number(e, p->grad_norm), p->epoch, p->rows,
        p->rows_per_s, p->busy_edge, p->busy_middle, p->bytes_up, p->bytes_down, p->waiting ? "true" : "false",
        p->losses);
}

static bool on_progress(void *user, const struct trainer_progress *p)
{
    struct show *s = user;
    char text[256], json[768];
    figures(s, p, text);
    figures_json(p, json);
    progress_at(&s->bar, p->step, text, json);
    return !cli_interrupted;
}

static void say_end(
    const struct cli_args *args, struct show *s, const struct train_job *job, const struct trainer_result *r)
{
    char text[256], json[768];
    bool done = r->end == TRAINER_DONE;
    figures(s, &r->last, text);
    figures_json(&r->last, json);
    progress_end(&s->bar, r->last.step, text, json);
    if (s->json) {
        printf("{\"done\":%s,\"step\":%" PRIu64 ",\"saved_step\":%" PRIu64 ",%s,\"dir\":\"%s\"}\n",
            done ? "true" : "false", r->last.step, r->saved_step, json, job->dir);
        return;
    }
    if (!done) {
        printf("stopped after step %" PRIu64 "; everything up to there is in %s. Go on with the same command and "
               "--resume\n",
            r->saved_step, job->dir);
        return;
    }
    const char *what = s->split ? "edge" : "model";
    printf("done after %" PRIu64 " steps: %s/%s.gguf%s\n", r->last.step, job->dir, what,
        s->split ? "; the cloud keeps its half of the same step" : "");
    if (job->lora_rank)
        printf("the adapter alone: %s/%s-adapter.gguf\n", job->dir, what);
}

/* --- the middle in the cloud ------------------------------------------------------------------------------------- */

struct far {
    struct cli_model edge;
    struct cli_remote remote;
};

static int connect_far(void *user, struct train_middle **ret, const struct model_params *p,
    const struct local_train_config *cfg, struct error *err)
{
    struct far *far = user;
    struct remote_train_config c = {.remote = far->remote.config, .train = cfg->train, .n_slots = cfg->n_slots};
    memcpy(c.run, cfg->run, sizeof(c.run));
    return remote_train_create(ret, &c, err);
}

static int open_far(struct far *far, const struct cli_args *args, struct train_job *job, struct error *err)
{
    if (!cli_str(args, "identity"))
        return 0;
    int rc = cli_model_open(&far->edge, job->model, err);
    rc = rc ? rc : cli_remote_init(&far->remote, args, &far->edge, err);
    job->connect = connect_far;
    job->connect_user = far;
    job->cloud_half = NULL; /* goes to the worker, if that does not have it */
    return rc;
}

static void close_far(struct far *far)
{
    cli_remote_done(&far->remote);
    if (far->edge.file)
        cli_model_close(&far->edge);
}

static int run(const struct cli_args *args, struct error *err)
{
    struct show s = {.json = cli_flag(args, "json")};
    struct train_job job = {.on_ready = on_ready};
    struct trainer_result r;
    struct far far = {0};
    int rc = read_job(args, &job, err);
    if (rc)
        return rc;
    s.split = cli_str(args, "edge") != NULL;
    job.plan.on_progress = on_progress;
    job.plan.user = &s;
    rc = open_far(&far, args, &job, err);
    rc = rc ? rc : train_job_run(&job, &r, err);
    close_far(&far);
    if (rc)
        return rc;
    say_end(args, &s, &job, &r);
    return 0;
}

static const struct cli_option options[] = {
    {"edge", "HALF", NULL, "the campus half; its middle is trained in the cloud"},
    CLI_OPTION_IDENTITY,
    {"cloud-half", "FILE", NULL,
        "the cloud's half: installed there if the worker does not have it; without --identity trained here"},
    {"codec", "NAME", "f32", "how vectors and gradients travel: f32, f16 or int8"},
    CLI_OPTION_DSCP,
    CLI_OPTION_KEYLOG,
    {"local", "MODEL", NULL, "a whole model, trained in this process"},
    {"data", "FILE", NULL, "samples, one JSON object a line: {\"messages\":[…]} or {\"text\":…}"},
    {"out", "DIR", NULL, "checkpoints and results"},
    {"resume", NULL, NULL, "go on from the newest checkpoint in DIR"},
    {"steps", "N", NULL, "optimiser steps in all (default: what --epochs makes)"},
    {"epochs", "E", "1", "times that every sample is seen"},
    {"eval-fraction", "F", "0.05", "share of the samples kept apart for evaluation"},
    {"too-long", "HOW", "truncate", "samples longer than fit: truncate, refuse or chop"},
    {"batch-rows", "N", "512", "tokens in a micro-batch (whole samples)"},
    {"accumulate", "M", "8", "micro-batches in a step"},
    {"in-flight", "K", "4", "micro-batches under way at once; more hides a longer distance"},
    {"lr", "RATE", "3e-4", "highest learning rate"},
    {"lr-least", "SHARE", "0.1", "where the schedule ends, as a share of --lr"},
    {"schedule", "NAME", "cosine", "constant, linear or cosine"},
    {"warmup", "N", NULL, "steps in which the rate rises (default: a twentieth)"},
    {"clip", "NORM", "1", "largest norm of the gradient, over both sides; 0: off"},
    {"weight-decay", "W", "0.01", "on matrices only"},
    {"lora-rank", "R", "0", "train adapters of this rank; 0: every weight"},
    {"lora-alpha", "A", NULL, "their scale (default: twice the rank)"},
    {"lora-targets", "LIST", "all", "q, k, v, o, gate, up, down, attention, all"},
    {"freeze-head", NULL, NULL, "leave the first blocks as they are: saves the last transfer"},
    {"recompute", NULL, NULL, "less memory for more work; the same result"},
    {"keep-types", NULL, NULL, "write weights back in the types the file had, instead of F32"},
    {"seed", "N", "1", "order of the data and beginning of adapters"},
    {"save-every", "N", "100", "steps between checkpoints"},
    {"eval-every", "N", "100", "steps between evaluations"},
    {"export-best", NULL, NULL, "also write the halves of the best evaluation so far"},
    CLI_OPTION_THREADS,
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_train = {
    .section = "Campus",
    .name = "train",
    .summary = "train a model on samples that never leave campus",
    .operands = "",
    .about =
        "Samples, tokens and labels stay here; the cloud computes its blocks' forward and backward. Checkpoints are\n"
        "taken on both sides at the same step. ^C takes one and stops; after a crash of either side, the same command\n"
        "with --resume goes on from the last one and ends with the same weights, bit for bit.",
    .example =
        "meridian train --edge edge.gguf --identity /srv/meridian-edge --cloud-half cloud.gguf --data samples.jsonl "
        "--out run1\n"
        "meridian train --edge edge.gguf --identity /srv/meridian-edge --data samples.jsonl --out run2 --lora-rank 8\n"
        "meridian train --local tiny.gguf --data samples.jsonl --out run3 --epochs 3",
    .options = options,
    .run = run,
};
