/* Opening a vocabulary, encoding fragment by fragment, decoding token by token. */
#include "model/tokenizer_inner.h"
#include "model/tokenizer_names.h"

#include "base/bytes.h"
#include "model/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- encoding ---------------------------------------------------------------------------------------------- */

void encoder_emit(struct encoder *e, int32_t id)
{
    e->unknown = false;
    if (!e->rc)
        e->rc = buf_append(e->out, &id, sizeof(id));
}

/* What the vocabulary cannot say: its unknown token, or U+FFFD where that can be said; once a run. */
static void emit_unknown(struct encoder *e)
{
    const int32_t *id = e->t->byte_id;
    if (e->unknown)
        return;
    if (e->t->unk >= 0) {
        encoder_emit(e, e->t->unk);
    } else if (id[0xef] >= 0 && id[0xbf] >= 0 && id[0xbd] >= 0) {
        encoder_emit(e, id[0xef]);
        encoder_emit(e, id[0xbf]);
        encoder_emit(e, id[0xbd]);
    }
    e->unknown = true;
}

void encoder_emit_bytes(struct encoder *e, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int32_t id = e->t->byte_id[(uint8_t)bytes[i]];
        if (id >= 0)
            encoder_emit(e, id);
        else
            emit_unknown(e);
    }
}

static void encode_fragments(struct encoder *e, const char *text, const struct buf *frags, bool continued)
{
    const struct fragment *f = (const struct fragment *)frags->data;
    bool prefix = e->t->space_prefix && !continued;
    for (size_t i = 0; i < frags->len / sizeof(*f) && !e->rc; i++) {
        if (f[i].token >= 0) {
            encoder_emit(e, f[i].token);
            prefix = e->t->space_prefix;
            continue;
        }
        if (e->t->spm)
            spm_text(e, text + f[i].off, f[i].len, prefix);
        else
            pre_split(e, text + f[i].off, f[i].len);
        prefix = false;
    }
}

int tokenizer_encode_as(const struct tokenizer *t, const char *text, size_t len, unsigned flags, struct buf *ret)
{
    if (len > INT32_MAX / 4) /* positions in a word are 32 bits, spaces grow threefold */
        return -ENOMEM;
    struct encoder e = {.t = t, .word_fn = bpe_word, .out = ret};
    struct buf frags = {0};
    size_t before = ret->len;
    e.rc = special_split(t, text, len, flags, &frags);
    if (!e.rc)
        e.rc = pre_encoder_init(&e);
    if ((flags & TOKENIZER_BOS) && t->add_bos)
        encoder_emit(&e, t->bos);
    encode_fragments(&e, text, &frags, flags & TOKENIZER_CONTINUE);
    if ((flags & TOKENIZER_BOS) && t->add_eos)
        encoder_emit(&e, t->eos);
    if (e.rc)
        ret->len = before;
    pre_encoder_done(&e);
    merger_done(&e.merger);
    buf_done(&e.word);
    buf_done(&frags);
    return e.rc;
}

int tokenizer_encode(
    const struct tokenizer *t, const char *text, size_t len, bool special, bool add_bos, struct buf *ret)
{
    return tokenizer_encode_as(t, text, len, (special ? TOKENIZER_SPECIAL : 0) | (add_bos ? TOKENIZER_BOS : 0), ret);
}

/* ---- decoding ---------------------------------------------------------------------------------------------- */

static int decode_byte_level(const char *s, size_t len, struct buf *ret)
{
    int rc = 0;
    for (size_t i = 0, n; i < len && !rc; i += n) {
        uint32_t c = UINT32_MAX;
        n = utf8_get(s + i, len - i, &c);
        n = n ? n : 1;
        int b = c == UINT32_MAX ? -1 : byte_of_char(c);
        uint8_t byte = (uint8_t)b;
        rc = b >= 0 ? buf_append(ret, &byte, 1) : buf_append(ret, s + i, n);
    }
    return rc;
}

