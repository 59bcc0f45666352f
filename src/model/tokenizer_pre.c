/* Cutting text into words: the patterns of a pre_rule, one inside the other, depth first, so that nothing is stored.
 *
 * PCRE2 sees only valid UTF-8; bytes that are none become words of their own. A match that fails for lack of room or
 * patience (the limits below) leaves the rest of its piece as one word: text is cut coarser, never lost. */
#include "model/tokenizer_inner.h"
#include "model/utf8.h"

#include <errno.h>
#include <string.h>

#define MATCH_LIMIT   10000000
#define JIT_STACK_MAX (4u << 20)

int pre_init(struct tokenizer *t, const struct pre_rule *rule, struct error *err)
{
    for (; t->n_steps < PRE_STEPS_MAX && rule->steps[t->n_steps]; t->n_steps++) {
        int code;
        PCRE2_SIZE at;
        const char *pattern = rule->steps[t->n_steps];
        pcre2_code *c =
            pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
        if (!c) {
            char why[128] = "";
            pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
            return error_set(err, code == PCRE2_ERROR_HEAP_FAILED ? ENOMEM : ENOTSUP,
                "this PCRE2 cannot compile a pre-tokenizer pattern (%s at %zu); 10.40 or later is needed", why, at);
        }
        t->jit[t->n_steps] = pcre2_jit_compile(c, PCRE2_JIT_COMPLETE) == 0; /* without it matching is only slower */
        t->steps[t->n_steps] = c;
    }
    return 0;
}

void pre_done(struct tokenizer *t)
{
    for (unsigned i = 0; i < t->n_steps; i++)
        pcre2_code_free(t->steps[i]);
}

int pre_encoder_init(struct encoder *e)
{
    const struct tokenizer *t = e->t;
    if (!t->n_steps)
        return 0;
    e->match_context = pcre2_match_context_create(NULL);
    e->jit_stack = pcre2_jit_stack_create(32u << 10, JIT_STACK_MAX, NULL);
    if (!e->match_context)
        return -ENOMEM;
    if (e->jit_stack)
        pcre2_jit_stack_assign(e->match_context, NULL, e->jit_stack);
    pcre2_set_match_limit(e->match_context, MATCH_LIMIT);
    for (unsigned i = 0; i < t->n_steps; i++)
        if (!(e->match[i] = pcre2_match_data_create(1, NULL)))
            return -ENOMEM;
    return 0;
}

void pre_encoder_done(struct encoder *e)
{
    for (unsigned i = 0; i < PRE_STEPS_MAX; i++)
        pcre2_match_data_free(e->match[i]);
    pcre2_jit_stack_free(e->jit_stack);
    pcre2_match_context_free(e->match_context);
}

static bool match_at(struct encoder *e, unsigned step, const char *s, size_t len, size_t from)
{
    const struct tokenizer *t = e->t;
    int rc = t->jit[step]
                 ? pcre2_jit_match(t->steps[step], (PCRE2_SPTR)s, len, from, 0, e->match[step], e->match_context)
                 : pcre2_match(
                       t->steps[step], (PCRE2_SPTR)s, len, from, PCRE2_NO_UTF_CHECK, e->match[step], e->match_context);
    return rc >= 0;
}

static void split(struct encoder *e, unsigned step, const char *s, size_t len)
{
    if (step == e->t->n_steps) {
        e->word_fn(e, s, len);
        return;
    }
    size_t done = 0, from = 0;
    const PCRE2_SIZE *m = pcre2_get_ovector_pointer(e->match[step]);
    while (from < len && !e->rc && match_at(e, step, s, len, from)) {
        size_t begin = m[0], end = m[1];
        if (begin > done)
            split(e, step + 1, s + done, begin - done);
        if (end > begin)
            split(e, step + 1, s + begin, end - begin);
        done = end;
        from = end;
        if (end == begin) { /* an empty match only cuts; go on after the next character */
            uint32_t c;
            from += utf8_get(s + from, len - from, &c);
        }
    }
    if (done < len && !e->rc)
        split(e, step + 1, s + done, len - done);
}

void pre_split(struct encoder *e, const char *text, size_t len)
{
    while (len && !e->rc) {
        size_t good = utf8_valid_prefix(text, len), bad = 0;
        if (good)
            split(e, 0, text, good);
        uint32_t c;
        while (good + bad < len && !utf8_get(text + good + bad, len - good - bad, &c))
            bad++;
        if (bad && !e->rc)
            e->word_fn(e, text + good, bad);
        text += good + bad;
        len -= good + bad;
    }
}
