/* Typed access to the fields of a JSON object, with the error OpenAI's clients expect when type or range is wrong. A
 * field that is missing or null leaves *ret as it is. 0, or -1 with *e. */
#ifndef MERIDIAN_EDGE_OPENAI_FIELDS_H
#define MERIDIAN_EDGE_OPENAI_FIELDS_H

#include "edge/openai_error.h"

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

yyjson_val *openai_field(yyjson_val *obj, const char *name); /* NULL when missing or null */
int openai_field_bool(yyjson_val *obj, const char *name, bool *ret, struct openai_error *e);
int openai_field_f32(yyjson_val *obj, const char *name, double low, double high, float *ret, struct openai_error *e);
/* Whole numbers, also written as 5.0. */
int openai_field_i64(
    yyjson_val *obj, const char *name, int64_t low, int64_t high, int64_t *ret, struct openai_error *e);
int openai_field_str(
    yyjson_val *obj, const char *name, const char **ret, struct openai_error *e); /* without NUL inside */

/* Refuses what we do not do: any of these names present with a value that asks for something. */
int openai_refuse_unsupported(yyjson_val *obj, bool chat, struct openai_error *e);

#endif
