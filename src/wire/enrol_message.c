#include "wire/enrol_message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static const char *const why_names[] = {
    [ENROL_OK] = "ok",
    [ENROL_BAD_REQUEST] = "bad-request",
    [ENROL_UNKNOWN_TOKEN] = "unknown-token",
    [ENROL_USED_TOKEN] = "used-token",
    [ENROL_EXPIRED_TOKEN] = "expired-token",
    [ENROL_REVOKED] = "revoked",
    [ENROL_TOO_OFTEN] = "too-often",
    [ENROL_NOT_YOU] = "not-you",
    [ENROL_FAILED] = "failed",
};

static int finish(struct buf *ret, yyjson_mut_doc *doc)
{
    size_t len = 0;
    char *text = doc ? yyjson_mut_write(doc, 0, &len) : NULL;
    int rc = !text ? -ENOMEM : buf_append(ret, text, len);
    if (!rc)
        rc = buf_append(ret, "\n", 1);
    if (text)
        explicit_bzero(text, len);
    free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

static yyjson_mut_doc *begin(yyjson_mut_val **ret_root)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    if (doc) {
        *ret_root = yyjson_mut_obj(doc);
        yyjson_mut_doc_set_root(doc, *ret_root);
    }
    return doc;
}

int enrol_request_encode(struct buf *ret_line, const struct enrol_request *r)
{
    yyjson_mut_val *o;
    yyjson_mut_doc *doc = begin(&o);
    if (!doc)
        return -ENOMEM;
    yyjson_mut_obj_add_str(doc, o, "op", r->op == ENROL_JOIN ? "join" : "renew");
    if (r->op == ENROL_JOIN)
        yyjson_mut_obj_add_str(doc, o, "token", r->token);
    yyjson_mut_obj_add_str(doc, o, "csr", r->csr);
    return finish(ret_line, doc);
}

int enrol_reply_encode(struct buf *ret_line, const struct enrol_reply *r)
{
    yyjson_mut_val *o;
    yyjson_mut_doc *doc = begin(&o);
    if (!doc)
        return -ENOMEM;
    yyjson_mut_obj_add_bool(doc, o, "ok", r->why == ENROL_OK);
    if (r->why == ENROL_OK) {
        yyjson_mut_obj_add_str(doc, o, "id", r->id);
        yyjson_mut_obj_add_str(doc, o, "chain", r->chain);
        yyjson_mut_obj_add_str(doc, o, "root", r->root);
    } else {
        yyjson_mut_obj_add_str(doc, o, "why", why_names[r->why]);
        yyjson_mut_obj_add_str(doc, o, "text", r->text);
    }
    return finish(ret_line, doc);
}

/* A string member that fits, without NUL inside. */
static bool get(char *to, size_t cap, yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    size_t len = yyjson_get_len(v);
    if (!yyjson_is_str(v) || len >= cap || strlen(yyjson_get_str(v)) != len)
        return false;
    memcpy(to, yyjson_get_str(v), len + 1);
    return true;
}

static yyjson_doc *parse(const void *line, size_t len)
{
    if (len > ENROL_MAX_LINE)
        return NULL;
    return yyjson_read(line, len, 0);
}

int enrol_request_decode(struct enrol_request *ret, const void *line, size_t len, struct error *err)
{
    struct enrol_request r = {0};
    char op[8];
    yyjson_doc *doc = parse(line, len);
    yyjson_val *o = yyjson_doc_get_root(doc);
    bool ok = get(op, sizeof(op), o, "op") && get(r.csr, sizeof(r.csr), o, "csr");
    r.op = ok && !strcmp(op, "join") ? ENROL_JOIN : ENROL_RENEW;
    if (ok && r.op == ENROL_JOIN)
        ok = get(r.token, sizeof(r.token), o, "token");
    else if (ok)
        ok = !strcmp(op, "renew");
    yyjson_doc_free(doc);
    if (ok)
        *ret = r;
    explicit_bzero(r.token, sizeof(r.token));
    return ok ? 0 : error_set(err, EPROTO, "this is neither a request to join nor to renew");
}

int enrol_reply_decode(struct enrol_reply *ret, const void *line, size_t len, struct error *err)
{
    struct enrol_reply r = {.why = ENROL_FAILED};
    char why[24] = "";
    yyjson_doc *doc = parse(line, len);
    yyjson_val *o = yyjson_doc_get_root(doc), *good = yyjson_obj_get(o, "ok");
    bool ok = yyjson_is_bool(good);
    if (ok && yyjson_get_bool(good)) {
        r.why = ENROL_OK;
        ok = get(r.id, sizeof(r.id), o, "id") && get(r.chain, sizeof(r.chain), o, "chain") &&
             get(r.root, sizeof(r.root), o, "root");
    } else if (ok) {
        ok = get(why, sizeof(why), o, "why") && get(r.text, sizeof(r.text), o, "text");
        for (int i = ENROL_BAD_REQUEST; i <= ENROL_FAILED; i++)
            if (!strcmp(why, why_names[i]))
                r.why = (enum enrol_why)i;
    }
    yyjson_doc_free(doc);
    if (!ok)
        return error_set(err, EPROTO, "the cloud's answer is not one that this version understands");
    *ret = r;
    return 0;
}
