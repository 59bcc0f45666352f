#include "edge/chat_client.h"

#include "base/clock.h"
#include "edge/json_put.h"
#include "http/sse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

static int put_message(struct buf *b, const char *role, const void *text, size_t len)
{
    int rc = buf_printf(b, "{\"role\":\"%s\",\"content\":", role);
    if (!rc)
        rc = json_put_str(b, text, len);
    return rc ? rc : buf_append(b, "},", 2);
}

int chat_client_system(struct chat_client *c, const char *text)
{
    return put_message(&c->history, "system", text, strlen(text));
}

/* A system message is the first, and its closing brace is the first that no string hides: ask the JSON parser. */
void chat_client_reset(struct chat_client *c)
{
    static const char head[] = "{\"role\":\"system\"";
    size_t keep = 0;
    if (c->history.len > sizeof(head) && !memcmp(c->history.data, head, sizeof(head) - 1)) {
        yyjson_doc *d = yyjson_read((char *)c->history.data, c->history.len, YYJSON_READ_STOP_WHEN_DONE);
        keep = d ? yyjson_doc_get_read_size(d) + 1 : 0;
        yyjson_doc_free(d);
    }
    c->history.len = keep;
}

void chat_client_done(struct chat_client *c)
{
    buf_done(&c->history);
}

/* The edge's own sentence out of {"error":{"message":…}}. */
static int refused(int status, struct buf *body, struct error *err)
{
    yyjson_doc *d = yyjson_read(buf_str(body), body->len, 0);
    const char *text = yyjson_get_str(yyjson_doc_ptr_get(d, "/error/message"));
    int code = status == 401 || status == 403 ? EACCES : status == 429 || status == 503 ? EBUSY : EINVAL;
    int rc = error_set(err, code, "%.900s%s", text ? text : "this is not a Meridian edge: unexpected answer",
        status == 401 ? " (give it with --key, or in MERIDIAN_API_KEY)" : "");
    yyjson_doc_free(d);
    return rc;
}

static int find_model(struct chat_client *c, struct error *err)
{
    struct buf body = {0};
    int status = 0;
    struct http_client_request rq = {.method = "GET", .path = "/v1/models", .ret_body = &body};
    if (c->model[0])
        return 0;
    int rc = http_client_do(&c->http, &rq, &status, err);
    if (!rc && status != 200)
        rc = refused(status, &body, err);
    yyjson_doc *d = rc ? NULL : yyjson_read(buf_str(&body), body.len, 0);
    const char *id = yyjson_get_str(yyjson_doc_ptr_get(d, "/data/0/id"));
    if (!rc && (!id || strlen(id) >= sizeof(c->model)))
        rc = error_set(err, EPROTO, "%s offers no model", c->http.url.host);
    if (!rc)
        snprintf(c->model, sizeof(c->model), "%s", id);
    yyjson_doc_free(d);
    buf_done(&body);
    return rc;
}

static int put_request(const struct chat_client *c, const char *text, size_t len, struct buf *b)
{
    buf_append_str(b, "{\"model\":");
    json_put_cstr(b, c->model);
    buf_append_str(b, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    if (c->temperature >= 0)
        buf_printf(b, ",\"temperature\":%.6g", c->temperature);
    if (c->max_tokens)
        buf_printf(b, ",\"max_tokens\":%u", c->max_tokens);
    if (c->seed >= 0)
        buf_printf(b, ",\"seed\":%lld", (long long)c->seed);
    buf_append_str(b, ",\"messages\":[");
    buf_append(b, c->history.data, c->history.len);
    if (put_message(b, "user", text, len))
        return -ENOMEM;
    b->data[b->len - 1] = ']'; /* in place of the last comma */
    return buf_append(b, "}", 1);
}

/* --- the answer --- */

struct listening {
    struct sse sse;
    void (*on_text)(void *user, const char *text, size_t len);
    void *user;
    struct buf text;
    struct chat_reply reply;
    int64_t asked_ns;
    bool done, failed;
    struct error *err;
};

static void take_choice(struct listening *l, yyjson_val *choice)
{
    yyjson_val *text = yyjson_ptr_get(choice, "/delta/content");
    size_t len = yyjson_get_len(text);
    if (yyjson_is_str(text) && len) {
        if (!l->reply.tokens++)
            l->reply.first_s = (double)(clock_now_ns() - l->asked_ns) / 1e9;
        l->on_text(l->user, yyjson_get_str(text), len);
        buf_append(&l->text, yyjson_get_str(text), len);
    }
    l->reply.cut |= yyjson_equals_str(yyjson_obj_get(choice, "finish_reason"), "length");
}

static bool on_event(void *user, const char *data, size_t len)
{
    struct listening *l = user;
    if (!strcmp(data, "[DONE]")) {
        l->done = true;
        return true;
    }
    yyjson_doc *d = yyjson_read(data, len, 0);
    yyjson_val *error = yyjson_doc_ptr_get(d, "/error/message"),
               *usage = yyjson_doc_ptr_get(d, "/usage/completion_tokens");
    take_choice(l, yyjson_doc_ptr_get(d, "/choices/0"));
    if (yyjson_is_uint(usage))
        l->reply.tokens = (uint32_t)yyjson_get_uint(usage);
    l->failed = !d || yyjson_is_str(error);
    if (l->failed)
        error_set(l->err, EIO, "%.900s",
            yyjson_is_str(error) ? yyjson_get_str(error) : "the answer is not what the API promises");
    yyjson_doc_free(d);
    return !l->failed;
}

static bool on_body(void *user, const void *bytes, size_t len)
{
    struct listening *l = user;
    return !sse_feed(&l->sse, bytes, len);
}

static int remember(struct chat_client *c, const char *text, size_t len, const struct buf *answer)
{
    size_t before = c->history.len;
    int rc = put_message(&c->history, "user", text, len);
    if (!rc)
        rc = put_message(&c->history, "assistant", answer->data, answer->len);
    if (rc)
        c->history.len = before;
    return rc;
}

static int listen_to(struct chat_client *c, const struct buf *request, struct listening *l, struct error *err)
{
    struct buf body = {0};
    int status = 0;
    struct http_client_request rq = {.method = "POST",
        .path = "/v1/chat/completions",
        .body = request->data,
        .len = request->len,
        .on_body = on_body,
        .user = l,
        .ret_body = &body};
    int rc = http_client_do(&c->http, &rq, &status, err);
    if (l->failed)
        rc = -EIO;
    else if (!rc && status != 200)
        rc = refused(status, &body, err);
    else if (!rc && !l->done)
        rc = error_set(err, EPIPE, "the answer was cut off");
    buf_done(&body);
    return rc;
}

int chat_client_ask(struct chat_client *c, const char *text, size_t len,
    void (*on_text)(void *user, const char *text, size_t len), void *user, struct chat_reply *ret, struct error *err)
{
    struct listening l = {.on_text = on_text, .user = user, .err = err, .asked_ns = clock_now_ns()};
    struct buf request = {0};
    int rc = find_model(c, err);
    if (rc)
        return rc;
    sse_init(&l.sse, on_event, &l);
    rc = put_request(c, text, len, &request) ? error_set(err, ENOMEM, "no memory") : listen_to(c, &request, &l, err);
    l.reply.whole_s = (double)(clock_now_ns() - l.asked_ns) / 1e9;
    if (!rc || (rc == -ECANCELED && l.text.len))
        remember(c, text, len, &l.text);
    *ret = l.reply;
    sse_done(&l.sse);
    buf_done(&l.text);
    buf_done(&request);
    return rc;
}
