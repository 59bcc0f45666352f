/* OpenSSL's error queue as part of a person's sentence (private to this folder). */
#ifndef MERIDIAN_CRYPTO_SSL_ERROR_H
#define MERIDIAN_CRYPTO_SSL_ERROR_H

#include "base/error.h"

#include <openssl/err.h>

/* "what: reason", the queue is emptied; -code. */
static inline int ssl_error(struct error *err, int code, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(e);
    int rc = error_set(err, code, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return rc;
}

#endif
