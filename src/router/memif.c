#include "router/memif.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_NS    (50 * NS_PER_MS)
#define REGION_MOST (1ull << 30)

struct memif {
    struct reactor *reactor;
    struct memif_config cfg;
    struct memif_hooks hooks;
    struct reactor_watch listener, line; /* fd -1: none */
    struct reactor_timer retry;
    struct memif_rings rings;
    bool connected; /* hooks.connected was called */
    bool greeted;   /* server: INIT was accepted */
    int memory;     /* client: the region's descriptor while it is being told */
    unsigned told;  /* client: how many of its messages were sent */
    struct log_limit limit;
};

/* --- memory ------------------------------------------------------------------------------------------------ */

static void forget_rings(struct memif *m)
{
    struct memif_rings *g = &m->rings;
    for (unsigned i = 0; i < g->n_regions; i++)
        munmap(g->region[i].base, g->region[i].size);
    if (g->rx_event >= 0)
        close(g->rx_event);
    if (g->tx_event >= 0)
        close(g->tx_event);
    if (m->memory >= 0)
        close(m->memory);
    m->memory = -1;
    *g = (struct memif_rings){.client = !m->cfg.server, .rx_event = -1, .tx_event = -1};
}

static void ring_start(struct memif_ring *ring, uint8_t log2, uint32_t first, uint32_t buffer)
{
    ring->cookie = MEMIF_COOKIE;
    ring->flags = MEMIF_RING_MASKED;
    for (uint32_t i = 0; i < 1u << log2; i++)
        ring->desc[i] = (struct memif_desc){.length = buffer, .offset = first + i * buffer};
}

