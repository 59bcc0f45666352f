/* memif 2.0, the shared-memory packet interface of VPP, DPDK and others: the messages of its control socket and the layout
 * of its rings.
 *
 * A client makes the shared memory and describes it to the server: HELLO →, ← INIT, ← ADD_REGION…, ← ADD_RING…, ← CONNECT,
 * CONNECTED →; each message of the client is acknowledged before the next one. Messages are 128 bytes of one SEQPACKET,
 * host byte order (both ends are one machine; we write little-endian as all machines that we build for).
 *
 * In both directions the client owns the memory. A ring's `head` and `tail` run freely modulo 2^16. In the ring from client
 * to server the client advances head (frames written), the server tail (frames read). In the ring from server to client the
 * client advances head (empty buffers offered), the server tail (frames written). */
#ifndef MERIDIAN_WIRE_MEMIF_H
#define MERIDIAN_WIRE_MEMIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMIF_MESSAGE_SIZE 128
#define MEMIF_VERSION      0x0200u
#define MEMIF_COOKIE       0x3E31F20u
#define MEMIF_NAME         32
#define MEMIF_SECRET       24
#define MEMIF_RING_LOG2    14 /* most slots: 2^14 */

enum memif_type {
    MEMIF_NONE,
    MEMIF_ACK,
    MEMIF_HELLO,
    MEMIF_INIT,
    MEMIF_ADD_REGION,
    MEMIF_ADD_RING,
    MEMIF_CONNECT,
    MEMIF_CONNECTED,
    MEMIF_DISCONNECT,
};

enum { MEMIF_MODE_ETHERNET = 0 };
enum { MEMIF_RING_TO_SERVER = 1 }; /* flags of ADD_RING */
enum { MEMIF_DESC_NEXT = 1 };      /* the frame goes on in the next descriptor */
enum { MEMIF_RING_MASKED = 1 };    /* the reader polls: no interrupt wanted */

struct memif_message {
    enum memif_type type;
    union {
        struct {
            char name[MEMIF_NAME + 1];
            uint16_t version_least, version_most, region_most, to_client_most, to_server_most;
            uint8_t log2_most;
        } hello;
        struct {
            uint16_t version;
            uint32_t id;
            uint8_t mode;
            char secret[MEMIF_SECRET + 1], name[MEMIF_NAME + 1];
        } init;
        struct {
            uint16_t index;
            uint64_t size;
        } region;
        struct {
            uint16_t flags, index, region;
            uint32_t offset; /* of the ring in the region */
            uint8_t log2;
            uint16_t private_size;
        } ring;
        struct {
            char name[MEMIF_NAME + 1];
        } connect; /* and CONNECTED */
        struct {
            uint32_t code;
            char reason[97];
        } disconnect;
    };
};

void memif_encode(uint8_t ret[MEMIF_MESSAGE_SIZE], const struct memif_message *m);
/* 0; -EPROTO: not 128 bytes or of no known type. Texts are cut at their first NUL and always end with one. */
int memif_decode(struct memif_message *ret, const uint8_t *bytes, size_t len);

/* --- shared memory: written by both ends, so every value read from it is checked before use --- */

struct memif_desc {
    uint16_t flags, region;
    uint32_t length, offset, metadata;
};

struct memif_ring {
    _Alignas(64) uint32_t cookie;
    uint16_t flags;
    uint16_t head;
    _Alignas(64) uint16_t tail;
    _Alignas(64) struct memif_desc desc[];
};
_Static_assert(sizeof(struct memif_desc) == 16 && sizeof(struct memif_ring) == 128, "the layout of memif 2.0");

#endif
