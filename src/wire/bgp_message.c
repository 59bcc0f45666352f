#include "wire/bgp_message.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int refuse(struct bgp_notification *n, uint8_t code, uint8_t subcode, const void *data, size_t len)
{
    *n = (struct bgp_notification){.code = code, .subcode = subcode, .len = (uint16_t)(len < 128 ? len : 128)};
    if (data && n->len)
        memcpy(n->data, data, n->len);
    return -EPROTO;
}

/* --- the header ------------------------------------------------------------------------------------------------- */

static uint32_t least_length(uint8_t type)
{
    switch (type) {
    case BGP_OPEN:
        return 29;
    case BGP_UPDATE:
        return 23;
    case BGP_NOTIFICATION:
        return 21;
    case BGP_ROUTE_REFRESH:
        return 23;
    default:
        return BGP_HEADER;
    }
}

int bgp_header_decode(const uint8_t *bytes, size_t len, uint32_t most, uint8_t *ret_type, uint32_t *ret_len,
    struct bgp_notification *ret_error)
{
    *ret_len = 0;
    if (len < BGP_HEADER)
        return -EAGAIN;
    for (int i = 0; i < 16; i++)
        if (bytes[i] != 0xff)
            return refuse(ret_error, BGP_ERROR_HEADER, BGP_HEADER_MARKER, NULL, 0);
    uint32_t length = bytes_get_be16(bytes + 16);
    uint8_t type = bytes[18];
    if (type < BGP_OPEN || type > BGP_ROUTE_REFRESH)
        return refuse(ret_error, BGP_ERROR_HEADER, BGP_HEADER_TYPE, bytes + 18, 1);
    /* RFC 8654: OPEN and KEEPALIVE stay short whatever was agreed. */
    if (type == BGP_OPEN || type == BGP_KEEPALIVE)
        most = BGP_MESSAGE_MOST;
    if (length < least_length(type) || length > most || (type == BGP_KEEPALIVE && length != BGP_HEADER))
        return refuse(ret_error, BGP_ERROR_HEADER, BGP_HEADER_LENGTH, bytes + 16, 2);
    *ret_type = type;
    *ret_len = length;
    return len < length ? -EAGAIN : 0;
}

void bgp_header_encode(uint8_t to[BGP_HEADER], uint32_t len, enum bgp_type type)
{
    memset(to, 0xff, 16);
    bytes_put_be16(to + 16, (uint16_t)len);
    to[18] = (uint8_t)type;
}

/* --- OPEN: capabilities (RFC 5492) ---------------------------------------------------------------------------------- */

enum {
    CAP_MULTIPROTOCOL = 1,
    CAP_REFRESH = 2,
    CAP_EXTENDED_NEXT_HOP = 5,
    CAP_EXTENDED_MESSAGE = 6,
    CAP_GRACEFUL = 64,
    CAP_AS4 = 65,
    CAP_ADD_PATH = 69,
    CAP_ENHANCED_REFRESH = 70,
    CAP_LLGR = 71,
    CAP_FQDN = 73,
};

static uint32_t family_at(const uint8_t *p)
{
    return (uint32_t)bytes_get_be16(p) << 16 | p[2];
}

/* <AFI 2, reserved 1, SAFI 1> of the multiprotocol capability. */
static void take_multiprotocol(struct bgp_open *o, const uint8_t *v, size_t len)
{
    if (len != 4 || o->n_families == BGP_FAMILIES_MOST)
        return;
    uint32_t family = (uint32_t)bytes_get_be16(v) << 16 | v[3];
    for (int i = 0; i < o->n_families; i++)
        if (o->families[i] == family)
            return;
    o->families[o->n_families++] = family;
}

static void take_graceful(struct bgp_open *o, const uint8_t *v, size_t len)
{
    if (len < 2 || (len - 2) % 4)
        return;
    o->graceful = true;
    o->restarting = v[0] & 0x80;
    o->graceful_notification = v[0] & 0x40;
    o->restart_time_s = bytes_get_be16(v) & 0x0fff;
    o->n_graceful = 0; /* the last of several counts */
    memset(o->graceful_families, 0, sizeof o->graceful_families);
    for (size_t at = 2; at < len && o->n_graceful < BGP_FAMILIES_MOST; at += 4)
        o->graceful_families[o->n_graceful++] =
            (struct bgp_graceful){.family = family_at(v + at), .forwarding = v[at + 3] & 0x80};
}

