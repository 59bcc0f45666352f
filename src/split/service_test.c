/* The worker against clients that are wrong, hostile or interrupted: every mistake gets its typed error and costs only the
 * connection it was made on. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "crypto/sha256.h"
#include "os/file.h"
#include "split/remote_middle.h"
#include "split/store.h"
#include "split/testing_world.h"
#include "wire/split_payload.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define D WORLD_D

static struct world world;
static uint8_t payload[SPLIT_MAX_PAYLOAD];
static uint64_t seq;

static void setup(void)
{
    memset(&world, 0, sizeof(world));
    world.cfg.max_rows = 100;
    world.cfg.window = 1 << 20;
    world_start(&world);
}

/* --- a client by hand -------------------------------------------------------------------------------------------------- */

static void put_raw(int fd, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (len) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the worker has closed: reading says why */
        p += n;
        len -= (size_t)n;
    }
}

static uint64_t put(int fd, uint8_t op, uint8_t flags, uint32_t session, uint32_t epoch, size_t len)
{
    uint8_t head[SPLIT_HEADER];
    struct split_header h = {(uint32_t)len, op, flags, session, epoch, ++seq};
    split_header_encode(head, &h);
    put_raw(fd, head, sizeof(head));
    put_raw(fd, payload, len);
    return seq;
}

