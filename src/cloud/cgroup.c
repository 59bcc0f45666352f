/* Our own cgroup v2 gets two kinds of children: "supervisor", into which we move (a group with controllers may hold no
 * processes itself), and one for each worker. Works where systemd delegates (Delegate=yes) or in a container's own
 * cgroup; anywhere else -ENOTSUP. */
#include "cloud/sandbox.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int put(const char *folder, const char *file, const char *text)
{
    char path[4352];
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static bool lists_memory(const char *folder, const char *file)
{
    char path[4352];
    struct buf text = {0};
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    bool found = !file_read(&text, path, 4096, NULL) && strstr(buf_str(&text), "memory");
    buf_done(&text);
    return found;
}

/* The folder of the cgroup that this process was started in. */
static bool find_own(char to[4096])
{
    struct buf text = {0};
    bool found = false;
    if (!file_read(&text, "/proc/self/cgroup", 65536, NULL)) {
        const char *line = strstr(buf_str(&text), "0::/");
        if (line) {
            size_t n = strcspn(line + 3, "\n");
            found = snprintf(to, 4096, "/sys/fs/cgroup%.*s", (int)n, line + 3) < 4096;
        }
    }
    buf_done(&text);
    char *tail = found ? strstr(to, "/supervisor") : NULL;
    if (tail && !tail[11]) /* a worker after the first: we have moved already */
        *tail = 0;
    return found;
}

static int prepare(const char *own)
{
    char folder[4200];
    if (lists_memory(own, "cgroup.subtree_control"))
        return 0;
    if (!lists_memory(own, "cgroup.controllers"))
        return -ENOTSUP;
    snprintf(folder, sizeof(folder), "%s/supervisor", own);
    if (mkdir(folder, 0755) && errno != EEXIST)
        return -ENOTSUP;
    if (put(folder, "cgroup.procs", "0") || put(own, "cgroup.subtree_control", "+memory"))
        return -ENOTSUP;
    return 0;
}

int sandbox_cgroup_open(int *ret_fd, const char *name, uint64_t memory_bytes, struct error *err)
{
    char own[4096], folder[4200], text[32];
    if (!find_own(own) || prepare(own))
        return error_set(err, ENOTSUP, "no cgroup v2 with a memory controller here");
    snprintf(folder, sizeof(folder), "%s/%.64s", own, name);
    if (mkdir(folder, 0755) && errno != EEXIST)
        return error_set(err, ENOTSUP, "%s: cannot make it: %s", folder, strerror(errno));
    snprintf(text, sizeof(text), "%" PRIu64, memory_bytes);
    int rc = put(folder, "memory.max", text);
    if (!rc) {
        (void)put(folder, "memory.swap.max", "0"); /* what a worker holds is not for a disk */
        (void)put(folder, "memory.oom.group", "1");
        *ret_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = *ret_fd < 0 ? -errno : 0;
    }
    return rc ? error_set(err, -rc, "%s: cannot set its limit: %s", folder, strerror(-rc)) : 0;
}
