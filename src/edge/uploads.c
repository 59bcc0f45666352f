#include "edge/uploads_inner.h"

#include "base/buf.h"
#include "base/log.h"
#include "edge/json_put.h"
#include "edge/openai_error.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define VERSION   "1.0.0"
#define LOCKED    423
#define WRONG_SUM 460 /* the protocol's own */

int uploads_open(struct uploads **ret, const struct uploads_config *c, struct error *err)
{
    struct uploads *u = calloc(1, sizeof(*u));
    if (!u)
        return error_set(err, ENOMEM, "no memory");
    u->config = *c;
    u->config.bytes_most = c->bytes_most ? c->bytes_most : 64ull << 30;
    u->config.unfinished_most = c->unfinished_most ? c->unfinished_most : 32;
    u->config.keep_s = c->keep_s ? c->keep_s : 7 * 86400;
    pthread_mutex_init(&u->lock, NULL);
    u->dir = strdup(c->dir);
    int rc = u->dir ? upload_load_all(u, err) : error_set(err, ENOMEM, "no memory");
    if (rc) {
        uploads_close(u);
        return rc;
    }
    *ret = u;
    return 0;
}

void uploads_close(struct uploads *u)
{
    if (!u)
        return;
    for (struct upload *next, *up = u->first; up; up = next) {
        next = up->next;
        free(up);
    }
    pthread_mutex_destroy(&u->lock);
    free(u->dir);
    free(u);
}

/* --- answers --- */

static void refuse(struct http_answer *a, int status, const char *code, const char *text)
{
    struct openai_error e;
    openai_fail(&e, status, code, NULL, "%s", text);
    openai_error_send(&e, a);
}

static void refuse_errno(struct http_answer *a, int rc)
{
    if (rc == -ENOSPC || rc == -EDQUOT)
        refuse(a, 507, "no_space", "There is no room left for uploads here; the administrator must make some.");
    else if (rc == -EBADMSG)
        refuse(a, WRONG_SUM, "wrong_sha256",
            "The whole file's SHA-256 is not the one that was announced; it was thrown away. Send it again from the "
            "start.");
    else
        refuse(a, 500, "server_error", strerror(-rc));
}

static void put_offset(struct http_answer *a, const char *name, uint64_t v)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
    http_answer_header(a, name, text);
}

/* Like the body of POST and each line of GET. */
static int put_upload(struct buf *b, const struct upload *up)
{
    buf_printf(b, "{\"id\":\"%s\",\"location\":\"" UPLOADS_PATH "/%s\",\"filename\":", up->id, up->id);
    json_put_cstr(b, up->name);
    buf_printf(b, ",\"length\":%llu,\"offset\":%llu", (unsigned long long)up->length, (unsigned long long)up->offset);
    for (int i = 0; i < 32 && up->has_sha; i++)
        buf_printf(b, "%s%02x", i ? "" : ",\"sha256\":\"", up->sha[i]);
    return buf_printf(b, "%s}", up->has_sha ? "\"" : "");
}

static void send_json(struct http_answer *a, int status, struct buf *b)
{
    http_answer_header(a, "Cache-Control", "no-store");
    http_answer_send(a, status, "application/json", b->data, b->len);
    buf_done(b);
}

/* --- headers --- */

static bool number(const char *text, uint64_t *ret)
{
    if (!text || !isdigit((unsigned char)*text) || strspn(text, "0123456789") != strlen(text) || strlen(text) > 19)
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

/* "name base64,name base64": the decoded value of one, NUL behind it. False: not there, or not base64. */
static bool metadata(const char *all, const char *name, char *ret, size_t cap)
{
    for (const char *p = all; p && *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " ");
        size_t n = strcspn(p, " ,"), len;
        if (n != strlen(name) || memcmp(p, name, n) || p[n] != ' ')
            continue;
        const char *value = p + n + 1;
        len = strcspn(value, ", ");
        if (len % 4 || len / 4 * 3 >= cap)
            return false;
        int got = EVP_DecodeBlock((unsigned char *)ret, (const unsigned char *)value, (int)len);
        if (got < 0)
            return false;
        for (size_t pad = len; pad && value[pad - 1] == '=' && got; pad--)
            got--;
        ret[got] = 0;
        return strlen(ret) == (size_t)got;
    }
    return false;
}

