#include "lab/journal.h"

#include "base/rng.h"
#include "lab/tidy.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PREFIX      "ml-"
#define FRESH_FOR_S 60 /* a folder without its lock may be just being made */

struct lab_journal {
    char run[LAB_RUN_SIZE], folder[LAB_PATH_SIZE - 64];
    int lock, file;
    pid_t janitor;
    int leash; /* the janitor reads from it: a byte says that all is well, its end that we are dead */
};

void lab_state_folder(char ret[LAB_PATH_SIZE])
{
    const char *set = getenv("MERIDIAN_LAB_STATE"), *tmp = getenv("TMPDIR");
    if (set && set[0])
        snprintf(ret, LAB_PATH_SIZE, "%s", set);
    else if (!access("/run", W_OK))
        snprintf(ret, LAB_PATH_SIZE, "/run/meridian-lab");
    else
        snprintf(ret, LAB_PATH_SIZE, "%s/meridian-lab-%u", tmp && tmp[0] ? tmp : "/tmp", (unsigned)getuid());
}

const char *lab_journal_run(const struct lab_journal *j)
{
    return j->run;
}

const char *lab_journal_folder(const struct lab_journal *j)
{
    return j->folder;
}

void lab_journal_path(const struct lab_journal *j, char ret[LAB_PATH_SIZE], const char *name)
{
    snprintf(ret, LAB_PATH_SIZE, "%s/%s", j->folder, name);
}

int lab_journal_namespace(struct lab_journal *j, const char *name, struct error *err)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "namespace %s\n", name);
    if (n >= (int)sizeof(line) || strchr(name, '/') || strchr(name, '\n'))
        return error_set(err, EINVAL, "\"%s\" is no name for a namespace", name);
    int rc = file_write_all(j->file, line, (size_t)n);
    return rc ? error_set(err, -rc, "cannot write %s/journal: %s", j->folder, strerror(-rc)) : 0;
}

/* --- the janitor --- */

