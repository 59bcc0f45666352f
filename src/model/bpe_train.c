/* Learning merges: of all neighbouring pairs, the most frequent becomes a token, again and again.
 *
 * Text is reduced to distinct words with counts, so the work depends on how many words a language has, not on how much
 * text there is. Every pair keeps its count and the list of words it was seen in; a merge touches only those words and
 * corrects the counts around each place. The best pair is looked for among all pairs (some ten thousand, a few thousand
 * times): ties go to the smaller numbers, so nothing depends on the order of a hash table. */
#include "model/bpe_train.h"

#include "base/rng.h"
#include "model/tokenizer_inner.h"
#include "model/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct bpe_train {
    struct tokenizer *pre; /* only the steps of the pre-tokenizer */
    struct strtab words;
    uint64_t *counts;
    uint32_t counts_cap;
};

/* ---- counting words ---------------------------------------------------------------------------------------------- */

int bpe_train_create(struct bpe_train **ret, struct error *err)
{
    struct bpe_train *b = calloc(1, sizeof(*b));
    if (b)
        b->pre = calloc(1, sizeof(*b->pre));
    if (!b || !b->pre) {
        free(b);
        return error_set(err, ENOMEM, "no memory to learn a vocabulary");
    }
    int rc = pre_init(b->pre, pre_rule_find(BPE_TRAIN_PRE, strlen(BPE_TRAIN_PRE)), err);
    if (rc) {
        bpe_train_free(b);
        return rc;
    }
    *ret = b;
    return 0;
}

void bpe_train_free(struct bpe_train *b)
{
    if (!b)
        return;
    tokenizer_free(b->pre);
    strtab_done(&b->words);
    free(b->counts);
    free(b);
}

/* Room for the count of one more word, before there is the word. */
static int counts_reserve(struct bpe_train *b)
{
    if (b->words.n < b->counts_cap)
        return 0;
    uint32_t cap = b->counts_cap ? b->counts_cap * 2 : 1024;
    uint64_t *counts = realloc(b->counts, cap * sizeof(*counts));
    if (!counts)
        return -ENOMEM;
    b->counts = counts;
    b->counts_cap = cap;
    return 0;
}

static void count_word(struct encoder *e, const char *word, size_t len)
{
    struct bpe_train *b = e->ctx;
    uint32_t i, before = b->words.n;
    e->rc = counts_reserve(b);
    if (!e->rc)
        e->rc = strtab_intern(&b->words, word, len, &i);
    if (!e->rc)
        b->counts[i] = (i == before ? 0 : b->counts[i]) + 1;
}

int bpe_train_add(struct bpe_train *b, const char *text, size_t len)
{
    struct encoder e = {.t = b->pre, .word_fn = count_word, .ctx = b};
    e.rc = pre_encoder_init(&e);
    pre_split(&e, text, len);
    pre_encoder_done(&e);
    return e.rc;
}

/* ---- words as rows of token numbers, and pairs ------------------------------------------------------------------- */

struct pair {
    uint32_t left, right; /* left NONE: a free slot */
    int64_t count;
    uint32_t seen; /* head of the list of words, as an index into seen */
    bool refused;  /* would build the name of a special token */
};

struct seen {
    uint32_t word, next;
};

struct learner {
    const struct bpe_train *b;
    uint32_t *tokens;   /* of all words, one after the other */
    uint32_t *begin;    /* n_words: where each begins */
    uint32_t *len;      /* n_words: how many are left */
    struct pair *pairs; /* open addressing */
    uint32_t mask, n_pairs;
    struct seen *seen;
    uint32_t n_seen, seen_cap;
    uint32_t *stamp;     /* n_words: the merge that last went through the word */
    struct strtab names; /* raw bytes of each token */
    int rc;
};

static void learner_done(struct learner *l)
{
    free(l->tokens);
    free(l->begin);
    free(l->len);
    free(l->pairs);
    free(l->seen);
    free(l->stamp);
    strtab_done(&l->names);
}

static struct pair *pair_find(const struct learner *l, uint32_t left, uint32_t right)
{
    uint64_t h = rng_mix((uint64_t)left << 32 | right);
    while (l->pairs[h & l->mask].left != NONE &&
           (l->pairs[h & l->mask].left != left || l->pairs[h & l->mask].right != right))
        h++;
    return &l->pairs[h & l->mask];
}

static int pairs_grow(struct learner *l)
{
    struct pair *old = l->pairs;
    uint32_t old_n = old ? l->mask + 1 : 0, n = old ? old_n * 2 : 1 << 14;
    struct pair *pairs = n < 1u << 28 ? malloc(n * sizeof(*pairs)) : NULL;
    if (!pairs)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        pairs[i].left = NONE;
    l->pairs = pairs;
    l->mask = n - 1;
    for (uint32_t i = 0; i < old_n; i++)
        if (old[i].left != NONE)
            *pair_find(l, old[i].left, old[i].right) = old[i];
    free(old);
    return 0;
}

