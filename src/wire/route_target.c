#include "wire/route_target.h"

#include "base/bytes.h"
#include "base/hex.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TWO_OCTET_AS = 0, ADDRESS = 1, FOUR_OCTET_AS = 2, ROUTE_TARGET = 2 };

static bool number(const char *text, size_t len, uint64_t most, uint64_t *ret)
{
    uint64_t v = 0;
    if (len == 0 || len > 10)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *ret = v;
    return v <= most;
}

int route_target_parse(uint8_t ret[8], const char *text, struct error *err)
{
    const char *colon = strrchr(text, ':');
    uint64_t left, right;
    char address[16];
    struct ip_addr a;
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (colon && number(text, n, UINT32_MAX, &left) && left <= UINT16_MAX &&
        number(colon + 1, strlen(colon + 1), UINT32_MAX, &right)) {
        ret[0] = TWO_OCTET_AS;
        bytes_put_be16(ret + 2, (uint16_t)left);
        bytes_put_be32(ret + 4, (uint32_t)right);
    } else if (colon && number(text, n, UINT32_MAX, &left) &&
               number(colon + 1, strlen(colon + 1), UINT16_MAX, &right)) {
        ret[0] = FOUR_OCTET_AS;
        bytes_put_be32(ret + 2, (uint32_t)left);
        bytes_put_be16(ret + 6, (uint16_t)right);
    } else if (n && n < sizeof address && number(colon + 1, strlen(colon + 1), UINT16_MAX, &right) &&
               snprintf(address, sizeof address, "%.*s", (int)n, text) > 0 && !ip_addr_parse(&a, address, NULL) &&
               a.family == IP_V4) {
        ret[0] = ADDRESS;
        memcpy(ret + 2, a.a.b, 4);
        bytes_put_be16(ret + 6, (uint16_t)right);
    } else {
        return error_set(err, EINVAL, "\"%.40s\" is no route target: write AS:NUMBER, like 65000:10", text);
    }
    ret[1] = ROUTE_TARGET;
    return 0;
}

char *route_target_print(char to[ROUTE_TARGET_TEXT], const uint8_t t[8])
{
    if (t[1] != ROUTE_TARGET || t[0] > FOUR_OCTET_AS)
        hex_put(to, t, 8);
    else if (t[0] == TWO_OCTET_AS)
        snprintf(to, ROUTE_TARGET_TEXT, "%u:%" PRIu32, bytes_get_be16(t + 2), bytes_get_be32(t + 4));
    else if (t[0] == ADDRESS)
        snprintf(to, ROUTE_TARGET_TEXT, "%u.%u.%u.%u:%u", t[2], t[3], t[4], t[5], bytes_get_be16(t + 6));
    else
        snprintf(to, ROUTE_TARGET_TEXT, "%" PRIu32 ":%u", bytes_get_be32(t + 2), bytes_get_be16(t + 6));
    return to;
}
