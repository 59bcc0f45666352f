#include "cloud/gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/test.h"
#include "os/dscp.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* A whole small ClientHello: no session id, one cipher, SNI "abc". */
static const uint8_t hello[] = {22, 3, 1, 0, 59, 1, 0, 0, 55, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0, 2, 0x13, 1, 1, 0, 0, 12, 0, 0, 0, 8, 0, 6,
    0, 0, 3, 'a', 'b', 'c'};

static struct {
    int fd;
    char name[256];
    unsigned n;
} seen;

static void on_named(void *user, int fd, const char *name)
{
    if (seen.n++)
        close(seen.fd);
    seen.fd = fd;
    snprintf(seen.name, sizeof(seen.name), "%s", name);
}

static struct gate *open_gate(struct gate_config cfg)
{
    struct gate *g;
    struct error err = {""};
    cfg.listen = "127.0.0.1:0";
    cfg.named = on_named;
    seen.n = 0;
    if (gate_create(&g, &cfg, &err))
        fail_msg("%s", err.text);
    return g;
}

static int connect_to(const struct gate *g)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sa.sin_port = htons((uint16_t)atoi(strrchr(gate_address(g), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

/* Runs the gate until done() or 3 s. */
static bool run_until(struct gate *g, bool (*done)(const struct gate *))
{
    int64_t until = clock_now_ns() + 3 * NS_PER_S;
    while (!done(g) && clock_now_ns() < until) {
        struct pollfd p = {gate_fd(g), POLLIN, 0};
        poll(&p, 1, 50);
        gate_run(g);
    }
    return done(g);
}

static bool one_named(const struct gate *g)
{
    return seen.n == 1;
}

static bool one_timed_out(const struct gate *g)
{
    return gate_counts(g)->timed_out == 1;
}

static bool two_refused(const struct gate *g)
{
    return gate_counts(g)->refused == 2;
}

static bool five_accepted(const struct gate *g)
{
    return gate_counts(g)->accepted == 5;
}

static bool closed(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    char c;
    return poll(&p, 1, 2000) == 1 && recv(fd, &c, 1, 0) <= 0;
}

static void test_name_is_read_and_left_on_the_socket(void **state)
{
    struct gate *g = open_gate((struct gate_config){0});
    int fd = connect_to(g);
    for (size_t i = 0; i < sizeof(hello); i++) {
        assert_int_equal(write(fd, hello + i, 1), 1);
        gate_run(g);
    }
    assert_true(run_until(g, one_named));
    assert_string_equal(seen.name, "abc");
    assert_int_equal(gate_counts(g)->half_open, 0);
    uint8_t back[sizeof(hello) + 1];
    assert_int_equal(recv(seen.fd, back, sizeof(back), 0), sizeof(hello));
    assert_memory_equal(back, hello, sizeof(hello));
    close(seen.fd);
    close(fd);
    gate_free(g);
}

/* A connection is answered in the class in which it came. */
static void test_marks_are_answered(void **state)
{
    static const int marks[] = {46, 26, 0};
    for (unsigned i = 0; i < 3; i++) {
        struct gate *g = open_gate((struct gate_config){0});
        struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        sa.sin_port = htons((uint16_t)atoi(strrchr(gate_address(g), ':') + 1));
        int fd = socket(AF_INET, SOCK_STREAM, 0), tos = -1;
        socklen_t len = sizeof(tos);
        assert_int_equal(dscp_set(fd, (unsigned)marks[i]), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
        assert_int_equal(write(fd, hello, sizeof(hello)), sizeof(hello));
        assert_true(run_until(g, one_named));
        assert_int_equal(getsockopt(seen.fd, IPPROTO_IP, IP_TOS, &tos, &len), 0);
        assert_int_equal(tos >> 2, marks[i]);
        close(seen.fd);
        close(fd);
        gate_free(g);
    }
}

static void test_slow_ones_are_dropped_without_work(void **state)
{
    struct gate *g = open_gate((struct gate_config){.timeout_ns = 300 * NS_PER_MS});
    int fd = connect_to(g);
    assert_int_equal(write(fd, hello, 20), 20);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    int64_t start = clock_now_ns();
    assert_true(run_until(g, one_timed_out));
    getrusage(RUSAGE_SELF, &after);
    assert_in_range(clock_now_ns() - start, 250 * NS_PER_MS, NS_PER_S);
    /* A part of a record that lies there must not make the gate spin. */
    assert_in_range(after.ru_utime.tv_usec + after.ru_utime.tv_sec * 1000000 - before.ru_utime.tv_usec -
                        before.ru_utime.tv_sec * 1000000,
        0, 100000);
    assert_true(closed(fd));
    close(fd);
    gate_free(g);
}

static void test_strangers_and_cowards_are_refused(void **state)
{
    struct gate *g = open_gate((struct gate_config){0});
    int a = connect_to(g), b = connect_to(g);
    assert_int_equal(write(a, "GET / HTTP/1.1\r\n", 16), 16);
    assert_int_equal(write(b, hello, 30), 30);
    shutdown(b, SHUT_WR);
    assert_true(run_until(g, two_refused));
    assert_true(closed(a));
    assert_true(closed(b));
    assert_int_equal(seen.n, 0);
    close(a);
    close(b);
    gate_free(g);
}

static void test_bounds(void **state)
{
    struct gate *g = open_gate((struct gate_config){.max_per_source = 3});
    int fd[5];
    for (int i = 0; i < 5; i++)
        fd[i] = connect_to(g);
    assert_true(run_until(g, five_accepted));
    assert_int_equal(gate_counts(g)->half_open, 3);
    assert_int_equal(gate_counts(g)->refused, 2);
    for (int i = 0; i < 5; i++)
        close(fd[i]);
    gate_free(g);
    g = open_gate((struct gate_config){.max_half_open = 4, .max_per_source = 100});
    for (int i = 0; i < 5; i++)
        fd[i] = connect_to(g);
    assert_true(run_until(g, five_accepted));
    assert_int_equal(gate_counts(g)->half_open, 4);
    assert_int_equal(gate_counts(g)->evicted, 1);
    for (int i = 0; i < 5; i++)
        close(fd[i]);
    gate_free(g);
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {"", "7443", "localhost", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:123456"};
    struct gate *g;
    struct error err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(gate_create(&g, &(struct gate_config){.listen = bad[i], .named = on_named}, &err), -EINVAL);
    assert_int_equal(gate_create(&g, &(struct gate_config){.listen = "[::1]:0", .named = on_named}, &err), 0);
    assert_memory_equal(gate_address(g), "[::1]:", 6);
    gate_free(g);
    assert_int_equal(gate_create(&g, &(struct gate_config){.listen = ":0", .named = on_named}, &err), 0);
    gate_free(g);
}

int main(void)
{
    log_setup(LOG_LEVEL_ERROR, false, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_is_read_and_left_on_the_socket),
        cmocka_unit_test(test_marks_are_answered),
        cmocka_unit_test(test_slow_ones_are_dropped_without_work),
        cmocka_unit_test(test_strangers_and_cowards_are_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
