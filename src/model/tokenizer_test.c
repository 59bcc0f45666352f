/* Vocabularies small enough to work out by hand, and files that lie. */
#include "base/test.h"
#include "model/test_vocab.h"

#include <errno.h>
#include <stdio.h>

static const char *const no_strings[] = {NULL};

static void expect_ids(const struct tokenizer *t, const char *text, unsigned flags, const int32_t *want, size_t n)
{
    struct buf ids = {0};
    assert_int_equal(tokenizer_encode_as(t, text, strlen(text), flags, &ids), 0);
    bool same = ids.len == n * 4 && (n == 0 || memcmp(ids.data, want, n * 4) == 0);
    if (!same)
        for (size_t i = 0; i < ids.len / 4; i++)
            printf(" %d", ((const int32_t *)ids.data)[i]);
    assert_true(same);
    buf_done(&ids);
}
#define EXPECT(T, TEXT, FLAGS, ...)                                                                                    \
    expect_ids(T, TEXT, FLAGS, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4)

static void expect_text(const struct tokenizer *t, const char *text, unsigned flags)
{
    struct buf ids = {0}, back = {0};
    assert_int_equal(tokenizer_encode_as(t, text, strlen(text), flags, &ids), 0);
    assert_int_equal(tokenizer_decode_all(t, (const int32_t *)ids.data, ids.len / 4, true, &back), 0);
    assert_string_equal(buf_str(&back), text);
    buf_done(&ids);
    buf_done(&back);
}

static void merges_go_by_rank_then_from_the_left(void **state)
{
    static const char *const texts[] = {"ab", "bc", "aa", "abc", "Ġa", NULL};
    static const char *const merges[] = {"b c", "a b", "a a", "a bc", "Ġ a", "x y", NULL};
    struct vocab_file v = {0};
    struct error err = {""};
    vocab_bytes(&v, "gpt-2", texts, no_strings, merges);
    struct tokenizer *t = vocab_open(&v, &err);
    assert_non_null(t);
    EXPECT(t, "abc", 0, 259);         /* b c first, then a bc */
    EXPECT(t, "aaa", 0, 258, 'a');    /* the left pair */
    EXPECT(t, "ab a", 0, 256, 260);   /* a space is Ġ */
    EXPECT(t, "xy", 0, 'x', 'y');     /* the merge builds what is no token: bytes */
    EXPECT(t, "a\xff", 0, 'a', 0xff); /* not UTF-8: its byte */
    expect_text(t, "aab\xc3\xa9\n\n  c", 0);
    assert_int_equal(tokenizer_decode(t, 100000, false, &(struct buf){0}), -ERANGE);
    tokenizer_free(t);
    vocab_done(&v);
}

/* The long path (a heap) gives what the short one gives. */
static void long_words_merge_like_short_ones(void **state)
{
    static const char *const texts[] = {"aa", "aaaa", "ab", NULL};
    static const char *const merges[] = {"a a", "aa aa", "a b", NULL};
    struct vocab_file v = {0};
    vocab_bytes(&v, "gpt-2", texts, no_strings, merges);
    struct tokenizer *t = vocab_open(&v, NULL);
    struct buf text = {0}, ids = {0};
    for (int i = 0; i < 4001; i++)
        buf_append_str(&text, "a");
    buf_append_str(&text, "b");
    assert_int_equal(tokenizer_encode(t, (const char *)text.data, text.len, false, false, &ids), 0);
    assert_int_equal(ids.len / 4, 1001); /* 1000 of aaaa, and the odd a goes to the b */
    assert_int_equal(((int32_t *)ids.data)[0], 257);
    assert_int_equal(((int32_t *)ids.data)[999], 257);
    assert_int_equal(((int32_t *)ids.data)[1000], 258);
    buf_done(&text);
    buf_done(&ids);
    tokenizer_free(t);
    vocab_done(&v);
}

