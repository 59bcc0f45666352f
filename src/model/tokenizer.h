/* Text <-> token ids, exactly as the vocabulary in a GGUF file defines them (tokenizer.ggml.*).
 *
 * Byte-level BPE ("gpt2" model) with the pre-tokenizers of `tokenizer.ggml.pre`, and SPM ("llama" model). Immutable
 * after opening, so any number of threads may use one. Special tokens are only recognised in text when asked for
 * (never for what a user typed). An unknown pre-tokenizer or model is one clear error. */
#ifndef MERIDIAN_MODEL_TOKENIZER_H
#define MERIDIAN_MODEL_TOKENIZER_H

#include "base/buf.h"
#include "base/error.h"
#include "model/gguf_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

int tokenizer_open(struct tokenizer **ret, const struct gguf_file *f, struct error *err); /* copies what it needs */
void tokenizer_free(struct tokenizer *t);

/* Appends int32_t ids (native order) to *ret. `special`: control tokens written in the text become their ids.
 * `add_bos`: put BOS first (and EOS last) if the file asks for it. Any bytes are accepted: invalid UTF-8 goes to byte
 * tokens where the vocabulary has them, and decodes back to the same bytes. -ENOMEM. */
int tokenizer_encode(
    const struct tokenizer *t, const char *text, size_t len, bool special, bool add_bos, struct buf *ret);

/* The same with every choice open, for those who put a prompt together from parts. */
enum tokenizer_flags {
    TOKENIZER_SPECIAL = 1,  /* control tokens written in the text become their ids */
    TOKENIZER_BOS = 2,      /* BOS first and EOS last, if the file asks for them */
    TOKENIZER_CONTENT = 4,  /* what a person wrote: user-defined entries spelled like markup stay text as well */
    TOKENIZER_CONTINUE = 8, /* text goes on from text: SPM adds no leading space */
};
int tokenizer_encode_as(const struct tokenizer *t, const char *text, size_t len, unsigned flags, struct buf *ret);

/* Appends the bytes of one token (may be part of a UTF-8 sequence). Control tokens give nothing unless `special`.
 * An id out of range gives nothing and -ERANGE. */
int tokenizer_decode(const struct tokenizer *t, int32_t id, bool special, struct buf *ret);
/* A whole sequence, with the leading space that SPM adds (at the start and after a marker) taken away again. Decoding
 * what tokenizer_encode gave returns its text byte for byte, save white space that phi-3's markers swallow. */
int tokenizer_decode_all(const struct tokenizer *t, const int32_t *ids, size_t n, bool special, struct buf *ret);

bool tokenizer_adds_bos(const struct tokenizer *t); /* the file asks for BOS in front of a prompt */
uint32_t tokenizer_n_vocab(const struct tokenizer *t);
/* -1 where the vocabulary has none. */
int32_t tokenizer_bos(const struct tokenizer *t);
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_is_end(const struct tokenizer *t, int32_t id); /* eos, eot, eom: generation ends here */
bool tokenizer_is_control(const struct tokenizer *t, int32_t id);
/* The file's chat template (Jinja source), {NULL, 0} without one. */
struct gguf_str tokenizer_chat_template(const struct tokenizer *t);
/* One line for a person: "byte-level BPE, pre-tokenizer qwen2, 151936 tokens". NUL-terminated, cut if need be. */
void tokenizer_describe(const struct tokenizer *t, char *ret, size_t size);
/* The entry as the file writes it (▁ and byte-level characters and all), not NUL-terminated; {NULL, 0} out of range. */
struct gguf_str tokenizer_entry(const struct tokenizer *t, int32_t id);
int32_t tokenizer_find(const struct tokenizer *t, const char *token, size_t len); /* exact vocabulary entry or -1 */

#endif