static bool sha_of(const char *hex, uint8_t ret[32])
{
    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdefABCDEF") != 64)
        return false;
    for (int i = 0; i < 32; i++)
        ret[i] = (uint8_t)strtoul((char[3]){hex[2 * i], hex[2 * i + 1], 0}, NULL, 16);
    return true;
}

/* --- the list; u->lock is held --- */

static struct upload **find(struct uploads *u, const char *id, const char *key)
{
    struct upload **at = &u->first;
    while (*at && (strcmp((*at)->id, id) || strcmp((*at)->key, key)))
        at = &(*at)->next;
    return at;
}

static void forget(struct uploads *u, struct upload **at)
{
    struct upload *up = *at;
    *at = up->next;
    upload_delete(u, up);
    free(up);
}

static uint32_t count(const struct uploads *u, const char *key)
{
    uint32_t n = 0;
    for (const struct upload *up = u->first; up; up = up->next)
        n += strcmp(up->key, key) == 0;
    return n;
}

/* --- requests --- */

static void finished(struct uploads *u, struct upload *up, struct http_answer *a, int rc)
{
    char name[UPLOAD_NAME + 8];
    rc = rc ? rc : upload_finish(u, up, name);
    if (!rc)
        log_info("upload of %llu bytes is whole: %s", (unsigned long long)up->length, name);
    pthread_mutex_lock(&u->lock);
    if (!rc || rc == -EBADMSG)
        forget(u, find(u, up->id, up->key));
    else
        up->busy = false; /* the last piece may be sent again, empty */
    pthread_mutex_unlock(&u->lock);
    if (rc)
        refuse_errno(a, rc);
    else
        http_answer_send(a, 204, "", "", 0);
}

static void create(struct uploads *u, const struct http_request *rq, const char *key, struct http_answer *a)
{
    const char *meta = http_request_header(rq, "Upload-Metadata");
    char value[4 * UPLOAD_NAME];
    struct upload up = {0}, *kept;
    uint8_t random[UPLOAD_ID / 2];
    if (!number(http_request_header(rq, "Upload-Length"), &up.length)) {
        refuse(a, 400, "no_length", "Say the file's size in bytes in the header Upload-Length.");
        return;
    }
    if (up.length > u->config.bytes_most) {
        refuse(a, 413, "too_long", "This file is larger than uploads may be here; see Tus-Max-Size of OPTIONS.");
        return;
    }
    if (!metadata(meta, "filename", value, sizeof(value)) || !upload_name_clean(up.name, value, strlen(value))) {
        refuse(
            a, 400, "no_filename", "Name the file: Upload-Metadata: filename BASE64[,sha256 BASE64 of 64 hex digits].");
        return;
    }
    if (metadata(meta, "sha256", value, sizeof(value)) && !(up.has_sha = sha_of(value, up.sha))) {
        refuse(a, 400, "bad_sha256", "sha256 in Upload-Metadata is not the base64 of 64 hexadecimal digits.");
        return;
    }
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random) || !(kept = malloc(sizeof(*kept)))) {
        refuse_errno(a, -ENOMEM);
        return;
    }
    for (unsigned i = 0; i < sizeof(random); i++)
        snprintf(up.id + 2 * i, 3, "%02x", random[i]);
    snprintf(up.key, sizeof(up.key), "%s", key);
    up.busy = up.length == 0;
    pthread_mutex_lock(&u->lock);
    bool full = count(u, key) >= u->config.unfinished_most;
    int rc = full ? 0 : upload_create(u, &up);
    if (rc || full) {
        upload_delete(u, &up);
        free(kept);
    } else {
        *kept = up;
        kept->next = u->first;
        u->first = kept;
    }
    pthread_mutex_unlock(&u->lock);
    if (full) {
        refuse(a, 429, "too_many_uploads", "Too many uploads of this key are unfinished; finish or delete some.");
    } else if (rc) {
        refuse_errno(a, rc);
    } else if (up.length == 0) {
        finished(u, kept, a, 0);
    } else {
        char location[128];
        struct buf b = {0};
        snprintf(location, sizeof(location), UPLOADS_PATH "/%s", up.id);
        http_answer_header(a, "Location", location);
        put_offset(a, "Upload-Offset", 0);
        put_upload(&b, &up);
        send_json(a, 201, &b);
    }
}

