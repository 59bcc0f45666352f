#include "telemetry/metrics_text.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool name_ok(const char *s, const char *also)
{
    if (!*s || isdigit((unsigned char)*s))
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && !(*also && strchr(also, *s)))
            return false;
    return true;
}

static void put(struct metrics_text *m, const char *bytes, size_t len)
{
    if (!m->rc)
        m->rc = buf_append(m->out, bytes, len);
}

static void put_str(struct metrics_text *m, const char *s)
{
    put(m, s, strlen(s));
}

/* Bytes of the UTF-8 character at s (NUL-terminated); 0: it is none (RFC 3629: no surrogates, no long forms). */
static unsigned utf8_len(const unsigned char *s)
{
    static const struct {
        unsigned char first, last, low, high; /* first byte; bounds of the second */
        unsigned len;
    } row[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    if (*s < 0x80)
        return 1;
    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        if (*s < row[i].first || *s > row[i].last)
            continue;
        if (s[1] < row[i].low || s[1] > row[i].high)
            return 0;
        for (unsigned k = 2; k < row[i].len; k++)
            if (s[k] < 0x80 || s[k] > 0xbf)
                return 0;
        return row[i].len;
    }
    return 0;
}

static void put_escaped(struct metrics_text *m, const char *s, bool quotes)
{
    while (*s) {
        unsigned len = utf8_len((const unsigned char *)s);
        if (*s == '\\')
            put_str(m, "\\\\");
        else if (*s == '\n')
            put_str(m, "\\n");
        else if (*s == '"' && quotes)
            put_str(m, "\\\"");
        else
            put(m, len ? s : "?", len ? len : 1);
        s += len ? len : 1;
    }
}

static void put_labels(struct metrics_text *m, const struct metrics_label *labels, unsigned n, const char *le)
{
    const char *before = "{";
    for (unsigned i = 0; i < n; i++, before = ",") {
        assert(name_ok(labels[i].name, "") && strcmp(labels[i].name, "le") && strncmp(labels[i].name, "__", 2));
        put_str(m, before);
        put_str(m, labels[i].name);
        put_str(m, "=\"");
        put_escaped(m, labels[i].value, true);
        put_str(m, "\"");
    }
    if (le) {
        put_str(m, before);
        put_str(m, "le=\"");
        put_str(m, le);
        put_str(m, "\"");
    }
    if (n || le)
        put_str(m, "}");
}

__attribute__((format(printf, 2, 3))) static void put_value(struct metrics_text *m, const char *fmt, ...)
{
    char text[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    put_str(m, " ");
    put_str(m, text);
    put_str(m, "\n");
}

static const char *name_of(const struct metrics_text *m)
{
    assert(m->families);
    return m->family[m->families - 1];
}

void metrics_text_begin(struct metrics_text *m, struct buf *out)
{
    *m = (struct metrics_text){.out = out};
}

void metrics_text_family(struct metrics_text *m, enum metrics_text_type type, const char *name, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    size_t len = strlen(name);
    bool total = len > 6 && !strcmp(name + len - 6, "_total");
    assert(name_ok(name, ":") && total == (type == METRICS_COUNTER) && m->families < METRICS_TEXT_FAMILIES);
    for (unsigned i = 0; i < m->families; i++)
        assert(strcmp(m->family[i], name));
    m->family[m->families++] = name;
    m->type = type;
    put_str(m, "# HELP ");
    put_str(m, name);
    put_str(m, " ");
    put_escaped(m, help, false);
    put_str(m, "\n# TYPE ");
    put_str(m, name);
    put_str(m, " ");
    put_str(m, types[type]);
    put_str(m, "\n");
}

void metrics_text_u64(struct metrics_text *m, uint64_t value, const struct metrics_label *labels, unsigned n)
{
    put_str(m, name_of(m));
    assert(m->type != METRICS_HISTOGRAM);
    put_labels(m, labels, n, NULL);
    put_value(m, "%" PRIu64, value);
}

void metrics_text_double(struct metrics_text *m, double value, const struct metrics_label *labels, unsigned n)
{
    put_str(m, name_of(m));
    assert(m->type != METRICS_HISTOGRAM);
    put_labels(m, labels, n, NULL);
    if (isfinite(value))
        put_value(m, "%.17g", value);
    else
        put_value(m, "%s", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
}

static void put_part(struct metrics_text *m, const char *suffix, const struct metrics_label *labels, unsigned n,
    const char *le, const char *value)
{
    put_str(m, name_of(m));
    put_str(m, suffix);
    put_labels(m, labels, n, le);
    put_value(m, "%s", value);
}

void metrics_text_quantile(
    struct metrics_text *m, const struct quantile *q, const struct metrics_label *labels, unsigned n)
{
    static const int64_t step[] = {1, 2, 5};
    char le[32], value[32];
    assert(m->families && m->type == METRICS_HISTOGRAM);
    for (int64_t us = 1; us <= 10000000; us *= 10)
        for (unsigned i = 0; i < 3 && us * step[i] <= 10000000; i++) {
            snprintf(le, sizeof le, "%.9g", (double)(us * step[i]) / 1e6);
            snprintf(value, sizeof value, "%" PRIu64, quantile_up_to(q, us * step[i] * 1000));
            put_part(m, "_bucket", labels, n, le, value);
        }
    snprintf(value, sizeof value, "%" PRIu64, q->count);
    put_part(m, "_bucket", labels, n, "+Inf", value);
    put_part(m, "_count", labels, n, NULL, value);
    snprintf(value, sizeof value, "%.17g", (double)q->sum_ns / 1e9);
    put_part(m, "_sum", labels, n, NULL, value);
}

int metrics_text_end(struct metrics_text *m)
{
    return m->rc;
}
