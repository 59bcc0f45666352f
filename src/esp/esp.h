/* ESP (RFC 4303) with AES-256-GCM (RFC 4106) and extended sequence numbers, in place, for the packets of encrypted VPNs
 * (router.md, "xSEC data plane"). The ICV covers the ESP header and the payload only, so transit may rewrite everything in
 * front. SAs come from src/xsec and are known by SPI and sender; each belongs to one VPN, and a packet whose SID leads to
 * another VPN's table does not open.
 *
 *   before   payload                                   (an IP packet; `room` bytes free behind it)
 *   after    SPI 4, sequence 4, IV 8 | payload, padding, pad length, next header (encrypted) | ICV 16
 *
 * Knows bytes, not packets. One esp per thread; nothing allocates per packet. */
#ifndef MERIDIAN_ESP_ESP_H
#define MERIDIAN_ESP_ESP_H

#include "crypto/aead.h"
#include "wire/ip.h"

#define ESP_HEAD      16u /* bytes in front of the payload */
#define ESP_TAIL_MOST 21u /* padding to four, pad length, next header, ICV */
#define ESP_BATCH     64u

struct esp_sa;
struct esp;

struct esp_sa_config {
    uint32_t spi;
    struct ip6 peer; /* the other end: where it leads (sending), who sent it (receiving) */
    uint32_t vrf;    /* the VPN here */
    uint16_t lane;   /* each has sequence numbers and replay window of its own */
    bool sending;
    uint8_t key[32], salt[4];
};

int esp_create(struct esp **ret, uint32_t sas_most); /* -ENOMEM, -EIO */
void esp_free(struct esp *e);                        /* wipes all keys; NULL allowed */
/* From now on nothing is encrypted: the header is written and read, SAs, VPNs and replay windows are looked after, and the
 * trailer counts but is neither written nor read; what is inside says what it is. For packets whose payload is not there: the
 * simulator's (forward_ops.virtual_payload). */
void esp_lengths_only(struct esp *e);
const char *esp_cipher(const struct esp *e); /* aead_name */

/* A sending SA takes the place of the one before with the same peer, VRF and lane: the next packet goes under it. A receiving one
 * stands beside others. -EEXIST: same SPI and sender; -ENOSPC; -ENOMEM. */
int esp_install(struct esp *e, const struct esp_sa_config *c);
/* -ENOENT. For a sending one only if it is still the one in use. */
int esp_remove(struct esp *e, uint32_t spi, const struct ip6 *peer, bool sending);

/* The SA for what goes to `peer` in a VPN's lane, until the next install or remove. NULL: no key, or it is used up: the packet
 * must be dropped, never sent in clear. */
struct esp_sa *esp_sending(struct esp *e, const struct ip6 *peer, uint32_t vrf, uint16_t lane);

enum esp_verdict {
    ESP_GOOD,
    ESP_NO_KEY, /* no such SPI from this sender, or the SA is used up */
    ESP_MALFORMED,
    ESP_NOT_AUTHENTIC,
    ESP_REPLAYED,
    ESP_WRONG_VPN, /* the SA is of another VPN than the SID's */
    ESP_VERDICTS,
};

struct esp_packet {
    struct esp_sa *sa; /* sealing: in. Opening: out, the SA that it came under (telemetry, xsec_heard) */
    uint8_t
        *bytes; /* sealing: the payload; ESP_HEAD free bytes before and ESP_TAIL_MOST behind. Opening: the ESP header */
    uint32_t
        len; /* sealing: of the payload, becomes that of all from the SPI to the ICV; opening: the other way round */
    uint8_t next;           /* next header: sealing in, opening out */
    const struct ip6 *peer; /* opening: outer source */
    uint32_t vrf;           /* opening: of the SID that it was sent to */
    bool first;             /* opening: nothing had come under its SA before */
    enum esp_verdict verdict;
};

/* Sealing moves `bytes` back to the ESP header, opening moves it on to the payload. At most ESP_BATCH packets. */
void esp_seal(struct esp *e, struct esp_packet *p, unsigned n);
void esp_open(struct esp *e, struct esp_packet *p, unsigned n);

/* The whole number of a packet that carries its low half, where `next` is beyond the highest that passed (RFC 4303 A2.2). */
uint64_t esp_sequence_extend(uint32_t low, uint64_t next);

uint32_t esp_sa_spi(const struct esp_sa *sa);
uint64_t esp_sa_packets(const struct esp_sa *sa);
/* Bytes that ESP adds to a payload of `len`. */
static inline uint32_t esp_overhead(uint32_t len)
{
    return ESP_HEAD + (4u - (len + 2u) % 4u) % 4u + 2u + AEAD_TAG;
}

#endif
