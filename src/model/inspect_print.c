/* The reports of inspect.h: tables for a person, JSON for a program. */
#include "model/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TRAIN_ROWS = 512, TRAIN_MICRO = 8 }; /* what the training figures are for */

struct size_text {
    char s[24];
};

static struct size_text size_of(uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)bytes;
    int unit = 0;
    while (v >= 1000 && unit < 4) {
        v /= 1000;
        unit++;
    }
    struct size_text t;
    snprintf(t.s, sizeof(t.s), unit && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return t;
}

/* Costs of the asked-for cut or of the candidates; returns how many. */
static uint32_t costs(const struct model_facts *facts, const struct model_cut_place *cut, struct model_cut_cost ret[8])
{
    struct model_cut_place places[8];
    uint32_t n = 0, many = 1;
    if (!facts->runs)
        return 0;
    if (cut)
        places[0] = *cut;
    else
        many = model_cut_candidates(&facts->params, places);
    for (uint32_t i = 0; i < many; i++)
        n += !model_cut_cost(&ret[n], facts, places[i].head, places[i].tail, NULL);
    return n;
}

/* --- text -------------------------------------------------------------------------------------------------------------- */

static const char *part_name(const struct model_facts *facts)
{
    return facts->params.cut.part == MODEL_EDGE ? "edge" : facts->params.cut.part == MODEL_CLOUD ? "cloud" : "whole";
}

static void print_shape(struct buf *b, const struct model_facts *facts)
{
    const struct model_params *p = &facts->params;
    buf_printf(b,
        "shape          %" PRIu32 " blocks, width %" PRIu32 ", %" PRIu32 " heads of %" PRIu32 " on %" PRIu32
        " key/value heads, feed-forward %" PRIu32 "\n",
        p->n_block, p->d, p->n_head, p->head_dim, p->n_head_kv, p->d_ff);
    buf_printf(b, "context        %" PRIu32 " positions", p->n_ctx);
    if (p->window)
        buf_printf(b, ", attention window %" PRIu32, p->window);
    static const char *const scalings[] = {"", ", linear scaling", ", yarn scaling"};
    buf_printf(b, "; rotary base %g%s%s\n", (double)p->rope_base, scalings[p->rope_scaling],
        p->rope_freqs ? ", frequency factors" : "");
    if (p->cut.part != MODEL_WHOLE) {
        char name[48];
        model_cut_name(&p->cut, name);
        buf_printf(b, "part           the %s half of cut %s: head %" PRIu32 ", tail %" PRIu32 "\n", part_name(facts),
            name, p->cut.head, p->cut.tail);
    }
}

static void print_types(struct buf *b, const struct model_facts *facts)
{
    buf_printf(b, "weights        %.1f million, %s (file %s):", (double)facts->n_weights / 1e6,
        size_of(facts->weight_bytes).s, size_of(facts->file_bytes).s);
    for (int i = 0; i < GGML_TYPE_COUNT; i++)
        if (facts->types[i].n_tensors)
            buf_printf(b, " %s %" PRIu32 " (%s)", ggml_type_name((enum ggml_type)i), facts->types[i].n_tensors,
                size_of(facts->types[i].bytes).s);
    buf_printf(b, "\n");
}

static void print_traffic(struct buf *b, const struct model_cut_cost *c)
{
    static const char *const codecs[] = {"f32", "f16", "int8"};
    buf_printf(b, "\nvectors        a position     training micro-batch   training step\n");
    buf_printf(b, "each way       (one token)    of %d positions       of %d micro-batches\n", TRAIN_ROWS, TRAIN_MICRO);
    for (int i = 0; i < CUT_N_CODECS; i++) {
        uint64_t step = model_cut_train_bytes(c, i, TRAIN_ROWS, TRAIN_MICRO, false).up;
        buf_printf(b, "   %-11s %-14s %-22s %s\n", codecs[i], size_of(c->row_bytes[i]).s, size_of(step / TRAIN_MICRO).s,
            size_of(step).s);
    }
    buf_printf(b, "With a frozen head half as much comes back in training.\n");
}