static void control_tokens_only_where_asked(void **state)
{
    static const char *const controls[] = {"<|end|>", "<|end|>x", "<s>", NULL};
    struct vocab_file v = {0};
    vocab_bytes(&v, "qwen2", NULL, controls, no_strings);
    vocab_u32(&v, "tokenizer.ggml.bos_token_id", 258);
    vocab_u32(&v, "tokenizer.ggml.eos_token_id", 256);
    vocab_bool(&v, "tokenizer.ggml.add_bos_token", true);
    vocab_bool(&v, "tokenizer.ggml.add_eos_token", true);
    struct tokenizer *t = vocab_open(&v, NULL);
    EXPECT(t, "<s>", 0, '<', 's', '>');
    EXPECT(t, "a<s>b", TOKENIZER_SPECIAL, 'a', 258, 'b');
    EXPECT(t, "<|end|>x", TOKENIZER_SPECIAL, 257); /* the longer entry */
    EXPECT(t, "a", TOKENIZER_BOS, 258, 'a', 256);
    EXPECT(t, "", TOKENIZER_BOS, 258, 256);
    assert_true(tokenizer_is_end(t, 256));
    assert_false(tokenizer_is_end(t, 258));
    struct buf out = {0};
    assert_int_equal(tokenizer_decode(t, 258, false, &out), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(tokenizer_decode(t, 258, true, &out), 0);
    assert_string_equal(buf_str(&out), "<s>");
    buf_done(&out);
    tokenizer_free(t);
    vocab_done(&v);
}

static void spm_vocab(struct vocab_file *v, const char *name)
{
    static const struct {
        const char *text;
        float score;
        int32_t type;
    } tokens[] = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}, {"▁", -1, 1}, {"a", -1, 1}, {"b", -1, 1},
        {"▁a", -3, 1}, {"ab", -2, 1}, {"▁ab", -4, 1}, {"▁▁", -5, 1}, {"<|user|>", 0, 4}, {"<0x0A>", 0, 6},
        {"<0xE2>", 0, 6}, {"<0x96>", 0, 6}, {"<0x81>", 0, 6}};
    const size_t n = sizeof(tokens) / sizeof(tokens[0]);
    struct gguf_str s[sizeof(tokens) / sizeof(tokens[0])];
    float scores[sizeof(tokens) / sizeof(tokens[0])];
    int32_t types[sizeof(tokens) / sizeof(tokens[0])];
    for (size_t i = 0; i < n; i++) {
        s[i] = (struct gguf_str){tokens[i].text, strlen(tokens[i].text)};
        scores[i] = tokens[i].score;
        types[i] = tokens[i].type;
    }
    vocab_str(v, "general.name", name);
    vocab_str(v, "tokenizer.ggml.model", "llama");
    vocab_strs(v, "tokenizer.ggml.tokens", s, n);
    vocab_array(v, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, 4, n);
    vocab_array(v, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, 4, n);
}

static void spm_merges_by_score(void **state)
{
    struct vocab_file v = {0};
    spm_vocab(&v, "tiny");
    struct tokenizer *t = vocab_open(&v, NULL);
    assert_non_null(t);
    EXPECT(t, "ab", 0, 8); /* a b is the better pair, then ▁ ab */
    EXPECT(t, "ab", TOKENIZER_CONTINUE, 7);
    EXPECT(t, " ab", 0, 3, 8); /* words merge alone: ▁▁ is worse than ▁ab */
    EXPECT(t, "a\n", TOKENIZER_BOS, 1, 6, 11);
    EXPECT(t, "zz", TOKENIZER_CONTINUE, 0);             /* no byte token: unknown, once */
    EXPECT(t, "a▁", TOKENIZER_CONTINUE, 4, 12, 13, 14); /* a real U+2581 stays one */
    EXPECT(t, "a<s>b", TOKENIZER_SPECIAL, 6, 1, 3, 5);  /* after a marker the space comes again */
    expect_text(t, "a<s>b", TOKENIZER_SPECIAL);
    expect_text(t, "  a  b\n", 0);
    EXPECT(t, "a<|user|> b", 0, 6, 10, 9, 5);
    EXPECT(t, "<|user|>", TOKENIZER_CONTENT, 3, 0); /* what a person wrote is no marker */
    tokenizer_free(t);
    vocab_done(&v);
}

static void phi3_markers_swallow_space(void **state)
{
    struct vocab_file v = {0};
    spm_vocab(&v, "Phi-3-mini");
    struct tokenizer *t = vocab_open(&v, NULL);
    EXPECT(t, "<|user|>  \n a", 0, 10, 6);
    EXPECT(t, "<s> a", TOKENIZER_SPECIAL, 1, 3, 6);
    tokenizer_free(t);
    vocab_done(&v);
}

static void refused(struct vocab_file *v, const char *part)
{
    struct error err = {""};
    struct tokenizer *t = vocab_open(v, &err);
    assert_null(t);
    if (!strstr(err.text, part))
        printf("'%s' does not say '%s'\n", err.text, part);
    assert_non_null(strstr(err.text, part));
    vocab_done(v);
}