/* Never returns. Nothing of the parent's is used but what was opened before: the parent may have been in any state. */
static void be_janitor(const struct lab_journal *j, int leash)
{
    char byte = 0, path[LAB_PATH_SIZE];
    struct lab_tidied tidied;
    setsid(); /* ^C is not for us */
    prctl(PR_SET_NAME, "lab-janitor");
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, sig == SIGINT || sig == SIGTERM || sig == SIGHUP ? SIG_IGN : SIG_DFL);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    int most = j->lock > leash ? j->lock : leash, least = j->lock < leash ? j->lock : leash;
    if (least > 3) /* all but the two: a pipe's end that we held would keep somebody waiting */
        syscall(SYS_close_range, 3, least - 1, 0);
    if (most - least > 1)
        syscall(SYS_close_range, least + 1, most - 1, 0);
    syscall(SYS_close_range, most + 1, ~0u, 0);
    ssize_t n;
    while ((n = read(leash, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (n == 0) {
        lab_journal_path(j, path, "journal");
        if (lab_tidy(j->run, path, &tidied))
            lab_remove_folder(j->folder);
    }
    _exit(0);
}

static int start_janitor(struct lab_journal *j, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return error_set(err, errno, "no pipe: %s", strerror(errno));
    j->janitor = fork();
    if (j->janitor == 0) {
        close(ends[1]);
        be_janitor(j, ends[0]);
    }
    close(ends[0]);
    if (j->janitor < 0) {
        int rc = error_set(err, errno, "cannot start a process: %s", strerror(errno));
        close(ends[1]);
        return rc;
    }
    j->leash = ends[1];
    return 0;
}

static void dismiss_janitor(struct lab_journal *j)
{
    if (j->janitor <= 0)
        return;
    (void)!write(j->leash, "x", 1);
    close(j->leash);
    while (waitpid(j->janitor, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* --- a run's folder --- */

/* Made and locked under another name first, so that nobody ever sees it without its lock. */
static int make_folder(struct lab_journal *j, const char *state, struct error *err)
{
    uint32_t number;
    char fresh[LAB_PATH_SIZE], path[LAB_PATH_SIZE + 16];
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return error_set(err, errno, "no random number: %s", strerror(errno));
    snprintf(j->run, sizeof(j->run), PREFIX "%08x", (unsigned)number);
    snprintf(j->folder, sizeof(j->folder), "%.400s/%s", state, j->run);
    snprintf(fresh, sizeof(fresh), "%.400s/new-%s", state, j->run);
    int rc = file_make_dir(fresh, 0711, err); /* routers that gave up their user still reach their sockets */
    if (rc)
        return rc;
    snprintf(path, sizeof(path), "%s/lock", fresh);
    j->lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    snprintf(path, sizeof(path), "%s/journal", fresh);
    j->file = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (j->lock < 0 || j->file < 0 || flock(j->lock, LOCK_EX | LOCK_NB) || rename(fresh, j->folder)) {
        rc = error_set(err, errno, "cannot make %s: %s", j->folder, strerror(errno));
        lab_remove_folder(fresh);
    }
    return rc;
}

int lab_journal_create(struct lab_journal **ret, struct error *err)
{
    char state[LAB_PATH_SIZE];
    if (geteuid())
        return error_set(
            err, EPERM, "the lab makes network namespaces: run it as root, for example in tools/root shell");
    struct lab_journal *j = calloc(1, sizeof(*j));
    if (!j)
        return error_set(err, ENOMEM, "out of memory");
    j->lock = j->file = j->leash = -1;
    lab_state_folder(state);
    int rc = make_folder(j, state, err);
    rc = rc ? rc : start_janitor(j, err);
    if (rc)
        return lab_journal_close(j, false), rc;
    *ret = j;
    return 0;
}

void lab_journal_close(struct lab_journal *j, bool keep_folder)
{
    char path[LAB_PATH_SIZE];
    struct lab_tidied tidied;
    if (!j)
        return;
    if (j->file >= 0 && j->folder[0]) {
        lab_journal_path(j, path, "journal");
        bool clean = lab_tidy(j->run, path, &tidied);
        if (clean && !keep_folder)
            lab_remove_folder(j->folder);
    }
    if (keep_folder && j->folder[0]) {
        lab_journal_path(j, path, "kept");
        (void)file_write(path, "", 0, 0600, NULL);
    }
    dismiss_janitor(j);
    if (j->file >= 0)
        close(j->file);
    if (j->lock >= 0)
        close(j->lock);
    free(j);
}

/* --- runs that nobody answers for --- */

static bool just_made(const char *folder)
{
    struct stat s;
    return stat(folder, &s) || time(NULL) - s.st_mtime < FRESH_FOR_S;
}

static void clean_one(const char *state, const char *name, bool kept_too, struct lab_cleaned *ret)
{
    char folder[2 * LAB_PATH_SIZE], path[2 * LAB_PATH_SIZE + 16];
    struct lab_tidied tidied = {0};
    snprintf(folder, sizeof(folder), "%s/%s", state, name);
    if (!strncmp(name, "new-", 4)) {
        if (!just_made(folder))
            lab_remove_folder(folder);
        return;
    }
    snprintf(path, sizeof(path), "%s/kept", folder);
    if (!kept_too && !access(path, F_OK))
        return;
    snprintf(path, sizeof(path), "%s/lock", folder);
    int lock = open(path, O_RDWR | O_CLOEXEC);
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB)) {
        ret->alive++;
        close(lock);
        return;
    }
    snprintf(path, sizeof(path), "%s/journal", folder);
    if (lab_tidy(name, path, &tidied)) {
        lab_remove_folder(folder);
        ret->runs++;
    }
    ret->processes += tidied.processes;
    ret->namespaces += tidied.namespaces;
    if (lock >= 0)
        close(lock);
}

int lab_clean(struct lab_cleaned *ret, bool kept_too, struct error *err)
{
    char state[LAB_PATH_SIZE];
    *ret = (struct lab_cleaned){0};
    lab_state_folder(state);
    DIR *d = opendir(state);
    if (!d && errno == ENOENT)
        return 0;
    if (!d)
        return error_set(err, errno, "cannot read %s: %s", state, strerror(errno));
    for (const struct dirent *e; (e = readdir(d));)
        if (!strncmp(e->d_name, PREFIX, 3) || !strncmp(e->d_name, "new-" PREFIX, 7))
            clean_one(state, e->d_name, kept_too, ret);
    closedir(d);
    return 0;
}
