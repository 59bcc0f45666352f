#include "cloud/enrol.h"

#include "base/clock.h"
#include "base/log.h"
#include "cloud/control.h"
#include "cloud/sandbox.h"
#include "crypto/tls.h"
#include "split/link_tls.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_TALKS   32
#define TALK_NS      (10 * NS_PER_S)
#define RENEW_OWN_NS (6 * 3600 * NS_PER_S) /* our own server certificate is made anew this often */

/* One conversation: a line in, a line out. */
struct talk {
    struct link *link; /* NULL: free */
    int64_t since_ns;
    struct source from;
    bool answering;
    struct buf in, out;
};

struct enrol {
    const struct enrol_config *cfg;
    struct enrol_office office;
    SSL_CTX *tls;
    int64_t tls_since_ns;
    struct talk talks[MOST_TALKS];
    struct log_limit limit;
    bool stop;
};

/* --- our own certificate --- */

static int make_context(struct enrol *e, struct error *err)
{
    EVP_PKEY *key = NULL;
    struct pki_chain chain = {0};
    SSL_CTX *ctx = NULL;
    int rc = pki_key_create(&key, err);
    if (!rc)
        rc = authority_sign(&e->office.authority, &chain, PKI_SERVER, e->cfg->name, key, e->cfg->server_s, err);
    if (!rc) {
        /* The root goes along for those who know it only by its fingerprint. */
        X509_up_ref(chain.cert[chain.n++] = e->office.authority.root);
        struct tls_config tls = {.server = true,
            .key = key,
            .chain = &chain,
            .root = e->office.authority.root,
            .peer_may_be_nobody = true,
            .alpn = TLS_ALPN_ENROL,
            .keylog_fd = e->cfg->keylog_fd};
        rc = tls_context_create(&ctx, &tls, err);
    }
    EVP_PKEY_free(key);
    pki_chain_done(&chain);
    if (rc)
        return rc;
    SSL_CTX_free(e->tls);
    e->tls = ctx;
    e->tls_since_ns = clock_now_ns();
    return 0;
}

/* --- conversations --- */

static void end_talk(struct talk *t)
{
    if (t->in.data)
        explicit_bzero(t->in.data, t->in.cap); /* tokens */
    buf_done(&t->in);
    buf_done(&t->out);
    t->link->ops->free(t->link);
    *t = (struct talk){0};
}

static void begin_talk(struct enrol *e, int fd)
{
    struct talk *t = &e->talks[0];
    for (int i = 0; i < MOST_TALKS && t->link; i++)
        if (!e->talks[i].link || e->talks[i].since_ns < t->since_ns)
            t = &e->talks[i];
    if (t->link)
        end_talk(t); /* the oldest makes room */
    t->from = source_of(fd);
    t->since_ns = clock_now_ns();
    struct error err;
    if (link_tls_accept(&t->link, e->tls, fd, TALK_NS, &err)) {
        log_warn("%s", err.text);
        t->link = NULL;
    }
}

static void answer(struct enrol *e, struct talk *t, size_t line)
{
    struct enrol_request *q = calloc(1, sizeof(*q));
    struct enrol_reply *r = calloc(1, sizeof(*r));
    struct error err;
    char peer[PKI_MAX_NAME];
    if (q && r) {
        bool known = !tls_peer_name(peer, link_tls_session(t->link));
        if (enrol_request_decode(q, t->in.data, line, &err)) {
            r->why = ENROL_BAD_REQUEST;
            snprintf(r->text, sizeof(r->text), "%s", err.text);
        } else if (enrol_answer(&e->office, q, t->from, known ? peer : NULL, clock_now_ns(), r)) {
            (void)control_send(e->cfg->control_fd, CONTROL_CHANGED, NULL, NULL, 0, -1);
        }
        unsigned skipped;
        if (r->why != ENROL_OK && log_limit_pass(&e->limit, 2, &skipped))
            log_warn("refused %s: %s (%u more not logged)", link_tls_peer(t->link), r->text, skipped);
        if (enrol_reply_encode(&t->out, r))
            t->out.len = 0;
        explicit_bzero(q, sizeof(*q));
    }
    t->answering = true;
    free(q);
    free(r);
}

/* True while the conversation goes on. */
static bool listen_to(struct enrol *e, struct talk *t)
{
    if (buf_reserve(&t->in, ENROL_MAX_LINE - t->in.len))
        return false;
    ssize_t n = t->link->ops->recv(t->link, t->in.data + t->in.len, ENROL_MAX_LINE - t->in.len);
    if (n == -EAGAIN)
        return true;
    if (n <= 0) {
        unsigned skipped;
        if (n < 0 && log_limit_pass(&e->limit, 2, &skipped))
            log_info("%s: %s (%u more not logged)", link_tls_peer(t->link), t->link->ops->why(t->link), skipped);
        return false;
    }
    size_t before = t->in.len;
    t->in.len += (size_t)n;
    uint8_t *end = memchr(t->in.data + before, '\n', (size_t)n);
    if (end)
        answer(e, t, (size_t)(end - t->in.data));
    return end || t->in.len < ENROL_MAX_LINE;
}

static bool speak(struct talk *t)
{
    ssize_t n = t->out.len ? t->link->ops->send(t->link, t->out.data, t->out.len) : 0;
    if (n == -EAGAIN)
        return true;
    if (n <= 0)
        return false;
    buf_consume(&t->out, (size_t)n);
    return t->out.len > 0;
}

