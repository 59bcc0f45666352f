/* The CA's folder: who may be enrolled, what is refused and why, that nothing is half-done. */
#include "cli/xsec_ca.h"

#include "base/test.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 1800000000ll

static char dir[64];
static struct error err;

static int set_up(void **state)
{
    strcpy(dir, "/tmp/xsec-ca-XXXXXX");
    return mkdtemp(dir) ? xsec_ca_init(dir, &err) : -1;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"ca.key", "members", "revoked"};
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static struct xsec_request ask(const char *name, uint8_t last, uint8_t key)
{
    struct xsec_request q = {.pe = {{0xfd, [15] = last}}, .made = NOW};
    uint8_t seed[32] = {key};
    struct ed25519 *k;
    strcpy(q.name, name);
    ed25519_create(&k, seed);
    xsec_request_sign(&q, k);
    ed25519_free(k);
    return q;
}

static int enrol_at(int64_t now, const struct xsec_request *q, int64_t days, struct xsec_kit *ret)
{
    struct xsec_ca ca;
    struct xsec_ca_wish wish = {.days = days};
    int rc = xsec_ca_open(&ca, dir, &err);
    if (rc)
        return rc;
    rc = xsec_ca_enrol(&ca, q, &wish, now, ret, &err);
    xsec_ca_close(&ca);
    return rc;
}

static int revoke_at(int64_t now, const char *who, unsigned *ret_n)
{
    struct xsec_ca ca;
    int rc = xsec_ca_open(&ca, dir, &err);
    if (rc)
        return rc;
    rc = xsec_ca_revoke(&ca, who, now, ret_n, &err);
    xsec_ca_close(&ca);
    return rc;
}

static void a_kit_opens_at_its_router_and_nowhere_else(void **state)
{
    struct xsec_request q = ask("pe1", 1, 11);
    struct xsec_identity i;
    struct xsec_kit k;
    uint8_t seed[32] = {11}, other[32] = {12};
    assert_int_equal(enrol_at(NOW, &q, 10, &k), 0);
    assert_int_equal(k.certificate.not_after, NOW + 864000);
    assert_int_equal(xsec_kit_open(&i, &k, seed, &q.pe, NOW, &err), 0);
    assert_int_equal(xsec_kit_open(&i, &k, other, &q.pe, NOW, &err), -EINVAL);
    assert_non_null(strstr(err.text, "another key"));
    struct ip6 elsewhere = {{0xfd, [15] = 9}};
    assert_int_equal(xsec_kit_open(&i, &k, seed, &elsewhere, NOW, &err), -EINVAL);
    assert_non_null(strstr(err.text, "this kit is for pe1 (fd00::1), but this router's loopback is fd00::9"));
    assert_int_equal(xsec_kit_open(&i, &k, seed, &q.pe, NOW - 1000, &err), -EINVAL);
    assert_non_null(strstr(err.text, "clock"));
    assert_int_equal(xsec_kit_open(&i, &k, seed, &q.pe, NOW + 864001, &err), -EINVAL);
    assert_non_null(strstr(err.text, "expired"));
    k.ca[0] ^= 1;
    assert_int_equal(xsec_kit_open(&i, &k, seed, &q.pe, NOW, &err), -EINVAL);
    assert_non_null(strstr(err.text, "not signed by this CA"));
}

