/* IPFIX messages (RFC 7011): a writer over the caller's bytes and a strict reader with a bounded store of templates.
 *
 *     Message: version 10, length, export time, sequence, observation domain | Set | Set | …
 *     Set:     id, length | records of one template (id >= 256), or templates (2), or options templates (3) | zeros
 *
 * The writer: ipfix_begin, then templates and records in any order (sets open and close by themselves), then ipfix_end.
 * Room is asked for at the beginning of a record or template; after that putting its fields cannot fail.
 *
 * The reader takes one whole message. What breaks the RFC's rules is -EBADMSG: over TCP the session is to be closed then,
 * over UDP the message is lost; records before the fault have been handed out. Data of templates that we do not know is
 * counted and skipped. Nothing that a peer sends makes it allocate. */
#ifndef MERIDIAN_WIRE_IPFIX_H
#define MERIDIAN_WIRE_IPFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPFIX_PORT 4739

enum { IPFIX_VERSION = 10, IPFIX_HEADER = 16, IPFIX_SET_HEADER = 4, IPFIX_MESSAGE_MOST = 65535 };
enum { IPFIX_SET_TEMPLATE = 2, IPFIX_SET_OPTIONS = 3, IPFIX_SET_DATA = 256 };

#define IPFIX_VARIABLE    0xffffu /* a field's length: told in each record */
#define IPFIX_FIELDS_MOST 48u     /* of a template that the reader takes */

struct ipfix_header {
    uint16_t length;
    uint32_t export_s; /* seconds since 1970, modulo 2^32 */
    uint32_t sequence; /* data records of this domain and session before this message */
    uint32_t domain;
};

struct ipfix_field {
    uint32_t enterprise; /* 0: an element of IANA's */
    uint16_t id;         /* 1 … 32767 */
    uint16_t len;        /* bytes, or IPFIX_VARIABLE */
};

/* --- writing -------------------------------------------------------------------------------------------------- */

struct ipfix_template {
    uint16_t id;    /* 256 … 65535 */
    uint16_t n;     /* fields */
    uint16_t scope; /* how many of them, from the first on, are scope: > 0 makes it an options template */
    const struct ipfix_field *field;
};

struct ipfix_writer {
    uint8_t *bytes;
    size_t cap, len;
    size_t set; /* offset of the set that is open; 0: none */
    uint16_t set_id;
    uint32_t records; /* data records so far: what the next message's sequence grows by */
};

/* cap: at least IPFIX_HEADER, at most IPFIX_MESSAGE_MOST; `bytes` stays the caller's. */
void ipfix_begin(struct ipfix_writer *w, uint8_t *bytes, size_t cap);
int ipfix_put_template(struct ipfix_writer *w, const struct ipfix_template *t); /* -ENOSPC: nothing was written */
/* A data record of `need` bytes at most follows. -ENOSPC. */
int ipfix_record(struct ipfix_writer *w, uint16_t template_id, size_t need);
void ipfix_put(struct ipfix_writer *w, uint64_t value, unsigned len); /* the low len (1 … 8) bytes, in network order */
void ipfix_put_bytes(struct ipfix_writer *w, const void *bytes, size_t len);
void ipfix_put_string(
    struct ipfix_writer *w, const char *s); /* of variable length: 1 + strlen bytes, at most 254 of s */
/* Nanoseconds since 1970 as dateTimeNanoseconds: NTP's 32.32 seconds (RFC 7011, 6.1.10); 0 stays 0: not known. */
void ipfix_put_ntp(struct ipfix_writer *w, int64_t unix_ns);
/* Closes the set and fills in the header. Returns the message's length; 0: it holds nothing. */
size_t ipfix_end(struct ipfix_writer *w, uint32_t export_s, uint32_t sequence, uint32_t domain);

/* --- reading -------------------------------------------------------------------------------------------------- */

struct ipfix_known {
    uint32_t domain;
    uint16_t id; /* 0: free */
    uint16_t n, scope;
    uint32_t least; /* bytes of its shortest record */
    struct ipfix_field field[IPFIX_FIELDS_MOST];
};

struct ipfix_value {
    const struct ipfix_field *field;
    const uint8_t *bytes; /* into the message */
    uint16_t len;
};

#define IPFIX_DOMAINS_MOST 16u /* of one session */

struct ipfix_session {
    bool reliable;     /* TCP: templates hold until withdrawn; UDP: they may be replaced */
    unsigned most;     /* templates kept */
    unsigned n_domain; /* below: the next sequence number expected of each */
    uint32_t domain[IPFIX_DOMAINS_MOST], expected[IPFIX_DOMAINS_MOST];
    uint64_t messages, records, malformed;
    uint64_t unknown; /* data sets of templates that we do not have */
    uint64_t refused; /* templates that did not fit: too many, or too many fields */
    uint64_t missing; /* data records that never came, by the sequence numbers */
    struct ipfix_known known[];
};

int ipfix_session_create(struct ipfix_session **ret, bool reliable, unsigned templates); /* -ENOMEM, -EINVAL */
void ipfix_session_free(struct ipfix_session *s);

/* One record; `n` values in the template's order, valid during the call. */
typedef void ipfix_record_fn(void *user, const struct ipfix_header *header, const struct ipfix_known *of,
    const struct ipfix_value *values, unsigned n);

/* 0, or -EBADMSG (counted). len must be the message's. */
int ipfix_read(struct ipfix_session *s, const uint8_t *bytes, size_t len, ipfix_record_fn *fn, void *user);

/* How long the message is that begins here: 0 while fewer than IPFIX_HEADER bytes are there; -EBADMSG: it is none. */
int ipfix_message_length(const uint8_t *bytes, size_t have);

/* The value of an element, NULL when the record has none. Integers of 1 … 8 bytes (reduced size, RFC 7011, 6.2). */
const struct ipfix_value *ipfix_find(const struct ipfix_value *values, unsigned n, uint32_t enterprise, uint16_t id);
uint64_t ipfix_uint(const struct ipfix_value *v);   /* 0 for NULL or a length that is no integer's */
int64_t ipfix_unix_ns(const struct ipfix_value *v); /* of dateTimeNanoseconds; 0 when it is not 8 bytes or 0 */

#endif
