#include "router/punt.h"

#include "router/netns.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define BURST 64

int punt_open(struct punt *p, const struct punt_config *cfg, struct pool *pool, struct error *err)
{
    *p = (struct punt){.fd = -1, .statistics = -1, .pool = pool};
    int rc = netns_tun_open(
        &(struct netns_tun){.device = cfg->device, .mtu = cfg->mtu, .queue = 1000}, &p->fd, &p->statistics, err);
    for (unsigned i = 0, four = 0; !rc && i < cfg->n_addresses; i++) {
        bool is_four = cfg->addresses[i].family == IP_V4;
        char label[32]; /* a second IPv4 address needs a name of its own */
        snprintf(label, sizeof(label), is_four && four ? "%s:%u" : "%s", cfg->device, four);
        four += is_four;
        rc = netns_address_add(label, &cfg->addresses[i], is_four ? 32 : 128, err);
    }
    for (unsigned i = 0; !rc && i < cfg->n_routes; i++)
        rc = netns_route_add(cfg->device, &cfg->routes[i], cfg->metric, err);
    if (rc)
        punt_close(p);
    return rc;
}

void punt_close(struct punt *p)
{
    if (p->fd < 0)
        return;
    close(p->fd);
    close(p->statistics);
    p->fd = p->statistics = -1;
}

void punt_write(struct punt *p, struct rte_mbuf *m)
{
    if (p->fd >= 0 && write(p->fd, packet_at(m, 0), m->data_len) == m->data_len)
        p->out++;
    else
        p->refused++;
    pool_free(m);
}

bool punt_read(struct punt *p, int64_t now)
{
    for (unsigned i = 0; i < BURST; i++) {
        struct rte_mbuf *m = pool_alloc(p->pool);
        if (!m)
            return true;
        ssize_t n = read(p->fd, packet_at(m, 0), p->pool->room);
        if (n <= 0) {
            pool_free(m);
            return n < 0 && errno == EINTR;
        }
        m->data_len = (uint16_t)n;
        m->pkt_len = (uint32_t)n;
        p->in++;
        forward_inject(p->forward, p->vrf, m, now);
    }
    return true;
}
