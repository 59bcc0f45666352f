/* Two passes where sizes are not known: count, allocate once, fill. Strings stay in the JSON document, except contents
 * that come in parts, which are joined by a newline in one buffer no larger than the body. */
#include "edge/openai_request.h"

#include "edge/openai_fields.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct openai_error *e)
{
    return openai_fail(e, 503, "no_memory", NULL, "The server has no memory for this request now; try again later.");
}

/* --- sampling --- */

static int parse_bias(
    struct openai_request *r, yyjson_val *root, const struct openai_limits *lim, struct openai_error *e)
{
    yyjson_val *map = openai_field(root, "logit_bias"), *key, *val;
    if (!map)
        return 0;
    if (!yyjson_is_obj(map) || yyjson_obj_size(map) > OPENAI_BIAS_MOST)
        return openai_fail(e, 400, "invalid_type", "logit_bias",
            "'logit_bias' must be an object of at most %d token ids and biases.", OPENAI_BIAS_MOST);
    r->biases = calloc(yyjson_obj_size(map) + 1, sizeof(*r->biases));
    if (!r->biases)
        return no_memory(e);
    size_t i, n;
    yyjson_obj_foreach(map, i, n, key, val)
    {
        const char *name = yyjson_get_str(key);
        char *end;
        unsigned long id = strtoul(name, &end, 10);
        double bias = yyjson_get_num(val);
        if (name[0] < '0' || name[0] > '9' || *end || id >= lim->n_vocab)
            return openai_fail(e, 400, "invalid_value", "logit_bias",
                "A key of 'logit_bias' is not a token id between 0 and %u.", lim->n_vocab - 1);
        if (!yyjson_is_num(val) || !(bias >= -100 && bias <= 100))
            return openai_fail(e, 400, "invalid_value", "logit_bias", "Biases must be numbers between -100 and 100.");
        r->biases[r->sampling.n_bias++] = (struct sample_bias){(int32_t)id, (float)bias};
    }
    r->sampling.bias = r->biases;
    return 0;
}

static int parse_sampling(struct openai_request *r, yyjson_val *root, struct openai_error *e)
{
    struct sample_params *s = &r->sampling;
    int64_t top_k = 0, seed = 0;
    s->temperature = 1;
    s->top_p = 1;
    if (openai_field_f32(root, "temperature", 0, 2, &s->temperature, e) ||
        openai_field_f32(root, "top_p", 0, 1, &s->top_p, e) || openai_field_f32(root, "min_p", 0, 1, &s->min_p, e) ||
        openai_field_f32(root, "presence_penalty", -2, 2, &s->presence_penalty, e) ||
        openai_field_f32(root, "frequency_penalty", -2, 2, &s->frequency_penalty, e) ||
        openai_field_i64(root, "top_k", -1, INT32_MAX, &top_k, e) ||
        openai_field_i64(root, "seed", INT64_MIN, INT64_MAX, &seed, e))
        return -1;
    /* The ends of the ranges that the sampler leaves open: only the most likely token remains. */
    if (s->top_p < 1e-6f)
        s->top_p = 1e-6f;
    if (s->min_p > 0.999999f)
        s->min_p = 0.999999f;
    s->top_k = top_k > 0 ? (int32_t)top_k : 0;
    s->seed = (uint64_t)seed;
    r->seed_given = openai_field(root, "seed") != NULL;
    return 0;
}

/* --- what is common to both --- */

static int add_stop(struct openai_request *r, yyjson_val *v, struct openai_error *e)
{
    size_t len = yyjson_get_len(v);
    if (!yyjson_is_str(v) || !len || len > OPENAI_STOP_BYTES_MOST || r->n_stops == OPENAI_STOPS_MOST)
        return openai_fail(e, 400, "invalid_value", "stop",
            "'stop' must be a string or a list of up to %d strings of 1 to %d bytes.", OPENAI_STOPS_MOST,
            OPENAI_STOP_BYTES_MOST);
    r->stops[r->n_stops++] = (struct openai_stop){yyjson_get_str(v), len};
    return 0;
}

