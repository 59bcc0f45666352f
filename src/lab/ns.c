#include "lab/ns.h"

#include "lab/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int lab_ns_create(struct lab_ns *ret, struct lab_journal *j, const char *what, struct error *err)
{
    struct lab_ns ns;
    snprintf(ns.name, sizeof(ns.name), "%s-%.64s", lab_journal_run(j), what);
    int rc = lab_journal_namespace(j, ns.name, err);
    rc = rc ? rc : lab_ip(err, "netns", "add", ns.name, NULL);
    rc = rc ? rc : lab_ip(err, "-n", ns.name, "link", "set", "lo", "up", NULL);
    if (!rc)
        *ret = ns;
    return rc;
}

void lab_ns_delete(struct lab_ns *ns)
{
    if (ns->name[0])
        lab_ip(NULL, "netns", "delete", ns->name, NULL);
    ns->name[0] = 0;
}

int lab_ns_ip(const struct lab_ns *ns, const char *lines, struct error *err)
{
    const char *argv[] = {"ip", "-n", ns->name, "-batch", "-", NULL};
    return lab_command(argv, lines, NULL, err);
}

int lab_ns_sysctl(const struct lab_ns *ns, const char *key, const char *value, struct error *err)
{
    char path[256];
    snprintf(path, sizeof(path), "/proc/sys/%s", key);
    const char *argv[] = {"ip", "netns", "exec", ns->name, "tee", path, NULL};
    int rc = lab_command(argv, value, NULL, err);
    return rc ? error_prefix(err, rc, "%s = %s", key, value) : 0;
}

bool lab_ns_has_device(const struct lab_ns *ns, const char *device)
{
    return !lab_ip(NULL, "-n", ns->name, "link", "show", "dev", device, NULL);
}