static void go_on(struct enrol *e, struct talk *t)
{
    bool on;
    do
        on = t->answering || listen_to(e, t);
    while (on && !t->answering && t->link->ops->pending(t->link));
    if (on && t->answering)
        on = speak(t);
    if (!on)
        end_talk(t);
}

/* --- the supervisor --- */

/* A worker's request for a server certificate; the supervisor says whose it is. */
static void sign_for_worker(struct enrol *e, const struct control *m)
{
    struct error err;
    EVP_PKEY *key = NULL;
    struct pki_chain chain = {0}, root = {.cert = {e->office.authority.root}, .n = 1};
    struct buf pem = {0};
    int rc = pki_request_parse(&key, m->body, m->len, &err);
    if (!rc)
        rc = authority_sign(&e->office.authority, &chain, PKI_SERVER, m->id, key, e->cfg->server_s, &err);
    if (!rc)
        rc = pki_chain_print(&pem, &chain, &err);
    if (!rc && buf_append(&pem, "", 1))
        rc = error_set(&err, ENOMEM, "out of memory");
    if (!rc)
        rc = pki_chain_print(&pem, &root, &err);
    if (!rc && (rc = control_send(e->cfg->control_fd, CONTROL_SIGNED, m->id, pem.data, pem.len, -1)))
        error_set(&err, -rc, "the supervisor does not listen: %s", strerror(-rc));
    if (rc)
        log_error("a worker's server certificate: %s", err.text);
    EVP_PKEY_free(key);
    pki_chain_done(&chain);
    buf_done(&pem);
}

static void obey(struct enrol *e, struct control *m)
{
    int fd, rc;
    while (!(rc = control_recv(e->cfg->control_fd, m, &fd)) || rc == -EPROTO) {
        if (rc)
            continue;
        if (m->kind == CONTROL_CONNECTION && fd >= 0) {
            begin_talk(e, fd);
            continue;
        }
        if (fd >= 0)
            close(fd);
        if (m->kind == CONTROL_SIGN)
            sign_for_worker(e, m);
        if (m->kind == CONTROL_STOP)
            e->stop = true;
    }
    e->stop = e->stop || rc == -EPIPE;
}

static void housekeeping(struct enrol *e)
{
    int64_t now = clock_now_ns();
    struct error err;
    for (int i = 0; i < MOST_TALKS; i++)
        if (e->talks[i].link && now - e->talks[i].since_ns > TALK_NS)
            end_talk(&e->talks[i]);
    if (now - e->tls_since_ns > RENEW_OWN_NS || now - e->tls_since_ns > e->cfg->server_s * NS_PER_S / 2) {
        if (make_context(e, &err)) {
            log_error("%s", err.text);
            e->tls_since_ns = now - RENEW_OWN_NS + 60 * NS_PER_S;
        }
        if (authority_seconds_left(&e->office.authority) < AUTHORITY_ALARM_DAYS * 86400ll)
            log_error("the issuer's certificate ends in %lld days; renew it: meridian cloud issuer",
                (long long)authority_seconds_left(&e->office.authority) / 86400);
    }
}

static void serve(struct enrol *e, struct control *m)
{
    while (!e->stop) {
        struct pollfd p[MOST_TALKS + 1] = {{e->cfg->control_fd, POLLIN, 0}};
        for (int i = 0; i < MOST_TALKS; i++) {
            const struct link *l = e->talks[i].link;
            p[i + 1] = (struct pollfd){l ? l->ops->fd(l) : -1, l ? l->ops->events(l, e->talks[i].answering) : 0, 0};
        }
        poll(p, MOST_TALKS + 1, 1000);
        for (int i = 0; i < MOST_TALKS; i++)
            if (e->talks[i].link && p[i + 1].revents)
                go_on(e, &e->talks[i]);
        if (p[0].revents)
            obey(e, m);
        housekeeping(e);
    }
}

int enrol_run(const struct enrol_config *cfg, struct error *err)
{
    struct enrol *e = calloc(1, sizeof(*e));
    struct control *m = calloc(1, sizeof(*m));
    char hospitals[4096];
    int rc = e && m ? 0 : error_set(err, ENOMEM, "out of memory");
    if (!rc && snprintf(hospitals, sizeof(hospitals), "%s/hospitals", cfg->dir) >= (int)sizeof(hospitals))
        rc = error_set(err, ENAMETOOLONG, "%s: path too long", cfg->dir);
    if (!rc) {
        e->cfg = cfg;
        e->office.hospitals = "/store";
        e->office.edge_s = cfg->edge_s;
        rc = authority_load(&e->office.authority, cfg->dir, true, err);
    }
    struct sandbox_config cage = {
        .folder = hospitals, .uid = cfg->uid, .memory_bytes = 512ull << 20, .max_files = 256, .max_threads = 8};
    if (!rc)
        rc = make_context(e, err); /* before the cage: it makes OpenSSL load what it loads */
    if (!rc)
        rc = sandbox_enter(&cage, err);
    if (!rc) {
        (void)control_send(cfg->control_fd, CONTROL_READY, NULL, NULL, 0, -1);
        serve(e, m);
        for (int i = 0; i < MOST_TALKS; i++)
            if (e->talks[i].link)
                end_talk(&e->talks[i]);
    }
    if (e) {
        SSL_CTX_free(e->tls);
        authority_done(&e->office.authority);
    }
    free(e);
    free(m);
    return rc;
}
