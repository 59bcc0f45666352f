/* A half over a model file: compute/infer.h and compute/train.h behind split/half.h. The file must outlive it. */
#ifndef MERIDIAN_SPLIT_HALF_MODEL_H
#define MERIDIAN_SPLIT_HALF_MODEL_H

#include "split/half.h"
#include "split/service.h"

int half_infer_create(struct half_infer **ret, const struct gguf_file *f, const struct model_params *p,
    struct span span, const struct infer_config *cfg, struct error *err);
int half_train_create(struct half_train **ret, const struct gguf_file *f, const struct model_params *p,
    struct span span, const struct train_config *cfg, uint32_t n_slots, struct error *err);

/* The half closes this file when it is freed. */
void half_infer_own(struct half_infer *h, struct gguf_file *f);
void half_train_own(struct half_train *h, struct gguf_file *f);

extern const struct service_halves half_files; /* installed model files, for service_config.halves */

#endif