/* RFC 9494: AFI 2, SAFI 1, flags 1, stale time 3. */
static void take_long_lived(struct bgp_open *o, const uint8_t *v, size_t len)
{
    if (len % 7)
        return;
    for (size_t at = 0; at < len; at += 7)
        for (int i = 0; i < o->n_graceful; i++)
            if (o->graceful_families[i].family == family_at(v + at))
                o->graceful_families[i].long_lived = bytes_get_be32(v + at + 3) & 0xffffff;
}

static void take_add_path(struct bgp_open *o, const uint8_t *v, size_t len)
{
    if (len % 4)
        return;
    for (size_t at = 0; at < len && o->n_add_path < BGP_FAMILIES_MOST; at += 4)
        if (v[at + 3] >= 1 && v[at + 3] <= 3)
            o->add_path[o->n_add_path++] =
                (struct bgp_add_path){.family = family_at(v + at), .send_receive = v[at + 3]};
}

/* RFC 8950 4: AFI 2, SAFI 2, AFI of the next hop 2. */
static void take_next_hops(struct bgp_open *o, const uint8_t *v, size_t len)
{
    if (len % 6)
        return;
    for (size_t at = 0; at < len && o->n_six_hops < BGP_FAMILIES_MOST; at += 6)
        if (bytes_get_be16(v + at + 4) == 2 && v[at + 2] == 0)
            o->six_hops[o->n_six_hops++] = (uint32_t)bytes_get_be16(v + at) << 16 | v[at + 3];
}

static void take_hostname(struct bgp_open *o, const uint8_t *v, size_t len)
{
    if (len < 2 || 1u + v[0] > len)
        return;
    size_t n = v[0] < sizeof o->hostname - 1 ? v[0] : sizeof o->hostname - 1;
    memset(o->hostname, 0, sizeof o->hostname);
    for (size_t i = 0; i < n; i++)
        o->hostname[i] = v[1 + i] > ' ' && v[1 + i] < 0x7f ? (char)v[1 + i] : '?';
    o->hostname[n] = 0;
}

static void take_capability(struct bgp_open *o, uint8_t code, const uint8_t *v, size_t len)
{
    switch (code) {
    case CAP_MULTIPROTOCOL:
        take_multiprotocol(o, v, len);
        break;
    case CAP_REFRESH:
        o->refresh = true;
        break;
    case CAP_EXTENDED_NEXT_HOP:
        take_next_hops(o, v, len);
        break;
    case CAP_EXTENDED_MESSAGE:
        o->extended_message = true;
        break;
    case CAP_GRACEFUL:
        take_graceful(o, v, len);
        break;
    case CAP_AS4:
        if (len == 4) {
            o->as4 = true;
            o->as = bytes_get_be32(v);
        }
        break;
    case CAP_ADD_PATH:
        take_add_path(o, v, len);
        break;
    case CAP_ENHANCED_REFRESH:
        o->enhanced_refresh = true;
        break;
    case CAP_LLGR:
        take_long_lived(o, v, len);
        break;
    case CAP_FQDN:
        take_hostname(o, v, len);
        break;
    default: /* RFC 5492: what is not known is ignored */
        break;
    }
}

static int take_capabilities(struct bgp_open *o, const uint8_t *v, size_t len, struct bgp_notification *ret_error)
{
    for (size_t at = 0; at < len;) {
        if (len - at < 2 || len - at - 2 < v[at + 1])
            return refuse(ret_error, BGP_ERROR_OPEN, 0, v + at, len - at);
        take_capability(o, v[at], v + at + 2, v[at + 1]);
        at += 2u + v[at + 1];
    }
    return 0;
}

/* Optional parameters, in RFC 9072's extended form where the first type is 255. */
static int take_parameters(struct bgp_open *o, const uint8_t *v, size_t len, struct bgp_notification *ret_error)
{
    size_t total = v[0], at = 1, head = 2;
    if (total && len >= 4 && v[1] == 255) { /* RFC 9072 2: the type says so, whatever the length before it */
        total = bytes_get_be16(v + 2);
        at = 4;
        head = 3;
    }
    if (len - at != total)
        return refuse(ret_error, BGP_ERROR_OPEN, 0, NULL, 0);
    while (at < len) {
        if (len - at < head)
            return refuse(ret_error, BGP_ERROR_OPEN, 0, NULL, 0);
        size_t n = head == 3 ? bytes_get_be16(v + at + 1) : v[at + 1];
        if (len - at - head < n)
            return refuse(ret_error, BGP_ERROR_OPEN, 0, NULL, 0);
        if (v[at] != 2)
            return refuse(ret_error, BGP_ERROR_OPEN, BGP_OPEN_PARAMETER, v + at, head + n);
        int rc = take_capabilities(o, v + at + head, n, ret_error);
        if (rc)
            return rc;
        at += head + n;
    }
    return 0;
}

