/* The middle in this process over a model file; apart, so that tests over another half need no model code. */
#include "split/half_model.h"
#include "split/local_middle.h"

int local_middle_create(struct middle **ret, const struct gguf_file *f, const struct model_params *p, struct span span,
    const struct infer_config *cfg, struct error *err)
{
    struct half_infer *h;
    int rc = half_infer_create(&h, f, p, span, cfg, err);
    if (rc)
        return rc;
    rc = local_middle_create_over(ret, h, NULL);
    if (rc) {
        h->ops->free(h);
        return error_set(err, -rc, "out of memory");
    }
    return 0;
}
