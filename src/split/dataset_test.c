#include "split/dataset.h"

#include "base/test.h"
#include "model/test_models.h"

#include <errno.h>

static struct gguf_file *file;
static struct tokenizer *tok;

static int setup(void **state)
{
    struct error err = {""};
    test_folder_make(state);
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    test_make(&cfg, test_path("m"));
    file = test_open(test_path("m"));
    return tokenizer_open(&tok, file, &err);
}

static int teardown(void **state)
{
    tokenizer_free(tok);
    gguf_file_close(file);
    return test_folder_remove(state);
}

static struct dataset *open_text(const char *text, const struct dataset_config *cfg)
{
    struct dataset *ds = NULL;
    struct error err = {""};
    if (dataset_open_bytes(&ds, text, strlen(text), "data.jsonl", tok, CHAT_CHATML, cfg, &err))
        fail_msg("%s", err.text);
    return ds;
}

static void refused_with(const char *text, const struct dataset_config *cfg, const char *sentence)
{
    struct dataset *ds = NULL;
    struct error err = {""};
    assert_true(dataset_open_bytes(&ds, text, strlen(text), "data.jsonl", tok, CHAT_CHATML, cfg, &err) < 0);
    if (!strstr(err.text, sentence))
        fail_msg("%s", err.text);
    assert_null(strstr(err.text, "secret"));
}

static void texts_learn_everything(void **state)
{
    struct dataset_config cfg = {.max_rows = 64};
    struct dataset *ds = open_text("{\"text\":\"abc\"}\n\n  \r\n{\"text\":\"defg\"}", &cfg);
    struct dataset_counts c = dataset_counts(ds);
    struct dataset_cursor cursor = {0};
    struct dataset_order order = {0};
    struct micro_batch b;
    assert_int_equal(c.train, 2);
    assert_int_equal(c.learnt, c.rows);
    assert_int_equal(micro_batch_init(&b, ds), 0);
    assert_int_equal(dataset_next(ds, &order, &cursor, &b), 0);
    assert_int_equal(b.n_samples, 2);
    assert_int_equal(b.n_rows, c.rows);
    for (uint32_t s = 0, at = 0; s < 2; at += b.sample_rows[s++]) { /* targets are the next tokens, the end last */
        for (uint32_t i = 0; i + 1 < b.sample_rows[s]; i++)
            assert_int_equal(b.targets[at + i], b.tokens[at + i + 1]);
        assert_true(tokenizer_is_end(tok, b.targets[at + b.sample_rows[s] - 1]));
    }
    micro_batch_done(&b);
    dataset_order_done(&order);
    dataset_free(ds);
}

static void chats_learn_what_the_assistant_says(void **state)
{
    struct dataset_config cfg = {.max_rows = 256};
    struct dataset *ds = open_text("{\"messages\":[{\"role\":\"user\",\"content\":\"question\"},"
                                   "{\"role\":\"assistant\",\"content\":\"yes\"}]}\n",
        &cfg);
    struct dataset_cursor cursor = {0};
    struct dataset_order order = {0};
    struct micro_batch b;
    struct buf said = {0};
    assert_int_equal(micro_batch_init(&b, ds), 0);
    assert_int_equal(dataset_next(ds, &order, &cursor, &b), 0);
    for (uint32_t i = 0; i < b.n_rows; i++)
        if (b.targets[i] >= 0)
            tokenizer_decode(tok, b.targets[i], false, &said);
    assert_string_equal(buf_str(&said), "yes");
    assert_true(b.n_learnt >= 4); /* and the end */
    buf_done(&said);
    micro_batch_done(&b);
    dataset_order_done(&order);
    dataset_free(ds);
}

static void bad_lines_are_named(void **state)
{
    struct dataset_config cfg = {.max_rows = 64};
    refused_with("{\"text\":\"a\"}\n{\"text\":\"secret\"\n", &cfg, "data.jsonl:2: not JSON");
    refused_with("[\"secret\"]\n", &cfg, "data.jsonl:1: a sample is");
    refused_with("\n\n{\"messages\":[{\"role\":\"user\"}]}", &cfg, "data.jsonl:3: each message needs");
    refused_with("{\"messages\":[]}", &cfg, "1 to");
    refused_with("{\"messages\":[{\"role\":\"boss\",\"content\":\"secret\"}]}", &cfg, "data.jsonl:1");
    refused_with("", &cfg, "no sample");
    refused_with("{\"text\":\"\"}", &cfg, "no sample");
    cfg.max_rows = 0;
    refused_with("{\"text\":\"a\"}", &cfg, "rows");
    cfg = (struct dataset_config){.max_rows = 8, .eval_fraction = 1};
    refused_with("{\"text\":\"a\"}", &cfg, "evaluation");

    struct dataset *ds = NULL;
    struct error err = {""};
    const char *chat = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    cfg = (struct dataset_config){.max_rows = 8};
    assert_int_equal(dataset_open_bytes(&ds, chat, strlen(chat), "d", tok, CHAT_NONE, &cfg, &err), -EINVAL);
    assert_non_null(strstr(err.text, "knows no chats"));
}

