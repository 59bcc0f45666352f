/* Two links talk over a socket pair or loopback TCP in one thread: each is driven in turn until both are done. */
#include "split/link_tls.h"

#include "base/clock.h"
#include "crypto/pki_fixture.h"
#include "crypto/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct leaf {
    EVP_PKEY *key;
    struct pki_chain chain;
};

struct pair {
    struct link *client, *server;
    int client_rc, server_rc;
};

static struct pki_world world;

static struct leaf leaf(enum pki_role role, const char *name, int64_t until)
{
    struct leaf l;
    l.key = pki_world_leaf(&world, role, name, -100, until, true, &l.chain);
    return l;
}

static void leaf_done(struct leaf *l)
{
    EVP_PKEY_free(l->key);
    pki_chain_done(&l->chain);
}

static SSL_CTX *context(struct tls_config cfg, const struct leaf *l)
{
    SSL_CTX *ctx;
    struct error err = {""};
    if (l)
        cfg.key = l->key, cfg.chain = &l->chain;
    cfg.keylog_fd = -1;
    if (!cfg.alpn)
        cfg.alpn = TLS_ALPN_SPLIT;
    if (!cfg.root && !cfg.root_fingerprint)
        cfg.root = world.root;
    int rc = tls_context_create(&ctx, &cfg, &err);
    if (rc)
        fail_msg("%s", err.text);
    return ctx;
}

/* Handshakes until both sides are open or broken; the client also reads once, as a refusal may reach it only then. */
static void shake(struct pair *p)
{
    int64_t until = clock_now_ns() + 5 * NS_PER_S;
    p->client_rc = p->server_rc = -EAGAIN;
    bool asked = false;
    char c;
    while ((p->client_rc == -EAGAIN || p->server_rc == -EAGAIN) && clock_now_ns() < until) {
        if (p->client_rc == -EAGAIN)
            p->client_rc = link_tls_handshake(p->client);
        if (p->server_rc == -EAGAIN)
            p->server_rc = link_tls_handshake(p->server);
        if (!p->client_rc && p->server_rc) { /* done for the client, who asks something and waits */
            if (!asked)
                asked = p->client->ops->send(p->client, "question", 8) == 8;
            ssize_t n = p->client->ops->recv(p->client, &c, 1);
            p->client_rc = n == -EAGAIN ? 0 : (int)n;
        }
        if (p->client_rc && p->client_rc != -EAGAIN) /* as its owner would */
            shutdown(p->client->ops->fd(p->client), SHUT_RDWR);
    }
}

/* A TCP listener on loopback; the address it got. */
static int listener(char address[32])
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(address, 32, "127.0.0.1:%u", ntohs(sa.sin_port));
    return fd;
}

static struct pair pair_of(SSL_CTX *client, SSL_CTX *server, const char *name)
{
    char address[32];
    struct error err = {""};
    struct pair p = {0};
    int fd = listener(address);
    if (link_tls_connect(&p.client, client, address, name, 0, 5 * NS_PER_S, &err))
        fail_msg("%s", err.text);
    int got = accept(fd, NULL, NULL);
    assert_true(got >= 0);
    assert_int_equal(link_tls_accept(&p.server, server, got, 5 * NS_PER_S, &err), 0);
    close(fd);
    shake(&p);
    return p;
}

static void pair_done(struct pair *p)
{
    p->client->ops->free(p->client);
    p->server->ops->free(p->server);
}

