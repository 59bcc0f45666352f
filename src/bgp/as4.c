#include "bgp/as4.h"

#include "base/bytes.h"

#include <string.h>

enum { SET = 1, SEQUENCE = 2 };

/* How far a path is (RFC 6793 4.2.3): a set is one, a confederation's segments are none. */
static unsigned distance(const uint8_t *path, size_t len, unsigned width)
{
    unsigned n = 0;
    for (size_t at = 0; at < len; at += 2 + (size_t)path[at + 1] * width)
        n += path[at] == SEQUENCE ? path[at + 1] : path[at] == SET;
    return n;
}

/* Segments of two octets become segments of four, until `most` hops are there. Returns bytes; SIZE_MAX: too many. */
static size_t widen_path(uint8_t *to, const uint8_t *path, size_t len, unsigned most)
{
    size_t out = 0;
    for (size_t at = 0; at < len && most; at += 2 + (size_t)path[at + 1] * 2) {
        uint8_t type = path[at], n = path[at + 1];
        if (type == SEQUENCE)
            n = n < most ? n : (uint8_t)most;
        if (out + 2 + 4u * n > BGP_AS4_PATH_MOST)
            return SIZE_MAX;
        to[out] = type;
        to[out + 1] = n;
        for (unsigned i = 0; i < n; i++)
            bytes_put_be32(to + out + 2 + 4 * i, bytes_get_be16(path + at + 2 + 2 * i));
        out += 2 + 4u * n;
        most -= type == SEQUENCE ? n : type == SET;
    }
    return out;
}

static struct bgp_attribute made(uint8_t flags, uint8_t type, uint8_t *raw, size_t len)
{
    size_t head = len > 255 ? 4 : 3;
    raw += 4 - head;
    raw[0] = (uint8_t)(head == 4 ? flags | BGP_FLAG_EXTENDED : flags & ~BGP_FLAG_EXTENDED);
    raw[1] = type;
    if (head == 4)
        bytes_put_be16(raw + 2, (uint16_t)len);
    else
        raw[2] = (uint8_t)len;
    return (struct bgp_attribute){.flags = raw[0],
        .type = type,
        .value = raw + head,
        .len = (uint16_t)len,
        .raw = raw,
        .raw_len = (uint32_t)(head + len)};
}

/* The path in `space` behind room for a header; with what AS4_PATH knows of its end. */
static bool merge_path(const struct bgp_attribute *path, const struct bgp_attribute *four, struct bgp_as4_space *s,
    struct bgp_attribute *ret)
{
    unsigned hops = distance(path->value, path->len, 2), known = four ? distance(four->value, four->len, 4) : 0;
    uint8_t *to = s->path + 4;
    if (!four || known > hops)
        known = 0; /* RFC 6793 4.2.3: a path that is shorter than AS4_PATH was changed by one who knows nothing of it */
    size_t n = widen_path(to, path->value, path->len, known ? hops - known : 0x10000);
    if (n == SIZE_MAX)
        return false;
    if (known) {
        uint8_t rest[BGP_AS4_PATH_MOST];
        size_t more = four->len <= sizeof rest ? bgp_as4_path(rest, four->value, four->len) : sizeof rest + 1;
        if (n + more > BGP_AS4_PATH_MOST)
            return false;
        memcpy(to + n, rest, more);
        n += more;
    }
    *ret = made(path->flags, BGP_AS_PATH, s->path, n);
    return true;
}

static struct bgp_attribute merge_aggregator(
    const struct bgp_attribute *old, const struct bgp_attribute *four, struct bgp_as4_space *s)
{
    uint8_t *raw = s->aggregator, *v = raw + 3;
    memcpy(raw, (uint8_t[]){old->flags & (uint8_t)~BGP_FLAG_EXTENDED, BGP_AGGREGATOR, 8}, 3);
    bytes_put_be32(v, four ? bytes_get_be32(four->value) : bytes_get_be16(old->value));
    memcpy(v + 4, old->value + 2, 4);
    return (struct bgp_attribute){
        .flags = raw[0], .type = BGP_AGGREGATOR, .value = v, .len = 8, .raw = raw, .raw_len = 11};
}

bool bgp_as4_widen(struct bgp_update *to, const struct bgp_update *u, struct bgp_as4_space *space)
{
    const struct bgp_attribute *four = bgp_attribute_find(u, BGP_AS4_PATH);
    const struct bgp_attribute *aggregator4 = bgp_attribute_find(u, BGP_AS4_AGGREGATOR);
    const struct bgp_attribute *aggregator = bgp_attribute_find(u, BGP_AGGREGATOR);
    /* An AGGREGATOR that is not AS_TRANS was put there later: both AS4_ attributes are about the route before it. */
    if (aggregator && aggregator4 && bytes_get_be16(aggregator->value) != BGP_AS_TRANS)
        four = aggregator4 = NULL;
    *to = *u;
    to->n_attributes = 0;
    for (int i = 0; i < u->n_attributes; i++) {
        const struct bgp_attribute *a = &u->attributes[i];
        struct bgp_attribute *next = &to->attributes[to->n_attributes];
        if (a->type == BGP_AS4_PATH || a->type == BGP_AS4_AGGREGATOR)
            continue;
        *next = *a;
        if (a->type == BGP_AS_PATH && !merge_path(a, four, space, next))
            return false;
        if (a->type == BGP_AGGREGATOR)
            *next = merge_aggregator(a, aggregator4, space);
        to->n_attributes++;
    }
    return true;
}

size_t bgp_as4_narrow(uint8_t *to, const uint8_t *path, size_t len, bool *ret_lossy)
{
    size_t out = 0;
    *ret_lossy = false;
    for (size_t at = 0; at < len; at += 2 + (size_t)path[at + 1] * 4) {
        uint8_t n = path[at + 1];
        to[out] = path[at];
        to[out + 1] = n;
        for (unsigned i = 0; i < n; i++) {
            uint32_t as = bytes_get_be32(path + at + 2 + 4 * i);
            *ret_lossy |= as > 0xffff;
            bytes_put_be16(to + out + 2 + 2 * i, (uint16_t)(as > 0xffff ? BGP_AS_TRANS : as));
        }
        out += 2 + 2u * n;
    }
    return out;
}

size_t bgp_as4_path(uint8_t *to, const uint8_t *path, size_t len)
{
    size_t out = 0;
    for (size_t at = 0; at < len; at += 2 + (size_t)path[at + 1] * 4) {
        size_t n = 2 + (size_t)path[at + 1] * 4;
        if (path[at] != SET && path[at] != SEQUENCE)
            continue;
        memcpy(to + out, path + at, n);
        out += n;
    }
    return out;
}