static void a_key_is_never_replaced(void **state)
{
    char path[128];
    struct buf before = {0}, after = {0};
    struct stat st;
    snprintf(path, sizeof path, "%s/ca.key", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    file_read(&before, path, 100, &err);
    assert_int_equal(xsec_ca_init(dir, &err), -EEXIST);
    file_read(&after, path, 100, &err);
    assert_memory_equal(before.data, after.data, before.len);
    buf_done(&before);
    buf_done(&after);
    assert_int_equal(xsec_ca_init("/proc/none/ca", &err) < 0, 1);
    chmod(path, 0644);
    struct xsec_ca ca;
    assert_int_equal(xsec_ca_open(&ca, dir, &err), -EPERM);
    assert_non_null(strstr(err.text, "others may read"));
    chmod(path, 0600);
}

static void names_and_loopbacks_are_one_routers(void **state)
{
    struct xsec_kit k, again;
    struct xsec_request q = ask("pe1", 1, 11);
    assert_int_equal(enrol_at(NOW, &q, 10, &k), 0);
    q = ask("pe1", 1, 11); /* renewed */
    assert_int_equal(enrol_at(NOW + 5, &q, 10, &again), 0);
    assert_true(again.certificate.serial > k.certificate.serial);
    q = ask("pe1", 1, 99); /* its disk was lost, or somebody pretends */
    assert_int_equal(enrol_at(NOW + 6, &q, 10, &again), -EEXIST);
    assert_non_null(strstr(err.text, "with another key; `meridian xsec revoke pe1` first"));
    q = ask("pe7", 1, 99);
    assert_int_equal(enrol_at(NOW + 6, &q, 10, &again), -EEXIST);
    q = ask("pe1", 7, 99);
    assert_int_equal(enrol_at(NOW + 6, &q, 10, &again), -EEXIST);
    unsigned n;
    assert_int_equal(revoke_at(NOW + 7, "pe1", &n), 0);
    assert_int_equal(n, 2);
    q = ask("pe1", 1, 99);
    assert_int_equal(enrol_at(NOW + 8, &q, 10, &again), 0);
    struct xsec_revocations r;
    assert_int_equal(xsec_revocations_read(&r, again.ca, again.list, again.list_len), 0); /* the kit brings the list */
    assert_int_equal(r.n, 2);
    assert_true(xsec_revoked(&r, k.certificate.serial));
    assert_false(xsec_revoked(&r, again.certificate.serial));
    q = ask("pe1", 1, 5); /* expired by then: the name is free */
    assert_int_equal(enrol_at(NOW + 11 * 86400, &q, 10, &again), 0);
}

static void what_is_refused(void **state)
{
    struct xsec_kit k;
    struct xsec_request q = ask("pe1", 1, 11);
    q.pe.b[15] = 2; /* changed on the way */
    assert_int_equal(enrol_at(NOW, &q, 10, &k), -EINVAL);
    assert_non_null(strstr(err.text, "changed after its router signed it"));
    q = ask("pe1", 1, 11);
    assert_int_equal(enrol_at(NOW, &q, 10, &k), 0);
    q = ask("pe2", 2, 12);
    assert_int_equal(enrol_at(NOW - 100, &q, 10, &k), -EINVAL);
    assert_non_null(strstr(err.text, "this clock is behind"));
    unsigned n;
    assert_int_equal(revoke_at(NOW, "pe9", &n), -ENOENT);
    assert_int_equal(revoke_at(NOW, "pe1", &n), 0);
    assert_int_equal(revoke_at(NOW, "pe1", &n), -EALREADY);
    struct xsec_ca ca, second;
    assert_int_equal(xsec_ca_open(&ca, dir, &err), 0);
    assert_int_equal(xsec_ca_open(&second, dir, &err), -EBUSY);
    xsec_ca_close(&ca);
    assert_int_equal(xsec_ca_open(&ca, "/tmp/no-such-ca", &err), -ENOENT);
    assert_non_null(strstr(err.text, "xsec ca init"));
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(file_write(path, text, strlen(text), 0600, &err), 0);
}

static void files_that_make_no_sense(void **state)
{
    struct xsec_ca ca;
    static const char *const ledgers[] = {"x\n", "1 pe1 fd00::1 00 1 2\n", "1 pe1 nowhere 00 1 2\n",
        "1 \x1b[2J fd00::1 0000000000000000000000000000000000000000000000000000000000000000 1 2\n"};
    for (size_t i = 0; i < sizeof ledgers / sizeof *ledgers; i++) {
        write_file("members", ledgers[i]);
        assert_int_equal(xsec_ca_open(&ca, dir, &err), -EINVAL);
        assert_non_null(strstr(err.text, "members:1"));
    }
    write_file("members", "");
    write_file("revoked", "meridian xsec revocation list\n00\n");
    assert_int_equal(xsec_ca_open(&ca, dir, &err), -EINVAL);
    assert_non_null(strstr(err.text, "no revocation list of this CA"));
}

static void a_list_that_is_full_empties_as_certificates_expire(void **state)
{
    struct xsec_kit k;
    unsigned n;
    char name[16];
    for (unsigned i = 0; i <= XSEC_REVOKED_MOST; i++) {
        snprintf(name, sizeof name, "pe%u", i);
        struct xsec_request q = ask(name, (uint8_t)(i + 1), (uint8_t)(i + 1));
        assert_int_equal(enrol_at(NOW, &q, i == 0 ? 1 : 10, &k), 0);
        assert_int_equal(revoke_at(NOW, name, &n), i < XSEC_REVOKED_MOST ? 0 : -ENOSPC);
    }
    assert_int_equal(revoke_at(NOW + 2 * 86400, name, &n), 0); /* the first has expired */
    struct xsec_ca ca;
    assert_int_equal(xsec_ca_open(&ca, dir, &err), 0);
    assert_int_equal(ca.list.n, XSEC_REVOKED_MOST);
    assert_int_equal(ca.list.number, NOW + 2 * 86400);
    xsec_ca_close(&ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kit_opens_at_its_router_and_nowhere_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_is_never_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_and_loopbacks_are_one_routers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_that_make_no_sense, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_that_is_full_empties_as_certificates_expire, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
