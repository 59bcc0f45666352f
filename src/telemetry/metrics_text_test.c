/* What is written is read back by a strict reader of the text format, and by promtool where it is installed. */
#include "base/test.h"
#include "telemetry/metrics_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a strict reader ------------------------------------------------------------------------------------------- */

struct sample {
    char family[80], name[96], labels[400]; /* labels: name=value, unescaped, joined by '|' */
    char type[16];
    double value;
};

struct reader {
    const char *at;
    struct sample sample[600];
    unsigned n;
    char family[80], type[16], families[64][80];
    unsigned n_families;
};

static void word(struct reader *r, char *ret, size_t size, const char *also)
{
    size_t n = 0;
    assert_true(isalpha((unsigned char)*r->at) || *r->at == '_' || (*also && *r->at == ':'));
    while (isalnum((unsigned char)*r->at) || *r->at == '_' || (*also && *r->at == *also)) {
        assert_true(n + 1 < size);
        ret[n++] = *r->at++;
    }
    ret[n] = 0;
}

static void expect(struct reader *r, const char *s)
{
    assert_memory_equal(r->at, s, strlen(s));
    r->at += strlen(s);
}

static void read_family(struct reader *r)
{
    char again[80];
    expect(r, "# HELP ");
    word(r, r->family, sizeof r->family, ":");
    for (unsigned i = 0; i < r->n_families; i++)
        assert_string_not_equal(r->families[i], r->family);
    strcpy(r->families[r->n_families++], r->family);
    expect(r, " ");
    while (*r->at != '\n') {
        if (*r->at == '\\')
            assert_true(r->at[1] == '\\' || r->at[1] == 'n');
        r->at += *r->at == '\\' ? 2 : 1;
    }
    expect(r, "\n# TYPE ");
    word(r, again, sizeof again, ":");
    assert_string_equal(again, r->family);
    expect(r, " ");
    word(r, r->type, sizeof r->type, "");
    assert_true(!strcmp(r->type, "counter") || !strcmp(r->type, "gauge") || !strcmp(r->type, "histogram"));
    expect(r, "\n");
}

static void read_label(struct reader *r, char *out, size_t size)
{
    size_t n = strlen(out);
    word(r, out + n, size - n, "");
    n = strlen(out);
    out[n++] = '=';
    expect(r, "=\"");
    while (*r->at != '"') {
        assert_true(*r->at && *r->at != '\n' && n + 2 < size);
        if (*r->at == '\\') {
            r->at++;
            assert_non_null(strchr("\\n\"", *r->at));
            out[n++] = *r->at == 'n' ? '\n' : *r->at;
            r->at++;
        } else
            out[n++] = *r->at++;
    }
    expect(r, "\"");
    out[n++] = '|';
    out[n] = 0;
}

static void read_sample(struct reader *r)
{
    struct sample *s = &r->sample[r->n++];
    word(r, s->name, sizeof s->name, ":");
    strcpy(s->family, r->family);
    strcpy(s->type, r->type);
    const char *suffix = s->name + strlen(s->family);
    assert_memory_equal(s->name, s->family, strlen(s->family));
    if (!strcmp(s->type, "histogram"))
        assert_true(!strcmp(suffix, "_bucket") || !strcmp(suffix, "_sum") || !strcmp(suffix, "_count"));
    else
        assert_string_equal(suffix, "");
    if (*r->at == '{') {
        do {
            r->at++;
            read_label(r, s->labels, sizeof s->labels);
        } while (*r->at == ',');
        expect(r, "}");
    }
    expect(r, " ");
    char *end;
    s->value = strtod(r->at, &end);
    assert_true(end > r->at && *end == '\n');
    r->at = end + 1;
    for (unsigned i = 0; i + 1 < r->n; i++)
        assert_true(strcmp(r->sample[i].name, s->name) || strcmp(r->sample[i].labels, s->labels));
}

static struct reader *read_all(struct buf *b)
{
    struct reader *r = calloc(1, sizeof *r);
    r->at = buf_str(b);
    while (*r->at)
        if (*r->at == '#')
            read_family(r);
        else
            read_sample(r);
    return r;
}