static void test_bytes_arrive_both_ways_and_the_end_is_clean(void **state)
{
    struct leaf c = leaf(PKI_CLIENT, "h-1", 60), s = leaf(PKI_SERVER, "h-1", 60);
    SSL_CTX *cc = context((struct tls_config){.peer = "h-1"}, &c);
    SSL_CTX *sc = context((struct tls_config){.server = true, .peer = "h-1"}, &s);
    struct pair p = pair_of(cc, sc, "h-1");
    assert_int_equal(p.client_rc, 0);
    assert_int_equal(p.server_rc, 0);
    char name[PKI_MAX_NAME];
    assert_int_equal(tls_peer_name(name, link_tls_session(p.server)), 0);
    assert_string_equal(name, "h-1");
    assert_non_null(strstr(link_tls_peer(p.server), "127.0.0.1:"));

    enum { TOTAL = 3 * 1000 * 1000 };
    uint8_t *out = malloc(TOTAL), *in = malloc(TOTAL);
    assert_true(out && in);
    for (size_t i = 0; i < TOTAL; i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    for (int way = 0; way < 2; way++) {
        struct link *from = way ? p.server : p.client, *to = way ? p.client : p.server;
        size_t sent = 0, got = 0;
        int64_t until = clock_now_ns() + 10 * NS_PER_S;
        while (got < TOTAL && clock_now_ns() < until) {
            ssize_t n = sent < TOTAL ? from->ops->send(from, out + sent, TOTAL - sent) : 0;
            assert_true(n >= 0 || n == -EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
            struct pollfd pfd = {to->ops->fd(to), to->ops->events(to, 0), 0};
            /* Only when poll or pending says so: neither may hide bytes. */
            if (to->ops->pending(to) || poll(&pfd, 1, 100) > 0) {
                n = to->ops->recv(to, in + got, TOTAL - got);
                assert_true(n > 0 || n == -EAGAIN);
                got += n > 0 ? (size_t)n : 0;
            }
        }
        assert_int_equal(got, TOTAL);
        assert_memory_equal(in, out, TOTAL);
        memset(in, 0, TOTAL);
    }
    free(out);
    free(in);
    p.server->ops->free(p.server);
    struct pollfd pfd = {p.client->ops->fd(p.client), POLLIN, 0};
    poll(&pfd, 1, 2000);
    char ch;
    assert_int_equal(p.client->ops->recv(p.client, &ch, 1), 0);
    assert_int_equal(p.client->ops->recv(p.client, &ch, 1), 0);
    assert_int_equal(p.client->ops->send(p.client, "x", 1), -EPIPE);
    p.client->ops->free(p.client);
    SSL_CTX_free(cc);
    SSL_CTX_free(sc);
    leaf_done(&c);
    leaf_done(&s);
}

struct refusal {
    const char *client_name, *server_name; /* in the certificates; NULL: client has none */
    int64_t client_until, server_until;
    enum pki_role client_role;
    bool foreign_client, foreign_server, revoked;
    int client_rc, server_rc;
    const char *client_says, *server_says;
};

static void check_refusal(const struct refusal *r)
{
    struct pki_world ours = world, foreign;
    pki_world_init(&foreign);
    world = r->foreign_client ? foreign : ours;
    struct leaf c = {0}, s;
    if (r->client_name)
        c = leaf(r->client_role, r->client_name, r->client_until);
    world = r->foreign_server ? foreign : ours;
    s = leaf(PKI_SERVER, r->server_name, r->server_until);
    world = ours;
    SSL_CTX *cc = context((struct tls_config){.peer = "h-1"}, r->client_name ? &c : NULL);
    SSL_CTX *sc = context((struct tls_config){.server = true, .peer = "h-1"}, &s);
    tls_context_refuse(sc, r->revoked);
    struct pair p = pair_of(cc, sc, "h-1");
    const char *client_why = p.client->ops->why(p.client), *server_why = p.server->ops->why(p.server);
    if (p.client_rc != r->client_rc || p.server_rc != r->server_rc || !strstr(client_why, r->client_says) ||
        !strstr(server_why, r->server_says))
        fail_msg("client %d \"%s\" (wanted \"%s\"), server %d \"%s\" (wanted \"%s\")", p.client_rc, client_why,
            r->client_says, p.server_rc, server_why, r->server_says);
    char ch = 0;
    assert_int_equal(p.server->ops->recv(p.server, &ch, 1), r->server_rc); /* the failure stays */
    pair_done(&p);
    SSL_CTX_free(cc);
    SSL_CTX_free(sc);
    leaf_done(&c);
    leaf_done(&s);
    pki_world_done(&foreign);
}

static void test_who_is_refused_and_what_each_side_says(void **state)
{
    const struct refusal all[] = {
        {"h-1", "h-1", -5, 60, PKI_CLIENT, .client_rc = -EKEYEXPIRED, .server_rc = -EKEYEXPIRED,
            .client_says = "our certificate has expired", .server_says = "edge's certificate has expired"},
        {"h-1", "h-1", 60, -5, PKI_CLIENT, .client_rc = -EKEYEXPIRED, .server_rc = -EKEYEXPIRED,
            .client_says = "cloud's certificate has expired", .server_says = "our certificate has expired"},
        {"h-2", "h-1", 60, 60, PKI_CLIENT, .client_rc = -EKEYREJECTED, .server_rc = -EKEYREJECTED,
            .client_says = "refused our certificate", .server_says = "another name than h-1"},
        {"h-1", "h-2", 60, 60, PKI_CLIENT, .client_rc = -EKEYREJECTED, .server_rc = -EKEYREJECTED,
            .client_says = "another name than h-1", .server_says = "refused our certificate"},
        {"h-1", "h-1", 60, 60, PKI_SERVER, .client_rc = -EKEYREJECTED, .server_rc = -EKEYREJECTED,
            .client_says = "refused our certificate", .server_says = "another purpose"},
        {"h-1", "h-1", 60, 60, PKI_CLIENT, .foreign_client = true, .client_rc = -EKEYREJECTED,
            .server_rc = -EKEYREJECTED, .client_says = "does not trust the root",
            .server_says = "does not come from the pinned root"},
        {"h-1", "h-1", 60, 60, PKI_CLIENT, .foreign_server = true, .client_rc = -EKEYREJECTED,
            .server_rc = -EKEYREJECTED, .client_says = "does not come from the pinned root",
            .server_says = "does not trust the root"},
        {"h-1", "h-1", 60, 60, PKI_CLIENT, .revoked = true, .client_rc = -EKEYREVOKED, .server_rc = -EKEYREVOKED,
            .client_says = "certificate has been revoked", .server_says = "has been revoked"},
        {NULL, "h-1", 60, 60, PKI_CLIENT, .client_rc = -EKEYREJECTED, .server_rc = -EKEYREJECTED,
            .client_says = "wants a certificate", .server_says = "showed no certificate"},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        check_refusal(&all[i]);
}

static void test_joining_pins_the_root_by_its_fingerprint(void **state)
{
    struct leaf s = leaf(PKI_SERVER, "enrol", 60);
    SSL_CTX *sc = context((struct tls_config){.server = true, .peer_may_be_nobody = true, .alpn = TLS_ALPN_ENROL}, &s);
    char fp[PKI_FINGERPRINT], wrong[PKI_FINGERPRINT];
    pki_fingerprint(fp, world.root);
    pki_fingerprint(wrong, world.issuer); /* is sent along, but is not a root */
    memcpy(wrong, "sha256:00", 9);
    for (int good = 0; good < 2; good++) {
        SSL_CTX *cc = context(
            (struct tls_config){.root_fingerprint = good ? fp : wrong, .peer = "enrol", .alpn = TLS_ALPN_ENROL}, NULL);
        struct pair p = pair_of(cc, sc, "enrol");
        assert_int_equal(p.client_rc, good ? 0 : -EKEYREJECTED);
        if (!good)
            assert_non_null(strstr(p.client->ops->why(p.client), "fingerprint"));
        char name[PKI_MAX_NAME];
        if (good)
            assert_int_equal(tls_peer_name(name, link_tls_session(p.server)), -ENOENT);
        pair_done(&p);
        SSL_CTX_free(cc);
    }
    SSL_CTX_free(sc);
    leaf_done(&s);
}

static void test_other_protocol_is_refused(void **state)
{
    struct leaf c = leaf(PKI_CLIENT, "h-1", 60), s = leaf(PKI_SERVER, "h-1", 60);
    SSL_CTX *cc = context((struct tls_config){.peer = "h-1", .alpn = TLS_ALPN_ENROL}, &c);
    SSL_CTX *sc = context((struct tls_config){.server = true, .peer = "h-1"}, &s);
    struct pair p = pair_of(cc, sc, "h-1");
    assert_int_equal(p.client_rc, -EPROTO);
    assert_non_null(strstr(p.client->ops->why(p.client), "another protocol"));
    pair_done(&p);
    SSL_CTX_set_max_proto_version(cc, TLS1_2_VERSION); /* and an old TLS as well */
    SSL_CTX_set_min_proto_version(cc, TLS1_2_VERSION);
    p = pair_of(cc, sc, "h-1");
    assert_int_equal(p.server_rc, -EPROTO);
    assert_non_null(strstr(p.client->ops->why(p.client), "TLS 1.3"));
    pair_done(&p);
    SSL_CTX_free(cc);
    SSL_CTX_free(sc);
    leaf_done(&c);
    leaf_done(&s);
}

static void test_alerts_in_the_clear_and_silence(void **state)
{
    struct leaf c = leaf(PKI_CLIENT, "h-1", 60);
    SSL_CTX *cc = context((struct tls_config){.peer = "h-1"}, &c);
    const struct {
        enum tls_alert alert;
        int rc;
        const char *says;
    } all[] = {{TLS_ALERT_UNKNOWN_NAME, -EUNATCH, "does not know this name"},
        {TLS_ALERT_REVOKED, -EKEYREVOKED, "revoked"}, {TLS_ALERT_BUSY, -EBUSY, "trying again"}};
    char address[32];
    int fd = listener(address);
    for (size_t i = 0; i < 3; i++) {
        struct link *l;
        assert_int_equal(link_tls_connect(&l, cc, address, "h-1", 0, 2 * NS_PER_S, NULL), 0);
        int got = accept(fd, NULL, NULL), rc;
        unsigned char record[7];
        tls_alert_encode(record, all[i].alert);
        assert_int_equal(write(got, record, 7), 7);
        int64_t until = clock_now_ns() + 2 * NS_PER_S;
        while ((rc = link_tls_handshake(l)) == -EAGAIN && clock_now_ns() < until)
            ;
        assert_int_equal(rc, all[i].rc);
        assert_non_null(strstr(l->ops->why(l), all[i].says));
        close(got);
        l->ops->free(l);
    }
    struct link *l;
    assert_int_equal(link_tls_connect(&l, cc, address, "h-1", 0, 50 * NS_PER_MS, NULL), 0);
    int rc;
    do
        poll(NULL, 0, 10);
    while ((rc = link_tls_handshake(l)) == -EAGAIN);
    assert_int_equal(rc, -ETIMEDOUT);
    l->ops->free(l);
    close(fd);
    struct error err = {""};
    rc = link_tls_connect(&l, cc, address, "h-1", 0, NS_PER_S, &err); /* nobody listens any more */
    if (!rc) {
        while ((rc = link_tls_handshake(l)) == -EAGAIN)
            ;
        snprintf(err.text, sizeof(err.text), "%s", l->ops->why(l));
        l->ops->free(l);
    }
    assert_int_equal(rc, -ECONNREFUSED);
    assert_non_null(strstr(err.text, address));
    const char *const bad[] = {"", "host", "host:", ":7443", "host:port", "[::1]", "a:123456"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(link_tls_connect(&l, cc, bad[i], "h-1", 0, NS_PER_S, &err), -EINVAL);
    SSL_CTX_free(cc);
    leaf_done(&c);
}

static void test_garbage_breaks_the_link_only(void **state)
{
    struct leaf s = leaf(PKI_SERVER, "h-1", 60);
    SSL_CTX *sc = context((struct tls_config){.server = true, .peer = "h-1"}, &s);
    int fds[2], rc;
    struct link *l;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(link_tls_accept(&l, sc, fds[0], NS_PER_S, NULL), 0);
    assert_int_equal(write(fds[1], "GET / HTTP/1.0\r\n\r\n", 18), 18);
    shutdown(fds[1], SHUT_WR);
    while ((rc = link_tls_handshake(l)) == -EAGAIN)
        ;
    assert_int_equal(rc, -EPROTO);
    l->ops->free(l);
    close(fds[1]);
    SSL_CTX_free(sc);
    leaf_done(&s);
}

static int world_up(void **state)
{
    pki_world_init(&world);
    return 0;
}

static int world_down(void **state)
{
    pki_world_done(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_arrive_both_ways_and_the_end_is_clean),
        cmocka_unit_test(test_who_is_refused_and_what_each_side_says),
        cmocka_unit_test(test_joining_pins_the_root_by_its_fingerprint),
        cmocka_unit_test(test_other_protocol_is_refused),
        cmocka_unit_test(test_alerts_in_the_clear_and_silence),
        cmocka_unit_test(test_garbage_breaks_the_link_only),
    };
    return cmocka_run_group_tests(tests, world_up, world_down);
}