static int see(struct learner *l, struct pair *p, uint32_t word)
{
    if (p->seen != NONE && l->seen[p->seen].word == word)
        return 0;
    if (l->n_seen == l->seen_cap) {
        uint32_t cap = l->seen_cap ? l->seen_cap * 2 : 1 << 14;
        struct seen *seen = cap < 1u << 31 ? realloc(l->seen, cap * sizeof(*seen)) : NULL;
        if (!seen)
            return -ENOMEM;
        l->seen = seen;
        l->seen_cap = cap;
    }
    l->seen[l->n_seen] = (struct seen){word, p->seen};
    p->seen = l->n_seen++;
    return 0;
}

/* The pair occurs `by` times more (or less) in this word. */
static void pair_count(struct learner *l, uint32_t left, uint32_t right, uint32_t word, int64_t by)
{
    if (!l->rc && l->n_pairs * 2 > l->mask)
        l->rc = pairs_grow(l);
    if (l->rc)
        return;
    struct pair *p = pair_find(l, left, right);
    if (p->left == NONE) {
        *p = (struct pair){left, right, .seen = NONE};
        l->n_pairs++;
    }
    p->count += by;
    if (by > 0)
        l->rc = see(l, p, word);
}

static int64_t count_of(const struct learner *l, uint32_t word)
{
    return (int64_t)l->b->counts[word];
}

static int learner_init(struct learner *l)
{
    const struct strtab *words = &l->b->words;
    size_t n = words->n ? words->n : 1;
    l->tokens = malloc((words->bytes.len + 1) * sizeof(*l->tokens));
    l->begin = malloc(n * sizeof(*l->begin));
    l->len = malloc(n * sizeof(*l->len));
    l->stamp = calloc(n, sizeof(*l->stamp));
    if (!l->tokens || !l->begin || !l->len || !l->stamp)
        return -ENOMEM;
    int rc = pairs_grow(l);
    for (int i = 0; i < 256 && !rc; i++) {
        char byte = (char)i;
        uint32_t id;
        rc = strtab_add(&l->names, &byte, 1, &id);
    }
    for (uint32_t w = 0; w < words->n && !rc; w++) {
        l->begin[w] = words->strs[w].off;
        l->len[w] = words->strs[w].len;
        for (uint32_t i = 0; i < l->len[w]; i++)
            l->tokens[l->begin[w] + i] = words->bytes.data[l->begin[w] + i];
        for (uint32_t i = 0; i + 1 < l->len[w]; i++)
            pair_count(l, l->tokens[l->begin[w] + i], l->tokens[l->begin[w] + i + 1], w, count_of(l, w));
    }
    return rc ? rc : l->rc;
}

static struct pair *best_pair(const struct learner *l)
{
    struct pair *best = NULL;
    for (uint32_t i = 0; i <= l->mask; i++) {
        struct pair *p = &l->pairs[i];
        if (p->left == NONE || p->count < 2 || p->refused || (best && p->count < best->count))
            continue;
        if (!best || p->count > best->count || p->left < best->left ||
            (p->left == best->left && p->right < best->right))
            best = p;
    }
    return best;
}

/* Joins the pair wherever it stands in one word, and corrects the counts of the pairs around. */
static void merge_in_word(struct learner *l, uint32_t word, uint32_t left, uint32_t right, uint32_t to)
{
    uint32_t *t = l->tokens + l->begin[word], n = l->len[word], out = 0;
    int64_t times = count_of(l, word);
    for (uint32_t i = 0; i < n; out++) {
        if (i + 1 >= n || t[i] != left || t[i + 1] != right) {
            t[out] = t[i++];
            continue;
        }
        pair_count(l, left, right, word, -times);
        if (out > 0) {
            pair_count(l, t[out - 1], left, word, -times);
            pair_count(l, t[out - 1], to, word, times);
        }
        if (i + 2 < n) {
            pair_count(l, right, t[i + 2], word, -times);
            pair_count(l, to, t[i + 2], word, times);
        }
        t[out] = to;
        i += 2;
    }
    l->len[word] = out;
}

static bool is_special_name(const char *s, size_t len, const char *const *specials, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(specials[i]) == len && memcmp(specials[i], s, len) == 0)
            return true;
    return false;
}

struct merge {
    uint32_t left, right;
};

/* One merge: false when no pair is left. `n`: its number, from 1. */
static bool learn_one(struct learner *l, const char *const *specials, size_t n_specials, uint32_t n, struct merge *ret)
{
    struct buf name = {0};
    struct pair *p;
    while ((p = best_pair(l)) && !l->rc) {
        name.len = 0;
        l->rc = buf_append(&name, strtab_text(&l->names, p->left), l->names.strs[p->left].len);
        if (!l->rc)
            l->rc = buf_append(&name, strtab_text(&l->names, p->right), l->names.strs[p->right].len);
        p->refused = is_special_name((const char *)name.data, name.len, specials, n_specials);
        if (!p->refused)
            break;
    }
    uint32_t to = 0, at = p ? p->seen : NONE;
    if (p && !l->rc)
        l->rc = strtab_intern(&l->names, (const char *)name.data, name.len, &to);
    buf_done(&name);
    if (!p || l->rc)
        return false;
    *ret = (struct merge){p->left, p->right};
    p->seen = NONE;
    for (; at != NONE && !l->rc; at = l->seen[at].next) {
        uint32_t word = l->seen[at].word;
        if (l->stamp[word] != n) {
            l->stamp[word] = n;
            merge_in_word(l, word, ret->left, ret->right, to);
        }
    }
    return !l->rc;
}

