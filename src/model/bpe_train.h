/* A byte-level BPE vocabulary learnt from texts, for models made from scratch: the 256 bytes, then what merges build,
 * then special tokens. Text is cut by the qwen2 pre-tokenizer, so write it with pre = "qwen2". The same texts in the
 * same order (and in any division into calls that leaves words whole) give the same vocabulary on every machine.
 *
 *   bpe_train_create → bpe_train_add … → bpe_train_run → bpe_vocab (to model_init by bpe_vocab_for_init) */
#ifndef MERIDIAN_MODEL_BPE_TRAIN_H
#define MERIDIAN_MODEL_BPE_TRAIN_H

#include "base/buf.h"
#include "base/error.h"
#include "model/gguf_file.h"
#include "model/init.h"

#include <stddef.h>
#include <stdint.h>

#define BPE_TRAIN_PRE      "qwen2"
#define BPE_TRAIN_MOST     8192 /* entries of a vocabulary */
#define BPE_TRAIN_SPECIALS ((const char *const[]){"<|endoftext|>", "<|im_start|>", "<|im_end|>"})

struct bpe_train;

int bpe_train_create(struct bpe_train **ret, struct error *err);
void bpe_train_free(struct bpe_train *b); /* NULL allowed */

/* Counts the words of one text (a document, a message): its bytes are not kept. -ENOMEM, -EFBIG past 4 GiB of words. */
int bpe_train_add(struct bpe_train *b, const char *text, size_t len);

/* What was learnt. Owns everything it points to. */
struct bpe_vocab {
    struct gguf_str *tokens; /* as tokenizer.ggml.tokens: byte-level characters, specials as they are */
    int32_t *types;          /* as tokenizer.ggml.token_type: 1 normal, 3 control */
    uint32_t n_tokens;       /* may be fewer than asked for: a merge is only made of what occurs twice */
    struct gguf_str *merges; /* "left right", in the order to apply */
    uint32_t n_merges;
    uint32_t first_special; /* ids of the specials, in the order given */
    struct buf text;
};

/* Learns up to n_tokens entries, specials and the 256 bytes among them; -EINVAL when that is too few or too many.
 * May be run again with other numbers. */
int bpe_train_run(struct bpe_train *b, uint32_t n_tokens, const char *const *specials, size_t n_specials,
    struct bpe_vocab *ret, struct error *err);
void bpe_vocab_done(struct bpe_vocab *v);

/* The vocabulary as model_init takes it: qwen2 pre-tokenizer, a plain chatml template, EOS <|im_end|> and no BOS (with
 * BPE_TRAIN_SPECIALS; without that name the last special, or none). Borrows from v. */
void bpe_vocab_for_init(const struct bpe_vocab *v, struct model_init_vocab *ret);

#endif
