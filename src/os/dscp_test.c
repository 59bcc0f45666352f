/* Marks of connections, read back from the packets: what the accepting end's SYN and the connecting end's packets carry. */
#include "os/dscp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int listen_at(int family, union address *a, socklen_t *len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0;
    memset(a, 0, sizeof(*a));
    a->any.sa_family = (sa_family_t)family;
    *len = family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
    if (family == AF_INET)
        a->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (fd >= 0)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (fd < 0 || bind(fd, &a->any, *len) || listen(fd, 4) || getsockname(fd, &a->any, len)) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static unsigned tos_of(int fd, int family)
{
    int tos = -1;
    socklen_t len = sizeof(tos);
    int rc = family == AF_INET ? getsockopt(fd, IPPROTO_IP, IP_TOS, &tos, &len)
                               : getsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, &len);
    assert_int_equal(rc, 0);
    return (unsigned)tos >> 2;
}

/* The mark crosses with the SYN and is answered. `via`: the family that the client uses. */
static void cross(int listens, int via, unsigned dscp)
{
    union address a;
    socklen_t len;
    int l = listen_at(listens, &a, &len);
    if (l < 0)
        skip(); /* no IPv6 here */
    assert_int_equal(dscp_remember(l), 0);
    if (via == AF_INET && listens == AF_INET6) {
        in_port_t port = a.v6.sin6_port;
        memset(&a, 0, sizeof(a));
        a.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        len = sizeof(a.v4);
    }
    int c = socket(via, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(dscp_set(c, dscp), 0);
    assert_int_equal(connect(c, &a.any, len), 0);
    int got = accept(l, NULL, NULL);
    assert_true(got >= 0);
    assert_int_equal(dscp_answer(got), (int)dscp);
    assert_int_equal(tos_of(got, via == AF_INET ? AF_INET : AF_INET6), dscp);
    assert_int_equal(tos_of(c, via), dscp);
    assert_true(dscp_answer(got) < 0); /* the kernel gives it once */
    assert_int_equal(tos_of(got, via == AF_INET ? AF_INET : AF_INET6), dscp);
    close(got), close(c), close(l);
}

static void test_ipv4(void **state)
{
    cross(AF_INET, AF_INET, 46);
    cross(AF_INET, AF_INET, 26);
    cross(AF_INET, AF_INET, 0);
}

static void test_ipv6(void **state)
{
    union address a = {.v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}};
    int l = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), c = -1;
    socklen_t len = sizeof(a.v6);
    if (l < 0 || bind(l, &a.any, len) || listen(l, 4) || getsockname(l, &a.any, &len))
        skip();
    a.v6.sin6_addr = in6addr_loopback;
    assert_int_equal(dscp_remember(l), 0);
    c = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(dscp_set(c, 46), 0);
    if (connect(c, &a.any, len)) {
        close(c), close(l);
        skip(); /* ::1 is not up here */
    }
    int got = accept(l, NULL, NULL);
    assert_int_equal(dscp_answer(got), 46);
    assert_int_equal(tos_of(got, AF_INET6), 46);
    close(got), close(c), close(l);
}

static void test_ipv4_at_an_ipv6_listener(void **state)
{
    cross(AF_INET6, AF_INET, 26);
}

static void test_what_has_no_mark_says_so(void **state)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(dscp_set(pair[0], 46), -EAFNOSUPPORT);
    assert_true(dscp_answer(pair[0]) < 0);
    assert_int_equal(dscp_set(-1, 46), -EBADF);
    close(pair[0]), close(pair[1]);
    union address a;
    socklen_t len;
    int l = listen_at(AF_INET, &a, &len), c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c, &a.any, len), 0);
    int got = accept(l, NULL, NULL); /* the listener did not remember */
    assert_true(dscp_answer(got) < 0);
    close(got), close(c), close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_ipv4_at_an_ipv6_listener),
        cmocka_unit_test(test_what_has_no_mark_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