/* Client: one region with [ring to server][ring to client][buffers of each]. */
static int make_memory(struct memif *m)
{
    struct memif_rings *g = &m->rings;
    uint32_t slots = 1u << m->cfg.log2;
    uint32_t ring = (uint32_t)sizeof(struct memif_ring) + slots * (uint32_t)sizeof(struct memif_desc);
    size_t size = 2 * (size_t)ring + 2 * (size_t)slots * m->cfg.buffer;
    m->memory = memfd_create("memif", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (m->memory < 0 || ftruncate(m->memory, (off_t)size) ||
        fcntl(m->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
        return -errno;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->memory, 0);
    if (base == MAP_FAILED)
        return -errno;
    g->region[g->n_regions].base = base;
    g->region[g->n_regions++].size = size;
    g->tx = base;
    g->rx = (struct memif_ring *)(void *)((uint8_t *)base + ring);
    g->tx_log2 = g->rx_log2 = m->cfg.log2;
    g->buffer = m->cfg.buffer;
    g->tx_buffers = 2 * ring;
    g->rx_buffers = 2 * ring + slots * m->cfg.buffer;
    ring_start(g->tx, m->cfg.log2, g->tx_buffers, g->buffer);
    ring_start(g->rx, m->cfg.log2, g->rx_buffers, g->buffer);
    g->tx_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    g->rx_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return g->tx_event < 0 || g->rx_event < 0 ? -errno : 0;
}

/* Server: memory of the client's. It must not shrink under us. */
static const char *add_region(struct memif *m, const struct memif_message *msg, int fd)
{
    struct memif_rings *g = &m->rings;
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (fd < 0 || msg->region.index != g->n_regions || g->n_regions == MEMIF_REGIONS)
        return "a region that does not follow the last one";
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return "memory that could shrink";
    if (fstat(fd, &st) || msg->region.size == 0 || msg->region.size > REGION_MOST ||
        (uint64_t)st.st_size < msg->region.size)
        return "a region of a wrong size";
    void *base = mmap(NULL, msg->region.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return "memory that cannot be mapped";
    g->region[g->n_regions].base = base;
    g->region[g->n_regions++].size = msg->region.size;
    return NULL;
}

/* Server: takes fd over when it returns NULL. */
static const char *add_ring(struct memif *m, const struct memif_message *msg, int fd)
{
    struct memif_rings *g = &m->rings;
    bool to_server = msg->ring.flags & MEMIF_RING_TO_SERVER;
    struct memif_ring **ring = to_server ? &g->rx : &g->tx;
    if (fd < 0 || msg->ring.index != 0 || *ring)
        return "more rings than one each way";
    if (msg->ring.region >= g->n_regions || msg->ring.log2 > MEMIF_RING_LOG2 || msg->ring.offset % 64 ||
        msg->ring.offset + sizeof(struct memif_ring) + (sizeof(struct memif_desc) << msg->ring.log2) >
            g->region[msg->ring.region].size)
        return "a ring outside of its region";
    *ring = (struct memif_ring *)(void *)(g->region[msg->ring.region].base + msg->ring.offset);
    if ((*ring)->cookie != MEMIF_COOKIE)
        return "memory that is no ring";
    fcntl(fd, F_SETFL, O_NONBLOCK);
    *(to_server ? &g->rx_log2 : &g->tx_log2) = msg->ring.log2;
    *(to_server ? &g->rx_event : &g->tx_event) = fd;
    return NULL;
}

/* --- messages ---------------------------------------------------------------------------------------------- */

static int send_with(struct memif *m, const struct memif_message *msg, int fd)
{
    uint8_t bytes[MEMIF_MESSAGE_SIZE];
    memif_encode(bytes, msg);
    struct iovec iov = {bytes, sizeof(bytes)};
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        memset(&control, 0, sizeof(control));
        mh.msg_control = control.bytes;
        mh.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    return sendmsg(m->line.fd, &mh, MSG_NOSIGNAL) == MEMIF_MESSAGE_SIZE ? 0 : -EPIPE;
}

static int send_ack(struct memif *m)
{
    return send_with(m, &(struct memif_message){.type = MEMIF_ACK}, -1);
}

/* The client's messages in order, one an acknowledgement. */
static int tell_next(struct memif *m)
{
    struct memif_message msg = {0};
    struct memif_rings *g = &m->rings;
    int fd = -1;
    switch (m->told++) {
    case 0:
        msg.type = MEMIF_INIT;
        msg.init.version = MEMIF_VERSION;
        msg.init.id = m->cfg.id;
        memcpy(msg.init.secret, m->cfg.secret, sizeof(msg.init.secret));
        memcpy(msg.init.name, m->cfg.name, sizeof(msg.init.name));
        break;
    case 1:
        msg.type = MEMIF_ADD_REGION;
        msg.region.size = g->region[0].size;
        fd = m->memory;
        break;
    case 2:
    case 3: {
        bool to_server = m->told == 3;
        msg.type = MEMIF_ADD_RING;
        msg.ring.flags = to_server ? MEMIF_RING_TO_SERVER : 0;
        msg.ring.offset = (uint32_t)((uint8_t *)(to_server ? g->tx : g->rx) - g->region[0].base);
        msg.ring.log2 = m->cfg.log2;
        fd = to_server ? g->tx_event : g->rx_event;
        break;
    }
    case 4:
        msg.type = MEMIF_CONNECT;
        memcpy(msg.connect.name, m->cfg.name, sizeof(msg.connect.name));
        break;
    default:
        return 0;
    }
    return send_with(m, &msg, fd);
}

static void announce(struct memif *m)
{
    m->connected = true;
    m->hooks.connected(m->hooks.user, &m->rings);
}

static const char *client_take(struct memif *m, const struct memif_message *msg)
{
    switch (msg->type) {
    case MEMIF_HELLO:
        if (m->told || msg->hello.version_least > MEMIF_VERSION || msg->hello.version_most < MEMIF_VERSION)
            return "another version of memif";
        if (msg->hello.log2_most < m->cfg.log2)
            return "a peer that takes only smaller rings";
        if (make_memory(m))
            return "no memory for the rings";
        return tell_next(m) ? "a closed line" : NULL;
    case MEMIF_ACK:
        return !m->told || m->told > 5 || tell_next(m) ? "an ACK of nothing" : NULL;
    case MEMIF_CONNECTED:
        if (m->told != 5 || m->connected)
            return "CONNECTED out of turn";
        announce(m);
        return NULL;
    case MEMIF_DISCONNECT:
        return msg->disconnect.reason[0] ? msg->disconnect.reason : "it said DISCONNECT";
    default:
        return "a message that servers do not send";
    }
}

static const char *server_init(struct memif *m, const struct memif_message *msg)
{
    if (m->greeted || msg->init.version != MEMIF_VERSION || msg->init.mode != MEMIF_MODE_ETHERNET)
        return "another version or mode of memif";
    if (msg->init.id != m->cfg.id)
        return "an id that is not ours";
    if (memcmp(msg->init.secret, m->cfg.secret, MEMIF_SECRET))
        return "a wrong secret";
    m->greeted = true;
    return send_ack(m) ? "a closed line" : NULL;
}

static const char *server_take(struct memif *m, const struct memif_message *msg, int *fd)
{
    const char *wrong;
    if (msg->type == MEMIF_INIT)
        return server_init(m, msg);
    if (msg->type == MEMIF_DISCONNECT)
        return msg->disconnect.reason[0] ? msg->disconnect.reason : "it said DISCONNECT";
    if (!m->greeted || m->connected)
        return "a message out of turn";
    switch (msg->type) {
    case MEMIF_ADD_REGION:
        wrong = add_region(m, msg, *fd);
        return wrong ? wrong : send_ack(m) ? "a closed line" : NULL;
    case MEMIF_ADD_RING:
        if ((wrong = add_ring(m, msg, *fd)))
            return wrong;
        *fd = -1;
        return send_ack(m) ? "a closed line" : NULL;
    case MEMIF_CONNECT: {
        if (!m->rings.rx || !m->rings.tx)
            return "CONNECT before both rings";
        struct memif_message reply = {.type = MEMIF_CONNECTED};
        memcpy(reply.connect.name, m->cfg.name, sizeof(reply.connect.name));
        /* Rings first: the peer may send as soon as it reads CONNECTED. */
        announce(m);
        return send_with(m, &reply, -1) ? "a closed line" : NULL;
    }
    default:
        return "a message that clients do not send";
    }
}

/* *ret_fd: a descriptor that came along, the caller's; -1: none. 1: a message; 0: none now; -1: the line is closed. */
static int receive(struct memif *m, uint8_t *bytes, size_t *ret_len, int *ret_fd)
{
    struct iovec iov = {bytes, MEMIF_MESSAGE_SIZE};
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct msghdr mh = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(m->line.fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    *ret_fd = -1;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    *ret_len = (size_t)n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    return 1;
}

static void line_ready(struct reactor_watch *w, uint32_t events)
{
    struct memif *m = w->user;
    uint8_t bytes[MEMIF_MESSAGE_SIZE];
    size_t len;
    int fd;
    while (m->line.fd >= 0) {
        int got = receive(m, bytes, &len, &fd);
        if (got == 0)
            return;
        if (got < 0)
            return memif_reset(m, "the neighbour's process has ended");
        struct memif_message msg;
        const char *wrong = memif_decode(&msg, bytes, len) ? "no memif message"
                            : m->cfg.server                ? server_take(m, &msg, &fd)
                                                           : client_take(m, &msg);
        if (fd >= 0)
            close(fd);
        if (wrong) {
            char why[128];
            snprintf(why, sizeof(why), "%s", wrong);
            return memif_reset(m, why);
        }
    }
}

/* --- lines ------------------------------------------------------------------------------------------------- */

static void close_line(struct memif *m)
{
    if (m->line.fd < 0)
        return;
    reactor_remove(m->reactor, &m->line);
    close(m->line.fd);
    m->line.fd = -1;
}

void memif_reset(struct memif *m, const char *why)
{
    unsigned skipped;
    if (m->line.fd >= 0) {
        struct memif_message bye = {.type = MEMIF_DISCONNECT};
        snprintf(bye.disconnect.reason, sizeof(bye.disconnect.reason), "%s", why);
        send_with(m, &bye, -1);
    }
    if (m->connected) {
        m->connected = false;
        m->hooks.disconnected(m->hooks.user, why);
    } else if (m->line.fd >= 0 && log_limit_pass(&m->limit, 1, &skipped)) {
        log_warn("%s: no memif connection: %s", m->cfg.path, why);
    }
    close_line(m);
    forget_rings(m);
    m->greeted = false;
    m->told = 0;
    if (!m->cfg.server)
        reactor_timer_set(m->reactor, &m->retry, clock_now_ns() + RETRY_NS);
}

static bool welcome(const struct memif *m, int fd)
{
    struct ucred who;
    socklen_t len = sizeof(who);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
           (who.uid == 0 || who.uid == m->cfg.owner || who.uid == geteuid());
}

static void take_line(struct memif *m, int fd)
{
    m->line = (struct reactor_watch){.fd = fd, .ready = line_ready, .user = m};
    if (reactor_add(m->reactor, &m->line, EPOLLIN)) {
        close(fd);
        m->line.fd = -1;
    }
}

static void listener_ready(struct reactor_watch *w, uint32_t events)
{
    struct memif *m = w->user;
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (m->line.fd >= 0 || !welcome(m, fd)) {
        close(fd);
        return;
    }
    take_line(m, fd);
    struct memif_message hello = {.type = MEMIF_HELLO,
        .hello = {.version_least = MEMIF_VERSION,
            .version_most = MEMIF_VERSION,
            .region_most = MEMIF_REGIONS - 1,
            .log2_most = MEMIF_RING_LOG2}};
    memcpy(hello.hello.name, m->cfg.name, sizeof(hello.hello.name));
    if (m->line.fd >= 0 && send_with(m, &hello, -1))
        memif_reset(m, "a closed line");
}

static void address_of(const struct memif_config *cfg, struct sockaddr_un *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->sun_family = AF_UNIX;
    memcpy(ret->sun_path, cfg->path, strnlen(cfg->path, sizeof(ret->sun_path) - 1));
}

static void try_connect(struct reactor_timer *t, int64_t now)
{
    struct memif *m = t->user;
    struct sockaddr_un to;
    address_of(&m->cfg, &to);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && welcome(m, fd))
        return take_line(m, fd);
    if (fd >= 0)
        close(fd);
    reactor_timer_set(m->reactor, t, now + RETRY_NS);
}

/* A socket file that nobody listens at any more is that of a process that was killed. */
static int remove_stale(const char *path, const struct sockaddr_un *at, struct error *err)
{
    struct stat st;
    if (lstat(path, &st))
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, EEXIST, "%s: something that is no socket is in the way", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0;
    if (fd >= 0)
        close(fd);
    if (alive)
        return error_set(err, EADDRINUSE, "%s: another program is the server of this memif", path);
    unlink(path);
    return 0;
}

static int listen_at(struct memif *m, struct error *err)
{
    struct sockaddr_un at;
    address_of(&m->cfg, &at);
    int rc = remove_stale(m->cfg.path, &at, err);
    if (rc)
        return rc;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177);
    int bound = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&at, sizeof(at));
    int code = errno;
    umask(mask);
    if (!bound && (listen(fd, 8) || chown(m->cfg.path, m->cfg.owner, (gid_t)-1))) {
        bound = -1;
        code = errno;
        unlink(m->cfg.path);
    }
    if (bound) {
        if (fd >= 0)
            close(fd);
        return error_set(err, code, "cannot listen at %s: %s", m->cfg.path, strerror(code));
    }
    m->listener = (struct reactor_watch){.fd = fd, .ready = listener_ready, .user = m};
    return reactor_add(m->reactor, &m->listener, EPOLLIN);
}

int memif_open(struct memif **ret, struct reactor *r, const struct memif_config *cfg, const struct memif_hooks *hooks,
    struct error *err)
{
    struct memif *m = calloc(1, sizeof(*m));
    if (!m)
        return error_set(err, ENOMEM, "no memory");
    m->reactor = r;
    m->cfg = *cfg;
    m->hooks = *hooks;
    m->listener.fd = m->line.fd = m->memory = m->rings.rx_event = m->rings.tx_event = -1;
    m->retry = (struct reactor_timer){.due = try_connect, .user = m};
    forget_rings(m);
    int rc = 0;
    if (cfg->server)
        rc = listen_at(m, err);
    else
        reactor_timer_set(r, &m->retry, 0);
    if (rc) {
        memif_close(m);
        return rc;
    }
    *ret = m;
    return 0;
}

void memif_close(struct memif *m)
{
    if (!m)
        return;
    memif_reset(m, "closed");
    reactor_timer_clear(m->reactor, &m->retry);
    if (m->listener.fd >= 0) {
        reactor_remove(m->reactor, &m->listener);
        close(m->listener.fd);
        unlink(m->cfg.path);
    }
    free(m);
}
