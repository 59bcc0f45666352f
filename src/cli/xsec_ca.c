#include "cli/xsec_ca.h"

#include "base/hex.h"
#include "os/file.h"
#include "router/identity.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEDGER_MOST (64u << 20)
#define DAY_S       86400

static char *place(char to[4096], const char *dir, const char *file)
{
    snprintf(to, 4096, "%.4000s/%s", dir, file);
    return to;
}

int xsec_ca_init(const char *dir, struct error *err)
{
    char path[4096];
    uint8_t seed[32];
    bool made;
    struct stat st;
    int rc = file_make_dir(dir, 0700, err);
    if (rc)
        return rc;
    if (!stat(place(path, dir, "ca.key"), &st))
        return error_set(err, EEXIST,
            "%s: there is a CA already; its key is never replaced, since every router's kit hangs on it", path);
    rc = identity_load(path, seed, &made, err);
    explicit_bzero(seed, sizeof seed);
    return rc;
}

/* --- open ------------------------------------------------------------------------------------------------------------- */

static int open_key(struct xsec_ca *ca, struct error *err)
{
    char path[4096];
    uint8_t seed[32];
    bool made;
    ca->lock = open(place(path, ca->dir, "ca.key"), O_RDONLY | O_CLOEXEC);
    if (ca->lock < 0)
        return error_set(err, errno, "%s: %s; `meridian xsec ca init %s` makes a CA", path, strerror(errno), ca->dir);
    if (flock(ca->lock, LOCK_EX | LOCK_NB))
        return error_set(err, EBUSY, "%s: another command is using this CA", ca->dir);
    int rc = identity_load(path, seed, &made, err);
    if (rc == 0 && ed25519_create(&ca->key, seed))
        rc = error_set(err, ENOMEM, "not enough memory for a key");
    explicit_bzero(seed, sizeof seed);
    return rc;
}

static bool read_member(struct xsec_ca_member *m, const char *line)
{
    char pe[64], key[65];
    int end = 0;
    if (sscanf(line, "%" SCNu64 " %31s %63s %64s %" SCNd64 " %" SCNd64 "%n", &m->serial, m->name, pe, key,
            &m->not_before, &m->not_after, &end) != 6 ||
        line[end] != 0 || !xsec_name_good(m->name) || ip6_parse(&m->pe, pe, NULL) || strlen(key) != 64)
        return false;
    for (int i = 0; i < 32; i++)
        if (sscanf(key + 2 * i, "%2hhx", &m->key[i]) != 1)
            return false;
    return true;
}

static int open_members(struct xsec_ca *ca, struct error *err)
{
    char path[4096], *save = NULL;
    struct buf text = {0};
    int rc = file_read(&text, place(path, ca->dir, "members"), LEDGER_MOST, err);
    if (rc == -ENOENT)
        return 0;
    size_t lines = 1;
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    ca->members = rc ? NULL : calloc(lines, sizeof *ca->members);
    if (rc == 0 && (!ca->members || !buf_str(&text)))
        rc = error_set(err, ENOMEM, "not enough memory for %s", path);
    for (char *line = rc || !text.len ? NULL : strtok_r((char *)text.data, "\n", &save); line && rc == 0;
        line = strtok_r(NULL, "\n", &save))
        if (!read_member(&ca->members[ca->n_members++], line))
            rc = error_set(
                err, EINVAL, "%s:%zu: this line is none that `meridian xsec enrol` wrote", path, ca->n_members);
    buf_done(&text);
    return rc;
}

static int open_list(struct xsec_ca *ca, struct error *err)
{
    char path[4096];
    uint8_t bytes[XSEC_FILE_MOST];
    struct buf text = {0};
    enum xsec_file kind;
    size_t len;
    int rc = file_read(&text, place(path, ca->dir, "revoked"), 1 << 16, err);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0 && (xsec_text_decode(&kind, bytes, &len, buf_str(&text), text.len) || kind != XSEC_FILE_LIST ||
                       xsec_revocations_read(&ca->list, ed25519_public(ca->key), bytes, len)))
        rc = error_set(err, EINVAL, "%s: this is no revocation list of this CA", path);
    if (rc == 0) {
        memcpy(ca->list_bytes, bytes, len);
        ca->list_len = len;
    }
    buf_done(&text);
    return rc;
}

