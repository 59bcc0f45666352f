/* What a token means, told from its spelling. */
#ifndef MERIDIAN_MODEL_TOKENIZER_NAMES_H
#define MERIDIAN_MODEL_TOKENIZER_NAMES_H

#include <stdbool.h>
#include <stddef.h>

bool token_name_is_end(const char *s, size_t len);         /* an answer ends here */
bool token_name_ends_file(const char *s, size_t len);      /* fill-in-the-middle: padding, next file, next repository */
bool token_name_is_file_marker(const char *s, size_t len); /* any marker of fill-in-the-middle */
bool token_name_is_markup(const char *s, size_t len);      /* a marker of some chat template */

#endif