/* ---- the result -------------------------------------------------------------------------------------------------- */

static int put_name(struct buf *b, const struct strtab *names, uint32_t id)
{
    int rc = 0;
    const char *s = strtab_text(names, id);
    for (uint32_t i = 0; i < names->strs[id].len && !rc; i++) {
        char c[4];
        rc = buf_append(b, c, utf8_put(c, byte_char_of((uint8_t)s[i])));
    }
    return rc;
}

/* Strings are written into v->text first; pointers are set when it no longer moves. */
static int write_vocab(struct bpe_vocab *v, const struct learner *l, const struct merge *merges, uint32_t n_merges,
    const char *const *specials, size_t n_specials)
{
    uint32_t n = l->names.n + (uint32_t)n_specials, n_all = n + n_merges;
    size_t *ends = malloc((n_all + 1) * sizeof(*ends));
    v->tokens = malloc(n * sizeof(*v->tokens));
    v->types = malloc(n * sizeof(*v->types));
    v->merges = malloc((n_merges + 1) * sizeof(*v->merges));
    int rc = ends && v->tokens && v->types && v->merges ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < n_all && !rc; i++) {
        if (i < l->names.n) {
            rc = put_name(&v->text, &l->names, i);
        } else if (i < n) {
            rc = buf_append_str(&v->text, specials[i - l->names.n]);
        } else {
            rc = put_name(&v->text, &l->names, merges[i - n].left);
            if (!rc)
                rc = buf_append(&v->text, " ", 1);
            if (!rc)
                rc = put_name(&v->text, &l->names, merges[i - n].right);
        }
        ends[i] = v->text.len;
    }
    for (uint32_t i = 0; i < n_all && !rc; i++) {
        size_t begin = i ? ends[i - 1] : 0;
        struct gguf_str s = {(const char *)v->text.data + begin, ends[i] - begin};
        *(i < n ? &v->tokens[i] : &v->merges[i - n]) = s;
        if (i < n)
            v->types[i] = i < l->names.n ? 1 : 3;
    }
    free(ends);
    v->n_tokens = n;
    v->n_merges = n_merges;
    v->first_special = l->names.n;
    return rc;
}

int bpe_train_run(struct bpe_train *b, uint32_t n_tokens, const char *const *specials, size_t n_specials,
    struct bpe_vocab *ret, struct error *err)
{
    if (n_tokens > BPE_TRAIN_MOST || n_specials > 1024 || n_tokens < 256 + n_specials)
        return error_set(err, EINVAL, "a vocabulary has %zu (256 bytes and %zu special tokens) to %d entries, not %u",
            256 + n_specials, n_specials, BPE_TRAIN_MOST, n_tokens);
    struct learner l = {.b = b};
    struct bpe_vocab v = {0};
    struct buf merges = {0};
    struct merge m;
    uint32_t n = 0;
    l.rc = learner_init(&l);
    while (!l.rc && l.names.n + n_specials < n_tokens && learn_one(&l, specials, n_specials, ++n, &m))
        l.rc = buf_append(&merges, &m, sizeof(m));
    if (!l.rc)
        l.rc = write_vocab(
            &v, &l, (const struct merge *)merges.data, (uint32_t)(merges.len / sizeof(m)), specials, n_specials);
    buf_done(&merges);
    int rc = l.rc;
    learner_done(&l);
    if (rc) {
        bpe_vocab_done(&v);
        return error_set(err, -rc, "no memory to learn a vocabulary");
    }
    *ret = v;
    return 0;
}

void bpe_vocab_done(struct bpe_vocab *v)
{
    free(v->tokens);
    free(v->types);
    free(v->merges);
    buf_done(&v->text);
    *v = (struct bpe_vocab){0};
}

void bpe_vocab_for_init(const struct bpe_vocab *v, struct model_init_vocab *ret)
{
    *ret = (struct model_init_vocab){
        .tokens = v->tokens,
        .merges = v->merges,
        .types = v->types,
        .n_tokens = v->n_tokens,
        .n_merges = v->n_merges,
        .pre = BPE_TRAIN_PRE,
        .bos = -1,
        .eos = v->n_tokens > v->first_special ? (int32_t)v->n_tokens - 1 : -1,
        .chat_template =
            "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
            "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' "
            "}}{% endif %}",
    };
    for (uint32_t i = v->first_special; i < v->n_tokens; i++)
        if (v->tokens[i].len == 10 && memcmp(v->tokens[i].s, "<|im_end|>", 10) == 0)
            ret->eos = (int32_t)i;
}