int xsec_ca_open(struct xsec_ca *ret, const char *dir, struct error *err)
{
    memset(ret, 0, sizeof *ret);
    ret->lock = -1;
    if (snprintf(ret->dir, sizeof ret->dir, "%s", dir) >= (int)sizeof ret->dir)
        return error_set(err, ENAMETOOLONG, "%.60s…: this path is too long", dir);
    int rc = open_key(ret, err);
    rc = rc ? rc : open_members(ret, err);
    rc = rc ? rc : open_list(ret, err);
    if (rc)
        xsec_ca_close(ret);
    return rc;
}

void xsec_ca_close(struct xsec_ca *ca)
{
    ed25519_free(ca->key);
    free(ca->members);
    if (ca->lock >= 0)
        close(ca->lock);
    memset(ca, 0, sizeof *ca);
    ca->lock = -1;
}

/* --- enrol ------------------------------------------------------------------------------------------------------------- */

static bool counts(const struct xsec_ca *ca, const struct xsec_ca_member *m, int64_t now_s)
{
    return m->not_after >= now_s && !xsec_revoked(&ca->list, m->serial);
}

static int check_request(const struct xsec_ca *ca, const struct xsec_request *q, int64_t now_s, struct error *err)
{
    if (xsec_request_check(q))
        return error_set(err, EINVAL, "this request was changed after its router signed it: ask for a new one");
    for (size_t i = 0; i < ca->n_members; i++) {
        const struct xsec_ca_member *m = &ca->members[i];
        bool name = strcmp(m->name, q->name) == 0, pe = ip6_equal(&m->pe, &q->pe);
        if (m->not_before > now_s)
            return error_set(
                err, EINVAL, "this clock is behind: it was later when %s was enrolled; set it right", m->name);
        if (!counts(ca, m, now_s) || !(name || pe))
            continue;
        if (name && pe && memcmp(m->key, q->key, 32) == 0)
            continue; /* renewed */
        char text[IP_TEXT_SIZE];
        return error_set(err, EEXIST,
            "%s is enrolled already, as %s with %s key; `meridian xsec revoke %s` first if that router is gone",
            m->name, ip6_print(text, &m->pe), memcmp(m->key, q->key, 32) == 0 ? "this" : "another", m->name);
    }
    return 0;
}

/* Above all before, and above what a ledger that was lost or restored from an old copy may have held. */
static uint64_t next_serial(const struct xsec_ca *ca, int64_t now_s)
{
    uint64_t serial = (uint64_t)now_s;
    for (size_t i = 0; i < ca->n_members; i++)
        if (ca->members[i].serial >= serial)
            serial = ca->members[i].serial + 1;
    return serial;
}

/* The whole ledger anew: a power cut leaves it as it was, or with the new line. */
static int append_member(const struct xsec_ca *ca, const struct xsec_certificate *c, struct error *err)
{
    char path[4096], pe[IP_TEXT_SIZE], key[65];
    struct buf text = {0};
    int rc = file_read(&text, place(path, ca->dir, "members"), LEDGER_MOST, err);
    if (rc == -ENOENT)
        rc = 0;
    hex_put(key, c->key, 32);
    if (rc == 0 && buf_printf(&text, "%" PRIu64 " %s %s %s %" PRId64 " %" PRId64 "\n", c->serial, c->name,
                       ip6_print(pe, &c->pe), key, c->not_before, c->not_after))
        rc = error_set(err, ENOMEM, "not enough memory for %s", path);
    if (rc == 0)
        rc = file_write(path, text.data, text.len, 0600, err);
    buf_done(&text);
    return rc;
}

