#include "peering/socket.h"

#include "wire/ip_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#ifndef IP_MINTTL
#define IP_MINTTL 21
#endif

static socklen_t to_sockaddr(struct sockaddr_storage *to, const struct ip_addr *a, uint16_t port, uint32_t scope)
{
    memset(to, 0, sizeof *to);
    if (a->family == IP_V4) {
        struct sockaddr_in *s = (struct sockaddr_in *)to;
        s->sin_family = AF_INET;
        s->sin_port = htons(port);
        memcpy(&s->sin_addr, a->a.b, 4);
        return sizeof *s;
    }
    struct sockaddr_in6 *s = (struct sockaddr_in6 *)to;
    s->sin6_family = AF_INET6;
    s->sin6_port = htons(port);
    s->sin6_scope_id = scope;
    memcpy(&s->sin6_addr, a->a.b, 16);
    return sizeof *s;
}

static void from_sockaddr(struct ip_addr *ret, const struct sockaddr_storage *from)
{
    *ret = (struct ip_addr){0};
    if (from->ss_family == AF_INET) {
        ret->family = IP_V4;
        memcpy(ret->a.b, &((const struct sockaddr_in *)from)->sin_addr, 4);
        return;
    }
    const struct in6_addr *six = &((const struct sockaddr_in6 *)from)->sin6_addr;
    bool mapped = IN6_IS_ADDR_V4MAPPED(six);
    ret->family = mapped ? IP_V4 : IP_V6;
    memcpy(ret->a.b, mapped ? six->s6_addr + 12 : six->s6_addr, mapped ? 4 : 16);
}

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) ? -errno : 0;
}

static int new_socket(const struct ip_addr *a, struct error *err)
{
    int fd = socket(a->family == IP_V4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, errno, "cannot open a socket: %s", strerror(errno));
    return fd;
}

static int fail(int fd, int code, struct error *err, const char *what, const struct ip_addr *a)
{
    char text[IP_TEXT_SIZE];
    close(fd);
    return error_set(err, code, "cannot %s %s: %s", what, ip_addr_print(text, a), strerror(code));
}

int peering_listen(const struct ip_addr *at, uint16_t port, uint32_t scope, struct error *err)
{
    struct sockaddr_storage sa;
    socklen_t len = to_sockaddr(&sa, at, port, scope);
    int fd = new_socket(at, err);
    if (fd < 0)
        return fd;
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->family == IP_V6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    /* An address that was set a moment ago may not be usable yet (RFC 4862 5.4). */
    set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
    /* Answers to SYNs leave with the highest TTL, for peers that check it (RFC 5082 3). */
    set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255);
    set(fd, IPPROTO_IP, IP_TTL, 255);
    if (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 64))
        return fail(fd, errno, err, "listen on", at);
    return fd;
}

static int md5_key(int fd, const struct ip_addr *peer, const char *md5, bool mapped)
{
    struct tcp_md5sig sig = {.tcpm_keylen = (uint16_t)strlen(md5)};
    if (peer->family == IP_V4 && mapped) { /* as a listening socket of both families knows it */
        struct ip_addr six = {.family = IP_V6, .a = {{[10] = 0xff, [11] = 0xff}}};
        memcpy(six.a.b + 12, peer->a.b, 4);
        to_sockaddr((struct sockaddr_storage *)&sig.tcpm_addr, &six, 0, 0);
    } else {
        to_sockaddr((struct sockaddr_storage *)&sig.tcpm_addr, peer, 0, 0);
    }
    memcpy(sig.tcpm_key, md5, sig.tcpm_keylen);
    return setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &sig, sizeof sig) ? -errno : 0;
}

static int family_of(int fd)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    getsockname(fd, (struct sockaddr *)&sa, &len);
    return sa.ss_family;
}

int peering_listen_key(int fd, const struct ip_addr *peer, const char *md5, struct error *err)
{
    if (strlen(md5) > PEERING_MD5_MOST)
        return error_set(err, EINVAL, "a TCP MD5 key has at most %d characters", PEERING_MD5_MOST);
    int rc = md5_key(fd, peer, md5, family_of(fd) == AF_INET6);
    if (rc == -ENOENT && !*md5)
        return 0;
    if (rc)
        return error_set(err, -rc,
            "this kernel does not take TCP MD5 keys (%s): leave out the key, or use another kernel", strerror(-rc));
    return 0;
}

static int bind_device(int fd, const char *device, struct error *err)
{
    if (*device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1))
        return error_set(err, errno, "%s: a socket cannot be bound to this interface: %s", device, strerror(errno));
    return 0;
}

int peering_listen_at(const struct ip_addr *at, uint16_t port, const char *device, struct error *err)
{
    struct sockaddr_storage sa;
    socklen_t len = to_sockaddr(&sa, at, port, 0);
    int fd = new_socket(at, err);
    if (fd < 0)
        return fd;
    int rc = bind_device(fd, device, err);
    if (rc) {
        close(fd);
        return rc;
    }
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->family == IP_V6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255);
    set(fd, IPPROTO_IP, IP_TTL, 255);
    if (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 64))
        return fail(fd, errno, err, "listen on", at);
    return fd;
}

int peering_protect(int fd, const struct ip_addr *peer, const struct peering_secure *secure, struct error *err)
{
    bool six =
        peer->family == IP_V6; /* the socket may be of both families: an IPv4 peer's packets have a TTL all the same */
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!secure->gtsm)
        return 0;
    int rc = six ? set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255) : set(fd, IPPROTO_IP, IP_TTL, 255);
    if (rc == 0)
        rc = six ? set(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, 255) : set(fd, IPPROTO_IP, IP_MINTTL, 255);
    if (rc)
        return error_set(err, -rc, "this kernel does not check hop limits (%s): leave out ttl-security", strerror(-rc));
    return 0;
}

int peering_connect(const struct ip_addr *to, uint16_t port, uint32_t scope, const struct ip_addr *source,
    const struct peering_secure *secure, struct error *err)
{
    struct sockaddr_storage sa, own;
    int fd = new_socket(to, err);
    if (fd < 0)
        return fd;
    int rc = *secure->md5 ? md5_key(fd, to, secure->md5, false) : 0;
    if (rc)
        return fail(fd, -rc, err, "sign connections to", to);
    rc = bind_device(fd, secure->device, err);
    rc = rc ? rc : peering_protect(fd, to, secure, err);
    if (rc) {
        close(fd);
        return rc;
    }
    if (source && source->family) {
        socklen_t len = to_sockaddr(&own, source, 0, scope);
        if (bind(fd, (struct sockaddr *)&own, len))
            return fail(fd, errno, err, "connect from", source);
    }
    socklen_t len = to_sockaddr(&sa, to, port, scope);
    if (connect(fd, (struct sockaddr *)&sa, len) && errno != EINPROGRESS)
        return fail(fd, errno, err, "connect to", to);
    return fd;
}

int peering_connected(int fd)
{
    int code = 0;
    socklen_t len = sizeof code;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len))
        return -errno;
    return -code;
}

int peering_accept(int listening, struct ip_addr *ret_from, struct error *err)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    int fd = accept4(listening, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR
                   ? -EAGAIN
                   : error_set(err, errno, "cannot accept a connection: %s", strerror(errno));
    from_sockaddr(ret_from, &from);
    return fd;
}
