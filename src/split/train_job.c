#include "split/train_job.h"

#include "model/gguf_file.h"
#include "os/file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

struct opened {
    struct gguf_file *model, *cloud;
    struct model_params p, cloud_p;
    struct tokenizer *tokenizer;
    struct dataset *data;
    struct train *edge;
    struct train_middle *middle;
};

static void close_all(struct opened *o)
{
    if (o->middle)
        o->middle->ops->free(o->middle);
    train_free(o->edge);
    dataset_free(o->data);
    tokenizer_free(o->tokenizer);
    gguf_file_close(o->cloud);
    gguf_file_close(o->model);
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static int open_model(struct opened *o, const struct train_job *job, struct error *err)
{
    int rc = gguf_file_open(&o->model, job->model, err);
    if (!rc && (rc = model_params_read(&o->p, o->model, err)))
        return error_prefix(err, rc, "%s", job->model);
    if (rc)
        return rc;
    bool split = job->cloud_half || job->connect;
    if (o->p.cut.part == MODEL_CLOUD)
        return error_set(err, EINVAL, "%s is the cloud's half: training starts from the campus's half", job->model);
    if (o->p.cut.part == MODEL_EDGE && !split)
        return error_set(err, EINVAL, "%s is the campus's half: say where its cloud half is", job->model);
    if (o->p.cut.part == MODEL_WHOLE && split)
        return error_set(err, EINVAL, "%s is a whole model: split it first, or train it here alone", job->model);
    return tokenizer_open(&o->tokenizer, o->model, err);
}

static int open_data(struct opened *o, const struct train_job *job, struct error *err)
{
    enum chat_family family = CHAT_NONE;
    struct dataset_config c = {
        .max_rows = job->batch_rows ? job->batch_rows : 512,
        .max_sample = job->max_sample ? job->max_sample : o->p.n_ctx,
        .too_long = job->too_long,
        .eval_fraction = job->eval_fraction,
        .seed = job->seed,
    };
    if (chat_family_of(&family, o->model, o->tokenizer, NULL))
        family = CHAT_NONE; /* texts can still be learnt; a chat among them gets the sentence */
    return dataset_open(&o->data, job->data, o->tokenizer, family, &c, err);
}

static struct train_config train_config_of(const struct train_job *job, const struct dataset *data)
{
    return (struct train_config){
        .n_threads = job->n_threads,
        .max_rows = dataset_max_rows(data),
        .max_samples = dataset_max_samples(data),
        .lora_rank = job->lora_rank,
        .lora_alpha = job->lora_alpha > 0 ? job->lora_alpha : 2.0f * (float)job->lora_rank,
        .lora_targets = job->lora_targets ? job->lora_targets : LORA_ALL,
        .seed = job->seed,
        .recompute = job->recompute,
    };
}

static int open_edge(
    struct opened *o, const struct train_job *job, const struct trainer_config *plan, struct error *err)
{
    bool whole = o->p.cut.part == MODEL_WHOLE;
    struct train_config c = train_config_of(job, o->data);
    struct train_part one = {.span = span_whole(&o->p), .n_slots = 1};
    struct train_part two[2] = {
        {.span = span_head(&o->p), .n_slots = plan->in_flight, .freeze = plan->freeze_head},
        {.span = span_tail(&o->p), .n_slots = 1},
    };
    return train_create(&o->edge, o->model, &o->p, whole ? &one : two, whole ? 1 : 2, &c, err);
}

static int same_cut(const struct opened *o, struct error *err)
{
    char a[48], b[48];
    const struct model_cut *x = &o->p.cut, *y = &o->cloud_p.cut;
    if (y->part == MODEL_CLOUD && !memcmp(x->id, y->id, 32) && x->step == y->step && !memcmp(x->run, y->run, 16))
        return 0;
    model_cut_name(x, a);
    model_cut_name(y, b);
    return error_set(err, EINVAL, "the halves do not belong together: the campus has cut %s, %s is %s%s", a,
        gguf_file_name(o->cloud), y->part == MODEL_CLOUD ? "" : "not a cloud half, but ", b);
}

static int open_middle(
    struct opened *o, const struct train_job *job, const struct trainer_config *plan, struct error *err)
{
    char store[4096];
    struct local_train_config c = {.train = train_config_of(job, o->data), .n_slots = plan->in_flight};
    memcpy(c.run, plan->run, sizeof(c.run));
    if (job->connect)
        return job->connect(job->connect_user, &o->middle, &o->p, &c, err);
    if (!job->cloud_half)
        return 0;
    snprintf(store, sizeof(store), "%s/cloud", job->dir);
    c.store = store;
    int rc = gguf_file_open(&o->cloud, job->cloud_half, err);
    if (!rc)
        rc = model_params_read(&o->cloud_p, o->cloud, err);
    if (!rc)
        rc = same_cut(o, err);
    if (!rc)
        rc = file_make_dir(job->dir, 0700, err);
    return rc ? rc : local_train_create(&o->middle, o->cloud, &o->cloud_p, span_middle(&o->cloud_p), &c, err);
}

/* --- the plan ---------------------------------------------------------------------------------------------------- */

static int count_steps(
    const struct opened *o, const struct train_job *job, struct trainer_config *plan, struct error *err)
{
    uint64_t batches, one;
    double epochs = job->epochs_asked > 0 ? job->epochs_asked : 1, whole = floor(epochs);
    if (plan->steps)
        return 0;
    if (epochs > 1e6)
        return error_set(err, EINVAL, "more than a million epochs: give the number of steps instead");
    if (dataset_count_batches(o->data, 1, &one) || dataset_count_batches(o->data, (uint64_t)whole, &batches))
        return error_set(err, ENOMEM, "no memory for the order of the data");
    batches += (uint64_t)ceil((epochs - whole) * (double)one);
    plan->steps = (batches + plan->accumulate - 1) / plan->accumulate;
    plan->steps = plan->steps ? plan->steps : 1;
    return 0;
}

/* What makes other weights from the same data; the schedule may be changed when a run goes on. */
static void fingerprint(char *to, size_t cap, const struct train_job *job, const struct trainer_config *plan)
{
    struct train_config c = {.lora_alpha = job->lora_alpha > 0 ? job->lora_alpha : 2.0f * (float)job->lora_rank};
    if (job->lora_rank)
        snprintf(to, cap, "seed %llu, adapters of rank %u, alpha %g, targets %u%s", (unsigned long long)job->seed,
            job->lora_rank, (double)c.lora_alpha, job->lora_targets ? job->lora_targets : (uint32_t)LORA_ALL,
            plan->freeze_head ? ", head frozen" : "");
    else
        snprintf(to, cap, "seed %llu, every weight%s", (unsigned long long)job->seed,
            plan->freeze_head ? " but the head's" : "");
}

static int name_run(const struct train_job *job, struct trainer_config *plan, struct error *err)
{
    uint64_t step;
    if (plan->resume)
        return trainer_find(job->dir, plan->run, &step, err);
    if (getrandom(plan->run, sizeof(plan->run), 0) != sizeof(plan->run))
        return error_set(err, EIO, "the system gives no random numbers");
    return 0;
}

static int make_plan(
    const struct opened *o, const struct train_job *job, struct trainer_config *plan, struct error *err)
{
    plan->dir = job->dir;
    plan->accumulate = plan->accumulate ? plan->accumulate : 1;
    plan->in_flight = plan->in_flight ? plan->in_flight : 4;
    plan->lora = job->lora_rank > 0;
    plan->base = o->model;
    int rc = count_steps(o, job, plan, err);
    if (plan->warmup == UINT64_MAX)
        plan->warmup = plan->steps / 20;
    return rc ? rc : name_run(job, plan, err);
}

int train_job_run(const struct train_job *job, struct trainer_result *ret, struct error *err)
{
    struct opened o = {0};
    struct trainer_config plan = job->plan;
    char text[256];
    int rc = open_model(&o, job, err);
    rc = rc ? rc : open_data(&o, job, err);
    rc = rc ? rc : make_plan(&o, job, &plan, err);
    rc = rc ? rc : open_edge(&o, job, &plan, err);
    rc = rc ? rc : open_middle(&o, job, &plan, err);
    if (!rc) {
        struct dataset_counts counts = dataset_counts(o.data);
        fingerprint(text, sizeof(text), job, &plan);
        plan.fingerprint = text;
        if (job->on_ready)
            job->on_ready(plan.user, &counts, &plan, train_bytes(o.edge));
        rc = trainer_run(o.edge, o.middle, &o.p, o.data, &plan, ret, err);
    }
    close_all(&o);
    return rc;
}

int train_job_targets(const char *text, uint32_t *ret, struct error *err)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } names[] = {{"q", LORA_Q}, {"k", LORA_K}, {"v", LORA_V}, {"o", LORA_O}, {"gate", LORA_GATE}, {"up", LORA_UP},
        {"down", LORA_DOWN}, {"attention", LORA_ATTENTION}, {"all", LORA_ALL}};
    uint32_t bits = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ","), i = 0;
        while (i < 9 && (strlen(names[i].name) != n || memcmp(names[i].name, at, n) != 0))
            i++;
        if (i == 9)
            return error_set(err, EINVAL,
                "\"%.*s\" is not a matrix to adapt: q, k, v, o, gate, up, down, attention, all", (int)n, at);
        bits |= names[i].bits;
        at += n + (at[n] == ',');
    }
    if (!bits)
        return error_set(err, EINVAL, "say which matrices to adapt: q, k, v, o, gate, up, down, attention, all");
    *ret = bits;
    return 0;
}
