#include "roce/port.h"

#include "base/clock.h"
#include "wire/ip.h"
#include "wire/roce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define RING_BYTES (16u << 20)

struct roce_port {
    int fd;
    int quiet[2]; /* the kernel's UDP ports of both families */
    char name[IF_NAMESIZE];
    uint32_t index, mtu;
    uint8_t mac[6];
    uint8_t *ring;
    uint32_t frame_size, frames, at;
    bool holding; /* frame `at` is with the caller */
    uint64_t missed;
};

/* --- the kernel's side --- */

/* RoCE, ARP, neighbour solicitations and advertisements, MAC control. Offsets are those of untagged frames: the kernel takes
 * tags out first. */
static const struct sock_filter wanted[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETHER_TYPE),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHER_MAC_CONTROL, 12, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHER_ARP, 11, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHER_IP6, 5, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHER_IP4, 0, 10),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETHER_SIZE + IP4_PROTO),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP_PROTO_UDP, 0, 8),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETHER_SIZE + IP4_SIZE + 2),
    BPF_STMT(BPF_JMP | BPF_JA, 4), /* to the port */
    /* IPv6 */
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETHER_SIZE + IP6_NEXT),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP_PROTO_ICMP6, 3, 0), /* few; which ones is looked at later */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP_PROTO_UDP, 0, 3),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETHER_SIZE + IP6_SIZE + 2),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ROCE_PORT, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
};
static const struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};

static int attach(int fd, const struct sock_filter *code, size_t n)
{
    struct sock_fprog program = {(unsigned short)n, (struct sock_filter *)(uintptr_t)code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* A UDP socket on RoCE's port that takes nothing: -1 where the family is missing or somebody else has the port. */
static int quiet_port(int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        return -1;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {0};
    a.any.sa_family = (sa_family_t)family;
    if (family == AF_INET)
        a.v4.sin_port = htons(ROCE_PORT);
    else
        a.v6.sin6_port = htons(ROCE_PORT);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    attach(fd, nothing, 1);
    if (bind(fd, &a.any, family == AF_INET ? sizeof(a.v4) : sizeof(a.v6))) {
        close(fd);
        return -1;
    }
    return fd;
}

static int ask(const struct roce_port *p, unsigned long what, struct ifreq *ret, struct error *err)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->ifr_name, p->name, sizeof(p->name));
    if (!ioctl(p->fd, what, ret))
        return 0;
    if (errno == ENODEV)
        return error_set(err, ENODEV, "there is no interface %s here", p->name);
    return error_set(err, errno, "interface %s: %s", p->name, strerror(errno));
}

static int learn(struct roce_port *p, struct error *err)
{
    struct ifreq r;
    int rc = ask(p, SIOCGIFFLAGS, &r, err);
    if (rc)
        return rc;
    if (!(r.ifr_flags & IFF_UP))
        return error_set(err, ENETDOWN, "interface %s is down", p->name);
    if ((rc = ask(p, SIOCGIFINDEX, &r, err)))
        return rc;
    p->index = (uint32_t)r.ifr_ifindex;
    if ((rc = ask(p, SIOCGIFMTU, &r, err)))
        return rc;
    p->mtu = (uint32_t)r.ifr_mtu;
    if ((rc = ask(p, SIOCGIFHWADDR, &r, err)))
        return rc;
    memcpy(p->mac, r.ifr_hwaddr.sa_data, 6);
    return 0;
}

