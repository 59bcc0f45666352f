/* Control frames between two neighbouring routers of ours: EtherType ETHER_LANE, never forwarded (docs/lanes.md says in
 * words what they do). All integers big-endian. A frame, from its first byte behind the Ethernet header:
 *
 *   0 u16 magic "ML"   2 u8 version   3 u8 type   4 u16 flags, zero   6 u16 length of the body
 *   8 u64 the sender's epoch   16 u64 sequence   24 body   then the seal: 16 bytes (AES-256-GMAC over all before it)
 *
 * HELLO has no seal; its body ends in an Ed25519 signature over all before it. Bytes behind the end (Ethernet's padding) are
 * ignored. Decoders check every length and allocate nothing; -EPROTO for whatever is not exactly as written here. */
#ifndef MERIDIAN_WIRE_LANE_FRAME_H
#define MERIDIAN_WIRE_LANE_FRAME_H

#include "wire/ip.h"

#include <stdbool.h>
#include <stdint.h>

#define LANE_FRAME_MAGIC   0x4d4cu
#define LANE_FRAME_VERSION 2u /* 1: entries of CREDIT without `hold` */
#define LANE_FRAME_HEADER  24u
#define LANE_FRAME_SEAL    16u
#define LANE_FRAME_MOST    1400u /* bytes of a whole frame: fits wherever IPv6 does */
#define LANE_FRAME_SIDS    16u

enum lane_frame_type {
    LANE_HELLO = 1,   /* who is there: epochs and keys of a session */
    LANE_CREDIT = 2,  /* receiver → sender: limits of lanes and of the link; also the sign of life */
    LANE_SYNC = 3,    /* sender → receiver: all that was sent in lanes that are quiet, or of a session that is over */
    LANE_LOSS = 4,    /* receiver → sender: gaps, so that it can name the packets */
    LANE_RECLAIM = 5, /* receiver → sender: please give credit back */
    LANE_RELEASE = 6, /* sender → receiver: given back */
    LANE_OPEN = 7,    /* sender → receiver: a lane is wanted; repeated, it is the lane's refresh */
    LANE_ACCEPT = 8,  /* receiver → sender */
    LANE_REFUSE = 9,  /* receiver → sender: not accepted, why and where */
    LANE_DOWN = 10,   /* receiver → sender: what was accepted is over, why and where */
    LANE_CLOSE = 11,  /* sender → receiver: nothing follows */
    LANE_CLOSED = 12, /* receiver → sender: its answer */
    LANE_TYPE_END,
};

struct lane_header {
    uint8_t type;
    uint16_t length; /* of the body */
    uint64_t epoch, seq;
};

struct lane_hello {
    uint64_t router, boot; /* boot: random, drawn at the router's start: what it knew before is gone when it changes */
    uint64_t echo;         /* the peer's epoch as last heard; 0: none */
    uint16_t port;
    uint8_t mac[6];
    uint32_t cell, mtu, window; /* bytes of a cell; bytes of an IP packet; cells the receive ring takes, 0: unlimited */
    uint8_t identity[32];       /* Ed25519 public key */
    uint8_t key[32];            /* X25519 public key of this epoch */
    int64_t sent_ns;            /* the sender's clock */
    int64_t echo_ns; /* the receiver's clock as last heard, plus the time since; 0: none. now - echo_ns = RTT */
    uint8_t signature[64];
};
#define LANE_HELLO_SIZE   188u
#define LANE_HELLO_SIGNED (LANE_FRAME_HEADER + LANE_HELLO_SIZE - 64u) /* bytes of the frame that the signature covers */

/* Head of a CREDIT; any number of entries follow. */
struct lane_credit {
    uint64_t losses; /* gap reports (LANE_LOSS) of ours that we have dealt with: numbers below it */
    uint64_t window; /* link-level limit L; 0: there is none */
    int64_t sent_ns, echo_ns;
};
#define LANE_CREDIT_SIZE 32u

