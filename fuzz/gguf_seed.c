/* gguf_seed FOLDER: writes the seeds of gguf_fuzz, one smallest model of each family. */
#include "model/init.h"

#include <stdio.h>

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
    return argc == 2 ? 0 : 2;
}
