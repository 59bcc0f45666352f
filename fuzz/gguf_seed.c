/* gguf_seed FOLDER: writes the seeds of gguf_fuzz: one smallest model of each family, two halves, an adapter. */
#include "model/cut.h"
#include "model/init.h"
#include "model/lora_file.h"

#include <stdio.h>

static int halves_and_adapter(const char *folder, struct error *err)
{
    char whole[4096], edge[4096], cloud[4096], adapter[4096];
    struct gguf_file *f = NULL;
    struct model_cut cut;
    snprintf(whole, sizeof(whole), "%s/llama.gguf", folder);
    snprintf(edge, sizeof(edge), "%s/edge.gguf", folder);
    snprintf(cloud, sizeof(cloud), "%s/cloud.gguf", folder);
    snprintf(adapter, sizeof(adapter), "%s/adapter.gguf", folder);
    struct model_split split = {.head = 1, .tail = 1, .edge_path = edge, .cloud_path = cloud};
    const float ones[4] = {1, 1, 1, 1};
    const struct lora_matrix m = {"blk.0.attn_q.weight", 1, 4, 4, ones, ones};
    int rc = gguf_file_open(&f, whole, err);
    if (!rc)
        rc = model_split(f, &split, &cut, NULL, err);
    if (!rc)
        rc = lora_file_write(adapter, MODEL_LLAMA, 1, &cut, &m, 1, err);
    gguf_file_close(f);
    return rc;
}

int main(int argc, char **argv)
{
    const struct gguf_str tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}, {"<|endoftext|>", 13}}, merges[] = {{"a b", 3}};
    for (enum model_arch arch = MODEL_LLAMA; arch <= MODEL_QWEN3 && argc == 2; arch++) {
        struct model_init cfg = {.arch = arch,
            .d = 4,
            .n_block = 3,
            .n_head = 2,
            .n_head_kv = 1,
            .d_ff = 4,
            .rough = true,
            .tied = arch == MODEL_QWEN2,
            .type = arch == MODEL_QWEN3 ? GGML_TYPE_F16 : GGML_TYPE_F32,
            .vocab = {.tokens = tokens, .n_tokens = 4, .merges = merges, .n_merges = 1, .bos = -1, .eos = 3}};
        char path[4096];
        struct error err = {""};
        snprintf(path, sizeof(path), "%s/%s.gguf", argv[1], model_arch_name(arch));
        if (model_init(&cfg, path, NULL, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
    }
    struct error err = {""};
    if (argc == 2 && halves_and_adapter(argv[1], &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return argc == 2 ? 0 : 2;
}
