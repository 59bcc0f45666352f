#include "roce/route.h"

#include "wire/ip_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
    struct nlmsghdr header;
    struct rtmsg route;
    struct rtattr attribute;
    uint8_t address[16];
};

/* Sends the question and reads the kernel's one answer; returns its bytes or -errno. */
static ssize_t ask(const struct ip_addr *to, uint8_t *answer, size_t cap)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    uint8_t bytes = to->family == IP_V4 ? 4 : 16;
    struct request r = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(r.route)) + RTA_LENGTH(bytes),
                            .nlmsg_type = RTM_GETROUTE,
                            .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = to->family == IP_V4 ? AF_INET : AF_INET6, .rtm_dst_len = (unsigned char)(8 * bytes)},
        .attribute = {.rta_len = (unsigned short)RTA_LENGTH(bytes), .rta_type = RTA_DST}};
    memcpy(r.address, to->a.b, bytes);
    ssize_t n = send(fd, &r, r.header.nlmsg_len, 0);
    n = n < 0 ? n : recv(fd, answer, cap, 0);
    int rc = n < 0 ? -errno : 0;
    close(fd);
    return rc ? rc : n;
}

static void address_of(struct ip_addr *to, uint8_t family, const struct rtattr *a)
{
    size_t bytes = family == IP_V4 ? 4 : 16;
    if (RTA_PAYLOAD(a) < bytes)
        return;
    *to = (struct ip_addr){.family = family};
    memcpy(to->a.b, RTA_DATA(a), bytes);
}

int roce_route_find(struct roce_route *ret, const struct ip_addr *to, struct error *err)
{
    _Alignas(struct nlmsghdr) uint8_t answer[4096];
    char text[IP_TEXT_SIZE];
    ip_addr_print(text, to);
    ssize_t n = ask(to, answer, sizeof(answer));
    if (n < 0)
        return error_set(err, (int)-n, "cannot ask for the route to %s: %s", text, strerror((int)-n));
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer;
    struct roce_route found = {.next_hop = *to};
    if (!NLMSG_OK(h, (size_t)n) || h->nlmsg_type != RTM_NEWROUTE)
        return error_set(err, ENETUNREACH, "there is no route to %s", text);
    const struct rtmsg *m = NLMSG_DATA(h);
    if (m->rtm_type != RTN_UNICAST)
        return error_set(err, ENETUNREACH, "%s is no other host", text);
    size_t left = RTM_PAYLOAD(h);
    for (const struct rtattr *a = RTM_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == RTA_GATEWAY)
            address_of(&found.next_hop, to->family, a);
        else if (a->rta_type == RTA_PREFSRC)
            address_of(&found.source, to->family, a);
        else if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) >= 4)
            if_indextoname(*(const unsigned *)RTA_DATA(a), found.interface);
    }
    if (!found.interface[0])
        return error_set(err, ENETUNREACH, "the route to %s leads through no interface", text);
    if (!found.source.family)
        roce_route_address(&found.source, found.interface, to->family);
    if (!found.source.family)
        return error_set(err, EADDRNOTAVAIL, "%s has no address to send to %s from", found.interface, text);
    *ret = found;
    return 0;
}

static bool usable(struct ip_addr *ret, const struct sockaddr *a, uint8_t family)
{
    if (family == IP_V4 && a->sa_family == AF_INET) {
        *ret = (struct ip_addr){.family = IP_V4};
        memcpy(ret->a.b, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
        return true;
    }
    if (family == IP_V6 && a->sa_family == AF_INET6) {
        const struct in6_addr *in = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
        if (IN6_IS_ADDR_LINKLOCAL(in))
            return false;
        *ret = (struct ip_addr){.family = IP_V6};
        memcpy(ret->a.b, in, 16);
        return true;
    }
    return false;
}

void roce_route_address(struct ip_addr *ret, const char *interface, uint8_t family)
{
    struct ifaddrs *all;
    *ret = (struct ip_addr){0};
    if (getifaddrs(&all))
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next)
        if (i->ifa_addr && !strcmp(i->ifa_name, interface) && usable(ret, i->ifa_addr, family))
            break;
    freeifaddrs(all);
}

int roce_route_interface(char ret[IF_NAMESIZE], struct error *err)
{
    struct ifaddrs *all;
    char found[IF_NAMESIZE] = "";
    if (getifaddrs(&all))
        return error_set(err, errno, "cannot list interfaces: %s", strerror(errno));
    int rc = 0;
    for (const struct ifaddrs *i = all; i && !rc; i = i->ifa_next) {
        if (i->ifa_flags & IFF_LOOPBACK || !(i->ifa_flags & IFF_UP) || !strcmp(found, i->ifa_name))
            continue;
        if (found[0])
            rc = error_set(err, ENODEV, "say with --interface which one: there are %s, %s, …", found, i->ifa_name);
        snprintf(found, sizeof(found), "%s", i->ifa_name);
    }
    freeifaddrs(all);
    if (!rc && !found[0])
        rc = error_set(err, ENODEV, "no interface is up but the loopback");
    if (!rc)
        memcpy(ret, found, IF_NAMESIZE);
    return rc;
}
