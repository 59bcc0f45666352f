/* Errors in the shape that OpenAI's clients understand: {"error":{"message","type","param","code"}} and a status. */
#ifndef MERIDIAN_EDGE_OPENAI_ERROR_H
#define MERIDIAN_EDGE_OPENAI_ERROR_H

#include "http/http_answer.h"

struct openai_error {
    int status;        /* 0: none */
    const char *type;  /* "invalid_request_error", … ; a literal */
    const char *code;  /* a literal or NULL */
    char param[64];    /* "" : null */
    char message[512]; /* for a person: what is wrong and what to do */
    int retry_after_s; /* 0: no Retry-After header */
};

/* Fills *e and returns -1, so `return openai_fail(e, 400, …);` reads well. The type follows from the status. */
__attribute__((format(printf, 5, 6))) int openai_fail(
    struct openai_error *e, int status, const char *code, const char *param, const char *fmt, ...);

/* The JSON object, appended. -ENOMEM. */
int openai_error_json(const struct openai_error *e, struct buf *ret);
void openai_error_send(const struct openai_error *e, struct http_answer *a);

#endif
