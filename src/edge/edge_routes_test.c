/* The HTTP surface without sockets: requests go to the routes, a stepped engine answers, the answer's bytes are read. */
#include "edge/edge_routes.h"

#include "base/clock.h"
#include "base/test.h"
#include "edge/testing_engine.h"
#include "http/sse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

struct rig {
    struct engine *engine;
    struct metrics metrics;
    struct edge_routes routes;
};

static int set_up(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));
    g->engine = testing_engine_create();
    testing_engine_script(g->engine, "Hello world", 11);
    struct openai_config o = {.engine = g->engine,
        .tokenizer = testing_tokenizer(),
        .metrics = &g->metrics,
        .family = CHAT_CHATML,
        .model = "tiny/model",
        .fingerprint = "fp_test",
        .per_key_most = 3,
        .choices_most = 8};
    assert_int_equal(openai_create(&g->routes.openai, &o, NULL), 0);
    assert_int_equal(keys_open(&g->routes.keys, NULL, NULL), 0);
    g->routes.engine = g->engine;
    g->routes.metrics = &g->metrics;
    g->routes.model = "tiny/model";
    *state = g;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *g = *state;
    while (testing_engine_step(g->engine))
        ;
    openai_stop(g->routes.openai, 0);
    openai_free(g->routes.openai);
    keys_close(g->routes.keys);
    testing_engine_free(g->engine);
    free(g);
    return 0;
}

static struct http_answer *request_as(struct rig *g, struct http_request rq, const char *body)
{
    struct http_answer *a = http_answer_create(1 << 16);
    rq.body = (const uint8_t *)body;
    rq.len = body ? strlen(body) : 0;
    if (edge_routes_admit(&g->routes, &rq, a))
        edge_routes_handle(&g->routes, &rq, a);
    return a;
}

static struct http_answer *request(struct rig *g, const char *method, const char *path, const char *body)
{
    return request_as(
        g, (struct http_request){.method = method, .path = path, .host = "localhost:1", .loopback = true}, body);
}

static void run(struct rig *g)
{
    while (testing_engine_step(g->engine))
        ;
}

static int status_of(struct http_answer *a)
{
    struct http_head head;
    return http_answer_head(a, &head, NULL, NULL) ? head.status : 0;
}

static const char *header_of(struct http_answer *a, const char *name)
{
    struct http_head head;
    http_answer_head(a, &head, NULL, NULL);
    for (const char *h = head.headers; *h; h += strlen(h) + 1) {
        bool same = !strcmp(h, name);
        h += strlen(h) + 1;
        if (same)
            return h;
    }
    return NULL;
}

/* Whatever has been written so far, NUL-terminated; frees the answer unless it goes on. */
static char *text_of(struct http_answer *a)
{
    static char text[1 << 16];
    ssize_t n;
    size_t len = 0;
    while ((n = http_answer_take(a, text + len, sizeof(text) - 1 - len, NULL, NULL)) > 0)
        len += (size_t)n;
    text[len] = 0;
    return text;
}

static yyjson_doc *json_of(struct http_answer *a, int status)
{
    char *text = text_of(a);
    if (status_of(a) != status)
        fail_msg("status %d: %s", status_of(a), text);
    yyjson_doc *d = yyjson_read(text, strlen(text), 0);
    if (!d)
        fail_msg("not JSON: %s", text);
    http_answer_unref(a);
    return d;
}

static yyjson_val *at(yyjson_doc *d, const char *pointer)
{
    yyjson_val *v = yyjson_doc_ptr_get(d, pointer);
    if (!v)
        fail_msg("no %s", pointer);
    return v;
}

static void assert_text(yyjson_doc *d, const char *pointer, const char *want)
{
    yyjson_val *v = at(d, pointer);
    assert_true(yyjson_is_str(v));
    assert_string_equal(yyjson_get_str(v), want);
}

static void assert_error(struct http_answer *a, int status, const char *code)
{
    yyjson_doc *d = json_of(a, status);
    assert_text(d, "/error/code", code);
    assert_true(yyjson_is_str(at(d, "/error/message")));
    assert_true(yyjson_is_str(at(d, "/error/type")));
    assert_true(yyjson_obj_get(at(d, "/error"), "param") != NULL);
    yyjson_doc_free(d);
}

