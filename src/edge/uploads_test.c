/* Uploads over real sockets: our client, pieces by hand, wrong requests, restarts, a line that breaks. */
#include "base/clock.h"
#include "base/test.h"
#include "edge/edge_server.h"
#include "edge/testing_engine.h"
#include "edge/upload_client.h"
#include "edge/uploads_inner.h"
#include "http/http_client.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

struct rig {
    struct engine *engine;
    struct edge_server *server;
    struct http_client client;
    char dir[64], store[96], file[96];
    uint16_t port;
};

static void start(struct rig *g)
{
    char listen[32];
    const char *const at[] = {listen};
    struct error err = {""};
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", g->port);
    struct edge_config cfg = {.engine = g->engine,
        .tokenizer = testing_tokenizer(),
        .family = CHAT_CHATML,
        .model = "m",
        .listen = at,
        .n_listen = 1,
        .uploads_dir = g->store};
    if (edge_server_start(&g->server, &cfg, &err))
        fail_msg("%s", err.text);
    g->port = edge_server_port(g->server);
    assert_int_equal(http_url_parse(&g->client.url, edge_server_url(g->server), &err), 0);
}

static void write_file(const char *path, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_int_equal(file_write(path, bytes, len, 0600, NULL), 0);
    free(bytes);
}

static int set_up(void **state)
{
    struct rig *g = *state = calloc(1, sizeof(*g));
    strcpy(g->dir, "/tmp/meridian-uploads-XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    snprintf(g->store, sizeof(g->store), "%s/store", g->dir);
    snprintf(g->file, sizeof(g->file), "%s/study 1.dcm", g->dir);
    write_file(g->file, 300000);
    g->client.cancel_fd = -1;
    g->client.timeout_ms = 5000;
    g->engine = testing_engine_create();
    start(g);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *g = *state;
    char command[128];
    edge_server_stop(g->server);
    testing_engine_free(g->engine);
    snprintf(command, sizeof(command), "rm -rf %s", g->dir);
    int rc = system(command);
    free(g);
    return rc;
}

static bool same_file(const char *a, const char *b)
{
    struct buf x = {0}, y = {0};
    bool same = file_read(&x, a, 1 << 26, NULL) == 0 && file_read(&y, b, 1 << 26, NULL) == 0 && x.len == y.len &&
                (!x.len || memcmp(x.data, y.data, x.len) == 0);
    buf_done(&x);
    buf_done(&y);
    return same;
}

static bool stored(struct rig *g, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/local/%s", g->store, name);
    return same_file(path, g->file);
}

static unsigned incoming(struct rig *g)
{
    char path[256];
    unsigned n = 0;
    snprintf(path, sizeof(path), "%s/incoming", g->store);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static int send_file(struct rig *g, struct upload_client *c, struct upload_done *done)
{
    struct error err = {""};
    c->http = g->client;
    c->piece = c->piece ? c->piece : 64 << 10;
    c->patience_s = c->patience_s ? c->patience_s : 5;
    int rc = upload_client_send(c, g->file, done, &err);
    if (rc && rc != -EINTR)
        print_message("%s\n", err.text);
    return rc;
}

static void test_whole(void **state)
{
    struct rig *g = *state;
    struct upload_client c = {0};
    struct upload_done done;
    assert_int_equal(send_file(g, &c, &done), 0);
    assert_int_equal(done.bytes, 300000);
    assert_int_equal(done.resumed_from, 0);
    assert_true(stored(g, "study 1.dcm"));
    assert_int_equal(incoming(g), 0);
    assert_int_equal(send_file(g, &c, &done), 0); /* another of the same name does not take its place */
    assert_true(stored(g, "study 1.dcm") && stored(g, "study 1.dcm.2"));
    write_file(g->file, 0);
    assert_int_equal(send_file(g, &c, &done), 0);
    assert_true(stored(g, "study 1.dcm.3"));
}

struct stopper {
    volatile int stop;
    uint64_t at;
    struct rig *rig;
};

static void stop_at(void *user, uint64_t done, uint64_t total, const char *trouble)
{
    struct stopper *s = user;
    if (done >= s->at)
        s->stop = 1;
}

/* ^C, then the edge starts anew, then the same command again: it goes on where it was. */
static void test_resumes(void **state)
{
    struct rig *g = *state;
    struct stopper s = {.at = 128 << 10};
    struct upload_client c = {.interrupted = &s.stop, .at = stop_at, .user = &s};
    struct upload_done done;
    assert_int_equal(send_file(g, &c, &done), -EINTR);
    assert_int_equal(incoming(g), 2);
    edge_server_stop(g->server);
    start(g);
    struct upload_client again = {0};
    assert_int_equal(send_file(g, &again, &done), 0);
    assert_true(done.resumed_from >= 128 << 10);
    assert_true(stored(g, "study 1.dcm"));
    assert_int_equal(incoming(g), 0);
}

static void restart_at(void *user, uint64_t done, uint64_t total, const char *trouble)
{
    struct stopper *s = user;
    if (s->stop == 0 && done >= s->at) { /* the server goes away in the middle, and is back at the first trouble */
        edge_server_stop(s->rig->server);
        s->stop = 1;
    } else if (s->stop == 1 && trouble) {
        start(s->rig);
        s->stop = 2;
    }
}

static void test_breaks(void **state)
{
    struct rig *g = *state;
    struct stopper s = {.at = 128 << 10, .rig = g};
    struct upload_client c = {.at = restart_at, .user = &s};
    struct upload_done done;
    assert_int_equal(send_file(g, &c, &done), 0);
    assert_int_equal(s.stop, 2);
    assert_true(done.breaks >= 1);
    assert_true(stored(g, "study 1.dcm"));
}

static void test_gives_up(void **state)
{
    struct rig *g = *state;
    struct upload_client c = {.patience_s = 1};
    struct upload_done done;
    edge_server_stop(g->server);
    int64_t started = clock_now_ns();
    assert_int_not_equal(send_file(g, &c, &done), 0);
    assert_true(clock_now_ns() - started < 20 * NS_PER_S);
    start(g);
}

/* --- requests by hand --- */

static int ask(struct rig *g, const char *method, const char *path, const char *const *headers, const char *type,
    const void *body, size_t len, struct buf *ret)
{
    struct error err = {""};
    int status = 0;
    struct buf own = {0};
    struct http_client_request rq = {.method = method,
        .path = path,
        .headers = headers,
        .type = type,
        .body = body,
        .len = len,
        .ret_body = ret ? ret : &own};
    if (http_client_do(&g->client, &rq, &status, &err))
        fail_msg("%s %s: %s", method, path, err.text);
    buf_done(&own);
    return status;
}

#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define BYTES        "application/offset+octet-stream"
#define NAMED        "filename c3R1ZHkgMS5kY20=" /* study 1.dcm */

static void create(struct rig *g, const char *length, const char *meta, char location[128])
{
    struct buf b = {0};
    assert_int_equal(
        ask(g, "POST", UPLOADS_PATH, HEADERS("Upload-Length", length, "Upload-Metadata", meta), NULL, "", 0, &b), 201);
    yyjson_doc *d = yyjson_read((const char *)b.data, b.len, 0);
    snprintf(location, 128, "%s", yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(d), "location")));
    yyjson_doc_free(d);
    buf_done(&b);
}

