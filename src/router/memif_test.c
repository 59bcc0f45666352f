/* memif: two ends in one process over real sockets and shared memory, and ends that are wrong or hostile. */
#include "router/device_memif.h"

#include "base/clock.h"
#include "base/test.h"
#include "router/testing_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct end {
    struct memif *m;
    struct device *d;
    struct memif_rings *rings;
    unsigned connects, disconnects;
    char why[128];
};

struct rig {
    struct reactor r;
    struct pool pool;
    struct end server, client;
    char path[64];
};

static void on_connected(void *user, struct memif_rings *rings)
{
    struct end *e = user;
    e->connects++;
    e->rings = rings;
    device_memif_attach(e->d, rings);
}

static void on_disconnected(void *user, const char *why)
{
    struct end *e = user;
    e->disconnects++;
    snprintf(e->why, sizeof(e->why), "%s", why);
    device_memif_detach(e->d);
    e->rings = NULL;
}

static void config(const struct rig *g, struct memif_config *c, bool server)
{
    *c = (struct memif_config){.server = server, .id = 7, .log2 = 6, .buffer = 2048, .owner = getuid()};
    snprintf(c->path, sizeof(c->path), "%s", g->path);
    snprintf(c->name, sizeof(c->name), "%s", server ? "server" : "client");
}

static void open_end(struct rig *g, struct end *e, const struct memif_config *c)
{
    struct error err = {""};
    if (!e->d)
        assert_int_equal(device_memif_create(&e->d, c->name, &g->pool, &err), 0);
    if (memif_open(&e->m, &g->r, c, &(struct memif_hooks){e, on_connected, on_disconnected}, &err))
        fail_msg("%s", err.text);
}

static void run_for(struct rig *g, int64_t ns)
{
    int64_t until = clock_now_ns() + ns;
    while (clock_now_ns() < until)
        reactor_run(&g->r, until);
}

/* Until both ends are as wanted, at most five seconds. */
static void run_until(struct rig *g, bool up)
{
    int64_t until = clock_now_ns() + 5 * NS_PER_S;
    while ((g->server.d->up != up || g->client.d->up != up) && clock_now_ns() < until)
        reactor_run(&g->r, clock_now_ns() + 10 * NS_PER_MS);
    assert_int_equal(g->server.d->up, up);
    assert_int_equal(g->client.d->up, up);
}

static int set_up(void **state)
{
    struct rig *g = *state = calloc(1, sizeof(*g));
    struct memif_config c;
    testing_pool_init(&g->pool, 2048, 9300);
    reactor_init(&g->r);
    snprintf(g->path, sizeof(g->path), "/tmp/memif_test.%d", (int)getpid());
    config(g, &c, true);
    open_end(g, &g->server, &c);
    config(g, &c, false);
    open_end(g, &g->client, &c);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *g = *state;
    memif_close(g->client.m);
    memif_close(g->server.m);
    g->client.d->ops->close(g->client.d);
    g->server.d->ops->close(g->server.d);
    reactor_done(&g->r);
    assert_int_equal(pool_free_count(&g->pool), 2048);
    pool_done(&g->pool);
    free(g);
    return 0;
}

static unsigned send_frames(struct rig *g, struct device *d, unsigned first, unsigned n, uint32_t len)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < n; i++) {
        struct rte_mbuf *m = testing_frame(&g->pool, first + i, len);
        taken += d->ops->transmit(d, &m, 1, 0);
        pool_free(m);
    }
    return taken;
}

static unsigned take_frames(struct device *d, unsigned first, unsigned most, uint32_t len)
{
    struct rte_mbuf *pkts[64];
    unsigned n, all = 0;
    while (all < most && (n = d->ops->receive(d, pkts, most - all < 64 ? most - all : 64, 0)) > 0) {
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(pkts[i]->pkt_len, len);
            assert_int_equal(testing_frame_number(pkts[i]), first + all + i);
            for (uint32_t b = 4; b < len; b++)
                assert_int_equal(*packet_at(pkts[i], b), (uint8_t)((first + all + i) * 7 + 1));
            assert_int_equal(rte_pktmbuf_headroom(pkts[i]), PACKET_HEADROOM);
            pool_free(pkts[i]);
        }
        all += n;
    }
    return all;
}

