/* The pre-tokenizers that tokenizer.ggml.pre can name, as data.
 *
 * Each is what that model's own tokenizer does before merging: a list of patterns, each cutting the pieces that the
 * one before left. The names are those of llama.cpp's converter, which writes them into the files. Where llama.cpp
 * approximates a pattern because std::regex lacks Unicode classes, the model's own pattern stands here. */
#include "model/tokenizer_inner.h"

#include <string.h>

/* White space is the Unicode property: PCRE2's \s has U+180E as well, which no tokenizer takes for a space. */
#define S      "\\p{White_Space}"
#define NOT_S  "\\P{White_Space}"
#define SPACES S "+(?!" NOT_S ")|" S "+"
#define LINES  S "*[\\r\\n]+"

#define SUFFIX_LOWER "'s|'t|'re|'ve|'m|'ll|'d"
#define SUFFIX       "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define WORD         "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define OTHER        " ?[^" S "\\p{L}\\p{N}]+"

#define GPT2     SUFFIX_LOWER "| ?\\p{L}+| ?\\p{N}+|" OTHER "|" SPACES
#define LLAMA3   SUFFIX "|" WORD "|\\p{N}{1,3}|" OTHER "[\\r\\n]*|" LINES "|" SPACES
#define QWEN2    SUFFIX "|" WORD "|\\p{N}|" OTHER "[\\r\\n]*|" LINES "|" SPACES
#define UFAKZEKA WORD "|\\p{N}|" OTHER "[\\r\\n]*|" LINES "|" SPACES
#define MINICPM5 SUFFIX "|" WORD "|\\p{N}+|" OTHER "[\\r\\n]*|" LINES "|" SPACES
#define QWEN35                                                                                                         \
    SUFFIX "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" S "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES "|" SPACES
#define SEED_CODER SUFFIX "|" WORD "|\\p{N}| ?[^" S "\\p{L}\\p{N}\\r\\n]+|" LINES "|" SPACES
#define BAILINGMOE                                                                                                     \
    "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" WORD "|\\p{N}|" OTHER "[\\r\\n]*|" S "*[\\r\\n]|" SPACES
#define EXAONE_MOE                                                                                                     \
    SUFFIX "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*+(?: \\p{L}\\p{M}*+)*+)++|\\p{N}|" OTHER "[\\r\\n/]?|" S            \
           "*[\\r\\n]|" SPACES
#define JAIS2                                                                                                          \
    SUFFIX "|" WORD "|\\p{N}{1,3}|" OTHER "[\\r\\n]*|" LINES "|" S "{512}(?!" NOT_S ")|" S "{256}(?!" NOT_S ")|" S     \
           "{128}(?!" NOT_S ")|" S "{64}(?!" NOT_S ")|" S "{32}(?!" NOT_S ")|" S "{16}(?!" NOT_S ")|" S "{8}(?!" NOT_S \
           ")|" S "{4}(?!" NOT_S ")|" S "{1,2}(?!" NOT_S ")|" S

/* Words that know upper from lower case. */
#define UPPER       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(TAIL) "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" TAIL "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" TAIL
#define GPT4O       CASED(SUFFIX "?") "|\\p{N}{1,3}|" OTHER "[\\r\\n/]*|" LINES "|" SPACES
#define TEKKEN      CASED("") "|\\p{N}|" OTHER "[\\r\\n/]*|" LINES "|" SPACES
#define YOUTU       CASED(SUFFIX "?") "|\\p{N}|" OTHER "[\\r\\n/]*|" LINES "|" SPACES

#define ASCII_PUNCT "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define DEEPSEEK3                                                                                                      \
    ASCII_PUNCT "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES "|" SPACES
#define CJK_KANA "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define CJK_WIDE "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"

/* DeepSeek LLM's letters: the cased ones of an older Unicode, listed in its tokenizer range by range. */
#define DEEPSEEK_LETTERS                                                                                               \
    "[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}"                   \
    "\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}"     \
    "\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"         \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}"                  \
    "\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}"                  \
    "\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}"          \
    "\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"         \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}"          \
    "\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}"                    \
    "\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"          \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"                   \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"                  \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}"            \
    "\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]"
