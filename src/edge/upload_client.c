#include "edge/upload_client.h"

#include "base/buf.h"
#include "base/clock.h"
#include "crypto/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define PIECE     (1u << 20)
#define TIMEOUT   15000 /* ms without a byte: the line is dead, and asking again tells what arrived */
#define NAME_MOST 200

struct sending {
    struct upload_client *c;
    struct upload_done *done;
    struct error *err;
    const char *path;
    int fd;
    uint64_t length, offset;
    char name[NAME_MOST + 1], sha[65], location[128]; /* location "": none yet */
    bool last_sent;                                   /* the whole file was sent, and the last answer did not come */
    int64_t progress_ns;
};

static bool interrupted(const struct sending *s)
{
    return s->c->interrupted && *s->c->interrupted;
}

static void tell(const struct sending *s, const char *trouble)
{
    if (s->c->at)
        s->c->at(s->c->user, s->offset, s->length, trouble);
}

static int changed(struct sending *s)
{
    return error_set(s->err, EBUSY, "%s changes while it is sent; send it again once it does not", s->path);
}

/* --- the file --- */

static int digest(struct sending *s)
{
    struct sha256 *h = sha256_create();
    uint8_t *bytes = malloc(PIECE), sum[32];
    uint64_t seen = 0;
    int rc = h && bytes ? 0 : error_set(s->err, ENOMEM, "no memory");
    for (ssize_t n = 1; !rc && n > 0; seen += (uint64_t)(n > 0 ? n : 0)) {
        n = pread(s->fd, bytes, PIECE, (off_t)seen);
        if (n > 0)
            sha256_add(h, bytes, (size_t)n);
        if (n < 0)
            rc = error_set(s->err, errno, "%s: %s", s->path, strerror(errno));
        if (interrupted(s))
            rc = -EINTR;
    }
    if (!rc && seen != s->length)
        rc = changed(s);
    if (rc || !h)
        sha256_free(h);
    else
        rc = sha256_end(h, sum) ? error_set(s->err, EIO, "no SHA-256") : 0;
    for (int i = 0; i < 32 && !rc; i++)
        snprintf(s->sha + 2 * i, 3, "%02x", sum[i]);
    free(bytes);
    return rc;
}

static int open_file(struct sending *s)
{
    struct stat st;
    const char *slash = strrchr(s->path, '/');
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &st))
        return error_set(s->err, errno, "%s: %s", s->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(s->err, EINVAL, "%s is no file; give files one by one, or a folder as a .tar", s->path);
    s->length = (uint64_t)st.st_size;
    snprintf(s->name, sizeof(s->name), "%s", slash ? slash + 1 : s->path);
    return digest(s);
}

/* --- requests --- */

/* 0: *ret_status is the server's; -EINTR; others: the line is broken (err says how). */
static int ask(struct sending *s, const char *method, const char *path, const char *const *headers, const void *body,
    size_t len, struct buf *ret, int *ret_status)
{
    struct http_client http = s->c->http;
    http.timeout_ms = http.timeout_ms ? http.timeout_ms : TIMEOUT;
    ret->len = 0;
    struct http_client_request rq = {.method = method,
        .path = path,
        .body = body,
        .len = len,
        .headers = headers,
        .type = "application/offset+octet-stream",
        .ret_body = ret};
    int rc = http_client_do(&http, &rq, ret_status, s->err);
    return interrupted(s) ? -EINTR : rc;
}

/* What the server says of it, for people. */
static int refused(struct sending *s, int status, const struct buf *body, int code)
{
    yyjson_doc *d = body->len ? yyjson_read((const char *)body->data, body->len, 0) : NULL;
    const char *text = yyjson_get_str(yyjson_ptr_get(yyjson_doc_get_root(d), "/error/message"));
    int rc = error_set(s->err, code, "%s: the server refused with status %d: %s", s->name, status,
        text ? text : "it did not say why; is this address an edge that takes uploads?");
    yyjson_doc_free(d);
    return rc;
}

static bool same(yyjson_val *v, const struct sending *s)
{
    return yyjson_equals_str(yyjson_obj_get(v, "filename"), s->name) &&
           yyjson_equals_str(yyjson_obj_get(v, "sha256"), s->sha) &&
           yyjson_get_uint(yyjson_obj_get(v, "length")) == s->length;
}

static bool take_place(struct sending *s, yyjson_val *v)
{
    const char *location = yyjson_get_str(yyjson_obj_get(v, "location"));
    uint64_t offset = yyjson_get_uint(yyjson_obj_get(v, "offset"));
    if (!location || strlen(location) >= sizeof(s->location) || location[0] != '/' || offset > s->length)
        return false;
    strcpy(s->location, location);
    s->offset = offset;
    return true;
}

/* Where it stands: among those that are not finished, or nowhere (location ""). */
static int look(struct sending *s)
{
    struct buf body = {0};
    int status, rc = ask(s, "GET", "/v1/uploads", NULL, NULL, 0, &body, &status);
    if (!rc && status != 200)
        rc = refused(s, status, &body, status >= 500 ? EAGAIN : EACCES);
    yyjson_doc *d = rc ? NULL : yyjson_read((const char *)body.data, body.len, 0);
    size_t i, n;
    yyjson_val *v;
    s->location[0] = 0;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(d), "uploads"), i, n, v)
    {
        if (same(v, s) && take_place(s, v))
            break;
    }
    yyjson_doc_free(d);
    buf_done(&body);
    return rc;
}

