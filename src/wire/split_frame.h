/* Frames between a hospital's edge and its worker in the cloud (docs/wire-split.md is the same in words).
 *
 * All integers little-endian. A frame is a 24-byte header and at most 65536 bytes of payload:
 *   0 u32 payload length   4 u8 operation   5 u8 flags   6 u16 zero   8 u32 session   12 u32 epoch   16 u64 sequence
 * There are fixed operations only: never graphs, pointers, paths or names that the peer could choose freely. Decoding
 * checks every field and every length and allocates nothing; what it returns points into the caller's bytes. */
#ifndef MERIDIAN_WIRE_SPLIT_FRAME_H
#define MERIDIAN_WIRE_SPLIT_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define SPLIT_VERSION     1u
#define SPLIT_HEADER      24u
#define SPLIT_MAX_PAYLOAD 65536u

enum split_op {
    SPLIT_HELLO = 1,    /* version, capabilities, which connection (interactive, bulk), cut, step, instance */
    SPLIT_INSTALL = 2,  /* the cloud's half of a model, in pieces, resumable, checked by hash */
    SPLIT_OPEN = 3,     /* a session: inference {n_ctx} or training {configuration}; admitted or refused */
    SPLIT_FORWARD = 4,  /* rows of vectors; inference: pos0 implies truncation; training: rows of a micro-batch */
    SPLIT_CANCEL = 5,   /* work of epochs before this one need not be done */
    SPLIT_BACKWARD = 6, /* gradients of a micro-batch's output rows; answered by those of its input rows */
    SPLIT_STEP = 7,     /* asks the gradient norm, then applies the optimiser */
    SPLIT_SAVE = 8,     /* checkpoint, or export as a model that can be served */
    SPLIT_LOAD = 9,     /* go back to a checkpoint */
    SPLIT_WINDOW = 10,  /* how many payload bytes the sender of this may still be sent on this connection */
    SPLIT_GOAWAY = 11,  /* finish what runs, then connect again */
    SPLIT_CLOSE = 12,   /* ends a session; its keys and values are wiped */
    SPLIT_PING = 13,
    SPLIT_ERROR = 14, /* typed, with one sentence; about a request (seq) or the connection (seq 0) */
    SPLIT_OP_END,
};

enum split_flag {
    SPLIT_REPLY = 1, /* answers the request with this sequence number */
    SPLIT_MORE = 2,  /* more frames of this request or reply follow */
};

enum split_codec { SPLIT_F32 = 0, SPLIT_F16 = 1, SPLIT_INT8 = 2 };

struct split_header {
    uint32_t len;
    uint8_t op, flags;
    uint32_t session, epoch;
    uint64_t seq;
};

/* -EAGAIN: fewer than SPLIT_HEADER bytes. -EPROTO: operation, flag, reserved or length not allowed. */
int split_header_decode(struct split_header *ret, const uint8_t *bytes, size_t len);
void split_header_encode(uint8_t to[SPLIT_HEADER], const struct split_header *h);

#endif
