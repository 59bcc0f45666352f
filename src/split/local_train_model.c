/* The training middle in this process over a model file; apart, so that tests over another half need no model code. */
#include "split/half_model.h"
#include "split/local_train.h"

int local_train_create(struct train_middle **ret, const struct gguf_file *f, const struct model_params *p,
    struct span span, const struct local_train_config *cfg, struct error *err)
{
    struct half_train *h;
    int rc = half_train_create(&h, f, p, span, &cfg->train, cfg->n_slots ? cfg->n_slots : 1, err);
    if (rc)
        return rc;
    rc = local_train_create_over(ret, h, &p->cut, cfg, err);
    if (rc)
        h->ops->free(h);
    return rc;
}
