/* A router's key file: made once, private, refused when it is not. */
#include "router/identity.h"

#include "base/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[96];

static int set_up(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/identity_test.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/key", folder);
    return 0;
}

static int tear_down(void **state)
{
    unlink(path);
    return rmdir(folder);
}

static void made_once_and_the_same_afterwards(void **state)
{
    struct error err = {""};
    uint8_t a[32], b[32], public[32];
    struct stat st;
    bool made;
    assert_int_equal(identity_load(path, a, &made, &err), 0);
    assert_true(made);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(identity_load(path, b, &made, &err), 0);
    assert_false(made);
    assert_memory_equal(a, b, 32);
    assert_int_equal(identity_public(a, public, &err), 0);
    assert_memory_not_equal(public, a, 32);
}

static void public_key_is_that_of_rfc_8032(void **state)
{
    struct error err = {""};
    const uint8_t seed[32] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};
    uint8_t public[32];
    assert_int_equal(identity_public(seed, public, &err), 0);
    assert_memory_equal(public, "\xd7\x5a\x98\x01\x82\xb1\x0a\xb7", 8);
}

static void put(const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void what_is_no_private_key_is_refused(void **state)
{
    struct error err = {""};
    uint8_t seed[32];
    bool made;
    put("00000000000000000000000000000000000000000000000000000000000000ff\n", 0644);
    assert_int_equal(identity_load(path, seed, &made, &err), -EPERM);
    put("0000\n", 0600);
    assert_int_equal(identity_load(path, seed, &made, &err), -EINVAL);
    put("zz000000000000000000000000000000000000000000000000000000000000ff\n", 0600);
    assert_int_equal(identity_load(path, seed, &made, &err), -EINVAL);
    assert_int_equal(identity_load("/nonexistent/key", seed, &made, &err), -ENOENT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(made_once_and_the_same_afterwards),
        TEST(what_is_no_private_key_is_refused),
        cmocka_unit_test(public_key_is_that_of_rfc_8032),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
