#include "base/test.h"
#include "model/bpe_train.h"
#include "model/test_vocab.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <stdio.h>

static struct tokenizer *open_learnt(const struct bpe_vocab *v)
{
    struct vocab_file f = {0};
    struct model_init_vocab init;
    struct error err = {""};
    bpe_vocab_for_init(v, &init);
    vocab_str(&f, "tokenizer.ggml.model", "gpt2");
    vocab_str(&f, "tokenizer.ggml.pre", init.pre);
    vocab_strs(&f, "tokenizer.ggml.tokens", init.tokens, init.n_tokens);
    vocab_array(&f, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, init.types, 4, init.n_tokens);
    vocab_strs(&f, "tokenizer.ggml.merges", init.merges, init.n_merges);
    vocab_u32(&f, "tokenizer.ggml.eos_token_id", (uint32_t)init.eos);
    vocab_str(&f, "tokenizer.chat_template", init.chat_template);
    struct tokenizer *t = vocab_open(&f, &err);
    assert_string_equal(err.text, "");
    vocab_done(&f);
    return t;
}

static void learn(struct bpe_vocab *ret, uint32_t n, const char *const *texts)
{
    struct bpe_train *b = NULL;
    struct error err = {""};
    assert_int_equal(bpe_train_create(&b, &err), 0);
    for (; *texts; texts++)
        assert_int_equal(bpe_train_add(b, *texts, strlen(*texts)), 0);
    assert_int_equal(bpe_train_run(b, n, BPE_TRAIN_SPECIALS, 3, ret, &err), 0);
    bpe_train_free(b);
}

static void expect_merge(const struct bpe_vocab *v, uint32_t i, const char *want)
{
    assert_true(i < v->n_merges);
    assert_int_equal(v->merges[i].len, strlen(want));
    assert_memory_equal(v->merges[i].s, want, strlen(want));
}

/* Worked out by hand: "low" 5, "lower" 2, "newest" 6, "widest" 3. */
static void the_most_frequent_pair_goes_first(void **state)
{
    static const char *const texts[] = {"low", "low", "low", "low", "low", "lower", "lower", "newest", "newest",
        "newest", "newest", "newest", "newest", "widest", "widest", "widest", NULL};
    struct bpe_vocab v = {0};
    learn(&v, 265, texts);
    assert_int_equal(v.n_tokens, 265);
    assert_int_equal(v.n_merges, 6);
    expect_merge(&v, 0, "e s"); /* 9, as "s t": the smaller left goes first */
    expect_merge(&v, 1, "es t");
    expect_merge(&v, 2, "l o"); /* 7 */
    expect_merge(&v, 3, "lo w");
    expect_merge(&v, 4, "e w"); /* 6, as "n e" and "w est" */
    expect_merge(&v, 5, "n ew");
    assert_int_equal(v.first_special, 262);
    assert_int_equal(v.types[262], 3);
    bpe_vocab_done(&v);
}

/* Runs of one letter: the counts stay right where places overlap. */
static void overlapping_places_count_right(void **state)
{
    static const char *const texts[] = {"aaaaa", "aaaaa", "aaa", NULL};
    struct bpe_vocab v = {0};
    learn(&v, 300, texts);
    expect_merge(&v, 0, "a a");
    expect_merge(&v, 1, "aa a"); /* aa aa a, aa aa a, aa a: "aa a" 3, "aa aa" 2 */
    expect_merge(&v, 2, "aa aaa");
    assert_int_equal(v.n_merges, 3);
    struct tokenizer *t = open_learnt(&v);
    struct buf ids = {0};
    assert_int_equal(tokenizer_encode(t, "aaaaa", 5, false, false, &ids), 0);
    assert_int_equal(ids.len / 4, 1);
    buf_done(&ids);
    tokenizer_free(t);
    bpe_vocab_done(&v);
}

