/* `meridian tokenize`: what a vocabulary makes of a text, and back. */
#include "base/buf.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#define MOST_TEXT     (256u << 20)
#define MOST_MESSAGES 1024

struct job {
    struct tokenizer *tokenizer;
    enum chat_family family;
    bool ids, special, bos, chat;
};

/* {"messages":[{"role":…,"content":…},…]} as it is given to the model, markers and all. */
static int encode_chat(const struct job *job, const char *text, size_t len, struct buf *ids, struct error *err)
{
    yyjson_doc *doc = yyjson_read(text, len, 0);
    yyjson_val *all = yyjson_obj_get(yyjson_doc_get_root(doc), "messages"), *v;
    struct chat_message *messages = calloc(MOST_MESSAGES, sizeof(*messages));
    size_t n = 0, i, end;
    bool fine = messages && yyjson_arr_size(all) > 0 && yyjson_arr_size(all) <= MOST_MESSAGES;
    if (fine)
        yyjson_arr_foreach(all, i, end, v)
        {
            yyjson_val *role = yyjson_obj_get(v, "role"), *content = yyjson_obj_get(v, "content");
            fine = fine && yyjson_is_str(role) && yyjson_is_str(content);
            messages[n++] = (struct chat_message){.role = yyjson_get_str(role),
                .content = yyjson_get_str(content),
                .content_len = yyjson_get_len(content)};
        }
    int rc = !fine ? error_set(err, EINVAL, "a line is not {\"messages\":[{\"role\":…,\"content\":…},…]}")
                   : chat_encode(job->family, job->tokenizer, messages, n, false, ids, NULL, err);
    free(messages);
    yyjson_doc_free(doc);
    return rc;
}

/* One text on one line: its ids, or each token's text in quotes with its id. */
static int show(const struct job *job, const char *text, size_t len, struct error *err)
{
    struct buf ids = {0}, piece = {0};
    int rc = job->chat ? encode_chat(job, text, len, &ids, err)
                       : tokenizer_encode(job->tokenizer, text, len, job->special, job->bos, &ids);
    const int32_t *id = (const int32_t *)ids.data;
    for (size_t i = 0; !rc && i < ids.len / sizeof(*id); i++) {
        if (job->ids) {
            printf("%s%d", i ? " " : "", id[i]);
            continue;
        }
        piece.len = 0;
        rc = tokenizer_decode(job->tokenizer, id[i], true, &piece);
        printf("%8d  \"", id[i]);
        for (size_t k = 0; k < piece.len; k++)
            if (piece.data[k] < 0x20 || piece.data[k] == '"' || piece.data[k] == '\\')
                printf("\\x%02x", piece.data[k]);
            else
                putchar(piece.data[k]);
        printf("\"\n");
    }
    if (job->ids)
        putchar('\n');
    buf_done(&ids);
    buf_done(&piece);
    return rc && !err->text[0] ? error_set(err, -rc, "cannot tokenize: %s", strerror(-rc)) : rc;
}

static int show_lines(const struct job *job, const char *text, size_t len, struct error *err)
{
    int rc = 0;
    while (len && !rc) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t)(end - text) : len;
        rc = show(job, text, n, err);
        text += n + (end != NULL);
        len -= n + (end != NULL);
    }
    return rc;
}

static int decode(const struct job *job, const struct cli_args *args, struct error *err)
{
    struct buf ids = {0}, text = {0};
    int rc = 0;
    for (size_t i = 0; i < cli_n_operands(args) && !rc; i++) {
        char *end;
        long v = strtol(cli_operand(args, i), &end, 10);
        int32_t id = (int32_t)v;
        if (*end || v < 0 || v >= (long)tokenizer_n_vocab(job->tokenizer))
            rc = error_set(err, EINVAL, "\"%s\" is not a token id below %u", cli_operand(args, i),
                tokenizer_n_vocab(job->tokenizer));
        else
            rc = buf_append(&ids, &id, sizeof(id));
    }
    if (!rc)
        rc = tokenizer_decode_all(job->tokenizer, (const int32_t *)ids.data, ids.len / sizeof(int32_t), true, &text);
    if (!rc)
        printf("%.*s\n", (int)text.len, text.len ? (const char *)text.data : "");
    buf_done(&ids);
    buf_done(&text);
    return rc;
}

static int from_input(const struct job *job, const struct cli_args *args, struct error *err)
{
    struct buf text = {0};
    int rc = 0;
    for (size_t i = 0; i < cli_n_operands(args) && !rc; i++) {
        rc = i ? buf_append_str(&text, " ") : 0;
        rc = rc ? rc : buf_append_str(&text, cli_operand(args, i));
    }
    if (!rc && !cli_n_operands(args))
        rc = cli_read_stdin(&text, MOST_TEXT, err);
    if (!rc)
        rc = cli_flag(args, "lines") || job->chat ? show_lines(job, (const char *)text.data, text.len, err)
                                                  : show(job, (const char *)text.data, text.len, err);
    buf_done(&text);
    return rc;
}

static int run(const struct cli_args *args, struct error *err)
{
    const char *path;
    struct gguf_file *file;
    int rc = cli_need(args, "model", &path, err);
    if (rc || (rc = gguf_file_open(&file, path, err)))
        return rc;
    struct job job = {.ids = cli_flag(args, "ids"),
        .special = cli_flag(args, "special"),
        .bos = cli_flag(args, "bos"),
        .chat = cli_flag(args, "chat")};
    rc = tokenizer_open(&job.tokenizer, file, err);
    if (!rc && job.chat && (rc = chat_family_of(&job.family, file, job.tokenizer, err)))
        tokenizer_free(job.tokenizer);
    gguf_file_close(file);
    if (rc)
        return rc;
    rc = cli_flag(args, "decode") ? decode(&job, args, err) : from_input(&job, args, err);
    tokenizer_free(job.tokenizer);
    return rc;
}

static const struct cli_option options[] = {
    {"model", "FILE", NULL, "the GGUF file whose vocabulary is used (whole, or an edge half)"},
    {"ids", NULL, NULL, "print only the token ids, in one line"},
    {"lines", NULL, NULL, "each line of the input is a text of its own"},
    {"chat", NULL, NULL, "each line is {\"messages\":[…]}: the tokens of the whole chat as a model gets it"},
    {"special", NULL, NULL, "recognise control tokens such as <|im_end|> in the text"},
    {"bos", NULL, NULL, "begin (and end) with the tokens that the file asks for"},
    {"decode", NULL, NULL, "the operands are token ids; print their text"},
    {NULL},
};

const struct cli_verb verb_tokenize = {
    .section = "Models",
    .name = "tokenize",
    .summary = "show the tokens of a text",
    .operands = "[TEXT...]",
    .max_operands = -1,
    .about = "Prints each token with its text, or only the ids. Without TEXT, standard input is read to its end.",
    .example = "meridian tokenize --model edge.gguf --ids \"血压 140/90\"\n"
               "meridian tokenize --model edge.gguf --decode 9707 11 1879",
    .options = options,
    .run = run,
};