#define CHAT(rest)   "{\"model\":\"tiny/model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" rest "}"
#define PROMPT(rest) "{\"model\":\"tiny/model\",\"prompt\":\"once\"" rest "}"

static void chat_is_answered_whole(void **state)
{
    struct rig *g = *state;
    struct http_answer *a = request(g, "POST", "/v1/chat/completions", CHAT(",\"seed\":3"));
    assert_int_equal(status_of(a), 0);
    assert_true(testing_engine_last(g->engine)->sampling.seed == 3);
    assert_int_equal(testing_engine_last(g->engine)->n_tokens, 8);
    run(g);
    yyjson_doc *d = json_of(a, 200);
    assert_text(d, "/object", "chat.completion");
    assert_text(d, "/model", "tiny/model");
    assert_text(d, "/system_fingerprint", "fp_test");
    assert_text(d, "/choices/0/message/role", "assistant");
    assert_text(d, "/choices/0/message/content", "Hello world");
    assert_text(d, "/choices/0/finish_reason", "stop");
    assert_true(yyjson_is_null(at(d, "/choices/0/logprobs")));
    assert_int_equal(yyjson_get_int(at(d, "/usage/prompt_tokens")), 8);
    assert_int_equal(yyjson_get_int(at(d, "/usage/completion_tokens")), 11);
    assert_int_equal(yyjson_get_int(at(d, "/usage/total_tokens")), 19);
    yyjson_doc_free(d);
}

struct stream {
    char text[8][512];
    char finish[8][16];
    unsigned events, usage, done, errors, entries;
};

static bool on_event(void *user, const char *data, size_t len)
{
    struct stream *s = user;
    s->events++;
    if (!strcmp(data, "[DONE]")) {
        s->done++;
        return true;
    }
    yyjson_doc *d = yyjson_read(data, len, 0);
    if (!d)
        fail_msg("not JSON: %s", data);
    yyjson_val *c = yyjson_doc_ptr_get(d, "/choices/0");
    unsigned i = (unsigned)yyjson_get_uint(yyjson_obj_get(c, "index"));
    yyjson_val *text = yyjson_obj_get(yyjson_obj_get(c, "delta"), "content"),
               *finish = yyjson_obj_get(c, "finish_reason");
    text = text ? text : yyjson_obj_get(c, "text");
    if (text)
        strcat(s->text[i], yyjson_get_str(text));
    if (yyjson_is_str(finish))
        strcpy(s->finish[i], yyjson_get_str(finish));
    s->entries += (unsigned)yyjson_arr_size(yyjson_ptr_get(c, "/logprobs/content"));
    s->usage += yyjson_is_obj(yyjson_doc_ptr_get(d, "/usage"));
    s->errors += yyjson_doc_ptr_get(d, "/error") != NULL;
    yyjson_doc_free(d);
    return true;
}

static void read_stream(struct stream *s, struct http_answer *a)
{
    struct sse sse;
    sse_init(&sse, on_event, s);
    char *text = text_of(a);
    assert_int_equal(sse_feed(&sse, text, strlen(text)), 0);
    sse_done(&sse);
}

static void chat_streams_each_token_at_once(void **state)
{
    struct rig *g = *state;
    struct stream s = {0};
    struct http_answer *a = request(
        g, "POST", "/v1/chat/completions", CHAT(",\"stream\":true,\"stream_options\":{\"include_usage\":true}"));
    assert_int_equal(status_of(a), 200);
    for (unsigned i = 1; i <= 11; i++) {
        testing_engine_step(g->engine);
        read_stream(&s, a);
        assert_int_equal(s.events, i);
    }
    run(g);
    read_stream(&s, a);
    assert_string_equal(s.text[0], "Hello world");
    assert_string_equal(s.finish[0], "stop");
    assert_int_equal(s.events, 14); /* 11 tokens, the finish, usage, [DONE] */
    assert_true(s.usage == 1 && s.done == 1);
    assert_int_equal(http_answer_take(a, &s, 1, NULL, NULL), -1);
    http_answer_unref(a);
}

