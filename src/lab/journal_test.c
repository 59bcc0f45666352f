/* Whatever way a run ends, nothing of it is left: no namespace, no process, no folder. With real ones. */
#include "lab/journal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/test.h"
#include "lab/command.h"
#include "lab/ns.h"
#include "lab/process.h"
#include "lab/tidy.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const volatile int never;
static char state_folder[64];

static bool exists(const char *path)
{
    struct stat s;
    return !lstat(path, &s);
}

static bool namespace_exists(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "/run/netns/%s", name);
    return exists(path);
}

static bool within(bool (*holds)(void *), void *what, int64_t ns)
{
    const struct timespec nap = {0, 5 * NS_PER_MS};
    for (int64_t until = clock_now_ns() + ns; !holds(what);) {
        if (clock_now_ns() > until)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

static bool is_gone(void *path)
{
    return !exists(path);
}

static bool is_there(void *path)
{
    return exists(path);
}

static bool is_dead(void *pid)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", *(pid_t *)pid);
    FILE *f = fopen(path, "re");
    if (f && !fgets(line, sizeof(line), f))
        line[0] = 0;
    if (f)
        fclose(f);
    return !line[0] || strstr(line, ") Z");
}

static struct lab_journal *begun(void)
{
    struct lab_journal *j;
    struct error err = {""};
    if (lab_journal_create(&j, &err))
        fail_msg("%s", err.text);
    return j;
}

static struct lab_process started(struct lab_journal *j, const char *ns, const char *name, const char *script)
{
    struct lab_process p;
    struct error err = {""};
    const char *argv[] = {"sh", "-c", script, NULL};
    if (lab_process_start(&p, j, ns, name, argv, &err))
        fail_msg("%s", err.text);
    return p;
}

/* A number that a script wrote into a file of the run. */
static pid_t number_in(struct lab_journal *j, const char *name)
{
    char path[LAB_PATH_SIZE];
    struct buf b = {0};
    lab_journal_path(j, path, name);
    assert_true(within(is_there, path, 10 * NS_PER_S));
    assert_int_equal(file_read(&b, path, 100, NULL), 0);
    pid_t pid = (pid_t)strtol(buf_str(&b), NULL, 10);
    buf_done(&b);
    return pid;
}

static void test_close_leaves_nothing(void **state)
{
    struct lab_journal *j = begun();
    struct lab_ns ns;
    char folder[LAB_PATH_SIZE], script[LAB_PATH_SIZE + 200];
    snprintf(folder, sizeof(folder), "%s", lab_journal_folder(j));
    assert_int_equal(lab_ns_create(&ns, j, "host", NULL), 0);
    assert_true(namespace_exists(ns.name));
    assert_int_equal(lab_ns_ip(&ns, "link add name va type veth peer name vb\nlink set va up\n", NULL), 0);
    assert_true(lab_ns_has_device(&ns, "va"));
    assert_false(lab_ns_has_device(&ns, "vc"));
    assert_int_equal(lab_ns_sysctl(&ns, "net/ipv4/tcp_ecn", "1", NULL), 0);
    /* one that runs, and one that left its parent, its session and its terminal */
    snprintf(script, sizeof(script),
        "setsid sh -c 'sleep 1000 & echo $! >%s/far.new; mv %s/far.new %s/far' & sleep 1000", folder, folder, folder);
    struct lab_process near = started(j, ns.name, "near", script), outside = started(j, NULL, "outside", "sleep 1000");
    pid_t far = number_in(j, "far");
    assert_false(is_dead(&far));
    lab_journal_close(j, false);
    assert_true(is_dead(&near.pid) && is_dead(&far) && is_dead(&outside.pid));
    assert_false(namespace_exists(ns.name));
    assert_false(exists(folder));
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

/* A run that dies: its folder, namespace and processes. */
struct crashed {
    pid_t run, janitor, process;
    char folder[LAB_PATH_SIZE], ns[96];
};

static struct crashed crash(int sig, bool janitor_too)
{
    struct crashed c = {0};
    int p[2];
    assert_int_equal(pipe(p), 0);
    c.run = fork();
    if (c.run == 0) {
        struct lab_journal *j = begun();
        struct lab_ns ns;
        if (lab_ns_create(&ns, j, "host", NULL))
            _exit(1);
        struct lab_process w = started(j, ns.name, "worker", "trap '' TERM INT; echo up; sleep 1000; sleep 1000");
        if (lab_process_ready(&w, "up", clock_now_ns() + 10 * NS_PER_S, &never, NULL)) /* before, it shares our lock */
            _exit(1);
        char children[64], text[64] = "";
        snprintf(children, sizeof(children), "/proc/self/task/%d/children", (int)getpid());
        FILE *f = fopen(children, "re"); /* the first child is the janitor */
        if (!f || !fgets(text, sizeof(text), f))
            _exit(1);
        c.janitor = (pid_t)strtol(text, NULL, 10);
        c.process = w.pid;
        snprintf(c.folder, sizeof(c.folder), "%s", lab_journal_folder(j));
        snprintf(c.ns, sizeof(c.ns), "%s", ns.name);
        if (write(p[1], &c, sizeof(c)) != sizeof(c))
            _exit(1);
        for (;;)
            pause();
    }
    pid_t run = c.run;
    close(p[1]);
    assert_int_equal(read(p[0], &c, sizeof(c)), sizeof(c));
    close(p[0]);
    c.run = run;
    assert_true(namespace_exists(c.ns) && exists(c.folder) && !is_dead(&c.process));
    struct lab_cleaned cleaned;
    assert_int_equal(lab_clean(&cleaned, true, NULL), 0); /* somebody answers for it: left alone */
    assert_true(cleaned.alive >= 1 && namespace_exists(c.ns) && !is_dead(&c.process));
    if (janitor_too)
        kill(c.janitor, SIGKILL);
    kill(c.run, sig);
    waitpid(c.run, NULL, 0);
    return c;
}

static void test_the_janitor_tidies_up_after_a_crash(void **state)
{
    struct crashed c = crash(SIGKILL, false);
    assert_true(within(is_gone, c.folder, 20 * NS_PER_S));
    assert_false(namespace_exists(c.ns));
    assert_true(is_dead(&c.process));
}

static void test_the_next_run_tidies_up_when_the_janitor_died_too(void **state)
{
    struct crashed c = crash(SIGKILL, true);
    struct lab_cleaned cleaned;
    assert_true(within(is_dead, &c.janitor, 10 * NS_PER_S)); /* its lock is free then */
    assert_true(exists(c.folder) && namespace_exists(c.ns));
    assert_int_equal(lab_clean(&cleaned, false, NULL), 0);
    assert_int_equal(cleaned.runs, 1);
    assert_int_equal(cleaned.namespaces, 1);
    assert_false(exists(c.folder) || namespace_exists(c.ns));
    assert_true(is_dead(&c.process));
    assert_int_equal(lab_clean(&cleaned, true, NULL), 0);
    assert_int_equal(cleaned.runs + cleaned.alive, 0);
}

static void test_a_kept_folder_stays_until_someone_cleans(void **state)
{
    struct lab_journal *j = begun();
    struct lab_ns ns;
    struct lab_cleaned cleaned;
    char folder[LAB_PATH_SIZE];
    snprintf(folder, sizeof(folder), "%s", lab_journal_folder(j));
    assert_int_equal(lab_ns_create(&ns, j, "host", NULL), 0);
    lab_journal_close(j, true);
    assert_false(namespace_exists(ns.name));
    assert_int_equal(lab_clean(&cleaned, false, NULL), 0);
    assert_true(exists(folder));
    assert_int_equal(lab_clean(&cleaned, true, NULL), 0);
    assert_false(exists(folder));
}

static void test_a_journal_cut_off_in_a_line(void **state)
{
    struct lab_journal *j = begun();
    struct lab_tidied tidied;
    char path[LAB_PATH_SIZE], other[96];
    snprintf(other, sizeof(other), "mt-%d-other", (int)getpid()); /* somebody else's */
    assert_int_equal(lab_ip(NULL, "netns", "add", other, NULL), 0);
    lab_journal_path(j, path, "cut");
    char text[300];
    int n = snprintf(text, sizeof(text), "namespace never-made\nnamespace ../netns/%s\nnames", other);
    assert_int_equal(file_write(path, text, (size_t)n, 0600, NULL), 0);
    assert_true(lab_tidy("none", path, &tidied));
    assert_int_equal(tidied.namespaces, 0);
    assert_true(namespace_exists(other));
    lab_ip(NULL, "netns", "delete", other, NULL);
    lab_journal_close(j, false);
}

/* --- processes --- */

static void test_readiness_and_ends_are_noticed(void **state)
{
    struct lab_journal *j = begun();
    struct error err = {""};
    struct lab_process p = started(j, NULL, "good", "echo starting; echo 'now ready' >&2; sleep 1000");
    assert_int_equal(lab_process_ready(&p, "now ready", clock_now_ns() + 10 * NS_PER_S, &never, &err), 0);
    assert_true(lab_process_check(&p));
    struct lab_process *list[] = {&p};
    lab_process_stop(list, 1, SIGTERM, 5 * NS_PER_S);
    assert_true(!p.running && WIFSIGNALED(p.status) && WTERMSIG(p.status) == SIGTERM);

    struct lab_process bad = started(j, NULL, "bad", "echo 'no such thing' >&2; exit 3");
    assert_int_equal(lab_process_ready(&bad, "now ready", clock_now_ns() + 10 * NS_PER_S, &never, &err), -ECHILD);
    assert_non_null(strstr(err.text, "bad exited with status 3: no such thing"));

    struct lab_process mute = started(j, NULL, "mute", "trap '' TERM; echo deaf; sleep 1000; sleep 1000");
    assert_int_equal(lab_process_ready(&mute, "ready", clock_now_ns() + NS_PER_S / 5, &never, &err), -ETIMEDOUT);
    list[0] = &mute;
    lab_process_stop(list, 1, SIGTERM, NS_PER_S / 5);
    assert_true(WIFSIGNALED(mute.status) && WTERMSIG(mute.status) == SIGKILL);

    const char *argv[] = {"/nowhere/at/all", NULL};
    assert_int_equal(lab_process_start(&bad, j, NULL, "absent", argv, NULL), 0);
    assert_true(lab_process_wait(&bad, clock_now_ns() + 10 * NS_PER_S, &never));
    char text[500];
    lab_process_describe(&bad, text, sizeof(text));
    assert_non_null(strstr(text, "exited with status 127: cannot run /nowhere/at/all"));
    lab_journal_close(j, false);
}

static void test_a_process_lives_in_its_namespace(void **state)
{
    struct lab_journal *j = begun();
    struct lab_ns ns;
    assert_int_equal(lab_ns_create(&ns, j, "x", NULL), 0);
    assert_int_equal(lab_ns_ip(&ns, "link add only-there type veth peer name p\n", NULL), 0);
    struct lab_process p = started(j, ns.name, "look", "ls /sys/class/net");
    assert_int_equal(lab_process_ready(&p, "only-there", clock_now_ns() + 10 * NS_PER_S, &never, NULL), 0);
    assert_true(lab_process_wait(&p, clock_now_ns() + 10 * NS_PER_S, &never));
    lab_journal_close(j, false);
}

static void test_commands_speak(void **state)
{
    struct error err = {""};
    struct buf out = {0};
    const char *cat[] = {"cat", NULL}, *fail[] = {"sh", "-c", "echo it broke >&2; exit 1", NULL},
               *none[] = {"/none", NULL};
    char *big = malloc(300001);
    memset(big, 'x', 300000);
    big[300000] = 0;
    assert_int_equal(lab_command(cat, big, &out, &err), 0);
    assert_int_equal(out.len, 300000);
    assert_int_equal(lab_command(fail, NULL, NULL, &err), -EIO);
    assert_non_null(strstr(err.text, "it broke"));
    assert_true(lab_command(none, NULL, NULL, &err) < 0);
    assert_int_equal(lab_ip(&err, "link", "show", "dev", "none-such", NULL), -EIO);
    assert_non_null(strstr(err.text, "none-such"));
    buf_done(&out);
    free(big);
}

int main(void)
{
    if (geteuid()) {
        fprintf(stderr, "skipped: needs root\n");
        return 77;
    }
    snprintf(state_folder, sizeof(state_folder), "/tmp/lab-test-XXXXXX");
    if (!mkdtemp(state_folder))
        return 1;
    setenv("MERIDIAN_LAB_STATE", state_folder, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_leaves_nothing),
        cmocka_unit_test(test_the_janitor_tidies_up_after_a_crash),
        cmocka_unit_test(test_the_next_run_tidies_up_when_the_janitor_died_too),
        cmocka_unit_test(test_a_kept_folder_stays_until_someone_cleans),
        cmocka_unit_test(test_a_journal_cut_off_in_a_line),
        cmocka_unit_test(test_readiness_and_ends_are_noticed),
        cmocka_unit_test(test_a_process_lives_in_its_namespace),
        cmocka_unit_test(test_commands_speak),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    struct lab_cleaned cleaned;
    lab_clean(&cleaned, true, NULL); /* also what a failed test left */
    lab_remove_folder(state_folder);
    return rc;
}
