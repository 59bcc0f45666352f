/* Two games, chosen by the first byte.
 *
 * Even: a vocabulary that is in order, with one of the pre-tokenizers (or SPM); the rest is text. Encoding never fails,
 * and decoding gives the same bytes back.
 * Odd: a vocabulary made of the input: keys missing or of another type, tokens twice, merges of nothing, counts that do
 * not match. It is refused with a sentence, or it works without harm on a text. */
#include "model/chat_template.h"
#include "model/test_vocab.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const pres[] = {"gpt-2", "qwen2", "llama-bpe", "deepseek-llm", "deepseek-coder", "deepseek-v3",
    "falcon", "starcoder", "default", "tekken", "gpt-4o", "chameleon", "exaone-moe", "bloom", "qwen35", "jais-2"};
#define N_PRE (sizeof(pres) / sizeof(pres[0]))

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct tokenizer *open_spm(void)
{
    static const char *const texts[] = {
        "▁", "a", "b", "▁a", "ab", "▁ab", "▁▁", "é", "中", "<|user|>", "e", "t", "▁t", "et"};
    enum { N = 259 + sizeof(texts) / sizeof(texts[0]) };
    struct gguf_str s[N] = {{"<unk>", 5}, {"<s>", 3}, {"</s>", 4}};
    int32_t types[N] = {2, 3, 3};
    float scores[N] = {0};
    char names[256][8];
    for (unsigned i = 3; i < N; i++) {
        if (i < 259)
            s[i] = (struct gguf_str){names[i - 3], (size_t)snprintf(names[i - 3], 8, "<0x%02X>", i - 3)};
        else
            s[i] = (struct gguf_str){texts[i - 259], strlen(texts[i - 259])};
        types[i] = i < 259 ? 6 : strcmp(s[i].s, "<|user|>") == 0 ? 4 : 1;
        scores[i] = -(float)(i % 7);
    }
    struct vocab_file v = {0};
    vocab_str(&v, "tokenizer.ggml.model", "llama");
    vocab_strs(&v, "tokenizer.ggml.tokens", s, N);
    vocab_array(&v, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, 4, N);
    vocab_array(&v, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, 4, N);
    struct tokenizer *t = vocab_open(&v, NULL);
    vocab_done(&v);
    return t;
}

static struct tokenizer *open_good(unsigned which)
{
    static struct tokenizer *kept[N_PRE + 1];
    static const char *const texts[] = {"ab", "Ġa", "ĠĠ", "12", "!!", "aa", "aaaa", "ĊĊ", NULL};
    static const char *const controls[] = {"<|im_start|>", "<|im_end|>", "<s>", "</s>", NULL};
    static const char *const merges[] = {"a b", "Ġ a", "Ġ Ġ", "1 2", "! !", "a a", "aa aa", "Ċ Ċ", "é x", NULL};
    which %= N_PRE + 1;
    if (!kept[which] && which == N_PRE)
        kept[which] = open_spm();
    if (!kept[which]) {
        struct vocab_file v = {0};
        vocab_bytes(&v, pres[which], texts, controls, merges);
        vocab_u32(&v, "tokenizer.ggml.bos_token_id", 266);
        vocab_u32(&v, "tokenizer.ggml.eos_token_id", 265);
        kept[which] = vocab_open(&v, NULL);
        vocab_done(&v);
    }
    must(kept[which] != NULL);
    return kept[which];
}

static void round_trip(const struct tokenizer *t, const char *text, size_t len, bool special)
{
    struct buf ids = {0}, back = {0};
    must(tokenizer_encode(t, text, len, special, false, &ids) == 0);
    must(tokenizer_decode_all(t, (const int32_t *)ids.data, ids.len / 4, special, &back) == 0);
    must(back.len == len && (len == 0 || memcmp(back.data, text, len) == 0));
    for (size_t i = 0; i < ids.len / 4 && !special; i++)
        must(!tokenizer_is_control(t, ((const int32_t *)ids.data)[i]));
    buf_done(&ids);
    buf_done(&back);
}

static void no_harm(const struct tokenizer *t, const char *text, size_t len)
{
    struct buf ids = {0}, back = {0};
    struct error err;
    if (len > 4096)
        len = 4096;
    must(tokenizer_encode(t, text, len, true, true, &ids) == 0);
    must(tokenizer_decode_all(t, (const int32_t *)ids.data, ids.len / 4, true, &back) == 0);
    ids.len = 0;
    struct chat_message m = {"user", text, len};
    for (enum chat_family f = CHAT_CHATML; f <= CHAT_MISTRAL; f++)
        must(chat_encode(f, t, &m, 1, true, &ids, NULL, &err) == 0);
    buf_done(&ids);
    buf_done(&back);
}

/* The input as a tape of small numbers and strings. */
struct tape {
    const uint8_t *p;
    size_t len;
};

static uint8_t take(struct tape *t)
{
    if (!t->len)
        return 0;
    t->len--;
    return *t->p++;
}

static struct gguf_str take_str(struct tape *t)
{
    size_t len = take(t) % 12;
    len = len < t->len ? len : t->len;
    struct gguf_str s = {(const char *)t->p, len};
    t->p += len;
    t->len -= len;
    return s;
}

static void put_tape_key(struct vocab_file *v, struct tape *t)
{
    static const char *const keys[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.scores",
        "tokenizer.ggml.token_type", "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix",
        "tokenizer.chat_template", "general.name", "general.architecture", "tokenizer.ggml.unknown_token_id"};
    static const char *const words[] = {"gpt2", "llama", "qwen2", "phi-3", "[INST]<|im_start|>system\\n", "bert",
        "<|start_header_id|><|end_header_id|>trim</think>", "### Instruction:<|EOT|>{{'x\\"};
    const char *key = keys[take(t) % (sizeof(keys) / sizeof(keys[0]))];
    struct gguf_str s[64];
    int32_t numbers[64];
    uint32_t n = take(t) % 64;
    switch (take(t) % 6) {
    case 0:
        vocab_str(v, key, words[take(t) % (sizeof(words) / sizeof(words[0]))]);
        break;
    case 1:
        vocab_u32(v, key, take(t));
        break;
    case 2:
        vocab_bool(v, key, take(t) & 1);
        break;
    case 3:
        for (uint32_t i = 0; i < n; i++)
            s[i] = take_str(t);
        vocab_strs(v, key, s, n);
        break;
    case 4:
        for (uint32_t i = 0; i < n; i++)
            numbers[i] = take(t) % 8;
        vocab_array(v, key, GGUF_TYPE_INT32, numbers, 4, n);
        break;
    default:
        memset(numbers, take(t), sizeof(numbers));
        vocab_array(v, key, GGUF_TYPE_FLOAT32, numbers, 4, n);
    }
}

static void hostile(struct tape t)
{
    struct vocab_file v = {0};
    uint8_t start = take(&t);
    if (start & 1)
        vocab_str(&v, "tokenizer.ggml.model", start & 2 ? "gpt2" : "llama");
    for (unsigned n = take(&t) % 10; n > 0; n--)
        put_tape_key(&v, &t);
    struct error err = {""};
    struct tokenizer *tok = vocab_open(&v, &err);
    must(tok || err.text[0]);
    if (tok)
        no_harm(tok, (const char *)t.p, t.len);
    tokenizer_free(tok);
    vocab_done(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] & 1)
        hostile((struct tape){data + 1, size - 1});
    else
        round_trip(open_good(data[1]), (const char *)data + 2, size - 2, data[0] & 2);
    return 0;
}
