/* Hop-by-hop options as any host or router may send them: nothing is read beyond the bytes, what is accepted lies within them
 * and can be written again, and the recogniser of the canonical layout never disagrees with the parser. */
#include "wire/hbh.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static bool same(const struct hbh *a, const struct hbh *b)
{
    return a->next == b->next && a->has == b->has && a->mark == b->mark && a->nr_flags == b->nr_flags &&
           a->lane_index == b->lane_index && a->lane_epoch == b->lane_epoch && a->lane_cell == b->lane_cell &&
           a->flow_mon_id == b->flow_mon_id && a->slice == b->slice;
}

static void write_again(const struct hbh *h, const struct hbh_types *types)
{
    uint8_t to[HBH_SIZE];
    struct hbh again;
    uint32_t at;
    size_t n = hbh_encode(to, h, types);
    must(n == hbh_size(h->has) && n <= HBH_SIZE);
    if (n)
        must(hbh_parse(&again, &at, to, n, types) == HBH_OK && same(&again, h) && again.size == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct hbh_types types = {HBH_NR_DEFAULT, HBH_LANE_DEFAULT};
    struct hbh h = {0}, fast = {0};
    uint32_t at;
    uint8_t *exact = malloc(size ? size : 1); /* so that the sanitizer sees the end */
    memcpy(exact, data, size);
    enum hbh_verdict v = hbh_parse(&h, &at, exact, size, &types);
    if (v == HBH_OK) {
        must(h.size <= size && h.size % 8 == 0);
        must(!(h.has & HBH_HAS_MARK) || (h.mark_at >= 4 && h.mark_at + 4u <= h.size));
        must(!(h.has & HBH_HAS_NR) || (h.nr_at >= 4 && h.nr_at + 8u <= h.size));
        must(!(h.has & HBH_HAS_LANE) || (h.lane_at >= 4 && h.lane_at + 8u <= h.size));
        write_again(&h, &types);
    } else {
        must(at < size || size < 8 || at == 0);
    }
    if (hbh_canonical(&fast, exact, size, &types))
        must(v == HBH_OK && same(&fast, &h) && fast.size == h.size && fast.lane_at == h.lane_at &&
             fast.mark_at == h.mark_at && fast.nr_at == h.nr_at);
    free(exact);
    return 0;
}
