/* `meridian cloud publish FROM TO`: another hospital's instance may serve the middle that FROM has trained (S1). The file is
 * copied between the two stores by the operator; the instances themselves share nothing and never see each other's. */
#include "cli/verbs.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH 4096

static int path_of(char to[PATH], const char *dir, const char *hospital, const char *name, struct error *err)
{
    if (!*hospital || *hospital == '.' || strchr(hospital, '/'))
        return error_set(err, EINVAL, "\"%s\" is no hospital's name", hospital);
    if (snprintf(to, PATH, "%s/stores/%s/halves%s%s", dir, hospital, *name ? "/" : "", name) >= PATH)
        return error_set(err, ENAMETOOLONG, "%s: path too long", dir);
    return 0;
}

/* The half that was written last. */
static int newest(char ret[256], const char *dir, const char *hospital, struct error *err)
{
    char folder[PATH];
    struct timespec best = {0};
    int rc = path_of(folder, dir, hospital, "", err);
    DIR *d = rc ? NULL : opendir(folder);
    ret[0] = 0;
    for (const struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        size_t n = strlen(e->d_name);
        if (n < 6 || n >= 256 || strcmp(e->d_name + n - 5, ".gguf") != 0 || fstatat(dirfd(d), e->d_name, &st, 0))
            continue;
        if (st.st_mtim.tv_sec > best.tv_sec ||
            (st.st_mtim.tv_sec == best.tv_sec && st.st_mtim.tv_nsec >= best.tv_nsec)) {
            best = st.st_mtim;
            memcpy(ret, e->d_name, n + 1);
        }
    }
    if (d)
        closedir(d);
    return rc || ret[0] ? rc : error_set(err, ENOENT, "%s has no half of a model in this cloud", hospital);
}

static int copy(int from, int to, off_t size)
{
    off_t at = 0;
    while (at < size) {
        ssize_t n = sendfile(to, from, &at, (size_t)(size - at));
        if (n <= 0)
            return n ? -errno : -EIO;
    }
    return fsync(to) ? -errno : 0;
}

/* Whole under its own name or not there; it belongs to whom the folder belongs to: the other instance's own user. */
static int put(const char *from, const char *folder, const char *name, struct error *err)
{
    struct stat of_file, of_folder;
    char to[PATH + 300], part[PATH + 300];
    snprintf(to, sizeof(to), "%s/%s", folder, name);
    snprintf(part, sizeof(part), "%s/%s.new", folder, name);
    if (stat(folder, &of_folder))
        return error_set(err, ENOENT, "%s is not there: invite that hospital, and let its instance run once (%s)",
            folder, strerror(errno));
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out =
        in < 0 || fstat(in, &of_file) ? -1 : open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int rc = out < 0 ? -errno : copy(in, out, of_file.st_size);
    if (!rc && fchown(out, of_folder.st_uid, of_folder.st_gid))
        rc = -errno;
    if (!rc && rename(part, to))
        rc = -errno;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    if (rc && out >= 0)
        unlink(part);
    return rc ? error_set(err, -rc, "%s: %s", to, strerror(-rc)) : 0;
}

static int run(const struct cli_args *args, struct error *err)
{
    const char *dir = cli_str(args, "dir"), *a = cli_operand(args, 0), *b = cli_operand(args, 1);
    char name[256], from[PATH], folder[PATH];
    int rc = strcmp(a, b) ? newest(name, dir, a, err) : error_set(err, EINVAL, "%s has its own model already", a);
    rc = rc ? rc : path_of(from, dir, a, name, err);
    rc = rc ? rc : path_of(folder, dir, b, "", err);
    rc = rc ? rc : put(from, folder, name, err);
    if (!rc)
        printf("%s may serve %s of %s\n", b, name, a);
    return rc;
}

const struct cli_verb verb_cloud_publish = {
    .section = "Cloud",
    .name = "cloud publish",
    .summary = "let another hospital's instance serve the middle that one has trained",
    .operands = "FROM TO",
    .min_operands = 2,
    .max_operands = 2,
    .about = "Copies the cloud's half that FROM trained last into the store of TO, which has its own process and sees "
             "nothing\n"
             "else of FROM. Ask FROM first: nothing here proves that it agrees. TO needs the campus half from FROM, "
             "campus to\n"
             "campus; the two fit by their cut, step and run.",
    .example = "meridian cloud publish hospital-a hospital-b --dir /srv/meridian",
    .options = (const struct cli_option[]){{"dir", "DIR", "/var/lib/meridian/cloud", "the cloud's folder"}, {NULL}},
    .run = run,
};