static void frames_cross_whole_and_in_order_both_ways_many_times_round(void **state)
{
    struct rig *g = *state;
    run_until(g, true);
    for (unsigned i = 0; i < 70000; i += 50) { /* over 2^16 slots */
        uint32_t len = 60 + i % 2000;
        assert_int_equal(send_frames(g, g->client.d, i, 50, len), 50);
        assert_int_equal(take_frames(g->server.d, i, 64, len), 50);
        assert_int_equal(send_frames(g, g->server.d, i, 50, len), 50);
        assert_int_equal(take_frames(g->client.d, i, 64, len), 50);
    }
}

static void a_full_ring_takes_no_more_and_loses_nothing(void **state)
{
    struct rig *g = *state;
    run_until(g, true);
    struct device *from[] = {g->client.d, g->server.d}, *to[] = {g->server.d, g->client.d};
    for (int way = 0; way < 2; way++) {
        assert_int_equal(send_frames(g, from[way], 0, 100, 500), 64);
        assert_int_equal(from[way]->n.tx_refused, 36);
        assert_int_equal(take_frames(to[way], 0, 10, 500), 10);
        assert_int_equal(send_frames(g, from[way], 64, 20, 500), 10);
        assert_int_equal(take_frames(to[way], 10, 200, 500), 64);
    }
}

static void long_frames_take_several_slots(void **state)
{
    struct rig *g = *state;
    run_until(g, true);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(send_frames(g, g->client.d, i, 2, 9000), 2);
        assert_int_equal(take_frames(g->server.d, i, 64, 9000), 2);
        assert_int_equal(send_frames(g, g->server.d, i, 2, 9000), 2);
        assert_int_equal(take_frames(g->client.d, i, 64, 9000), 2);
    }
    /* 64 slots, 5 a frame: the thirteenth does not fit, whole. */
    assert_int_equal(send_frames(g, g->client.d, 0, 20, 9000), 12);
    assert_int_equal(take_frames(g->server.d, 0, 64, 9000), 12);
}

static void a_neighbour_that_ends_is_noticed_and_comes_back(void **state)
{
    struct rig *g = *state;
    struct memif_config c;
    run_until(g, true);
    send_frames(g, g->client.d, 0, 10, 100);
    memif_close(g->server.m);
    run_until(g, false);
    assert_int_equal(g->client.disconnects, 1);
    assert_int_equal(send_frames(g, g->client.d, 0, 1, 100), 0);
    config(g, &c, true);
    open_end(g, &g->server, &c);
    run_until(g, true);
    assert_int_equal(send_frames(g, g->client.d, 5, 1, 100), 1);
    assert_int_equal(take_frames(g->server.d, 5, 64, 100), 1);
    memif_close(g->client.m);
    config(g, &c, false);
    open_end(g, &g->client, &c);
    run_until(g, true);
    assert_int_equal(g->server.disconnects, 2);
}

static void who_sleeps_is_woken_and_who_polls_is_not(void **state)
{
    struct rig *g = *state;
    run_until(g, true);
    struct device *from[] = {g->client.d, g->server.d}, *to[] = {g->server.d, g->client.d};
    for (int way = 0; way < 2; way++) {
        uint64_t count;
        int fd;
        assert_int_equal(to[way]->ops->watch(to[way], &fd, 1), 1);
        send_frames(g, from[way], 0, 3, 100);
        assert_int_equal(read(fd, &count, 8), -1);
        assert_true(to[way]->ops->arm(to[way])); /* there are some: no sleep */
        assert_int_equal(take_frames(to[way], 0, 64, 100), 3);
        assert_false(to[way]->ops->arm(to[way]));
        send_frames(g, from[way], 3, 1, 100);
        assert_int_equal(read(fd, &count, 8), 8);
        to[way]->ops->disarm(to[way]);
        send_frames(g, from[way], 4, 1, 100);
        assert_int_equal(read(fd, &count, 8), -1);
        assert_int_equal(take_frames(to[way], 3, 64, 100), 2);
    }
}

