/* From the keys tokenizer.ggml.* to a struct tokenizer. Files of any hub must load, so what llama.cpp takes for
 * granted when a key is missing is taken for granted here, and nothing in the file is trusted. */
#include "model/tokenizer_inner.h"
#include "model/tokenizer_names.h"

#include "base/bytes.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_VOCAB_MAX (1u << 24)
#define KEY(NAME)   "tokenizer.ggml." NAME

static bool str_is(struct gguf_str s, const char *is)
{
    return s.len == strlen(is) && memcmp(s.s, is, s.len) == 0;
}

static int read_tokens(struct tokenizer *t, const struct gguf_file *f, struct error *err)
{
    enum gguf_type type;
    uint64_t n;
    if (gguf_file_array(f, KEY("tokens"), &type, &n) || type != GGUF_TYPE_STRING || n == 0)
        return error_set(err, EINVAL, "%s: " KEY("tokens") " is missing or not a list of strings", gguf_file_name(f));
    if (n > N_VOCAB_MAX)
        return error_set(err, EFBIG, "%s: a vocabulary of %llu tokens is too large (at most %u)", gguf_file_name(f),
            (unsigned long long)n, N_VOCAB_MAX);
    int rc = 0;
    for (uint64_t i = 0; i < n && !rc; i++) {
        struct gguf_str s;
        uint32_t id;
        rc = gguf_file_array_str(f, KEY("tokens"), i, &s);
        if (!rc)
            rc = strtab_add(&t->strs, s.s, s.len, &id);
    }
    t->attrs = calloc(n, sizeof(*t->attrs));
    if (!rc && !t->attrs)
        rc = -ENOMEM;
    if (rc)
        return error_set(err, -rc, "%s: the vocabulary cannot be read (%s)", gguf_file_name(f), strerror(-rc));
    t->n_vocab = (uint32_t)n;
    return 0;
}

/* A per-token list of 4-byte numbers: *ret is NULL when the file has none. */
static int per_token(const struct tokenizer *t, const struct gguf_file *f, const char *key, enum gguf_type want,
    enum gguf_type or, const uint8_t **ret, struct error *err)
{
    enum gguf_type type;
    uint64_t n;
    const void *raw;
    *ret = NULL;
    int rc = gguf_file_array(f, key, &type, &n);
    if (rc == -ENOENT)
        return 0;
    if (rc || (type != want && type != or) || gguf_file_array_raw(f, key, &raw))
        return error_set(err, EINVAL, "%s: %s is not a list of 32-bit numbers", gguf_file_name(f), key);
    if (n < t->n_vocab)
        return error_set(err, EINVAL, "%s: %s has %llu entries for %u tokens", gguf_file_name(f), key,
            (unsigned long long)n, t->n_vocab);
    *ret = raw;
    return 0;
}

static int read_types(struct tokenizer *t, const struct gguf_file *f, struct error *err)
{
    const uint8_t *types;
    int rc = per_token(t, f, KEY("token_type"), GGUF_TYPE_INT32, GGUF_TYPE_UINT32, &types, err);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        uint32_t type = types ? bytes_get_u32(types + 4 * (size_t)i) : 1;
        t->attrs[i] = type >= 1 && type <= 6 ? (uint16_t)(1u << (type - 1)) : TOKEN_UNUSED;
    }
    return 0;
}

static int read_scores(struct tokenizer *t, const struct gguf_file *f, struct error *err)
{
    const uint8_t *raw;
    int rc = per_token(t, f, KEY("scores"), GGUF_TYPE_FLOAT32, GGUF_TYPE_FLOAT32, &raw, err);
    if (rc)
        return rc;
    t->scores = calloc(t->n_vocab, sizeof(*t->scores));
    if (!t->scores)
        return error_set(err, ENOMEM, "no memory for %u scores", t->n_vocab);
    for (uint32_t i = 0; raw && i < t->n_vocab; i++)
        t->scores[i] = bytes_get_f32(raw + 4 * (size_t)i);
    return 0;
}

/* The id under a key if it is one of the vocabulary, else the fallback. */
static int32_t id_of_key(const struct tokenizer *t, const struct gguf_file *f, const char *key, int32_t fallback)
{
    uint32_t id;
    if (gguf_file_u32(f, key, &id) == 0 && id < t->n_vocab)
        return (int32_t)id;
    return fallback >= 0 && (uint32_t)fallback < t->n_vocab ? fallback : -1;
}