static void split_characters_are_never_sent(void **state)
{
    struct rig *g = *state;
    static const char script[] = "\xe4\xbd\xa0\xe5\xa5\xbd\xf0\x9f\x98\x80\xff!";
    struct stream s = {0};
    testing_engine_script(g->engine, script, sizeof(script) - 1);
    struct http_answer *a = request(g, "POST", "/v1/chat/completions", CHAT(",\"stream\":true"));
    while (testing_engine_step(g->engine))
        read_stream(&s, a); /* each event must be valid JSON: yyjson refuses broken UTF-8 */
    read_stream(&s, a);
    assert_string_equal(s.text[0], "\xe4\xbd\xa0\xe5\xa5\xbd\xf0\x9f\x98\x80\xef\xbf\xbd!");
    http_answer_unref(a);
}

static void stop_strings_end_the_engines_work(void **state)
{
    struct rig *g = *state;
    struct http_answer *a =
        request(g, "POST", "/v1/chat/completions", CHAT(",\"stop\":[\"o w\",\"zzz\"],\"logprobs\":true"));
    unsigned steps = 0;
    while (testing_engine_step(g->engine))
        steps++;
    assert_int_equal(steps, 6); /* "Hello w" is seven tokens, and the seventh ends it */
    yyjson_doc *d = json_of(a, 200);
    assert_text(d, "/choices/0/message/content", "Hell");
    assert_text(d, "/choices/0/finish_reason", "stop");
    assert_int_equal(yyjson_arr_size(at(d, "/choices/0/logprobs/content")), 4);
    yyjson_doc_free(d);
    struct stream s = {0};
    a = request(g, "POST", "/v1/chat/completions", CHAT(",\"stop\":\"wor\",\"stream\":true,\"logprobs\":true"));
    run(g);
    read_stream(&s, a);
    assert_string_equal(s.text[0], "Hello ");
    assert_int_equal(s.entries, 6);
    http_answer_unref(a);
}

static void length_and_choices(void **state)
{
    struct rig *g = *state;
    struct stream s = {0};
    struct http_answer *a =
        request(g, "POST", "/v1/chat/completions", CHAT(",\"n\":3,\"max_tokens\":4,\"stream\":true"));
    assert_int_equal(testing_engine_last(g->engine)->sampling.choice, 2);
    run(g);
    read_stream(&s, a);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(s.text[i], "Hell");
        assert_string_equal(s.finish[i], "length");
    }
    http_answer_unref(a);
    a = request(g, "POST", "/v1/completions",
        "{\"model\":\"tiny/model\",\"prompt\":[\"ab\",\"c\"],\"n\":2,\"echo\":true,\"max_tokens\":2,\"stop\":\"b\"}");
    run(g);
    yyjson_doc *d = json_of(a, 200);
    assert_text(d, "/object", "text_completion");
    assert_text(d, "/choices/1/text", "abHe");
    assert_text(d, "/choices/3/text", "cHe");
    assert_int_equal(yyjson_get_int(at(d, "/choices/3/index")), 3);
    assert_int_equal(yyjson_get_int(at(d, "/usage/prompt_tokens")), 3);
    assert_int_equal(yyjson_get_int(at(d, "/usage/completion_tokens")), 8);
    yyjson_doc_free(d);
}

static void logprobs_in_both_forms(void **state)
{
    struct rig *g = *state;
    static const char script[] = "a\xe4\xbd\xa0z";
    testing_engine_script(g->engine, script, 5);
    struct http_answer *a = request(g, "POST", "/v1/chat/completions", CHAT(",\"logprobs\":true,\"top_logprobs\":2"));
    run(g);
    yyjson_doc *d = json_of(a, 200);
    assert_int_equal(yyjson_arr_size(at(d, "/choices/0/logprobs/content")), 5);
    assert_text(d, "/choices/0/logprobs/content/0/token", "a");
    assert_true(yyjson_get_num(at(d, "/choices/0/logprobs/content/0/logprob")) == -0.25);
    assert_text(d, "/choices/0/logprobs/content/1/token", "bytes:\\xe4");
    assert_int_equal(yyjson_get_int(at(d, "/choices/0/logprobs/content/1/bytes/0")), 0xe4);
    assert_int_equal(yyjson_arr_size(at(d, "/choices/0/logprobs/content/4/top_logprobs")), 2);
    assert_text(d, "/choices/0/logprobs/content/4/top_logprobs/1/token", "b");
    yyjson_doc_free(d);
    a = request(g, "POST", "/v1/completions", PROMPT(",\"logprobs\":3"));
    run(g);
    d = json_of(a, 200);
    assert_int_equal(yyjson_arr_size(at(d, "/choices/0/logprobs/tokens")), 5);
    assert_int_equal(yyjson_obj_size(at(d, "/choices/0/logprobs/top_logprobs/0")), 3);
    assert_int_equal(yyjson_get_int(at(d, "/choices/0/logprobs/text_offset/4")), 2);
    yyjson_doc_free(d);
}

