#include "accept/json_path.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static bool number_of(yyjson_val *v, double *ret)
{
    if (yyjson_is_bool(v))
        *ret = yyjson_get_bool(v);
    else if (yyjson_is_num(v))
        *ret = yyjson_get_num(v);
    else
        return false;
    return true;
}

static yyjson_val *named(yyjson_val *list, const char *name, size_t len)
{
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(list, i, n, v)
    {
        yyjson_val *own = yyjson_obj_get(v, "name");
        own = own ? own : yyjson_obj_get(v, "figure");
        if (yyjson_is_str(own) && yyjson_get_len(own) == len && memcmp(yyjson_get_str(own), name, len) == 0)
            return v;
    }
    return NULL;
}

static bool walk(yyjson_val *v, const char *path, double *ret);

static bool extreme(yyjson_val *list, const char *rest, bool greatest, double *ret)
{
    size_t i, n;
    yyjson_val *v;
    bool any = false;
    yyjson_arr_foreach(list, i, n, v)
    {
        double one;
        if (!walk(v, rest, &one))
            return false;
        if (!any || (greatest ? one > *ret : one < *ret))
            *ret = one;
        any = true;
    }
    return any;
}

/* "[…]" and what follows. */
static bool element(yyjson_val *list, const char *path, double *ret)
{
    const char *end = strchr(path, ']');
    if (!end || !yyjson_is_arr(list))
        return false;
    const char *key = path + 1;
    size_t len = (size_t)(end - key);
    if (len == 1 && (*key == '*' || *key == '+'))
        return extreme(list, end + 1, *key == '+', ret);
    char *after;
    unsigned long at = strtoul(key, &after, 10);
    yyjson_val *v = after == end && len ? yyjson_arr_get(list, at) : named(list, key, len);
    return v && walk(v, end + 1, ret);
}

static bool walk(yyjson_val *v, const char *path, double *ret)
{
    if (*path == '.')
        path++;
    if (!*path)
        return number_of(v, ret);
    if (*path == '[')
        return element(v, path, ret);
    size_t len = strcspn(path, ".[");
    v = yyjson_is_obj(v) ? yyjson_obj_getn(v, path, len) : NULL;
    return v && walk(v, path + len, ret);
}

bool json_path_number(const struct yyjson_val *root, const char *path, double *ret)
{
    return root && walk((yyjson_val *)root, path, ret);
}