struct lane_credit_entry {
    uint16_t ref, index; /* the sender's number for the lane (from OPEN), and the receiver's */
    uint32_t generation;
    uint64_t limit;  /* L */
    uint32_t behind; /* L - R: R cells have arrived or are known to be lost */
    uint32_t hold;   /* the queue rises: please do not use the last so many cells below L yet; 0: all may be used */
};
#define LANE_CREDIT_ENTRY 24u

struct lane_sync_entry {
    uint16_t ref, index;
    uint64_t sent; /* S */
};
#define LANE_SYNC_SIZE  8u /* u64: the session that is over, 0: this one */
#define LANE_SYNC_ENTRY 12u

enum lane_gap_kind {
    LANE_GAP_LINK,    /* cells that the link lost */
    LANE_GAP_SESSION, /* the answer to a SYNC of a session that is over: cells that were under way then; may be 0 */
    LANE_GAP_UNKNOWN, /* the answer when nothing is known of that session any more */
    LANE_GAP_KINDS,
};

struct lane_gap {
    uint64_t session;
    uint16_t ref;
    uint8_t kind;
    uint32_t cells;
    uint64_t first;
};
#define LANE_LOSS_SIZE  8u /* u64: the number of the first gap in the frame */
#define LANE_LOSS_ENTRY 24u

struct lane_reclaim {
    uint16_t ref, index;
    uint32_t generation, keep;
};
#define LANE_RECLAIM_SIZE 12u

struct lane_release {
    uint16_t ref, index;
    uint32_t generation;
    uint64_t limit;
};
#define LANE_RELEASE_SIZE 16u

struct lane_open_frame {
    uint64_t id, move_of; /* move_of: the lane it succeeds; 0: none */
    uint64_t guarantee_bps, cap_bps, rate_bps;
    uint32_t tenant, window_least;
    uint16_t ref;
    uint8_t class_;
    uint8_t at, n_sids; /* sids[at] is the one that the receiver stands for */
    struct ip6 sids[LANE_FRAME_SIDS];
};
#define LANE_OPEN_SIZE 56u /* and 16 for each SID */

enum lane_accept_flag {
    LANE_ACCEPT_COMPLETE = 1, /* every hop down to the egress has accepted */
    LANE_ACCEPT_RELEASED = 2, /* the end of the lane that it succeeds has passed the egress */
};

struct lane_accept {
    uint64_t id;
    uint16_t ref, index;
    uint8_t flags;
    uint32_t generation;
    uint64_t first, limit; /* number of the lane's first cell; L */
};
#define LANE_ACCEPT_SIZE 36u

enum lane_refusal {
    LANE_REFUSED_NO_PATH = 1, /* the SID is not ours, or there is no such adjacency */
    LANE_REFUSED_LINK_DOWN,
    LANE_REFUSED_RATE,    /* the guarantees of a link exceed its rate */
    LANE_REFUSED_POOL,    /* the least windows of a port exceed its pool */
    LANE_REFUSED_TENANT,  /* or the tenant's share of it */
    LANE_REFUSED_BUSY,    /* there will be room once others have given credit back */
    LANE_REFUSED_FULL,    /* no free lane */
    LANE_REFUSED_FORM,    /* class, window or SIDs make no sense */
    LANE_REFUSED_EXPIRED, /* (DOWN) not refreshed */
    LANE_REFUSED_CUT,     /* (DOWN) a link of the path is dead */
    LANE_REFUSED_CLOSED,  /* (DOWN) closed by the router that says so */
    LANE_REFUSED_LEAVING, /* that router is going to end in good order; DOWN: the lane still carries, but please go elsewhere */
    LANE_REFUSAL_END,
};
const char *lane_refusal_name(unsigned r); /* "no path", … */

