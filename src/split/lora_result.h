/* What training adapters leaves behind: the adapter itself, and the model with it folded in, ready to serve. */
#ifndef MERIDIAN_SPLIT_LORA_RESULT_H
#define MERIDIAN_SPLIT_LORA_RESULT_H

#include "base/error.h"
#include "compute/train.h"
#include "model/gguf_file.h"
#include "model/params.h"

#include <stdbool.h>

/* Writes the adapters of `x` to adapter_path, and `base` (the file that x was made from) with them to folded_path.
 * keep_types: folded matrices keep their types (and lose what these cannot hold); else they become F16. */
int lora_result_write(const struct train *x, const struct gguf_file *base, const char *adapter_path,
    const char *folded_path, const struct model_cut *cut, bool keep_types, struct error *err);

#endif