#define DEEPSEEK_PUNCT "[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]"

#define BLOOM " ?[^(" S "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"

#define YOUTU_CJK                                                                                                      \
    "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|"                                                                       \
    "[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}"                      \
    "\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|" CJK_KANA

enum {
    PRE_DEFAULT,
    PRE_GPT2,
    PRE_DIGIT_GPT2,
    PRE_LLAMA3,
    PRE_SMAUG,
    PRE_QWEN2,
    PRE_QWEN35,
    PRE_UFAKZEKA,
    PRE_MINICPM5,
    PRE_LAGUNA,
    PRE_SEED_CODER,
    PRE_BAILINGMOE,
    PRE_EXAONE_MOE,
    PRE_JAIS2,
    PRE_DEEPSEEK_LLM,
    PRE_DEEPSEEK_CODER,
    PRE_DEEPSEEK3,
    PRE_FALCON,
    PRE_BLOOM,
    PRE_VIKING,
    PRE_TEKKEN,
    PRE_GPT4O,
    PRE_CHAMELEON,
    PRE_YOUTU,
    N_PRE,
};

static const struct pre_rule rules[N_PRE] = {
    [PRE_DEFAULT] = {{"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    [PRE_GPT2] = {{GPT2}},
    [PRE_DIGIT_GPT2] = {{"\\p{N}", GPT2}},
    [PRE_LLAMA3] = {{LLAMA3}, .ignore_merges = true, .add_bos = true},
    [PRE_SMAUG] = {{LLAMA3}},
    [PRE_QWEN2] = {{QWEN2}},
    [PRE_QWEN35] = {{QWEN35}},
    [PRE_UFAKZEKA] = {{UFAKZEKA}},
    [PRE_MINICPM5] = {{"\\p{N}{1,3}", MINICPM5}, .ignore_merges = true},
    [PRE_LAGUNA] = {{"[^\\n]+|\\n+", QWEN2}},
    [PRE_SEED_CODER] = {{SEED_CODER}},
    [PRE_BAILINGMOE] = {{BAILINGMOE}},
    [PRE_EXAONE_MOE] = {{EXAONE_MOE}},
    [PRE_JAIS2] = {{JAIS2}},
    /* "\s+$" as "not after a space": the same matches, and a long run of spaces is read once, not once per space. */
    [PRE_DEEPSEEK_LLM] = {{"[\\r\\n]", S "?" DEEPSEEK_LETTERS "+", S "?" DEEPSEEK_PUNCT "+", "(?<!" S ")" S "++\\z",
        CJK_WIDE, "\\p{N}+"}},
    [PRE_DEEPSEEK_CODER] = {{"[\\r\\n]", S "?\\p{L}+", S "?\\p{P}+", CJK_WIDE, "\\p{N}"}},
    [PRE_DEEPSEEK3] = {{"\\p{N}{1,3}", CJK_KANA, DEEPSEEK3}},
    [PRE_FALCON] = {{"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    [PRE_BLOOM] = {{BLOOM}},
    [PRE_VIKING] = {{BLOOM, "\\p{N}"}},
    [PRE_TEKKEN] = {{TEKKEN}, .ignore_merges = true, .add_bos = true},
    [PRE_GPT4O] = {{GPT4O}},
    [PRE_CHAMELEON] = {{"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}",
                           "[\\p{P}!-/:-@\\[-`{-~]", GPT2},
        .add_bos = true},
    [PRE_YOUTU] = {{YOUTU_CJK, YOUTU}, .ignore_merges = true},
};

static const struct {
    const char *name;
    int rule;
} names[] = {
    {"default", PRE_DEFAULT},
    {"gpt-2", PRE_GPT2},
    {"phi-2", PRE_GPT2},
    {"mpt", PRE_GPT2},
    {"olmo", PRE_GPT2},
    {"jais", PRE_GPT2},
    {"trillion", PRE_GPT2},
    {"granite-docling", PRE_GPT2},
    {"gigachat", PRE_GPT2},
    {"a.x-4.0", PRE_GPT2},
    {"mellum", PRE_GPT2},
    {"exaone4", PRE_GPT2},
    {"modern-bert", PRE_GPT2},
    {"jina-es", PRE_GPT2},
    {"jina-de", PRE_GPT2},
    {"jina-v2-es", PRE_GPT2},
    {"jina-v2-de", PRE_GPT2},
    {"jina-v1-en", PRE_GPT2},
    {"jina-v2-code", PRE_GPT2},
    {"roberta-bpe", PRE_GPT2},
    {"starcoder", PRE_DIGIT_GPT2},
    {"refact", PRE_DIGIT_GPT2},
    {"command-r", PRE_DIGIT_GPT2},
    {"smollm", PRE_DIGIT_GPT2},
    {"codeshell", PRE_DIGIT_GPT2},
    {"exaone", PRE_DIGIT_GPT2},
    {"minerva-7b", PRE_DIGIT_GPT2},
    {"mellum2", PRE_DIGIT_GPT2},
    {"llama3", PRE_LLAMA3},
    {"llama-v3", PRE_LLAMA3},
    {"llama-bpe", PRE_LLAMA3},
    {"falcon3", PRE_LLAMA3},
    {"falcon-h1", PRE_LLAMA3},
    {"pixtral", PRE_LLAMA3},
    {"midm-2.0", PRE_LLAMA3},
    {"lfm2", PRE_LLAMA3},
    {"jina-v5-nano", PRE_LLAMA3},
    {"dbrx", PRE_SMAUG},
    {"smaug-bpe", PRE_SMAUG},
    {"chatglm-bpe", PRE_SMAUG},
    {"glm4", PRE_SMAUG},
    {"qwen2", PRE_QWEN2},
    {"deepseek-r1-qwen", PRE_QWEN2},
    {"kormo", PRE_QWEN2},
    {"f2llmv2", PRE_QWEN2},
    {"megrez", PRE_QWEN2},
    {"stablelm2", PRE_QWEN2},
    {"hunyuan", PRE_QWEN2},
    {"solar-open", PRE_QWEN2},
    {"grok-2", PRE_QWEN2},
    {"qwen35", PRE_QWEN35},
    {"ufakzeka", PRE_UFAKZEKA},
    {"minicpm5", PRE_MINICPM5},
    {"laguna", PRE_LAGUNA},
    {"seed-coder", PRE_SEED_CODER},
    {"bailingmoe", PRE_BAILINGMOE},
    {"bailingmoe2", PRE_BAILINGMOE},
    {"llada-moe", PRE_BAILINGMOE},
    {"exaone-moe", PRE_EXAONE_MOE},
    {"jais-2", PRE_JAIS2},
    {"deepseek-llm", PRE_DEEPSEEK_LLM},
    {"deepseek-coder", PRE_DEEPSEEK_CODER},
    {"deepseek-v3", PRE_DEEPSEEK3},
    {"hunyuan-dense", PRE_DEEPSEEK3},
    {"joyai-llm", PRE_DEEPSEEK3},
    {"falcon", PRE_FALCON},
    {"bloom", PRE_BLOOM},
    {"poro-chat", PRE_BLOOM},
    {"gpt3-finnish", PRE_BLOOM},
    {"viking", PRE_VIKING},
    {"tekken", PRE_TEKKEN},
    {"gpt-4o", PRE_GPT4O},
    {"llama4", PRE_GPT4O},
    {"kanana2", PRE_GPT4O},
    {"talkie", PRE_GPT4O},
    {"minimax-m2", PRE_GPT4O},
    {"chameleon", PRE_CHAMELEON},
    {"youtu", PRE_YOUTU},
};

const struct pre_rule *pre_rule_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i].name) == len && memcmp(names[i].name, name, len) == 0)
            return &rules[names[i].rule];
    return NULL;
}