static void long_samples_are_cut_left_out_or_chopped(void **state)
{
    const char *text = "{\"text\":\"abcdefghijklmnopqrst\"}\n{\"text\":\"ab\"}\n"; /* 20 and 2 bytes, and their ends */
    struct dataset_config cfg = {.max_rows = 64, .max_sample = 6};
    struct dataset *ds = open_text(text, &cfg);
    uint64_t whole = 0;
    assert_int_equal(dataset_counts(ds).truncated, 1);
    assert_int_equal(dataset_counts(ds).train, 2);
    dataset_free(ds);
    cfg.too_long = DATASET_REFUSE;
    ds = open_text(text, &cfg);
    assert_int_equal(dataset_counts(ds).refused, 1);
    assert_int_equal(dataset_counts(ds).train, 1);
    dataset_free(ds);
    cfg.max_sample = 0;
    ds = open_text(text, &cfg);
    whole = dataset_counts(ds).rows;
    dataset_free(ds);
    cfg.max_sample = 6;
    cfg.too_long = DATASET_CHOP;
    ds = open_text(text, &cfg);
    assert_int_equal(dataset_counts(ds).chopped, 1);
    assert_int_equal(dataset_counts(ds).rows, whole); /* no target is lost */
    dataset_free(ds);
}

static void make_many(struct buf *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        buf_append_str(b, "{\"text\":\"");
        for (unsigned k = 0; k <= i % 13; k++)
            buf_printf(b, "%c", 'a' + (i * 5 + k) % 26);
        buf_append_str(b, "\"}\n");
    }
}

/* A running hash of what two epochs give, from a cursor taken after `skip` batches in another reader. */
static uint64_t two_epochs(const struct dataset *ds, uint32_t skip, uint64_t *ret_batches, uint32_t ret_seen[100])
{
    struct dataset_cursor cursor = {0};
    struct dataset_order order = {0};
    struct micro_batch b;
    uint64_t hash = 7, n = 0;
    assert_int_equal(micro_batch_init(&b, ds), 0);
    for (;; n++) {
        if (n == skip) /* as after a restart */
            dataset_order_done(&order);
        assert_int_equal(dataset_next(ds, &order, &cursor, &b), 0);
        if (cursor.epoch == 2)
            break;
        assert_in_range(b.n_rows, 1, 40);
        assert_in_range(b.n_samples, 1, 5);
        for (uint32_t i = 0; i < b.n_rows; i++)
            hash = hash * 31 + (uint64_t)b.tokens[i] * 7 + (uint64_t)b.targets[i];
        for (uint32_t s = 0; s < b.n_samples; s++)
            ret_seen[b.sample_rows[s]]++;
    }
    micro_batch_done(&b);
    dataset_order_done(&order);
    *ret_batches = n;
    return hash;
}

static void the_order_is_a_function_of_the_seed(void **state)
{
    struct buf text = {0};
    struct dataset_config cfg = {.max_rows = 40, .max_samples = 5, .eval_fraction = 0.2, .seed = 1};
    uint64_t n, n2, counted;
    uint32_t seen[100] = {0}, seen2[100] = {0}, other[100] = {0};
    make_many(&text, 200);
    struct dataset *ds = open_text(buf_str(&text), &cfg);
    struct dataset_counts c = dataset_counts(ds);
    assert_int_equal(c.train + c.eval, 200);
    assert_in_range(c.eval, 20, 60);
    uint64_t a = two_epochs(ds, UINT32_MAX, &n, seen), b = two_epochs(ds, 9, &n2, seen2);
    assert_true(a == b);
    assert_int_equal(n, n2);
    assert_int_equal(dataset_count_batches(ds, 2, &counted), 0);
    assert_int_equal(counted, n);
    uint64_t samples = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(seen[i] % 2, 0); /* each sample once in each epoch */
        samples += seen[i];
    }
    assert_int_equal(samples, 2 * c.train);
    uint64_t hash = dataset_hash(ds);
    dataset_free(ds);

    cfg.seed = 2;
    ds = open_text(buf_str(&text), &cfg);
    assert_true(two_epochs(ds, UINT32_MAX, &n, other) != a);
    assert_true(dataset_hash(ds) != hash);
    dataset_free(ds);
    buf_done(&text);
}

static void evaluation_sees_each_sample_once(void **state)
{
    struct buf text = {0};
    struct dataset_config cfg = {.max_rows = 40, .eval_fraction = 0.3, .seed = 1};
    make_many(&text, 100);
    struct dataset *ds = open_text(buf_str(&text), &cfg);
    struct micro_batch b;
    uint64_t at = 0, samples = 0;
    assert_int_equal(micro_batch_init(&b, ds), 0);
    while (dataset_eval(ds, &at, &b))
        samples += b.n_samples;
    assert_int_equal(samples, dataset_counts(ds).eval);
    micro_batch_done(&b);
    dataset_free(ds);

    cfg.eval_fraction = 1e-9; /* at least one, if it was asked for */
    ds = open_text("{\"text\":\"a\"}\n{\"text\":\"b\"}\n", &cfg);
    assert_int_equal(dataset_counts(ds).eval, 1);
    assert_int_equal(dataset_counts(ds).train, 1);
    dataset_free(ds);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_learn_everything),
        cmocka_unit_test(chats_learn_what_the_assistant_says),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(long_samples_are_cut_left_out_or_chopped),
        cmocka_unit_test(the_order_is_a_function_of_the_seed),
        cmocka_unit_test(evaluation_sees_each_sample_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