static void refusals_have_the_right_status(void **state)
{
    struct rig *g = *state;
    assert_error(request(g, "POST", "/v1/chat/completions", "{"), 400, "invalid_json");
    assert_error(request(g, "POST", "/v1/chat/completions",
                     "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"),
        404, "model_not_found");
    assert_error(
        request(g, "POST", "/v1/chat/completions", CHAT(",\"max_tokens\":993")), 400, "context_length_exceeded");
    testing_engine_context(g->engine, 8);
    assert_error(request(g, "POST", "/v1/chat/completions", CHAT("")), 400, "context_length_exceeded");
    testing_engine_context(g->engine, 1000);
    assert_error(
        request(g, "POST", "/v1/completions", "{\"model\":\"tiny/model\",\"prompt\":\"\"}"), 400, "invalid_value");
    assert_error(request(g, "GET", "/v1/nothing", NULL), 404, "unknown_url");
    struct http_answer *a = request(g, "GET", "/v1/chat/completions", NULL);
    assert_string_equal(header_of(a, "Allow"), "POST");
    assert_error(a, 405, "method_not_allowed");
    testing_engine_refuse(g->engine, EBUSY);
    a = request(g, "POST", "/v1/chat/completions", CHAT(""));
    assert_non_null(header_of(a, "Retry-After"));
    assert_error(a, 429, "rate_limit_exceeded");
    testing_engine_refuse(g->engine, EIO);
    assert_error(request(g, "POST", "/v1/chat/completions", CHAT(",\"stream\":true")), 503, "engine_failed");
    testing_engine_refuse(g->engine, 0);
}

/* Of three choices the third is refused: the first two are taken back, the answer is one error. */
static void half_a_submission_is_taken_back(void **state)
{
    struct rig *g = *state;
    testing_engine_refuse_after(g->engine, 2);
    struct http_answer *a = request(g, "POST", "/v1/chat/completions", CHAT(",\"n\":3,\"stream\":true"));
    run(g);
    assert_int_equal(testing_engine_cancelled(g->engine), 2);
    assert_error(a, 429, "rate_limit_exceeded");
    testing_engine_refuse_after(g->engine, 100);
}

static void one_key_has_so_many_requests_at_once(void **state)
{
    struct rig *g = *state;
    struct http_answer *a[4];
    for (int i = 0; i < 4; i++)
        a[i] = request(g, "POST", "/v1/chat/completions", CHAT(""));
    assert_non_null(header_of(a[3], "Retry-After"));
    assert_error(a[3], 429, "rate_limit_exceeded");
    run(g);
    for (int i = 0; i < 3; i++)
        yyjson_doc_free(json_of(a[i], 200));
    a[0] = request(g, "POST", "/v1/chat/completions", CHAT(""));
    run(g);
    yyjson_doc_free(json_of(a[0], 200));
}

static void a_client_that_leaves_frees_its_slot(void **state)
{
    struct rig *g = *state;
    static const char *const bodies[] = {CHAT(""), CHAT(",\"stream\":true"), CHAT(",\"n\":2,\"stream\":true")};
    for (int i = 0; i < 3; i++) {
        struct http_answer *a = request(g, "POST", "/v1/chat/completions", bodies[i]);
        testing_engine_step(g->engine);
        http_answer_gone(a);
        assert_int_equal(testing_engine_step(g->engine), 0);
        http_answer_unref(a);
    }
    assert_int_equal(testing_engine_cancelled(g->engine), 4);
    assert_int_equal(atomic_load(&g->metrics.clients_gone), 3);
}

static void a_client_that_does_not_read_is_given_up(void **state)
{
    struct rig *g = *state;
    static char script[2000];
    memset(script, 'x', sizeof(script));
    testing_engine_script(g->engine, script, sizeof(script));
    testing_engine_context(g->engine, 100000);
    struct http_answer *a = request(g, "POST", "/v1/chat/completions", CHAT(",\"stream\":true,\"max_tokens\":2000"));
    unsigned steps = 0;
    while (testing_engine_step(g->engine))
        steps++;
    assert_true(steps > 100 && steps < 1000);
    assert_true(http_answer_is_gone(a));
    http_answer_unref(a);
}