int bgp_open_decode(struct bgp_open *ret, const uint8_t *body, size_t len, struct bgp_notification *ret_error)
{
    struct bgp_open o = {0};
    if (len < 10)
        return refuse(ret_error, BGP_ERROR_HEADER, BGP_HEADER_LENGTH, NULL, 0);
    if (body[0] != BGP_VERSION)
        return refuse(ret_error, BGP_ERROR_OPEN, BGP_OPEN_VERSION, "\0\4", 2);
    uint16_t as2 = bytes_get_be16(body + 1);
    o.as = as2;
    o.hold_time_s = bytes_get_be16(body + 3);
    memcpy(o.identifier, body + 5, 4);
    int rc = take_parameters(&o, body + 9, len - 9, ret_error);
    if (rc)
        return rc;
    /* RFC 6793: the two-octet field says AS_TRANS where the number does not fit, and the number is never 0 (RFC 7607). */
    if (o.as == 0 || (o.as4 && as2 != BGP_AS_TRANS && as2 != o.as))
        return refuse(ret_error, BGP_ERROR_OPEN, BGP_OPEN_PEER_AS, NULL, 0);
    if (o.hold_time_s == 1 || o.hold_time_s == 2)
        return refuse(ret_error, BGP_ERROR_OPEN, BGP_OPEN_HOLD_TIME, NULL, 0);
    if (bytes_get_be32(o.identifier) == 0)
        return refuse(ret_error, BGP_ERROR_OPEN, BGP_OPEN_IDENTIFIER, NULL, 0);
    if (o.n_families == 0)
        o.families[o.n_families++] = BGP_IPV4_UNICAST;
    *ret = o;
    return 0;
}

/* A cursor over the message being written; `over` once something did not fit. */
struct writer {
    uint8_t *to;
    size_t at, cap;
    bool over;
};

static uint8_t *writer_room(struct writer *w, size_t n)
{
    static uint8_t nowhere[256];
    if (w->cap - w->at < n) {
        w->over = true;
        return nowhere;
    }
    w->at += n;
    return w->to + w->at - n;
}

/* Each capability in an optional parameter of its own: what every implementation reads. */
static uint8_t *put_capability(struct writer *w, uint8_t code, uint8_t len)
{
    uint8_t *p = writer_room(w, 4u + len);
    p[0] = 2;
    p[1] = (uint8_t)(2 + len);
    p[2] = code;
    p[3] = len;
    return p + 4;
}

static void put_family(uint8_t *p, uint32_t family)
{
    bytes_put_be16(p, (uint16_t)(family >> 16));
    p[2] = (uint8_t)family;
}

static void put_graceful(struct writer *w, const struct bgp_open *o)
{
    uint8_t *p = put_capability(w, CAP_GRACEFUL, (uint8_t)(2 + 4 * o->n_graceful));
    bytes_put_be16(p, (uint16_t)((o->restart_time_s & 0x0fff) | (o->restarting ? 0x8000 : 0) |
                                 (o->graceful_notification ? 0x4000 : 0)));
    int long_lived = 0;
    for (int i = 0; i < o->n_graceful; i++) {
        put_family(p + 2 + 4 * i, o->graceful_families[i].family);
        p[2 + 4 * i + 3] = o->graceful_families[i].forwarding ? 0x80 : 0;
        long_lived += o->graceful_families[i].long_lived > 0;
    }
    if (!long_lived)
        return;
    p = put_capability(w, CAP_LLGR, (uint8_t)(7 * long_lived));
    for (int i = 0; i < o->n_graceful; i++) {
        if (!o->graceful_families[i].long_lived)
            continue;
        bytes_put_be32(p + 3, o->graceful_families[i].long_lived & 0xffffff);
        put_family(p, o->graceful_families[i].family);
        p[3] = o->graceful_families[i].forwarding ? 0x80 : 0;
        p += 7;
    }
}

