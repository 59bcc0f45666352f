/* What a token means, told from its spelling, because most files do not say: llama.cpp's lists. */
#include "model/tokenizer_names.h"

#include <string.h>

static bool in_list(const char *const *list, const char *s, size_t len)
{
    for (; *list; list++)
        if (strlen(*list) == len && memcmp(*list, s, len) == 0)
            return true;
    return false;
}

bool token_name_is_end(const char *s, size_t len)
{
    static const char *const ends[] = {"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>",
        "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "<|EOT|>", "[EOT]",
        "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<｜end▁of▁sentence｜>", "[e~[", NULL};
    return in_list(ends, s, len);
}

bool token_name_is_file_marker(const char *s, size_t len)
{
    static const char *const fims[] = {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>",
        "▁<PRE>", "<|code_prefix|>", "<|prefix|>", "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>",
        "<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>", "<|fim_middle|>", "<fim-middle>", "<fim_middle>",
        "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>", NULL};
    return in_list(fims, s, len) || token_name_ends_file(s, len);
}

bool token_name_ends_file(const char *s, size_t len)
{
    static const char *const fims[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "<|fim_repo|>",
        "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>", NULL};
    return in_list(fims, s, len);
}

static bool starts(const char *s, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(s, with, strlen(with)) == 0;
}

static bool stops(const char *s, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(s + len - strlen(with), with, strlen(with)) == 0;
}

bool token_name_is_markup(const char *s, size_t len)
{
    static const char *const plain[] = {"[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CALLS]",
        "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "<s>", "</s>", "<<SYS>>",
        "<</SYS>>", "<start_of_turn>", "<end_of_turn>", NULL};
    return in_list(plain, s, len) || (starts(s, len, "<|") && stops(s, len, "|>")) ||
           (starts(s, len, "<｜") && stops(s, len, "｜>"));
}