static void a_failed_engine_is_told(void **state)
{
    struct rig *g = *state;
    struct stream s = {0};
    struct http_answer *whole = request(g, "POST", "/v1/chat/completions", CHAT(",\"n\":2"));
    struct http_answer *stream = request(g, "POST", "/v1/chat/completions", CHAT(",\"stream\":true"));
    testing_engine_step(g->engine);
    testing_engine_fail(g->engine, "the halves do not belong together");
    assert_error(whole, 503, "engine_failed");
    read_stream(&s, stream);
    assert_true(s.errors == 1 && s.done == 0);
    assert_int_equal(http_answer_take(stream, &s, 1, NULL, NULL), -1);
    http_answer_unref(stream);
}

static void silent_streams_show_life(void **state)
{
    struct rig *g = *state;
    struct stream s = {0};
    struct http_answer *stream = request(g, "POST", "/v1/chat/completions", CHAT(",\"stream\":true"));
    struct http_answer *whole = request(g, "POST", "/v1/chat/completions", CHAT(""));
    int64_t now = clock_now_ns();
    http_answer_keep_alive(stream, now, 15 * NS_PER_S);
    assert_string_equal(text_of(stream), "");
    http_answer_keep_alive(stream, now + 16 * NS_PER_S, 15 * NS_PER_S);
    http_answer_keep_alive(stream, now + 17 * NS_PER_S, 15 * NS_PER_S);
    assert_string_equal(text_of(stream), ": \n\n");
    http_answer_keep_alive(whole, now + 60 * NS_PER_S, 15 * NS_PER_S);
    run(g);
    read_stream(&s, stream);
    assert_string_equal(s.text[0], "Hello world");
    yyjson_doc_free(json_of(whole, 200));
    http_answer_unref(stream);
}

static void stopping_ends_streams_with_an_error(void **state)
{
    struct rig *g = *state;
    struct stream s = {0};
    struct http_answer *a = request(g, "POST", "/v1/chat/completions", CHAT(",\"stream\":true"));
    testing_engine_run(g->engine, 100000);
    openai_stop(g->routes.openai, 0);
    read_stream(&s, a);
    assert_true(s.errors == 1);
    http_answer_unref(a);
    assert_error(request(g, "POST", "/v1/chat/completions", CHAT("")), 503, "server_stopping");
}

static void who_may_ask(void **state)
{
    struct rig *g = *state;
    char path[] = "/tmp/edge-routes-XXXXXX", lock[64], key[64], header[96];
    close(mkstemp(path));
    struct http_request rq = {.method = "GET", .path = "/v1/models", .host = "edge:1"};
    assert_error(request_as(g, rq, NULL), 401, "missing_api_key"); /* from elsewhere, without any keys */
    keys_close(g->routes.keys);
    assert_int_equal(keys_open(&g->routes.keys, path, NULL), 0);
    assert_int_equal(keys_file_add(path, "me", key, NULL), 0);
    snprintf(header, sizeof(header), "Bearer %s", key);
    rq.loopback = true;
    assert_error(request_as(g, rq, NULL), 401, "missing_api_key");
    rq.authorization = "Bearer mk-wrong";
    assert_error(request_as(g, rq, NULL), 401, "invalid_api_key");
    rq.authorization = header;
    yyjson_doc *d = json_of(request_as(g, rq, NULL), 200);
    assert_text(d, "/data/0/id", "tiny/model");
    yyjson_doc_free(d);
    rq = (struct http_request){.method = "GET", .path = "/metrics", .host = "edge:1"};
    assert_error(request_as(g, rq, NULL), 401, "missing_api_key");
    rq.path = "/health";
    yyjson_doc_free(json_of(request_as(g, rq, NULL), 200));
    snprintf(lock, sizeof(lock), "%s.lock", path);
    unlink(path);
    unlink(lock);
}

