#include "wire/ipfix.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define NTP_TO_UNIX_S 2208988800u /* 1900 to 1970 */

void ipfix_begin(struct ipfix_writer *w, uint8_t *bytes, size_t cap)
{
    assert(cap >= IPFIX_HEADER && cap <= IPFIX_MESSAGE_MOST);
    *w = (struct ipfix_writer){.bytes = bytes, .cap = cap, .len = IPFIX_HEADER};
}

static void set_close(struct ipfix_writer *w)
{
    if (w->set)
        bytes_put_be16(w->bytes + w->set + 2, (uint16_t)(w->len - w->set));
    w->set = 0;
}

/* Room for `need` more bytes in a set of this id, which is opened if it is not. */
static int room(struct ipfix_writer *w, uint16_t set_id, size_t need)
{
    bool open = w->set && w->set_id == set_id;
    if (w->cap - w->len < need + (open ? 0 : IPFIX_SET_HEADER))
        return -ENOSPC;
    if (open)
        return 0;
    set_close(w);
    w->set = w->len;
    w->set_id = set_id;
    ipfix_put(w, set_id, 2);
    ipfix_put(w, 0, 2);
    return 0;
}

int ipfix_put_template(struct ipfix_writer *w, const struct ipfix_template *t)
{
    assert(t->id >= IPFIX_SET_DATA && t->n && t->scope <= t->n);
    size_t need = t->scope ? 6 : 4;
    for (unsigned i = 0; i < t->n; i++)
        need += t->field[i].enterprise ? 8 : 4;
    if (t->scope && w->cap - w->len >= need + IPFIX_SET_HEADER)
        set_close(w); /* a set for each options template: pmacct 1.7.8 does not find the second one in a set */
    if (room(w, t->scope ? IPFIX_SET_OPTIONS : IPFIX_SET_TEMPLATE, need))
        return -ENOSPC;
    ipfix_put(w, t->id, 2);
    ipfix_put(w, t->n, 2);
    if (t->scope)
        ipfix_put(w, t->scope, 2);
    for (unsigned i = 0; i < t->n; i++) {
        const struct ipfix_field *f = &t->field[i];
        ipfix_put(w, f->id | (f->enterprise ? 0x8000u : 0), 2);
        ipfix_put(w, f->len, 2);
        if (f->enterprise)
            ipfix_put(w, f->enterprise, 4);
    }
    return 0;
}

int ipfix_record(struct ipfix_writer *w, uint16_t template_id, size_t need)
{
    assert(template_id >= IPFIX_SET_DATA);
    int rc = room(w, template_id, need);
    if (!rc)
        w->records++;
    return rc;
}

void ipfix_put(struct ipfix_writer *w, uint64_t value, unsigned len)
{
    assert(len >= 1 && len <= 8 && w->cap - w->len >= len);
    for (unsigned i = 0; i < len; i++)
        w->bytes[w->len + i] = (uint8_t)(value >> 8 * (len - 1 - i));
    w->len += len;
}

void ipfix_put_bytes(struct ipfix_writer *w, const void *bytes, size_t len)
{
    assert(w->cap - w->len >= len);
    if (len)
        memcpy(w->bytes + w->len, bytes, len);
    w->len += len;
}

void ipfix_put_string(struct ipfix_writer *w, const char *s)
{
    size_t len = strnlen(s, 254);
    ipfix_put(w, len, 1);
    ipfix_put_bytes(w, s, len);
}

void ipfix_put_ntp(struct ipfix_writer *w, int64_t unix_ns)
{
    uint64_t s = (uint64_t)unix_ns / 1000000000u, ns = (uint64_t)unix_ns % 1000000000u;
    uint64_t fraction = ((ns << 32) + 999999999u) / 1000000000u; /* rounded up, so that ns come back when cut off */
    ipfix_put(w, unix_ns <= 0 ? 0 : ((s + NTP_TO_UNIX_S) << 32) + fraction, 8);
}

size_t ipfix_end(struct ipfix_writer *w, uint32_t export_s, uint32_t sequence, uint32_t domain)
{
    if (w->len == IPFIX_HEADER)
        return 0;
    set_close(w);
    bytes_put_be16(w->bytes, IPFIX_VERSION);
    bytes_put_be16(w->bytes + 2, (uint16_t)w->len);
    bytes_put_be32(w->bytes + 4, export_s);
    bytes_put_be32(w->bytes + 8, sequence);
    bytes_put_be32(w->bytes + 12, domain);
    return w->len;
}
