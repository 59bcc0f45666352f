/* Lines of JSON to samples of tokens. An error says which line and what it should be; it never quotes what is in it. */
#include "split/dataset_inner.h"

#include <errno.h>
#include <string.h>
#include <yyjson.h>

#define MOST_MESSAGES 4096u

struct reader {
    struct dataset *ds;
    const struct tokenizer *t;
    enum chat_family family;
    struct buf ids, mask; /* of the line being read */
};

/* --- one line to tokens ------------------------------------------------------------------------------------------ */

static int read_text(struct reader *r, yyjson_val *text, struct error *err)
{
    int32_t eos = tokenizer_eos(r->t), last = -1;
    if (tokenizer_encode(r->t, yyjson_get_str(text), yyjson_get_len(text), false, true, &r->ids))
        return error_set(err, ENOMEM, "no memory for this text");
    if (r->ids.len)
        memcpy(&last, r->ids.data + r->ids.len - sizeof(last), sizeof(last));
    if (eos >= 0 && last != eos && buf_append(&r->ids, &eos, sizeof(eos)))
        return error_set(err, ENOMEM, "no memory for this text");
    size_t n = r->ids.len / sizeof(int32_t);
    if (buf_reserve(&r->mask, n))
        return error_set(err, ENOMEM, "no memory for this text");
    memset(r->mask.data, 1, n);
    r->mask.len = n;
    return 0;
}

static int read_message(yyjson_val *v, struct chat_message *ret, struct error *err)
{
    yyjson_val *role = yyjson_obj_get(v, "role"), *content = yyjson_obj_get(v, "content");
    if (!yyjson_is_str(role) || !yyjson_is_str(content))
        return error_set(err, EINVAL, "each message needs \"role\" and \"content\", both text");
    *ret = (struct chat_message){
        .role = yyjson_get_str(role), .content = yyjson_get_str(content), .content_len = yyjson_get_len(content)};
    return 0;
}

static int read_chat(struct reader *r, yyjson_val *messages, struct error *err)
{
    struct buf list = {0};
    size_t i, n;
    yyjson_val *v;
    int rc = 0;
    if (r->family == CHAT_NONE)
        return error_set(err, EINVAL, "this model knows no chats: give samples as {\"text\":…}");
    if (yyjson_arr_size(messages) == 0 || yyjson_arr_size(messages) > MOST_MESSAGES)
        return error_set(err, EINVAL, "\"messages\" must hold 1 to %u messages", MOST_MESSAGES);
    yyjson_arr_foreach(messages, i, n, v)
    {
        struct chat_message m;
        rc = read_message(v, &m, err);
        if (!rc && buf_append(&list, &m, sizeof(m)))
            rc = error_set(err, ENOMEM, "no memory for this chat");
        if (rc)
            break;
    }
    if (!rc)
        rc = chat_encode(
            r->family, r->t, (const struct chat_message *)(void *)list.data, n, false, &r->ids, &r->mask, err);
    buf_done(&list);
    return rc;
}

static int read_line(struct reader *r, const char *line, size_t len, struct error *err)
{
    yyjson_read_err why;
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)line, len, 0, NULL, &why);
    if (!doc)
        return error_set(err, EINVAL, "not JSON (%s at byte %zu): each line must be one object", why.msg, why.pos + 1);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *messages = yyjson_obj_get(root, "messages"), *text = yyjson_obj_get(root, "text");
    int rc;
    r->ids.len = r->mask.len = 0;
    if (yyjson_is_arr(messages))
        rc = read_chat(r, messages, err);
    else if (yyjson_is_str(text))
        rc = read_text(r, text, err);
    else
        rc = error_set(err, EINVAL, "a sample is {\"messages\":[{\"role\":…,\"content\":…},…]} or {\"text\":…}");
    yyjson_doc_free(doc);
    return rc;
}

/* --- tokens to samples ------------------------------------------------------------------------------------------- */

/* Tokens [from, from + n) of the line; n >= 2. */
static int add_sample(struct reader *r, size_t from, size_t n)
{
    struct dataset *ds = r->ds;
    struct sample s = {.first = ds->tokens.len / sizeof(int32_t), .rows = (uint32_t)n - 1};
    for (size_t i = 1; i < n; i++)
        s.learnt += r->mask.data[from + i];
    if (!s.learnt) {
        ds->counts.empty++;
        return 0;
    }
    if (buf_append(&ds->tokens, r->ids.data + from * sizeof(int32_t), n * sizeof(int32_t)) ||
        buf_append(&ds->mask, r->mask.data + from, n) || buf_append(&ds->samples, &s, sizeof(s)))
        return -ENOMEM;
    return 0;
}

static int add_line(struct reader *r)
{
    struct dataset_counts *c = &r->ds->counts;
    size_t n = r->ids.len / sizeof(int32_t), most = (size_t)r->ds->cfg.max_sample + 1;
    if (n < 2) {
        c->empty++;
        return 0;
    }
    if (n <= most)
        return add_sample(r, 0, n);
    switch (r->ds->cfg.too_long) {
    case DATASET_REFUSE:
        c->refused++;
        return 0;
    case DATASET_TRUNCATE:
        c->truncated++;
        return add_sample(r, 0, most);
    case DATASET_CHOP:
        break;
    }
    c->chopped++;
    int rc = 0;
    for (size_t from = 0; !rc && from + 1 < n; from += most - 1) /* the last target is the next one's first input */
        rc = add_sample(r, from, n - from < most ? n - from : most);
    return rc;
}

static bool blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

int dataset_read_lines(struct dataset *ds, const char *bytes, size_t len, const char *name, const struct tokenizer *t,
    enum chat_family family, struct error *err)
{
    struct reader r = {.ds = ds, .t = t, .family = family};
    int rc = 0;
    uint64_t line = 1;
    for (size_t at = 0; !rc && at < len; line++) {
        const char *end = memchr(bytes + at, '\n', len - at);
        size_t n = end ? (size_t)(end - bytes) - at : len - at;
        if (!blank(bytes + at, n)) {
            rc = read_line(&r, bytes + at, n, err);
            if (!rc && add_line(&r))
                rc = error_set(err, ENOMEM, "no memory for so many samples");
        }
        if (rc)
            error_prefix(err, rc, "%s:%llu", name, (unsigned long long)line);
        at += n + 1;
    }
    if (r.ids.data)
        explicit_bzero(r.ids.data, r.ids.cap);
    buf_done(&r.ids);
    buf_done(&r.mask);
    return rc;
}
