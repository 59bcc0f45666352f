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

uint32_t mtu_sealed(uint32_t room)
{
    if (room < ESP_HEADER + ESP_IV + ESP_ICV + ESP_ALIGN)
        return 0;
    return (room - ESP_HEADER - ESP_IV - ESP_ICV) / ESP_ALIGN * ESP_ALIGN - ESP_TRAILER;
}

uint32_t mtu_inner(const struct mtu_encap *e, uint32_t link_mtu)
{
    struct mtu_encap clear = {e->options, e->addresses, false};
    uint32_t overhead = mtu_overhead(&clear), room = link_mtu > overhead ? link_mtu - overhead : 0;
    return e->esp ? mtu_sealed(room) : room;
}