static void read_ids(struct tokenizer *t, const struct gguf_file *f)
{
    t->bos = id_of_key(t, f, KEY("bos_token_id"), t->spm ? 1 : -1);
    t->eos = id_of_key(t, f, KEY("eos_token_id"), t->spm ? 2 : -1);
    t->unk = id_of_key(t, f, KEY("unknown_token_id"), t->spm ? 0 : -1);
    t->eot = id_of_key(t, f, KEY("eot_token_id"), -1);
    t->eom = id_of_key(t, f, KEY("eom_token_id"), -1);
    bool b;
    if (gguf_file_bool(f, KEY("add_bos_token"), &b) == 0)
        t->add_bos = b;
    if (gguf_file_bool(f, KEY("add_eos_token"), &b) == 0)
        t->add_eos = b;
    t->add_bos = t->add_bos && t->bos >= 0;
    t->add_eos = t->add_eos && t->eos >= 0;
}

/* "phi-3" or "phi3" anywhere in general.name. */
static bool is_phi3(const struct gguf_file *f)
{
    struct gguf_str s;
    if (gguf_file_str(f, "general.name", &s))
        return false;
    char low[128];
    size_t len = s.len < sizeof(low) - 1 ? s.len : sizeof(low) - 1;
    for (size_t i = 0; i < len; i++)
        low[i] = (char)tolower((uint8_t)s.s[i]);
    low[len] = 0;
    return strstr(low, "phi-3") || strstr(low, "phi3");
}

/* Ends and markers that the file types as ordinary: they are control tokens, unless merges build them, for then the
 * model has learnt them as text. */
static void name_attrs(struct tokenizer *t)
{
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        const char *s = strtab_text(&t->strs, i);
        size_t len = t->strs.strs[i].len;
        bool end = token_name_is_end(s, len), ends_file = token_name_ends_file(s, len);
        bool text = (t->attrs[i] & TOKEN_NORMAL) && (t->attrs[i] & TOKEN_MERGED);
        if ((end || token_name_is_file_marker(s, len)) && !text)
            t->attrs[i] |= TOKEN_CONTROL | (end || ends_file ? TOKEN_END : 0);
        if ((t->attrs[i] & TOKEN_USER) && token_name_is_markup(s, len))
            t->attrs[i] |= TOKEN_MARKUP;
    }
}

static void set_attr(struct tokenizer *t, const char *name, unsigned attr, bool on)
{
    int32_t id = tokenizer_find(t, name, strlen(name));
    if (id >= 0)
        t->attrs[id] = (uint16_t)(on ? t->attrs[id] | attr : t->attrs[id] & ~attr);
}

/* phi-3's markers swallow the white space after them; its files do not say so, its name does. */
static void phi3_attrs(struct tokenizer *t)
{
    for (uint32_t i = 0; i < t->n_vocab; i++)
        if (t->attrs[i] & (TOKEN_CONTROL | TOKEN_USER | TOKEN_UNKNOWN))
            t->attrs[i] |= TOKEN_RSTRIP;
    set_attr(t, "</s>", TOKEN_RSTRIP, true);
    set_attr(t, "<unk>", TOKEN_RSTRIP, false);
    set_attr(t, "<s>", TOKEN_RSTRIP, false);
    set_attr(t, "<|endoftext|>", TOKEN_RSTRIP, false);
}

static void all_attrs(struct tokenizer *t, const struct gguf_file *f)
{
    name_attrs(t);
    int32_t ends[] = {t->eos, t->eot, t->eom};
    for (size_t i = 0; i < 3; i++)
        if (ends[i] >= 0)
            t->attrs[ends[i]] |= TOKEN_END;
    /* gpt-oss: <|end|> ends a part of an answer, <|return|> the answer. */
    if (tokenizer_find(t, "<|return|>", 10) >= 0 && tokenizer_find(t, "<|call|>", 8) >= 0)
        set_attr(t, "<|end|>", TOKEN_END, false);
    if (is_phi3(f))
        phi3_attrs(t);
}

