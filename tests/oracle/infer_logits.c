/* Writes our logits for the comparison with oracle.py:
 *
 *   infer_logits MODEL TOKENS OUT f16|f32      TOKENS: int32 native; OUT: [tokens][n_vocab] f32; kind of KV cache */
#include "base/buf.h"
#include "compute/infer.h"
#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct error *err)
{
    fprintf(stderr, "infer_logits: %s\n", err->text);
    return 1;
}

static int logits(const struct gguf_file *f, const struct model_params *p, const struct buf *tokens, bool kv_f32,
    const char *path, struct error *err)
{
    uint32_t n = (uint32_t)(tokens->len / 4);
    struct infer_config cfg = {.kv_rows = n, .max_rows = 48, .kv_f32 = kv_f32};
    struct infer *x = NULL;
    int32_t seq;
    if (infer_create(&x, f, p, span_whole(p), &cfg, err) || infer_seq_open(x, n, &seq))
        return -1;
    struct infer_row *rows = calloc(n, sizeof *rows);
    float *out = calloc((size_t)n * p->n_vocab, sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        rows[i] = (struct infer_row){.seq = seq, .pos = (int32_t)i, .want = true};
        memcpy(&rows[i].token, tokens->data + 4ull * i, 4);
    }
    int rc = infer_run(x, rows, n, NULL, out, err);
    if (!rc)
        rc = file_write(path, out, (size_t)n * p->n_vocab * sizeof *out, 0644, err);
    free(rows);
    free(out);
    infer_free(x);
    return rc;
}

int main(int argc, char **argv)
{
    struct error err = {""};
    struct gguf_file *f = NULL;
    struct model_params p;
    struct buf tokens = {0};
    if (argc != 5) {
        fprintf(stderr, "use: infer_logits MODEL TOKENS OUT f16|f32\n");
        return 2;
    }
    if (gguf_file_open(&f, argv[1], &err) || model_params_read(&p, f, &err) ||
        file_read(&tokens, argv[2], 1 << 20, &err) ||
        logits(f, &p, &tokens, strcmp(argv[4], "f32") == 0, argv[3], &err))
        return fail(&err);
    buf_done(&tokens);
    gguf_file_close(f);
    return 0;
}
