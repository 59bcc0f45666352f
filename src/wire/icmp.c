/* ICMP errors and echoes. */
#include "wire/icmp.h"

#include "base/bytes.h"
#include "wire/checksum.h"
#include "wire/srh.h"

#include <errno.h>

#define EXTENSIONS_MOST 8u /* extension headers that are looked through */

/* --- what a packet carries ---------------------------------------------------------------------------------- */

struct upper {
    uint8_t proto;
    bool whole; /* no fragment */
    bool first; /* no fragment, or the first one */
    size_t at;
    struct ip6 last; /* IPv6: the last segment of a routing header, else the destination */
};

static bool is_extension(uint8_t proto)
{
    return proto == IP_PROTO_HOPOPT || proto == IP_PROTO_ROUTING || proto == IP_PROTO_DSTOPTS ||
           proto == IP_PROTO_FRAGMENT;
}

/* The upper-layer header of an IPv6 packet. False: it is malformed, or cut before that header. */
static bool upper6(struct upper *ret, const uint8_t *p, size_t len)
{
    struct srh srh;
    if (len < IP6_SIZE || p[0] >> 4 != 6)
        return false;
    struct upper u = {.proto = p[IP6_NEXT], .whole = true, .first = true, .at = IP6_SIZE};
    memcpy(u.last.b, p + IP6_DST, 16);
    for (unsigned n = 0; is_extension(u.proto); n++) {
        const uint8_t *h = p + u.at;
        if (n == EXTENSIONS_MOST || u.at + 8 > len)
            return false;
        size_t size = u.proto == IP_PROTO_FRAGMENT ? 8 : 8 + 8 * (size_t)h[1];
        if (u.proto == IP_PROTO_FRAGMENT) {
            u.whole = false;
            u.first = bytes_get_be16(h + 2) >> 3 == 0;
        } else if (u.proto == IP_PROTO_ROUTING && srh_parse(&srh, h, len - u.at) == 0) {
            srh_segment(&u.last, h, 0);
        }
        u.proto = h[0];
        u.at += size;
        if (!u.first)
            break; /* what follows is no header */
    }
    *ret = u;
    return u.at <= len;
}

static bool upper4(struct upper *ret, const uint8_t *p, size_t len)
{
    if (len < IP4_SIZE || p[0] >> 4 != 4 || (p[0] & 15) < 5 || len < 4 * (size_t)(p[0] & 15))
        return false;
    uint16_t fragment = bytes_get_be16(p + IP4_FRAG);
    *ret = (struct upper){
        .proto = p[IP4_PROTO],
        .whole = (fragment & 0x3fff) == 0,
        .first = (fragment & 0x1fff) == 0,
        .at = 4 * (size_t)(p[0] & 15),
    };
    return true;
}

static bool unicast6(const uint8_t a[16])
{
    static const uint8_t unspecified[16];
    return a[0] != 0xff && memcmp(a, unspecified, 16);
}

static bool unicast4(const uint8_t a[4])
{
    static const uint8_t broadcast[4] = {255, 255, 255, 255};
    return a[0] != 0 && a[0] != 127 && a[0] >> 4 != 14 && memcmp(a, broadcast, 4);
}

/* --- errors ------------------------------------------------------------------------------------------------- */

/* The packet may be answered with an error of this kind. */
static bool may_answer6(enum icmp_error_kind kind, const uint8_t *p, size_t len)
{
    struct upper u;
    if (!upper6(&u, p, len) || !unicast6(p + IP6_SRC))
        return false;
    if (p[IP6_DST] == 0xff && kind != ICMP_TOO_BIG && kind != ICMP_BAD_OPTION)
        return false;
    if (u.proto != IP_PROTO_ICMP6)
        return true;
    return u.first && u.at < len && p[u.at] >= ICMP6_INFORMATIONAL && p[u.at] != ICMP6_REDIRECT;
}

static bool may_answer4(const uint8_t *p, size_t len)
{
    struct upper u;
    if (!upper4(&u, p, len) || !unicast4(p + IP4_SRC) || !unicast4(p + IP4_DST) || !u.first)
        return false;
    return u.proto != IP_PROTO_ICMP ||
           (u.at < len && (p[u.at] == ICMP4_ECHO_REQUEST || p[u.at] == ICMP4_ECHO_REPLY || p[u.at] > ICMP4_PARAMETER));
}

struct code {
    uint8_t type, code;
};

static const struct code codes6[ICMP_ERROR_KINDS] = {
    [ICMP_NO_ROUTE] = {ICMP6_UNREACHABLE, 0},
    [ICMP_PROHIBITED] = {ICMP6_UNREACHABLE, 1},
    [ICMP_NO_HOST] = {ICMP6_UNREACHABLE, 3},
    [ICMP_NO_PORT] = {ICMP6_UNREACHABLE, 4},
    [ICMP_TOO_BIG] = {ICMP6_TOO_BIG, 0},
    [ICMP_HOP_LIMIT] = {ICMP6_TIME_EXCEEDED, 0},
    [ICMP_BAD_FIELD] = {ICMP6_PARAMETER, 0},
    [ICMP_BAD_NEXT] = {ICMP6_PARAMETER, 1},
    [ICMP_BAD_OPTION] = {ICMP6_PARAMETER, 2},
    [ICMP_BAD_UPPER] = {ICMP6_PARAMETER, 4},
};

