/* The enrol process: the only one that holds the issuer's key. It lives in the cage like the workers (sandbox.h), sees only
 * the registry's folder, and speaks enrol_message.h over TLS with edges that join (one-time token) or renew (their
 * certificate), and signs server certificates for workers, which the supervisor asks for.
 *
 * Bounded: so many conversations at once, each of few seconds and one line; failures per source within a minute. */
#ifndef MERIDIAN_CLOUD_ENROL_H
#define MERIDIAN_CLOUD_ENROL_H

#include "base/error.h"
#include "cloud/authority.h"
#include "cloud/source.h"
#include "wire/enrol_message.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct enrol_config {
    const char *dir;          /* the cloud's folder */
    const char *name;         /* our own SNI */
    uid_t uid;                /* to become; 0: stay */
    int64_t edge_s, server_s; /* lifetimes of certificates, seconds */
    int control_fd;
    int keylog_fd; /* -1: none */
};

/* Runs until the supervisor says stop or goes away. */
int enrol_run(const struct enrol_config *cfg, struct error *err);

/* --- the parts that need no socket, for tests --- */

struct enrol_office {
    struct authority authority;
    const char *hospitals; /* folder of the registry */
    int64_t edge_s;
    struct source_failures failures;
};

/* Answers a request. peer: the name in the certificate shown, NULL none. True if the registry has changed. */
bool enrol_answer(struct enrol_office *o, const struct enrol_request *q, struct source from, const char *peer,
    int64_t now_ns, struct enrol_reply *ret);

#endif