static int parse_stops(struct openai_request *r, yyjson_val *root, struct openai_error *e)
{
    yyjson_val *v = openai_field(root, "stop"), *one;
    if (!v)
        return 0;
    if (!yyjson_is_arr(v))
        return add_stop(r, v, e);
    size_t i, n;
    yyjson_arr_foreach(v, i, n, one)
    {
        if (add_stop(r, one, e))
            return -1;
    }
    return 0;
}

static int parse_stream(struct openai_request *r, yyjson_val *root, struct openai_error *e)
{
    yyjson_val *options = openai_field(root, "stream_options");
    if (openai_field_bool(root, "stream", &r->stream, e))
        return -1;
    if (!options)
        return 0;
    if (!yyjson_is_obj(options))
        return openai_fail(e, 400, "invalid_type", "stream_options", "'stream_options' must be an object.");
    if (!r->stream)
        return openai_fail(e, 400, "invalid_value", "stream_options",
            "'stream_options' is only allowed together with 'stream': true.");
    return openai_field_bool(options, "include_usage", &r->include_usage, e);
}

static int parse_counts(
    struct openai_request *r, yyjson_val *root, const struct openai_limits *lim, struct openai_error *e)
{
    int64_t n = 1, most = 0, newer = 0;
    if (openai_field_i64(root, "n", 1, lim->choices_most, &n, e) ||
        openai_field_i64(root, "max_tokens", 1, UINT32_MAX, &most, e) ||
        openai_field_i64(root, "max_completion_tokens", 1, UINT32_MAX, &newer, e))
        return -1;
    r->n = (uint32_t)n;
    r->max_tokens = (uint32_t)(newer ? newer : most);
    return 0;
}

static int parse_common(
    struct openai_request *r, yyjson_val *root, const struct openai_limits *lim, struct openai_error *e)
{
    if (openai_field_str(root, "model", &r->model, e))
        return -1;
    if (!r->model)
        return openai_fail(e, 400, "missing_required_parameter", "model",
            "You must say which model to use, in 'model'; GET /v1/models lists them.");
    return parse_stream(r, root, e) || parse_counts(r, root, lim, e) || parse_sampling(r, root, e) ||
                   parse_bias(r, root, lim, e) || parse_stops(r, root, e)
               ? -1
               : 0;
}

/* --- chat --- */

/* A part must be {"type":"text","text":"…"}. */
static yyjson_val *text_of_part(yyjson_val *part, const char *param, struct openai_error *e)
{
    yyjson_val *type = yyjson_obj_get(part, "type"), *text = yyjson_obj_get(part, "text");
    if (yyjson_is_str(type) && !yyjson_equals_str(type, "text")) {
        openai_fail(e, 400, "unsupported_content", param,
            "This server takes text only; a content part of type '%.40s' is not supported.", yyjson_get_str(type));
        return NULL;
    }
    if (!yyjson_is_str(type) || !yyjson_is_str(text)) {
        openai_fail(e, 400, "invalid_type", param, "A content part must be {\"type\":\"text\",\"text\":\"…\"}.");
        return NULL;
    }
    return text;
}

static int join_parts(struct chat_message *m, yyjson_val *parts, char **at, const char *param, struct openai_error *e)
{
    yyjson_val *part;
    size_t i, n;
    m->content = *at;
    yyjson_arr_foreach(parts, i, n, part)
    {
        yyjson_val *text = text_of_part(part, param, e);
        if (!text)
            return -1;
        if (i)
            *(*at)++ = '\n';
        memcpy(*at, yyjson_get_str(text), yyjson_get_len(text));
        *at += yyjson_get_len(text);
    }
    m->content_len = (size_t)(*at - m->content);
    return 0;
}

static int parse_role(struct chat_message *m, yyjson_val *v, const char *param, struct openai_error *e)
{
    static const char *const roles[][2] = {
        {"system", "system"}, {"developer", "system"}, {"user", "user"}, {"assistant", "assistant"}};
    yyjson_val *role = yyjson_obj_get(v, "role");
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (yyjson_equals_str(role, roles[i][0]))
            m->role = roles[i][1];
    if (!m->role)
        return openai_fail(e, 400, "invalid_value", param,
            "'role' of a message must be system, developer, user or assistant; tool messages are not supported.");
    yyjson_val *calls = openai_field(v, "tool_calls");
    if (calls && yyjson_arr_size(calls))
        return openai_fail(e, 400, "unsupported_parameter", param, "'tool_calls' is not supported by this server.");
    return 0;
}

