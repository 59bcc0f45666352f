/* The strict reader of IPFIX messages (ipfix.h). */
#include "base/bytes.h"
#include "wire/ipfix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NTP_TO_UNIX_S 2208988800u

int ipfix_session_create(struct ipfix_session **ret, bool reliable, unsigned templates)
{
    if (!templates || templates > 65536)
        return -EINVAL;
    struct ipfix_session *s = calloc(1, sizeof *s + templates * sizeof s->known[0]);
    if (!s)
        return -ENOMEM;
    s->reliable = reliable;
    s->most = templates;
    *ret = s;
    return 0;
}

void ipfix_session_free(struct ipfix_session *s)
{
    free(s);
}

int ipfix_message_length(const uint8_t *bytes, size_t have)
{
    if (have < IPFIX_HEADER)
        return 0;
    uint16_t len = bytes_get_be16(bytes + 2);
    return bytes_get_be16(bytes) == IPFIX_VERSION && len >= IPFIX_HEADER ? len : -EBADMSG;
}

/* --- templates ------------------------------------------------------------------------------------------------- */

static struct ipfix_known *known_find(struct ipfix_session *s, uint32_t domain, uint16_t id)
{
    for (unsigned i = 0; i < s->most; i++)
        if (s->known[i].id == id && (id == 0 || s->known[i].domain == domain))
            return &s->known[i];
    return NULL;
}

/* A withdrawal of one template, or, by the id of its kind of set, of all of that kind (RFC 7011, 8.1). UDP has none. */
static int withdraw(struct ipfix_session *s, uint32_t domain, uint16_t set_id, uint16_t id)
{
    if (!s->reliable)
        return -EBADMSG;
    bool options = set_id == IPFIX_SET_OPTIONS;
    for (unsigned i = 0; i < s->most; i++) {
        struct ipfix_known *k = &s->known[i];
        if (k->id && k->domain == domain && (k->scope > 0) == options && (id == set_id || k->id == id))
            k->id = 0;
    }
    return id == set_id || id >= IPFIX_SET_DATA ? 0 : -EBADMSG;
}

static int template_keep(struct ipfix_session *s, const struct ipfix_known *t)
{
    struct ipfix_known *k = known_find(s, t->domain, t->id);
    if (k && s->reliable) /* the same again is allowed, another one is not (RFC 7011, 8) */
        return k->n == t->n && k->scope == t->scope && !memcmp(k->field, t->field, t->n * sizeof t->field[0])
                   ? 0
                   : -EBADMSG;
    if (!k)
        k = known_find(s, 0, 0);
    if (!k)
        s->refused++;
    else
        *k = *t;
    return 0;
}

/* One field specifier. Returns its bytes, or -EBADMSG. */
static int field_read(const uint8_t *p, size_t len, struct ipfix_field *ret)
{
    if (len < 4)
        return -EBADMSG;
    uint16_t id = bytes_get_be16(p);
    *ret = (struct ipfix_field){.id = id & 0x7fff, .len = bytes_get_be16(p + 2)};
    if (!ret->id || !ret->len)
        return -EBADMSG;
    if (!(id & 0x8000))
        return 4;
    if (len < 8 || !bytes_get_be32(p + 4))
        return -EBADMSG;
    ret->enterprise = bytes_get_be32(p + 4);
    return 8;
}