static void files_that_lie_are_refused(void **state)
{
    static const struct gguf_str two[] = {{"a", 1}, {"b", 1}};
    static const int32_t one_type[] = {1};
    struct vocab_file v = {0};
    refused(&v, "carries no vocabulary");
    vocab_str(&v, "tokenizer.ggml.model", "bert");
    refused(&v, "'bert'");
    vocab_str(&v, "tokenizer.ggml.model", "gpt2");
    refused(&v, "tokens is missing");
    vocab_str(&v, "tokenizer.ggml.model", "gpt2");
    vocab_u32(&v, "tokenizer.ggml.tokens", 3);
    refused(&v, "tokens is missing or not a list");
    vocab_str(&v, "tokenizer.ggml.model", "gpt2");
    vocab_strs(&v, "tokenizer.ggml.tokens", two, 2);
    refused(&v, "merges");
    vocab_bytes(&v, "no-such-pre", NULL, NULL, NULL);
    refused(&v, "'no-such-pre'");
    vocab_str(&v, "tokenizer.ggml.model", "llama");
    vocab_strs(&v, "tokenizer.ggml.tokens", two, 2);
    vocab_array(&v, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, one_type, 4, 1);
    refused(&v, "1 entries for 2 tokens");
}

/* Duplicates, merges of nothing, ids out of range: the rest works. */
static void odd_files_still_work(void **state)
{
    static const char *const texts[] = {"a", "ab", "", "ab", NULL};
    static const char *const merges[] = {"a b", "a b", "q", " ", "", "zz yy", "a  b", NULL};
    struct vocab_file v = {0};
    vocab_bytes(&v, "gpt-2", texts, NULL, merges);
    vocab_u32(&v, "tokenizer.ggml.bos_token_id", 4000000000u);
    vocab_bool(&v, "tokenizer.ggml.add_bos_token", true);
    struct tokenizer *t = vocab_open(&v, NULL);
    assert_non_null(t);
    EXPECT(t, "ab", TOKENIZER_BOS, 257);
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_find(t, "", 0), -1);
    tokenizer_free(t);
    vocab_done(&v);
}

/* One text through each pre-tokenizer, so that every pattern compiles and none loses a byte. */
static void every_pre_tokenizer_keeps_the_text(void **state)
{
    static const char *const pres[] = {"default", "gpt-2", "starcoder", "llama-bpe", "qwen2", "qwen35", "ufakzeka",
        "minicpm5", "laguna", "seed-coder", "bailingmoe", "exaone-moe", "jais-2", "deepseek-llm", "deepseek-coder",
        "deepseek-v3", "falcon", "bloom", "viking", "tekken", "gpt-4o", "chameleon", "smaug-bpe", "youtu", NULL};
    for (const char *const *pre = pres; *pre; pre++) {
        struct vocab_file v = {0};
        struct error err = {""};
        vocab_bytes(&v, *pre, NULL, NULL, NULL);
        struct tokenizer *t = vocab_open(&v, &err);
        assert_string_equal(err.text, "");
        expect_text(t, "I'LL  pay 12345 €\t\n\n 中文, ｆｕｌｌ!! don't—\xff\xc3 ñandú \xe2\x80\xa8 x", 0);
        tokenizer_free(t);
        vocab_done(&v);
    }
}

/* Words as each pre-tokenizer cuts them: a merge of two neighbours works only within a word. */
static void pre_tokenizers_cut_where_they_should(void **state)
{
    static const char *const texts[] = {"12", "!!", "a1", ".a", NULL};
    static const char *const merges[] = {"1 2", "! !", "a 1", ". a", NULL};
    static const struct {
        const char *pre;
        bool digits, marks, mixed, dot;
    } want[] = {{"gpt-2", true, true, false, false}, {"qwen2", false, true, false, true},
        {"llama-bpe", true, true, false, true}, {"starcoder", false, true, false, false},
        {"deepseek-coder", false, true, false, false}, {"bloom", true, true, true, false}};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        struct vocab_file v = {0};
        vocab_bytes(&v, want[i].pre, texts, NULL, merges);
        struct tokenizer *t = vocab_open(&v, NULL);
        struct buf ids = {0};
        const char *const cases[] = {"12", "!!", "a1", ".a"};
        const bool joined[] = {want[i].digits, want[i].marks, want[i].mixed, want[i].dot};
        for (size_t k = 0; k < 4; k++) {
            ids.len = 0;
            assert_int_equal(tokenizer_encode(t, cases[k], 2, false, false, &ids), 0);
            if (ids.len / 4 != (joined[k] ? 1 : 2))
                printf("%s: '%s' gives %zu tokens\n", want[i].pre, cases[k], ids.len / 4);
            assert_int_equal(ids.len / 4, joined[k] ? 1 : 2);
        }
        buf_done(&ids);
        tokenizer_free(t);
        vocab_done(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_go_by_rank_then_from_the_left),
        cmocka_unit_test(long_words_merge_like_short_ones),
        cmocka_unit_test(control_tokens_only_where_asked),
        cmocka_unit_test(spm_merges_by_score),
        cmocka_unit_test(phi3_markers_swallow_space),
        cmocka_unit_test(files_that_lie_are_refused),
        cmocka_unit_test(odd_files_still_work),
        cmocka_unit_test(every_pre_tokenizer_keeps_the_text),
        cmocka_unit_test(pre_tokenizers_cut_where_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
