/* What the files of the tokenizer share; nobody else includes this.
 *
 * tokenizer.c        opening a vocabulary, decoding, the public face
 * tokenizer_special.c cuts text at entries that are matched as they stand (control tokens, user-defined tokens)
 * tokenizer_pre.c    cuts text into words by the regexes of tokenizer.ggml.pre
 * tokenizer_bpe.c    words to tokens by merge ranks ("gpt2")
 * tokenizer_spm.c    words to tokens by scores ("llama")
 * tokenizer_merge.c  the greedy merging of neighbours that both use */
#ifndef MERIDIAN_MODEL_TOKENIZER_INNER_H
#define MERIDIAN_MODEL_TOKENIZER_INNER_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/strtab.h"
#include "model/tokenizer.h"

#include <pcre2.h>

/* What a token is, as bits. The first six are the types of tokenizer.ggml.token_type. */
enum token_attr {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 4,
    TOKEN_USER = 8,
    TOKEN_UNUSED = 16,
    TOKEN_BYTE = 32,
    TOKEN_RSTRIP = 64,    /* swallows the white space after it */
    TOKEN_END = 128,      /* generation ends here */
    TOKEN_MARKUP = 256,   /* user-defined, but spelled like a marker of a chat template */
    TOKEN_MERGED = 512,   /* some merge builds it: ordinary text, whatever it looks like */
    TOKEN_LITERAL = 1024, /* matched in raw text as it stands, before anything else */
};

#define PRE_STEPS_MAX 6

/* A pre-tokenizer: steps, each cutting every piece left by the one before into matches and what lies between. */
struct pre_rule {
    const char *steps[PRE_STEPS_MAX]; /* PCRE2 patterns */
    bool ignore_merges;               /* a word that is a token is that token, whatever the merges say */
    bool add_bos;                     /* unless the file says otherwise */
};

struct pair_slot {
    uint32_t left, right; /* strings */
    uint32_t rank;        /* UINT32_MAX: a free slot */
    uint32_t merged;      /* string */
};

struct trie_node {
    uint32_t child, next; /* 0: none */
    uint32_t special;     /* index into specials + 1; 0: no entry ends here */
    uint8_t byte;
};

struct tokenizer {
    bool spm;
    struct strtab strs; /* numbers below n_vocab are token ids; the rest are other strings that merges name */
    uint32_t n_vocab;
    uint16_t *attrs; /* n_vocab of enum token_attr */
    float *scores;   /* n_vocab, SPM only */
    int32_t bos, eos, eot, eom, unk;
    bool add_bos, add_eos, ignore_merges;
    struct buf chat_template;
    int32_t byte_id[256]; /* token of a single byte, or -1 */

    pcre2_code *steps[PRE_STEPS_MAX];
    unsigned n_steps;
    bool jit[PRE_STEPS_MAX];
    char pre_name[32];

    uint32_t byte_str[256]; /* BPE: string of a single byte */
    struct pair_slot *pairs;
    uint32_t pair_mask;

    bool space_prefix; /* SPM: a run of text begins with a space that is not in the text */
    bool word_starts;  /* SPM: no token has a space after something else, so words can be merged one by one */

    int32_t *specials; /* ids matched as they stand, longest first */
    uint32_t n_specials;
    struct trie_node *trie;
    uint32_t n_trie, trie_root[256];
};

/* A stretch of the text: either one token as it stands, or text to be cut and merged. */
struct fragment {
    size_t off, len;
    int32_t token; /* -1: text */
};

int special_init(struct tokenizer *t);
/* Appends struct fragment to *ret. `flags`: enum tokenizer_flags. */
int special_split(const struct tokenizer *t, const char *text, size_t len, unsigned flags, struct buf *ret);

const struct pre_rule *pre_rule_find(const char *name, size_t len); /* NULL: unknown */
int pre_init(struct tokenizer *t, const struct pre_rule *rule, struct error *err);
void pre_done(struct tokenizer *t);

struct symbol {
    uint32_t str;        /* BPE: string number */
    uint32_t off, len;   /* bytes of the word */
    uint32_t prev, next; /* SYMBOL_NONE at the ends */
};
#define SYMBOL_NONE UINT32_MAX
#define SYMBOL_RAW  UINT32_MAX /* SPM: this symbol takes part in no merge */

/* Room that one call of encode uses again and again. */
struct merger {
    struct symbol *syms;
    size_t n, cap;
    struct merge_item {
        uint32_t rank, left, len, str;
    } *heap;
    size_t heap_n, heap_cap;
};

struct encoder {
    const struct tokenizer *t;
    void (*word_fn)(struct encoder *e, const char *word, size_t len); /* what pre_split does with a word */
    void *ctx;                                                        /* of word_fn */
    struct buf *out;
    int rc;       /* the first failure */
    bool unknown; /* the last thing emitted could not be said */
    struct merger merger;
    struct buf word;
    pcre2_match_data *match[PRE_STEPS_MAX];
    pcre2_match_context *match_context;
    pcre2_jit_stack *jit_stack;
};

/* What merging l and r would give: its rank (lower goes first; UINT32_MAX: they do not merge) and string. */
struct merge_to {
    uint32_t rank, str;
};
typedef struct merge_to (*merge_rule)(
    const struct tokenizer *t, const char *word, const struct symbol *l, const struct symbol *r);

int merger_push(struct merger *m, uint32_t str, size_t off, size_t len); /* one more symbol at the end */
/* Merges the best pair (leftmost of equals) until none is left; what remains is the list from syms[0] by next. */
int merger_run(struct merger *m, const struct tokenizer *t, const char *word, merge_rule rule);
void merger_done(struct merger *m);

int pre_encoder_init(struct encoder *e);
void pre_encoder_done(struct encoder *e);
/* Cuts text and calls e->word_fn for each word. */
void pre_split(struct encoder *e, const char *text, size_t len);

int bpe_init(struct tokenizer *t, const struct gguf_file *f, struct error *err); /* reads the merges */
void bpe_word(struct encoder *e, const char *word, size_t len);
void spm_init(struct tokenizer *t);
void spm_text(struct encoder *e, const char *text, size_t len, bool prefix);

void encoder_emit(struct encoder *e, int32_t id);
void encoder_emit_bytes(struct encoder *e, const char *bytes, size_t len);

/* The byte-level alphabet of GPT-2: every byte has a printable character that stands for it. */
uint32_t byte_char_of(uint8_t b);
int byte_of_char(uint32_t c); /* -1: stands for none */

#endif