static int patch(struct rig *g, const char *location, const char *offset, const char *bytes)
{
    return ask(g, "PATCH", location, HEADERS("Upload-Offset", offset), BYTES, bytes, strlen(bytes), NULL);
}

static void test_wrong_requests(void **state)
{
    struct rig *g = *state;
    char at[128];
    static const char *const lengths[] = {"", "-1", "1e3", "99999999999999999999", "0x5", "5,5"};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
        assert_int_equal(ask(g, "POST", UPLOADS_PATH, HEADERS("Upload-Length", lengths[i], "Upload-Metadata", NAMED),
                             NULL, "", 0, NULL),
            400);
    static const char *const metas[] = {"", "filename", "filename ", "filename !!!!", "filename Lg==" /* . */,
        "filename AAAA" /* NULs */, "filename Li4vLi4v" /* ../../ */, "name c3R1ZHk=", NAMED ",sha256 YWJj"};
    for (size_t i = 0; i < sizeof(metas) / sizeof(*metas); i++)
        assert_int_equal(
            ask(g, "POST", UPLOADS_PATH, HEADERS("Upload-Length", "5", "Upload-Metadata", metas[i]), NULL, "", 0, NULL),
            400);
    assert_int_equal(ask(g, "POST", UPLOADS_PATH, HEADERS("Upload-Length", "999999999999999", "Upload-Metadata", NAMED),
                         NULL, "", 0, NULL),
        413);
    assert_int_equal(ask(g, "GET", UPLOADS_PATH "/x", NULL, NULL, NULL, 0, NULL), 405);
    assert_int_equal(ask(g, "PATCH", UPLOADS_PATH "/00", HEADERS("Upload-Offset", "0"), BYTES, "x", 1, NULL), 404);
    assert_int_equal(ask(g, "POST", UPLOADS_PATH, HEADERS("Tus-Resumable", "0.2.2"), NULL, "", 0, NULL), 412);
    create(g, "10", NAMED, at);
    assert_int_equal(patch(g, at, "1", "abc"), 409);
    assert_int_equal(patch(g, at, "", "abc"), 400);
    assert_int_equal(patch(g, at, "0", "abcdefghijk"), 413);
    assert_int_equal(ask(g, "PATCH", at, HEADERS("Upload-Offset", "0"), "text/plain", "abc", 3, NULL), 415);
    assert_int_equal(patch(g, at, "0", "abc"), 204);
    assert_int_equal(patch(g, at, "0", "abc"), 409);
    assert_int_equal(patch(g, at, "3", "defghij"), 204);
    assert_int_equal(patch(g, at, "10", ""), 404); /* it is whole */
    create(g, "10", NAMED, at);
    assert_int_equal(ask(g, "DELETE", at, NULL, NULL, NULL, 0, NULL), 204);
    assert_int_equal(ask(g, "DELETE", at, NULL, NULL, NULL, 0, NULL), 404);
    assert_int_equal(incoming(g), 0);
}