static void other_pages_are_kept_out(void **state)
{
    struct rig *g = *state;
    struct http_request rq = {.method = "POST",
        .path = "/v1/chat/completions",
        .host = "localhost:8080",
        .loopback = true,
        .origin = "https://evil.test"};
    assert_error(request_as(g, rq, CHAT("")), 403, "origin_not_allowed");
    rq.origin = "null";
    assert_error(request_as(g, rq, CHAT("")), 403, "origin_not_allowed");
    rq.origin = NULL;
    rq.host = "evil.test:8080"; /* DNS rebinding */
    assert_error(request_as(g, rq, CHAT("")), 403, "host_not_allowed");
    rq.host = "localhost:8080";
    rq.origin = "http://localhost:8080";
    struct http_answer *a = request_as(g, rq, CHAT(""));
    run(g);
    assert_null(header_of(a, "Access-Control-Allow-Origin"));
    yyjson_doc_free(json_of(a, 200));
    g->routes.cors_origin = "https://console.test";
    rq.origin = "https://console.test";
    rq.method = "OPTIONS";
    a = request_as(g, rq, NULL);
    assert_int_equal(status_of(a), 204);
    assert_string_equal(header_of(a, "Access-Control-Allow-Origin"), "https://console.test");
    http_answer_unref(a);
    rq.origin = "https://console.test.evil";
    assert_error(request_as(g, rq, NULL), 403, "origin_not_allowed");
}

static void models_health_and_metrics(void **state)
{
    struct rig *g = *state;
    yyjson_doc *d = json_of(request(g, "GET", "/v1/models/tiny/model", NULL), 200);
    assert_text(d, "/object", "model");
    yyjson_doc_free(d);
    assert_error(request(g, "GET", "/v1/models/other", NULL), 404, "model_not_found");
    d = json_of(request(g, "GET", "/health", NULL), 200);
    assert_text(d, "/status", "ready");
    yyjson_doc_free(d);
    testing_engine_link(g->engine, false);
    d = json_of(request(g, "GET", "/health", NULL), 503);
    assert_text(d, "/status", "degraded");
    yyjson_doc_free(d);
    struct http_answer *a = request(g, "POST", "/v1/chat/completions", CHAT(""));
    run(g);
    edge_routes_done(&g->routes, &(struct http_done){.tag = http_answer_tag(a), .status = 200});
    yyjson_doc_free(json_of(a, 200));
    a = request(g, "GET", "/metrics", NULL);
    char *text = text_of(a);
    static const char *const lines[] = {"meridian_edge_answers_total{route=\"chat\",code=\"200\"} 1\n",
        "meridian_prompt_tokens_total 8\n", "meridian_generated_tokens_total 11\n",
        "meridian_time_to_first_token_seconds_count 1\n", "meridian_inter_token_seconds_count 10\n",
        "meridian_link_up 0\n", "meridian_link_rtt_seconds 0.02", "meridian_link_bytes_total{direction=\"up\"} 12345\n",
        "meridian_kv_rows_free 60\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (!strstr(text, lines[i]))
            fail_msg("no %s in\n%s", lines[i], text);
    http_answer_unref(a);
}

static void the_page_is_served_with_its_policy(void **state)
{
    struct rig *g = *state;
    struct http_answer *a = request(g, "GET", "/", NULL);
    assert_int_equal(status_of(a), 200);
    assert_non_null(strstr(header_of(a, "Content-Security-Policy"), "default-src 'none'"));
    char *text = text_of(a);
    assert_non_null(strstr(text, "<!doctype html>"));
    assert_null(strstr(text, "style="));
    assert_null(strstr(text, "onclick"));
    assert_null(strstr(text, "http://"));
    http_answer_unref(a);
    a = request(g, "GET", "/chat.js", NULL);
    assert_int_equal(status_of(a), 200);
    assert_null(strstr(text_of(a), "innerHTML"));
    http_answer_unref(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(chat_is_answered_whole),
        TEST(chat_streams_each_token_at_once),
        TEST(split_characters_are_never_sent),
        TEST(stop_strings_end_the_engines_work),
        TEST(length_and_choices),
        TEST(logprobs_in_both_forms),
        TEST(refusals_have_the_right_status),
        TEST(half_a_submission_is_taken_back),
        TEST(one_key_has_so_many_requests_at_once),
        TEST(a_client_that_leaves_frees_its_slot),
        TEST(a_client_that_does_not_read_is_given_up),
        TEST(a_failed_engine_is_told),
        TEST(silent_streams_show_life),
        TEST(stopping_ends_streams_with_an_error),
        TEST(who_may_ask),
        TEST(other_pages_are_kept_out),
        TEST(models_health_and_metrics),
        TEST(the_page_is_served_with_its_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