struct lane_refuse {    /* and DOWN */
    uint64_t id, where; /* where: router id */
    uint16_t ref;       /* of the one who opened it */
    uint16_t index;     /* DOWN: of the one who says so; REFUSE: 0 */
    uint8_t reason;
};
#define LANE_REFUSE_SIZE 24u

enum lane_close_flag {
    LANE_CLOSE_DISCARD = 1, /* what it still has is not wanted either */
};

struct lane_close_frame {
    uint64_t id, sent; /* S, for ever */
    uint16_t ref, index;
    uint8_t flags;
};
#define LANE_CLOSE_SIZE 24u

struct lane_closed {
    uint64_t id;
    uint16_t ref, index;
    uint64_t losses; /* gap reports below this number may speak of the lane */
};
#define LANE_CLOSED_SIZE 24u

int lane_header_decode(struct lane_header *ret, const uint8_t *bytes, uint32_t len);
/* The version of a HELLO, which tells it at the same place whatever the version; -EPROTO: it is no HELLO. */
int lane_hello_version(const uint8_t *bytes, uint32_t len);
void lane_header_encode(uint8_t to[LANE_FRAME_HEADER], const struct lane_header *h);

/* Of a body: `len` is the header's length. Encoders write exactly the size above. */
int lane_hello_decode(struct lane_hello *ret, const uint8_t *body, uint32_t len);
void lane_hello_encode(uint8_t *to, const struct lane_hello *h);
int lane_open_decode(struct lane_open_frame *ret, const uint8_t *body, uint32_t len);
uint32_t lane_open_encode(uint8_t *to, const struct lane_open_frame *o); /* bytes written */
int lane_accept_decode(struct lane_accept *ret, const uint8_t *body, uint32_t len);
void lane_accept_encode(uint8_t *to, const struct lane_accept *a);
int lane_refuse_decode(struct lane_refuse *ret, const uint8_t *body, uint32_t len);
void lane_refuse_encode(uint8_t *to, const struct lane_refuse *r);
int lane_close_decode(struct lane_close_frame *ret, const uint8_t *body, uint32_t len);
void lane_close_encode(uint8_t *to, const struct lane_close_frame *c);
int lane_closed_decode(struct lane_closed *ret, const uint8_t *body, uint32_t len);
void lane_closed_encode(uint8_t *to, const struct lane_closed *c);
int lane_reclaim_decode(struct lane_reclaim *ret, const uint8_t *body, uint32_t len);
void lane_reclaim_encode(uint8_t *to, const struct lane_reclaim *r);
int lane_release_decode(struct lane_release *ret, const uint8_t *body, uint32_t len);
void lane_release_encode(uint8_t *to, const struct lane_release *r);

/* Bodies with a list: the head says how many entries follow, each is read by its number below that. */
int lane_credit_decode(struct lane_credit *ret, unsigned *ret_n, const uint8_t *body, uint32_t len);
void lane_credit_encode(uint8_t *to, const struct lane_credit *c);
void lane_credit_entry_get(struct lane_credit_entry *ret, const uint8_t *body, unsigned i);
void lane_credit_entry_put(uint8_t *body, unsigned i, const struct lane_credit_entry *e);
int lane_sync_decode(uint64_t *ret_session, unsigned *ret_n, const uint8_t *body, uint32_t len);
void lane_sync_encode(uint8_t *to, uint64_t session);
void lane_sync_entry_get(struct lane_sync_entry *ret, const uint8_t *body, unsigned i);
void lane_sync_entry_put(uint8_t *body, unsigned i, const struct lane_sync_entry *e);
int lane_loss_decode(uint64_t *ret_first, unsigned *ret_n, const uint8_t *body, uint32_t len); /* kinds checked too */
void lane_loss_encode(uint8_t *to, uint64_t first);
void lane_gap_get(struct lane_gap *ret, const uint8_t *body, unsigned i);
void lane_gap_put(uint8_t *body, unsigned i, const struct lane_gap *g);

#endif
