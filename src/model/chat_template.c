/* Messages to tokens. A prompt is a row of markers (tokens found by name) and runs of text between them; each run is
 * encoded in one go, as the whole rendered text would be, and always as content: nothing in it becomes a marker. Only
 * an assistant's content begins a run of its own, since a model that answers begins there too. */
#include "model/chat_template.h"

#include <errno.h>
#include <string.h>

#define DEEPSEEK_USER      "<｜User｜>"
#define DEEPSEEK_ASSISTANT "<｜Assistant｜>"
#define DEEPSEEK_END       "<｜end▁of▁sentence｜>"

struct text {
    const char *s;
    size_t len;
};

static struct text text_of(const char *s)
{
    return (struct text){s, strlen(s)};
}

/* ---- the prompt being built ---------------------------------------------------------------------------------- */

struct prompt {
    const struct tokenizer *t;
    struct buf *ids, *mask;
    struct buf run;
    bool after_text; /* the last token came from text: SPM must not add a space */
    uint8_t learn;
    int rc;
};

static void mask_to_here(struct prompt *p)
{
    if (!p->mask || p->rc)
        return;
    size_t more = p->ids->len / sizeof(int32_t) - p->mask->len;
    p->rc = buf_reserve(p->mask, more);
    if (!p->rc && more) {
        memset(p->mask->data + p->mask->len, p->learn, more);
        p->mask->len += more;
    }
}

static void flush(struct prompt *p)
{
    if (!p->run.len || p->rc)
        return;
    /* A space that the template writes after a marker is the one SPM would add. */
    bool go_on = p->after_text || p->run.data[0] == ' ';
    unsigned flags = TOKENIZER_CONTENT | (go_on ? TOKENIZER_CONTINUE : 0);
    p->rc = tokenizer_encode_as(p->t, (const char *)p->run.data, p->run.len, flags, p->ids);
    p->after_text = true;
    p->run.len = 0;
    mask_to_here(p);
}

static void put(struct prompt *p, struct text text)
{
    if (!p->rc)
        p->rc = buf_append(&p->run, text.s, text.len);
}

static void put_str(struct prompt *p, const char *s)
{
    put(p, text_of(s));
}

static void put_id(struct prompt *p, int32_t id)
{
    flush(p);
    if (id < 0 || p->rc)
        return;
    p->rc = buf_append(p->ids, &id, sizeof(id));
    p->after_text = false;
    mask_to_here(p);
}

/* A marker is one token; where the vocabulary has none of that name it is text, as the model was taught. */
static void put_marker(struct prompt *p, const char *name)
{
    int32_t id = tokenizer_find(p->t, name, strlen(name));
    if (id >= 0)
        put_id(p, id);
    else
        put_str(p, name);
}

static void learn(struct prompt *p, bool on)
{
    flush(p);
    p->learn = on;
}

/* ---- what the template's source tells -------------------------------------------------------------------------- */

static bool has(struct text t, const char *what)
{
    return t.len && memmem(t.s, t.len, what, strlen(what));
}

static struct text template_of(const struct tokenizer *t)
{
    struct gguf_str s = tokenizer_chat_template(t);
    return (struct text){s.s, s.len};
}

static struct text trim(struct text t)
{
    static const char space[] = " \t\n\r\f\v";
    while (t.len && memchr(space, t.s[0], sizeof(space) - 1)) {
        t.s++;
        t.len--;
    }
    while (t.len && memchr(space, t.s[t.len - 1], sizeof(space) - 1))
        t.len--;
    return t;
}

/* The literal text between `from` and `to`, with no quote or brace in it; {NULL, 0} if there is none. */
static struct text literal_between(struct text t, const char *from, const char *to)
{
    const char *end = t.s + t.len, *at = t.s;
    while (at && (at = memmem(at, (size_t)(end - at), from, strlen(from)))) {
        at += strlen(from);
        const char *stop = memmem(at, (size_t)(end - at), to, strlen(to));
        if (!stop)
            break;
        struct text found = {at, (size_t)(stop - at)};
        if (found.len && !memchr(at, '\'', found.len) && !memchr(at, '"', found.len) && !memchr(at, '{', found.len))
            return found;
    }
    return (struct text){NULL, 0};
}

