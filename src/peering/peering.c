#include "peering/peering.h"

#include "base/clock.h"
#include "base/log.h"
#include "peering/gtsm.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define READ_MOST 65536u /* bytes of one connection before the next gets its turn */

struct connection {
    int fd; /* -1: none */
    bool connecting;
    short watched; /* what the descriptor of all waits for here */
};

struct neighbour {
    struct peering_peer config;
    struct connection side[BGP_SIDES];
};

struct peering {
    struct bgp_speaker *speaker;
    struct peering_config config;
    int listening[8];
    int wake, all; /* all: an epoll of everything, for callers that wait themselves; -1: nobody asked */
    int64_t due;
    struct neighbour *neighbour[BGP_PEERS_MOST];
    /* wake, 8 listening, 4 watched, then listening ones of VRFs and connections */
    struct pollfd polls[2 * BGP_PEERS_MOST + PEERING_VRFS_MOST + 16];
    struct {
        uint16_t peer; /* 0: a listening one, `side` says which */
        uint8_t side;
    } who[2 * BGP_PEERS_MOST + PEERING_VRFS_MOST + 16];
    struct {
        int fd;
        uint32_t vrf;
        short watched; /* as a connection's */
    } vrfs[PEERING_VRFS_MOST];
    unsigned n_vrfs;
    uint16_t (*stranger)(void *user, const struct ip_addr *from); /* NULL: none is welcome */
    void *stranger_user;
    struct {
        int fd;
        void (*ready)(void *user);
        void *user;
    } watch[4];
    unsigned n_watches;
    struct log_limit refused, failed;
    uint8_t read[READ_MOST];
};

/* --- life -------------------------------------------------------------------------------------------------------------- */

static bool link_local(const struct ip_addr *a)
{
    return a->family == IP_V6 && a->a.b[0] == 0xfe && (a->a.b[1] & 0xc0) == 0x80;
}

int peering_create(struct peering **ret, const struct peering_config *c, struct error *err)
{
    struct peering *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, ENOMEM, "not enough memory for BGP's connections");
    p->speaker = c->speaker;
    p->config = *c;
    if (!p->config.port)
        p->config.port = 179;
    p->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->all = -1;
    for (unsigned i = 0; i < 8; i++)
        p->listening[i] = -1;
    for (unsigned i = 0; i < c->n_listen && i < 8; i++) {
        p->listening[i] = peering_listen(&c->listen[i], p->config.port, link_local(&c->listen[i]) ? c->scope : 0, err);
        if (p->listening[i] < 0) {
            int rc = p->listening[i];
            peering_free(p);
            return rc;
        }
        int rc = link_local(&c->listen[i]) ? peering_gtsm_link(p->listening[i], err) : 0;
        if (rc) {
            peering_free(p);
            return rc;
        }
    }
    *ret = p;
    return 0;
}

static void close_connection(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct connection){.fd = -1};
}

int peering_listen_vrf(struct peering *p, uint32_t vrf, const struct ip_addr *at, const char *device, struct error *err)
{
    if (p->n_vrfs == PEERING_VRFS_MOST)
        return error_set(err, ENOSPC, "customers can connect to at most %u addresses", PEERING_VRFS_MOST);
    int fd = peering_listen_at(at, p->config.port, device, err);
    if (fd < 0)
        return fd;
    p->vrfs[p->n_vrfs].fd = fd;
    p->vrfs[p->n_vrfs++].vrf = vrf;
    return 0;
}

/* The i-th listening socket of a VRF (0: the provider's network); -1: no more. */
static int listening_in(const struct peering *p, uint32_t vrf, unsigned i)
{
    for (unsigned k = 0; vrf == 0 && k < 8; k++)
        if (p->listening[k] >= 0 && i-- == 0)
            return p->listening[k];
    for (unsigned k = 0; vrf && k < p->n_vrfs; k++)
        if (p->vrfs[k].vrf == vrf && i-- == 0)
            return p->vrfs[k].fd;
    return -1;
}