static void list(struct uploads *u, const char *key, struct http_answer *a)
{
    struct buf b = {0};
    bool any = false;
    buf_append_str(&b, "{\"uploads\":[");
    pthread_mutex_lock(&u->lock);
    for (const struct upload *up = u->first; up; up = up->next)
        if (strcmp(up->key, key) == 0) {
            buf_append_str(&b, any ? "," : "");
            put_upload(&b, up);
            any = true;
        }
    pthread_mutex_unlock(&u->lock);
    buf_append_str(&b, "]}\n");
    send_json(a, 200, &b);
}

/* Takes the upload for this request: nobody else writes it meanwhile. NULL: answered. */
static struct upload *take(struct uploads *u, const char *id, const char *key, struct http_answer *a)
{
    pthread_mutex_lock(&u->lock);
    struct upload *up = *find(u, id, key);
    bool busy = up && up->busy;
    if (up)
        up->busy = true;
    pthread_mutex_unlock(&u->lock);
    if (up && !busy)
        return up;
    if (busy)
        refuse(a, LOCKED, "upload_busy", "Another request is writing this upload; ask for its offset and go on there.");
    else
        refuse(a, 404, "unknown_upload",
            "There is no such unfinished upload of this key; it may be finished. Begin a new one.");
    return NULL;
}

static void give_back(struct uploads *u, struct upload *up)
{
    pthread_mutex_lock(&u->lock);
    up->busy = false;
    pthread_mutex_unlock(&u->lock);
}

static void append(struct uploads *u, struct upload *up, const struct http_request *rq, struct http_answer *a)
{
    const char *type = http_request_header(rq, "Content-Type");
    uint64_t offset;
    int status = 0;
    if (!type || strcmp(type, "application/offset+octet-stream") != 0)
        status = 415, refuse(a, status, "wrong_type", "PATCH takes Content-Type: application/offset+octet-stream.");
    else if (!number(http_request_header(rq, "Upload-Offset"), &offset))
        status = 400, refuse(a, status, "no_offset", "Say where these bytes begin in the header Upload-Offset.");
    else if (offset != up->offset)
        status = 409,
        refuse(a, status, "wrong_offset", "These bytes do not begin where the last ones ended; ask with HEAD.");
    else if (rq->len > up->length - up->offset)
        status = 413, refuse(a, status, "too_long", "These bytes go beyond the length that was announced.");
    if (status) {
        give_back(u, up);
        return;
    }
    int rc = rq->len ? upload_append(u, up, rq->body, rq->len) : 0;
    put_offset(a, "Upload-Offset", up->offset);
    if (!rc && up->offset == up->length) {
        finished(u, up, a, 0);
        return;
    }
    give_back(u, up);
    if (rc)
        refuse_errno(a, rc);
    else
        http_answer_send(a, 204, "", "", 0);
}

static void one(
    struct uploads *u, const char *id, const struct http_request *rq, const char *key, struct http_answer *a)
{
    struct upload *up = take(u, id, key, a);
    if (!up)
        return;
    if (strcmp(rq->method, "PATCH") == 0) {
        append(u, up, rq, a);
    } else if (strcmp(rq->method, "DELETE") == 0) {
        pthread_mutex_lock(&u->lock);
        forget(u, find(u, id, key));
        pthread_mutex_unlock(&u->lock);
        http_answer_send(a, 204, "", "", 0);
    } else {
        put_offset(a, "Upload-Offset", up->offset);
        put_offset(a, "Upload-Length", up->length);
        http_answer_header(a, "Cache-Control", "no-store");
        give_back(u, up);
        http_answer_send(a, 200, "", "", 0);
    }
}

void uploads_handle(struct uploads *u, const struct http_request *rq, const char *key, struct http_answer *a)
{
    const char *id = rq->path + strlen(UPLOADS_PATH), *speaks = http_request_header(rq, "Tus-Resumable");
    http_answer_header(a, "Tus-Resumable", VERSION);
    if (strcmp(rq->method, "OPTIONS") == 0) {
        http_answer_header(a, "Tus-Version", VERSION);
        http_answer_header(a, "Tus-Extension", "creation,termination");
        put_offset(a, "Tus-Max-Size", u->config.bytes_most);
        http_answer_send(a, 204, "", "", 0);
    } else if (speaks && strcmp(speaks, VERSION) != 0) {
        http_answer_header(a, "Tus-Version", VERSION);
        refuse(a, 412, "wrong_version", "This server speaks tus " VERSION ".");
    } else if (*id == '/' && id[1]) {
        one(u, id + 1, rq, key, a);
    } else if (strcmp(rq->method, "POST") == 0) {
        create(u, rq, key, a);
    } else {
        list(u, key, a);
    }
}
