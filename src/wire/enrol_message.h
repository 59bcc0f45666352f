/* What an edge and the cloud's enrol process say to each other over TLS: one line of JSON each way, then the end.
 *   {"op":"join","token":"…","csr":"PEM"}        without a client certificate
 *   {"op":"renew","csr":"PEM"}                   with the certificate to be renewed
 *   {"ok":true,"id":"…","chain":"PEM","root":"PEM"}
 *   {"ok":false,"why":"used","text":"one sentence"}
 * Lines are bounded; decoding checks lengths and types and nothing else (PEM is for crypto/pki.h). */
#ifndef MERIDIAN_WIRE_ENROL_MESSAGE_H
#define MERIDIAN_WIRE_ENROL_MESSAGE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

#define ENROL_MAX_LINE  32768u /* with its newline */
#define ENROL_MAX_PEM   12288u
#define ENROL_MAX_TOKEN 128u
#define ENROL_MAX_ID    64u

enum enrol_op { ENROL_JOIN, ENROL_RENEW };

/* Why a request was refused; what the edge's command turns into advice. */
enum enrol_why {
    ENROL_OK,
    ENROL_BAD_REQUEST,
    ENROL_UNKNOWN_TOKEN,
    ENROL_USED_TOKEN,
    ENROL_EXPIRED_TOKEN,
    ENROL_REVOKED,
    ENROL_TOO_OFTEN,
    ENROL_NOT_YOU, /* renewal without a certificate that allows it */
    ENROL_FAILED,  /* the cloud's own trouble */
};

struct enrol_request {
    enum enrol_op op;
    char token[ENROL_MAX_TOKEN]; /* a secret: wipe it */
    char csr[ENROL_MAX_PEM];
};

struct enrol_reply {
    enum enrol_why why;
    char text[512];
    char id[ENROL_MAX_ID];
    char chain[ENROL_MAX_PEM], root[ENROL_MAX_PEM];
};

int enrol_request_encode(struct buf *ret_line, const struct enrol_request *r);
int enrol_reply_encode(struct buf *ret_line, const struct enrol_reply *r);

/* `line` without or with its newline. -EPROTO with a sentence. *ret is written only when good. */
int enrol_request_decode(struct enrol_request *ret, const void *line, size_t len, struct error *err);
int enrol_reply_decode(struct enrol_reply *ret, const void *line, size_t len, struct error *err);

#endif