static bool read_all(int fd, void *to, size_t len)
{
    uint8_t *p = to;
    while (len) {
        struct pollfd f = {.fd = fd, .events = POLLIN};
        if (poll(&f, 1, 10000) <= 0)
            fail_msg("the worker says nothing");
        ssize_t n = recv(fd, p, len, 0);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* The next frame; false: the connection is closed. */
static bool get(int fd, struct split_header *h)
{
    uint8_t head[SPLIT_HEADER];
    if (!read_all(fd, head, sizeof(head)))
        return false;
    assert_int_equal(split_header_decode(h, head, sizeof(head)), 0);
    return read_all(fd, payload, h->len);
}

static struct split_header want(int fd, uint8_t op)
{
    struct split_header h;
    do
        assert_true(get(fd, &h));
    while (h.op == SPLIT_WINDOW);
    if (h.op == SPLIT_ERROR && op != SPLIT_ERROR)
        fail_msg("error: %.*s", (int)h.len - 4, payload + 4);
    assert_int_equal(h.op, op);
    return h;
}

/* The error about the connection, then its end. */
static void want_end(int fd, enum split_error_code code)
{
    struct split_header h = want(fd, SPLIT_ERROR);
    struct split_error e;
    assert_int_equal(split_error_decode(&e, payload, h.len), 0);
    if (e.code != code)
        fail_msg("%s (%s) instead of %s", split_error_name(e.code), e.text, split_error_name(code));
    assert_int_equal(h.seq, 0);
    shutdown(fd, SHUT_WR);
    assert_false(get(fd, &h));
    close(fd);
}

/* The error about one request; the connection lives. */
static void want_refused(int fd, uint64_t about, enum split_error_code code)
{
    struct split_header h = want(fd, SPLIT_ERROR);
    struct split_error e;
    assert_int_equal(split_error_decode(&e, payload, h.len), 0);
    if (e.code != code)
        fail_msg("%s (%s) instead of %s", split_error_name(e.code), e.text, split_error_name(code));
    assert_int_equal(h.seq, about);
}

static struct split_hello hello_of(enum split_which which, enum split_role role, uint8_t who)
{
    struct split_hello e = {.version = SPLIT_VERSION,
        .codecs = 7,
        .which = which,
        .role = role,
        .d = D,
        .instance = {who},
        .cut = {.head = world.cut.head, .tail = world.cut.tail, .step = world.cut.step}};
    memcpy(e.cut.id, world.cut.id, 32);
    return e;
}

static struct split_hello_reply hello(int fd, const struct split_hello *e)
{
    struct split_hello_reply r;
    put(fd, SPLIT_HELLO, 0, 0, 0, split_hello_encode(payload, e));
    struct split_header h = want(fd, SPLIT_HELLO);
    assert_int_equal(split_hello_reply_decode(&r, payload, h.len), 0);
    return r;
}

static int client(enum split_role role, uint8_t who)
{
    int fd = world_socket(&world);
    struct split_hello e = hello_of(role == SPLIT_TRAIN ? SPLIT_BULK : SPLIT_INTERACTIVE, role, who);
    hello(fd, &e);
    return fd;
}

static uint64_t put_open(int fd, uint32_t session, uint32_t n_ctx)
{
    struct split_open o = {.role = SPLIT_SERVE, .n_ctx = n_ctx};
    return put(fd, SPLIT_OPEN, 0, session, 0, split_open_encode(payload, &o));
}

static void open_session(int fd, uint32_t session, uint32_t n_ctx)
{
    uint64_t about = put_open(fd, session, n_ctx);
    assert_int_equal(want(fd, SPLIT_OPEN).seq, about);
}

static size_t rows(struct split_rows r)
{
    float x[D] = {1, 2, 3};
    size_t len = split_rows_encode_start(payload, SPLIT_SERVE, &r, NULL);
    for (uint32_t i = 0; i < r.n_here; i++)
        len += vec_row_encode(r.codec, x, D, payload + len);
    return len;
}

/* Somebody who does everything right, before and after. */
static int good;

static void good_begin(void)
{
    setup();
    good = client(SPLIT_SERVE, 200);
    open_session(good, 1, 100);
}

static void good_end(void)
{
    struct split_rows r = {.pos0 = 0, .n = 2, .n_here = 2};
    put(good, SPLIT_FORWARD, 0, 1, 0, rows(r));
    struct split_header h = want(good, SPLIT_FORWARD);
    assert_int_equal(split_rows_decode(&r, SPLIT_SERVE, &h, payload), 0);
    assert_int_equal(r.n, 2);
    close(good);
    world_end(&world);
}

/* --- tests --------------------------------------------------------------------------------------------------------------- */

static void test_before_hello(void **state)
{
    good_begin();
    int fd = world_socket(&world);
    put_raw(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 28);
    want_end(fd, SPLIT_ERR_MALFORMED);
    fd = world_socket(&world);
    put_open(fd, 1, 10);
    want_end(fd, SPLIT_ERR_MALFORMED);
    fd = world_socket(&world);
    struct split_hello e = hello_of(SPLIT_BULK, SPLIT_SERVE, 1);
    e.version = 2;
    put(fd, SPLIT_HELLO, 0, 0, 0, split_hello_encode(payload, &e));
    want_end(fd, SPLIT_ERR_VERSION);
    fd = world_socket(&world);
    e = hello_of(SPLIT_BULK, SPLIT_SERVE, 1);
    e.d = 1 << 20;
    put(fd, SPLIT_HELLO, 0, 0, 0, split_hello_encode(payload, &e));
    want_end(fd, SPLIT_ERR_SHAPE);
    fd = client(SPLIT_SERVE, 1);
    put(fd, SPLIT_HELLO, 0, 0, 0, split_hello_encode(payload, &e));
    want_end(fd, SPLIT_ERR_MALFORMED); /* twice */
    good_end();
}

static void test_malformed(void **state)
{
    good_begin();
    static const struct {
        uint8_t op, flags;
        size_t len;
    } bad[] = {{SPLIT_OPEN, 0, 7}, {SPLIT_OPEN, 0, 56}, {SPLIT_FORWARD, 0, 10}, {SPLIT_BACKWARD, 0, 40},
        {SPLIT_STEP, 0, 48}, {SPLIT_SAVE, 0, 80}, {SPLIT_LOAD, 0, 8}, {SPLIT_CLOSE, 0, 1}, {SPLIT_CANCEL, 0, 4},
        {SPLIT_PING, 0, 9}, {SPLIT_INSTALL, 0, 100}, {SPLIT_FORWARD, SPLIT_REPLY, 24}, {SPLIT_OPEN, SPLIT_REPLY, 0}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        int fd = client(SPLIT_SERVE, 1);
        memset(payload, 0xff, bad[i].len);
        put(fd, bad[i].op, bad[i].flags, 1, 0, bad[i].len);
        want_end(fd, SPLIT_ERR_MALFORMED);
    }
    for (size_t i = 0; i < 3; i++) { /* operations of training, and nonsense in them */
        static const uint8_t ops[] = {SPLIT_FORWARD, SPLIT_STEP, SPLIT_CANCEL};
        int fd = client(SPLIT_TRAIN, 2);
        memset(payload, 0xff, 60);
        put(fd, ops[i], 0, 1, 0, ops[i] == SPLIT_CANCEL ? 0 : 60);
        want_end(fd, SPLIT_ERR_MALFORMED);
    }
    struct service_stats st;
    service_stats(world.service, &st);
    assert_int_equal(st.refused_links, 16);
    good_end();
}

static void test_rows_that_lie(void **state)
{
    good_begin();
    struct split_rows two = {.pos0 = 0, .n = 4, .n_here = 2};
    for (int k = 0; k < 5; k++) {
        int fd = client(SPLIT_SERVE, 1);
        open_session(fd, 1, 50);
        size_t len = rows(two);
        if (k == 0) { /* bytes behind the rows */
            put(fd, SPLIT_FORWARD, SPLIT_MORE, 1, 0, len + 1);
        } else if (k == 1) { /* a form that does not exist */
            payload[24] = 9;
            put(fd, SPLIT_FORWARD, SPLIT_MORE, 1, 0, len);
        } else if (k == 2) { /* another request before the rest */
            put(fd, SPLIT_FORWARD, SPLIT_MORE, 1, 0, len);
            put(fd, SPLIT_FORWARD, SPLIT_MORE, 1, 0, rows(two));
        } else if (k == 3) { /* rows left out */
            struct split_rows r = two;
            r.row0 = 1;
            put(fd, SPLIT_FORWARD, SPLIT_MORE, 1, 0, rows(r));
        } else { /* the second frame says something else */
            put(fd, SPLIT_FORWARD, SPLIT_MORE, 1, 0, len);
            struct split_rows r = {.pos0 = 7, .n = 4, .row0 = 2, .n_here = 2};
            seq--;
            put(fd, SPLIT_FORWARD, 0, 1, 0, rows(r));
        }
        want_end(fd, SPLIT_ERR_MALFORMED);
    }
    good_end();
}

static void test_refused_requests(void **state)
{
    good_begin();
    int fd = client(SPLIT_SERVE, 1);
    want_refused(fd, put_open(fd, 9, 5000), SPLIT_ERR_TOO_LARGE);
    open_session(fd, 1, 50);
    open_session(fd, 1, 50); /* repeated */
    struct split_rows r = {.pos0 = 49, .n = 2, .n_here = 2};
    want_refused(fd, put(fd, SPLIT_FORWARD, 0, 1, 0, rows(r)), SPLIT_ERR_SHAPE);
    r.pos0 = 10;
    want_refused(fd, put(fd, SPLIT_FORWARD, 0, 1, 0, rows(r)), SPLIT_ERR_GAP);
    want_refused(fd, put(fd, SPLIT_FORWARD, 0, 77, 0, rows(r)), SPLIT_ERR_NO_SESSION);
    r = (struct split_rows){.pos0 = 0, .n = 101, .n_here = 50}; /* more rows than are allowed at once */
    uint64_t about = put(fd, SPLIT_FORWARD, SPLIT_MORE, 1, 0, rows(r));
    want_refused(fd, about, SPLIT_ERR_SHAPE);
    for (uint32_t row0 = 50; row0 < 101; row0 += 51) { /* the rest is read and forgotten */
        struct split_rows rest = {.pos0 = 0, .n = 101, .row0 = row0, .n_here = 51};
        seq--;
        put(fd, SPLIT_FORWARD, 0, 1, 0, rows(rest));
    }
    r = (struct split_rows){.pos0 = 0, .n = 1, .n_here = 1};
    put(fd, SPLIT_FORWARD, 0, 1, 0, rows(r));
    want(fd, SPLIT_FORWARD); /* it lives */
    atomic_store(&world.counts.fail_run, true);
    want_refused(fd, put(fd, SPLIT_FORWARD, 0, 1, 0, rows(r)), SPLIT_ERR_INTERNAL);
    atomic_store(&world.counts.fail_run, false);
    put(fd, SPLIT_CLOSE, 0, 1, 0, 0);
    want(fd, SPLIT_CLOSE);
    put(fd, SPLIT_CLOSE, 0, 1, 0, 0); /* again: fine */
    want(fd, SPLIT_CLOSE);
    close(fd);
    good_end();
}

/* Somebody who ignores the window is cut off before memory grows. */
static void test_window(void **state)
{
    good_begin();
    int fd = client(SPLIT_SERVE, 1);
    open_session(fd, 1, 1000);
    atomic_store(&world.counts.run_ns, 20 * NS_PER_MS);
    for (uint32_t i = 0; i < 400; i++) {
        struct split_rows r = {.pos0 = 0, .n = 100, .n_here = 100, .urgent = true};
        put(fd, SPLIT_FORWARD, 0, 1, 0, rows(r));
    }
    atomic_store(&world.counts.run_ns, 0);
    struct split_header h;
    do
        assert_true(get(fd, &h));
    while (h.op != SPLIT_ERROR || h.seq);
    assert_int_equal(bytes_get_u16(payload), SPLIT_ERR_MALFORMED);
    assert_non_null(memmem(payload, h.len, "window", 6));
    close(fd);
    good_end();
}

/* --- the window comes back ------------------------------------------------------------------------------------------ */

/* A client that never sends more than it may. */
struct careful {
    int fd;
    uint64_t sent, granted;
};

static void careful_rows(struct careful *c, uint32_t row0, uint32_t n_here, uint64_t about)
{
    struct split_rows r = {.n = 1000, .row0 = row0, .n_here = n_here};
    size_t len = rows(r);
    c->sent += len;
    if (c->sent > c->granted)
        fail_msg("%u bytes more are needed, and nothing that could bring them is under way", (unsigned)len);
    if (about)
        seq = about - 1;
    put(c->fd, SPLIT_FORWARD, row0 + n_here < 1000 ? SPLIT_MORE : 0, 1, 0, len);
}

/* Reads until this comes; answers to what was given up may come before it. */
static void careful_want(struct careful *c, uint8_t op)
{
    struct split_header h;
    do {
        assert_true(get(c->fd, &h));
        if (h.op == SPLIT_WINDOW)
            assert_int_equal(split_u64_decode(&c->granted, payload, h.len), 0);
    } while (h.op != op);
}

static void careful_close(struct careful *c)
{
    put(c->fd, SPLIT_CLOSE, 0, 1, 0, 0);
    careful_want(c, SPLIT_CLOSE);
}

/* Another edge has another half loaded for a moment. */
static void serve_another(const struct model_cut *cut)
{
    int fd = world_socket(&world);
    struct split_hello e = hello_of(SPLIT_INTERACTIVE, SPLIT_SERVE, 77);
    memcpy(e.cut.id, cut->id, 32);
    hello(fd, &e);
    open_session(fd, 1, 10);
    put(fd, SPLIT_CLOSE, 0, 1, 0, 0);
    want(fd, SPLIT_CLOSE);
    close(fd);
}

static void give_up(struct careful *c, int how, const struct model_cut *other)
{
    if (how == 0) { /* requests that wait or are being computed */
        for (int i = 0; i < 4; i++)
            careful_rows(c, 0, 1000, 0);
        careful_close(c);
        return;
    }
    careful_rows(c, 0, 900, 0); /* one whose last rows come when its session is gone already */
    uint64_t about = seq;
    careful_close(c);
    if (how == 2)
        serve_another(other);
    uint64_t now = seq;
    careful_rows(c, 900, 100, about);
    seq = now;
    if (how == 1)
        careful_want(c, SPLIT_ERROR);
}

/* Whoever stops in the middle of an answer, again and again, can still send afterwards. */
static void test_window_of_what_was_given_up(void **state)
{
    for (int how = 0; how < 3; how++) {
        memset(&world, 0, sizeof(world));
        world.cfg.max_rows = 1000;
        world.cfg.window = 1 << 20;
        world_start(&world);
        struct model_cut other = world.cut;
        other.id[0] ^= 1;
        world_install(&world, &other);
        struct careful c = {.fd = client(SPLIT_SERVE, 1), .granted = 1 << 20};
        while (c.sent < 3 << 19) {
            put_open(c.fd, 1, 1000);
            careful_want(&c, SPLIT_OPEN);
            atomic_store(&world.counts.run_ns, 5 * NS_PER_MS);
            give_up(&c, how, &other);
            atomic_store(&world.counts.run_ns, 0);
        }
        put_open(c.fd, 1, 1000);
        careful_want(&c, SPLIT_OPEN);
        careful_rows(&c, 0, 1000, 0);
        careful_want(&c, SPLIT_FORWARD);
        close(c.fd);
        world_end(&world);
    }
}

static void test_too_many(void **state)
{
    good_begin();
    int fds[64];
    unsigned n = 0, refused = 0;
    for (uint8_t i = 0; i < 20; i++) { /* more processes than a worker takes */
        int fd = world_socket(&world);
        struct split_hello e = hello_of(SPLIT_BULK, SPLIT_SERVE, i);
        put(fd, SPLIT_HELLO, 0, 0, 0, split_hello_encode(payload, &e));
        struct split_header h = {0};
        if (!get(fd, &h) || h.op == SPLIT_ERROR)
            refused++;
        fds[n++] = fd;
    }
    assert_true(refused >= 4);
    while (n)
        close(fds[--n]);
    good_end();
}

/* Training's own rule: what was executed is not executed again, whoever asks. */
static void test_repeated_training(void **state)
{
    good_begin();
    int fd = client(SPLIT_TRAIN, 3);
    struct split_open o = {.role = SPLIT_TRAIN, .train = {.max_rows = 10, .max_samples = 2, .n_slots = 2, .run = {1}}};
    put(fd, SPLIT_OPEN, 0, 1, 0, split_open_encode(payload, &o));
    want(fd, SPLIT_OPEN);
    float x[D] = {1};
    uint32_t sample = 1;
    struct split_rows r = {.batch = 1, .n = 1, .n_here = 1, .n_samples = 1};
    size_t len = split_rows_encode_start(payload, SPLIT_TRAIN, &r, &sample);
    len += vec_row_encode(SPLIT_F32, x, D, payload + len);
    put(fd, SPLIT_FORWARD, 0, 1, 0, len);
    struct split_header h = want(fd, SPLIT_FORWARD);
    uint8_t first[256], again[256];
    memcpy(first, payload, h.len);
    /* Another connection of the same process, and the same request. */
    int fd2 = client(SPLIT_TRAIN, 3);
    len = split_rows_encode_start(payload, SPLIT_TRAIN, &r, &sample);
    len += vec_row_encode(SPLIT_F32, x, D, payload + len);
    seq = h.seq - 1;
    put(fd2, SPLIT_FORWARD, 0, 1, 0, len);
    h = want(fd2, SPLIT_FORWARD);
    memcpy(again, payload, h.len);
    assert_memory_equal(first, again, h.len);
    assert_int_equal(atomic_load(&world.counts.forwards), 1);
    /* One that says it has had its answer cannot ask for it again. */
    r = (struct split_rows){.batch = 1, .n = 1, .n_here = 1, .want_grad = true, .answered = h.seq + 1};
    len = split_rows_encode_start(payload, SPLIT_TRAIN, &r, NULL);
    len += vec_row_encode(SPLIT_F32, x, D, payload + len);
    put(fd2, SPLIT_BACKWARD, 0, 1, 0, len);
    h = want(fd2, SPLIT_BACKWARD);
    r = (struct split_rows){.batch = 1, .n = 1, .n_here = 1, .n_samples = 1};
    len = split_rows_encode_start(payload, SPLIT_TRAIN, &r, &sample);
    len += vec_row_encode(SPLIT_F32, x, D, payload + len);
    seq = h.seq - 2;
    uint64_t about = put(fd2, SPLIT_FORWARD, 0, 1, 0, len);
    want_refused(fd2, about, SPLIT_ERR_STALE);
    assert_int_equal(atomic_load(&world.counts.forwards), 1);
    assert_int_equal(atomic_load(&world.counts.backwards), 1);
    /* Another configuration under the same session. */
    seq += 10;
    o.train.n_slots = 1;
    about = put(fd2, SPLIT_OPEN, 0, 1, 0, split_open_encode(payload, &o));
    want_refused(fd2, about, SPLIT_ERR_CONFIG);
    close(fd);
    close(fd2);
    good_end();
}

/* --- a training that leaves while its half is loaded ---------------------------------------------------------------- */

static sem_t load_began, load_may_end;
static atomic_uint trainings_loaded;

static int slow_check(const char *path, const struct model_cut *cut, struct error *err)
{
    return 0;
}

static int slow_serve(struct half_infer **ret, const char *path, uint64_t kv_bytes, uint64_t memory_bytes,
    uint32_t n_threads, uint32_t max_sessions, struct error *err)
{
    return error_set(err, ENOMEM, "this test is about training");
}

static int slow_train(struct half_train **ret, struct model_cut *ret_cut, const char *path,
    const struct split_train_config *cfg, uint64_t memory_bytes, uint32_t n_threads, struct error *err)
{
    sem_post(&load_began);
    sem_wait(&load_may_end);
    atomic_fetch_add(&trainings_loaded, 1);
    *ret = testing_train(D, cfg->n_slots, cfg->max_rows, &world.counts);
    *ret_cut = world.cut;
    return 0;
}

static void put_training(int fd, uint32_t max_rows)
{
    struct split_open o = {
        .role = SPLIT_TRAIN, .train = {.max_rows = max_rows, .max_samples = 2, .n_slots = 1, .run = {1}}};
    put(fd, SPLIT_OPEN, 0, 1, 0, split_open_encode(payload, &o));
}

/* Client and session have the same names again, and yet what was loaded for the first is not for the second. */
static void test_training_leaves_while_loading(void **state)
{
    static const struct service_halves halves = {slow_check, slow_serve, slow_train};
    memset(&world, 0, sizeof(world));
    world.cfg.halves = &halves;
    sem_init(&load_began, 0, 0);
    sem_init(&load_may_end, 0, 0);
    atomic_store(&trainings_loaded, 0);
    world_start(&world);
    int fd = client(SPLIT_TRAIN, 1);
    put_training(fd, 10);
    assert_int_equal(sem_wait(&load_began), 0);
    put(fd, SPLIT_CLOSE, 0, 1, 0, 0);
    want(fd, SPLIT_CLOSE);
    put_training(fd, 500);
    put(fd, SPLIT_PING, 0, 0, 0, split_ping_encode(payload, &(struct split_ping){0}, false));
    want(fd, SPLIT_PING); /* so the worker has read the OPEN as well */
    sem_post(&load_may_end);
    sem_post(&load_may_end);
    want(fd, SPLIT_OPEN);
    assert_int_equal(atomic_load(&trainings_loaded), 2);
    close(fd);
    world_end(&world);
    sem_destroy(&load_began);
    sem_destroy(&load_may_end);
}

/* --- INSTALL ------------------------------------------------------------------------------------------------------------ */

static struct model_cut new_cut(void)
{
    struct model_cut cut = world.cut;
    cut.id[0] = 0x77;
    return cut;
}

static int installer(const struct model_cut *cut, uint8_t who, struct split_hello_reply *ret)
{
    int fd = world_socket(&world);
    struct split_hello e = hello_of(SPLIT_BULK, SPLIT_SERVE, who);
    e.may_install = true;
    memcpy(e.cut.id, cut->id, 32);
    *ret = hello(fd, &e);
    return fd;
}

static uint64_t put_piece(
    int fd, const uint8_t *bytes, uint64_t offset, uint32_t n, uint64_t total, const uint8_t sha[32])
{
    struct split_install p = {.offset = offset, .total = total};
    memcpy(p.sha256, sha, 32);
    size_t len = split_install_encode_start(payload, &p);
    memcpy(payload + len, bytes + offset, n);
    return put(fd, SPLIT_INSTALL, 0, 0, 0, len + n);
}

static void want_have(int fd, uint64_t have, bool installed)
{
    struct split_install_reply r;
    struct split_header h = want(fd, SPLIT_INSTALL);
    assert_int_equal(split_install_reply_decode(&r, payload, h.len), 0);
    assert_int_equal(r.have, have);
    assert_int_equal(r.installed, installed);
}

static void test_install_by_pieces(void **state)
{
    good_begin();
    struct model_cut cut = new_cut();
    struct split_hello_reply r;
    uint8_t half[128], sha[32];
    world_half(&cut, half);
    sha256_of(half, sizeof(half), sha);
    int fd = installer(&cut, 1, &r);
    assert_false(r.installed);
    put_piece(fd, half, 0, 50, 128, sha);
    want_have(fd, 50, false);
    want_refused(fd, put_piece(fd, half, 60, 20, 128, sha), SPLIT_ERR_ORDER);
    put_piece(fd, half, 20, 40, 128, sha); /* partly again */
    want_have(fd, 60, false);
    want_refused(fd, put_open(fd, 1, 10), SPLIT_ERR_NOT_INSTALLED);
    close(fd);
    fd = installer(&cut, 2, &r); /* another process goes on */
    assert_false(r.installed);
    assert_int_equal(r.part, 60);
    put_piece(fd, half, 60, 68, 128, sha);
    want_have(fd, 128, true);
    close(fd);
    fd = installer(&cut, 3, &r);
    assert_true(r.installed);
    put_piece(fd, half, 0, 10, 128, sha); /* idempotent */
    want_have(fd, 128, true);
    close(fd);
    good_end();
}

static void test_install_refused(void **state)
{
    memset(&world, 0, sizeof(world));
    world.cfg.max_install = 1000;
    world_start(&world);
    struct model_cut cut = new_cut(), other = new_cut();
    struct split_hello_reply r;
    uint8_t half[128], sha[32], no[32] = {0};
    world_half(&cut, half);
    sha256_of(half, sizeof(half), sha);
    int fd = installer(&cut, 1, &r);
    want_refused(fd, put_piece(fd, half, 0, 50, 1001, sha), SPLIT_ERR_TOO_LARGE);
    want_refused(fd, put_piece(fd, half, 0, 128, 128, no), SPLIT_ERR_HASH);
    other.id[5] = 9;
    world_half(&other, half); /* right bytes of a wrong half */
    sha256_of(half, sizeof(half), sha);
    want_refused(fd, put_piece(fd, half, 0, 128, 128, sha), SPLIT_ERR_WRONG_CUT);
    struct store store;
    assert_int_equal(store_open(&store, world.dir, NULL), 0);
    assert_false(store_half_has(&store, &cut));
    assert_int_equal(store_part_size(&store, &cut), 0);
    close(fd);
    fd = client(SPLIT_SERVE, 9); /* without the right to install */
    put_piece(fd, half, 0, 128, 128, sha);
    want_end(fd, SPLIT_ERR_MALFORMED);
    world_end(&world);
}

struct progress {
    atomic_ulong done, total, calls;
};

static struct progress progress;

static void on_install(void *user, uint64_t done, uint64_t total)
{
    atomic_store(&progress.done, done);
    atomic_store(&progress.total, total);
    atomic_fetch_add(&progress.calls, 1);
}

/* The client does it by itself, over links that die on the way. */
static void test_install_by_client(void **state)
{
    for (long die = 0; die < 3; die++) {
        setup();
        struct model_cut cut = new_cut();
        size_t size = 3 << 20;
        uint8_t *file = calloc(1, size);
        char path[128];
        world_half(&cut, file);
        for (size_t i = 128; i < size; i++)
            file[i] = (uint8_t)(i * 7 >> 3);
        snprintf(path, sizeof(path), "%s/the-half.gguf", world.dir);
        assert_int_equal(file_write(path, file, size, 0600, NULL), 0);
        memset(&progress, 0, sizeof(progress));
        struct remote_config remote = world_remote(&world);
        remote.cut = cut;
        remote.cloud_half = path;
        remote.on_install = on_install;
        struct middle *m;
        struct middle_event e;
        atomic_store(&world.die_after, die * 1000000);
        assert_int_equal(remote_middle_create(&m, &remote, NULL), 0);
        assert_int_equal(m->ops->open(m, 1, 100), 0);
        do
            assert_int_equal(m->ops->next(m, 20 * NS_PER_S, &e), 0);
        while (e.kind == MIDDLE_UP || e.kind == MIDDLE_DOWN);
        assert_int_equal(e.kind, MIDDLE_OPENED);
        assert_int_equal(atomic_load(&progress.total), size);
        assert_int_equal(atomic_load(&progress.done), size);
        struct store store;
        char installed[STORE_PATH];
        struct file_map map;
        assert_int_equal(store_open(&store, world.dir, NULL), 0);
        store_half_path(&store, &cut, installed);
        assert_int_equal(file_map_open(&map, installed, NULL), 0);
        assert_int_equal(map.size, size);
        assert_memory_equal(map.data, file, size);
        file_map_close(&map);
        struct middle_stats st;
        m->ops->stats(m, &st);
        assert_true(st.bytes_up < size + (die ? 2 << 20 : 1 << 16)); /* it goes on, it does not begin again */
        m->ops->free(m);
        free(file);
        world_end(&world);
    }
}

/* Two programs of a hospital begin at once, and neither finds its half there: the one that comes second waits until the first
 * has installed it, and then serves on both its connections. */
static void test_install_by_somebody_else(void **state)
{
    setup();
    struct model_cut cut = new_cut();
    size_t size = 50000;
    uint8_t *file = calloc(1, size), sha[32];
    char path[128];
    struct split_hello_reply r;
    world_half(&cut, file);
    sha256_of(file, size, sha);
    snprintf(path, sizeof(path), "%s/the-half.gguf", world.dir);
    assert_int_equal(file_write(path, file, size, 0600, NULL), 0);
    int first = installer(&cut, 1, &r);
    assert_false(r.installed);
    put_piece(first, file, 0, 20000, size, sha);
    want_have(first, 20000, false);

    struct remote_config remote = world_remote(&world);
    struct middle *m;
    struct middle_event e;
    remote.cut = cut;
    remote.cloud_half = path;
    assert_int_equal(remote_middle_create(&m, &remote, NULL), 0);
    assert_int_equal(m->ops->open(m, 1, 100), 0);
    do
        assert_int_equal(m->ops->next(m, 10 * NS_PER_S, &e), 0);
    while (e.kind != MIDDLE_DOWN); /* refused: another one is installing */
    put_piece(first, file, 20000, 30000, size, sha);
    want_have(first, size, true);
    do
        assert_int_equal(m->ops->next(m, 10 * NS_PER_S, &e), 0);
    while (e.kind == MIDDLE_UP || e.kind == MIDDLE_DOWN);
    assert_int_equal(e.kind, MIDDLE_OPENED);
    m->ops->free(m);
    close(first);
    free(file);
    world_end(&world);
}

static int not_the_half(const char *path, const struct model_cut *cut, struct error *err)
{
    return error_set(err, EBADMSG, "%s is the half of step 7", path);
}

/* A file that does not belong to the edge's half is noticed before a byte of it is sent. */
static void test_wrong_half_stays_here(void **state)
{
    setup();
    struct model_cut cut = new_cut();
    uint8_t file[4096] = {0};
    char path[128];
    world_half(&cut, file);
    snprintf(path, sizeof(path), "%s/another-half.gguf", world.dir);
    assert_int_equal(file_write(path, file, sizeof(file), 0600, NULL), 0);
    struct remote_config remote = world_remote(&world);
    remote.cut = cut;
    remote.cloud_half = path;
    remote.check_half = not_the_half;
    struct middle *m;
    struct middle_event e;
    struct middle_stats st;
    assert_int_equal(remote_middle_create(&m, &remote, NULL), 0);
    do
        assert_int_equal(m->ops->next(m, 20 * NS_PER_S, &e), 0);
    while (e.kind == MIDDLE_UP || e.kind == MIDDLE_DOWN);
    assert_int_equal(e.kind, MIDDLE_FAILED);
    assert_non_null(strstr(e.text, "the half of step 7"));
    m->ops->stats(m, &st);
    assert_true(st.bytes_up < sizeof(file));
    m->ops->free(m);
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_hello),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_rows_that_lie),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_window_of_what_was_given_up),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_repeated_training),
        cmocka_unit_test(test_training_leaves_while_loading),
        cmocka_unit_test(test_install_by_pieces),
        cmocka_unit_test(test_install_refused),
        cmocka_unit_test(test_install_by_client),
        cmocka_unit_test(test_install_by_somebody_else),
        cmocka_unit_test(test_wrong_half_stays_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
