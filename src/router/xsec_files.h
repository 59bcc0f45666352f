/* xSEC's files around a router: the kit that makes it a member, the operator's revocation list, and what the router itself
 * remembers between its lives. A kit or list is read whole and checked in form; signatures are src/xsec's.
 *
 *   STATE/generation   the highest generation ever advertised, in decimal; durable before it is advertised
 *   STATE/revoked      the newest revocation list seen, from file or BGP */
#ifndef MERIDIAN_ROUTER_XSEC_FILES_H
#define MERIDIAN_ROUTER_XSEC_FILES_H

#include "base/error.h"
#include "xsec/identity.h"

/* -EINVAL when the file is something else, and the sentence says what. */
int xsec_kit_load(struct xsec_kit *ret, const char *path, struct error *err);
int xsec_list_load(uint8_t ret[XSEC_REVOCATIONS_MOST], size_t *ret_len, const char *path, struct error *err);
int xsec_psk_load(uint8_t ret[32], const char *path, struct error *err); /* 64 hexadecimal digits, owner only */

/* Makes the folder; 0 where there is no generation yet. A file that makes no sense is an error, never 0. */
int xsec_generation_load(uint64_t *ret, const char *state, struct error *err);
int xsec_generation_keep(const char *state, uint64_t generation, struct error *err);
int xsec_list_keep(const char *state, const uint8_t *list, size_t len, struct error *err);

#endif
