/* From a list of messages to the prompt a chat model was trained on. The family (chatml, llama3, deepseek, mistral) is
 * recognised from the file's tokenizer.chat_template; a file without one is served as chatml when its vocabulary has
 * <|im_start|>, otherwise refused for chat with one clear error.
 *
 * The template itself is a program and is never run. What is taken from it, beside the family and its variant: a system
 * prompt that it gives when the messages begin with none (Qwen2, SmolLM, DeepSeek Coder), whether it trims, where it folds
 * a system prompt into a user's turn (Mistral), and whether an answer begins with <think>. Reasoning up to </think> is left
 * out of answers before the last one where the template does so. Llama 3.1's fixed date stands where it asks for one.
 * Tools are not rendered. Mistral's first format and DeepSeek Coder's mark turns with plain text, so there a user can
 * write a marker; everywhere else markers are tokens that no content becomes. */
#ifndef MERIDIAN_MODEL_CHAT_TEMPLATE_H
#define MERIDIAN_MODEL_CHAT_TEMPLATE_H

#include "base/buf.h"
#include "base/error.h"
#include "model/gguf_file.h"
#include "model/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>

enum chat_family { CHAT_NONE, CHAT_CHATML, CHAT_LLAMA3, CHAT_DEEPSEEK, CHAT_MISTRAL };

struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
    size_t content_len;
};

const char *chat_family_name(enum chat_family family);
int chat_family_of(enum chat_family *ret, const struct gguf_file *f, const struct tokenizer *t, struct error *err);

/* Appends token ids: markers become control tokens, contents never do (a user who types <|im_end|> types text).
 * `answer`: end with the opening of the assistant's turn. `ret_mask` (may be NULL) gets one byte a token: 1 inside an
 * assistant's content and its end marker, which is what training learns. Unknown role: -EINVAL. */
int chat_encode(enum chat_family family, const struct tokenizer *t, const struct chat_message *messages, size_t n,
    bool answer, struct buf *ret_ids, struct buf *ret_mask, struct error *err);

#endif