static void put_capabilities(struct writer *w, const struct bgp_open *o)
{
    for (int i = 0; i < o->n_families; i++) {
        uint8_t *p = put_capability(w, CAP_MULTIPROTOCOL, 4);
        bytes_put_be16(p, (uint16_t)(o->families[i] >> 16));
        p[2] = 0;
        p[3] = (uint8_t)o->families[i];
    }
    if (o->refresh)
        put_capability(w, CAP_REFRESH, 0);
    if (o->extended_message)
        put_capability(w, CAP_EXTENDED_MESSAGE, 0);
    if (o->as4)
        bytes_put_be32(put_capability(w, CAP_AS4, 4), o->as);
    if (o->graceful)
        put_graceful(w, o);
    if (o->n_add_path) {
        uint8_t *p = put_capability(w, CAP_ADD_PATH, (uint8_t)(4 * o->n_add_path));
        for (int i = 0; i < o->n_add_path; i++) {
            put_family(p + 4 * i, o->add_path[i].family);
            p[4 * i + 3] = o->add_path[i].send_receive;
        }
    }
    if (o->n_six_hops) {
        uint8_t *p = put_capability(w, CAP_EXTENDED_NEXT_HOP, (uint8_t)(6 * o->n_six_hops));
        for (int i = 0; i < o->n_six_hops; i++) {
            bytes_put_be16(p + 6 * i, (uint16_t)(o->six_hops[i] >> 16));
            bytes_put_be16(p + 6 * i + 2, (uint8_t)o->six_hops[i]);
            bytes_put_be16(p + 6 * i + 4, 2);
        }
    }
    if (o->enhanced_refresh)
        put_capability(w, CAP_ENHANCED_REFRESH, 0);
    if (o->hostname[0]) {
        size_t n = strlen(o->hostname);
        uint8_t *p = put_capability(w, CAP_FQDN, (uint8_t)(2 + n));
        p[0] = (uint8_t)n;
        memcpy(p + 1, o->hostname, n);
        p[1 + n] = 0;
    }
}

int bgp_open_encode(const struct bgp_open *o, uint8_t *to, size_t cap)
{
    struct writer w = {.to = to, .cap = cap};
    uint8_t *p = writer_room(&w, BGP_HEADER + 10);
    if (w.over)
        return -ENOBUFS;
    p[19] = BGP_VERSION;
    bytes_put_be16(p + 20, (uint16_t)(o->as > 0xffff ? BGP_AS_TRANS : o->as));
    bytes_put_be16(p + 22, o->hold_time_s);
    memcpy(p + 24, o->identifier, 4);
    put_capabilities(&w, o);
    size_t parameters = w.at - BGP_HEADER - 10;
    if (w.over || parameters > 254)
        return -ENOBUFS;
    p[28] = (uint8_t)parameters;
    bgp_header_encode(to, (uint32_t)w.at, BGP_OPEN);
    return (int)w.at;
}

/* --- NOTIFICATION ----------------------------------------------------------------------------------------------------- */

int bgp_notification_decode(struct bgp_notification *ret, const uint8_t *body, size_t len)
{
    if (len < 2)
        return -EPROTO;
    refuse(ret, body[0], body[1], body + 2, len - 2);
    return 0;
}

int bgp_notification_encode(const struct bgp_notification *n, uint8_t *to, size_t cap)
{
    size_t len = BGP_HEADER + 2u + n->len;
    if (cap < len || n->len > sizeof n->data)
        return -ENOBUFS;
    bgp_header_encode(to, (uint32_t)len, BGP_NOTIFICATION);
    to[19] = n->code;
    to[20] = n->subcode;
    memcpy(to + 21, n->data, n->len);
    return (int)len;
}

static const char *code_name(uint8_t code)
{
    static const char *const name[] = {"", "message header error", "OPEN error", "UPDATE error", "hold timer expired",
        "state machine error", "cease", "ROUTE-REFRESH error", "send hold timer expired"};
    return code > 0 && code < sizeof name / sizeof *name ? name[code] : "unknown error";
}

static const char *subcode_name(uint8_t code, uint8_t subcode)
{
    static const char *const header[] = {"", "marker", "length", "type"};
    static const char *const open[] = {"", "unsupported version", "bad peer AS", "bad BGP identifier",
        "unsupported parameter", "", "unacceptable hold time", "unsupported capability"};
    static const char *const update[] = {"", "malformed attribute list", "unrecognised well-known attribute",
        "missing well-known attribute", "attribute flags", "attribute length", "invalid ORIGIN", "", "invalid NEXT_HOP",
        "optional attribute", "invalid network field", "malformed AS_PATH"};
    static const char *const cease[] = {"", "maximum number of prefixes", "administrative shutdown",
        "peer deconfigured", "administrative reset", "connection rejected", "configuration change",
        "connection collision", "out of resources", "hard reset", "BFD down"};
    static const struct {
        const char *const *name;
        unsigned n;
    } table[] = {[BGP_ERROR_HEADER] = {header, 4},
        [BGP_ERROR_OPEN] = {open, 8},
        [BGP_ERROR_UPDATE] = {update, 12},
        [BGP_ERROR_CEASE] = {cease, 11}};
    if (code < sizeof table / sizeof *table && table[code].name && subcode < table[code].n)
        return table[code].name[subcode];
    return "";
}

