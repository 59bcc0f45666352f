#include "router/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int netns_enter(const char *namespace_, int *ret_old, struct error *err)
{
    *ret_old = -1;
    if (!namespace_ || !namespace_[0])
        return 0;
    char path[512];
    snprintf(path, sizeof(path), namespace_[0] == '/' ? "%s" : "/run/netns/%s", namespace_);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0)
        return error_set(err, errno, "there is no network namespace \"%s\": %s", namespace_, strerror(errno));
    int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (here < 0 || setns(there, CLONE_NEWNET)) {
        int code = errno;
        close(there);
        if (here >= 0)
            close(here);
        return error_set(err, code, "cannot enter the network namespace \"%s\": %s", namespace_, strerror(code));
    }
    close(there);
    *ret_old = here;
    return 0;
}

void netns_leave(int old)
{
    if (old < 0)
        return;
    /* Going on in a stranger's namespace would open sockets in the wrong place. */
    if (setns(old, CLONE_NEWNET)) {
        perror("meridian: cannot return to our own network namespace");
        _exit(1);
    }
    close(old);
}

static int failed(struct error *err, const char *device, const char *what)
{
    int code = errno;
    return error_set(err, code, "%s: %s: %s", device, what, strerror(code));
}

static void name_into(struct ifreq *rq, const char *device)
{
    memset(rq, 0, sizeof(*rq));
    snprintf(rq->ifr_name, sizeof(rq->ifr_name), "%s", device);
}

static int set_up(const struct netns_tun *cfg, int s, struct error *err)
{
    struct ifreq rq;
    name_into(&rq, cfg->device);
    rq.ifr_mtu = (int)cfg->mtu;
    if (cfg->mtu && ioctl(s, SIOCSIFMTU, &rq))
        return failed(err, cfg->device, "its MTU cannot be set");
    name_into(&rq, cfg->device);
    rq.ifr_qlen = (int)cfg->queue;
    if (cfg->queue && ioctl(s, SIOCSIFTXQLEN, &rq))
        return failed(err, cfg->device, "its queue length cannot be set");
    name_into(&rq, cfg->device);
    if (ioctl(s, SIOCGIFFLAGS, &rq))
        return failed(err, cfg->device, "its flags cannot be read");
    rq.ifr_flags |= IFF_UP;
    if (ioctl(s, SIOCSIFFLAGS, &rq))
        return failed(err, cfg->device, "it cannot be set up");
    return 0;
}

