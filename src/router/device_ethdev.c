#include "router/device_ethdev.h"

#include "base/clock.h"

#include <errno.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLYING 4096u
/* A driver frees what it has sent when it likes. After this long without the descriptor coming back, the core gets its
 * packet back all the same; the driver keeps a reference of its own. */
#define LAZY_NS (1 * NS_PER_MS)

struct ethdev {
    struct device d;
    uint16_t id;
    char device[256];
    struct {
        struct rte_mbuf *m;
        int64_t at_ns;
    } flying[FLYING];
    uint32_t head, tail;
};

static unsigned receive(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    struct ethdev *e = (struct ethdev *)d;
    unsigned n = rte_eth_rx_burst(e->id, 0, ret, (uint16_t)most), kept = 0;
    for (unsigned i = 0; i < n; i++) {
        if (ret[i]->nb_segs != 1) { /* longer than the MTU that we set */
            d->n.rx_bad++;
            rte_pktmbuf_free(ret[i]);
            continue;
        }
        pool_from_driver(ret[i]);
        d->n.rx_frames++;
        d->n.rx_bytes += ret[i]->pkt_len;
        ret[kept++] = ret[i];
    }
    return kept;
}

/* Each frame gets one more reference, the driver's: when only ours is left, its descriptor is free. */
static unsigned transmit(struct device *d, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct ethdev *e = (struct ethdev *)d;
    if (n > FLYING - (e->head - e->tail))
        n = FLYING - (e->head - e->tail);
    for (unsigned i = 0; i < n; i++)
        rte_mbuf_refcnt_update(pkts[i], 1);
    unsigned taken = n ? rte_eth_tx_burst(e->id, 0, (struct rte_mbuf **)(uintptr_t)pkts, (uint16_t)n) : 0;
    for (unsigned i = taken; i < n; i++)
        rte_mbuf_refcnt_update(pkts[i], -1);
    for (unsigned i = 0; i < taken; i++) {
        e->flying[e->head % FLYING].m = pkts[i];
        e->flying[e->head++ % FLYING].at_ns = now;
        d->n.tx_frames++;
        d->n.tx_bytes += pkts[i]->pkt_len;
    }
    d->n.tx_refused += taken < n;
    return taken;
}

static unsigned reclaim(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    struct ethdev *e = (struct ethdev *)d;
    unsigned n = 0;
    if (e->tail != e->head && rte_mbuf_refcnt_read(e->flying[e->tail % FLYING].m) > 1)
        rte_eth_tx_done_cleanup(e->id, 0, 0);
    while (n < most && e->tail != e->head) {
        struct rte_mbuf *m = e->flying[e->tail % FLYING].m;
        if (rte_mbuf_refcnt_read(m) > 1 && now - e->flying[e->tail % FLYING].at_ns < LAZY_NS)
            break;
        ret[n++] = m;
        e->tail++;
    }
    return n;
}

static int64_t poll_ethdev(struct device *d, int64_t now)
{
    struct ethdev *e = (struct ethdev *)d;
    return e->tail != e->head ? e->flying[e->tail % FLYING].at_ns + LAZY_NS : INT64_MAX;
}

static bool settled(struct device *d)
{
    struct ethdev *e = (struct ethdev *)d;
    return e->head == e->tail;
}

static void close_ethdev(struct device *d)
{
    struct ethdev *e = (struct ethdev *)d;
    rte_eth_dev_stop(e->id);
    for (; e->tail != e->head; e->tail++)
        pool_free(e->flying[e->tail % FLYING].m);
    rte_eth_dev_close(e->id);
    free(e);
}

static const struct device_ops ops = {.receive = receive,
    .transmit = transmit,
    .reclaim = reclaim,
    .poll = poll_ethdev,
    .settled = settled,
    .close = close_ethdev};

static int find(struct ethdev *e, struct error *err)
{
    char bus_name[256];
    snprintf(bus_name, sizeof(bus_name), "%.*s", (int)strcspn(e->device, ","), e->device);
    if (rte_eth_dev_get_port_by_name(bus_name, &e->id) == 0)
        return 0;
    int rc = rte_dev_probe(e->device);
    if (rc == 0)
        rc = rte_eth_dev_get_port_by_name(bus_name, &e->id);
    if (rc)
        return error_set(err, ENODEV,
            "%s: DPDK finds no such card (%s); is it bound to vfio-pci, and is there a driver for it?", e->device,
            strerror(-rc));
    return 0;
}

static int set_up(struct ethdev *e, const struct ethdev_config *cfg, struct error *err)
{
    struct rte_eth_conf conf = {.rxmode.mtu = cfg->mtu};
    struct rte_eth_dev_info info;
    uint16_t rx = cfg->descriptors ? cfg->descriptors : 1024, tx = rx;
    const char *what = "its properties";
    int rc = rte_eth_dev_info_get(e->id, &info);
    if (!rc && (what = "one queue each way", rc = rte_eth_dev_configure(e->id, 1, 1, &conf)) == 0)
        what = "its descriptors", rc = rte_eth_dev_adjust_nb_rx_tx_desc(e->id, &rx, &tx);
    if (!rc)
        what = "its receive queue", rc = rte_eth_rx_queue_setup(e->id, 0, rx, SOCKET_ID_ANY, NULL, e->d.pool->mempool);
    if (!rc)
        what = "its send queue", rc = rte_eth_tx_queue_setup(e->id, 0, tx, SOCKET_ID_ANY, NULL);
    if (!rc && memcmp(cfg->mac, "\0\0\0\0\0\0", 6)) {
        struct rte_ether_addr mac;
        memcpy(mac.addr_bytes, cfg->mac, 6);
        what = "its MAC address", rc = rte_eth_dev_default_mac_addr_set(e->id, &mac);
    }
    if (!rc)
        what = "starting it", rc = rte_eth_dev_start(e->id);
    if (rc)
        return error_set(err, -rc, "%s: %s: %s", e->device, what, rte_strerror(-rc));
    rte_eth_promiscuous_enable(e->id);
    rte_eth_allmulticast_enable(e->id);
    return 0;
}

int device_ethdev_open(struct device **ret, const char *name, struct pool *pool, const struct ethdev_config *cfg,
    uint8_t ret_mac[6], struct error *err)
{
    struct ethdev *e = calloc(1, sizeof(*e));
    if (!e)
        return error_set(err, ENOMEM, "no memory");
    e->d = (struct device){.ops = &ops, .pool = pool, .polled = true};
    snprintf(e->d.name, sizeof(e->d.name), "%s", name);
    snprintf(e->device, sizeof(e->device), "%s", cfg->device);
    struct rte_ether_addr mac;
    int rc = find(e, err);
    if (!rc)
        rc = set_up(e, cfg, err);
    if (!rc && (rc = rte_eth_macaddr_get(e->id, &mac)) != 0)
        error_set(err, -rc, "%s: it has no MAC address", cfg->device);
    if (rc) {
        free(e);
        return rc;
    }
    memcpy(ret_mac, mac.addr_bytes, 6);
    device_ethdev_statistics(&e->d);
    *ret = &e->d;
    return 0;
}

void device_ethdev_statistics(struct device *d)
{
    struct ethdev *e = (struct ethdev *)d;
    struct rte_eth_link link;
    struct rte_eth_stats stats;
    if (d->ops != &ops)
        return;
    if (rte_eth_link_get_nowait(e->id, &link) == 0)
        d->up = link.link_status == RTE_ETH_LINK_UP;
    if (rte_eth_stats_get(e->id, &stats) == 0)
        d->n.rx_no_buffer = stats.imissed + stats.rx_nombuf;
}
