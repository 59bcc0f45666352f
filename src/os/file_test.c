#include "base/test.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/meridian-file-test-XXXXXX";
static char path[256];

static int make_folder(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/a", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(path);
    return rmdir(folder);
}

static void a_written_file_reads_back_with_its_mode(void **state)
{
    struct error err = {""};
    assert_int_equal(file_write(path, "hello", 5, 0600, &err), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct buf b = {0};
    assert_int_equal(file_read(&b, path, 5, &err), 0);
    assert_memory_equal(b.data, "hello", 5);
    assert_int_equal(file_read(&b, path, 4, &err), -EFBIG);
    assert_int_equal(b.len, 5);
    struct file_map m;
    assert_int_equal(file_map_open(&m, path, &err), 0);
    assert_int_equal(m.size, 5);
    file_map_close(&m);
    buf_done(&b);
}

static void an_abandoned_file_leaves_the_old_one(void **state)
{
    struct error err = {""};
    struct file_new f;
    assert_int_equal(file_write(path, "old", 3, 0600, &err), 0);
    assert_int_equal(file_new_open(&f, path, 0600, &err), 0);
    assert_int_equal(file_write_all(f.fd, "new", 3), 0);
    file_new_abandon(&f);
    assert_int_equal(access(f.temporary, F_OK), -1);
    struct buf b = {0};
    assert_int_equal(file_read(&b, path, 100, &err), 0);
    assert_string_equal(buf_str(&b), "old");
    buf_done(&b);
}

static void errors_name_the_path(void **state)
{
    struct error err = {""};
    struct file_map m;
    assert_int_equal(file_map_open(&m, "/nonexistent/x", &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    assert_int_equal(file_map_open(&m, "/tmp", &err), -EINVAL);
    assert_true(file_make_dir("/proc/version/x", 0700, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_file_reads_back_with_its_mode),
        cmocka_unit_test(an_abandoned_file_leaves_the_old_one),
        cmocka_unit_test(errors_name_the_path),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