static int encode(struct buf *b, const char *name, const char *value)
{
    size_t len = strlen(value);
    char text[4 * (NAME_MOST / 3 + 2)];
    if (len > NAME_MOST)
        return -ENAMETOOLONG;
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)value, (int)len);
    return buf_printf(b, "%s%s %s", b->len ? "," : "", name, text);
}

static int begin(struct sending *s)
{
    struct buf body = {0}, meta = {0};
    char length[24];
    snprintf(length, sizeof(length), "%llu", (unsigned long long)s->length);
    int status = 0, rc = encode(&meta, "filename", s->name);
    rc = rc ? rc : encode(&meta, "sha256", s->sha);
    const char *headers[] = {
        "Tus-Resumable", "1.0.0", "Upload-Length", length, "Upload-Metadata", rc ? "" : buf_str(&meta), NULL};
    rc = rc ? error_set(s->err, -rc, "no memory") : ask(s, "POST", "/v1/uploads", headers, "", 0, &body, &status);
    if (!rc && status == 204) {
        s->offset = s->length; /* an empty file is whole at once */
        s->last_sent = true;
    } else if (!rc && status == 201) {
        yyjson_doc *d = yyjson_read((const char *)body.data, body.len, 0);
        rc =
            take_place(s, yyjson_doc_get_root(d)) ? 0 : error_set(s->err, EPROTO, "the server's answer makes no sense");
        yyjson_doc_free(d);
    } else if (!rc) {
        rc = refused(s, status, &body, status >= 500 && status != 507 ? EAGAIN : EACCES);
    }
    buf_done(&body);
    buf_done(&meta);
    return rc;
}

/* 1: whole; 0: go on (or look again: location ""). */
static int piece(struct sending *s, uint8_t *bytes, size_t cap)
{
    struct buf body = {0};
    char offset[24];
    size_t len = s->length - s->offset < cap ? (size_t)(s->length - s->offset) : cap;
    ssize_t got = pread(s->fd, bytes, len, (off_t)s->offset);
    if (got != (ssize_t)len)
        return got < 0 ? error_set(s->err, errno, "%s: %s", s->path, strerror(errno)) : changed(s);
    snprintf(offset, sizeof(offset), "%llu", (unsigned long long)s->offset);
    const char *headers[] = {"Tus-Resumable", "1.0.0", "Upload-Offset", offset, NULL};
    int status;
    s->last_sent = s->offset + len == s->length;
    int rc = ask(s, "PATCH", s->location, headers, bytes, len, &body, &status);
    if (!rc && status == 204) {
        s->offset += len;
        s->progress_ns = clock_now_ns();
        rc = s->offset == s->length;
    } else if (!rc && (status == 409 || status == 423 || status == 404)) {
        s->last_sent = s->last_sent && status == 404;
        s->location[0] = 0;
        rc = status == 423 ? error_set(s->err, EAGAIN, "another request is writing it") : 0;
    } else if (!rc) {
        rc = status == 460 ? changed(s) : refused(s, status, &body, status >= 500 && status != 507 ? EAGAIN : EACCES);
    }
    buf_done(&body);
    return rc;
}

/* --- all of it --- */

static bool passes(int rc)
{
    return rc == -EINTR || rc == -EACCES || rc == -EINVAL || rc == -EBUSY || rc == -ENOMEM || rc == -ENAMETOOLONG;
}

/* One way from wherever it stands; returns when something breaks, or 1 when it is whole. */
static int go_on(struct sending *s, uint8_t *bytes, size_t cap, bool first)
{
    int rc = look(s);
    if (!rc && !s->location[0] && s->last_sent)
        return 1; /* the last piece arrived, only its answer was lost */
    if (!rc && !s->location[0])
        rc = begin(s);
    if (!rc && first)
        s->done->resumed_from = s->offset;
    if (!rc && s->offset == s->length && s->last_sent)
        return 1;
    while (!rc && s->location[0]) {
        tell(s, NULL);
        rc = piece(s, bytes, cap);
    }
    return rc;
}

static void wait_before(struct sending *s, unsigned tries)
{
    int64_t until = clock_now_ns() + (tries < 5 ? 200 * NS_PER_MS << tries : 5 * NS_PER_S);
    while (clock_now_ns() < until && !interrupted(s))
        nanosleep(&(struct timespec){0, 50000000}, NULL);
}

int upload_client_send(struct upload_client *c, const char *path, struct upload_done *ret, struct error *err)
{
    struct error own;
    struct sending s = {.c = c, .done = ret, .err = err ? err : &own, .path = path, .fd = -1};
    size_t cap = c->piece ? c->piece : PIECE;
    int64_t patience = (c->patience_s ? c->patience_s : 600) * NS_PER_S;
    uint8_t *bytes = malloc(cap);
    *ret = (struct upload_done){0};
    int rc = bytes ? open_file(&s) : error_set(err, ENOMEM, "no memory");
    s.progress_ns = clock_now_ns();
    bool known = false;
    for (unsigned tries = 0; !rc;) {
        uint64_t before = s.offset;
        rc = go_on(&s, bytes, cap, !known);
        known = known || s.location[0];
        tries = s.offset > before ? 0 : tries + 1;
        if (rc == 1 || passes(rc))
            break;
        if (rc && clock_now_ns() - s.progress_ns > patience)
            break;
        ret->breaks += rc != 0;
        if (rc) {
            tell(&s, s.err->text);
            wait_before(&s, tries);
        }
        rc = interrupted(&s) ? -EINTR : 0;
    }
    ret->bytes = s.length;
    if (s.fd >= 0)
        close(s.fd);
    free(bytes);
    return rc == 1 ? 0 : rc;
}