static double value_of(const struct reader *r, const char *name, const char *labels)
{
    for (unsigned i = 0; i < r->n; i++)
        if (!strcmp(r->sample[i].name, name) && !strcmp(r->sample[i].labels, labels))
            return r->sample[i].value;
    fail_msg("there is no %s{%s}", name, labels);
    return NAN;
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void write_some(struct buf *out)
{
    static struct quantile q;
    struct metrics_text m;
    quantile_reset(&q);
    for (int64_t i = 1; i <= 1000; i++)
        quantile_add(&q, i * 10000); /* 10 µs … 10 ms */
    metrics_text_begin(&m, out);
    metrics_text_family(&m, METRICS_COUNTER, "meridian_port_packets_total", "Packets by port and direction.");
    metrics_text_u64(&m, UINT64_MAX, METRICS_LABELS({"port", "p0"}, {"direction", "in"}));
    metrics_text_u64(&m, 7, METRICS_LABELS({"port", "a \"b\"\\c\nd"}, {"direction", "out"}));
    metrics_text_u64(&m, 8, METRICS_LABELS({"port", "gr\xc3\xbc\xc3\x9f \xff\xc0\x80\xed\xa0\x80"}));
    metrics_text_family(&m, METRICS_GAUGE, "meridian_up", "1 while it\nruns \\ walks.");
    metrics_text_double(&m, 0.125, METRICS_NO_LABELS);
    metrics_text_family(&m, METRICS_GAUGE, "meridian_strange", "Not all is a number.");
    metrics_text_double(&m, NAN, METRICS_LABELS({"of", "nan"}));
    metrics_text_double(&m, INFINITY, METRICS_LABELS({"of", "inf"}));
    metrics_text_double(&m, -INFINITY, METRICS_LABELS({"of", "-inf"}));
    metrics_text_family(&m, METRICS_HISTOGRAM, "meridian_latency_seconds", "Through the router.");
    metrics_text_quantile(&m, &q, METRICS_LABELS({"class", "bulk"}));
    quantile_reset(&q);
    metrics_text_quantile(&m, &q, METRICS_NO_LABELS);
    assert_int_equal(metrics_text_end(&m), 0);
}

static void is_read_back(void **state)
{
    struct buf out = {0};
    write_some(&out);
    struct reader *r = read_all(&out);
    assert_int_equal(r->n_families, 4);
    assert_true(value_of(r, "meridian_port_packets_total", "port=p0|direction=in|") == (double)UINT64_MAX);
    assert_true(value_of(r, "meridian_port_packets_total", "port=a \"b\"\\c\nd|direction=out|") == 7);
    assert_true(value_of(r, "meridian_port_packets_total", "port=gr\xc3\xbc\xc3\x9f ??????|") == 8);
    assert_true(value_of(r, "meridian_up", "") == 0.125);
    assert_true(isnan(value_of(r, "meridian_strange", "of=nan|")));
    assert_true(isinf(value_of(r, "meridian_strange", "of=inf|")));
    free(r);
    buf_done(&out);
}

static void histograms_grow(void **state)
{
    struct buf out = {0};
    write_some(&out);
    struct reader *r = read_all(&out);
    double before = -1, bound = 0;
    unsigned buckets = 0;
    for (unsigned i = 0; i < r->n; i++) {
        double le;
        if (strcmp(r->sample[i].name, "meridian_latency_seconds_bucket") ||
            sscanf(r->sample[i].labels, "class=bulk|le=%lf", &le) != 1)
            continue;
        assert_true(le > bound && r->sample[i].value >= before);
        double truth = fmin(floor(le * 1e5 + 1e-9), 1000);
        assert_true(r->sample[i].value >= truth && r->sample[i].value <= truth * 65 / 64 + 1);
        bound = le, before = r->sample[i].value, buckets++;
    }
    assert_int_equal(buckets, 23);
    assert_true(isinf(bound) && before == 1000);
    assert_true(value_of(r, "meridian_latency_seconds_count", "class=bulk|") == 1000);
    assert_true(fabs(value_of(r, "meridian_latency_seconds_sum", "class=bulk|") - 5.005) < 1e-9);
    assert_true(value_of(r, "meridian_latency_seconds_bucket", "le=+Inf|") == 0);
    free(r);
    buf_done(&out);
}

static void promtool_agrees(void **state)
{
    if (system("command -v promtool >/dev/null 2>&1"))
        skip();
    struct buf out = {0};
    write_some(&out);
    FILE *p = popen("promtool check metrics", "w");
    assert_non_null(p);
    assert_int_equal(fwrite(out.data, 1, out.len, p), out.len);
    assert_int_equal(pclose(p), 0);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_back),
        cmocka_unit_test(histograms_grow),
        cmocka_unit_test(promtool_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
