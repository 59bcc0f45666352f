/* A name resolves to one or two sockets. "*" is one IPv6 socket that takes IPv4 too, or IPv4 alone on a machine without
 * IPv6. Port 0 (tests) is picked by the first socket and used by the others. */
#include "http/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int bad_name(const char *text, struct error *err)
{
    return error_set(err, EINVAL,
        "\"%.100s\" is not an address to listen on; write HOST:PORT, e.g. 127.0.0.1:8080, [::1]:8080, localhost:8080, "
        "or *:8080 "
        "for every address",
        text);
}

int http_listen_parse(struct http_listen_name *ret, const char *text, struct error *err)
{
    const char *colon = strrchr(text, ':');
    if (!colon || strlen(text) >= sizeof(ret->host))
        return bad_name(text, err);
    const char *host = text;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']')
        host++, len -= 2;
    else if (memchr(host, ':', len))
        return bad_name(text, err);
    if (len == 1 && host[0] == '*')
        len = 0;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || port > 65535)
        return bad_name(text, err);
    memcpy(ret->host, host, len);
    ret->host[len] = 0;
    snprintf(ret->port, sizeof(ret->port), "%lu", port);
    return 0;
}

bool http_address_is_loopback(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24 == 127;
    if (sa->sa_family != AF_INET6)
        return false;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)sa)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

static int resolve(const struct http_listen_name *n, struct addrinfo **ret, struct error *err)
{
    /* localhost is both loopback addresses, whatever /etc/hosts says: that is what no name without AI_PASSIVE means. */
    bool local = !strcmp(n->host, "localhost");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = (local ? 0 : AI_PASSIVE) | AI_NUMERICSERV};
    int rc = getaddrinfo(n->host[0] && !local ? n->host : NULL, n->port, &hints, ret);
    if (rc)
        return error_set(err, EADDRNOTAVAIL, "cannot listen on \"%s\": %s", n->host, gai_strerror(rc));
    return 0;
}

bool http_listen_is_loopback(const struct http_listen_name *n)
{
    struct addrinfo *list;
    if (!n->host[0] || resolve(n, &list, NULL))
        return false;
    bool all = true;
    for (struct addrinfo *i = list; i; i = i->ai_next)
        all = all && http_address_is_loopback(i->ai_addr);
    freeaddrinfo(list);
    return all;
}

uint16_t http_listen_port(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len))
        return 0;
    return ntohs(
        ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
}

static void set_port(struct sockaddr *sa, uint16_t port)
{
    if (sa->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)sa)->sin_port = htons(port);
}

static int open_one(const struct addrinfo *i, bool both)
{
    int fd = socket(i->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int one = 1, only = !both;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (i->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    if (bind(fd, i->ai_addr, i->ai_addrlen) || listen(fd, 256)) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static bool missing_family(int rc)
{
    return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL;
}

static int close_all(const int *fds, int n, int rc)
{
    while (n > 0)
        close(fds[--n]);
    return rc;
}

/* Every address: the IPv6 socket takes both families, so it is tried first and is enough. */
static int open_every(struct addrinfo *list, int *ret_fd)
{
    int rc = -EAFNOSUPPORT;
    for (int family = AF_INET6; rc < 0; family = AF_INET) {
        for (struct addrinfo *i = list; i && rc < 0; i = i->ai_next)
            if (i->ai_family == family)
                rc = open_one(i, true);
        if (family == AF_INET || (rc < 0 && !missing_family(rc)))
            break;
    }
    *ret_fd = rc;
    return rc < 0 ? rc : 1;
}

static int open_each(struct addrinfo *list, int *ret_fds, size_t cap)
{
    int n = 0, rc = -EADDRNOTAVAIL;
    for (struct addrinfo *i = list; i && (size_t)n < cap; i = i->ai_next) {
        if (i->ai_family != AF_INET && i->ai_family != AF_INET6)
            continue;
        if (n)
            set_port(i->ai_addr, http_listen_port(ret_fds[0]));
        int fd = open_one(i, false);
        if (fd < 0 && !missing_family(fd))
            return close_all(ret_fds, n, fd);
        if (fd >= 0)
            ret_fds[n++] = fd;
        else
            rc = fd;
    }
    return n ? n : rc;
}

int http_listen_open(const struct http_listen_name *n, int *ret_fds, size_t cap, struct error *err)
{
    struct addrinfo *list;
    int rc = resolve(n, &list, err);
    if (rc)
        return rc;
    rc = n->host[0] ? open_each(list, ret_fds, cap) : open_every(list, ret_fds);
    freeaddrinfo(list);
    if (rc < 0)
        return error_set(err, -rc, "cannot listen on %s port %s: %s%s", n->host[0] ? n->host : "*", n->port,
            strerror(-rc), rc == -EADDRINUSE ? " (another program listens there; choose another port)" : "");
    return rc;
}