static void print_costs(struct buf *b, const struct model_facts *facts, const struct model_cut_place *cut)
{
    struct model_cut_cost c[8];
    uint32_t n = costs(facts, cut, c);
    if (!n)
        return;
    buf_printf(b, "\ncut            weights                KV for 1024 positions    work on\n");
    buf_printf(b, "head + tail    campus     cloud       campus     cloud         campus\n");
    for (uint32_t i = 0; i < n; i++)
        buf_printf(b, "%4" PRIu32 " + %-4" PRIu32 "    %-10s %-11s %-10s %-12s %5.1f %%\n", c[i].head, c[i].tail,
            size_of(c[i].edge_bytes).s, size_of(c[i].cloud_bytes).s, size_of(c[i].edge_kv).s, size_of(c[i].cloud_kv).s,
            100 * c[i].edge_share);
    print_traffic(b, &c[0]);
}

int model_inspect_text(struct buf *ret, const struct model_facts *facts, const struct model_cut_place *cut)
{
    if (buf_reserve(ret, 8192)) /* more than the report needs, so that nothing below can fail for memory */
        return -ENOMEM;
    buf_printf(ret, "architecture   %s%s%s\n", facts->architecture[0] ? facts->architecture : "unknown",
        facts->name[0] ? ", " : "", facts->name);
    buf_printf(ret, "runs here      %s%s\n", facts->runs ? "yes" : "no: ", facts->runs ? "" : facts->why_not);
    if (facts->params.n_block)
        print_shape(ret, facts);
    print_types(ret, facts);
    if (facts->tokenizer[0])
        buf_printf(ret, "vocabulary     %" PRIu64 " tokens, %s%s%s; chat template: %s\n", facts->n_tokens,
            facts->tokenizer, facts->pre[0] ? " / " : "", facts->pre, facts->chat);
    print_costs(ret, facts, cut);
    return 0;
}

/* --- JSON -------------------------------------------------------------------------------------------------------------- */

/* A string from a file, quoted. Bytes that are no UTF-8 become U+FFFD, so that the document stays valid. */
static void json_str(struct buf *b, const char *s)
{
    buf_append_str(b, "\"");
    for (const uint8_t *p = (const uint8_t *)s; *p;) {
        int n = *p < 0x80                 ? 1
                : *p >= 0xc2 && *p < 0xe0 ? 2
                : *p >= 0xe0 && *p < 0xf0 ? 3
                : *p >= 0xf0 && *p < 0xf5 ? 4
                                          : 0;
        int have = 1;
        while (have < n && (p[have] & 0xc0) == 0x80)
            have++;
        bool surrogate_or_long = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
                                 (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
        if (!n || have < n || surrogate_or_long) {
            buf_append_str(b, "\xef\xbf\xbd");
            p++;
            continue;
        }
        if (*p == '"' || *p == '\\')
            buf_printf(b, "\\%c", *p);
        else if (*p < 0x20)
            buf_printf(b, "\\u%04x", *p);
        else
            buf_append(b, p, (size_t)n);
        p += n;
    }
    buf_append_str(b, "\"");
}

static void json_named(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "\"%s\":", key);
    json_str(b, value);
    buf_append_str(b, ",");
}

static void json_params(struct buf *b, const struct model_facts *facts)
{
    const struct model_params *p = &facts->params;
    char name[48];
    model_cut_name(&p->cut, name);
    buf_printf(b,
        "\"blocks\":%" PRIu32 ",\"width\":%" PRIu32 ",\"heads\":%" PRIu32 ",\"heads_kv\":%" PRIu32
        ",\"head_width\":%" PRIu32 ",\"feed_forward\":%" PRIu32 ",\"context\":%" PRIu32 ",\"window\":%" PRIu32
        ",\"tied\":%s,",
        p->n_block, p->d, p->n_head, p->n_head_kv, p->head_dim, p->d_ff, p->n_ctx, p->window,
        p->tied ? "true" : "false");
    buf_printf(b, "\"part\":\"%s\",\"cut\":\"%s\",\"head\":%" PRIu32 ",\"tail\":%" PRIu32 ",", part_name(facts), name,
        p->cut.head, p->cut.tail);
}

