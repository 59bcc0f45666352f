#include "edge/openai_fields.h"

#include <math.h>
#include <string.h>

yyjson_val *openai_field(yyjson_val *obj, const char *name)
{
    yyjson_val *v = yyjson_obj_get(obj, name);
    return yyjson_is_null(v) ? NULL : v;
}

int openai_field_bool(yyjson_val *obj, const char *name, bool *ret, struct openai_error *e)
{
    yyjson_val *v = openai_field(obj, name);
    if (v && !yyjson_is_bool(v))
        return openai_fail(e, 400, "invalid_type", name, "'%s' must be true or false.", name);
    if (v)
        *ret = yyjson_get_bool(v);
    return 0;
}

int openai_field_f32(yyjson_val *obj, const char *name, double low, double high, float *ret, struct openai_error *e)
{
    yyjson_val *v = openai_field(obj, name);
    if (!v)
        return 0;
    double x = yyjson_get_num(v);
    if (!yyjson_is_num(v))
        return openai_fail(e, 400, "invalid_type", name, "'%s' must be a number.", name);
    if (!(x >= low && x <= high))
        return openai_fail(e, 400, "invalid_value", name, "'%s' must be between %g and %g.", name, low, high);
    *ret = (float)x;
    return 0;
}

int openai_field_i64(yyjson_val *obj, const char *name, int64_t low, int64_t high, int64_t *ret, struct openai_error *e)
{
    yyjson_val *v = openai_field(obj, name);
    if (!v)
        return 0;
    double x = yyjson_get_num(v);
    if (!yyjson_is_num(v) || x != floor(x))
        return openai_fail(e, 400, "invalid_type", name, "'%s' must be a whole number.", name);
    bool fits = yyjson_is_real(v) ? fabs(x) <= 0x1p53 : yyjson_is_sint(v) || yyjson_get_uint(v) <= INT64_MAX;
    int64_t i = !fits ? 0 : yyjson_is_real(v) ? (int64_t)x : yyjson_get_sint(v);
    if (!fits || i < low || i > high)
        return openai_fail(e, 400, "invalid_value", name, "'%s' must be between %lld and %lld.", name, (long long)low,
            (long long)high);
    *ret = i;
    return 0;
}

int openai_field_str(yyjson_val *obj, const char *name, const char **ret, struct openai_error *e)
{
    yyjson_val *v = openai_field(obj, name);
    if (v && (!yyjson_is_str(v) || strlen(yyjson_get_str(v)) != yyjson_get_len(v)))
        return openai_fail(e, 400, "invalid_type", name, "'%s' must be a string.", name);
    if (v)
        *ret = yyjson_get_str(v);
    return 0;
}

/* Present, and not an empty list, object or string, false, "none" or "auto". */
static bool asks(yyjson_val *v)
{
    if (!v || yyjson_is_false(v) || yyjson_equals_str(v, "none") || yyjson_equals_str(v, "auto"))
        return false;
    return !((yyjson_is_ctn(v) || yyjson_is_str(v)) && unsafe_yyjson_get_len(v) == 0);
}

static int refuse(struct openai_error *e, const char *name, const char *instead)
{
    return openai_fail(
        e, 400, "unsupported_parameter", name, "'%s' is not supported by this server. %s", name, instead);
}

static int refuse_format(yyjson_val *obj, struct openai_error *e)
{
    yyjson_val *f = openai_field(obj, "response_format");
    if (!f || yyjson_equals_str(yyjson_obj_get(f, "type"), "text"))
        return 0;
    return refuse(e, "response_format", "Only {\"type\":\"text\"} is; ask for JSON in the prompt instead.");
}

int openai_refuse_unsupported(yyjson_val *obj, bool chat, struct openai_error *e)
{
    static const char *const in_chat[] = {
        "tools", "functions", "tool_choice", "function_call", "audio", "prediction", "web_search_options", NULL};
    static const char *const in_completion[] = {"suffix", NULL};
    for (const char *const *name = chat ? in_chat : in_completion; *name; name++)
        if (asks(openai_field(obj, *name)))
            return refuse(e, *name, chat ? "Leave it out." : "Put all of the text into 'prompt'.");
    yyjson_val *kinds = openai_field(obj, "modalities"), *kind;
    size_t i, n;
    yyjson_arr_foreach(kinds, i, n, kind)
    {
        if (!yyjson_equals_str(kind, "text"))
            return refuse(e, "modalities", "Only \"text\" is.");
    }
    return refuse_format(obj, e);
}