static uint32_t vrf_of(const struct bgp_peer_config *c)
{
    return c->kind == BGP_PEER_CUSTOMER ? c->customer.vrf : 0;
}

/* What is still to be said (a NOTIFICATION), as far as the socket takes it at once. */
static void flush_last(struct peering *p, uint16_t peer, enum bgp_side side)
{
    struct connection *c = &p->neighbour[peer]->side[side];
    struct buf *out = bgp_peer_out(p->speaker, peer, side, clock_now_ns());
    if (c->fd >= 0 && !c->connecting && out->len) {
        ssize_t n = write(c->fd, out->data, out->len);
        (void)n; /* the connection ends in any case */
    }
}

/* The listening sockets hear peers with GTSM from nearby only. */
static int protect_listening(struct peering *p, uint32_t vrf, struct error *err)
{
    struct ip_addr near[BGP_PEERS_MOST];
    unsigned n = 0;
    int rc = 0;
    for (uint16_t i = 1; i < BGP_PEERS_MOST; i++) {
        const struct bgp_peer_config *c = bgp_peer_config(p->speaker, i);
        if (c && p->neighbour[i] && p->neighbour[i]->config.secure.gtsm && vrf_of(c) == vrf && !link_local(&c->address))
            near[n++] = c->address;
    }
    for (int i = 0, fd; rc == 0 && (fd = listening_in(p, vrf, (unsigned)i)) >= 0; i++)
        if (vrf || !link_local(&p->config.listen[i]))
            rc = peering_gtsm_filter(fd, near, n, err);
    return rc;
}

void peering_strangers(struct peering *p, uint16_t (*who)(void *user, const struct ip_addr *from), void *user)
{
    p->stranger = who;
    p->stranger_user = user;
}

void peering_peer_remove(struct peering *p, uint16_t peer)
{
    struct neighbour *n = peer < BGP_PEERS_MOST ? p->neighbour[peer] : NULL;
    struct error err;
    if (!n)
        return;
    const struct bgp_peer_config *config = bgp_peer_config(p->speaker, peer);
    for (int side = 0; config && side < BGP_SIDES; side++)
        flush_last(p, peer, (enum bgp_side)side);
    uint32_t vrf = config ? vrf_of(config) : 0;
    for (int i = 0, fd; config && *n->config.secure.md5 && (fd = listening_in(p, vrf, (unsigned)i)) >= 0; i++)
        peering_listen_key(fd, &config->address, "", &err);
    close_connection(&n->side[BGP_CONNECTED]);
    close_connection(&n->side[BGP_ACCEPTED]);
    bool near = n->config.secure.gtsm && config && !link_local(&config->address);
    free(n);
    p->neighbour[peer] = NULL;
    if (near)
        protect_listening(p, vrf, &err);
}

void peering_free(struct peering *p)
{
    if (!p)
        return;
    for (uint16_t i = 1; i < BGP_PEERS_MOST; i++)
        if (p->neighbour[i]) {
            bgp_peer_stop(p->speaker, i, NULL, clock_now_ns());
            peering_peer_remove(p, i);
        }
    for (unsigned i = 0; i < 8; i++)
        if (p->listening[i] >= 0)
            close(p->listening[i]);
    for (unsigned i = 0; i < p->n_vrfs; i++)
        close(p->vrfs[i].fd);
    close(p->wake);
    if (p->all >= 0)
        close(p->all);
    free(p);
}

