/* What is remembered outlives every crash: a write that stops at any byte leaves the state before or the new one. */
#include "router/xsec_state.h"

#include "base/test.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];
static struct error err;

static int set_up(void **state)
{
    strcpy(path, "/tmp/xsec-state-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    return unlink(path);
}

static int tear_down(void **state)
{
    return unlink(path);
}

static struct xsec_state reopened(void)
{
    struct xsec_state s;
    if (xsec_state_open(&s, path, getuid(), getgid(), &err))
        fail_msg("%s", err.text);
    return s;
}

static void it_remembers(void **state)
{
    struct xsec_state s = reopened();
    struct stat st;
    assert_int_equal(s.generation, 0);
    assert_int_equal(s.list_len, 0);
    stat(path, &st);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (uint64_t g = 1; g < 20; g++) {
        assert_int_equal(xsec_state_keep_generation(&s, g * 1000), 0);
        assert_int_equal(xsec_state_keep_list(&s, &(uint8_t){(uint8_t)g}, 1), 0);
        xsec_state_close(&s);
        s = reopened();
        assert_int_equal(s.generation, g * 1000);
        assert_int_equal(s.list_len, 1);
        assert_int_equal(s.list[0], g);
    }
    static uint8_t longest[XSEC_REVOCATIONS_MOST + 1] = {[XSEC_REVOCATIONS_MOST - 1] = 9};
    assert_int_equal(xsec_state_keep_list(&s, longest, sizeof longest), -EINVAL);
    assert_int_equal(xsec_state_keep_list(&s, longest, sizeof longest - 1), 0);
    xsec_state_close(&s);
    s = reopened();
    assert_int_equal(s.list[XSEC_REVOCATIONS_MOST - 1], 9);
    assert_int_equal(s.generation, 19000);
    xsec_state_close(&s);
}

/* Both files byte for byte, before and after a write; then every file that a crash could leave between them. */
static void a_torn_write_leaves_one_of_the_two(void **state)
{
    struct xsec_state s = reopened();
    assert_int_equal(xsec_state_keep_generation(&s, 111), 0);
    assert_int_equal(xsec_state_keep_generation(&s, 222), 0);
    struct buf before = {0}, after = {0};
    assert_int_equal(file_read(&before, path, 1 << 16, &err), 0);
    assert_int_equal(xsec_state_keep_generation(&s, 333), 0);
    assert_int_equal(file_read(&after, path, 1 << 16, &err), 0);
    xsec_state_close(&s);
    unsigned old = 0, new = 0;
    size_t differs = 0;
    for (size_t cut = 0; cut <= after.len; cut++) {
        if (cut < after.len && before.data[cut] == after.data[cut])
            continue;
        differs++;
        int fd = open(path, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, after.data, cut), (ssize_t)cut);
        assert_int_equal(write(fd, before.data + cut, before.len - cut), (ssize_t)(before.len - cut));
        close(fd);
        s = reopened();
        assert_true(s.generation == 222 || s.generation == 333);
        old += s.generation == 222;
        new += s.generation == 333;
        xsec_state_close(&s);
    }
    assert_true(differs > 30 && old > 30);
    assert_int_equal(new, 1); /* all of it arrived */
    /* And the sectors out of order: the end of the record is new, its beginning is not. */
    for (size_t cut = 1; cut < after.len; cut++) {
        if (memcmp(before.data, after.data, cut) == 0 ||
            memcmp(before.data + cut, after.data + cut, after.len - cut) == 0)
            continue;
        int fd = open(path, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, before.data, cut), (ssize_t)cut);
        assert_int_equal(write(fd, after.data + cut, after.len - cut), (ssize_t)(after.len - cut));
        close(fd);
        s = reopened();
        assert_int_equal(s.generation, 222);
        xsec_state_close(&s);
    }
    buf_done(&before);
    buf_done(&after);
}

static void what_makes_no_sense_is_never_taken_for_new(void **state)
{
    struct xsec_state s = reopened();
    assert_int_equal(xsec_state_keep_generation(&s, 5), 0);
    xsec_state_close(&s);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, 6), 1);
    assert_int_equal(pwrite(fd, "x", 1, XSEC_STATE_PLACE + 6), 1);
    close(fd);
    assert_int_equal(xsec_state_open(&s, path, getuid(), getgid(), &err), -EINVAL);
    assert_non_null(strstr(err.text, "destroyed"));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(xsec_state_open(&s, path, getuid(), getgid(), &err), -EINVAL);
}

static void a_disk_that_fails_changes_nothing(void **state)
{
    struct xsec_state s = reopened();
    assert_int_equal(xsec_state_keep_generation(&s, 5), 0);
    int fd = s.fd;
    s.fd = open(path, O_RDONLY);
    assert_true(xsec_state_keep_generation(&s, 6) < 0);
    assert_int_equal(s.generation, 5);
    close(s.fd);
    s.fd = fd;
    assert_int_equal(xsec_state_keep_generation(&s, 7), 0);
    xsec_state_close(&s);
    s = reopened();
    assert_int_equal(s.generation, 7);
    xsec_state_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_remembers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_write_leaves_one_of_the_two, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_never_taken_for_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_disk_that_fails_changes_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