static int decode_spm(const char *s, size_t len, struct buf *ret)
{
    int rc = 0;
    for (size_t i = 0, n; i < len && !rc; i += n) {
        n = len - i >= 3 && memcmp(s + i, "\xe2\x96\x81", 3) == 0 ? 3 : 1;
        rc = n == 3 ? buf_append(ret, " ", 1) : buf_append(ret, s + i, 1);
    }
    return rc;
}

/* "<0x0A>" -> 10; -1: not of this form. */
static int byte_of_name(const char *s, size_t len)
{
    if (len != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || !isxdigit((uint8_t)s[3]) || !isxdigit((uint8_t)s[4]))
        return -1;
    char hex[3] = {s[3], s[4], 0};
    return (int)strtol(hex, NULL, 16);
}

int tokenizer_decode(const struct tokenizer *t, int32_t id, bool special, struct buf *ret)
{
    if (id < 0 || (uint32_t)id >= t->n_vocab)
        return -ERANGE;
    const char *s = strtab_text(&t->strs, (uint32_t)id);
    size_t len = t->strs.strs[id].len, before = ret->len;
    unsigned attr = t->attrs[id];
    int rc, b = attr & TOKEN_BYTE ? byte_of_name(s, len) : -1;
    uint8_t byte = (uint8_t)b;
    if (attr & (TOKEN_CONTROL | TOKEN_UNKNOWN))
        rc = special ? buf_append(ret, s, len) : 0;
    else if (b >= 0)
        rc = buf_append(ret, &byte, 1);
    else if (attr & TOKEN_LITERAL)
        rc = buf_append(ret, s, len);
    else
        rc = t->spm ? decode_spm(s, len, ret) : decode_byte_level(s, len, ret);
    if (rc)
        ret->len = before;
    return rc;
}

int tokenizer_decode_all(const struct tokenizer *t, const int32_t *ids, size_t n, bool special, struct buf *ret)
{
    size_t before = ret->len;
    bool prefixed = t->space_prefix;
    for (size_t i = 0; i < n; i++) {
        size_t at = ret->len;
        int rc = tokenizer_decode(t, ids[i], special, ret);
        if (rc) {
            ret->len = before;
            return rc;
        }
        unsigned attr = t->attrs[ids[i]];
        if (attr & TOKEN_LITERAL) {
            prefixed = t->space_prefix;
            continue;
        }
        if (prefixed && ret->len > at && ret->data[at] == ' ') {
            memmove(ret->data + at, ret->data + at + 1, ret->len - at - 1);
            ret->len--;
        }
        prefixed = false;
    }
    return 0;
}

/* ---- facts ------------------------------------------------------------------------------------------------- */

uint32_t tokenizer_n_vocab(const struct tokenizer *t)
{
    return t->n_vocab;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

bool tokenizer_adds_bos(const struct tokenizer *t)
{
    return t->add_bos;
}

static bool has_attr(const struct tokenizer *t, int32_t id, unsigned attr)
{
    return id >= 0 && (uint32_t)id < t->n_vocab && (t->attrs[id] & attr);
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t id)
{
    return has_attr(t, id, TOKEN_END);
}

bool tokenizer_is_control(const struct tokenizer *t, int32_t id)
{
    return has_attr(t, id, TOKEN_CONTROL);
}

int32_t tokenizer_find(const struct tokenizer *t, const char *token, size_t len)
{
    uint32_t str = strtab_find(&t->strs, token, len);
    return str < t->n_vocab ? (int32_t)str : -1;
}

struct gguf_str tokenizer_entry(const struct tokenizer *t, int32_t id)
{
    if (id < 0 || (uint32_t)id >= t->n_vocab)
        return (struct gguf_str){NULL, 0};
    return (struct gguf_str){strtab_text(&t->strs, (uint32_t)id), t->strs.strs[id].len};
}

struct gguf_str tokenizer_chat_template(const struct tokenizer *t)
{
    return (struct gguf_str){(const char *)t->chat_template.data, t->chat_template.len};
}

void tokenizer_describe(const struct tokenizer *t, char *ret, size_t size)
{
    if (t->spm)
        snprintf(ret, size, "SPM, %u tokens", t->n_vocab);
    else
        snprintf(ret, size, "byte-level BPE, pre-tokenizer %s, %u tokens", t->pre_name, t->n_vocab);
}
