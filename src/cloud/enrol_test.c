#include "cloud/enrol.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/test.h"
#include "cloud/registry.h"
#include "os/file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char dir[64], hospitals[96];
static struct enrol_office office;
static const struct source here = {{127, 0, 0, 1, [15] = 4}}, there = {{10, 0, 0, 1, [15] = 4}};

static int set_up(void **state)
{
    strcpy(dir, "/tmp/enrol-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(hospitals, sizeof(hospitals), "%s/hospitals", dir);
    memset(&office, 0, sizeof(office));
    office.hospitals = hospitals;
    office.edge_s = 3600;
    return file_make_dir(hospitals, 0700, NULL) || authority_ensure(dir, NULL) ||
           authority_load(&office.authority, dir, true, NULL);
}

static int tear_down(void **state)
{
    char command[96];
    authority_done(&office.authority);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static void put_request(struct enrol_request *q, EVP_PKEY *key)
{
    struct buf pem = {0};
    assert_int_equal(pki_request_create(&pem, key, NULL), 0);
    snprintf(q->csr, sizeof(q->csr), "%s", buf_str(&pem));
    buf_done(&pem);
}

static enum enrol_why ask_join(const char *token, EVP_PKEY *key, struct source from, struct enrol_reply *r)
{
    struct enrol_request q = {.op = ENROL_JOIN};
    snprintf(q.token, sizeof(q.token), "%s", token);
    put_request(&q, key);
    memset(r, 0, sizeof(*r));
    enrol_answer(&office, &q, from, NULL, clock_now_ns(), r);
    return r->why;
}

static enum enrol_why ask_renew(const char *peer, EVP_PKEY *key, struct enrol_reply *r)
{
    struct enrol_request q = {.op = ENROL_RENEW};
    put_request(&q, key);
    memset(r, 0, sizeof(*r));
    enrol_answer(&office, &q, here, peer, clock_now_ns(), r);
    return r->why;
}

static void test_a_token_admits_one_key_once(void **state)
{
    struct hospital h;
    char token[REGISTRY_MAX_TOKEN];
    struct enrol_reply r;
    EVP_PKEY *mine, *thief;
    assert_int_equal(pki_key_create(&mine, NULL), 0);
    assert_int_equal(pki_key_create(&thief, NULL), 0);
    assert_int_equal(registry_invite(&h, token, hospitals, "hospital-a", 60, NULL), 0);
    assert_int_equal(ask_join("0000", mine, here, &r), ENROL_UNKNOWN_TOKEN);
    assert_int_equal(ask_join(token, mine, here, &r), ENROL_OK);
    assert_string_equal(r.id, h.id);
    struct pki_chain c;
    assert_int_equal(pki_chain_parse(&c, r.chain, strlen(r.chain), NULL), 0);
    assert_int_equal(pki_verify(&c, office.authority.root, PKI_CLIENT, h.id, NULL), 0);
    assert_in_range(pki_not_after(c.cert[0]), time(NULL) + 3590, time(NULL) + 3610);
    assert_int_equal(X509_check_private_key(c.cert[0], mine), 1);
    assert_null(strstr(r.chain, "hospital"));
    pki_chain_done(&c);
    assert_int_equal(ask_join(token, thief, here, &r), ENROL_USED_TOKEN);
    assert_int_equal(ask_join(token, mine, here, &r), ENROL_OK); /* the same edge asks again: its answer was lost */
    struct error err;
    assert_int_equal(registry_invite(&h, token, hospitals, "hospital-a", 60, &err), -EEXIST);
    EVP_PKEY_free(mine);
    EVP_PKEY_free(thief);
}

static void test_the_registry_keeps_no_token(void **state)
{
    struct hospital h;
    char token[REGISTRY_MAX_TOKEN], path[160];
    struct buf text = {0};
    assert_int_equal(registry_invite(&h, token, hospitals, "hospital-a", 60, NULL), 0);
    assert_true(strlen(token) >= 64);
    snprintf(path, sizeof(path), "%s/hospital-a/state.json", hospitals);
    assert_int_equal(file_read(&text, path, 65536, NULL), 0);
    assert_null(strstr(buf_str(&text), token));
    assert_non_null(strstr(buf_str(&text), h.token_sha256));
    buf_done(&text);
}

static void test_expired_and_superseded_tokens(void **state)
{
    struct hospital h, h2;
    char token[REGISTRY_MAX_TOKEN], token2[REGISTRY_MAX_TOKEN];
    struct enrol_reply r;
    EVP_PKEY *key;
    assert_int_equal(pki_key_create(&key, NULL), 0);
    assert_int_equal(registry_invite(&h, token, hospitals, "late", -5, NULL), 0);
    assert_int_equal(ask_join(token, key, here, &r), ENROL_EXPIRED_TOKEN);
    assert_int_equal(registry_invite(&h2, token2, hospitals, "late", 60, NULL), 0);
    assert_int_equal(h.slot, h2.slot);
    assert_string_not_equal(h.id, h2.id);
    assert_int_equal(ask_join(token, key, here, &r), ENROL_UNKNOWN_TOKEN);
    assert_int_equal(ask_join(token2, key, here, &r), ENROL_OK);
    EVP_PKEY_free(key);
}

static void test_renewal_needs_the_certificate_and_ends_with_revocation(void **state)
{
    struct hospital h;
    char token[REGISTRY_MAX_TOKEN], old_id[REGISTRY_MAX_ID];
    struct enrol_reply r;
    EVP_PKEY *key, *next;
    assert_int_equal(pki_key_create(&key, NULL), 0);
    assert_int_equal(pki_key_create(&next, NULL), 0);
    assert_int_equal(registry_invite(&h, token, hospitals, "a", 60, NULL), 0);
    strcpy(old_id, h.id);
    assert_int_equal(ask_renew(h.id, next, &r), ENROL_REVOKED); /* has not joined */
    assert_int_equal(ask_join(token, key, here, &r), ENROL_OK);
    assert_int_equal(ask_renew(NULL, next, &r), ENROL_NOT_YOU);
    assert_int_equal(ask_renew("0123", next, &r), ENROL_REVOKED);
    assert_int_equal(ask_renew(h.id, next, &r), ENROL_OK);
    assert_int_equal(registry_revoke(hospitals, "a", NULL), 0);
    assert_int_equal(ask_renew(h.id, next, &r), ENROL_REVOKED);
    assert_int_equal(ask_join(token, key, here, &r), ENROL_UNKNOWN_TOKEN);
    assert_int_equal(registry_invite(&h, token, hospitals, "a", 60, NULL), 0);
    assert_int_equal(ask_join(token, key, here, &r), ENROL_OK);
    assert_int_equal(ask_renew(old_id, next, &r), ENROL_REVOKED); /* what was revoked stays so */
    EVP_PKEY_free(key);
    EVP_PKEY_free(next);
}

static void test_guessing_is_slowed_per_source(void **state)
{
    struct enrol_reply r;
    EVP_PKEY *key;
    enum enrol_why why = ENROL_OK;
    int tries = 0;
    assert_int_equal(pki_key_create(&key, NULL), 0);
    while (tries < 100 && (why = ask_join("guess", key, here, &r)) == ENROL_UNKNOWN_TOKEN)
        tries++;
    assert_int_equal(why, ENROL_TOO_OFTEN);
    assert_int_equal(tries, 10);
    assert_int_equal(ask_join("guess", key, there, &r), ENROL_UNKNOWN_TOKEN);
    struct enrol_request q = {.op = ENROL_JOIN, .csr = "nonsense"};
    enrol_answer(&office, &q, there, NULL, clock_now_ns(), &r);
    assert_int_equal(r.why, ENROL_BAD_REQUEST);
    enrol_answer(&office, &q, here, NULL, clock_now_ns() + 61 * NS_PER_S, &r);
    assert_int_equal(r.why, ENROL_BAD_REQUEST); /* a minute later one may try again */
    EVP_PKEY_free(key);
}

static void test_a_new_issuer_needs_the_root_key_and_changes_nothing_for_edges(void **state)
{
    struct authority other;
    struct error err;
    char path[128], away[128];
    X509 *root = office.authority.root;
    EVP_PKEY *key;
    struct pki_chain c;
    snprintf(path, sizeof(path), "%s/ca/root.key", dir);
    snprintf(away, sizeof(away), "%s/offline.key", dir);
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(authority_renew(dir, NULL, &err), -ENOENT);
    snprintf(path, sizeof(path), "%s/ca/issuer.key", dir);
    assert_int_equal(authority_renew(dir, path, &err), -EINVAL);
    assert_int_equal(authority_renew(dir, away, &err), 0);
    assert_int_equal(authority_load(&other, dir, true, &err), 0);
    assert_int_not_equal(X509_cmp(other.issuer, office.authority.issuer), 0);
    assert_int_equal(pki_key_create(&key, NULL), 0);
    assert_int_equal(authority_sign(&other, &c, PKI_SERVER, "h", key, 60, &err), 0);
    assert_int_equal(pki_verify(&c, root, PKI_SERVER, "h", &err), 0);
    pki_chain_done(&c);
    EVP_PKEY_free(key);
    authority_done(&other);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", ".", "..", "-x", "a/b", "a b", "é", "../../etc"};
    struct error err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(registry_revoke(hospitals, bad[i], &err), -EINVAL);
    assert_int_equal(registry_revoke(hospitals, "nobody", &err), -ENOENT);
}

int main(void)
{
    log_setup(LOG_LEVEL_ERROR, false, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_token_admits_one_key_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_registry_keeps_no_token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expired_and_superseded_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_renewal_needs_the_certificate_and_ends_with_revocation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_guessing_is_slowed_per_source, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_new_issuer_needs_the_root_key_and_changes_nothing_for_edges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