/* SHA-256 announced of other bytes: thrown away, and nothing is stored. */
static void test_wrong_sum(void **state)
{
    struct rig *g = *state;
    char at[128], meta[256], path[256];
    /* base64 of 64 times "0" */
    snprintf(meta, sizeof(meta),
        NAMED ",sha256 MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMA==");
    create(g, "3", meta, at);
    assert_int_equal(patch(g, at, "0", "abc"), 460);
    assert_int_equal(incoming(g), 0);
    snprintf(path, sizeof(path), "%s/local/study 1.dcm", g->store);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_most_unfinished(void **state)
{
    struct rig *g = *state;
    char at[128];
    for (unsigned i = 0; i < 32; i++)
        create(g, "10", NAMED, at);
    assert_int_equal(
        ask(g, "POST", UPLOADS_PATH, HEADERS("Upload-Length", "10", "Upload-Metadata", NAMED), NULL, "", 0, NULL), 429);
    assert_int_equal(ask(g, "DELETE", at, NULL, NULL, NULL, 0, NULL), 204);
    create(g, "10", NAMED, at);
}

/* What a crash may leave: notes without bytes, bytes without notes, more bytes than announced, something else. */
static void test_odd_folder(void **state)
{
    struct rig *g = *state;
    char at[128], path[256];
    create(g, "10", NAMED, at);
    assert_int_equal(patch(g, at, "0", "abc"), 204);
    edge_server_stop(g->server);
    static const char *const odd[][2] = {{"00000000000000000000000000000001.part", "bytes"},
        {"00000000000000000000000000000002.json", "{}"}, {"00000000000000000000000000000003.json", "{\"key\":1"},
        {"00000000000000000000000000000003.part", ""}, {"readme.txt", "hello"},
        {"00000000000000000000000000000004.json", "{\"key\":\"\",\"name\":\"x\",\"length\":2}"},
        {"00000000000000000000000000000004.part", "far too long"}};
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        snprintf(path, sizeof(path), "%s/incoming/%s", g->store, odd[i][0]);
        assert_int_equal(file_write(path, odd[i][1], strlen(odd[i][1]), 0600, NULL), 0);
    }
    start(g);
    assert_int_equal(patch(g, at, "3", "defghij"), 204);
    assert_int_equal(patch(g, UPLOADS_PATH "/00000000000000000000000000000001", "0", "x"), 404);
    assert_int_equal(patch(g, UPLOADS_PATH "/00000000000000000000000000000004", "2", ""), 404);
}

static void test_names(void **state)
{
    char name[UPLOAD_NAME + 1], longest[400];
    static const char *const rows[][2] = {{"a.dcm", "a.dcm"}, {"/etc/passwd", "passwd"}, {"..\\..\\x", "x"},
        {"...hidden", "hidden"}, {"a\nb\x7f", "ab"}, {"影像.dcm", "影像.dcm"}, {"..", NULL}, {"", NULL}, {"x/", NULL}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        bool good = upload_name_clean(name, rows[i][0], strlen(rows[i][0]));
        assert_int_equal(good, rows[i][1] != NULL);
        if (good)
            assert_string_equal(name, rows[i][1]);
    }
    memset(longest, 'x', sizeof(longest));
    assert_true(upload_name_clean(name, longest, sizeof(longest)));
    assert_int_equal(strlen(name), UPLOAD_NAME);
}

/* A key sees its own only, and no key's name leads out of the folder. */
static void test_keys_apart(void **state)
{
    struct rig *g = *state;
    struct uploads *u;
    struct uploads_config cfg = {.dir = g->store};
    assert_int_equal(uploads_open(&u, &cfg, NULL), 0);
    struct upload up = {.id = "0123456789abcdef0123456789abcdef", .key = "..", .name = "x", .length = 3};
    char name[UPLOAD_NAME + 8], path[256];
    assert_int_equal(upload_create(u, &up), 0);
    assert_int_equal(upload_append(u, &up, "abc", 3), 0);
    assert_int_equal(upload_finish(u, &up, name), 0);
    snprintf(path, sizeof(path), "%s/key-../x", g->store);
    assert_int_equal(access(path, F_OK), 0);
    uploads_close(u);
    assert_int_equal(uploads_open(&u, &cfg, NULL), 0);
    struct http_answer *a = http_answer_create(1024);
    struct http_request rq = {.method = "HEAD", .path = UPLOADS_PATH "/0123456789abcdef0123456789abcdef"};
    uploads_handle(u, &rq, "other", a);
    struct http_head head;
    assert_true(http_answer_head(a, &head, NULL, NULL));
    assert_int_equal(head.status, 404);
    http_answer_unref(a);
    uploads_close(u);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(test_whole), TEST(test_resumes), TEST(test_breaks), TEST(test_gives_up),
        TEST(test_wrong_requests), TEST(test_wrong_sum), TEST(test_most_unfinished), TEST(test_odd_folder),
        TEST(test_keys_apart), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
