/* Real vocabularies against the ids that their own tokenizers give: every *.gguf of shared/data/vocab with its .inp
 * (texts) and .out (one line of ids for each). */
#include "base/test.h"
#include "model/tokenizer.h"

#include "base/clock.h"
#include "base/rng.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char separator[] = "\n__ggml_vocab_test__\n";

static char dir_of_vocab[4096];

static struct buf read_all(const char *path)
{
    struct buf b = {0};
    FILE *f = fopen(path, "rb");
    if (!f)
        return b;
    size_t n;
    do {
        assert_int_equal(buf_reserve(&b, 65536), 0);
        n = fread(b.data + b.len, 1, 65536, f);
        b.len += n;
    } while (n);
    fclose(f);
    buf_str(&b);
    return b;
}

static struct buf ids_of_line(const char *line, size_t len)
{
    struct buf ids = {0};
    for (const char *p = line; p < line + len;) {
        char *end;
        int32_t id = (int32_t)strtol(p, &end, 10);
        if (end == p)
            break;
        buf_append(&ids, &id, sizeof(id));
        p = end;
    }
    return ids;
}

static void print_ids(const char *what, const struct buf *ids)
{
    printf("  %s:", what);
    for (size_t i = 0; i < ids->len / 4; i++)
        printf(" %d", ((const int32_t *)ids->data)[i]);
    printf("\n");
}

/* One text: the ids are those expected, and decode to the same bytes. */
static int check_text(const struct tokenizer *t, const char *text, size_t len, const struct buf *want)
{
    struct buf got = {0}, back = {0};
    assert_int_equal(tokenizer_encode(t, text, len, false, false, &got), 0);
    int bad = got.len != want->len || (got.len && memcmp(got.data, want->data, got.len) != 0);
    if (bad) {
        printf("  text: '%.*s'\n", (int)len, text);
        print_ids("want", want);
        print_ids("got ", &got);
    }
    assert_int_equal(tokenizer_decode_all(t, (const int32_t *)got.data, got.len / 4, false, &back), 0);
    if (back.len != len || (len && memcmp(back.data, text, len) != 0)) {
        printf("  '%.*s' came back as '%.*s'\n", (int)len, text, (int)back.len, (const char *)back.data);
        bad = 1;
    }
    buf_done(&got);
    buf_done(&back);
    return bad;
}

static struct tokenizer *open_vocab(const char *path)
{
    struct error err = {""};
    struct gguf_file *f = NULL;
    struct tokenizer *t = NULL;
    if (gguf_file_open(&f, path, &err) || tokenizer_open(&t, f, &err))
        printf("%s\n", err.text);
    gguf_file_close(f);
    return t;
}

static int check_vocab(const char *name)
{
    char path[8192];
    snprintf(path, sizeof(path), "%s/%s", dir_of_vocab, name);
    struct tokenizer *t = open_vocab(path);
    assert_non_null(t);
    snprintf(path, sizeof(path), "%s/%s.inp", dir_of_vocab, name);
    struct buf inp = read_all(path);
    snprintf(path, sizeof(path), "%s/%s.out", dir_of_vocab, name);
    struct buf out = read_all(path);
    int n = 0, bad = 0;
    const char *text = (const char *)inp.data, *text_end = text + inp.len;
    const char *line = (const char *)out.data, *out_end = line + out.len;
    for (const char *stop; line && line < out_end; n++) {
        stop = memmem(text, (size_t)(text_end - text), separator, strlen(separator));
        stop = stop ? stop : text_end;
        const char *line_end = memchr(line, '\n', (size_t)(out_end - line));
        line_end = line_end ? line_end : out_end;
        struct buf want = ids_of_line(line, (size_t)(line_end - line));
        bad += check_text(t, text, (size_t)(stop - text), &want);
        buf_done(&want);
        line = line_end + 1;
        text = stop < text_end ? stop + strlen(separator) : text_end;
    }
    char what[128];
    tokenizer_describe(t, what, sizeof(what));
    printf("%s: %s; %d of %d texts exact\n", name, what, n - bad, n);
    tokenizer_free(t);
    buf_done(&inp);
    buf_done(&out);
    return n ? bad : -1;
}

static int each_vocab(int (*check)(const char *name))
{
    DIR *d = opendir(dir_of_vocab);
    if (!d) {
        printf("no %s: nothing to compare with\n", dir_of_vocab);
        skip();
    }
    int n = 0, bad = 0;
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 5, ".gguf") != 0)
            continue;
        n++;
        bad += check(e->d_name) != 0;
    }
    closedir(d);
    if (!n)
        skip();
    return bad;
}