/* One template record (or withdrawal) of a template set. Returns its bytes, or -EBADMSG. */
static int template_read(struct ipfix_session *s, uint32_t domain, uint16_t set_id, const uint8_t *p, size_t len)
{
    struct ipfix_known t = {.domain = domain, .id = bytes_get_be16(p), .n = bytes_get_be16(p + 2)};
    struct ipfix_field extra;
    size_t at = 4;
    if (!t.n)
        return withdraw(s, domain, set_id, t.id) ? -EBADMSG : 4;
    if (t.id < IPFIX_SET_DATA)
        return -EBADMSG;
    if (set_id == IPFIX_SET_OPTIONS) {
        if (len < 6)
            return -EBADMSG;
        t.scope = bytes_get_be16(p + 4);
        if (!t.scope || t.scope > t.n)
            return -EBADMSG;
        at = 6;
    }
    for (unsigned i = 0; i < t.n; i++) {
        struct ipfix_field *f = i < IPFIX_FIELDS_MOST ? &t.field[i] : &extra;
        int took = field_read(p + at, len - at, f);
        if (took < 0)
            return took;
        at += (size_t)took;
        t.least += f->len == IPFIX_VARIABLE ? 1 : f->len;
    }
    if (t.n > IPFIX_FIELDS_MOST)
        s->refused++;
    else if (template_keep(s, &t))
        return -EBADMSG;
    return (int)at;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

static int templates_read(struct ipfix_session *s, uint32_t domain, uint16_t set_id, const uint8_t *p, size_t len)
{
    size_t at = 0;
    while (len - at >= 4 && !all_zero(p + at, 4)) {
        int took = template_read(s, domain, set_id, p + at, len - at);
        if (took < 0)
            return took;
        at += (size_t)took;
    }
    return at && len - at < 4 && all_zero(p + at, len - at) ? 0 : -EBADMSG;
}

/* --- data -------------------------------------------------------------------------------------------------------- */

/* Where a value is and how long: returns the bytes it takes with its length, or -EBADMSG. */
static int value_read(const struct ipfix_field *f, const uint8_t *p, size_t len, struct ipfix_value *ret)
{
    size_t before = 0, size = f->len;
    if (f->len == IPFIX_VARIABLE) {
        if (len < 1)
            return -EBADMSG;
        before = 1, size = p[0];
        if (size == 255) {
            if (len < 3)
                return -EBADMSG;
            before = 3, size = bytes_get_be16(p + 1);
        }
    }
    if (len - before < size)
        return -EBADMSG;
    *ret = (struct ipfix_value){.field = f, .bytes = p + before, .len = (uint16_t)size};
    return (int)(before + size);
}

static int data_read(struct ipfix_session *s, const struct ipfix_header *h, const struct ipfix_known *k,
    const uint8_t *p, size_t len, ipfix_record_fn *fn, void *user)
{
    struct ipfix_value value[IPFIX_FIELDS_MOST];
    size_t at = 0;
    while (len - at >= k->least) {
        for (unsigned i = 0; i < k->n; i++) {
            int took = value_read(&k->field[i], p + at, len - at, &value[i]);
            if (took < 0)
                return took;
            at += (size_t)took;
        }
        s->records++;
        fn(user, h, k, value, k->n);
    }
    return at && all_zero(p + at, len - at) ? 0 : -EBADMSG;
}

/* What the sequence number says about messages that did not come; `before`: records that we had read before this one. */
static void sequence_check(struct ipfix_session *s, const struct ipfix_header *h, uint64_t before, bool whole)
{
    unsigned i = 0;
    while (i < s->n_domain && s->domain[i] != h->domain)
        i++;
    if (i == IPFIX_DOMAINS_MOST)
        return;
    if (i == s->n_domain)
        s->domain[s->n_domain++] = h->domain;
    else if ((int32_t)(h->sequence - s->expected[i]) > 0)
        s->missing += h->sequence - s->expected[i];
    s->expected[i] = h->sequence + (uint32_t)(s->records - before);
    if (!whole && i + 1 == s->n_domain) /* we do not know how many records were in it: begin anew */
        s->n_domain--;
    else if (!whole) {
        s->domain[i] = s->domain[s->n_domain - 1];
        s->expected[i] = s->expected[--s->n_domain];
    }
}

static int set_read(struct ipfix_session *s, const struct ipfix_header *h, const uint8_t *p, size_t len, bool *whole,
    ipfix_record_fn *fn, void *user)
{
    uint16_t id = bytes_get_be16(p);
    p += IPFIX_SET_HEADER;
    len -= IPFIX_SET_HEADER;
    if (id == IPFIX_SET_TEMPLATE || id == IPFIX_SET_OPTIONS)
        return templates_read(s, h->domain, id, p, len);
    if (id < IPFIX_SET_DATA)
        return -EBADMSG;
    struct ipfix_known *k = known_find(s, h->domain, id);
    if (k)
        return data_read(s, h, k, p, len, fn, user);
    s->unknown++;
    *whole = false;
    return 0;
}

static int sets_read(struct ipfix_session *s, const struct ipfix_header *h, const uint8_t *bytes, bool *whole,
    ipfix_record_fn *fn, void *user)
{
    size_t at = IPFIX_HEADER, len = h->length;
    while (at < len) {
        if (len - at < IPFIX_SET_HEADER)
            return -EBADMSG;
        size_t set = bytes_get_be16(bytes + at + 2);
        if (set < IPFIX_SET_HEADER || set > len - at)
            return -EBADMSG;
        int rc = set_read(s, h, bytes + at, set, whole, fn, user);
        if (rc)
            return rc;
        at += set;
    }
    return 0;
}

int ipfix_read(struct ipfix_session *s, const uint8_t *bytes, size_t len, ipfix_record_fn *fn, void *user)
{
    int rc = -EBADMSG;
    if (len >= IPFIX_HEADER && ipfix_message_length(bytes, len) == (int)len) {
        struct ipfix_header h = {
            .length = (uint16_t)len,
            .export_s = bytes_get_be32(bytes + 4),
            .sequence = bytes_get_be32(bytes + 8),
            .domain = bytes_get_be32(bytes + 12),
        };
        uint64_t before = s->records;
        bool whole = true;
        rc = sets_read(s, &h, bytes, &whole, fn, user);
        sequence_check(s, &h, before, whole && !rc);
        s->messages++;
    }
    s->malformed += rc != 0;
    return rc;
}

const struct ipfix_value *ipfix_find(const struct ipfix_value *values, unsigned n, uint32_t enterprise, uint16_t id)
{
    for (unsigned i = 0; i < n; i++)
        if (values[i].field->id == id && values[i].field->enterprise == enterprise)
            return &values[i];
    return NULL;
}

uint64_t ipfix_uint(const struct ipfix_value *v)
{
    uint64_t u = 0;
    for (unsigned i = 0; v && v->len <= 8 && i < v->len; i++)
        u = u << 8 | v->bytes[i];
    return u;
}

int64_t ipfix_unix_ns(const struct ipfix_value *v)
{
    uint64_t ntp = v && v->len == 8 ? bytes_get_be64(v->bytes) : 0;
    if (ntp >> 32 < NTP_TO_UNIX_S)
        return 0;
    return (int64_t)(((ntp >> 32) - NTP_TO_UNIX_S) * 1000000000u + ((ntp & 0xffffffffu) * 1000000000u >> 32));
}