static void special_names_and_rare_pairs_are_not_learnt(void **state)
{
    static const char *const special[] = {"ab"};
    struct bpe_train *b = NULL;
    struct bpe_vocab v = {0};
    struct error err = {""};
    assert_int_equal(bpe_train_create(&b, &err), 0);
    assert_int_equal(bpe_train_add(b, "ab ab cd", 8), 0);
    assert_int_equal(bpe_train_run(b, 1000, special, 1, &v, &err), 0);
    for (uint32_t i = 0; i < v.first_special; i++)
        assert_false(v.tokens[i].len == 2 && memcmp(v.tokens[i].s, "ab", 2) == 0);
    bpe_vocab_done(&v);
    assert_int_equal(bpe_train_run(b, 256, special, 1, &v, &err), -EINVAL);
    assert_int_equal(bpe_train_run(b, 1u << 30, special, 1, &v, &err), -EINVAL);
    bpe_train_free(b);
    assert_int_equal(bpe_train_create(&b, &err), 0); /* nothing to learn from: the bytes */
    assert_int_equal(bpe_train_run(b, 1000, special, 1, &v, &err), 0);
    assert_int_equal(v.n_tokens, 257);
    bpe_vocab_done(&v);
    bpe_train_free(b);
}

/* A bilingual text made of a few hundred words of two scripts. */
static void make_text(struct buf *text, size_t len)
{
    static const char *const latin[] = {"ra", "to", "mi", "ne", "ck", "pain", "head", "ing", "ti", "on"};
    static const char *const han[] = {"头", "痛", "医", "院", "病", "人", "心", "电", "图", "药"};
    for (uint64_t i = 0; text->len < len; i++) {
        uint32_t word = rng_below(7, i, 400);
        bool chinese = rng_below(8, i, 2);
        for (uint32_t k = 0; k < 1 + word % 4; k++)
            buf_append_str(text, (chinese ? han : latin)[rng_below(9, word * 8 + k, 10)]);
        buf_append_str(text, rng_below(10, i, 12) == 0 ? (chinese ? "。" : ".\n") : chinese ? "," : " ");
    }
    buf_str(text);
}

static void learnt_vocabularies_encode_and_decode(void **state)
{
    struct buf text = {0}, ids = {0}, back = {0};
    make_text(&text, 3 << 20);
    struct bpe_train *b = NULL;
    struct bpe_vocab v = {0}, again = {0};
    struct error err = {""};
    int64_t begin = clock_now_ns();
    assert_int_equal(bpe_train_create(&b, &err), 0);
    assert_int_equal(bpe_train_add(b, (const char *)text.data, text.len), 0);
    assert_int_equal(bpe_train_run(b, 2048, BPE_TRAIN_SPECIALS, 3, &v, &err), 0);
    printf("%zu bytes, %u tokens, %u merges: %.2f s\n", text.len, v.n_tokens, v.n_merges,
        (double)(clock_now_ns() - begin) * 1e-9);
    assert_int_equal(bpe_train_run(b, 2048, BPE_TRAIN_SPECIALS, 3, &again, &err), 0);
    assert_int_equal(again.text.len, v.text.len);
    assert_memory_equal(again.text.data, v.text.data, v.text.len);

    struct tokenizer *t = open_learnt(&v);
    assert_int_equal(tokenizer_n_vocab(t), v.n_tokens);
    assert_int_equal(tokenizer_encode(t, (const char *)text.data, 100000, false, true, &ids), 0);
    assert_true(ids.len / 4 < 100000 / 3); /* bytes a token */
    assert_int_equal(tokenizer_decode_all(t, (const int32_t *)ids.data, ids.len / 4, false, &back), 0);
    assert_int_equal(back.len, 100000);
    assert_memory_equal(back.data, text.data, 100000);
    assert_int_equal(tokenizer_eos(t), tokenizer_find(t, "<|im_end|>", 10));
    assert_true(tokenizer_is_end(t, tokenizer_find(t, "<|endoftext|>", 13)));
    assert_int_equal(tokenizer_bos(t), -1);
    tokenizer_free(t);
    bpe_train_free(b);
    bpe_vocab_done(&v);
    bpe_vocab_done(&again);
    buf_done(&text);
    buf_done(&ids);
    buf_done(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_frequent_pair_goes_first),
        cmocka_unit_test(overlapping_places_count_right),
        cmocka_unit_test(special_names_and_rare_pairs_are_not_learnt),
        cmocka_unit_test(learnt_vocabularies_encode_and_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
