#include "router/pool.h"

#include <errno.h>
#include <rte_errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void rest(struct rte_mempool *mp, void *arg, void *object, unsigned index)
{
    struct rte_mbuf *m = object;
    m->buf_addr = (uint8_t *)m->buf_addr + POOL_SHIFT;
    rte_mbuf_iova_set(m, rte_mbuf_iova_get(m) + POOL_SHIFT);
    m->buf_len = (uint16_t)(m->buf_len - POOL_SHIFT);
}

uint64_t pool_bytes(uint32_t packets, uint32_t room)
{
    struct rte_mempool_objsz size;
    uint32_t page = (uint32_t)getpagesize();
    uint32_t one = rte_mempool_calc_obj_size(
        (uint32_t)sizeof(struct rte_mbuf) + PACKET_META_SIZE + PACKET_HEADROOM + room, 0, &size);
    uint64_t bytes = one > page ? (uint64_t)packets * ((one + page - 1) / page * page)
                                : (packets / (page / one) + 1) * (uint64_t)page;
    return bytes + packets * sizeof(void *) * 2; /* and the ring of free ones */
}

int pool_init(struct pool *p, uint32_t packets, uint32_t room, struct error *err)
{
    static unsigned count;
    char name[32];
    snprintf(name, sizeof(name), "packets%u", count++);
    if (room > UINT16_MAX - PACKET_HEADROOM)
        return error_set(err, EINVAL, "packets of %u bytes are too large", room);
    struct rte_mempool *mp = rte_pktmbuf_pool_create(
        name, packets, packets < 1024 ? 0 : 256, PACKET_META_SIZE, (uint16_t)(PACKET_HEADROOM + room), SOCKET_ID_ANY);
    if (!mp)
        return error_set(err, rte_errno ? rte_errno : ENOMEM,
            "no memory for %u packets of %u bytes (%u MiB): %s; lower memory.packets", packets, room,
            (unsigned)(pool_bytes(packets, room) >> 20), rte_strerror(rte_errno));
    rte_mempool_obj_iter(mp, rest, NULL);
    /* What drivers may fill, as they reckon it: their headroom and what lies behind. */
    struct rte_pktmbuf_pool_private *private = rte_mempool_get_priv(mp);
    private->mbuf_data_room_size = (uint16_t)(RTE_PKTMBUF_HEADROOM + room);
    *p = (struct pool){.mempool = mp, .packets = packets, .room = room};
    return 0;
}

void pool_done(struct pool *p)
{
    rte_mempool_free(p->mempool);
    p->mempool = NULL;
}

uint32_t pool_free_count(const struct pool *p)
{
    return rte_mempool_avail_count(p->mempool);
}
