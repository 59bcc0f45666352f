/* The worker's whole handling of what a peer sends, without threads: the input is what arrives on one connection after a
 * good HELLO (byte 0: serving or training; bit 1: two frames' worth of it on a connection without HELLO). Frames are cut
 * from the input as they come: the header's length is made to fit, so that the fuzzer need not find it. */
#include "base/clock.h"
#include "os/file.h"
#include "split/service_state.h"
#include "split/testing_half.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define D 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct testing_counts counts;
static const struct model_cut base = {.part = MODEL_CLOUD, .id = {1}, .head = 1, .tail = 1};

static int h_check(const char *path, const struct model_cut *cut, struct error *err)
{
    return -EBADMSG;
}

static int h_serve(struct half_infer **ret, const char *path, uint64_t kv_bytes, uint64_t memory_bytes,
    uint32_t n_threads, uint32_t max_sessions, struct error *err)
{
    *ret = testing_infer(D, 500, &counts);
    return 0;
}

static int h_train(struct half_train **ret, struct model_cut *ret_cut, const char *path,
    const struct split_train_config *cfg, uint64_t memory_bytes, uint32_t n_threads, struct error *err)
{
    if (cfg->max_rows > 64)
        return error_set(err, ENOMEM, "too large for a test");
    *ret = testing_train(D, cfg->n_slots, cfg->max_rows, &counts);
    *ret_cut = base;
    return 0;
}

static const struct service_halves halves = {h_check, h_serve, h_train};

/* --- a link that has one input to say and listens to nothing --------------------------------------------------------- */

struct tape {
    struct link link;
    const uint8_t *bytes;
    size_t len;
};

static ssize_t tape_recv(struct link *l, void *to, size_t cap)
{
    struct tape *t = (struct tape *)l;
    if (!t->len)
        return -EAGAIN;
    size_t n = t->len < cap ? t->len : cap;
    memcpy(to, t->bytes, n);
    t->bytes += n;
    t->len -= n;
    return (ssize_t)n;
}

static ssize_t tape_send(struct link *l, const void *from, size_t len)
{
    return (ssize_t)len;
}

static int tape_fd(const struct link *l)
{
    return -1;
}

static short tape_events(const struct link *l, int want_send)
{
    return POLLIN;
}

static size_t tape_pending(const struct link *l)
{
    return ((const struct tape *)l)->len;
}

static const char *tape_why(const struct link *l)
{
    return "the tape ended";
}

static void tape_free(struct link *l) {}

/* --- a worker --------------------------------------------------------------------------------------------------------- */

static struct service *s;
static char dir[] = "/tmp/meridian-fuzz-XXXXXX";

static void start(void)
{
    struct error err;
    char path[STORE_PATH];
    struct service_config cfg = {
        .store = dir, .halves = &halves, .max_rows = 64, .window = 1 << 20, .max_install = 1000};
    log_setup(LOG_LEVEL_ERROR, false, NULL);
    if (!mkdtemp(dir) || service_create(&s, &cfg, &err))
        abort();
    store_half_path(&s->store, &base, path);
    if (file_write(path, "x", 1, 0600, &err))
        abort();
}

static void compute(void)
{
    for (int k = 0; k < 64; k++) {
        bool any = train_work(s);
        any |= store_work(s);
        struct pool *p = s->serving.pool;
        if (s->serving.state == HALF_READY && pool_has_work(p)) {
            any = true;
            if (pool_take(p)) {
                pool_run(p);
                pool_give(p);
            }
        }
        if (!any)
            break;
    }
}

/* Turns input into frames: op, flags, session and epoch small, then a length byte pair, then payload. */
static size_t frames(uint8_t *to, size_t cap, const uint8_t *from, size_t len, uint64_t seq)
{
    size_t n = 0;
    while (len >= 6 && n + SPLIT_HEADER + SPLIT_MAX_PAYLOAD < cap) {
        struct split_header h = {
            .op = from[0] % SPLIT_OP_END, .flags = from[1] & 3, .session = from[2] & 3, .epoch = from[3] & 7};
        h.seq = from[1] & 4 ? seq : ++seq; /* bit 2: the same number again */
        size_t want = (size_t)from[4] | (size_t)(from[5] & 3) << 8;
        from += 6, len -= 6;
        h.len = (uint32_t)(want < len ? want : len);
        split_header_encode(to + n, &h);
        memcpy(to + n + SPLIT_HEADER, from, h.len);
        n += SPLIT_HEADER + h.len;
        from += h.len, len -= h.len;
    }
    return n;
}

static size_t hello(uint8_t *to, uint8_t kind)
{
    struct split_hello e = {.version = SPLIT_VERSION,
        .codecs = 7,
        .which = SPLIT_BULK,
        .d = D,
        .may_install = kind & 4,
        .role = kind & 1 ? SPLIT_TRAIN : SPLIT_SERVE,
        .instance = {kind},
        .cut = {.head = 1, .tail = 1},
        .run = {1}};
    e.cut.id[0] = kind & 4 ? 2 : 1; /* one that must be installed */
    struct split_header h = {.op = SPLIT_HELLO, .seq = 1};
    h.len = (uint32_t)split_hello_encode(to + SPLIT_HEADER, &e);
    split_header_encode(to, &h);
    return SPLIT_HEADER + h.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct link_ops ops = {tape_recv, tape_send, tape_fd, tape_events, tape_pending, tape_why, tape_free};
    static uint8_t bytes[4 * (SPLIT_HEADER + SPLIT_MAX_PAYLOAD)];
    if (size < 2)
        return 0;
    if (!s)
        start();
    size_t n = data[0] & 2 ? 0 : hello(bytes, data[0]);
    n += frames(bytes + n, sizeof(bytes) - n, data + 1, size - 1, 1);
    struct tape tape = {.link.ops = &ops, .bytes = bytes, .len = n};
    pthread_mutex_lock(&s->lock);
    int64_t now = clock_now_ns();
    struct conn *c = conn_create(&tape.link, "fuzz", now);
    c->id = ++s->last_conn;
    s->conns = c;
    s->n_conns = 1;
    while (tape.len && !c->dead) { /* in bites, with computing in between */
        struct tape all = tape;
        tape.len = tape.len < 200 ? tape.len : 200;
        size_t bite = tape.len;
        while (tape.len && !c->dead)
            conn_read(s, c, now);
        tape.bytes = all.bytes + bite;
        tape.len = all.len - bite;
        compute();
    }
    s->conns = NULL;
    s->n_conns = 0;
    service_conn_gone(s, c, now);
    conn_free(c);
    while (s->clients)
        service_client_free(s, s->clients);
    compute();
    char drained[4096];
    while (read(s->wake[0], drained, sizeof(drained)) > 0)
        ;
    pthread_mutex_unlock(&s->lock);
    return 0;
}
