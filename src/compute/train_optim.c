/* AdamW with decoupled decay (Loshchilov & Hutter, 1711.05101) over the arenas, and the gradients' norm. */
#include "compute/train_impl.h"

#include "base/omp.h"

#include <math.h>
#include <string.h>

void train_fold_shared(struct train *x)
{
    uint64_t n = x->shared_g ? (uint64_t)x->p.n_vocab * x->p.d : 0;
    if (!n)
        return;
    x->k->add(x->output.g, x->shared_g, n);
    memset(x->shared_g, 0, sizeof(float) * n);
}

double train_grad_sumsq(struct train *x)
{
    double sum = 0;
    train_fold_shared(x);
    for (uint32_t i = 0; i < x->n_params; i++) {
        const struct param *p = &x->params[i];
        sum += x->k->sumsq(x->g + p->off, (uint64_t)p->n_out * p->n_in);
    }
    return sum;
}

void train_grad_zero(struct train *x)
{
    if (x->g)
        memset(x->g, 0, sizeof(float) * x->n_weights);
    if (x->shared_g)
        memset(x->shared_g, 0, sizeof(float) * x->p.n_vocab * x->p.d);
}

static void step_param(struct train *x, const struct param *p, struct kernel_adamw k, struct team t)
{
    uint64_t n = (uint64_t)p->n_out * p->n_in, from = n * t.id / t.n, at = p->off + from;
    k.decay = p->decay ? k.decay : 1;
    x->k->adamw(x->w + at, x->g + at, x->m + at, x->v + at, n * (t.id + 1) / t.n - from, &k);
}

void train_step(struct train *x, const struct train_adamw *o)
{
    double bias1 = 1 - pow(o->beta1, (double)o->t), bias2 = 1 - pow(o->beta2, (double)o->t);
    struct kernel_adamw k = {.grad_scale = o->grad_scale,
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .step_size = (float)(o->lr / bias1),
        .inv_sqrt_bias2 = (float)(1 / sqrt(bias2)),
        .eps = o->eps,
        .decay = 1 - o->lr * o->weight_decay};
    train_fold_shared(x);
#pragma omp parallel num_threads(x->cfg.n_threads)
    {
        struct team t = {(uint32_t)omp_get_thread_num(), (uint32_t)omp_get_num_threads()};
        for (uint32_t i = 0; i < x->n_params; i++)
            step_param(x, &x->params[i], k, t);
    }
}
