/* Opens the TLS 1.3 records of one connection with secrets from a key log (RFC 8446; the log's form is NSS's).
 *
 * Cipher suites: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305. Key updates are followed. What cannot be opened is counted,
 * never passed on: after the first such record of a direction all that follow are counted as sealed. */
#ifndef MERIDIAN_LEAK_TLS_RECORDS_H
#define MERIDIAN_LEAK_TLS_RECORDS_H

#include <stddef.h>
#include <stdint.h>

struct tls_keys;                                  /* a key log */
struct tls_keys *tls_keys_read(const char *path); /* NULL with a sentence on stderr */
void tls_keys_free(struct tls_keys *k);

struct tls_counts {
    uint64_t plain;    /* application data, opened */
    uint64_t clear;    /* handshake in the clear, alerts, change cipher spec: bytes with their headers */
    uint64_t inner;    /* handshake and alerts that were sealed, opened */
    uint64_t overhead; /* headers, tags and padding of opened records */
    uint64_t sealed;   /* bytes that could not be opened, with their headers */
    uint64_t updates;  /* key updates */
};

struct tls_connection;
/* `plain` is called with application data in order; direction as in tcp_streams.h. */
struct tls_connection *tls_connection_create(const struct tls_keys *keys, struct tls_counts *counts,
    void (*plain)(void *user, int direction, const uint8_t *bytes, size_t len), void *user);
void tls_connection_feed(struct tls_connection *c, int direction, const uint8_t *bytes, size_t len);
size_t tls_connection_rest(const struct tls_connection *c); /* bytes of records that are not whole yet */
void tls_connection_free(struct tls_connection *c);

#endif
