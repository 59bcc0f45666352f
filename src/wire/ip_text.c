/* Addresses in text. The C library's inet_pton and inet_ntop know both families' forms (and RFC 5952's). */
#include "wire/ip_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

int ip_addr_parse(struct ip_addr *ret, const char *text, struct error *err)
{
    struct ip_addr a = {0};
    if (inet_pton(AF_INET, text, a.a.b) == 1)
        a.family = IP_V4;
    else if (inet_pton(AF_INET6, text, a.a.b) == 1)
        a.family = IP_V6;
    else
        return error_set(err, EINVAL, "\"%.60s\" is no IPv4 or IPv6 address", text);
    *ret = a;
    return 0;
}

int ip6_parse(struct ip6 *ret, const char *text, struct error *err)
{
    struct ip6 a;
    if (inet_pton(AF_INET6, text, a.b) != 1)
        return error_set(err, EINVAL, "\"%.60s\" is no IPv6 address", text);
    *ret = a;
    return 0;
}

/* The digits behind the slash: a number up to `most`, or -1. */
static int parse_length(const char *digits, unsigned most)
{
    unsigned v = 0, n = 0;
    for (; digits[n] >= '0' && digits[n] <= '9' && n < 3; n++)
        v = 10 * v + (unsigned)(digits[n] - '0');
    return n == 0 || digits[n] || v > most || (n > 1 && digits[0] == '0') ? -1 : (int)v;
}

int ip_gateway_parse(struct ip_prefix *ret, const char *text, struct error *err)
{
    char address[IP_TEXT_SIZE];
    struct ip_addr a;
    size_t n = strcspn(text, "/");
    if (n >= sizeof(address))
        return error_set(err, EINVAL, "\"%.60s\" is no IPv4 or IPv6 prefix", text);
    memcpy(address, text, n);
    address[n] = 0;
    if (ip_addr_parse(&a, address, NULL))
        return error_set(err, EINVAL, "\"%.60s\" is no IPv4 or IPv6 prefix", text);
    int len = text[n] ? parse_length(text + n + 1, ip_bits(a.family)) : (int)ip_bits(a.family);
    if (len < 0)
        return error_set(
            err, EINVAL, "\"%.60s\": the length behind the slash must be 0 to %u", text, ip_bits(a.family));
    *ret = (struct ip_prefix){.family = a.family, .len = (uint8_t)len, .a = a.a};
    return 0;
}

int ip_prefix_parse(struct ip_prefix *ret, const char *text, struct error *err)
{
    struct ip_prefix p, masked;
    char wanted[IP_TEXT_SIZE];
    int rc = ip_gateway_parse(&p, text, err);
    if (rc)
        return rc;
    masked = p;
    ip_mask(&masked.a, p.len);
    if (!ip6_equal(&p.a, &masked.a))
        return error_set(err, EINVAL, "\"%.60s\" has bits behind its length; did you mean %s?", text,
            ip_prefix_print(wanted, &masked));
    *ret = p;
    return 0;
}

char *ip6_print(char to[IP_TEXT_SIZE], const struct ip6 *a)
{
    inet_ntop(AF_INET6, a->b, to, IP_TEXT_SIZE);
    return to;
}

char *ip_addr_print(char to[IP_TEXT_SIZE], const struct ip_addr *a)
{
    if (a->family == IP_V6)
        return ip6_print(to, &a->a);
    if (a->family == IP_V4)
        inet_ntop(AF_INET, a->a.b, to, IP_TEXT_SIZE);
    else
        strcpy(to, "-");
    return to;
}

char *ip_prefix_print(char to[IP_TEXT_SIZE], const struct ip_prefix *p)
{
    struct ip_addr a = {.family = p->family, .a = p->a};
    ip_addr_print(to, &a);
    size_t n = strlen(to);
    if (ip_bits(p->family))
        snprintf(to + n, IP_TEXT_SIZE - n, "/%u", p->len);
    return to;
}

void ip_mask(struct ip6 *a, unsigned len)
{
    unsigned whole = len / 8;
    if (whole >= 16)
        return;
    a->b[whole] &= (uint8_t)(0xff00 >> len % 8);
    memset(a->b + whole + 1, 0, 15 - whole);
}

bool ip_match(const struct ip6 *a, const struct ip6 *b, unsigned len)
{
    unsigned whole = len / 8;
    if (memcmp(a->b, b->b, whole))
        return false;
    return len % 8 == 0 || ((a->b[whole] ^ b->b[whole]) & (0xff00 >> len % 8) & 0xff) == 0;
}
