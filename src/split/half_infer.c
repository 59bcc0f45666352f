/* A serving half over a model file. */
#include "split/half_model.h"

#include <errno.h>
#include <stdlib.h>

struct model_half {
    struct half_infer half;
    struct infer *infer;
    struct gguf_file *own; /* closed with the half */
};

static struct infer *inner(const struct half_infer *h)
{
    return ((const struct model_half *)h)->infer;
}

static int model_open(struct half_infer *h, uint32_t n_ctx, int32_t *ret_seq)
{
    return infer_seq_open(inner(h), n_ctx, ret_seq);
}

static void model_close(struct half_infer *h, int32_t seq)
{
    infer_seq_close(inner(h), seq);
}

static int32_t model_len(const struct half_infer *h, int32_t seq)
{
    return infer_seq_len(inner(h), seq);
}

static void model_truncate(struct half_infer *h, int32_t seq, int32_t len)
{
    infer_seq_truncate(inner(h), seq, len);
}

static int model_run(
    struct half_infer *h, const struct infer_row *rows, uint32_t n, const float *in, float *out, struct error *err)
{
    return infer_run(inner(h), rows, n, in, out, err);
}

static void model_free(struct half_infer *h)
{
    if (!h)
        return;
    infer_free(inner(h));
    gguf_file_close(((struct model_half *)h)->own);
    free(h);
}

static const struct half_infer_ops model_ops = {
    .open = model_open,
    .close = model_close,
    .len = model_len,
    .truncate = model_truncate,
    .run = model_run,
    .free = model_free,
};

void half_infer_own(struct half_infer *h, struct gguf_file *f)
{
    ((struct model_half *)h)->own = f;
}

int half_infer_create(struct half_infer **ret, const struct gguf_file *f, const struct model_params *p,
    struct span span, const struct infer_config *cfg, struct error *err)
{
    if (span.embed || span.output)
        return error_set(err, EINVAL, "a middle takes and gives vectors: neither embedding nor output may be in it");
    struct model_half *m = calloc(1, sizeof(*m));
    if (!m)
        return error_set(err, ENOMEM, "out of memory");
    int rc = infer_create(&m->infer, f, p, span, cfg, err);
    if (rc) {
        free(m);
        return rc;
    }
    m->half = (struct half_infer){.ops = &model_ops,
        .d = p->d,
        .n_ctx = p->n_ctx,
        .kv_rows = cfg->kv_rows,
        .max_seqs = cfg->max_seqs ? cfg->max_seqs : 64};
    *ret = &m->half;
    return 0;
}