static const struct code codes4[ICMP_ERROR_KINDS] = {
    [ICMP_NO_ROUTE] = {ICMP4_UNREACHABLE, 0},
    [ICMP_PROHIBITED] = {ICMP4_UNREACHABLE, 13},
    [ICMP_NO_HOST] = {ICMP4_UNREACHABLE, 1},
    [ICMP_NO_PORT] = {ICMP4_UNREACHABLE, 3},
    [ICMP_TOO_BIG] = {ICMP4_UNREACHABLE, 4},
    [ICMP_HOP_LIMIT] = {ICMP4_TIME_EXCEEDED, 0},
    [ICMP_BAD_FIELD] = {ICMP4_PARAMETER, 0},
    [ICMP_BAD_NEXT] = {ICMP4_UNREACHABLE, 2},
    [ICMP_BAD_OPTION] = {ICMP4_PARAMETER, 0},
    [ICMP_BAD_UPPER] = {ICMP4_UNREACHABLE, 2},
};

/* How much of the packet goes in: no more than it says it is, than there is, and than fits. */
static size_t quote(size_t said, size_t len, size_t room, size_t most, size_t headers)
{
    size_t fits = (room < most ? room : most);
    fits = fits > headers ? fits - headers : 0;
    len = said < len ? said : len;
    return len < fits ? len : fits;
}

static size_t error6(
    uint8_t *to, size_t room, struct code c, uint32_t value, const uint8_t *packet, size_t len, const struct ip6 *from)
{
    const size_t headers = IP6_SIZE + ICMP_HEADER;
    size_t n = quote(IP6_SIZE + (size_t)bytes_get_be16(packet + IP6_LEN), len, room, ICMP6_ERROR_MOST, headers);
    uint8_t *icmp = to + IP6_SIZE;
    if (n < IP6_SIZE)
        return 0;
    bytes_put_be32(to, 6u << 28 | ICMP_TRAFFIC << 20);
    bytes_put_be16(to + IP6_LEN, (uint16_t)(ICMP_HEADER + n));
    to[IP6_NEXT] = IP_PROTO_ICMP6;
    to[IP6_HOPS] = ICMP_HOPS;
    memcpy(to + IP6_SRC, from->b, 16);
    memcpy(to + IP6_DST, packet + IP6_SRC, 16);
    icmp[ICMP_TYPE] = c.type;
    icmp[ICMP_CODE] = c.code;
    bytes_put_be16(icmp + ICMP_SUM, 0);
    bytes_put_be32(icmp + ICMP_VALUE, value);
    memcpy(icmp + ICMP_HEADER, packet, n);
    bytes_put_be16(
        icmp + ICMP_SUM, checksum_ip6(to + IP6_SRC, to + IP6_DST, IP_PROTO_ICMP6, icmp, (uint32_t)(ICMP_HEADER + n)));
    return headers + n;
}

/* Next-hop MTU: the low 16 bits (RFC 1191); a pointer: the highest 8. */
static uint32_t value4(struct code c, uint32_t value)
{
    if (c.type == ICMP4_PARAMETER)
        return value << 24;
    return c.type == ICMP4_UNREACHABLE && c.code == 4 ? (value < 0xffff ? value : 0xffff) : 0;
}

static size_t error4(
    uint8_t *to, size_t room, struct code c, uint32_t value, const uint8_t *packet, size_t len, const uint8_t from[4])
{
    const size_t headers = IP4_SIZE + ICMP_HEADER;
    size_t n = quote(bytes_get_be16(packet + IP4_LEN), len, room, ICMP4_ERROR_MOST, headers);
    uint8_t *icmp = to + IP4_SIZE;
    if (n < IP4_SIZE)
        return 0;
    memset(to, 0, IP4_SIZE);
    to[0] = 0x45;
    to[IP4_TOS] = ICMP_TRAFFIC;
    bytes_put_be16(to + IP4_LEN, (uint16_t)(headers + n));
    to[IP4_TTL] = ICMP_HOPS;
    to[IP4_PROTO] = IP_PROTO_ICMP;
    memcpy(to + IP4_SRC, from, 4);
    memcpy(to + IP4_DST, packet + IP4_SRC, 4);
    bytes_put_be16(to + IP4_SUM, checksum_ip4(to, IP4_SIZE));
    icmp[ICMP_TYPE] = c.type;
    icmp[ICMP_CODE] = c.code;
    bytes_put_be16(icmp + ICMP_SUM, 0);
    bytes_put_be32(icmp + ICMP_VALUE, value4(c, value));
    memcpy(icmp + ICMP_HEADER, packet, n);
    bytes_put_be16(icmp + ICMP_SUM, checksum_ip4(icmp, ICMP_HEADER + n));
    return headers + n;
}

