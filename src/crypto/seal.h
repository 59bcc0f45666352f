/* Seals on control frames: AES-256-GMAC (NIST SP 800-38D) over the whole frame, its sequence number as the nonce, one key
 * for each direction; and the window that lets each sequence number pass once.
 *
 * A context is made once and keyed for each session; sealing and checking allocate nothing. */
#ifndef MERIDIAN_CRYPTO_SEAL_H
#define MERIDIAN_CRYPTO_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEAL_SIZE 16
#define SEAL_KEY  36 /* bytes of key material: 32 for AES, 4 for the nonce */

struct seal;

int seal_create(struct seal **ret); /* -ENOMEM */
void seal_free(struct seal *s);     /* NULL allowed; wiped */
/* The key of a new session; NULL wipes it: nothing passes then. -EIO */
int seal_key(struct seal *s, const uint8_t key[SEAL_KEY]);
/* A sequence number is used once under a key. -EIO: no key. */
int seal_make(struct seal *s, uint64_t seq, const uint8_t *bytes, size_t len, uint8_t ret[SEAL_SIZE]);
int seal_check(
    struct seal *s, uint64_t seq, const uint8_t *bytes, size_t len, const uint8_t want[SEAL_SIZE]); /* -EPROTO */

/* Sequence numbers that passed: each once, and none older than the window (RFC 4303's, 1024 wide). */
struct seal_window {
    uint64_t next; /* beyond the highest that passed */
    uint64_t seen[16];
};
bool seal_window_pass(
    struct seal_window *w, uint64_t seq); /* after the seal was found good; false: replayed or too old */

#endif