static void texts_give_the_expected_ids(void **state)
{
    assert_int_equal(each_vocab(check_vocab), 0);
}

/* A word of 100 kB, a page of spaces, a page of digits: no work that grows with the square. */
static int check_long(const char *name)
{
    static const char *const fills[] = {"a", " ", "7", "\n", "中", "!", "\xff", " \n", "Aa", "\xcc\x81", "ab"};
    char path[8192];
    snprintf(path, sizeof(path), "%s/%s", dir_of_vocab, name);
    struct tokenizer *t = open_vocab(path);
    assert_non_null(t);
    int bad = 0;
    for (size_t k = 0; k < sizeof(fills) / sizeof(fills[0]); k++) {
        struct buf text = {0}, ids = {0}, back = {0};
        while (text.len < 100000)
            buf_append_str(&text, fills[k]);
        buf_append_str(&text, "x");
        int64_t begin = clock_now_ns();
        assert_int_equal(tokenizer_encode(t, (const char *)text.data, text.len, false, false, &ids), 0);
        double s = (double)(clock_now_ns() - begin) * 1e-9;
        assert_int_equal(tokenizer_decode_all(t, (const int32_t *)ids.data, ids.len / 4, false, &back), 0);
        bool same = back.len == text.len && memcmp(back.data, text.data, text.len) == 0;
        if (s > 1.0 || (!same && strcmp(fills[k], "\xff") != 0)) {
            printf("%s: 100 kB of '%s': %.2f s, %s\n", name, fills[k], s, same ? "came back" : "came back changed");
            bad = 1;
        }
        buf_done(&text);
        buf_done(&ids);
        buf_done(&back);
    }
    tokenizer_free(t);
    return bad;
}

static void long_words_take_no_time(void **state)
{
    assert_int_equal(each_vocab(check_long), 0);
}

/* Random texts from an alphabet of troublemakers come back as the same bytes. */
static int check_round_trip(const char *name)
{
    static const char *const parts[] = {" ", "  ", "\n", "\r\n", "\t", "a", "B", "'s", "'LL", "don", "1", "234", "é",
        "中文", "日本", "한국", "🙂", "👩‍👩‍👧", "\xe2\x80\x83", "\xc2\xa0", "\xe2\x96\x81", "<s>", "</s>",
        "<|im_end|>", "<0x41>", "<|endoftext|>", "!", "...", "_", "=", "\xe2\x96", "\x80", "\xc3", "x\xcc\x81"};
    char path[8192];
    snprintf(path, sizeof(path), "%s/%s", dir_of_vocab, name);
    struct tokenizer *t = open_vocab(path);
    assert_non_null(t);
    int bad = 0;
    for (uint64_t k = 0; k < 300; k++) {
        struct buf text = {0}, ids = {0}, back = {0};
        uint32_t n = rng_below(1, k, 40);
        for (uint32_t i = 0; i < n; i++)
            buf_append_str(&text, parts[rng_below(2, k * 64 + i, sizeof(parts) / sizeof(parts[0]))]);
        buf_str(&text);
        assert_int_equal(tokenizer_encode(t, (const char *)text.data, text.len, k & 1, k & 2, &ids), 0);
        assert_int_equal(tokenizer_decode_all(t, (const int32_t *)ids.data, ids.len / 4, k & 1, &back), 0);
        size_t bos = (k & 3) == 3 && tokenizer_adds_bos(t) ? tokenizer_entry(t, tokenizer_bos(t)).len : 0;
        if (back.len != text.len + bos || (text.len && memcmp(back.data + bos, text.data, text.len) != 0)) {
            printf("%s: '%s' came back as '%s'\n", name, buf_str(&text), buf_str(&back));
            bad = 1;
        }
        buf_done(&text);
        buf_done(&ids);
        buf_done(&back);
    }
    tokenizer_free(t);
    return bad;
}

static void any_bytes_come_back(void **state)
{
    assert_int_equal(each_vocab(check_round_trip), 0);
}

int main(void)
{
    const char *shared = getenv("MERIDIAN_SHARED");
    snprintf(dir_of_vocab, sizeof(dir_of_vocab), "%s/data/vocab", shared ? shared : "../shared");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_give_the_expected_ids),
        cmocka_unit_test(long_words_take_no_time),
        cmocka_unit_test(any_bytes_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
