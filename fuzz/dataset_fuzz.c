/* Files of samples: the first three bytes choose how they are cut up, the rest is the file. Whatever is in it, it is
 * refused with a sentence, or its micro-batches keep to the limits, hold tokens of the vocabulary, and cover every sample
 * once in an epoch. */
#include "model/test_vocab.h"
#include "split/dataset.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct tokenizer *vocabulary(void)
{
    static const char *const texts[] = {"ab", "aa", NULL}, *const controls[] = {"<|im_start|>", "<|im_end|>", NULL};
    static const char *const merges[] = {"a b", "a a", NULL};
    static struct tokenizer *t;
    if (!t) {
        struct vocab_file v = {0};
        vocab_bytes(&v, "gpt-2", texts, controls, merges);
        vocab_u32(&v, "tokenizer.ggml.eos_token_id", 258);
        t = vocab_open(&v, NULL);
        vocab_done(&v);
        must(t != NULL);
    }
    return t;
}

static void check(const struct dataset *ds, const struct micro_batch *b, uint32_t most)
{
    uint32_t rows = 0, learnt = 0;
    must(b->n_rows && b->n_rows <= most && b->n_samples && b->n_samples <= dataset_max_samples(ds));
    for (uint32_t i = 0; i < b->n_samples; i++)
        rows += b->sample_rows[i];
    for (uint32_t i = 0; i < b->n_rows; i++) {
        must(b->tokens[i] >= 0 && (uint32_t)b->tokens[i] < tokenizer_n_vocab(vocabulary()));
        must(b->targets[i] >= -1 && b->targets[i] < (int32_t)tokenizer_n_vocab(vocabulary()));
        learnt += b->targets[i] >= 0;
    }
    must(rows == b->n_rows && learnt == b->n_learnt && learnt > 0);
}

static void one_epoch(const struct dataset *ds, uint32_t most)
{
    struct dataset_cursor cursor = {0};
    struct dataset_order order = {0};
    struct dataset_counts c = dataset_counts(ds);
    struct micro_batch b;
    uint64_t samples = 0, at = 0, batches = 0;
    must(micro_batch_init(&b, ds) == 0 && dataset_count_batches(ds, 1, &batches) == 0);
    for (; batches--; samples += b.n_samples) {
        must(dataset_next(ds, &order, &cursor, &b) == 0 && cursor.epoch == 0);
        check(ds, &b, most);
    }
    must(samples == c.train);
    for (samples = 0; dataset_eval(ds, &at, &b); samples += b.n_samples)
        check(ds, &b, most);
    must(samples == c.eval);
    micro_batch_done(&b);
    dataset_order_done(&order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dataset *ds;
    struct error err = {""};
    if (size < 3)
        return 0;
    struct dataset_config cfg = {.max_rows = 1u + data[0],
        .max_sample = data[1] % 16,
        .seed = data[2],
        .too_long = (enum dataset_long)(data[1] / 16 % 3),
        .eval_fraction = data[1] >= 128 ? 0.3 : 0};
    if (dataset_open_bytes(&ds, (const char *)data + 3, size - 3, "data", vocabulary(), CHAT_CHATML, &cfg, &err)) {
        must(err.text[0] != 0);
        return 0;
    }
    one_epoch(ds, cfg.max_rows);
    dataset_free(ds);
    return 0;
}
