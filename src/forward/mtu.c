/* MTU planning. */
#include "forward/mtu.h"

#include "wire/hbh.h"
#include "wire/srh.h"

enum { ESP_HEADER = 8, ESP_IV = 8, ESP_TRAILER = 2, ESP_ALIGN = 4, ESP_ICV = 16 };

uint32_t mtu_overhead(const struct mtu_encap *e)
{
    return (uint32_t)(IP6_SIZE + hbh_size(e->options) + srh_size(e->addresses) + (e->esp ? ESP_HEADER + ESP_IV : 0));
}

uint32_t mtu_outer(const struct mtu_encap *e, uint32_t inner)
{
    if (e->esp)
        inner = (inner + ESP_TRAILER + ESP_ALIGN - 1) / ESP_ALIGN * ESP_ALIGN + ESP_ICV;
    return mtu_overhead(e) + inner;
}

uint32_t mtu_inner(const struct mtu_encap *e, uint32_t link_mtu)
{
    uint32_t overhead = mtu_overhead(e) + (e->esp ? ESP_ICV : 0);
    if (link_mtu <= overhead)
        return 0;
    uint32_t room = link_mtu - overhead;
    if (!e->esp)
        return room;
    room = room / ESP_ALIGN * ESP_ALIGN;
    return room > ESP_TRAILER ? room - ESP_TRAILER : 0;
}
