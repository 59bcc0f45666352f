/* Who may use this cloud: one folder a hospital, HOSPITALS/NAME/state.json, written atomically under HOSPITALS/.lock.
 *
 * A hospital is invited (a one-time token exists, of which only the hash is kept), joined, or revoked. Its id is a random
 * opaque name: it stands in certificates and in the SNI, so the wire never shows NAME. Inviting a revoked or lost
 * hospital again gives it a new id, so certificates of the old one are for nobody any more.
 * The operator's commands and the enrol process write; the supervisor only reads. */
#ifndef MERIDIAN_CLOUD_REGISTRY_H
#define MERIDIAN_CLOUD_REGISTRY_H

#include "base/error.h"
#include "crypto/pki.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define REGISTRY_MAX_NAME  64u
#define REGISTRY_MAX_ID    40u
#define REGISTRY_MAX_TOKEN 96u
#define REGISTRY_MAX       400u /* hospitals of one cloud: so many user ids are set aside */

enum hospital_status { HOSPITAL_INVITED, HOSPITAL_JOINED, HOSPITAL_REVOKED };
const char *hospital_status_name(enum hospital_status s);

struct hospital {
    char name[REGISTRY_MAX_NAME]; /* for the operator */
    char id[REGISTRY_MAX_ID];     /* 32 hex digits */
    enum hospital_status status;
    uint32_t slot;                        /* its own number, for its user id; never given to another */
    char token_sha256[65];                /* hex; "" once expired ones are cleared */
    int64_t token_until;                  /* seconds since 1970 */
    char key[PKI_FINGERPRINT];            /* of the public key that joined with the token; "" before */
    char certificate[PKI_FINGERPRINT];    /* the last one given out */
    int64_t certificate_until, joined_at; /* 0: not yet */
};

bool registry_name_allowed(const char *name); /* letters, digits, "-", "_", "."; begins with a letter or digit */

int registry_load(struct hospital *ret, const char *hospitals, const char *name, struct error *err);
/* All, by name; *ret is the caller's to free. Unreadable ones are left out and logged. */
int registry_list(struct hospital **ret, size_t *ret_n, const char *hospitals, struct error *err);

/* Changes run under the lock: begin, load what is to be changed, save, end. */
int registry_begin(int *ret_lock, const char *hospitals, struct error *err);
int registry_save(const char *hospitals, const struct hospital *h, struct error *err);
void registry_end(int lock);

/* Makes or renews an invitation. ret_token is a secret. -EEXIST: it has joined already (revoke first). */
int registry_invite(struct hospital *ret, char ret_token[REGISTRY_MAX_TOKEN], const char *hospitals, const char *name,
    int64_t valid_s, struct error *err);
int registry_revoke(const char *hospitals, const char *name, struct error *err);

/* Whose token is this? Compares hashes, every one of them, in constant time. False: nobody's. */
bool registry_find_token(struct hospital *ret, const struct hospital *all, size_t n, const char *token);

#endif
