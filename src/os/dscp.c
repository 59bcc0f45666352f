#include "os/dscp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>

/* Both, whatever the family: an IPv6 socket may carry IPv4 (mapped addresses), and IPV6_TCLASS does nothing to that. */
int dscp_set(int fd, unsigned dscp)
{
    int tos = (int)(dscp & 63) << 2, family = 0;
    socklen_t len = sizeof(family);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len))
        return -errno;
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    int v4 = setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)) ? -errno : 0;
    if (family == AF_INET)
        return v4;
    return setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos)) ? -errno : 0;
}

int dscp_remember(int listener)
{
    int on = 1;
    return setsockopt(listener, IPPROTO_TCP, TCP_SAVE_SYN, &on, sizeof(on)) ? -errno : 0;
}

int dscp_answer(int fd)
{
    uint8_t syn[256];
    socklen_t len = sizeof(syn);
    if (getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, syn, &len))
        return -errno;
    if (len < 2)
        return -ENODATA;
    unsigned tos = syn[0] >> 4 == 6 ? (unsigned)(syn[0] << 4 | syn[1] >> 4) & 0xff : syn[1];
    int rc = dscp_set(fd, tos >> 2);
    return rc ? rc : (int)(tos >> 2);
}
