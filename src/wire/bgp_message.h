/* BGP-4 messages (RFC 4271, 5492, 6793, 2918, 7313, 8654): the 19-byte header, OPEN with its capabilities, NOTIFICATION and
 * ROUTE-REFRESH. UPDATE is in wire/bgp_update.h. Decoding allocates nothing and points into the caller's bytes; what a peer
 * may get wrong comes back as the NOTIFICATION that its RFC names. */
#ifndef MERIDIAN_WIRE_BGP_MESSAGE_H
#define MERIDIAN_WIRE_BGP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BGP_HEADER        19u
#define BGP_MESSAGE_MOST  4096u /* RFC 4271; RFC 8654 allows BGP_EXTENDED_MOST where both sides say so */
#define BGP_EXTENDED_MOST 65535u
#define BGP_VERSION       4u
#define BGP_AS_TRANS      23456u

enum bgp_type { BGP_OPEN = 1, BGP_UPDATE = 2, BGP_NOTIFICATION = 3, BGP_KEEPALIVE = 4, BGP_ROUTE_REFRESH = 5 };

/* NOTIFICATION codes and the subcodes that we send (RFC 4271, 4486, 7313, 8538, 9003, 9384). */
enum bgp_error_code {
    BGP_ERROR_HEADER = 1,
    BGP_ERROR_OPEN = 2,
    BGP_ERROR_UPDATE = 3,
    BGP_ERROR_HOLD_TIMER = 4,
    BGP_ERROR_FSM = 5,
    BGP_ERROR_CEASE = 6,
    BGP_ERROR_REFRESH = 7,
    BGP_ERROR_SEND_HOLD_TIMER = 8, /* RFC 9687 */
};
enum { BGP_HEADER_MARKER = 1, BGP_HEADER_LENGTH = 2, BGP_HEADER_TYPE = 3 };
enum {
    BGP_OPEN_VERSION = 1,
    BGP_OPEN_PEER_AS = 2,
    BGP_OPEN_IDENTIFIER = 3,
    BGP_OPEN_PARAMETER = 4,
    BGP_OPEN_HOLD_TIME = 6,
    BGP_OPEN_CAPABILITY = 7,
};
enum { BGP_UPDATE_ATTRIBUTES = 1, BGP_UPDATE_OPTIONAL = 9, BGP_UPDATE_NETWORK = 10 };
enum {
    BGP_CEASE_PREFIXES = 1,
    BGP_CEASE_SHUTDOWN = 2,
    BGP_CEASE_DECONFIGURED = 3,
    BGP_CEASE_RESET = 4,
    BGP_CEASE_REJECTED = 5,
    BGP_CEASE_CONFIGURATION = 6,
    BGP_CEASE_COLLISION = 7,
    BGP_CEASE_RESOURCES = 8,
    BGP_CEASE_HARD_RESET = 9, /* RFC 8538: carries the real code, subcode and data */
};

/* Address families as AFI << 16 | SAFI. */
enum bgp_family {
    BGP_IPV4_UNICAST = 1 << 16 | 1,
    BGP_IPV6_UNICAST = 2 << 16 | 1,
    BGP_VPNV4 = 1 << 16 | 128,
    BGP_VPNV6 = 2 << 16 | 128,
    BGP_EVPN = 25 << 16 | 70,
    BGP_SR_POLICY_V4 = 1 << 16 | 73,
    BGP_SR_POLICY_V6 = 2 << 16 | 73,
    BGP_RTC = 1 << 16 | 132,
};
#define BGP_FAMILIES_MOST 16 /* kept of one OPEN; more are ignored */

struct bgp_notification {
    uint8_t code, subcode;
    uint16_t len;
    uint8_t data[128]; /* as much as is useful to a person; RFC 9003's shutdown communication fits */
};

struct bgp_graceful { /* RFC 4724, 8538, 9494 for one family */
    uint32_t family;
    bool forwarding;     /* F: state was kept over the restart */
    uint32_t long_lived; /* LLGR stale time, s; 0: not spoken */
};

struct bgp_add_path { /* RFC 7911 */
    uint32_t family;
    uint8_t send_receive; /* 1 receive, 2 send, 3 both */
};

struct bgp_open {
    uint32_t as; /* of the 4-octet capability where there is one */
    uint16_t hold_time_s;
    uint8_t identifier[4];
    uint32_t families[BGP_FAMILIES_MOST]; /* multiprotocol; none: IPv4 unicast */
    uint8_t n_families;
    bool refresh, enhanced_refresh, extended_message, as4;
    bool graceful, restarting, graceful_notification; /* RFC 4724; R flag; RFC 8538's N flag */
    uint16_t restart_time_s;
    struct bgp_graceful graceful_families[BGP_FAMILIES_MOST];
    uint8_t n_graceful;
    struct bgp_add_path add_path[BGP_FAMILIES_MOST];
    uint8_t n_add_path;
    uint32_t six_hops[BGP_FAMILIES_MOST]; /* RFC 8950: families of IPv4 whose routes may have IPv6 next hops */
    uint8_t n_six_hops;
    char hostname[65]; /* FQDN capability (draft-walton-bgp-hostname-capability), printable characters only; "" */
};

/* The next whole message of a stream: its length (>= BGP_HEADER) and type. -EAGAIN: more bytes are needed (0 < *ret_len once
 * the header is there). -EPROTO: *ret_error says what to send. `most`: BGP_MESSAGE_MOST or BGP_EXTENDED_MOST. */
int bgp_header_decode(const uint8_t *bytes, size_t len, uint32_t most, uint8_t *ret_type, uint32_t *ret_len,
    struct bgp_notification *ret_error);
void bgp_header_encode(uint8_t to[BGP_HEADER], uint32_t len, enum bgp_type type);

/* Bodies: bytes behind the header. -EPROTO with *ret_error. Unknown capabilities and parameters are skipped (RFC 5492). */
int bgp_open_decode(struct bgp_open *ret, const uint8_t *body, size_t len, struct bgp_notification *ret_error);
/* A whole message; returns its length, -ENOBUFS when cap is too small (512 is enough). */
int bgp_open_encode(const struct bgp_open *o, uint8_t *to, size_t cap);
int bgp_notification_decode(struct bgp_notification *ret, const uint8_t *body, size_t len);
int bgp_notification_encode(const struct bgp_notification *n, uint8_t *to, size_t cap);
/* "Cease/administrative shutdown: …", with RFC 9003's text made printable. Returns to. */
const char *bgp_notification_text(const struct bgp_notification *n, char *to, size_t cap);
/* RFC 8538 3: a hard reset carries the notification that it stands for. False: it is none, or carries nothing. */
bool bgp_notification_hard(const struct bgp_notification *n, struct bgp_notification *ret_inner);
void bgp_notification_harden(struct bgp_notification *n); /* wraps it into a hard reset */

enum bgp_refresh_kind { BGP_REFRESH = 0, BGP_REFRESH_BEGIN = 1, BGP_REFRESH_END = 2 };
int bgp_refresh_decode(uint32_t *ret_family, enum bgp_refresh_kind *ret_kind, const uint8_t *body, size_t len,
    struct bgp_notification *ret_error);
int bgp_refresh_encode(uint32_t family, enum bgp_refresh_kind kind, uint8_t *to, size_t cap);

#endif
