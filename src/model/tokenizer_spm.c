/* SPM ("llama"): a word is its characters; neighbours join where the joined text is a token, the highest score first.
 * A space is written U+2581; what is no token goes to byte tokens.
 *
 * Where no token has U+2581 after something else (every vocabulary we know) no merge can cross the start of a word,
 * so the words of a text are merged one by one: the same result, with small heaps. A U+2581 that is really in the
 * text would decode to a space, so it goes to byte tokens, as bytes that are not UTF-8 do. */
#include "model/tokenizer_inner.h"
#include "model/utf8.h"

#include <string.h>

#define SPACE     "\xe2\x96\x81"
#define SPACE_LEN 3

static bool is_piece(const struct tokenizer *t, uint32_t str)
{
    return str < t->n_vocab && !(t->attrs[str] & (TOKEN_CONTROL | TOKEN_UNKNOWN | TOKEN_BYTE | TOKEN_MARKUP));
}

/* A token in which a space follows something that is none. */
static bool has_inner_space(const char *s, size_t len)
{
    bool after_other = false;
    for (size_t i = 0; i < len; i++) {
        if (len - i >= SPACE_LEN && memcmp(s + i, SPACE, SPACE_LEN) == 0) {
            if (after_other)
                return true;
            i += SPACE_LEN - 1;
        } else {
            after_other = true;
        }
    }
    return false;
}

void spm_init(struct tokenizer *t)
{
    static const char hex[] = "0123456789ABCDEF";
    for (int b = 0; b < 256; b++) {
        char name[] = {'<', '0', 'x', hex[b >> 4], hex[b & 15], '>'}, raw = (char)b;
        uint32_t str = strtab_find(&t->strs, name, sizeof(name));
        if (str == STRTAB_NONE)
            str = strtab_find(&t->strs, &raw, 1);
        t->byte_id[b] = str < t->n_vocab ? (int32_t)str : -1;
    }
    t->word_starts = true;
    for (uint32_t i = 0; i < t->n_vocab && t->word_starts; i++)
        if (is_piece(t, i) && has_inner_space(strtab_text(&t->strs, i), t->strs.strs[i].len))
            t->word_starts = false;
}

/* Scores as ranks: a float's bits, turned so that a higher score is a smaller number. NaN goes last. */
static uint32_t rank_of(float score)
{
    uint32_t u;
    if (score != score)
        return UINT32_MAX - 1;
    score += 0.0f; /* -0 is 0 */
    memcpy(&u, &score, 4);
    return u & 0x80000000u ? u : ~u & 0x7fffffffu;
}

static struct merge_to spm_rule(
    const struct tokenizer *t, const char *word, const struct symbol *l, const struct symbol *r)
{
    struct merge_to none = {UINT32_MAX, 0};
    if (l->str == SYMBOL_RAW || r->str == SYMBOL_RAW)
        return none;
    uint32_t str = strtab_find(&t->strs, word + l->off, l->len + r->len);
    return is_piece(t, str) ? (struct merge_to){rank_of(t->scores[str]), 0} : none;
}

static void put(struct encoder *e, const char *s, size_t len, bool raw)
{
    if (!e->rc)
        e->rc = merger_push(&e->merger, raw ? SYMBOL_RAW : 0, e->word.len, len);
    if (!e->rc)
        e->rc = buf_append(&e->word, s, len);
}

static void emit_word(struct encoder *e)
{
    if (!e->rc && e->word.len)
        e->rc = merger_run(&e->merger, e->t, (const char *)e->word.data, spm_rule);
    for (uint32_t i = 0; e->merger.n && i != SYMBOL_NONE && !e->rc; i = e->merger.syms[i].next) {
        const struct symbol *s = &e->merger.syms[i];
        const char *text = (const char *)e->word.data + s->off;
        uint32_t str = s->str == SYMBOL_RAW ? STRTAB_NONE : strtab_find(&e->t->strs, text, s->len);
        if (is_piece(e->t, str))
            encoder_emit(e, (int32_t)str);
        else
            encoder_emit_bytes(e, text, s->len);
    }
    e->word.len = 0;
    e->merger.n = 0;
}

void spm_text(struct encoder *e, const char *text, size_t len, bool prefix)
{
    bool after_other = false;
    e->word.len = 0;
    e->merger.n = 0;
    if (prefix)
        put(e, SPACE, SPACE_LEN, false);
    for (size_t i = 0, n; i < len && !e->rc; i += n) {
        uint32_t c = 0;
        n = utf8_get(text + i, len - i, &c);
        if (c == ' ' && n) {
            if (after_other && e->t->word_starts)
                emit_word(e);
            put(e, SPACE, SPACE_LEN, false);
            after_other = false;
            continue;
        }
        bool raw = !n || c == 0x2581;
        n = n ? n : 1;
        put(e, text + i, n, raw);
        after_other = true;
    }
    emit_word(e);
}