/* RFC 9003: length, then UTF-8 that a stranger wrote: shown as printable ASCII only. */
static void put_spoken(const struct bgp_notification *n, char *to, size_t cap)
{
    char text[129];
    unsigned len = n->data[0] < 128 ? n->data[0] : 128;
    for (unsigned i = 0; i < len; i++)
        text[i] = n->data[1 + i] >= ' ' && n->data[1 + i] < 0x7f ? (char)n->data[1 + i] : '?';
    text[len] = 0;
    snprintf(to, cap, " (\"%s\")", text);
}

const char *bgp_notification_text(const struct bgp_notification *n, char *to, size_t cap)
{
    struct bgp_notification inner;
    const char *sub = subcode_name(n->code, n->subcode);
    int at = snprintf(to, cap, "%s%s%s", code_name(n->code), *sub ? ": " : "", sub);
    if (at < 0 || (size_t)at >= cap)
        return to;
    bool spoken = n->code == BGP_ERROR_CEASE && (n->subcode == BGP_CEASE_SHUTDOWN || n->subcode == BGP_CEASE_RESET);
    if (spoken && n->len >= 2 && n->data[0] <= n->len - 1)
        put_spoken(n, to + at, cap - (size_t)at);
    else if (bgp_notification_hard(n, &inner) && (size_t)at + 2 < cap) {
        memcpy(to + at, ": ", 3);
        bgp_notification_text(&inner, to + at + 2, cap - (size_t)at - 2);
    }
    return to;
}

bool bgp_notification_hard(const struct bgp_notification *n, struct bgp_notification *ret_inner)
{
    if (n->code != BGP_ERROR_CEASE || n->subcode != BGP_CEASE_HARD_RESET)
        return false;
    if (n->len < 2 || (n->data[0] == BGP_ERROR_CEASE && n->data[1] == BGP_CEASE_HARD_RESET))
        return false; /* it says nothing, or is a riddle */
    refuse(ret_inner, n->data[0], n->data[1], n->data + 2, n->len - 2u);
    return true;
}

void bgp_notification_harden(struct bgp_notification *n)
{
    size_t len = n->len < sizeof n->data - 2 ? n->len : sizeof n->data - 2;
    memmove(n->data + 2, n->data, len);
    n->data[0] = n->code;
    n->data[1] = n->subcode;
    n->len = (uint16_t)(len + 2);
    n->code = BGP_ERROR_CEASE;
    n->subcode = BGP_CEASE_HARD_RESET;
}

/* --- ROUTE-REFRESH -------------------------------------------------------------------------------------------------------- */

/* RFC 7313 5: the answer to a wrong length carries the whole message. */
static int refuse_refresh(struct bgp_notification *error, const uint8_t *body, size_t len)
{
    uint8_t message[BGP_HEADER + 109];
    size_t n = len < sizeof message - BGP_HEADER ? len : sizeof message - BGP_HEADER;
    bgp_header_encode(message, (uint32_t)(BGP_HEADER + len), BGP_ROUTE_REFRESH);
    memcpy(message + BGP_HEADER, body, n);
    return refuse(error, BGP_ERROR_REFRESH, 1, message, BGP_HEADER + n);
}

int bgp_refresh_decode(uint32_t *ret_family, enum bgp_refresh_kind *ret_kind, const uint8_t *body, size_t len,
    struct bgp_notification *ret_error)
{
    /* RFC 7313 5: a wrong length of BoRR or EoRR is answered; longer plain ones are RFC 5291's, which we do not speak. */
    if (len != 4)
        return len > 2 && (body[2] == BGP_REFRESH_BEGIN || body[2] == BGP_REFRESH_END)
                   ? refuse_refresh(ret_error, body, len)
                   : refuse(ret_error, BGP_ERROR_HEADER, BGP_HEADER_LENGTH, NULL, 0);
    *ret_family = (uint32_t)bytes_get_be16(body) << 16 | body[3];
    *ret_kind = (enum bgp_refresh_kind)body[2]; /* above 2: ignored by the caller, as RFC 7313 asks */
    return 0;
}

int bgp_refresh_encode(uint32_t family, enum bgp_refresh_kind kind, uint8_t *to, size_t cap)
{
    if (cap < BGP_HEADER + 4)
        return -ENOBUFS;
    bgp_header_encode(to, BGP_HEADER + 4, BGP_ROUTE_REFRESH);
    bytes_put_be16(to + 19, (uint16_t)(family >> 16));
    to[21] = (uint8_t)kind;
    to[22] = (uint8_t)family;
    return BGP_HEADER + 4;
}