/* Files from before there were pre-tokenizer names: what that architecture's models use. */
static struct gguf_str pre_of_arch(const struct gguf_file *f)
{
    static const char *const table[][2] = {{"gpt2", "gpt-2"}, {"gptneox", "gpt-2"}, {"phi2", "gpt-2"}, {"mpt", "mpt"},
        {"olmo", "olmo"}, {"falcon", "falcon"}, {"starcoder", "starcoder"}, {"starcoder2", "starcoder"},
        {"refact", "refact"}, {"command-r", "command-r"}, {"bloom", "bloom"}, {"qwen2", "qwen2"}, {"qwen3", "qwen2"},
        {"qwen2moe", "qwen2"}};
    struct gguf_str arch;
    if (gguf_file_str(f, "general.architecture", &arch) == 0)
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
            if (str_is(arch, table[i][0]))
                return (struct gguf_str){table[i][1], strlen(table[i][1])};
    return (struct gguf_str){"default", 7};
}

static int open_bpe(struct tokenizer *t, const struct gguf_file *f, struct error *err)
{
    struct gguf_str pre;
    if (gguf_file_str(f, KEY("pre"), &pre) || !pre.len)
        pre = pre_of_arch(f);
    const struct pre_rule *rule = pre_rule_find(pre.s, pre.len);
    if (!rule)
        return error_set(err, ENOTSUP, "%s: the pre-tokenizer '%.*s' is not known here", gguf_file_name(f),
            (int)(pre.len < 64 ? pre.len : 64), pre.s);
    snprintf(t->pre_name, sizeof(t->pre_name), "%.*s", (int)pre.len, pre.s);
    t->ignore_merges = rule->ignore_merges;
    t->add_bos = rule->add_bos;
    int rc = pre_init(t, rule, err);
    return rc ? rc : bpe_init(t, f, err);
}

static int open_spm(struct tokenizer *t, const struct gguf_file *f, struct error *err)
{
    int rc = read_scores(t, f, err);
    if (rc)
        return rc;
    t->spm = t->add_bos = t->space_prefix = true;
    bool b;
    if (gguf_file_bool(f, KEY("add_space_prefix"), &b) == 0)
        t->space_prefix = b;
    return 0;
}

static int open_all(struct tokenizer *t, const struct gguf_file *f, struct error *err)
{
    struct gguf_str model;
    if (gguf_file_str(f, KEY("model"), &model))
        return error_set(err, EINVAL,
            "%s carries no vocabulary (" KEY("model") " is missing); use a whole model or the "
                                                      "campus half of a cut one",
            gguf_file_name(f));
    bool spm = str_is(model, "llama");
    if (!spm && !str_is(model, "gpt2"))
        return error_set(err, ENOTSUP, "%s: vocabularies of the kind '%.*s' are not supported (gpt2 and llama are)",
            gguf_file_name(f), (int)(model.len < 64 ? model.len : 64), model.s);
    int rc = read_tokens(t, f, err);
    if (!rc)
        rc = read_types(t, f, err);
    if (!rc)
        rc = spm ? open_spm(t, f, err) : open_bpe(t, f, err);
    if (rc)
        return rc;
    read_ids(t, f);
    all_attrs(t, f);
    if (spm)
        spm_init(t);
    struct gguf_str chat;
    if (gguf_file_str(f, "tokenizer.chat_template", &chat) == 0)
        rc = buf_append(&t->chat_template, chat.s, chat.len);
    if (!rc)
        rc = special_init(t);
    return rc ? error_set(err, -rc, "no memory for the vocabulary") : 0;
}

int tokenizer_open(struct tokenizer **ret, const struct gguf_file *f, struct error *err)
{
    struct tokenizer *t = calloc(1, sizeof(*t));
    if (!t)
        return error_set(err, ENOMEM, "no memory for a tokenizer");
    memset(t->byte_id, 0xff, sizeof(t->byte_id));
    int rc = open_all(t, f, err);
    if (rc) {
        tokenizer_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    pre_done(t);
    strtab_done(&t->strs);
    free(t->attrs);
    free(t->scores);
    free(t->pairs);
    free(t->specials);
    free(t->trie);
    buf_done(&t->chat_template);
    free(t);
}
