#include "split/lora_result.h"

#include "model/lora_file.h"

static int fold(
    const struct gguf_file *base, const struct gguf_file *adapter, const char *path, bool keep_types, struct error *err)
{
    struct lora_file l;
    const struct lora_file *one = &l;
    struct lora_folded folded;
    struct lora_fold how = {.type = keep_types ? GGML_TYPE_COUNT : GGML_TYPE_F16};
    int rc = lora_file_read(&l, adapter, err);
    if (rc)
        return rc;
    rc = model_merge_lora(base, &one, 1, &how, path, &folded, NULL, err);
    lora_file_done(&l);
    return rc;
}

int lora_result_write(const struct train *x, const struct gguf_file *base, const char *adapter_path,
    const char *folded_path, const struct model_cut *cut, bool keep_types, struct error *err)
{
    struct gguf_file *adapter;
    int rc = train_export_lora(x, adapter_path, cut, err);
    if (!rc)
        rc = gguf_file_open(&adapter, adapter_path, err);
    if (rc)
        return rc;
    rc = fold(base, adapter, folded_path, keep_types, err);
    gguf_file_close(adapter);
    return rc;
}
