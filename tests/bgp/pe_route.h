/* A route as a line of words, for the test PE: the first words say which route, the others what it carries.
 *
 *   rt5 RD PREFIX [WORD…]             EVPN route type 5            vpn RD PREFIX [WORD…]   VPNv4 or VPNv6
 *   unicast PREFIX [WORD…]            IPv6 or IPv4 unicast         policy DISTINGUISHER COLOUR ENDPOINT [WORD…]
 *   rtc AS TARGET|default             route target constraint
 *
 *   sid=ADDRESS behaviour=N           Prefix-SID with an SRv6 L3 service       rt=AS:N        route target (several)
 *   color=N                           colour extended community                mac=HEX        EVPN Router's MAC
 *   label=N gw=ADDRESS                fields of RT-5 (label: 24 bits)          beacon=HEX     xSEC attribute
 *   attr=TYPE:FLAGS:HEX               any attribute (hex numbers)              fill=TYPE:N    one of N bytes, optional transitive
 *   pref=N bsid=ADDRESS name=TEXT     of a policy                              list=ADDRESS,… its segment lists (several) */
#ifndef MERIDIAN_TESTS_PE_ROUTE_H
#define MERIDIAN_TESTS_PE_ROUTE_H

#include "base/error.h"
#include "wire/bgp_update.h"

struct pe_route {
    uint32_t family;
    uint8_t raw[64];
    unsigned raw_len;
    uint8_t attributes[BGP_MESSAGE_MOST];
    size_t len;
};

/* Changes `line`. */
int pe_route_parse(struct pe_route *ret, char *line, struct error *err);
/* "65000:10", "10.0.0.1:10": 8 bytes as RD (kind 0) or route target (kind 2). */
int pe_pair_parse(uint8_t ret[8], const char *text, uint8_t kind, struct error *err);
int pe_hex_parse(uint8_t *to, size_t cap, size_t *ret_len, const char *text, struct error *err);

#endif
