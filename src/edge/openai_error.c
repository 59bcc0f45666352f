#include "edge/openai_error.h"

#include "edge/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static const char *type_of(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

int openai_fail(struct openai_error *e, int status, const char *code, const char *param, const char *fmt, ...)
{
    *e = (struct openai_error){.status = status, .type = type_of(status), .code = code};
    snprintf(e->param, sizeof(e->param), "%s", param ? param : "");
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->message, sizeof(e->message), fmt, args);
    va_end(args);
    utf8_trim(e->param);
    utf8_trim(e->message);
    return -1;
}

int openai_error_json(const struct openai_error *e, struct buf *ret)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(d), *o = yyjson_mut_obj(d);
    yyjson_mut_doc_set_root(d, root);
    yyjson_mut_obj_add_val(d, root, "error", o);
    yyjson_mut_obj_add_str(d, o, "message", e->message);
    yyjson_mut_obj_add_str(d, o, "type", e->type);
    yyjson_mut_obj_add_val(d, o, "param", e->param[0] ? yyjson_mut_str(d, e->param) : yyjson_mut_null(d));
    yyjson_mut_obj_add_val(d, o, "code", e->code ? yyjson_mut_str(d, e->code) : yyjson_mut_null(d));
    size_t len;
    char *text = yyjson_mut_write(d, 0, &len);
    yyjson_mut_doc_free(d);
    int rc = text ? buf_append(ret, text, len) : -ENOMEM;
    free(text);
    return rc;
}

void openai_error_send(const struct openai_error *e, struct http_answer *a)
{
    struct buf b = {0};
    if (e->retry_after_s) {
        char s[16];
        snprintf(s, sizeof(s), "%d", e->retry_after_s);
        http_answer_header(a, "Retry-After", s);
    }
    if (e->status == 401)
        http_answer_header(a, "WWW-Authenticate", "Bearer");
    openai_error_json(e, &b);
    http_answer_send(a, e->status, "application/json", b.data, b.len);
    buf_done(&b);
}