/* What each end finds in memory that the other one can write. */
static void nonsense_in_a_ring_stops_the_device_and_nothing_else(void **state)
{
    struct rig *g = *state;
    struct rte_mbuf *pkts[64];
    run_until(g, true);

    send_frames(g, g->client.d, 0, 1, 100);
    g->client.rings->tx->desc[0].offset = 0xfffffff0u;
    assert_int_equal(g->server.d->ops->receive(g->server.d, pkts, 64, 0), 0);
    assert_true(device_memif_broken(g->server.d));
    memif_reset(g->server.m, "nonsense");
    run_until(g, false);
    run_until(g, true);

    g->client.rings->tx->head = 1000; /* of 64 slots */
    assert_int_equal(g->server.d->ops->receive(g->server.d, pkts, 64, 0), 0);
    assert_true(device_memif_broken(g->server.d));
    memif_reset(g->server.m, "nonsense");
    run_until(g, false);
    run_until(g, true);

    send_frames(g, g->server.d, 0, 1, 100);
    g->server.rings->tx->desc[0].length = 60000; /* longer than a buffer */
    assert_int_equal(g->client.d->ops->receive(g->client.d, pkts, 64, 0), 0);
    assert_true(device_memif_broken(g->client.d));
    memif_reset(g->client.m, "nonsense");
    run_until(g, false);
    run_until(g, true);

    for (unsigned i = 0; i < 64; i++)
        g->client.rings->rx->desc[i].region = 3;
    assert_int_equal(send_frames(g, g->server.d, 0, 1, 100), 0);
    assert_true(device_memif_broken(g->server.d));
    memif_reset(g->server.m, "nonsense");
    run_until(g, false);
    run_until(g, true);

    /* A chain of all slots that never ends is no frame; one longer than a packet is dropped. */
    for (unsigned i = 0; i < 64; i++)
        g->client.rings->tx->desc[i] = (struct memif_desc){
            .flags = i % 32 != 31, .length = 2048, .offset = g->client.rings->tx_buffers + i * 2048};
    g->client.rings->tx->head = 40;
    assert_int_equal(g->server.d->ops->receive(g->server.d, pkts, 64, 0), 0);
    assert_false(device_memif_broken(g->server.d));
    assert_int_equal(g->server.d->n.rx_bad, 4);
    assert_int_equal(g->client.rings->tx->tail, 32);
}

/* --- a client of our own making ---------------------------------------------------------------------------- */

static int dial(const struct rig *g)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", g->path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void say(int line, const struct memif_message *m, int fd)
{
    uint8_t bytes[MEMIF_MESSAGE_SIZE];
    char control[CMSG_SPACE(sizeof(int))] = {0};
    memif_encode(bytes, m);
    struct iovec iov = {bytes, sizeof(bytes)};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        mh.msg_control = control;
        mh.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    sendmsg(line, &mh, MSG_NOSIGNAL);
}

/* What it answered at last; MEMIF_NONE: it hung up, or nothing. */
static enum memif_type answer(struct rig *g, int line, char why[97])
{
    enum memif_type last = MEMIF_NONE;
    uint8_t bytes[MEMIF_MESSAGE_SIZE];
    run_for(g, 20 * NS_PER_MS);
    ssize_t n;
    while ((n = recv(line, bytes, sizeof(bytes), 0)) > 0) {
        struct memif_message m;
        assert_int_equal(memif_decode(&m, bytes, (size_t)n), 0);
        last = m.type;
        if (why && m.type == MEMIF_DISCONNECT)
            memcpy(why, m.disconnect.reason, 97);
    }
    return last;
}

static const struct memif_message init = {.type = MEMIF_INIT, .init = {.version = MEMIF_VERSION, .id = 7}};

