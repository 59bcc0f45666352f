#include "cloud/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failed(struct error *err, const char *what)
{
    int code = errno;
    return error_set(err, code, "cannot lock this process in: %s: %s", what, strerror(code));
}

/* A new root: a small tmpfs, read-only in the end, with nothing in it but "store", which is the folder. The folder is
 * taken hold of before, and put in its place after, everything else has gone out of sight. */
static int see_only(const char *folder, struct error *err)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return failed(err, "private mounts");
    int store = (int)syscall(SYS_open_tree, AT_FDCWD, folder, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (store < 0)
        return failed(err, folder);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
    int rc = 0;
    if (syscall(SYS_mount_setattr, store, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
        rc = failed(err, "no programs and devices in the store");
    else if (mount("none", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,nr_inodes=8,mode=755") ||
             chdir(folder) || mkdir("store", 0700))
        rc = failed(err, "a new root");
    else if (syscall(SYS_move_mount, store, "", AT_FDCWD, "store", MOVE_MOUNT_F_EMPTY_PATH))
        rc = failed(err, "the store's mount");
    else if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        rc = failed(err, "leaving the old root");
    else if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
        rc = failed(err, "a read-only root");
    close(store);
    return rc;
}

static int limit(int what, rlim_t most, struct error *err, const char *name)
{
    struct rlimit r = {most, most};
    return setrlimit(what, &r) ? failed(err, name) : 0;
}

static int set_limits(const struct sandbox_config *cfg, struct error *err)
{
    int rc = limit(RLIMIT_CORE, 0, err, "no core files");
    if (!rc && cfg->max_files)
        rc = limit(RLIMIT_NOFILE, cfg->max_files, err, "limit of files");
    if (!rc && cfg->max_threads && cfg->uid)
        rc = limit(RLIMIT_NPROC, cfg->max_threads, err, "limit of threads");
#ifndef __SANITIZE_ADDRESS__ /* whose shadow is terabytes of address space */
    if (!rc && cfg->memory_bytes)
        rc = limit(RLIMIT_DATA, cfg->memory_bytes, err, "limit of memory");
    if (!rc && cfg->memory_bytes)
        rc = limit(RLIMIT_AS, 2 * cfg->memory_bytes + (2ull << 30), err, "limit of address space");
#endif
    return rc;
}

static int become(uid_t uid, struct error *err)
{
    if (!uid)
        return 0;
    gid_t gid = uid;
    if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)) {
        if (errno == EINVAL)
            return error_set(err, EINVAL,
                "user id %u does not exist here (a container with few ids?); choose others with --uid-base",
                (unsigned)uid);
        return failed(err, "a user id of its own");
    }
    return 0;
}

static int drop_rights(struct error *err)
{
    for (int cap = 0; cap < 64; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL)
            return failed(err, "dropping rights for good");
    if (prctl(PR_SET_SECUREBITS,
            SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
            0, 0, 0))
        return failed(err, "no rights for root");
    return 0;
}

static int clear_rights(struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || syscall(SYS_capset, &header, none))
        return failed(err, "dropping rights");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return failed(err, "no new rights");
    return 0;
}

/* Changing the user clears the parent-death signal and the dumpable flag's value: both are set after it. */
static int close_up(struct error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0))
        return failed(err, "not being looked into");
    return 0;
}

int sandbox_enter(const struct sandbox_config *cfg, struct error *err)
{
    int rc = see_only(cfg->folder, err);
    if (!rc)
        rc = set_limits(cfg, err);
    if (!rc)
        rc = drop_rights(err);
    if (!rc)
        rc = become(cfg->uid, err);
    if (!rc)
        rc = clear_rights(err);
    if (!rc)
        rc = close_up(err);
    if (!rc && !cfg->without_filter)
        rc = sandbox_filter_enter(err);
    return rc;
}
