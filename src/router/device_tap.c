#include "router/device_tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tap {
    struct device d;
    int fd, statistics;
    char device[NETNS_DEVICE_NAME];
    uint8_t waste
        [65536]; /* for a frame that finds no buffer: taken and counted here rather than lost unseen in the kernel */
};

static unsigned receive(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    struct tap *t = (struct tap *)d;
    unsigned n = 0;
    while (n < most) {
        struct rte_mbuf *m = pool_alloc(d->pool);
        ssize_t len = m ? read(t->fd, packet_at(m, 0), d->pool->room) : read(t->fd, t->waste, sizeof(t->waste));
        if (len <= 0) {
            if (m)
                pool_free(m);
            d->ready = len < 0 && errno == EINTR;
            break;
        }
        if (!m) {
            d->n.rx_no_buffer++;
            continue;
        }
        m->data_len = (uint16_t)len;
        m->pkt_len = (uint32_t)len;
        d->n.rx_frames++;
        d->n.rx_bytes += (uint64_t)len;
        ret[n++] = m;
    }
    return n;
}

static unsigned transmit(struct device *d, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct tap *t = (struct tap *)d;
    for (unsigned i = 0; i < n; i++) {
        ssize_t len = write(t->fd, rte_pktmbuf_mtod(pkts[i], void *), pkts[i]->data_len);
        if (len < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM)) {
            d->n.tx_refused++;
            return i;
        }
        if (len < 0) { /* EIO: the host has set its device down; EINVAL: no frame at all */
            d->n.tx_error++;
            continue;
        }
        d->n.tx_frames++;
        d->n.tx_bytes += (uint64_t)len;
    }
    return n;
}

static unsigned watch(struct device *d, int *ret, unsigned most)
{
    ret[0] = ((struct tap *)d)->fd;
    return 1;
}

/* Nothing to switch on: the descriptor always tells. */
static bool arm(struct device *d)
{
    return d->ready;
}

static void close_tap(struct device *d)
{
    struct tap *t = (struct tap *)d;
    close(t->fd);
    close(t->statistics);
    free(t);
}

static const struct device_ops ops = {
    .receive = receive, .transmit = transmit, .watch = watch, .arm = arm, .close = close_tap};

int device_tap_open(
    struct device **ret, const char *name, struct pool *pool, const struct netns_tun *cfg, struct error *err)
{
    struct tap *t = calloc(1, sizeof(*t));
    if (!t)
        return error_set(err, ENOMEM, "no memory");
    int rc = netns_tun_open(cfg, &t->fd, &t->statistics, err);
    if (rc) {
        free(t);
        return rc;
    }
    t->d = (struct device){.ops = &ops, .pool = pool, .up = true, .ready = true};
    snprintf(t->d.name, sizeof(t->d.name), "%s", name);
    snprintf(t->device, sizeof(t->device), "%s", cfg->device);
    *ret = &t->d;
    return 0;
}

void device_tap_statistics(struct device *d)
{
    struct tap *t = (struct tap *)d;
    if (d->ops == &ops)
        netns_dropped(t->statistics, t->device, &d->n.kernel_rx_dropped, &d->n.kernel_tx_dropped);
}
