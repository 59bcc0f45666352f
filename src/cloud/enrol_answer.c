/* What the enrol process decides, without sockets. Everything that reads and changes a hospital's state does so under the
 * registry's lock, so an invitation is used once however many try at the same time. */
#include "cloud/enrol.h"

#include "base/clock.h"
#include "base/log.h"
#include "cloud/registry.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_FAILURES 10u /* of one source within a minute */

__attribute__((format(printf, 3, 4))) static void refuse(
    struct enrol_reply *r, enum enrol_why why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    r->why = why;
    vsnprintf(r->text, sizeof(r->text), fmt, args);
    va_end(args);
}

static bool print_pem(char *to, const struct pki_chain *c)
{
    struct buf pem = {0};
    bool ok = !pki_chain_print(&pem, c, NULL) && pem.len < ENROL_MAX_PEM;
    if (ok)
        memcpy(to, buf_str(&pem), pem.len + 1);
    buf_done(&pem);
    return ok;
}

/* Signs and notes it down; the registry is locked. */
static bool give_certificate(
    struct enrol_office *o, struct hospital *h, EVP_PKEY *key, const char *verb, struct enrol_reply *r)
{
    struct error err;
    struct pki_chain chain = {0}, root = {.cert = {o->authority.root}, .n = 1};
    int rc = authority_sign(&o->authority, &chain, PKI_CLIENT, h->id, key, o->edge_s, &err);
    if (!rc) {
        h->status = HOSPITAL_JOINED;
        h->joined_at = h->joined_at ? h->joined_at : (int64_t)time(NULL);
        h->certificate_until = pki_not_after(chain.cert[0]);
        pki_fingerprint(h->certificate, chain.cert[0]);
        pki_key_fingerprint(h->key, key);
        rc = registry_save(o->hospitals, h, &err);
    }
    if (!rc && (!print_pem(r->chain, &chain) || !print_pem(r->root, &root)))
        rc = error_set(&err, EIO, "cannot print certificates");
    pki_chain_done(&chain);
    if (rc) {
        log_error("%s could not %s: %s", h->name, verb, err.text);
        refuse(r, ENROL_FAILED, "the cloud could not do it; its operator finds the reason in the log");
        return false;
    }
    r->why = ENROL_OK;
    snprintf(r->id, sizeof(r->id), "%s", h->id);
    log_info("%s has %s", h->name, !strcmp(verb, "join") ? "joined" : "renewed its certificate");
    return true;
}

static bool join(struct enrol_office *o, const struct hospital *all, size_t n, const char *token, EVP_PKEY *key,
    struct enrol_reply *r)
{
    struct hospital h;
    char fp[PKI_FINGERPRINT];
    if (!registry_find_token(&h, all, n, token)) {
        refuse(r, ENROL_UNKNOWN_TOKEN, "this invitation is not known (any more): ask for a new one");
        return false;
    }
    pki_key_fingerprint(fp, key);
    bool again = h.status == HOSPITAL_JOINED && !strcmp(fp, h.key); /* our first answer got lost on the way */
    if (h.status == HOSPITAL_JOINED && !again) {
        refuse(r, ENROL_USED_TOKEN,
            "this invitation has already been used by another key; if that was not you, tell the cloud's operator");
        return false;
    }
    if (time(NULL) > h.token_until) {
        refuse(r, ENROL_EXPIRED_TOKEN, "this invitation has expired: ask for a new one");
        return false;
    }
    return give_certificate(o, &h, key, "join", r);
}

static bool renew(struct enrol_office *o, const struct hospital *all, size_t n, const char *peer, EVP_PKEY *key,
    struct enrol_reply *r)
{
    const struct hospital *found = NULL;
    for (size_t i = 0; peer && i < n; i++)
        if (!strcmp(all[i].id, peer))
            found = &all[i];
    if (!peer) {
        refuse(r, ENROL_NOT_YOU, "renewing needs the certificate that is to be renewed");
        return false;
    }
    if (!found || found->status != HOSPITAL_JOINED) {
        refuse(r, ENROL_REVOKED, "this certificate has been revoked: ask for a new invitation and join again");
        return false;
    }
    struct hospital h = *found;
    return give_certificate(o, &h, key, "renew", r);
}

bool enrol_answer(struct enrol_office *o, const struct enrol_request *q, struct source from, const char *peer,
    int64_t now_ns, struct enrol_reply *ret)
{
    struct error err;
    EVP_PKEY *key = NULL;
    struct hospital *all = NULL;
    size_t n = 0;
    int lock = -1;
    bool changed = false;
    if (source_count(&o->failures, from, now_ns) >= MOST_FAILURES) {
        refuse(ret, ENROL_TOO_OFTEN, "too many failed attempts from this address: wait a minute");
        return false;
    }
    if (pki_request_parse(&key, q->csr, strlen(q->csr), &err)) {
        refuse(ret, ENROL_BAD_REQUEST, "%s", err.text);
    } else if (registry_begin(&lock, o->hospitals, &err) || registry_list(&all, &n, o->hospitals, &err)) {
        log_error("%s", err.text);
        refuse(ret, ENROL_FAILED, "the cloud could not read its registry; its operator finds the reason in the log");
    } else {
        changed = q->op == ENROL_JOIN ? join(o, all, n, q->token, key, ret) : renew(o, all, n, peer, key, ret);
    }
    free(all);
    if (lock >= 0)
        registry_end(lock);
    EVP_PKEY_free(key);
    if (ret->why != ENROL_OK && ret->why != ENROL_FAILED)
        source_failed(&o->failures, from, now_ns);
    return changed;
}
