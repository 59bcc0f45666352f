#include "scenario/resolve.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void where(const struct place *p, char *ret, size_t size)
{
    if (!p->section)
        snprintf(ret, size, "%s", "scenario");
    else if (p->name)
        snprintf(ret, size, "%s, entry %u (%.80s)", p->section, p->i + 1, p->name);
    else
        snprintf(ret, size, "%s, entry %u", p->section, p->i + 1);
}

int place_bad(const struct place *p, const char *key, const char *text, const char *what)
{
    char at[160];
    where(p, at, sizeof(at));
    return error_set(p->err, EINVAL, "%s: %s \"%.200s\" %s", at, key, text, what);
}

int place_missing(const struct place *p, const char *key)
{
    char at[160];
    where(p, at, sizeof(at));
    return error_set(p->err, EINVAL, "%s: %s is missing", at, key);
}

int get_rate(const struct place *p, const char *key, const char *text, uint64_t *ret)
{
    if (text && units_rate(text, ret))
        return place_bad(p, key, text, "is no rate; write for example \"100 Gbit/s\"");
    return 0;
}

int get_bytes(const struct place *p, const char *key, const char *text, uint64_t *ret)
{
    if (text && units_bytes(text, ret))
        return place_bad(p, key, text, "is no number of bytes; write for example \"64 MB\"");
    return 0;
}

int get_time(const struct place *p, const char *key, const char *text, int64_t *ret)
{
    if (text && units_time(text, ret))
        return place_bad(p, key, text, "is no time; write for example \"50 ms\"");
    return 0;
}

int get_km(const struct place *p, const char *key, const char *text, double *ret)
{
    if (text && units_km(text, ret))
        return place_bad(p, key, text, "is no length; write for example \"3000 km\"");
    return 0;
}

int get_share(const struct place *p, const char *key, const char *text, double *ret)
{
    if (text && units_share(text, ret))
        return place_bad(p, key, text, "is no share; write a number from 0 to 1 or for example \"0.1 %\"");
    return 0;
}

int get_truth(const struct place *p, const char *key, const char *text, bool *ret)
{
    if (text && units_truth(text, ret))
        return place_bad(p, key, text, "is neither true nor false");
    return 0;
}

int get_u64(const struct place *p, const char *key, const char *text, uint64_t *ret)
{
    if (text && units_count(text, ret))
        return place_bad(p, key, text, "is no whole number");
    return 0;
}

int get_u32(const struct place *p, const char *key, const char *text, uint32_t least, uint32_t most, uint32_t *ret)
{
    uint64_t v = *ret;
    char what[80];
    if (!text)
        return 0;
    if (units_count(text, &v) || v < least || v > most) {
        snprintf(what, sizeof(what), "is no whole number from %u to %u", least, most);
        return place_bad(p, key, text, what);
    }
    *ret = (uint32_t)v;
    return 0;
}

int get_choice(const struct place *p, const char *key, const char *text, const char *const *names, uint32_t *ret)
{
    char what[200] = "is none of ";
    if (!text)
        return 0;
    for (uint32_t i = 0; names[i]; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = i;
            return 0;
        }
        size_t n = strlen(what);
        snprintf(what + n, sizeof(what) - n, "%s%s", i ? ", " : "", names[i]);
    }
    return place_bad(p, key, text, what);
}

static const char *const class_names[] = {"control", "inference", "parameter", "bulk", NULL};

const char *scenario_work_name(enum scenario_work w)
{
    static const char *const names[] = {"tcp", "udp", "roce", "command"};
    return (unsigned)w < sizeof(names) / sizeof(names[0]) ? names[w] : "";
}

const char *scenario_class_name(enum scenario_class c)
{
    return class_names[c];
}

int get_class(const struct place *p, const char *key, const char *text, enum scenario_class *ret)
{
    uint32_t v = *ret;
    int rc = get_choice(p, key, text, class_names, &v);
    if (!rc)
        *ret = (enum scenario_class)v;
    return rc;
}

int get_name(const struct place *p, const char *key, const char *text, const struct scenario *s,
    uint32_t (*find)(const struct scenario *, const char *), const char *what, uint32_t *ret)
{
    char says[80];
    if (!text)
        return 0;
    *ret = find(s, text);
    if (*ret != SCENARIO_NONE)
        return 0;
    snprintf(says, sizeof(says), "names no %s of this scenario", what);
    return place_bad(p, key, text, says);
}

int check_name(const struct place *p, const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    if (!text)
        return place_missing(p, "name");
    if (strlen(text) > 63 || text[strspn(text, allowed)] != '\0')
        return place_bad(p, "name", text, "is no name: at most 63 letters, digits, '-', '_' and '.'");
    return 0;
}

bool name_matches(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, FNM_NOESCAPE) == 0;
}
