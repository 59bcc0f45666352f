/* Route targets as people write them (RFC 4360, 5668): "65000:10" (an AS of two octets when it fits, else of four), "10.0.0.1:10".
 * What makes VRFs one VPN. */
#ifndef MERIDIAN_WIRE_ROUTE_TARGET_H
#define MERIDIAN_WIRE_ROUTE_TARGET_H

#include "base/error.h"

#include <stdint.h>

#define ROUTE_TARGET_TEXT 24u

int route_target_parse(uint8_t ret[8], const char *text, struct error *err); /* -EINVAL with a sentence */
/* Returns `to`. Of a kind that has no such text: 16 hexadecimal digits. */
char *route_target_print(char to[ROUTE_TARGET_TEXT], const uint8_t target[8]);

#endif
