/* The whole server over real sockets: the edge with a testing engine on a thread, and our own client. */
#include "edge/edge_server.h"
#include "http/http_client.h"
#include "http/http_listen.h"
#include "http/http_parse.h"
#include "http/sse.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/test.h"
#include "edge/testing_engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY(rest) "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" rest "}"

struct rig {
    struct engine *engine;
    struct edge_server *server;
    struct http_client client;
    char dir[64];
};

static char script[100000];

static void start_with(struct rig *g, struct edge_config *cfg, unsigned pause_us)
{
    struct error err = {""};
    memset(script, 'y', sizeof(script));
    g->engine = testing_engine_create();
    testing_engine_context(g->engine, 200000);
    testing_engine_script(g->engine, script, sizeof(script));
    testing_engine_run(g->engine, pause_us);
    cfg->engine = g->engine;
    cfg->tokenizer = testing_tokenizer();
    cfg->family = CHAT_CHATML;
    cfg->model = "m";
    cfg->default_max_tokens = 5;
    if (edge_server_start(&g->server, cfg, &err))
        fail_msg("%s", err.text);
    assert_int_equal(http_url_parse(&g->client.url, edge_server_url(g->server), &err), 0);
    g->client.cancel_fd = -1;
    g->client.timeout_ms = 5000;
}

static int set_up(void **state)
{
    static const char *const listen[] = {"localhost:0"};
    struct rig *g = *state = calloc(1, sizeof(*g));
    start_with(g, &(struct edge_config){.listen = listen, .n_listen = 1, .body_most = 10000}, 500);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *g = *state;
    edge_server_stop(g->server);
    testing_engine_free(g->engine);
    free(g);
    return 0;
}

static int post(struct rig *g, const char *body, size_t len, struct buf *ret)
{
    int status = 0;
    struct error err = {""};
    struct http_client_request rq = {
        .method = "POST", .path = "/v1/chat/completions", .body = body, .len = len, .ret_body = ret};
    if (http_client_do(&g->client, &rq, &status, &err))
        fail_msg("%s", err.text);
    return status;
}

static void an_answer_comes_whole(void **state)
{
    struct buf b = {0};
    assert_int_equal(post(*state, BODY(""), strlen(BODY("")), &b), 200);
    assert_non_null(strstr(buf_str(&b), "\"content\":\"yyyyy\""));
    buf_done(&b);
}

static void both_families_answer(void **state)
{
    struct rig *g = *state;
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    for (int i = 0; i < 2; i++) {
        int status = 0;
        struct error err = {""};
        struct buf b = {0};
        struct http_client c = g->client;
        struct http_client_request rq = {.method = "GET", .path = "/v1/models", .ret_body = &b};
        strcpy(c.url.host, hosts[i]);
        assert_int_equal(http_client_do(&c, &rq, &status, &err), 0);
        assert_int_equal(status, 200);
        buf_done(&b);
    }
}

static void large_bodies_are_refused(void **state)
{
    struct buf b = {0};
    char *body = malloc(20000);
    memset(body, ' ', 20000);
    assert_int_equal(post(*state, body, 20000, &b), 413);
    assert_non_null(strstr(buf_str(&b), "request_too_large"));
    free(body);
    buf_done(&b);
}

