/* Which blocks and tensors a file of a given kind holds, and which halves belong together. */
#include "model/params.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const arch_names[] = {"llama", "qwen2", "qwen3"};

const char *model_arch_name(enum model_arch arch)
{
    return arch_names[arch];
}

bool model_has_block(const struct model_params *p, uint32_t i)
{
    bool middle = i >= p->cut.head && i < p->n_block - p->cut.tail;
    if (i >= p->n_block)
        return false;
    return p->cut.part == MODEL_WHOLE || (p->cut.part == MODEL_CLOUD) == middle;
}

bool model_has_ends(const struct model_params *p)
{
    return p->cut.part != MODEL_CLOUD;
}

void model_cut_name(const struct model_cut *c, char ret[48])
{
    if (c->part == MODEL_WHOLE)
        snprintf(ret, 48, "uncut");
    else
        snprintf(ret, 48, "%02x%02x%02x%02x%02x%02x/%" PRIu64, c->id[0], c->id[1], c->id[2], c->id[3], c->id[4],
            c->id[5], c->step);
}

int model_check_pair(const struct model_params *edge, const struct model_params *cloud, struct error *err)
{
    char a[48], b[48];
    model_cut_name(&edge->cut, a);
    model_cut_name(&cloud->cut, b);
    if (edge->cut.part != MODEL_EDGE || cloud->cut.part != MODEL_CLOUD)
        return error_set(err, EINVAL, "an edge half and a cloud half are needed, not %s and %s",
            edge->cut.part == MODEL_WHOLE  ? "a whole model"
            : edge->cut.part == MODEL_EDGE ? "an edge half"
                                           : "a cloud half",
            cloud->cut.part == MODEL_WHOLE  ? "a whole model"
            : cloud->cut.part == MODEL_EDGE ? "an edge half"
                                            : "a cloud half");
    if (memcmp(edge->cut.id, cloud->cut.id, sizeof(edge->cut.id)))
        return error_set(
            err, EINVAL, "edge half %s and cloud half %s come from different cuts; use two halves of one split", a, b);
    if (edge->cut.step != cloud->cut.step || memcmp(edge->cut.run, cloud->cut.run, sizeof(edge->cut.run)))
        return error_set(err, EINVAL,
            "edge half %s and cloud half %s were trained apart; use two halves of one training run at one step", a, b);
    if (edge->cut.head != cloud->cut.head || edge->cut.tail != cloud->cut.tail || edge->n_block != cloud->n_block ||
        edge->d != cloud->d || edge->arch != cloud->arch)
        return error_set(
            err, EINVAL, "edge half %s and cloud half %s contradict each other; split the model again", a, b);
    return 0;
}

int model_each_block_tensor(const struct model_params *p, uint32_t i, model_tensor_fn *each, void *ctx)
{
    int64_t d = p->d, n = (int64_t)p->n_head * p->head_dim, k = (int64_t)p->n_head_kv * p->head_dim, hd = p->head_dim;
    const struct {
        const char *name;
        bool there;
        int n_dims;
        int64_t ne0, ne1;
    } all[] = {
        {"attn_norm.weight", true, 1, d, 1},
        {"attn_q.weight", true, 2, d, n},
        {"attn_k.weight", true, 2, d, k},
        {"attn_v.weight", true, 2, d, k},
        {"attn_q.bias", p->qkv_bias, 1, n, 1},
        {"attn_k.bias", p->qkv_bias, 1, k, 1},
        {"attn_v.bias", p->qkv_bias, 1, k, 1},
        {"attn_q_norm.weight", p->qk_norm, 1, hd, 1},
        {"attn_k_norm.weight", p->qk_norm, 1, hd, 1},
        {"attn_output.weight", true, 2, n, d},
        {"ffn_norm.weight", true, 1, d, 1},
        {"ffn_gate.weight", true, 2, d, p->d_ff},
        {"ffn_up.weight", true, 2, d, p->d_ff},
        {"ffn_down.weight", true, 2, p->d_ff, d},
    };
    int rc = 0;
    for (size_t j = 0; j < sizeof(all) / sizeof(*all) && !rc; j++) {
        char name[GGML_MAX_NAME];
        snprintf(name, sizeof(name), "blk.%" PRIu32 ".%s", i, all[j].name);
        if (all[j].there)
            rc = each(ctx, name, all[j].n_dims, all[j].ne0, all[j].ne1);
    }
    return rc;
}

int model_each_end_tensor(const struct model_params *p, model_tensor_fn *each, void *ctx)
{
    int rc = each(ctx, "token_embd.weight", 2, p->d, p->n_vocab);
    if (!rc)
        rc = each(ctx, "output_norm.weight", 1, p->d, 1);
    if (!rc && !p->tied)
        rc = each(ctx, "output.weight", 2, p->d, p->n_vocab);
    return rc;
}
