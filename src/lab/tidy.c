#include "lab/tidy.h"

#include "base/buf.h"
#include "base/clock.h"
#include "lab/command.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NETNS_FOLDER "/run/netns/"
#define KILL_FOR     (5 * NS_PER_S)
#define NAMES_MOST   1024

struct names {
    char *text; /* the journal, cut into lines */
    char *name[NAMES_MOST];
    struct stat where[NAMES_MOST]; /* of the namespace; st_ino 0: it does not exist */
    unsigned n;
};

static void read_names(struct names *n, const char *journal)
{
    struct buf b = {0};
    memset(n, 0, sizeof(*n));
    if (file_read(&b, journal, 1 << 20, NULL) || buf_append(&b, "", 1))
        return buf_done(&b);
    n->text = (char *)b.data;
    for (char *rest = n->text, *line; (line = strsep(&rest, "\n")) && n->n < NAMES_MOST;) {
        if (strncmp(line, "namespace ", 10) || strchr(line + 10, '/'))
            continue; /* cut off by a crash, or not ours */
        char path[512];
        n->name[n->n] = line + 10;
        snprintf(path, sizeof(path), NETNS_FOLDER "%s", line + 10);
        if (stat(path, &n->where[n->n]))
            n->where[n->n].st_ino = 0;
        n->n++;
    }
}

/* --- processes --- */

static bool carries_mark(pid_t pid, const char *mark)
{
    char path[64];
    struct buf b = {0};
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    file_read(&b, path, 1 << 20, NULL); /* gone in the meantime: empty */
    size_t len = strlen(mark) + 1;
    for (size_t at = 0; !found && at + len <= b.len;) {
        found = !memcmp(b.data + at, mark, len);
        const uint8_t *end = memchr(b.data + at, 0, b.len - at);
        at = end ? (size_t)(end - b.data) + 1 : b.len;
    }
    buf_done(&b);
    return found;
}

static bool lives_in(pid_t pid, const struct names *n)
{
    char path[64];
    struct stat s;
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    if (stat(path, &s))
        return false;
    for (unsigned i = 0; i < n->n; i++)
        if (n->where[i].st_ino && n->where[i].st_ino == s.st_ino && n->where[i].st_dev == s.st_dev)
            return true;
    return false;
}

static bool is_zombie(pid_t pid)
{
    char path[64], line[512], *after;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    bool zombie = !f || !fgets(line, sizeof(line), f) || !(after = strrchr(line, ')')) || after[2] == 'Z';
    if (f)
        fclose(f);
    return zombie;
}

/* Kills all that belongs to the run; how many there were (ours excepted). */
static unsigned kill_round(const char *mark, const struct names *names)
{
    DIR *proc = opendir("/proc");
    unsigned found = 0;
    for (const struct dirent *e; proc && (e = readdir(proc));) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid <= 1 || pid == getpid() || !(carries_mark(pid, mark) || lives_in(pid, names)) || is_zombie(pid))
            continue;
        kill(pid, SIGKILL);
        found++;
    }
    if (proc)
        closedir(proc);
    return found;
}

static bool kill_all(const char *run, const struct names *names, unsigned *ret_killed)
{
    char mark[128];
    snprintf(mark, sizeof(mark), LAB_MARK "=%s", run);
    const struct timespec pause = {0, 5 * NS_PER_MS};
    int64_t until = clock_now_ns() + KILL_FOR;
    *ret_killed = 0;
    for (unsigned n; (n = kill_round(mark, names)) > 0;) {
        *ret_killed = n > *ret_killed ? n : *ret_killed;
        if (clock_now_ns() > until)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

bool lab_tidy(const char *run, const char *journal, struct lab_tidied *ret)
{
    struct names *names = calloc(1, sizeof(*names));
    *ret = (struct lab_tidied){0};
    if (!names)
        return false;
    read_names(names, journal);
    bool clean = kill_all(run, names, &ret->processes);
    for (unsigned i = 0; i < names->n; i++) {
        if (!names->where[i].st_ino)
            continue; /* noted and never made, or gone already */
        if (lab_ip(NULL, "netns", "delete", names->name[i], NULL))
            clean = false;
        else
            ret->namespaces++;
    }
    free(names->text);
    free(names);
    return clean;
}

/* --- files --- */

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)remove(path);
    return 0;
}

void lab_remove_folder(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
