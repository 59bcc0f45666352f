/* A network namespace of a run, with a name that no other run has, and what is set inside. */
#ifndef MERIDIAN_LAB_NS_H
#define MERIDIAN_LAB_NS_H

#include "lab/journal.h"

#include <stdbool.h>

struct lab_ns {
    char name[96]; /* "RUN-what", as `ip netns` knows it */
};

/* Notes it, makes it, sets its loopback up. */
int lab_ns_create(struct lab_ns *ret, struct lab_journal *j, const char *what, struct error *err);
/* Everything in it goes with it, once no process is left there. Normally lab_journal_close does it. */
void lab_ns_delete(struct lab_ns *ns);

/* Lines of `ip` commands without the "ip", run in the namespace in one go; the first that fails is quoted. */
int lab_ns_ip(const struct lab_ns *ns, const char *lines, struct error *err);
/* sysctl: "net/ipv4/tcp_ecn" = "1" there. */
int lab_ns_sysctl(const struct lab_ns *ns, const char *key, const char *value, struct error *err);
/* Is there a device of this name? */
bool lab_ns_has_device(const struct lab_ns *ns, const char *device);

#endif
