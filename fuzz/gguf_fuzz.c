/* Opens the bytes as a GGUF file, walks everything in it, reads the model's parameters or the adapter. */
#include "model/gguf_file.h"
#include "model/lora_file.h"
#include "model/params.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void touch(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < len; i++)
        sink += p[i];
}

static void walk_key(const struct gguf_file *f, const char *key)
{
    uint32_t u;
    uint64_t v, n;
    float x;
    bool b;
    struct gguf_str s;
    enum gguf_type type;
    const void *raw;
    sink += !gguf_file_u32(f, key, &u) + !gguf_file_u64(f, key, &v) + !gguf_file_f32(f, key, &x) +
            !gguf_file_bool(f, key, &b);
    if (!gguf_file_str(f, key, &s))
        touch(s.s, s.len);
    if (gguf_file_array(f, key, &type, &n))
        return;
    for (uint64_t i = 0; i <= n && type == GGUF_TYPE_STRING; i++)
        if (!gguf_file_array_str(f, key, i, &s))
            touch(s.s, s.len);
    if (!gguf_file_array_raw(f, key, &raw))
        touch(raw, (size_t)n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf_file *f = NULL;
    struct error err = {""};
    struct model_params p;
    if (gguf_file_open_bytes(&f, data, size, "fuzz", &err)) {
        if (!err.text[0])
            abort(); /* every refusal says why */
        return 0;
    }
    for (size_t i = 0; i < gguf_file_n_keys(f); i++) {
        struct gguf_str raw = gguf_file_key_raw_at(f, i);
        touch(raw.s, raw.len);
        walk_key(f, gguf_file_key_at(f, i));
    }
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(f, i);
        touch(t->data, t->size);
        if (gguf_file_tensor(f, t->name) != t)
            abort();
    }
    if (model_params_read(&p, f, &err) && !err.text[0])
        abort();
    struct lora_file l;
    if (!lora_file_read(&l, f, &err))
        lora_file_done(&l);
    gguf_file_close(f);
    return 0;
}
