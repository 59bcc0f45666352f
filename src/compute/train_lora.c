/* Low-rank adapters (Hu et al., 2106.09685): A starts as noise, B as zero, so the first step starts at the frozen model.
 * The noise is a function of (seed, block, target) alone: a model cut in two starts like the whole one. */
#include "compute/train_impl.h"

#include "base/rng.h"

#include <stdio.h>

static uint64_t noise_key(const struct train *x, uint32_t block, uint32_t target)
{
    return rng_u64(x->cfg.seed, (uint64_t)block << 8 | target) | 1;
}

void lora_add(struct train *x, uint32_t block, struct mat m[N_MATS])
{
    uint32_t rank = x->cfg.lora_rank;
    for (uint32_t i = 0; i < N_MATS; i++) {
        if (!(x->cfg.lora_targets & 1u << i))
            continue;
        char name[96];
        snprintf(name, sizeof name, "%s.lora_a", m[i].t->name);
        struct param *a = train_param_add(x, name, NULL, rank, m[i].n_in, &m[i].a, &m[i].ga);
        if (a) {
            a->key = noise_key(x, block, i);
            a->decay = true;
        }
        snprintf(name, sizeof name, "%s.lora_b", m[i].t->name);
        struct param *b = train_param_add(x, name, NULL, m[i].n_out, rank, &m[i].b, &m[i].gb);
        if (b)
            b->decay = true;
    }
}