size_t icmp_error_write(uint8_t *to, size_t room, enum icmp_error_kind kind, uint32_t value, const uint8_t *packet,
    size_t len, const struct ip_addr *from)
{
    if (len == 0)
        return 0;
    if (packet[0] >> 4 == 6 && from->family == IP_V6 && may_answer6(kind, packet, len))
        return error6(to, room, codes6[kind], value, packet, len, &from->a);
    if (packet[0] >> 4 == 4 && from->family == IP_V4 && may_answer4(packet, len))
        return error4(to, room, codes4[kind], value, packet, len, from->a.b);
    return 0;
}

/* --- echo --------------------------------------------------------------------------------------------------- */

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
    uint8_t t[16];
    memcpy(t, a, n);
    memcpy(a, b, n);
    memcpy(b, t, n);
}

static void type_change(uint8_t *icmp, uint8_t type)
{
    uint16_t from = bytes_get_be16(icmp);
    icmp[ICMP_TYPE] = type;
    uint16_t sum = checksum_update(bytes_get_be16(icmp + ICMP_SUM), from, bytes_get_be16(icmp));
    /* Both zeros of one's complement are right, but of a message that is all zeros only this one is. */
    bytes_put_be16(icmp + ICMP_SUM, sum ? sum : 0xffff);
}

static bool echo_reply6(uint8_t *p, size_t len)
{
    struct upper u;
    if (!upper6(&u, p, len) || u.proto != IP_PROTO_ICMP6 || u.at != IP6_SIZE || len < u.at + ICMP_HEADER ||
        p[u.at] != ICMP6_ECHO_REQUEST || p[u.at + ICMP_CODE] || !unicast6(p + IP6_SRC) || !unicast6(p + IP6_DST))
        return false;
    swap(p + IP6_SRC, p + IP6_DST, 16);
    p[IP6_HOPS] = ICMP_HOPS;
    type_change(p + u.at, ICMP6_ECHO_REPLY);
    return true;
}

static bool echo_reply4(uint8_t *p, size_t len)
{
    struct upper u;
    if (!upper4(&u, p, len) || !u.whole || u.proto != IP_PROTO_ICMP || u.at != IP4_SIZE || len < u.at + ICMP_HEADER ||
        p[u.at] != ICMP4_ECHO_REQUEST || p[u.at + ICMP_CODE] || !unicast4(p + IP4_SRC) || !unicast4(p + IP4_DST))
        return false;
    uint16_t from = bytes_get_be16(p + IP4_TTL);
    swap(p + IP4_SRC, p + IP4_DST, 4);
    p[IP4_TTL] = ICMP_HOPS;
    bytes_put_be16(p + IP4_SUM, checksum_update(bytes_get_be16(p + IP4_SUM), from, bytes_get_be16(p + IP4_TTL)));
    type_change(p + u.at, ICMP4_ECHO_REPLY);
    return true;
}

bool icmp_echo_reply(uint8_t *packet, size_t len)
{
    if (len == 0)
        return false;
    return packet[0] >> 4 == 6 ? echo_reply6(packet, len) : echo_reply4(packet, len);
}

/* --- errors about our encapsulations -------------------------------------------------------------------------- */

int icmp_quoted_parse(struct icmp_quoted *ret, const uint8_t *packet, size_t len)
{
    struct upper error, outer;
    if (!upper6(&error, packet, len) || error.proto != IP_PROTO_ICMP6 || !error.whole)
        return -EPROTO;
    size_t end = IP6_SIZE + (size_t)bytes_get_be16(packet + IP6_LEN);
    if (end > len || end < error.at + ICMP_HEADER || packet[error.at] >= ICMP6_INFORMATIONAL)
        return -EPROTO;
    const uint8_t *icmp = packet + error.at, *quoted = icmp + ICMP_HEADER;
    size_t n = end - error.at - ICMP_HEADER;
    if (checksum_ip6(packet + IP6_SRC, packet + IP6_DST, IP_PROTO_ICMP6, icmp, (uint32_t)(n + ICMP_HEADER)) != 0)
        return -EPROTO;
    if (!upper6(&outer, quoted, n) || !outer.whole)
        return -ENOENT;
    uint8_t family = outer.proto == IP_PROTO_IPV6 ? IP_V6 : outer.proto == IP_PROTO_IPIP ? IP_V4 : 0;
    if (!family || n < outer.at + (family == IP_V6 ? (size_t)IP6_SIZE : (size_t)IP4_SIZE) ||
        quoted[outer.at] >> 4 != family)
        return -ENOENT;
    *ret = (struct icmp_quoted){
        .type = icmp[ICMP_TYPE],
        .code = icmp[ICMP_CODE],
        .value = bytes_get_be32(icmp + ICMP_VALUE),
        .last = outer.last,
        .outer_at = (uint32_t)(error.at + ICMP_HEADER),
        .inner_at = (uint32_t)(error.at + ICMP_HEADER + outer.at),
        .inner_family = family,
    };
    memcpy(ret->dst.b, quoted + IP6_DST, 16);
    return 0;
}