static void json_costs(struct buf *b, const struct model_facts *facts, const struct model_cut_place *cut)
{
    static const char *const codecs[] = {"f32", "f16", "int8"};
    struct model_cut_cost c[8];
    uint32_t n = costs(facts, cut, c);
    buf_append_str(b, "\"cuts\":[");
    for (uint32_t i = 0; i < n; i++) {
        buf_printf(b,
            "%s{\"head\":%" PRIu32 ",\"tail\":%" PRIu32 ",\"campus_weight_bytes\":%" PRIu64
            ",\"cloud_weight_bytes\":%" PRIu64 ",\"campus_kv_bytes_1024\":%" PRIu64 ",\"cloud_kv_bytes_1024\":%" PRIu64
            ",\"campus_work\":%.4f,\"vector_bytes\":{",
            i ? "," : "", c[i].head, c[i].tail, c[i].edge_bytes, c[i].cloud_bytes, c[i].edge_kv, c[i].cloud_kv,
            c[i].edge_share);
        for (int j = 0; j < CUT_N_CODECS; j++)
            buf_printf(b, "%s\"%s\":%" PRIu64, j ? "," : "", codecs[j], c[i].row_bytes[j]);
        buf_printf(b, "},\"training\":{\"rows\":%d,\"micro_batches\":%d", TRAIN_ROWS, TRAIN_MICRO);
        for (int j = 0; j < CUT_N_CODECS; j++) {
            struct model_train_bytes t = model_cut_train_bytes(&c[i], j, TRAIN_ROWS, TRAIN_MICRO, false);
            buf_printf(b,
                ",\"%s\":{\"step_up\":%" PRIu64 ",\"step_down\":%" PRIu64 ",\"micro_up\":%" PRIu64
                ",\"micro_down\":%" PRIu64 "}",
                codecs[j], t.up, t.down, t.up / TRAIN_MICRO, t.down / TRAIN_MICRO);
        }
        buf_append_str(b, "}}");
    }
    buf_append_str(b, "]");
}

int model_inspect_json(struct buf *ret, const struct model_facts *facts, const struct model_cut_place *cut)
{
    if (buf_reserve(ret, 16384))
        return -ENOMEM;
    buf_append_str(ret, "{");
    json_named(ret, "architecture", facts->architecture);
    json_named(ret, "name", facts->name);
    buf_printf(ret, "\"runs\":%s,", facts->runs ? "true" : "false");
    json_named(ret, "why_not", facts->why_not);
    if (facts->params.n_block)
        json_params(ret, facts);
    buf_printf(ret, "\"weights\":%" PRIu64 ",\"weight_bytes\":%" PRIu64 ",\"file_bytes\":%" PRIu64 ",\"types\":{",
        facts->n_weights, facts->weight_bytes, facts->file_bytes);
    const char *comma = "";
    for (int i = 0; i < GGML_TYPE_COUNT; i++)
        if (facts->types[i].n_tensors) {
            buf_printf(ret, "%s\"%s\":{\"tensors\":%" PRIu32 ",\"bytes\":%" PRIu64 "}", comma,
                ggml_type_name((enum ggml_type)i), facts->types[i].n_tensors, facts->types[i].bytes);
            comma = ",";
        }
    buf_append_str(ret, "},");
    json_named(ret, "tokenizer", facts->tokenizer);
    json_named(ret, "pre_tokenizer", facts->pre);
    buf_printf(ret, "\"tokens\":%" PRIu64 ",", facts->n_tokens);
    json_named(ret, "chat", facts->chat);
    json_costs(ret, facts, cut);
    buf_append_str(ret, "}\n");
    return 0;
}