int peering_peer_add(struct peering *p, const struct peering_peer *c, struct error *err)
{
    const struct bgp_peer_config *config = bgp_peer_config(p->speaker, c->peer);
    if (!config || p->neighbour[c->peer])
        return error_set(err, EINVAL, "there is no such BGP peer, or its connections are there already");
    struct neighbour *n = calloc(1, sizeof *n);
    if (!n)
        return error_set(err, ENOMEM, "not enough memory for a BGP peer's connections");
    n->config = *c;
    n->side[BGP_CONNECTED].fd = n->side[BGP_ACCEPTED].fd = -1;
    for (int i = 0, fd; *c->secure.md5 && (fd = listening_in(p, vrf_of(config), (unsigned)i)) >= 0; i++) {
        int rc = peering_listen_key(fd, &config->address, c->secure.md5, err);
        if (rc) {
            free(n);
            return rc;
        }
    }
    p->neighbour[c->peer] = n;
    int rc = c->secure.gtsm && !link_local(&config->address) ? protect_listening(p, vrf_of(config), err) : 0;
    if (rc) {
        p->neighbour[c->peer] = NULL;
        free(n);
    }
    return rc;
}

void peering_wake(struct peering *p)
{
    uint64_t one = 1;
    ssize_t n = write(p->wake, &one, sizeof one);
    (void)n; /* full: it is awake anyway */
}

/* --- connections ---------------------------------------------------------------------------------------------------------- */

static void begin_connecting(struct peering *p, uint16_t peer, int64_t now)
{
    struct neighbour *n = p->neighbour[peer];
    const struct bgp_peer_config *config = bgp_peer_config(p->speaker, peer);
    struct error err;
    unsigned skipped;
    int fd = peering_connect(&config->address, n->config.port ? n->config.port : p->config.port, n->config.scope,
        &n->config.source, &n->config.secure, &err);
    if (fd < 0) {
        if (log_limit_pass(&p->failed, 1, &skipped))
            log_debug("BGP: %s", err.text);
        bgp_peer_transport_failed(p->speaker, peer, BGP_CONNECTED, now);
        return;
    }
    n->side[BGP_CONNECTED] = (struct connection){.fd = fd, .connecting = true};
}

static void finish_connecting(struct peering *p, uint16_t peer, int64_t now)
{
    struct connection *c = &p->neighbour[peer]->side[BGP_CONNECTED];
    if (peering_connected(c->fd)) {
        close_connection(c);
        bgp_peer_transport_failed(p->speaker, peer, BGP_CONNECTED, now);
        return;
    }
    c->connecting = false;
    bgp_peer_transport_up(p->speaker, peer, BGP_CONNECTED, now);
}

static void accept_one(struct peering *p, int listening, uint32_t vrf, int64_t now)
{
    struct ip_addr from;
    struct error err;
    char text[IP_TEXT_SIZE];
    unsigned skipped;
    int fd = peering_accept(listening, &from, &err);
    if (fd < 0)
        return;
    uint16_t peer = vrf ? bgp_peer_of_customer(p->speaker, vrf, &from) : bgp_peer_of_address(p->speaker, &from);
    if (!peer && !vrf && p->stranger)
        peer = p->stranger(p->stranger_user, &from);
    struct neighbour *n = peer ? p->neighbour[peer] : NULL;
    error_write(&err, n ? "it is stopped, or has a session already" : "no such peer");
    if (!n || !bgp_peer_accepts(p->speaker, peer) || peering_protect(fd, &from, &n->config.secure, &err)) {
        if (log_limit_pass(&p->refused, 1, &skipped))
            log_warn("BGP: a connection from %s was refused: %s", ip_addr_print(text, &from), err.text);
        close(fd);
        return;
    }
    struct connection *c = &n->side[BGP_ACCEPTED];
    if (c->fd >= 0)
        bgp_peer_transport_failed(p->speaker, peer, BGP_ACCEPTED, now);
    close_connection(c);
    c->fd = fd;
    bgp_peer_transport_up(p->speaker, peer, BGP_ACCEPTED, now);
}

static void lost(struct peering *p, uint16_t peer, enum bgp_side side, int64_t now)
{
    close_connection(&p->neighbour[peer]->side[side]);
    bgp_peer_transport_failed(p->speaker, peer, side, now);
}

