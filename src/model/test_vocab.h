/* For tests and fuzzing: the metadata of a GGUF file, written into memory key by key.
 *
 *   struct vocab_file v = {0};
 *   vocab_str(&v, "tokenizer.ggml.model", "gpt2");
 *   struct tokenizer *t = vocab_open(&v, &err);   // NULL: refused, err says why
 *   vocab_done(&v); */
#ifndef MERIDIAN_MODEL_TEST_VOCAB_H
#define MERIDIAN_MODEL_TEST_VOCAB_H

#include "base/buf.h"
#include "base/bytes.h"
#include "model/tokenizer.h"
#include "model/utf8.h"

#include <string.h>

struct vocab_file {
    struct buf body; /* keys, without the head of the file */
    uint64_t n_keys;
};

static inline void vocab_put(struct buf *b, const void *bytes, size_t len)
{
    buf_append(b, bytes, len);
}

static inline void vocab_put_u32(struct buf *b, uint32_t v)
{
    vocab_put(b, &v, 4);
}

static inline void vocab_put_u64(struct buf *b, uint64_t v)
{
    vocab_put(b, &v, 8);
}

static inline void vocab_put_str(struct buf *b, const char *s, size_t len)
{
    vocab_put_u64(b, len);
    vocab_put(b, s, len);
}

static inline void vocab_key(struct vocab_file *v, const char *key, enum gguf_type type)
{
    vocab_put_str(&v->body, key, strlen(key));
    vocab_put_u32(&v->body, type);
    v->n_keys++;
}

static inline void vocab_str(struct vocab_file *v, const char *key, const char *s)
{
    vocab_key(v, key, GGUF_TYPE_STRING);
    vocab_put_str(&v->body, s, strlen(s));
}

static inline void vocab_u32(struct vocab_file *v, const char *key, uint32_t n)
{
    vocab_key(v, key, GGUF_TYPE_UINT32);
    vocab_put_u32(&v->body, n);
}

static inline void vocab_bool(struct vocab_file *v, const char *key, bool b)
{
    uint8_t byte = b;
    vocab_key(v, key, GGUF_TYPE_BOOL);
    vocab_put(&v->body, &byte, 1);
}

static inline void vocab_strs(struct vocab_file *v, const char *key, const struct gguf_str *s, uint64_t n)
{
    vocab_key(v, key, GGUF_TYPE_ARRAY);
    vocab_put_u32(&v->body, GGUF_TYPE_STRING);
    vocab_put_u64(&v->body, n);
    for (uint64_t i = 0; i < n; i++)
        vocab_put_str(&v->body, s[i].s, s[i].len);
}

static inline void vocab_array(
    struct vocab_file *v, const char *key, enum gguf_type type, const void *elements, size_t size, uint64_t n)
{
    vocab_key(v, key, GGUF_TYPE_ARRAY);
    vocab_put_u32(&v->body, type);
    vocab_put_u64(&v->body, n);
    vocab_put(&v->body, elements, size * n);
}

/* A byte-level vocabulary: the 256 bytes, then `texts`, then `controls` (both NULL-terminated, texts written as they
 * stand), and merges ("a b"). */
static inline void vocab_bytes(struct vocab_file *v, const char *pre, const char *const *texts,
    const char *const *controls, const char *const *merges)
{
    struct gguf_str s[1024];
    char chars[256][4];
    int32_t types[1024];
    uint64_t n = 0, n_merges = 0;
    for (uint32_t b = 0; b < 256; b++) {
        bool plain = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad);
        uint32_t c = plain ? b : b <= 0x20 ? 0x100 + b : b == 0xad ? 0x143 : 0x121 + (b - 0x7f);
        types[n] = 1;
        s[n++] = (struct gguf_str){chars[b], utf8_put(chars[b], c)};
    }
    for (; texts && *texts; texts++) {
        types[n] = 1;
        s[n++] = (struct gguf_str){*texts, strlen(*texts)};
    }
    for (; controls && *controls; controls++) {
        types[n] = 3;
        s[n++] = (struct gguf_str){*controls, strlen(*controls)};
    }
    vocab_str(v, "tokenizer.ggml.model", "gpt2");
    vocab_str(v, "tokenizer.ggml.pre", pre);
    vocab_strs(v, "tokenizer.ggml.tokens", s, n);
    vocab_array(v, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, 4, n);
    for (; merges && *merges; merges++)
        s[n_merges++] = (struct gguf_str){*merges, strlen(*merges)};
    vocab_strs(v, "tokenizer.ggml.merges", s, n_merges);
}

static inline void vocab_file_bytes(const struct vocab_file *v, struct buf *ret)
{
    vocab_put(ret, "GGUF", 4);
    vocab_put_u32(ret, 3);
    vocab_put_u64(ret, 0);
    vocab_put_u64(ret, v->n_keys);
    vocab_put(ret, v->body.data, v->body.len);
}

static inline struct tokenizer *vocab_open(const struct vocab_file *v, struct error *err)
{
    struct buf bytes = {0};
    struct gguf_file *f = NULL;
    struct tokenizer *t = NULL;
    vocab_file_bytes(v, &bytes);
    if (gguf_file_open_bytes(&f, bytes.data, bytes.len, "test.gguf", err) == 0)
        (void)tokenizer_open(&t, f, err);
    gguf_file_close(f);
    buf_done(&bytes);
    return t;
}

static inline void vocab_done(struct vocab_file *v)
{
    buf_done(&v->body);
    *v = (struct vocab_file){0};
}

#endif
