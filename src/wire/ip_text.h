/* Addresses and prefixes as people write them, and back. Printing follows RFC 5952. */
#ifndef MERIDIAN_WIRE_IP_TEXT_H
#define MERIDIAN_WIRE_IP_TEXT_H

#include "base/error.h"
#include "wire/ip.h"

#define IP_TEXT_SIZE 52u /* bytes of the longest prefix in text with its NUL, and then some */

/* 0, or -EINVAL and one sentence that quotes the text; *ret untouched then. A prefix is "address/length" (or an
 * address alone: all its bits) with no bit set behind the length. */
int ip_addr_parse(struct ip_addr *ret, const char *text, struct error *err);
int ip_prefix_parse(struct ip_prefix *ret, const char *text, struct error *err);
int ip6_parse(struct ip6 *ret, const char *text, struct error *err);

/* "address/length" whose address may have bits behind the length: an interface's own address with its subnet. */
int ip_gateway_parse(struct ip_prefix *ret, const char *text, struct error *err);

/* Writes a C string of less than IP_TEXT_SIZE bytes and returns it. An unknown family prints as "-". */
char *ip_addr_print(char to[IP_TEXT_SIZE], const struct ip_addr *a);
char *ip_prefix_print(char to[IP_TEXT_SIZE], const struct ip_prefix *p);
char *ip6_print(char to[IP_TEXT_SIZE], const struct ip6 *a);

/* The bits of an address: 32, 128; 0 for an unknown family. */
static inline unsigned ip_bits(uint8_t family)
{
    return family == IP_V4 ? 32 : family == IP_V6 ? 128 : 0;
}

/* Clears the bits behind the first `len`. */
void ip_mask(struct ip6 *a, unsigned len);
/* The first `len` bits agree. */
bool ip_match(const struct ip6 *a, const struct ip6 *b, unsigned len);

static inline bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && ip6_equal(&a->a, &b->a);
}

#endif
