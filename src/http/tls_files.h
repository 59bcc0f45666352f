/* The certificate the API and the chat page are served with: files that are given, or a self-signed one made at the
 * first start and kept, whose fingerprint a person compares once. */
#ifndef MERIDIAN_HTTP_TLS_FILES_H
#define MERIDIAN_HTTP_TLS_FILES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct tls_files {
    char *cert_pem, *key_pem; /* owned, NUL-terminated */
    char fingerprint[96];     /* SHA-256 of the certificate, "AB:CD:…" */
    int64_t not_after;        /* seconds since 1970 */
    bool made;                /* generated just now */
};

/* -EINVAL when the two are not a pair, or the certificate has expired. */
int tls_files_load(struct tls_files *ret, const char *cert_file, const char *key_file, struct error *err);

/* DIR/edge-tls.crt and DIR/edge-tls.key, made when missing or within a day of expiry (EC P-256, 825 days; names:
 * localhost, 127.0.0.1, ::1, this host's name, and `name` unless NULL). The key file has mode 0600. */
int tls_files_self_signed(struct tls_files *ret, const char *dir, const char *name, struct error *err);

void tls_files_done(struct tls_files *t); /* wipes the key */

/* "ab:CD…" or without colons -> 32 bytes; false when it is not a SHA-256. */
bool tls_fingerprint_parse(const char *text, uint8_t ret[32]);

#endif