/* A literal of the source as the text it means: \n is a newline. */
static void put_unescaped(struct prompt *p, struct text t)
{
    for (size_t i = 0; i < t.len; i++) {
        char c = t.s[i];
        if (c == '\\' && i + 1 < t.len) {
            c = t.s[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        put(p, (struct text){&c, 1});
    }
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

struct chat {
    struct prompt p;
    struct text source; /* of the template */
    const struct chat_message *m;
    size_t n;
    bool answer;
};

static bool is(const struct chat_message *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

static struct text content(const struct chat *c, size_t i)
{
    struct text t = {c->m[i].content, c->m[i].content_len};
    if (!is(&c->m[i], "assistant") || i + 1 == c->n || !has(c->source, "</think>"))
        return t;
    for (const char *at; (at = memmem(t.s, t.len, "</think>", 8));) {
        t.len -= (size_t)(at + 8 - t.s);
        t.s = at + 8;
        while (t.len && *t.s == '\n' && has(c->source, "lstrip")) {
            t.s++;
            t.len--;
        }
    }
    return t;
}

/* An assistant's content and what ends it: what training learns. */
static void put_answer(struct chat *c, struct text t, const char *end)
{
    learn(&c->p, true);
    put(&c->p, t);
    if (end)
        put_marker(&c->p, end);
    else
        put_id(&c->p, tokenizer_eos(c->p.t));
    learn(&c->p, false);
}

static void chatml_open(struct chat *c, const char *role)
{
    put_marker(&c->p, "<|im_start|>");
    put_str(&c->p, role);
    put_str(&c->p, "\n");
}

static void encode_chatml(struct chat *c)
{
    struct text system = literal_between(c->source, "<|im_start|>system\\n", "<|im_end|>");
    if (!system.len)
        system = literal_between(c->source, "<|im_start|>system\n", "<|im_end|>");
    if (system.len && !is(&c->m[0], "system")) {
        chatml_open(c, "system");
        put_unescaped(&c->p, system);
        put_marker(&c->p, "<|im_end|>");
        put_str(&c->p, "\n");
    }
    for (size_t i = 0; i < c->n; i++) {
        chatml_open(c, c->m[i].role);
        if (is(&c->m[i], "assistant")) {
            put_answer(c, content(c, i), "<|im_end|>");
        } else {
            put(&c->p, content(c, i));
            put_marker(&c->p, "<|im_end|>");
        }
        put_str(&c->p, "\n");
    }
    if (c->answer)
        chatml_open(c, "assistant");
}

static void llama3_open(struct chat *c, const char *role)
{
    put_marker(&c->p, "<|start_header_id|>");
    put_str(&c->p, role);
    put_marker(&c->p, "<|end_header_id|>");
    put_str(&c->p, "\n\n");
}

static void encode_llama3(struct chat *c)
{
    bool trims = has(c->source, "trim") || !c->source.len,
         dated = has(c->source, "Cutting Knowledge Date: December 2023");
    size_t i = 0;
    if (dated) {
        llama3_open(c, "system");
        put_str(&c->p, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
        if (is(&c->m[0], "system"))
            put(&c->p, trim(content(c, i++)));
        put_marker(&c->p, "<|eot_id|>");
    }
    for (; i < c->n; i++) {
        struct text t = trims ? trim(content(c, i)) : content(c, i);
        llama3_open(c, c->m[i].role);
        if (is(&c->m[i], "assistant")) {
            put_answer(c, t, "<|eot_id|>");
        } else {
            put(&c->p, t);
            put_marker(&c->p, "<|eot_id|>");
        }
    }
    if (c->answer)
        llama3_open(c, "assistant");
}

static void put_systems(struct chat *c)
{
    bool first = true;
    for (size_t i = 0; i < c->n; i++) {
        if (!is(&c->m[i], "system"))
            continue;
        if (!first)
            put_str(&c->p, "\n\n");
        put(&c->p, content(c, i));
        first = false;
    }
}

/* DeepSeek V3 and R1: system prompts first, then turns marked by tokens. */
static void encode_deepseek3(struct chat *c)
{
    put_systems(c);
    for (size_t i = 0; i < c->n; i++) {
        if (is(&c->m[i], "user")) {
            put_marker(&c->p, DEEPSEEK_USER);
            put(&c->p, content(c, i));
        } else if (is(&c->m[i], "assistant")) {
            put_marker(&c->p, DEEPSEEK_ASSISTANT);
            put_answer(c, content(c, i), DEEPSEEK_END);
        }
    }
    if (!c->answer)
        return;
    put_marker(&c->p, DEEPSEEK_ASSISTANT);
    if (has(c->source, DEEPSEEK_ASSISTANT "<think>\\n")) {
        put_marker(&c->p, "<think>");
        put_str(&c->p, "\n");
    }
}

/* DeepSeek LLM and V2: turns marked by "User: " and "Assistant: ". */
static void encode_deepseek2(struct chat *c)
{
    for (size_t i = 0; i < c->n; i++) {
        if (is(&c->m[i], "assistant")) {
            put_str(&c->p, "Assistant:");
            learn(&c->p, true);
            put_str(&c->p, " ");
            put(&c->p, content(c, i));
            put_id(&c->p, tokenizer_eos(c->p.t));
            learn(&c->p, false);
        } else {
            put_str(&c->p, is(&c->m[i], "user") ? "User: " : "");
            put(&c->p, content(c, i));
            put_str(&c->p, "\n\n");
        }
    }
    if (c->answer)
        put_str(&c->p, "Assistant:");
}

static void encode_deepseek_coder(struct chat *c)
{
    bool found = false;
    for (size_t i = 0; i < c->n; i++)
        found |= is(&c->m[i], "system");
    if (!found)
        put_unescaped(&c->p, literal_between(c->source, "{{'", "'}}"));
    for (size_t i = 0; i < c->n; i++) {
        if (is(&c->m[i], "system")) {
            put(&c->p, content(c, i));
        } else if (is(&c->m[i], "user")) {
            put_str(&c->p, "### Instruction:\n");
            put(&c->p, content(c, i));
            put_str(&c->p, "\n");
        } else {
            put_str(&c->p, "### Response:\n");
            learn(&c->p, true);
            put(&c->p, content(c, i));
            put_str(&c->p, "\n");
            put_marker(&c->p, "<|EOT|>");
            learn(&c->p, false);
            put_str(&c->p, "\n");
        }
    }
    if (c->answer)
        put_str(&c->p, "### Response:\n");
}

static void encode_deepseek(struct chat *c)
{
    if (has(c->source, "### Instruction:"))
        encode_deepseek_coder(c);
    else if (has(c->source, DEEPSEEK_USER) || has(c->source, "User｜>"))
        encode_deepseek3(c);
    else
        encode_deepseek2(c);
}

/* The formats of Mistral and of Llama 2, told apart by how the template writes "[INST]":
 *
 *                            before    after     answer
 *   v1         ' [INST] '    " "       " "       " " content     all text
 *   Llama 2    <<SYS>>       ""        " "       " " content " ", each turn begins with BOS
 *   v3         "[INST] "     ""        " "       " " content     [INST] is a token; no space before [/INST]
 *   tekken     "[INST]"      ""        ""        content         the same without spaces
 *   v7         [SYSTEM_PROMPT] as v3 or tekken, the system prompt in a turn of its own */
struct mistral {
    const char *before, *after, *before_end;
    bool sys, turns_begin, v7, last, trim;
};

static struct mistral mistral_of(struct text source)
{
    struct mistral v = {"", " ", " ", .sys = has(source, "<<SYS>>")};
    v.turns_begin = v.sys && has(source, "bos_token + '[INST]");
    v.v7 = has(source, "[SYSTEM_PROMPT]");
    v.last = has(source, "loop.last and system_message");
    v.trim = v.sys || has(source, "|trim");
    if (has(source, "' [INST] ")) {
        v.before = " ";
    } else if (v.v7 || has(source, "[AVAILABLE_TOOLS]")) {
        v.before_end = "";
        v.after = has(source, "\"[INST] ") || has(source, "'[INST] ") ? " " : "";
    }
    return v;
}

static void mistral_user(struct chat *c, const struct mistral *v, size_t i, bool with_system)
{
    put_str(&c->p, v->before);
    put_marker(&c->p, "[INST]");
    put_str(&c->p, v->after);
    if (with_system && v->sys)
        put_str(&c->p, "<<SYS>>\n");
    if (with_system)
        put_systems(c);
    if (with_system)
        put_str(&c->p, v->sys ? "\n<</SYS>>\n\n" : "\n\n");
    put(&c->p, v->sys ? trim(content(c, i)) : content(c, i));
    put_str(&c->p, v->before_end);
    put_marker(&c->p, "[/INST]");
}

static void mistral_answer(struct chat *c, const struct mistral *v, size_t i)
{
    learn(&c->p, true);
    put_str(&c->p, v->after);
    put(&c->p, v->trim ? trim(content(c, i)) : content(c, i));
    put_str(&c->p, v->sys ? " " : "");
    put_id(&c->p, tokenizer_eos(c->p.t));
    learn(&c->p, false);
}

/* Which user's turn takes the system prompt in: the first, or the last where the template says so; c->n: none. */
static size_t mistral_fold(const struct chat *c, const struct mistral *v)
{
    size_t at = c->n;
    bool any = false;
    for (size_t i = 0; i < c->n; i++) {
        any |= is(&c->m[i], "system");
        if (is(&c->m[i], "user") && (at == c->n || v->last))
            at = i;
    }
    return any && !v->v7 ? at : c->n;
}

static void encode_mistral(struct chat *c)
{
    struct mistral v = mistral_of(c->source);
    size_t fold = mistral_fold(c, &v);
    for (size_t i = 0; i < c->n; i++) {
        if (is(&c->m[i], "user")) {
            if (v.turns_begin && i && is(&c->m[i - 1], "assistant"))
                put_id(&c->p, tokenizer_bos(c->p.t));
            mistral_user(c, &v, i, i == fold);
        } else if (is(&c->m[i], "assistant")) {
            mistral_answer(c, &v, i);
        } else if (v.v7) {
            put_marker(&c->p, "[SYSTEM_PROMPT]");
            put_str(&c->p, v.after);
            put(&c->p, content(c, i));
            put_marker(&c->p, "[/SYSTEM_PROMPT]");
        }
    }
}

/* ---- the public face ------------------------------------------------------------------------------------------- */

const char *chat_family_name(enum chat_family family)
{
    static const char *const names[] = {"none", "chatml", "llama3", "deepseek", "mistral"};
    return (size_t)family < sizeof(names) / sizeof(names[0]) ? names[family] : "none";
}

static enum chat_family family_of_source(struct text s)
{
    if (has(s, "<|im_start|>") && !has(s, "<|im_sep|>") && !has(s, "<end_of_utterance>"))
        return CHAT_CHATML;
    if (has(s, "<|start_header_id|>") && has(s, "<|end_header_id|>"))
        return CHAT_LLAMA3;
    if (has(s, DEEPSEEK_ASSISTANT) && has(s, "User｜>"))
        return CHAT_DEEPSEEK;
    if ((has(s, "### Instruction:") && has(s, "<|EOT|>")) || has(s, "'Assistant: ' + message['content'] + eos_token"))
        return CHAT_DEEPSEEK;
    return has(s, "[INST]") ? CHAT_MISTRAL : CHAT_NONE;
}

/* The marker without which the family cannot be served. */
static const char *marker_of(enum chat_family family, struct text source)
{
    switch (family) {
    case CHAT_CHATML:
        return "<|im_end|>";
    case CHAT_LLAMA3:
        return "<|eot_id|>";
    case CHAT_DEEPSEEK:
        return has(source, "### Instruction:")   ? "<|EOT|>"
               : has(source, DEEPSEEK_ASSISTANT) ? DEEPSEEK_ASSISTANT
                                                 : NULL;
    default:
        return NULL;
    }
}

int chat_family_of(enum chat_family *ret, const struct gguf_file *f, const struct tokenizer *t, struct error *err)
{
    struct text source = template_of(t);
    enum chat_family family = family_of_source(source);
    if (!source.len && tokenizer_find(t, "<|im_start|>", 12) >= 0)
        family = CHAT_CHATML;
    if (family == CHAT_NONE)
        return error_set(err, ENOTSUP,
            source.len
                ? "%s: its chat template is none we know (chatml, llama3, deepseek, mistral); use plain completion"
                : "%s has no chat template; it completes text but does not chat",
            gguf_file_name(f));
    const char *marker = marker_of(family, source);
    if (marker && tokenizer_find(t, marker, strlen(marker)) < 0)
        return error_set(err, ENOTSUP, "%s: its chat template is %s but its vocabulary has no %s", gguf_file_name(f),
            chat_family_name(family), marker);
    *ret = family;
    return 0;
}

static int check(enum chat_family family, const struct chat_message *m, size_t n, struct error *err)
{
    if (family <= CHAT_NONE || family > CHAT_MISTRAL)
        return error_set(err, ENOTSUP, "this model does not chat");
    if (!n)
        return error_set(err, EINVAL, "a chat needs at least one message");
    for (size_t i = 0; i < n; i++)
        if (!is(&m[i], "system") && !is(&m[i], "user") && !is(&m[i], "assistant"))
            return error_set(
                err, EINVAL, "message %zu: the role '%.32s' is not known (system, user, assistant)", i + 1, m[i].role);
    return 0;
}

int chat_encode(enum chat_family family, const struct tokenizer *t, const struct chat_message *messages, size_t n,
    bool answer, struct buf *ret_ids, struct buf *ret_mask, struct error *err)
{
    int rc = check(family, messages, n, err);
    if (rc)
        return rc;
    static void (*const encoders[])(struct chat *) = {
        [CHAT_CHATML] = encode_chatml,
        [CHAT_LLAMA3] = encode_llama3,
        [CHAT_DEEPSEEK] = encode_deepseek,
        [CHAT_MISTRAL] = encode_mistral,
    };
    struct buf ids = {0}, mask = {0};
    struct chat c = {{.t = t, .ids = &ids, .mask = &mask}, template_of(t), messages, n, answer};
    if (tokenizer_adds_bos(t) || has(c.source, "bos_token"))
        put_id(&c.p, tokenizer_bos(t));
    encoders[family](&c);
    flush(&c.p);
    rc = c.p.rc;
    if (!rc)
        rc = buf_reserve(ret_ids, ids.len);
    if (!rc && ret_mask)
        rc = buf_append(ret_mask, mask.data, mask.len);
    if (!rc)
        rc = buf_append(ret_ids, ids.data, ids.len);
    buf_done(&ids);
    buf_done(&mask);
    buf_done(&c.p.run);
    return rc ? error_set(err, -rc, "no memory for the prompt") : 0;
}
