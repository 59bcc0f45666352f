/* Straight-down writing. When memory runs out in the middle, one client gets JSON that it cannot read; appends never write
 * beyond their buffer. */
#include "edge/openai_json.h"

#include "edge/json_put.h"
#include "edge/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int put(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

/* JSON has no infinities; OpenAI writes -9999 for "impossible". */
static int put_logprob(struct buf *b, float x)
{
    return buf_printf(b, "%.7g", isfinite(x) ? (double)x : -9999.0);
}

/* --- logprobs --- */

static void token_bytes(const struct openai_frame *f, int32_t id, struct buf *ret)
{
    ret->len = 0;
    tokenizer_decode(f->tokenizer, id, true, ret);
}

/* A token that is no whole text is written as its bytes, as OpenAI does: "bytes:\xe4\xbd". */
static int put_token(struct buf *b, const struct buf *bytes)
{
    if (utf8_valid(bytes->data, bytes->len))
        return json_put_str(b, bytes->data, bytes->len);
    int rc = put(b, "\"bytes:");
    for (size_t i = 0; i < bytes->len && !rc; i++)
        rc = buf_printf(b, "\\\\x%02x", bytes->data[i]);
    return rc ? rc : put(b, "\"");
}

static int put_chat_token(const struct openai_frame *f, int32_t id, float logprob, struct buf *scratch, struct buf *b)
{
    token_bytes(f, id, scratch);
    put(b, "{\"token\":");
    put_token(b, scratch);
    put(b, ",\"logprob\":");
    put_logprob(b, logprob);
    put(b, ",\"bytes\":[");
    for (size_t i = 0; i < scratch->len; i++)
        buf_printf(b, i ? ",%u" : "%u", scratch->data[i]);
    return put(b, "]");
}

static int put_chat_logprobs(const struct openai_frame *f, const struct openai_piece *p, struct buf *b)
{
    struct buf scratch = {0};
    put(b, "{\"content\":[");
    for (size_t i = 0; i < p->n_entries; i++) {
        const struct openai_entry *e = &p->entries[i];
        put(b, i ? "," : "");
        put_chat_token(f, e->id, e->logprob, &scratch, b);
        put(b, ",\"top_logprobs\":[");
        for (uint32_t k = 0; k < e->n_top; k++) {
            put(b, k ? "," : "");
            put_chat_token(f, e->top[k].token, e->top[k].logprob, &scratch, b);
            put(b, "}");
        }
        put(b, "]}");
    }
    buf_done(&scratch);
    return put(b, "],\"refusal\":null}");
}

static void put_top_map(const struct openai_frame *f, const struct openai_entry *e, struct buf *scratch, struct buf *b)
{
    put(b, "{");
    for (uint32_t k = 0; k < e->n_top; k++) {
        put(b, k ? "," : "");
        token_bytes(f, e->top[k].token, scratch);
        put_token(b, scratch);
        put(b, ":");
        put_logprob(b, e->top[k].logprob);
    }
    put(b, "}");
}

static int put_legacy_logprobs(const struct openai_frame *f, const struct openai_piece *p, struct buf *b)
{
    struct buf scratch = {0};
    put(b, "{\"tokens\":[");
    for (size_t i = 0; i < p->n_entries; i++) {
        put(b, i ? "," : "");
        token_bytes(f, p->entries[i].id, &scratch);
        put_token(b, &scratch);
    }
    put(b, "],\"token_logprobs\":[");
    for (size_t i = 0; i < p->n_entries; i++) {
        put(b, i ? "," : "");
        put_logprob(b, p->entries[i].logprob);
    }
    put(b, "],\"top_logprobs\":[");
    for (size_t i = 0; i < p->n_entries; i++) {
        put(b, i ? "," : "");
        put_top_map(f, &p->entries[i], &scratch, b);
    }
    put(b, "],\"text_offset\":[");
    for (size_t i = 0; i < p->n_entries; i++)
        buf_printf(b, i ? ",%zu" : "%zu", p->entries[i].start_char);
    buf_done(&scratch);
    return put(b, "]}");
}

