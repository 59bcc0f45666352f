/* One value: from text and back. */
#include "router/fields_inner.h"

#include "base/clock.h"
#include "base/hex.h"
#include "wire/ip_text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double factor;
};

static const struct unit rate_units[] = {{"", 1}, {"bit/s", 1}, {"k", 1e3}, {"kbit/s", 1e3}, {"M", 1e6},
    {"Mbit/s", 1e6}, {"G", 1e9}, {"Gbit/s", 1e9}, {"T", 1e12}, {"Tbit/s", 1e12}, {NULL, 0}};
static const struct unit time_units[] = {
    {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9}, {NULL, 0}};
static const struct unit km_units[] = {{"", 1}, {"km", 1}, {"m", 1e-3}, {NULL, 0}};
static const struct unit share_units[] = {{"", 1}, {"%", 1e-2}, {NULL, 0}};

/* A number, blanks, a unit. */
static int quantity(const char *text, const struct unit *units, double most, double *ret)
{
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '.')
        return -EINVAL;
    double v = strtod(text, &end);
    end += strspn(end, " ");
    for (; units->name; units++)
        if (!strcmp(end, units->name)) {
            v *= units->factor;
            if (!isfinite(v) || v < 0 || v > most)
                return -EINVAL;
            *ret = v;
            return 0;
        }
    return text[0] == '0' && !text[1] ? (*ret = 0, 0) : -EINVAL;
}

static int wrong(struct error *err, const char *text, const char *what)
{
    return error_set(err, EINVAL, "\"%.80s\" is no %s", text, what);
}

static int whole(const char *text, bool negative, uint64_t *ret)
{
    char *end;
    if (!isdigit((unsigned char)text[0]) && !(negative && text[0] == '-' && isdigit((unsigned char)text[1])))
        return -EINVAL;
    errno = 0;
    *ret = text[0] == '-' ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, strncmp(text, "0x", 2) ? 10 : 16);
    return errno || *end ? -EINVAL : 0;
}

static int parse_number(void *ret, const struct field *f, const char *text, struct error *err)
{
    uint64_t v;
    if (whole(text, false, &v))
        return wrong(err, text, "whole number");
    uint64_t most = f->most ? f->most : f->size == 8 ? UINT64_MAX : UINT32_MAX;
    if (v < f->least || v > most)
        return error_set(err, EINVAL, "%s is not between %" PRIu64 " and %" PRIu64, text, f->least, most);
    if (f->size == 8)
        memcpy(ret, &v, 8);
    else
        memcpy(ret, &(uint32_t){(uint32_t)v}, 4);
    return 0;
}

static int parse_integer(void *ret, const struct field *f, const char *text, struct error *err)
{
    uint64_t v;
    if (whole(text, true, &v))
        return wrong(err, text, "whole number");
    if ((int64_t)v < (int64_t)f->least || (int64_t)v > (int64_t)f->most)
        return error_set(
            err, EINVAL, "%s is not between %" PRId64 " and %" PRId64, text, (int64_t)f->least, (int64_t)f->most);
    memcpy(ret, &(int32_t){(int32_t)v}, 4);
    return 0;
}

static int parse_text(void *ret, const struct field *f, const char *text, struct error *err)
{
    size_t len = strlen(text);
    if (len >= f->size)
        return error_set(err, EINVAL, "\"%.80s\" is longer than %zu bytes", text, f->size - 1);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return error_set(err, EINVAL, "a text with control characters");
    memset(ret, 0, f->size);
    memcpy(ret, text, len);
    return 0;
}

static int parse_enum(void *ret, const struct field *f, const char *text, struct error *err)
{
    char all[256] = "";
    for (uint32_t i = 0; i < f->most; i++) {
        if (!f->names[i])
            continue;
        if (!strcmp(f->names[i], text)) {
            memcpy(ret, &i, 4);
            return 0;
        }
        size_t n = strlen(all);
        snprintf(all + n, sizeof(all) - n, "%s%s", n ? ", " : "", f->names[i]);
    }
    return error_set(err, EINVAL, "\"%.80s\" is none of: %s", text, all);
}

static int parse_bool(void *ret, const char *text, struct error *err)
{
    bool v = !strcmp(text, "true") || !strcmp(text, "yes");
    if (!v && strcmp(text, "false") && strcmp(text, "no"))
        return wrong(err, text, "yes or no");
    memcpy(ret, &v, sizeof(v));
    return 0;
}

static int parse_mac(void *ret, const char *text, struct error *err)
{
    unsigned b[6];
    int end = 0;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 || text[end])
        return wrong(err, text, "MAC address such as 02:00:00:00:00:01");
    if (b[0] & 1)
        return error_set(err, EINVAL, "%s is a group's MAC address, not one device's", text);
    for (int i = 0; i < 6; i++)
        ((uint8_t *)ret)[i] = (uint8_t)b[i];
    return 0;
}

static int parse_key(void *ret, const char *text, struct error *err)
{
    uint8_t key[32];
    bool good = strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
    for (int i = 0; good && i < 32; i++) {
        unsigned v;
        good = sscanf(text + 2 * i, "%2x", &v) == 1;
        key[i] = (uint8_t)v;
    }
    if (!good)
        return wrong(err, text, "public key of 64 hexadecimal digits");
    memcpy(ret, key, 32);
    return 0;
}

