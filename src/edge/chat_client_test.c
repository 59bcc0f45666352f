/* A conversation against the real server over a testing engine. */
#include "edge/chat_client.h"

#include "base/log.h"
#include "base/test.h"
#include "edge/edge_server.h"
#include "edge/testing_engine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rig {
    struct engine *engine;
    struct edge_server *server;
    struct chat_client client;
    struct buf heard;
};

static int set_up(void **state)
{
    static const char *const listen[] = {"127.0.0.1:0"};
    struct rig *g = *state = calloc(1, sizeof(*g));
    struct error err = {""};
    g->engine = testing_engine_create();
    testing_engine_script(g->engine, "\xe4\xbd\xa0 ok", 6);
    testing_engine_run(g->engine, 100);
    struct edge_config cfg = {.engine = g->engine,
        .tokenizer = testing_tokenizer(),
        .family = CHAT_CHATML,
        .model = "m",
        .listen = listen,
        .n_listen = 1};
    assert_int_equal(edge_server_start(&g->server, &cfg, &err), 0);
    g->client = (struct chat_client){.temperature = 0, .seed = 7, .http = {.cancel_fd = -1, .timeout_ms = 5000}};
    return http_url_parse(&g->client.http.url, edge_server_url(g->server), &err);
}

static int tear_down(void **state)
{
    struct rig *g = *state;
    chat_client_done(&g->client);
    edge_server_stop(g->server);
    testing_engine_free(g->engine);
    buf_done(&g->heard);
    free(g);
    return 0;
}

static void on_text(void *user, const char *text, size_t len)
{
    buf_append(user, text, len);
}

static int ask(struct rig *g, const char *text, struct chat_reply *r, struct error *err)
{
    g->heard.len = 0;
    return chat_client_ask(&g->client, text, strlen(text), on_text, &g->heard, r, err);
}

/* What the engine was given: "role:content" lines of the testing chat template. */
static const char *prompt(struct rig *g)
{
    static char text[512];
    const struct engine_request *r = testing_engine_last(g->engine);
    for (uint32_t i = 0; i < r->n_tokens; i++)
        text[i] = (char)r->tokens[i];
    text[r->n_tokens] = 0;
    return text;
}

static void a_conversation_is_remembered_until_reset(void **state)
{
    struct rig *g = *state;
    struct chat_reply r;
    struct error err = {""};
    assert_int_equal(chat_client_system(&g->client, "be \"brief\"}"), 0);
    assert_int_equal(ask(g, "one\n\"two\"", &r, &err), 0);
    assert_string_equal(buf_str(&g->heard), "\xe4\xbd\xa0 ok");
    assert_int_equal(r.tokens, 6);
    assert_true(testing_engine_last(g->engine)->sampling.seed == 7);
    assert_int_equal(ask(g, "three", &r, &err), 0);
    assert_string_equal(prompt(g), "system:be \"brief\"}\nuser:one\n\"two\"\nassistant:\xe4\xbd\xa0 ok\nuser:three\n");
    chat_client_reset(&g->client);
    assert_int_equal(ask(g, "four", &r, &err), 0);
    assert_string_equal(prompt(g), "system:be \"brief\"}\nuser:four\n");
}

static void the_longest_answer_is_told(void **state)
{
    struct rig *g = *state;
    struct chat_reply r;
    struct error err = {""};
    g->client.max_tokens = 4;
    assert_int_equal(ask(g, "one", &r, &err), 0);
    assert_true(r.cut);
    assert_string_equal(buf_str(&g->heard), "\xe4\xbd\xa0 ");
}

static void refusals_come_as_sentences(void **state)
{
    struct rig *g = *state;
    struct chat_reply r;
    struct error err = {""};
    g->client.http.key = "mk-none";
    assert_int_equal(ask(g, "one", &r, &err), 0); /* no keys: any is let through on this machine */
    strcpy(g->client.model, "other");
    assert_int_equal(ask(g, "one", &r, &err), -EINVAL);
    assert_non_null(strstr(err.text, "'other' does not exist"));
    size_t before = g->client.history.len;
    strcpy(g->client.model, "m");
    testing_engine_refuse(g->engine, EBUSY);
    assert_int_equal(ask(g, "one", &r, &err), -EBUSY);
    assert_int_equal(g->client.history.len, before);
    testing_engine_refuse(g->engine, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_conversation_is_remembered_until_reset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_longest_answer_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusals_come_as_sentences, set_up, tear_down),
    };
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_LEVEL_ERROR, false, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