static int parse_message(struct chat_message *m, yyjson_val *v, size_t index, char **at, struct openai_error *e)
{
    char param[32];
    snprintf(param, sizeof(param), "messages[%zu]", index);
    if (!yyjson_is_obj(v))
        return openai_fail(e, 400, "invalid_type", param, "A message must be an object with 'role' and 'content'.");
    if (parse_role(m, v, param, e))
        return -1;
    yyjson_val *content = yyjson_obj_get(v, "content");
    if (yyjson_is_arr(content))
        return join_parts(m, content, at, param, e);
    if (!yyjson_is_str(content))
        return openai_fail(
            e, 400, "invalid_type", param, "'content' of a message must be a string or a list of text parts.");
    m->content = yyjson_get_str(content);
    m->content_len = yyjson_get_len(content);
    return 0;
}

static int parse_messages(struct openai_request *r, yyjson_val *root, size_t body_len, struct openai_error *e)
{
    yyjson_val *list = openai_field(root, "messages"), *v;
    size_t i, n = yyjson_arr_size(list);
    if (!n)
        return openai_fail(
            e, 400, "missing_required_parameter", "messages", "'messages' must be a list with at least one message.");
    r->messages = calloc(n, sizeof(*r->messages));
    r->joined = malloc(body_len + 1); /* parts and newlines are shorter than their JSON */
    if (!r->messages || !r->joined)
        return no_memory(e);
    char *at = r->joined;
    yyjson_arr_foreach(list, i, n, v)
    {
        if (parse_message(&r->messages[i], v, i, &at, e))
            return -1;
    }
    r->n_messages = n;
    return 0;
}

static int parse_chat(
    struct openai_request *r, yyjson_val *root, size_t len, const struct openai_limits *lim, struct openai_error *e)
{
    int64_t top = 0;
    if (openai_field_bool(root, "logprobs", &r->logprobs, e) ||
        openai_field_i64(root, "top_logprobs", 0, OPENAI_TOP_LOGPROBS_MOST, &top, e))
        return -1;
    if (top && !r->logprobs)
        return openai_fail(e, 400, "invalid_value", "top_logprobs", "'top_logprobs' needs 'logprobs': true beside it.");
    r->top_logprobs = (uint32_t)top;
    return parse_messages(r, root, len, e);
}

/* --- completions --- */

static int parse_ids(struct openai_prompt *p, yyjson_val *list, int32_t **at, uint32_t n_vocab, struct openai_error *e)
{
    yyjson_val *v;
    size_t i, n;
    p->ids = *at;
    yyjson_arr_foreach(list, i, n, v)
    {
        if (!yyjson_is_uint(v) || yyjson_get_uint(v) >= n_vocab)
            return openai_fail(e, 400, "invalid_value", "prompt",
                "A token id of 'prompt' is not a whole number between 0 and %u.", n_vocab - 1);
        *(*at)++ = (int32_t)yyjson_get_uint(v);
    }
    p->n_ids = (size_t)(*at - p->ids);
    if (!p->n_ids)
        return openai_fail(e, 400, "invalid_value", "prompt", "'prompt' has an empty list of token ids.");
    return 0;
}