static void read_some(struct peering *p, uint16_t peer, enum bgp_side side, int64_t now)
{
    struct connection *c = &p->neighbour[peer]->side[side];
    ssize_t n = read(c->fd, p->read, sizeof p->read);
    if (n > 0)
        bgp_peer_bytes(p->speaker, peer, side, p->read, (size_t)n, now);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        lost(p, peer, side, now);
}

/* Writes what there is until the socket is full. A session that has ended is closed once its last word is out. */
static void write_some(struct peering *p, uint16_t peer, enum bgp_side side, int64_t now)
{
    struct connection *c = &p->neighbour[peer]->side[side];
    struct buf *out;
    while (c->fd >= 0 && !c->connecting && (out = bgp_peer_out(p->speaker, peer, side, now))->len) {
        ssize_t n = write(c->fd, out->data, out->len);
        if (n > 0)
            bgp_peer_written(p->speaker, peer, side, (size_t)n, now);
        else if (n < 0 && errno != EINTR) {
            if (errno != EAGAIN)
                lost(p, peer, side, now);
            break;
        }
    }
    if (c->fd < 0 || c->connecting)
        return;
    if (bgp_peer_session(p->speaker, peer, side)->state < BGP_OPEN_SENT)
        close_connection(c);
}

/* --- the step ------------------------------------------------------------------------------------------------------------- */

static bool wants_to_write(struct peering *p, uint16_t peer, enum bgp_side side)
{
    const struct connection *c = &p->neighbour[peer]->side[side];
    return c->connecting || bgp_session_out(bgp_peer_session(p->speaker, peer, side))->len > 0;
}

static unsigned gather(struct peering *p)
{
    unsigned n = 0;
    p->polls[n++] = (struct pollfd){.fd = p->wake, .events = POLLIN};
    for (unsigned i = 0; i < 8; i++)
        p->polls[n++] = (struct pollfd){.fd = p->listening[i], .events = POLLIN};
    for (unsigned i = 0; i < 4; i++)
        p->polls[n++] = (struct pollfd){.fd = i < p->n_watches ? p->watch[i].fd : -1, .events = POLLIN};
    for (unsigned i = 0; i < p->n_vrfs; i++) {
        p->who[n].peer = 0;
        p->who[n].side = (uint8_t)i;
        p->polls[n++] = (struct pollfd){.fd = p->vrfs[i].fd, .events = POLLIN};
    }
    for (uint16_t i = 1; i < BGP_PEERS_MOST; i++)
        for (int side = 0; p->neighbour[i] && side < BGP_SIDES; side++) {
            int fd = p->neighbour[i]->side[side].fd;
            if (fd < 0)
                continue;
            p->who[n].peer = i;
            p->who[n].side = (uint8_t)side;
            short events = wants_to_write(p, i, (enum bgp_side)side) ? POLLIN | POLLOUT : POLLIN;
            p->polls[n++] = (struct pollfd){.fd = fd, .events = events};
        }
    return n;
}

int peering_watch(struct peering *p, int fd, void (*ready)(void *user), void *user)
{
    if (p->n_watches == sizeof p->watch / sizeof *p->watch)
        return -ENOSPC;
    p->watch[p->n_watches].fd = fd;
    p->watch[p->n_watches].ready = ready;
    p->watch[p->n_watches++].user = user;
    return 0;
}

static void serve(struct peering *p, unsigned i, int64_t now)
{
    uint16_t peer = p->who[i].peer;
    if (peer == 0) {
        accept_one(p, p->vrfs[p->who[i].side].fd, p->vrfs[p->who[i].side].vrf, now);
        return;
    }
    enum bgp_side side = (enum bgp_side)p->who[i].side;
    struct neighbour *n = p->neighbour[peer];
    if (!n || n->side[side].fd != p->polls[i].fd)
        return; /* replaced meanwhile */
    if (n->side[side].connecting)
        finish_connecting(p, peer, now);
    else if (p->polls[i].revents & (POLLIN | POLLHUP | POLLERR))
        read_some(p, peer, side, now);
}