static int map_ring(struct roce_port *p, struct error *err)
{
    int version = TPACKET_V2, one = 1;
    p->frame_size = 2048;
    while (p->frame_size < p->mtu + ETHER_SIZE + VLAN_SIZE + TPACKET_ALIGN(sizeof(struct tpacket2_hdr)) + 64)
        p->frame_size *= 2;
    uint32_t block = p->frame_size > 65536 ? p->frame_size : 65536;
    p->frames = RING_BYTES / block * (block / p->frame_size);
    struct tpacket_req req = {.tp_block_size = block,
        .tp_block_nr = RING_BYTES / block,
        .tp_frame_size = p->frame_size,
        .tp_frame_nr = p->frames};
    setsockopt(p->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
    setsockopt(p->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
    if (setsockopt(p->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
        setsockopt(p->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
        return error_set(err, errno, "no ring for packets of %s: %s", p->name, strerror(errno));
    void *ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, p->fd, 0);
    if (ring == MAP_FAILED)
        return error_set(err, errno, "no memory for the ring of %s: %s", p->name, strerror(errno));
    p->ring = ring;
    return 0;
}

static int open_all(struct roce_port *p, struct error *err)
{
    p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return error_set(err, errno, "cannot read packets: %s%s", strerror(errno),
            errno == EPERM ? "; run as root or with the capability CAP_NET_RAW" : "");
    int rc = learn(p, err);
    if (rc || (rc = map_ring(p, err)))
        return rc;
    struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_protocol = htons(0x0003 /* all */), .sll_ifindex = (int)p->index};
    if (attach(p->fd, wanted, sizeof(wanted) / sizeof(*wanted)) ||
        bind(p->fd, (const struct sockaddr *)&to, sizeof(to)))
        return error_set(err, errno, "cannot read packets of %s: %s", p->name, strerror(errno));
    p->quiet[0] = quiet_port(AF_INET);
    p->quiet[1] = quiet_port(AF_INET6);
    prctl(PR_SET_TIMERSLACK, 1); /* pacing in microseconds */
    return 0;
}

int roce_port_open(struct roce_port **ret, const char *interface, struct error *err)
{
    if (strlen(interface) >= IF_NAMESIZE)
        return error_set(err, ENODEV, "there is no interface %.40s here", interface);
    struct roce_port *p = calloc(1, sizeof(*p));
    if (!p)
        return error_set(err, ENOMEM, "out of memory");
    p->fd = p->quiet[0] = p->quiet[1] = -1;
    snprintf(p->name, sizeof(p->name), "%s", interface);
    int rc = open_all(p, err);
    if (rc)
        return roce_port_close(p), rc;
    *ret = p;
    return 0;
}

void roce_port_close(struct roce_port *p)
{
    if (!p)
        return;
    if (p->ring)
        munmap(p->ring, RING_BYTES);
    for (int i = 0; i < 2; i++)
        if (p->quiet[i] >= 0)
            close(p->quiet[i]);
    if (p->fd >= 0)
        close(p->fd);
    free(p);
}

/* --- what it is --- */

const uint8_t *roce_port_mac(const struct roce_port *p)
{
    return p->mac;
}

uint32_t roce_port_mtu(const struct roce_port *p)
{
    return p->mtu;
}

uint32_t roce_port_index(const struct roce_port *p)
{
    return p->index;
}

uint64_t roce_port_speed(const struct roce_port *p)
{
    char path[64];
    long long mbit = 0;
    snprintf(path, sizeof(path), "/sys/class/net/%s/speed", p->name);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%lld", &mbit) != 1 || mbit < 0)
        mbit = 0;
    fclose(f);
    return (uint64_t)mbit * 1000000;
}

/* --- frames --- */

static struct tpacket2_hdr *header(const struct roce_port *p)
{
    return (struct tpacket2_hdr *)(void *)(p->ring + (size_t)p->at * p->frame_size);
}

bool roce_port_receive(struct roce_port *p, struct roce_frame *ret)
{
    struct tpacket2_hdr *h = header(p);
    if (p->holding) {
        __atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        p->at = (p->at + 1) % p->frames;
        p->holding = false;
        h = header(p);
    }
    if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
        return false;
    p->holding = true;
    ret->bytes = (const uint8_t *)h + h->tp_mac;
    ret->len = h->tp_snaplen;
    ret->vlan = h->tp_status & TP_STATUS_VLAN_VALID ? h->tp_vlan_tci & 0xfff : 0;
    return true;
}

uint64_t roce_port_missed(struct roce_port *p)
{
    struct tpacket_stats s = {0};
    socklen_t len = sizeof(s);
    if (!getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &s, &len)) /* reading resets it */
        p->missed += s.tp_drops;
    return p->missed;
}

int roce_port_send(struct roce_port *p, const struct iovec *frames, unsigned n, struct error *err)
{
    struct mmsghdr batch[ROCE_PORT_BATCH];
    n = n < ROCE_PORT_BATCH ? n : ROCE_PORT_BATCH;
    for (unsigned i = 0; i < n; i++)
        batch[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = (struct iovec *)(uintptr_t)&frames[i], .msg_iovlen = 1}};
    int sent = sendmmsg(p->fd, batch, n, MSG_DONTWAIT);
    if (sent >= 0)
        return sent;
    if (errno == ENOBUFS || errno == EAGAIN || errno == EINTR) /* the driver's queue is full: nothing is lost */
        return 0;
    return error_set(err, errno, "cannot send on %s: %s", p->name, strerror(errno));
}

void roce_port_wait(struct roce_port *p, int64_t until_ns, bool frames)
{
    struct pollfd fd = {.fd = p->fd, .events = POLLIN};
    int64_t left = until_ns - clock_now_ns();
    if (left <= 0)
        return;
    if (left > NS_PER_S)
        left = NS_PER_S;
    struct timespec t = {left / NS_PER_S, left % NS_PER_S};
    ppoll(&fd, frames ? 1 : 0, &t, NULL);
}