/* A string, a list of strings, a list of token ids, or a list of such lists. */
static int parse_prompts(
    struct openai_request *r, yyjson_val *root, const struct openai_limits *lim, struct openai_error *e)
{
    yyjson_val *p = openai_field(root, "prompt"), *v;
    bool many = yyjson_is_arr(p) && !yyjson_is_num(yyjson_arr_get_first(p));
    size_t i, n = many ? yyjson_arr_size(p) : yyjson_is_str(p) || yyjson_is_arr(p) ? 1 : 0;
    if (!n)
        return openai_fail(e, 400, "missing_required_parameter", "prompt",
            "'prompt' must be a string, a list of strings, or token ids.");
    if (n > lim->choices_most || n * r->n > lim->choices_most)
        return openai_fail(e, 400, "invalid_value", "prompt",
            "%zu prompts with n = %u are more than the %u choices of one request.", n, r->n, lim->choices_most);
    r->prompts = calloc(n, sizeof(*r->prompts));
    r->ids = malloc((yyjson_doc_get_val_count(r->doc) + 1) * sizeof(int32_t)); /* no more ids than values */
    if (!r->prompts || !r->ids)
        return no_memory(e);
    int32_t *at = r->ids;
    r->n_prompts = n;
    if (!many && yyjson_is_arr(p))
        return parse_ids(&r->prompts[0], p, &at, lim->n_vocab, e);
    v = many ? yyjson_arr_get_first(p) : p;
    for (i = 0; i < n; i++, v = unsafe_yyjson_get_next(v)) {
        if (yyjson_is_str(v))
            r->prompts[i] = (struct openai_prompt){.text = yyjson_get_str(v), .len = yyjson_get_len(v)};
        else if (!yyjson_is_arr(v))
            return openai_fail(e, 400, "invalid_type", "prompt", "A prompt must be a string or a list of token ids.");
        else if (parse_ids(&r->prompts[i], v, &at, lim->n_vocab, e))
            return -1;
        if (i + 1 == n)
            break;
    }
    return 0;
}

static int parse_completion(
    struct openai_request *r, yyjson_val *root, const struct openai_limits *lim, struct openai_error *e)
{
    int64_t top = -1, best = 0;
    if (openai_field_bool(root, "echo", &r->echo, e) ||
        openai_field_i64(root, "logprobs", 0, OPENAI_TOP_LOGPROBS_MOST, &top, e) ||
        openai_field_i64(root, "best_of", 1, lim->choices_most, &best, e))
        return -1;
    if (best && best != r->n)
        return openai_fail(e, 400, "unsupported_parameter", "best_of",
            "'best_of' is not supported by this server; leave it out, or make it equal to 'n'.");
    r->logprobs = top >= 0;
    r->top_logprobs = top > 0 ? (uint32_t)top : 0;
    if (r->echo && r->logprobs)
        return openai_fail(e, 400, "unsupported_parameter", "echo",
            "'echo' together with 'logprobs' is not supported: log-probabilities of the prompt are not computed.");
    return parse_prompts(r, root, lim, e);
}

/* --- both --- */

static int parse_root(struct openai_request *r, size_t len, const struct openai_limits *lim, struct openai_error *e)
{
    yyjson_val *root = yyjson_doc_get_root(r->doc);
    bool chat = r->kind == OPENAI_CHAT;
    if (!yyjson_is_obj(root))
        return openai_fail(e, 400, "invalid_json", NULL, "The body must be a JSON object.");
    if (parse_common(r, root, lim, e) || openai_refuse_unsupported(root, chat, e))
        return -1;
    return chat ? parse_chat(r, root, len, lim, e) : parse_completion(r, root, lim, e);
}

int openai_request_parse(struct openai_request *ret, enum openai_kind kind, const void *body, size_t len,
    const struct openai_limits *limits, struct openai_error *ret_error)
{
    struct openai_request r = {.kind = kind};
    yyjson_read_err why = {0};
    r.doc = yyjson_read_opts((char *)(uintptr_t)body, len, 0, NULL, &why);
    if (!r.doc)
        return openai_fail(ret_error, 400, "invalid_json", NULL,
            "The body is not valid JSON: %s at byte %zu. Send a JSON object, in UTF-8.", why.msg, why.pos);
    int rc = parse_root(&r, len, limits, ret_error);
    if (rc)
        openai_request_done(&r);
    else
        *ret = r;
    return rc;
}

void openai_request_done(struct openai_request *r)
{
    yyjson_doc_free(r->doc);
    free(r->messages);
    free(r->prompts);
    free(r->joined);
    free(r->biases);
    free(r->ids);
    *r = (struct openai_request){0};
}
