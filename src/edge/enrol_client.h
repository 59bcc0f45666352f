/* One question to the cloud's enrol process and its answer (wire/enrol_message.h), waited for. */
#ifndef MERIDIAN_EDGE_ENROL_CLIENT_H
#define MERIDIAN_EDGE_ENROL_CLIENT_H

#include "base/error.h"
#include "wire/enrol_message.h"

#include <openssl/types.h>
#include <stdint.h>

/* -errno with a sentence: it could not be asked, or it said no (-EPERM; ret->why tells why). */
int enrol_client_ask(struct enrol_reply *ret, SSL_CTX *tls, const char *address, const char *name,
    const struct enrol_request *q, int64_t timeout_ns, struct error *err);

#endif
