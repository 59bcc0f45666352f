#include "edge/openai_text.h"

#include "base/rng.h"
#include "base/test.h"
#include "http/sse.h"

#include <errno.h>
#include <string.h>

static void utf8_follows_the_unicode_table(void **state)
{
    static const struct {
        const char *bytes;
        int want;
    } rows[] = {{"a", 1}, {"\xc3\xa9", 2}, {"\xe4\xbd\xa0", 3}, {"\xf0\x9f\x98\x80", 4}, {"\xe4\xbd", 0},
        {"\xf0\x9f\x98", 0}, {"\x80", -1}, {"\xc0\xaf", -1}, {"\xe0\x80\x80", -1}, {"\xed\xa0\x80", -1},
        {"\xf4\x90\x80\x80", -1}, {"\xff", -1},
        {"\xe4\xbd"
         "a",
            -2},
        {"\xf0\x9f\x98"
         "a",
            -3}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(utf8_char((const uint8_t *)rows[i].bytes, strlen(rows[i].bytes)), rows[i].want);
}

static void utf8_decoder_replaces_and_holds(void **state)
{
    struct utf8 u = {0};
    struct buf out = {0};
    utf8_push(&u, "\xe4", 1, &out);
    assert_int_equal(out.len, 0);
    utf8_push(&u, "\xbd", 1, &out);
    utf8_push(&u, "\xa0!\xf0\x9f", 4, &out);
    assert_string_equal(buf_str(&out), "\xe4\xbd\xa0!");
    utf8_push(&u, "x\x80", 2, &out);
    assert_string_equal(buf_str(&out), "\xe4\xbd\xa0!\xef\xbf\xbdx\xef\xbf\xbd");
    utf8_push(&u, "\xe4", 1, &out);
    utf8_flush(&u, &out);
    assert_string_equal(buf_str(&out), "\xe4\xbd\xa0!\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd");
    buf_done(&out);
}

static void utf8_trim_cuts_only_a_torn_end(void **state)
{
    char torn[] = "ab\xe4\xbd", whole[] = "ab\xe4\xbd\xa0";
    utf8_trim(torn);
    utf8_trim(whole);
    assert_string_equal(torn, "ab");
    assert_string_equal(whole, "ab\xe4\xbd\xa0");
}

/* Feeds `text` in the given pieces; the result is what goes out. */
static void feed(const struct openai_stop *stops, size_t n, const char *const *pieces, const char *want, bool stopped)
{
    struct openai_text t;
    struct buf out = {0};
    openai_text_init(&t, stops, n);
    for (; *pieces; pieces++)
        assert_int_equal(openai_text_push(&t, *pieces, strlen(*pieces), &out), 0);
    assert_int_equal(openai_text_flush(&t, &out), 0);
    assert_string_equal(buf_str(&out), want);
    assert_int_equal(t.stopped, stopped);
    assert_int_equal(t.released, out.len);
    openai_text_done(&t);
    buf_done(&out);
}

static void stop_strings_never_leak(void **state)
{
    const struct openai_stop end[] = {{"END", 3}}, two[] = {{"\n\n", 2}, {"User:", 5}}, aab[] = {{"aab", 3}};
    feed(end, 1, (const char *[]){"hello E", "N", "D more", NULL}, "hello ", true);
    feed(end, 1, (const char *[]){"hello E", "N", "E", "ND", NULL}, "hello EN", true);
    feed(end, 1, (const char *[]){"hello EN", NULL}, "hello EN", false);
    feed(two, 2, (const char *[]){"a\n", "b\nUse", "r", ": x", NULL}, "a\nb\n", true);
    feed(two, 2, (const char *[]){"a\n\nUser:", NULL}, "a", true);
    feed(aab, 1, (const char *[]){"a", "a", "a", "b", "c", NULL}, "a", true);
}

static void held_text_goes_out_as_soon_as_it_can(void **state)
{
    const struct openai_stop stop[] = {{"<<>>", 4}};
    struct openai_text t;
    struct buf out = {0};
    openai_text_init(&t, stop, 1);
    openai_text_push(&t, "a<<", 3, &out);
    assert_string_equal(buf_str(&out), "a");
    openai_text_push(&t, "b", 1, &out);
    assert_string_equal(buf_str(&out), "a<<b");
    openai_text_done(&t);
    buf_done(&out);
}

/* However a text is cut into pieces, what goes out is the text before the first stop string that is complete. */
static void any_split_gives_the_same(void **state)
{
    static const char alphabet[] = "ab";
    for (uint64_t round = 0; round < 3000; round++) {
        char text[40], stop_text[2][4];
        struct openai_stop stops[2];
        size_t len = 1 + rng_below(round, 0, 38), cut = SIZE_MAX, done_at = SIZE_MAX;
        for (size_t i = 0; i < len; i++)
            text[i] = alphabet[rng_below(round, 1 + i, 2)];
        for (size_t s = 0; s < 2; s++) {
            stops[s] = (struct openai_stop){stop_text[s], 1 + rng_below(round, 50 + s, 4)};
            for (size_t i = 0; i < stops[s].len; i++)
                stop_text[s][i] = alphabet[rng_below(round, 60 + 10 * s + i, 2)];
        }
        /* Byte by byte, the first stop string to be complete wins; the longer of two that complete together starts first. */
        for (size_t end = 1; end <= len && done_at == SIZE_MAX; end++)
            for (size_t s = 0; s < 2; s++)
                if (end >= stops[s].len && !memcmp(text + end - stops[s].len, stops[s].text, stops[s].len)) {
                    done_at = end;
                    cut = cut < end - stops[s].len ? cut : end - stops[s].len;
                }
        struct openai_text t;
        struct buf out = {0};
        openai_text_init(&t, stops, 2);
        for (size_t i = 0; i < len; i++)
            openai_text_push(&t, text + i, 1, &out);
        openai_text_flush(&t, &out);
        assert_int_equal(t.stopped, cut != SIZE_MAX);
        assert_int_equal(out.len, cut != SIZE_MAX ? cut : len);
        assert_memory_equal(out.data ? out.data : (void *)"", text, out.len);
        openai_text_done(&t);
        buf_done(&out);
    }
}

struct heard {
    char text[256];
    unsigned n, enough;
};

static bool on_event(void *user, const char *data, size_t len)
{
    struct heard *h = user;
    strcat(strcat(h->text, data), "|");
    return ++h->n != h->enough;
}

static void sse_events_come_whole_from_any_pieces(void **state)
{
    static const char text[] =
        ": comment\n\ndata: one\n\nevent: x\r\ndata:two\r\ndata: three\r\n\r\nid: 4\n\ndata\n\ndata: last\n\n";
    for (size_t step = 1; step < sizeof(text); step++) {
        struct heard h = {0};
        struct sse s;
        sse_init(&s, on_event, &h);
        for (size_t at = 0; at < sizeof(text) - 1; at += step) {
            size_t n = sizeof(text) - 1 - at < step ? sizeof(text) - 1 - at : step;
            assert_int_equal(sse_feed(&s, text + at, n), 0);
        }
        assert_string_equal(h.text, "one|two\nthree||last|");
        sse_done(&s);
    }
    struct heard h = {.enough = 1};
    struct sse s;
    sse_init(&s, on_event, &h);
    assert_int_equal(sse_feed(&s, text, sizeof(text) - 1), -ECANCELED);
    sse_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_follows_the_unicode_table),
        cmocka_unit_test(utf8_decoder_replaces_and_holds),
        cmocka_unit_test(utf8_trim_cuts_only_a_torn_end),
        cmocka_unit_test(stop_strings_never_leak),
        cmocka_unit_test(held_text_goes_out_as_soon_as_it_can),
        cmocka_unit_test(any_split_gives_the_same),
        cmocka_unit_test(sse_events_come_whole_from_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