static void turn(struct peering *p, int64_t now)
{
    for (uint16_t i = 1; i < BGP_PEERS_MOST; i++) {
        if (!p->neighbour[i])
            continue;
        if (p->neighbour[i]->side[BGP_CONNECTED].fd < 0 && bgp_peer_wants_transport(p->speaker, i, now))
            begin_connecting(p, i, now);
        write_some(p, i, BGP_CONNECTED, now);
        write_some(p, i, BGP_ACCEPTED, now);
    }
}

/* Timers have been looked at when this is asked: one that is still in the past waits for a connection to come about, which its
 * descriptor tells. */
#define PAST_NS (20 * NS_PER_MS)

static int64_t later(int64_t next, int64_t now)
{
    return next > now ? next : now + PAST_NS;
}

static int wait_ms(int64_t next, int64_t now, int64_t most_ns)
{
    int64_t wait = next == INT64_MAX ? INT64_MAX : later(next, now) - now;
    if (most_ns >= 0 && most_ns < wait)
        wait = most_ns;
    return wait > 60000 * NS_PER_MS ? 60000 : (int)((wait + NS_PER_MS - 1) / NS_PER_MS);
}

/* --- callers that wait themselves ------------------------------------------------------------------------------------------ */

static void watch_one(struct peering *p, int fd, short events, short *watched)
{
    struct epoll_event e = {.events = (events & POLLIN ? EPOLLIN : 0) | (events & POLLOUT ? EPOLLOUT : 0)};
    if (fd < 0 || events == *watched)
        return;
    epoll_ctl(p->all, *watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    *watched = events;
}

/* Connections that were closed have left by themselves. */
static void watch_all(struct peering *p)
{
    for (unsigned i = 0; p->all >= 0 && i < p->n_vrfs; i++)
        watch_one(p, p->vrfs[i].fd, POLLIN, &p->vrfs[i].watched);
    for (uint16_t i = 1; p->all >= 0 && i < BGP_PEERS_MOST; i++)
        for (int side = 0; p->neighbour[i] && side < BGP_SIDES; side++) {
            struct connection *c = &p->neighbour[i]->side[side];
            short events = c->fd >= 0 && wants_to_write(p, i, (enum bgp_side)side) ? POLLIN | POLLOUT : POLLIN;
            watch_one(p, c->fd, events, &c->watched);
        }
}

int peering_descriptor(struct peering *p)
{
    if (p->all >= 0)
        return p->all;
    p->all = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; p->all >= 0 && i < 8; i++)
        watch_one(p, p->listening[i], POLLIN, &(short){0});
    watch_one(p, p->wake, POLLIN, &(short){0});
    for (unsigned i = 0; p->all >= 0 && i < p->n_watches; i++)
        watch_one(p, p->watch[i].fd, POLLIN, &(short){0});
    watch_all(p);
    return p->all;
}

int64_t peering_due(const struct peering *p)
{
    return p->due;
}

static void step(struct peering *p, int64_t most_ns)
{
    int64_t now = clock_now_ns();
    int64_t next = bgp_speaker_poll(p->speaker, now);
    turn(p, now);
    unsigned n = gather(p);
    if (poll(p->polls, n, wait_ms(next, now, most_ns)) <= 0)
        return;
    now = clock_now_ns();
    uint64_t count;
    if (p->polls[0].revents && read(p->wake, &count, sizeof count) < 0)
        return;
    for (unsigned i = 1; i < 9; i++)
        if (p->polls[i].revents)
            accept_one(p, p->listening[i - 1], 0, now);
    for (unsigned i = 9; i < 13; i++)
        if (p->polls[i].revents)
            p->watch[i - 9].ready(p->watch[i - 9].user);
    for (unsigned i = 13; i < n; i++)
        if (p->polls[i].revents)
            serve(p, i, now);
    turn(p, now);
}

void peering_step(struct peering *p, int64_t most_ns)
{
    step(p, most_ns);
    int64_t now = clock_now_ns();
    p->due = later(bgp_speaker_poll(p->speaker, now), now);
    watch_all(p);
}