static void strangers_and_liars_are_refused(void **state)
{
    struct rig *g = *state;
    char why[97] = "";
    run_until(g, true);
    memif_close(g->client.m);
    g->client.m = NULL;
    run_for(g, 10 * NS_PER_MS);

    struct memif_message m = init;
    m.init.id = 8;
    int line = dial(g);
    assert_int_equal(answer(g, line, NULL), MEMIF_HELLO);
    say(line, &m, -1);
    assert_int_equal(answer(g, line, why), MEMIF_DISCONNECT);
    assert_string_equal(why, "an id that is not ours");
    close(line);

    line = dial(g);
    say(line, &(struct memif_message){.type = MEMIF_CONNECT}, -1);
    assert_int_equal(answer(g, line, NULL), MEMIF_DISCONNECT);
    close(line);

    struct memif_message region = {.type = MEMIF_ADD_REGION, .region = {.size = 65536}};
    int memory = memfd_create("x", MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(memory, 65536), 0);
    line = dial(g);
    say(line, &init, -1);
    say(line, &region, memory);
    assert_int_equal(answer(g, line, why), MEMIF_DISCONNECT);
    assert_string_equal(why, "memory that could shrink");
    close(line);

    assert_int_equal(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    region.region.size = 65537;
    line = dial(g);
    say(line, &init, -1);
    say(line, &region, memory);
    assert_int_equal(answer(g, line, why), MEMIF_DISCONNECT);
    assert_string_equal(why, "a region of a wrong size");
    close(line);

    struct memif_message ring = {.type = MEMIF_ADD_RING, .ring = {.flags = MEMIF_RING_TO_SERVER, .log2 = 12}};
    region.region.size = 65536;
    line = dial(g);
    say(line, &init, -1);
    say(line, &region, memory);
    assert_int_equal(answer(g, line, NULL), MEMIF_ACK);
    say(line, &ring, memory); /* 128 + 4096 x 16 bytes do not fit */
    assert_int_equal(answer(g, line, why), MEMIF_DISCONNECT);
    assert_string_equal(why, "a ring outside of its region");
    close(line);

    line = dial(g);
    assert_int_equal(send(line, "hello", 5, MSG_NOSIGNAL), 5);
    assert_int_equal(answer(g, line, why), MEMIF_DISCONNECT);
    assert_string_equal(why, "no memif message");
    close(line);
    close(memory);
    assert_false(g->server.d->up);
}

static void a_wrong_secret_is_refused(void **state)
{
    struct rig *g = *state;
    struct memif_config c;
    memif_close(g->client.m);
    config(g, &c, false);
    snprintf(c.secret, sizeof(c.secret), "guess");
    open_end(g, &g->client, &c);
    run_for(g, 150 * NS_PER_MS);
    assert_false(g->client.d->up);
    assert_int_equal(g->server.connects, 0);
}

static void two_servers_of_one_socket_and_things_in_the_way_are_refused(void **state)
{
    struct rig *g = *state;
    struct memif_config c;
    struct error err = {""};
    struct memif *second = NULL;
    config(g, &c, true);
    assert_int_equal(memif_open(&second, &g->r, &c, &(struct memif_hooks){0}, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "another program"));
    snprintf(c.path, sizeof(c.path), "/tmp");
    assert_int_equal(memif_open(&second, &g->r, &c, &(struct memif_hooks){0}, &err), -EEXIST);
    assert_null(second);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    log_setup(LOG_LEVEL_ERROR, false, NULL);
    const struct CMUnitTest tests[] = {
        TEST(frames_cross_whole_and_in_order_both_ways_many_times_round),
        TEST(a_full_ring_takes_no_more_and_loses_nothing),
        TEST(long_frames_take_several_slots),
        TEST(a_neighbour_that_ends_is_noticed_and_comes_back),
        TEST(who_sleeps_is_woken_and_who_polls_is_not),
        TEST(nonsense_in_a_ring_stops_the_device_and_nothing_else),
        TEST(strangers_and_liars_are_refused),
        TEST(a_wrong_secret_is_refused),
        TEST(two_servers_of_one_socket_and_things_in_the_way_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
