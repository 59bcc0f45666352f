/* RoCEv2 packets from strangers: what is accepted is what we would have written, and no byte beyond `have` is read. The
 * first byte says how much of the packet is there. */
#include "wire/roce.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 9000)
        return 0;
    uint32_t len = (uint32_t)size - 1, have = data[0] == 255 || data[0] > len ? len : data[0];
    uint8_t *packet = malloc(have ? have : 1), again[ROCE_HEADERS_MAX];
    memcpy(packet, data + 1, have);
    struct roce_packet p, q;
    if (!roce_decode(&p, packet, have, len)) {
        uint32_t n = roce_put(again, &p);
        if (n != roce_headers_size(&p) || n > have || roce_size(&p) > len)
            abort();
        if (roce_decode(&q, again, n, roce_size(&p)) || memcmp(&p, &q, sizeof(p)))
            abort();
        if (roce_size(&p) <= have)
            roce_icrc_valid(packet, roce_size(&p));
    }
    free(packet);
    return 0;
}
