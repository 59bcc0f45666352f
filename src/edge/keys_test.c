#include "edge/keys.h"
#include "http/tls_files.h"

#include "base/test.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[128];

static int make_dir(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/edge-keys-XXXXXX");
    snprintf(path, sizeof(path), "%s/keys", mkdtemp(dir));
    return 0;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"keys", "keys.lock", "edge-tls.crt", "edge-tls.key"};
    char file[192];
    for (size_t i = 0; i < 4; i++) {
        snprintf(file, sizeof(file), "%s/%s", dir, names[i]);
        unlink(file);
    }
    return rmdir(dir);
}

static bool check(struct keys *k, const char *key, char *name)
{
    char header[128];
    snprintf(header, sizeof(header), "Bearer %s", key);
    return keys_check(k, header, name);
}

static void a_key_opens_until_it_is_removed(void **state)
{
    char ward[64], lab[64], name[KEY_NAME_MOST + 1] = "";
    struct error err = {""};
    struct keys *k;
    assert_int_equal(keys_open(&k, path, &err), 0);
    assert_false(keys_any(k));
    assert_int_equal(keys_file_add(path, "ward-3", ward, &err), 0);
    assert_int_equal(keys_file_add(path, "lab", lab, &err), 0);
    assert_int_equal(keys_file_add(path, "lab", lab + 0, &err), -EEXIST);
    assert_true(keys_any(k));
    assert_true(check(k, ward, name));
    assert_string_equal(name, "ward-3");
    assert_true(check(k, lab, name));
    assert_string_equal(name, "lab");
    ward[10] ^= 1;
    assert_false(check(k, ward, name));
    ward[10] ^= 1;
    assert_false(check(k, "", name));
    assert_false(keys_check(k, NULL, name));
    assert_false(keys_check(k, ward, name));
    assert_int_equal(keys_file_remove(path, "ward-3", &err), 0);
    assert_int_equal(keys_file_remove(path, "ward-3", &err), -ENOENT);
    assert_false(check(k, ward, name));
    assert_true(check(k, lab, name));
    keys_close(k);
}

static void the_file_holds_no_key_and_is_private(void **state)
{
    char key[64];
    struct error err = {""};
    struct stat st;
    struct buf text = {0};
    assert_int_equal(keys_file_add(path, "a", key, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(file_read(&text, path, 1 << 20, &err), 0);
    assert_null(strstr(buf_str(&text), key));
    assert_null(strstr(buf_str(&text), key + 3));
    assert_int_equal(strlen(key), 55);
    buf_done(&text);
}

static void bad_names_and_bad_files_are_refused(void **state)
{
    char key[64];
    struct error err = {""};
    struct key_entry *list;
    size_t n;
    assert_int_equal(keys_file_add(path, "two words", key, &err), -EINVAL);
    assert_int_equal(keys_file_add(path, "", key, &err), -EINVAL);
    assert_int_equal(file_write(path, "nonsense\n", 9, 0600, &err), 0);
    assert_int_equal(keys_file_list(path, &list, &n, &err), -EINVAL);
    assert_non_null(strstr(err.text, "keys"));
    struct keys *k;
    assert_int_equal(keys_open(&k, path, &err), -EINVAL);
}

/* A running edge whose file breaks keeps the keys it knows. */
static void a_broken_file_keeps_the_keys_in_force(void **state)
{
    char key[64], name[KEY_NAME_MOST + 1];
    struct error err = {""};
    struct keys *k;
    assert_int_equal(keys_file_add(path, "a", key, &err), 0);
    assert_int_equal(keys_open(&k, path, &err), 0);
    assert_int_equal(file_write(path, "nonsense\n", 9, 0600, &err), 0);
    assert_true(keys_any(k));
    assert_true(check(k, key, name));
    keys_close(k);
}

static void a_self_signed_pair_is_made_once(void **state)
{
    struct tls_files a, b;
    struct error err = {""};
    uint8_t print[32];
    assert_int_equal(tls_files_self_signed(&a, dir, "edge.hospital.test", &err), 0);
    assert_true(a.made);
    assert_int_equal(tls_files_self_signed(&b, dir, NULL, &err), 0);
    assert_false(b.made);
    assert_string_equal(a.fingerprint, b.fingerprint);
    assert_string_equal(a.cert_pem, b.cert_pem);
    assert_true(tls_fingerprint_parse(a.fingerprint, print));
    assert_false(tls_fingerprint_parse("AB:CD", print));
    assert_false(tls_fingerprint_parse("xyz", print));
    tls_files_done(&a);
    tls_files_done(&b);
    char crt[128], key[128];
    snprintf(crt, sizeof(crt), "%s/edge-tls.crt", dir);
    snprintf(key, sizeof(key), "%s/edge-tls.key", dir);
    assert_int_equal(tls_files_load(&a, crt, crt, &err), -EINVAL);
    assert_int_equal(tls_files_load(&a, key, key, &err), -EINVAL);
    assert_int_equal(tls_files_load(&a, crt, key, &err), 0);
    tls_files_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_opens_until_it_is_removed, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(the_file_holds_no_key_and_is_private, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(bad_names_and_bad_files_are_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_broken_file_keeps_the_keys_in_force, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_self_signed_pair_is_made_once, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