static int attach(const struct netns_tun *cfg, int fd, struct error *err)
{
    struct ifreq rq;
    name_into(&rq, cfg->device);
    rq.ifr_flags = (short)((cfg->tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI);
    if (ioctl(fd, TUNSETIFF, &rq)) {
        if (errno == EBUSY)
            return error_set(err, EBUSY, "%s: another program holds this device", cfg->device);
        return failed(err, cfg->device, "cannot make the device");
    }
    if (ioctl(fd, TUNSETPERSIST, cfg->keep ? 1 : 0))
        return failed(err, cfg->device, "cannot say whether the device stays");
    return 0;
}

static int open_here(const struct netns_tun *cfg, int *ret_fd, int *ret_statistics, struct error *err)
{
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int statistics = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
    int rc;
    if (s < 0 || fd < 0 || statistics < 0)
        rc = failed(err, cfg->device, fd < 0 ? "/dev/net/tun" : "its namespace cannot be used");
    else if (!(rc = attach(cfg, fd, err)))
        rc = set_up(cfg, s, err);
    if (s >= 0)
        close(s);
    if (rc) {
        if (fd >= 0)
            close(fd);
        if (statistics >= 0)
            close(statistics);
        return rc;
    }
    *ret_fd = fd;
    *ret_statistics = statistics;
    return 0;
}

int netns_tun_open(const struct netns_tun *cfg, int *ret_fd, int *ret_statistics, struct error *err)
{
    int old;
    int rc = netns_enter(cfg->namespace_, &old, err);
    if (rc)
        return rc;
    rc = open_here(cfg, ret_fd, ret_statistics, err);
    netns_leave(old);
    return rc;
}

static int add_ip4(int s, const char *device, const struct ip_addr *a, uint8_t len)
{
    struct ifreq rq;
    name_into(&rq, device);
    struct sockaddr_in to = {.sin_family = AF_INET};
    memcpy(&to.sin_addr, a->a.b, 4);
    memcpy(&rq.ifr_addr, &to, sizeof(to));
    if (ioctl(s, SIOCSIFADDR, &rq))
        return -1;
    to.sin_addr.s_addr = htonl(len ? ~0u << (32 - len) : 0);
    memcpy(&rq.ifr_netmask, &to, sizeof(to));
    return ioctl(s, SIOCSIFNETMASK, &rq);
}

static int add_ip6(int s, const char *device, const struct ip_addr *a, uint8_t len)
{
    struct in6_ifreq rq = {.ifr6_prefixlen = len, .ifr6_ifindex = (int)if_nametoindex(device)};
    memcpy(&rq.ifr6_addr, a->a.b, 16);
    return ioctl(s, SIOCSIFADDR, &rq);
}

int netns_address_add(const char *device, const struct ip_addr *a, uint8_t len, struct error *err)
{
    int s = socket(a->family == IP_V4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int rc = s < 0 ? -1 : a->family == IP_V4 ? add_ip4(s, device, a, len) : add_ip6(s, device, a, len);
    if (rc && errno == EEXIST)
        rc = 0;
    if (rc)
        rc = failed(err, device, "the address cannot be set");
    if (s >= 0)
        close(s);
    return rc;
}

static int route_ip4(int s, const char *device, const struct ip_prefix *to, uint32_t metric)
{
    char name[NETNS_DEVICE_NAME];
    snprintf(name, sizeof(name), "%s", device);
    struct rtentry rt = {.rt_flags = RTF_UP, .rt_dev = name, .rt_metric = (short)(metric ? metric + 1 : 0)};
    struct sockaddr_in dst = {.sin_family = AF_INET}, mask = {.sin_family = AF_INET};
    memcpy(&dst.sin_addr, to->a.b, 4);
    mask.sin_addr.s_addr = htonl(to->len ? ~0u << (32 - to->len) : 0);
    memcpy(&rt.rt_dst, &dst, sizeof(dst));
    memcpy(&rt.rt_genmask, &mask, sizeof(mask));
    return ioctl(s, SIOCADDRT, &rt);
}

static int route_ip6(int s, const char *device, const struct ip_prefix *to)
{
    struct in6_rtmsg rt = {.rtmsg_dst_len = to->len,
        .rtmsg_metric = 1024,
        .rtmsg_flags = RTF_UP,
        .rtmsg_ifindex = (int)if_nametoindex(device)};
    memcpy(&rt.rtmsg_dst, to->a.b, 16);
    return ioctl(s, SIOCADDRT, &rt);
}

int netns_route_add(const char *device, const struct ip_prefix *to, uint32_t metric, struct error *err)
{
    int s = socket(to->family == IP_V4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int rc = s < 0 ? -1 : to->family == IP_V4 ? route_ip4(s, device, to, metric) : route_ip6(s, device, to);
    if (rc && errno == EEXIST)
        rc = 0;
    if (rc)
        rc = failed(err, device, "the route cannot be set");
    if (s >= 0)
        close(s);
    return rc;
}

int netns_dropped(int statistics_fd, const char *device, uint64_t *ret_rx, uint64_t *ret_tx)
{
    char text[16384];
    ssize_t n = pread(statistics_fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return -EIO;
    text[n] = 0;
    char want[NETNS_DEVICE_NAME + 2];
    snprintf(want, sizeof(want), "%s:", device);
    for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        line += strspn(line, " ");
        if (strncmp(line, want, strlen(want)))
            continue;
        unsigned long long v[16];
        char *p = line + strlen(want);
        for (int i = 0; i < 16; i++)
            v[i] = strtoull(p, &p, 10);
        *ret_rx = v[3];
        *ret_tx = v[11];
        return 0;
    }
    return -ENOENT;
}