int xsec_ca_enrol(struct xsec_ca *ca, const struct xsec_request *q, const struct xsec_ca_wish *w, int64_t now_s,
    struct xsec_kit *ret, struct error *err)
{
    struct xsec_kit k = {.list_len = (uint16_t)ca->list_len};
    struct xsec_certificate *c = &k.certificate;
    int rc = check_request(ca, q, now_s, err);
    if (rc)
        return rc;
    *c = (struct xsec_certificate){.serial = next_serial(ca, now_s),
        .pe = q->pe,
        .not_before = now_s,
        .not_after = now_s + w->days * DAY_S,
        .n_vpns = (uint8_t)w->n_vpns};
    memcpy(c->key, q->key, 32);
    memcpy(c->name, q->name, sizeof c->name);
    if (w->n_vpns)
        memcpy(c->vpn, w->vpns, 8u * w->n_vpns);
    memcpy(k.ca, ed25519_public(ca->key), 32);
    memcpy(k.list, ca->list_bytes, ca->list_len);
    if (xsec_certificate_sign(c, ca->key))
        return error_set(err, EIO, "the certificate could not be signed");
    rc = append_member(ca, c, err);
    if (rc == 0)
        *ret = k;
    return rc;
}

/* --- revoke ------------------------------------------------------------------------------------------------------------- */

static bool named(const struct xsec_ca_member *m, const char *who)
{
    char serial[24];
    snprintf(serial, sizeof serial, "%" PRIu64, m->serial);
    return strcmp(m->name, who) == 0 || strcmp(serial, who) == 0;
}

static int rising(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

/* What is on the list and has expired meanwhile need not be there any more. */
static void forget_expired(const struct xsec_ca *ca, struct xsec_revocations *r, int64_t now_s)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < r->n; i++) {
        bool expired = false;
        for (size_t k = 0; k < ca->n_members; k++)
            expired |= ca->members[k].serial == r->serial[i] && ca->members[k].not_after + 2 * XSEC_SKEW_S < now_s;
        if (!expired)
            r->serial[kept++] = r->serial[i];
    }
    r->n = (uint16_t)kept;
}

static int write_list(struct xsec_ca *ca, struct xsec_revocations *r, struct error *err)
{
    char path[4096];
    uint8_t bytes[XSEC_REVOCATIONS_MOST];
    struct buf text = {0};
    if (xsec_revocations_sign(r, ca->key))
        return error_set(err, EIO, "the list could not be signed");
    size_t len = xsec_revocations_encode(r, bytes);
    int rc = xsec_text_encode(&text, XSEC_FILE_LIST, bytes, len);
    rc = rc ? error_set(err, -rc, "not enough memory")
            : file_write(place(path, ca->dir, "revoked"), text.data, text.len, 0644, err);
    buf_done(&text);
    if (rc)
        return rc;
    ca->list = *r;
    memcpy(ca->list_bytes, bytes, len);
    ca->list_len = len;
    return 0;
}

int xsec_ca_revoke(struct xsec_ca *ca, const char *who, int64_t now_s, unsigned *ret_n, struct error *err)
{
    struct xsec_revocations r = ca->list;
    unsigned known = 0, ended = 0;
    forget_expired(ca, &r, now_s);
    for (size_t i = 0; i < ca->n_members; i++) {
        const struct xsec_ca_member *m = &ca->members[i];
        if (!named(m, who))
            continue;
        known++;
        if (!counts(ca, m, now_s))
            continue;
        if (r.n == XSEC_REVOKED_MOST)
            return error_set(err, ENOSPC,
                "a list holds %u certificates and is full until one of them expires; let certificates live shorter "
                "(`enrol --days`)",
                XSEC_REVOKED_MOST);
        r.serial[r.n++] = m->serial;
        ended++;
    }
    if (!known)
        return error_set(err, ENOENT, "%s: nobody of this name or serial number was enrolled here", who);
    if (!ended)
        return error_set(err, EALREADY, "%s: revoked or expired already", who);
    qsort(r.serial, r.n, sizeof *r.serial, rising);
    r.number = r.number + 1 > (uint64_t)now_s ? r.number + 1 : (uint64_t)now_s;
    r.issued = now_s;
    int rc = write_list(ca, &r, err);
    if (rc == 0)
        *ret_n = ended;
    return rc;
}
