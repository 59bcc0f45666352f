/* SR Policy candidate paths in the Tunnel Encapsulation attribute (RFC 9012, 9830): preference, binding SID, name and segment
 * lists of type B (SRv6 SIDs). One tunnel TLV per attribute: some daemons reset the session on two. */
#include "base/bytes.h"
#include "wire/bgp_update.h"

#include <errno.h>
#include <string.h>

enum {
    TUNNEL_SR_POLICY = 15,
    SUB_PREFERENCE = 12,
    SUB_PRIORITY = 15,
    SUB_SRV6_BSID = 20,
    SUB_SEGMENT_LIST = 128,
    SUB_NAME = 129,
    LIST_WEIGHT = 9,
    LIST_SEGMENT_B = 13,
};

/* Sub-TLVs of {type 1, length 1 below type 128, else 2} (RFC 9012 2). 1, 0 at the end, -EPROTO. */
static int next_sub(const uint8_t *v, size_t len, size_t *at, uint8_t *type, const uint8_t **value, size_t *n)
{
    if (*at == len)
        return 0;
    size_t head = v[*at] < 128 ? 2 : 3;
    if (len - *at < head)
        return -EPROTO;
    *type = v[*at];
    *n = head == 2 ? v[*at + 1] : bytes_get_be16(v + *at + 1);
    if (len - *at - head < *n)
        return -EPROTO;
    *value = v + *at + head;
    *at += head + *n;
    return 1;
}

/* reserved 1, then {type 1, length 1}: weight = flags 1, reserved 1, weight 4; segment B = flags 1, reserved 1, SID 16 [, …]. */
static int take_list(struct bgp_sr_policy_path *p, const uint8_t *v, size_t len)
{
    if (len < 1 || p->n_lists == BGP_SEGMENT_LISTS_MOST)
        return len < 1 ? -EPROTO : 0;
    unsigned i = p->n_lists;
    p->lists[i].weight = 1;
    p->lists[i].n_segments = 0;
    for (size_t at = 1; at < len;) {
        if (len - at < 2 || len - at - 2 < v[at + 1])
            return -EPROTO;
        uint8_t type = v[at], n = v[at + 1];
        const uint8_t *s = v + at + 2;
        at += 2u + n;
        if (type == LIST_WEIGHT) {
            if (n != 6)
                return -EPROTO;
            p->lists[i].weight = bytes_get_be32(s + 2);
        } else if (type == LIST_SEGMENT_B) {
            if (n < 18 || p->lists[i].n_segments == BGP_SEGMENTS_MOST)
                return -EPROTO;
            memcpy(p->lists[i].segments[p->lists[i].n_segments++].b, s + 2, 16);
        } else {
            return -EPROTO; /* a path with a segment that we cannot follow is no path */
        }
    }
    p->n_lists++;
    return 0;
}

static void take_name(struct bgp_sr_policy_path *p, const uint8_t *v, size_t len)
{
    size_t n = len > 1 ? len - 1 : 0; /* behind a reserved octet */
    if (n > sizeof p->name - 1)
        n = sizeof p->name - 1;
    for (size_t i = 0; i < n; i++)
        p->name[i] = v[1 + i] >= ' ' && v[1 + i] < 0x7f ? (char)v[1 + i] : '?';
    p->name[n] = 0;
}

static int take_policy(struct bgp_sr_policy_path *p, const uint8_t *v, size_t len)
{
    const uint8_t *s;
    size_t at = 0, n;
    uint8_t type;
    int rc;
    while ((rc = next_sub(v, len, &at, &type, &s, &n)) == 1) {
        if (type == SUB_PREFERENCE && n == 6) {
            p->preference = bytes_get_be32(s + 2);
        } else if (type == SUB_PRIORITY && n == 2) {
            p->priority = s[0];
        } else if (type == SUB_SRV6_BSID && n >= 18) {
            p->has_bsid = true;
            memcpy(p->bsid.b, s + 2, 16);
        } else if (type == SUB_NAME) {
            take_name(p, s, n);
        } else if (type == SUB_SEGMENT_LIST) {
            if (take_list(p, s, n))
                return -EPROTO;
        } else if (type == SUB_PREFERENCE || type == SUB_PRIORITY || type == SUB_SRV6_BSID) {
            return -EPROTO;
        }
    }
    return rc;
}

int bgp_sr_policy_path_decode(struct bgp_sr_policy_path *ret, const uint8_t *value, size_t len)
{
    struct bgp_sr_policy_path p = {.preference = 100, .priority = 128};
    for (size_t at = 0; at < len;) {
        if (len - at < 4 || len - at - 4 < bytes_get_be16(value + at + 2))
            return -EPROTO;
        size_t n = bytes_get_be16(value + at + 2);
        if (bytes_get_be16(value + at) == TUNNEL_SR_POLICY) {
            int rc = take_policy(&p, value + at + 4, n);
            if (rc == 0)
                *ret = p;
            return rc;
        }
        at += 4 + n;
    }
    return -ENOENT;
}

static size_t list_size(const struct bgp_sr_policy_path *p, unsigned i)
{
    return 1 + 8 + 20u * p->lists[i].n_segments;
}

static uint8_t *put_list(uint8_t *p, const struct bgp_sr_policy_path *path, unsigned i)
{
    p[0] = SUB_SEGMENT_LIST;
    bytes_put_be16(p + 1, (uint16_t)list_size(path, i));
    p[3] = 0;
    memcpy(p + 4, (uint8_t[]){LIST_WEIGHT, 6, 0, 0}, 4);
    bytes_put_be32(p + 8, path->lists[i].weight);
    p += 12;
    for (unsigned k = 0; k < path->lists[i].n_segments; k++, p += 20) {
        memcpy(p, (uint8_t[]){LIST_SEGMENT_B, 18, 0, 0}, 4);
        memcpy(p + 4, path->lists[i].segments[k].b, 16);
    }
    return p;
}

int bgp_sr_policy_path_encode(const struct bgp_sr_policy_path *p, uint8_t *to, size_t cap)
{
    size_t name = strnlen(p->name, sizeof p->name), len = 4 + 8 + 4;
    len += p->has_bsid ? 20 : 0;
    len += name ? 4 + name : 0;
    for (unsigned i = 0; i < p->n_lists; i++)
        len += 3 + list_size(p, i);
    if (cap < len || len > 0xffff)
        return -ENOBUFS;
    uint8_t *at = to;
    bytes_put_be16(at, TUNNEL_SR_POLICY);
    bytes_put_be16(at + 2, (uint16_t)(len - 4));
    at += 4;
    memcpy(at, (uint8_t[]){SUB_PREFERENCE, 6, 0, 0}, 4);
    bytes_put_be32(at + 4, p->preference);
    at += 8;
    if (p->has_bsid) {
        memcpy(at, (uint8_t[]){SUB_SRV6_BSID, 18, 0, 0}, 4);
        memcpy(at + 4, p->bsid.b, 16);
        at += 20;
    }
    memcpy(at, (uint8_t[]){SUB_PRIORITY, 2, p->priority, 0}, 4);
    at += 4;
    if (name) {
        at[0] = SUB_NAME;
        bytes_put_be16(at + 1, (uint16_t)(1 + name));
        at[3] = 0;
        memcpy(at + 4, p->name, name);
        at += 4 + name;
    }
    for (unsigned i = 0; i < p->n_lists; i++)
        at = put_list(at, p, i);
    return (int)(at - to);
}
