/* xSEC's files around a router: the kit that makes it a member and the operator's revocation list. Read whole and checked in form;
 * signatures are src/xsec's. */
#ifndef MERIDIAN_ROUTER_XSEC_FILES_H
#define MERIDIAN_ROUTER_XSEC_FILES_H

#include "base/error.h"
#include "xsec/identity.h"

/* -EINVAL when the file is something else, and the sentence says what. */
int xsec_kit_load(struct xsec_kit *ret, const char *path, struct error *err);
int xsec_list_load(uint8_t ret[XSEC_REVOCATIONS_MOST], size_t *ret_len, const char *path, struct error *err);
int xsec_psk_load(uint8_t ret[32], const char *path, struct error *err); /* 64 hexadecimal digits, owner only */

#endif