int field_parse(void *ret, const struct field *f, const char *text, struct error *err)
{
    double v;
    switch (f->kind) {
    case FIELD_TEXT:
        return parse_text(ret, f, text, err);
    case FIELD_NUMBER:
        return parse_number(ret, f, text, err);
    case FIELD_INTEGER:
        return parse_integer(ret, f, text, err);
    case FIELD_RATE:
        if (quantity(text, rate_units, 1e15, &v))
            return wrong(err, text, "rate such as 10G or 10 Gbit/s");
        memcpy(ret, &(uint64_t){(uint64_t)llround(v)}, 8);
        return 0;
    case FIELD_TIME:
        if (quantity(text, time_units, 1e18, &v))
            return wrong(err, text, "time such as 5 ms");
        memcpy(ret, &(int64_t){llround(v)}, 8);
        return 0;
    case FIELD_KM:
    case FIELD_SHARE:
        if (quantity(text, f->kind == FIELD_KM ? km_units : share_units, f->kind == FIELD_KM ? 1e6 : 1, &v))
            return wrong(err, text, f->kind == FIELD_KM ? "length such as 100 km" : "share such as 0.001 or 0.1 %");
        memcpy(ret, &v, sizeof(v));
        return 0;
    case FIELD_BOOL:
        return parse_bool(ret, text, err);
    case FIELD_ENUM:
        return parse_enum(ret, f, text, err);
    case FIELD_ADDR:
        return ip_addr_parse(ret, text, err);
    case FIELD_IP6:
        return ip6_parse(ret, text, err);
    case FIELD_PREFIX:
        return ip_prefix_parse(ret, text, err);
    case FIELD_GATEWAY:
        return ip_gateway_parse(ret, text, err);
    case FIELD_MAC:
        return parse_mac(ret, text, err);
    case FIELD_KEY:
        return parse_key(ret, text, err);
    case FIELD_END:
    case FIELD_MAP:
    case FIELD_LIST:
        break;
    }
    return error_set(err, EINVAL, "no single value");
}

/* The largest unit in which it is a short number. */
static void print_quantity(char to[256], double v, const struct unit *units)
{
    const struct unit *best = units;
    for (; units->name; units++)
        if (units->factor > best->factor && v >= units->factor)
            best = units;
        else if (units->factor == best->factor && strlen(units->name) > strlen(best->name))
            best = units;
    snprintf(to, 256, "%.12g %s", v / best->factor, best->name);
}

static bool is_zero(const void *from, size_t size)
{
    const uint8_t *p = from;
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

static void print_text(char to[256], const char *text)
{
    size_t n = 0;
    to[n++] = '"';
    for (; *text && n < 252; text++) {
        if (*text == '"' || *text == '\\')
            to[n++] = '\\';
        to[n++] = *text;
    }
    to[n++] = '"';
    to[n] = 0;
}

bool field_print(char to[256], const struct field *f, const void *from)
{
    uint64_t u64 = 0;
    uint32_t u32 = 0;
    double v = 0;
    bool b;
    char address[IP_TEXT_SIZE];
    if (is_zero(from, f->size) && !f->fallback && !f->required)
        return false;
    switch (f->kind) {
    case FIELD_TEXT:
        print_text(to, from);
        return true;
    case FIELD_NUMBER:
        memcpy(f->size == 8 ? (void *)&u64 : (void *)&u32, from, f->size == 8 ? 8 : 4);
        snprintf(to, 256, "%" PRIu64, f->size == 8 ? u64 : u32);
        return true;
    case FIELD_INTEGER:
        memcpy(&u32, from, 4);
        snprintf(to, 256, "%" PRId32, (int32_t)u32);
        return true;
    case FIELD_RATE:
    case FIELD_TIME:
        memcpy(&u64, from, 8);
        print_quantity(to, (double)u64, f->kind == FIELD_RATE ? rate_units : time_units);
        return true;
    case FIELD_KM:
    case FIELD_SHARE:
        memcpy(&v, from, sizeof(v));
        snprintf(to, 256, "%.12g", v);
        return true;
    case FIELD_BOOL:
        memcpy(&b, from, sizeof(b));
        strcpy(to, b ? "yes" : "no");
        return true;
    case FIELD_ENUM:
        memcpy(&u32, from, 4);
        snprintf(to, 256, "%s", u32 < f->most && f->names[u32] ? f->names[u32] : "?");
        return true;
    case FIELD_ADDR:
        print_text(to, ip_addr_print(address, from));
        return true;
    case FIELD_IP6:
        print_text(to, ip6_print(address, from));
        return true;
    case FIELD_PREFIX:
    case FIELD_GATEWAY:
        print_text(to, ip_prefix_print(address, from));
        return true;
    case FIELD_MAC: {
        const uint8_t *m = from;
        snprintf(to, 256, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
        return true;
    }
    case FIELD_KEY:
        hex_put(to, from, 32);
        return true;
    case FIELD_END:
    case FIELD_MAP:
    case FIELD_LIST:
        break;
    }
    return false;
}
