/* Routing headers as peers may send them, and paths as configurations and controllers may give them: byte 0 chooses. Packed
 * into containers, a path must still visit the same SIDs in the same order. */
#include "wire/srh.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_header(const uint8_t *p, size_t len)
{
    struct srh h;
    struct ip6 s[SRH_SEGMENTS_MOST];
    if (srh_parse(&h, p, len))
        return;
    must(h.size <= len && h.n >= 1 && h.n <= SRH_SEGMENTS_MOST && h.left <= h.n);
    for (unsigned i = 0; i < h.n; i++)
        srh_segment(&s[i], p, i);
    /* the same list, reduced, by our encoder: one more segment goes before it */
    struct ip6 path[SRH_SEGMENTS_MOST];
    unsigned n = h.n < SRH_SEGMENTS_MOST ? h.n + 1u : h.n;
    for (unsigned i = 0; i < n; i++)
        path[i] = i ? s[n - 1 - i] : s[0];
    uint8_t to[SRH_FIXED + 16 * SRH_SEGMENTS_MOST];
    size_t written = srh_encode(to, h.next, path, n);
    must(written == srh_size(n));
    if (written) {
        struct srh again;
        must(srh_parse(&again, to, written) == 0 && again.n == n - 1 && again.left == n - 1 && again.next == h.next);
        must(memcmp(to + SRH_FIXED, p + SRH_FIXED, 16 * (size_t)(n - 1)) == 0);
    }
}

/* C-SID groups of a SID as csid_pack defines them; 0: whole. */
static unsigned groups_of(const struct ip6 *sid, unsigned block)
{
    unsigned room = (16 - block) / 2, last = 0;
    for (unsigned i = 0; i < room; i++)
        if (bytes_get_be16(sid->b + block + 2 * i))
            last = i + 1;
    return last <= 2 && bytes_get_be16(sid->b + block) ? last : 0;
}

/* Goes along the path: at each hop the active address must start with the hop's SID. */
static void check_path(const struct ip6 *sids, unsigned n, unsigned block_bits)
{
    struct ip6 c[SRH_SEGMENTS_MOST];
    unsigned block = block_bits / 8, used = 0;
    int rc = csid_pack(c, SRH_SEGMENTS_MOST, sids, n, block_bits);
    must(rc >= 1 && rc <= (int)n);
    struct ip6 at = c[used++];
    for (unsigned i = 0; i < n; i++) {
        unsigned groups = groups_of(&sids[i], block);
        size_t prefix = groups ? block + 2 * groups : 16;
        must(memcmp(at.b, sids[i].b, prefix) == 0);
        bool said_by_next = groups == 1 && i + 1 < n && groups_of(&sids[i + 1], block) == 2 &&
                            memcmp(sids[i].b, sids[i + 1].b, prefix) == 0;
        if (i + 1 == n || said_by_next)
            continue;
        if (!groups || !csid_shift(&at, block_bits, 16 * groups)) {
            must(used < (unsigned)rc);
            at = c[used++];
        }
    }
    must(used == (unsigned)rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t len = size - 1;
    uint8_t *exact = malloc(len ? len : 1);
    memcpy(exact, data + 1, len);
    if (data[0] & 1) {
        check_header(exact, len);
    } else {
        struct ip6 sids[SRH_SEGMENTS_MOST];
        unsigned n = (unsigned)(len / 16 < SRH_SEGMENTS_MOST ? len / 16 : SRH_SEGMENTS_MOST);
        memcpy(sids, exact, 16 * (size_t)n);
        if (n)
            check_path(sids, n, data[0] & 2 ? 32 : 48);
    }
    free(exact);
    return 0;
}