static int connect_raw(struct rig *g)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(edge_server_port(g->server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void send_raw(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void send_post(int fd, const char *body)
{
    char head[512];
    snprintf(head, sizeof(head),
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    send_raw(fd, head);
}

/* Waits until at most `most` requests are at the engine; bounded. */
static void wait_running(struct rig *g, unsigned least, unsigned most)
{
    int64_t until = clock_now_ns() + 5 * NS_PER_S;
    unsigned n;
    while ((n = testing_engine_running(g->engine)) < least || n > most) {
        if (clock_now_ns() > until)
            fail_msg("%u requests are at the engine", n);
        poll(NULL, 0, 1);
    }
}

static void chunked_bodies_are_bounded_too(void **state)
{
    struct rig *g = *state;
    int fd = connect_raw(g);
    char chunk[1100], answer[4096];
    send_raw(fd, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        memset(chunk, ' ', sizeof(chunk));
        memcpy(chunk, "400\r\n", 5);
        memcpy(chunk + 5 + 1024, "\r\n", 3);
        send_raw(fd, chunk);
    }
    send_raw(fd, "0\r\n\r\n");
    ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);
    assert_true(n > 12);
    assert_memory_equal(answer, "HTTP/1.1 413", 12);
    close(fd);
}

/* A client that hangs up while nothing is being sent to it (a whole answer, far from done) is noticed at once. */
static void hanging_up_cancels(void **state)
{
    struct rig *g = *state;
    int whole = connect_raw(g), stream = connect_raw(g);
    send_post(whole, BODY(",\"max_tokens\":100000"));
    send_post(stream, BODY(",\"max_tokens\":100000,\"stream\":true"));
    wait_running(g, 2, 2);
    close(whole);
    wait_running(g, 1, 1);
    close(stream);
    wait_running(g, 0, 0);
}

struct arrivals {
    struct sse sse;
    int64_t first_ns, last_ns;
    unsigned n;
};

static bool on_event(void *user, const char *data, size_t len)
{
    struct arrivals *a = user;
    a->last_ns = clock_now_ns();
    a->first_ns = a->n++ ? a->first_ns : a->last_ns;
    return true;
}

static bool on_body(void *user, const void *bytes, size_t len)
{
    struct arrivals *a = user;
    return !sse_feed(&a->sse, bytes, len);
}

static void tokens_arrive_one_by_one(void **state)
{
    struct rig *g = *state;
    struct arrivals a = {0};
    int status;
    struct error err = {""};
    const char *body = BODY(",\"max_tokens\":50,\"stream\":true");
    struct http_client_request rq = {.method = "POST",
        .path = "/v1/chat/completions",
        .body = body,
        .len = strlen(body),
        .on_body = on_body,
        .user = &a};
    sse_init(&a.sse, on_event, &a);
    if (http_client_do(&g->client, &rq, &status, &err))
        fail_msg("%s", err.text);
    sse_done(&a.sse);
    assert_int_equal(status, 200);
    assert_int_equal(a.n, 52);
    /* 50 tokens 500 µs apart: they came over time, not in one piece at the end. */
    assert_true(a.last_ns - a.first_ns >= 20 * NS_PER_MS);
}

static void cancelling_the_client_cancels_the_engine(void **state)
{
    struct rig *g = *state;
    struct arrivals a = {0};
    struct error err = {""};
    int fds[2], status;
    const char *body = BODY(",\"max_tokens\":100000");
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    g->client.cancel_fd = fds[0];
    struct http_client_request rq = {.method = "POST",
        .path = "/v1/chat/completions",
        .body = body,
        .len = strlen(body),
        .on_body = on_body,
        .user = &a};
    assert_int_equal(http_client_do(&g->client, &rq, &status, &err), -ECANCELED);
    wait_running(g, 0, 0);
    close(fds[0]);
    close(fds[1]);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Fifty connections wait, ten of them for an answer that does not come: no CPU is used. */
static void waiting_costs_no_cpu(void **state)
{
    static const char *const listen[] = {"127.0.0.1:0"};
    struct rig g = {0};
    int fds[50];
    start_with(&g, &(struct edge_config){.listen = listen, .n_listen = 1}, 10000000);
    for (int i = 0; i < 50; i++) {
        fds[i] = connect_raw(&g);
        if (i < 10)
            send_post(fds[i], BODY(",\"stream\":true"));
    }
    wait_running(&g, 10, 10);
    poll(NULL, 0, 50);
    double before = cpu_seconds();
    poll(NULL, 0, 300);
    double used = cpu_seconds() - before;
    for (int i = 0; i < 50; i++)
        close(fds[i]);
    /* The engine sleeps ten seconds between steps; it is not waited for. */
    if (used > 0.03)
        fail_msg("%.3f s of CPU in 0.3 s of waiting", used);
    testing_engine_hurry(g.engine);
    edge_server_stop(g.server);
    testing_engine_free(g.engine);
}

/* The time limit of idle connections does not count while an answer is in the making. */
static void a_slow_answer_outlives_the_idle_limit(void **state)
{
    static const char *const listen[] = {"127.0.0.1:0"};
    struct rig g = {0};
    struct buf b = {0};
    struct arrivals a = {0};
    struct error err = {""};
    int status;
    const char *body = BODY(",\"max_tokens\":2,\"stream\":true");
    struct http_client_request rq = {.method = "POST",
        .path = "/v1/chat/completions",
        .body = body,
        .len = strlen(body),
        .on_body = on_body,
        .user = &a};
    start_with(&g, &(struct edge_config){.listen = listen, .n_listen = 1, .idle_s = 1}, 1600000);
    assert_int_equal(post(&g, BODY(",\"max_tokens\":1"), strlen(BODY(",\"max_tokens\":1")), &b), 200);
    sse_init(&a.sse, on_event, &a);
    assert_int_equal(http_client_do(&g.client, &rq, &status, &err), 0);
    assert_int_equal(a.n, 4);
    sse_done(&a.sse);
    buf_done(&b);
    edge_server_stop(g.server);
    testing_engine_free(g.engine);
}

/* Reads until the connection ends, while the server stops. */
static void stop_while_streaming(const char *body, uint32_t grace_ms, char *answer, size_t cap)
{
    static const char *const listen[] = {"127.0.0.1:0"};
    struct rig g = {0};
    size_t len = 0;
    ssize_t n;
    start_with(&g, &(struct edge_config){.listen = listen, .n_listen = 1, .stop_grace_ms = grace_ms}, 1000);
    int fd = connect_raw(&g);
    send_post(fd, body);
    wait_running(&g, 1, 1);
    edge_server_stop(g.server);
    while (len < cap - 1 && (n = recv(fd, answer + len, cap - 1 - len, 0)) > 0)
        len += (size_t)n;
    answer[len] = 0;
    assert_true(len > 5);
    assert_string_equal(answer + len - 5, "0\r\n\r\n");
    close(fd);
    testing_engine_free(g.engine);
}

static void stopping_ends_open_streams(void **state)
{
    static char answer[65536];
    stop_while_streaming(BODY(",\"max_tokens\":100000,\"stream\":true"), 0, answer, sizeof(answer));
    assert_non_null(strstr(answer, "server_stopping"));
    stop_while_streaming(BODY(",\"max_tokens\":100,\"stream\":true"), 5000, answer, sizeof(answer));
    assert_null(strstr(answer, "server_stopping"));
    assert_non_null(strstr(answer, "[DONE]"));
}

static void https_with_a_pinned_certificate(void **state)
{
    static const char *const listen[] = {"localhost:0"};
    struct rig g = {.dir = "/tmp/edge-http-XXXXXX"};
    char path[96], wrong[128];
    struct buf b = {0};
    struct error err = {""};
    int status;
    assert_non_null(mkdtemp(g.dir));
    start_with(&g, &(struct edge_config){.listen = listen, .n_listen = 1, .tls = true, .tls_dir = g.dir}, 500);
    assert_true(edge_server_tls_is_new(g.server));
    struct http_client_request rq = {.method = "GET", .path = "/v1/models", .ret_body = &b};
    assert_int_equal(http_client_do(&g.client, &rq, &status, &err), -EACCES);
    g.client.fingerprint = edge_server_tls_fingerprint(g.server);
    assert_int_equal(http_client_do(&g.client, &rq, &status, &err), 0);
    assert_int_equal(status, 200);
    snprintf(wrong, sizeof(wrong), "%s", g.client.fingerprint);
    wrong[0] = wrong[0] == '0' ? '1' : '0';
    g.client.fingerprint = wrong;
    assert_int_equal(http_client_do(&g.client, &rq, &status, &err), -EACCES);
    g.client.fingerprint = NULL;
    snprintf(path, sizeof(path), "%s/edge-tls.crt", g.dir);
    g.client.ca_file = path;
    b.len = 0;
    if (http_client_do(&g.client, &rq, &status, &err))
        fail_msg("%s", err.text);
    struct arrivals a = {0};
    const char *body = BODY(",\"max_tokens\":20,\"stream\":true");
    rq = (struct http_client_request){.method = "POST",
        .path = "/v1/chat/completions",
        .body = body,
        .len = strlen(body),
        .on_body = on_body,
        .user = &a};
    sse_init(&a.sse, on_event, &a);
    assert_int_equal(http_client_do(&g.client, &rq, &status, &err), 0);
    assert_int_equal(a.n, 22);
    sse_done(&a.sse);
    edge_server_stop(g.server);
    testing_engine_free(g.engine);
    unlink(path);
    snprintf(path, sizeof(path), "%s/edge-tls.key", g.dir);
    unlink(path);
    rmdir(g.dir);
    buf_done(&b);
}

static void addresses_are_read_and_checked(void **state)
{
    static const struct {
        const char *text;
        int rc;
        bool loopback;
    } rows[] = {{"127.0.0.1:80", 0, true}, {"[::1]:80", 0, true}, {"localhost:80", 0, true}, {"*:80", 0, false},
        {":80", 0, false}, {"0.0.0.0:80", 0, false}, {"80", -EINVAL, false}, {"::1:80", -EINVAL, false},
        {"host:", -EINVAL, false}, {"host:99999", -EINVAL, false}, {"host:8x", -EINVAL, false}};
    struct http_listen_name name;
    struct error err;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(http_listen_parse(&name, rows[i].text, &err), rows[i].rc);
        if (!rows[i].rc)
            assert_int_equal(http_listen_is_loopback(&name), rows[i].loopback);
    }
    static const char *const open_to_all[] = {"*:0"};
    struct engine *e = testing_engine_create();
    struct edge_server *s;
    struct edge_config cfg = {
        .engine = e, .tokenizer = testing_tokenizer(), .model = "m", .listen = open_to_all, .n_listen = 1};
    assert_int_equal(edge_server_start(&s, &cfg, &err), -EACCES);
    assert_non_null(strstr(err.text, "edge key add"));
    testing_engine_free(e);
}

static void urls_are_read_and_checked(void **state)
{
    struct http_url u;
    struct error err;
    assert_int_equal(http_url_parse(&u, "https://[::1]:8443/x/", &err), 0);
    assert_true(u.tls);
    assert_string_equal(u.host, "::1");
    assert_string_equal(u.port, "8443");
    assert_string_equal(u.path, "/x");
    assert_int_equal(http_url_parse(&u, "edge", &err), 0);
    assert_string_equal(u.port, "80");
    static const char *const bad[] = {
        "", "http://", "ftp://x", "http://a:b", "http://a:", "http://u@h", "http://a:123456"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(http_url_parse(&u, bad[i], &err), -EINVAL);
}

static bool collect(void *user, const void *bytes, size_t len)
{
    return !buf_append(user, bytes, len);
}

static void answers_are_parsed_in_any_pieces(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *body;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
            200, "abc0123456789"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", 404, "no"},
        {"HTTP/1.0 200 OK\n\nuntil the end", 200, "until the end"},
        {"HTTP/1.1 204 No\r\n\r\n", 204, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t step = 1; step < 40; step++) {
            struct http_parse p;
            struct buf b = {0};
            size_t len = strlen(rows[i].text);
            http_parse_init(&p, collect, &b);
            for (size_t at = 0; at < len; at += step)
                assert_int_equal(http_parse_feed(&p, rows[i].text + at, len - at < step ? len - at : step), 0);
            assert_int_equal(http_parse_eof(&p), 0);
            assert_int_equal(p.status, rows[i].status);
            assert_string_equal(buf_str(&b), rows[i].body);
            buf_done(&b);
            http_parse_done(&p);
        }
    static const char *const bad[] = {"SSH-2.0-x\r\n", "HTTP/1.1 99 x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http_parse p;
        struct buf b = {0};
        http_parse_init(&p, collect, &b);
        assert_int_equal(http_parse_feed(&p, bad[i], strlen(bad[i])), -EPROTO);
        http_parse_done(&p);
        buf_done(&b);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_comes_whole),
        TEST(both_families_answer),
        TEST(large_bodies_are_refused),
        TEST(chunked_bodies_are_bounded_too),
        TEST(hanging_up_cancels),
        TEST(tokens_arrive_one_by_one),
        TEST(cancelling_the_client_cancels_the_engine),
        cmocka_unit_test(waiting_costs_no_cpu),
        cmocka_unit_test(a_slow_answer_outlives_the_idle_limit),
        cmocka_unit_test(stopping_ends_open_streams),
        cmocka_unit_test(https_with_a_pinned_certificate),
        cmocka_unit_test(addresses_are_read_and_checked),
        cmocka_unit_test(urls_are_read_and_checked),
        cmocka_unit_test(answers_are_parsed_in_any_pieces),
    };
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_LEVEL_ERROR, false, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
