/* Sets of path attributes, interned: routes that came with the same attributes share one, and the reflector hands it on byte
 * for byte. The summary is what best-path selection and import read; the bytes are what goes out. */
#ifndef MERIDIAN_BGP_ATTRIBUTES_H
#define MERIDIAN_BGP_ATTRIBUTES_H

#include "base/siphash.h"
#include "wire/bgp_update.h"

struct bgp_attributes {
    uint32_t references;
    uint64_t hash;
    struct bgp_attributes *chain; /* in the table */

    /* The summary */
    uint8_t origin;
    uint16_t path_length;     /* AS_PATH: sets count one, confederation segments none */
    uint32_t neighbour_as;    /* leftmost of AS_PATH; 0: empty */
    uint32_t med, local_pref; /* 0, 100 when not there */
    uint8_t originator[4];    /* zero: none */
    uint8_t cluster_length;
    uint8_t next_hop[48], next_hop_len;
    bool no_advertise, no_export, llgr_stale, no_llgr;

    uint32_t len; /* of bytes: raw attributes without MP_*, in their order, Partial set where we do not know them */
    uint8_t bytes[];
};

struct bgp_attribute_table;
/* The seed is nobody's business: peers choose the attributes, and must not be able to choose their buckets. */
int bgp_attribute_table_create(struct bgp_attribute_table **ret, const struct siphash_seed *seed);
void bgp_attribute_table_free(struct bgp_attribute_table *t);
size_t bgp_attribute_table_count(const struct bgp_attribute_table *t);
size_t bgp_attribute_table_bytes(const struct bgp_attribute_table *t);
size_t bgp_attribute_table_longest(const struct bgp_attribute_table *t); /* sets in the fullest bucket: for tests */
const struct siphash_seed *bgp_attribute_table_seed(const struct bgp_attribute_table *t);

/* A reference to the set of an update (its next hop included), whose AS numbers have four octets. -ENOMEM. */
int bgp_attributes_of_update(
    struct bgp_attribute_table *t, const struct bgp_update *u, bool for_mp, struct bgp_attributes **ret);
/* … of raw bytes, for routes that start here. -EINVAL when they are not well formed. */
int bgp_attributes_of_bytes(struct bgp_attribute_table *t, const uint8_t *bytes, size_t len, const uint8_t *next_hop,
    uint8_t next_hop_len, struct bgp_attributes **ret);
void bgp_attributes_hold(struct bgp_attributes *a);
void bgp_attributes_drop(struct bgp_attribute_table *t, struct bgp_attributes *a); /* NULL allowed */

/* One attribute after the other, in their order: false at the end. Raw: of bytes that are known to be well formed. */
bool bgp_raw_attribute_next(const uint8_t *bytes, size_t len, size_t *at, struct bgp_attribute *ret);
bool bgp_attributes_next(const struct bgp_attributes *a, size_t *at, struct bgp_attribute *ret);
/* The value of one attribute in it; NULL. */
const uint8_t *bgp_attributes_find(const struct bgp_attributes *a, uint8_t type, uint16_t *ret_len);

#endif
