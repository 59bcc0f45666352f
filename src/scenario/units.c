#include "scenario/units.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double factor;
};

static const struct unit rates[] = {
    {"bit/s", 1}, {"kbit/s", 1e3}, {"Mbit/s", 1e6}, {"Gbit/s", 1e9}, {"Tbit/s", 1e12}, {NULL, 0}};
static const struct unit sizes[] = {{"B", 1}, {"", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
    {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {NULL, 0}};
static const struct unit times[] = {
    {"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9}, {NULL, 0}};
static const struct unit lengths[] = {{"km", 1}, {"m", 1e-3}, {NULL, 0}};
static const struct unit shares[] = {{"", 1}, {"%", 0.01}, {NULL, 0}};
static const struct unit counts[] = {{"", 1}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {NULL, 0}};

int units_number(const char *text, const char **ret_rest, double *ret)
{
    /* Plain decimal only: strtod would also take "inf", "nan" and hexadecimal. */
    size_t n = strspn(text, "0123456789.");
    if (n == 0)
        return -EINVAL;
    size_t e = (text[n] == 'e' || text[n] == 'E') ? 1 : 0;
    if (e) {
        e += (text[n + 1] == '-' || text[n + 1] == '+');
        size_t digits = strspn(text + n + e, "0123456789");
        e = digits ? e + digits : 0;
    }
    char *end;
    double v = strtod(text, &end);
    if (end != text + n + e || !isfinite(v))
        return -EINVAL;
    *ret = v;
    *ret_rest = end + strspn(end, " ");
    return 0;
}

static int quantity(const char *text, const struct unit *units, double most, double *ret)
{
    const char *rest;
    double v;
    if (units_number(text, &rest, &v))
        return -EINVAL;
    for (const struct unit *u = units; u->name; u++)
        if (strcmp(rest, u->name) == 0 && v * u->factor <= most) {
            *ret = v * u->factor;
            return 0;
        }
    /* Nothing is nothing in every unit. */
    if (v == 0 && *rest == '\0') {
        *ret = 0;
        return 0;
    }
    return -EINVAL;
}

static int whole(const char *text, const struct unit *units, double most, uint64_t *ret)
{
    double v;
    if (quantity(text, units, most, &v))
        return -EINVAL;
    *ret = (uint64_t)(v + 0.5);
    return 0;
}

int units_rate(const char *text, uint64_t *ret_bps)
{
    return whole(text, rates, 1e15, ret_bps);
}

int units_bytes(const char *text, uint64_t *ret)
{
    return whole(text, sizes, 1e18, ret);
}

int units_time(const char *text, int64_t *ret_ns)
{
    uint64_t v;
    if (whole(text, times, 1e17, &v)) /* three years */
        return -EINVAL;
    *ret_ns = (int64_t)v;
    return 0;
}

int units_km(const char *text, double *ret_km)
{
    return quantity(text, lengths, 1e6, ret_km);
}

int units_share(const char *text, double *ret)
{
    return quantity(text, shares, 1, ret);
}

int units_count(const char *text, uint64_t *ret)
{
    double v;
    if (quantity(text, counts, 1e15, &v) || v != floor(v))
        return -EINVAL;
    *ret = (uint64_t)v;
    return 0;
}

int units_truth(const char *text, bool *ret)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0;
    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "no") != 0)
        return -EINVAL;
    *ret = yes;
    return 0;
}
