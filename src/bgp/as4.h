/* Speakers whose AS numbers have two octets (RFC 6793): what they say is widened on its way in, so that everything behind knows
 * four octets only, and narrowed on its way out. */
#ifndef MERIDIAN_BGP_AS4_H
#define MERIDIAN_BGP_AS4_H

#include "wire/bgp_update.h"

#define BGP_AS4_PATH_MOST 4096u /* bytes of a path of four octets that we take from such a speaker */

struct bgp_as4_space {
    uint8_t path[BGP_AS4_PATH_MOST + 4], aggregator[11];
};

/* `to` is `u` with AS_PATH and AGGREGATOR of four octets, what AS4_PATH and AS4_AGGREGATOR said in them (RFC 6793 4.2.3). New
 * values lie in `space`. False: the path is longer than anybody's. */
bool bgp_as4_widen(struct bgp_update *to, const struct bgp_update *u, struct bgp_as4_space *space);

/* An AS_PATH's value with numbers of two octets, AS_TRANS for those that do not fit (*ret_lossy). Not longer than `len`. */
size_t bgp_as4_narrow(uint8_t *to, const uint8_t *path, size_t len, bool *ret_lossy);
/* What AS4_PATH then carries: the path without a confederation's segments (RFC 6793 4.2.2). */
size_t bgp_as4_path(uint8_t *to, const uint8_t *path, size_t len);

#endif