static int put_logprobs(const struct openai_frame *f, const struct openai_piece *p, struct buf *b)
{
    put(b, ",\"logprobs\":");
    if (!p->logprobs || (p->finish && !p->n_entries && !p->len))
        return put(b, "null");
    return f->kind == OPENAI_CHAT ? put_chat_logprobs(f, p, b) : put_legacy_logprobs(f, p, b);
}

/* --- frames --- */

static int put_finish(const struct openai_piece *p, struct buf *b)
{
    put(b, ",\"finish_reason\":");
    return p->finish ? json_put_cstr(b, p->finish) : put(b, "null");
}

static int put_head(const struct openai_frame *f, const char *object, struct buf *b)
{
    buf_printf(b, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", f->id, object, f->created);
    json_put_cstr(b, f->model);
    put(b, ",\"system_fingerprint\":");
    json_put_cstr(b, f->fingerprint);
    return put(b, ",\"choices\":[");
}

static int put_usage(const struct openai_usage *u, struct buf *b)
{
    return buf_printf(b,
        "{\"prompt_tokens\":%" PRIu64 ",\"completion_tokens\":%" PRIu64 ",\"total_tokens\":%" PRIu64 "}",
        u->prompt_tokens, u->completion_tokens, u->prompt_tokens + u->completion_tokens);
}

static const char *chunk_object(const struct openai_frame *f)
{
    return f->kind == OPENAI_CHAT ? "chat.completion.chunk" : "text_completion";
}

int openai_json_chunk(const struct openai_frame *f, const struct openai_piece *p, struct buf *ret)
{
    put(ret, "data: ");
    put_head(f, chunk_object(f), ret);
    buf_printf(ret, "{\"index\":%u,", p->index);
    if (f->kind == OPENAI_CHAT) {
        put(ret, p->first ? "\"delta\":{\"role\":\"assistant\"" : "\"delta\":{");
        if (p->len || p->first || (p->logprobs && p->n_entries)) {
            put(ret, p->first ? ",\"content\":" : "\"content\":");
            json_put_str(ret, p->text, p->len);
        }
        put(ret, "}");
    } else {
        put(ret, "\"text\":");
        json_put_str(ret, p->text, p->len);
    }
    put_logprobs(f, p, ret);
    put_finish(p, ret);
    return put(ret, f->include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

int openai_json_usage_chunk(const struct openai_frame *f, const struct openai_usage *u, struct buf *ret)
{
    put(ret, "data: ");
    put_head(f, chunk_object(f), ret);
    put(ret, "],\"usage\":");
    put_usage(u, ret);
    return put(ret, "}\n\n");
}

int openai_json_done(struct buf *ret)
{
    return put(ret, "data: [DONE]\n\n");
}

int openai_json_error_chunk(const struct openai_error *e, struct buf *ret)
{
    put(ret, "data: ");
    openai_error_json(e, ret);
    return put(ret, "\n\n");
}

int openai_json_begin(const struct openai_frame *f, struct buf *ret)
{
    return put_head(f, f->kind == OPENAI_CHAT ? "chat.completion" : "text_completion", ret);
}

int openai_json_choice(const struct openai_frame *f, const struct openai_piece *p, struct buf *ret)
{
    buf_printf(ret, "%s{\"index\":%u,", p->index ? "," : "", p->index);
    put(ret, f->kind == OPENAI_CHAT ? "\"message\":{\"role\":\"assistant\",\"content\":" : "\"text\":");
    json_put_str(ret, p->text, p->len);
    put(ret, f->kind == OPENAI_CHAT ? ",\"refusal\":null}" : "");
    put_logprobs(f, p, ret);
    put_finish(p, ret);
    return put(ret, "}");
}

int openai_json_end(const struct openai_frame *f, const struct openai_usage *u, struct buf *ret)
{
    put(ret, "],\"usage\":");
    put_usage(u, ret);
    return put(ret, "}");
}

int openai_json_models(const char *model, int64_t created, bool list, struct buf *ret)
{
    put(ret, list ? "{\"object\":\"list\",\"data\":[" : "");
    put(ret, "{\"id\":");
    json_put_cstr(ret, model);
    buf_printf(ret, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"meridian\"}", created);
    return put(ret, list ? "]}" : "");
}
