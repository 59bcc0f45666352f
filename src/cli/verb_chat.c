/* `meridian chat`: a conversation with an edge in the terminal, or one question and its answer.
 *
 * ^C while an answer comes stops that answer: the handler writes into a pipe that the client's every wait looks at. ^C at
 * the prompt drops the line; the end of input or /quit ends. */
#include "base/buf.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "edge/chat_client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_TEXT (4u << 20)

static int stop_pipe[2];
static volatile sig_atomic_t ending, conversing;

static void on_signal(int sig)
{
    int was = errno;
    if (sig != SIGINT)
        ending = 1;
    if (!conversing)
        cli_interrupted = 1;
    ssize_t n = write(stop_pipe[1], "", 1);
    (void)n;
    errno = was;
}

static int catch_signals(struct error *err)
{
    struct sigaction act = {.sa_handler = on_signal}; /* without SA_RESTART: reading a line is interrupted */
    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK))
        return error_set(err, errno, "%s", strerror(errno));
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    return 0;
}

/* Clears what was interrupted. True: something was. */
static bool take_stop(void)
{
    char bytes[64];
    bool any = false;
    while (read(stop_pipe[0], bytes, sizeof(bytes)) > 0)
        any = true;
    return any;
}

/* A terminal obeys control characters, so a model's are not shown there: C0 except newline and tab, DEL, and C1, which
 * UTF-8 writes as C2 80 … C2 9F (pieces hold whole characters). */
static void show_safely(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i], next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
        if (c == 0xc2 && next >= 0x80 && next <= 0x9f)
            i++;
        else if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t')
            putchar(c);
    }
}

static void on_text(void *user, const char *text, size_t len)
{
    const bool *terminal = user;
    if (*terminal)
        show_safely(text, len);
    else
        fwrite(text, 1, len, stdout);
    fflush(stdout);
}

static int ask(struct chat_client *c, const char *text, size_t len, struct chat_reply *reply, struct error *err)
{
    bool terminal = isatty(STDOUT_FILENO);
    int rc = chat_client_ask(c, text, len, on_text, &terminal, reply, err);
    if (!rc || reply->tokens)
        putchar('\n');
    fflush(stdout);
    return rc;
}

static int ask_once(struct chat_client *c, const char *text, size_t len, struct error *err)
{
    struct chat_reply reply = {0};
    int rc = ask(c, text, len, &reply, err);
    if (!rc && reply.cut)
        fprintf(stderr, "(the longest answer was reached; --max-tokens raises it)\n");
    return rc;
}

/* --- the conversation --- */

/* One message: lines that end in a backslash go on. 0 with *ret; -EINTR; -ENODATA at the end of input. */
static int read_message(struct buf *ret)
{
    char *line = NULL;
    size_t cap = 0;
    int rc = 0;
    bool more = true;
    for (ret->len = 0; more && !rc;) {
        fputs(ret->len ? "… " : "> ", stderr);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0) {
            rc = errno == EINTR && !feof(stdin) ? -EINTR : -ENODATA;
            clearerr(stdin);
            break;
        }
        while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        more = n && line[n - 1] == '\\';
        rc = ret->len + (size_t)n > MOST_TEXT ? -EFBIG : buf_append(ret, line, (size_t)n - more);
        if (more && !rc)
            rc = buf_append(ret, "\n", 1);
    }
    free(line);
    return rc;
}

static void say_help(void)
{
    fputs("/reset begins anew, /quit ends (also ^D), ^C stops an answer; a line that ends in \\ goes on\n", stderr);
}

/* True: it was a command. */
static bool command(struct chat_client *c, struct buf *text, bool *ret_quit)
{
    const char *s = buf_str(text);
    if (s[0] != '/')
        return false;
    if (!strcmp(s, "/quit") || !strcmp(s, "/exit"))
        *ret_quit = true;
    else if (!strcmp(s, "/reset"))
        chat_client_reset(c), fputs("forgotten\n", stderr);
    else
        say_help();
    return true;
}

static void answer(struct chat_client *c, const struct buf *text)
{
    struct error err = {""};
    struct chat_reply r = {0};
    int rc = ask(c, (const char *)text->data, text->len, &r, &err);
    take_stop();
    if (rc == -ECANCELED)
        fputs("(stopped)\n", stderr);
    else if (rc)
        fprintf(stderr, "meridian chat: %s\n", err.text);
    else if (r.tokens > 1 && r.whole_s > r.first_s)
        fprintf(stderr, "(%u tokens, first after %.2f s, then %.1f a second%s)\n", r.tokens, r.first_s,
            (r.tokens - 1) / (r.whole_s - r.first_s), r.cut ? "; the longest answer was reached" : "");
}

static int converse(struct chat_client *c)
{
    struct buf text = {0};
    bool quit = false;
    conversing = 1;
    say_help();
    while (!quit && !ending) {
        int rc = read_message(&text);
        if (rc == -EINTR) {
            take_stop();
            fputc('\n', stderr);
        } else if (rc) {
            break;
        } else if (text.len && !command(c, &text, &quit)) {
            answer(c, &text);
        }
    }
    buf_done(&text);
    return 0;
}

/* --- the verb --- */

static int set_up(struct chat_client *c, const struct cli_args *args, struct error *err)
{
    uint64_t seed = 0;
    const char *model = cli_str(args, "model"), *key = cli_str(args, "key"), *system = cli_str(args, "system");
    *c = (struct chat_client){.temperature = -1, .seed = -1};
    int rc = http_url_parse(&c->http.url, cli_str(args, "url"), err);
    if (!rc)
        rc = cli_f64(args, "temperature", 0, 2, &c->temperature, err);
    if (!rc)
        rc = cli_u32(args, "max-tokens", 1, 1u << 30, &c->max_tokens, err);
    if (!rc)
        rc = cli_u64(args, "seed", 0, INT64_MAX, &seed, err);
    if (!rc && cli_flag(args, "seed"))
        c->seed = (int64_t)seed;
    if (!rc && snprintf(c->model, sizeof(c->model), "%s", model ? model : "") >= (int)sizeof(c->model))
        rc = error_set(err, EINVAL, "the name of the model is too long");
    c->http.key = key ? key : getenv("MERIDIAN_API_KEY");
    c->http.ca_file = cli_str(args, "ca");
    c->http.fingerprint = cli_str(args, "fingerprint");
    if (!rc && system && chat_client_system(c, system))
        rc = error_set(err, ENOMEM, "no memory");
    return rc;
}

static int join_operands(const struct cli_args *args, struct buf *ret)
{
    int rc = 0;
    for (size_t i = 0; i < cli_n_operands(args) && !rc; i++) {
        if (i)
            rc = buf_append(ret, " ", 1);
        if (!rc)
            rc = buf_append_str(ret, cli_operand(args, i));
    }
    return rc;
}

/* The question, then, if something is piped in, that text below it: `meridian chat "Summarise:" < letter.txt`. */
static int one_question(struct chat_client *c, const struct cli_args *args, struct error *err)
{
    struct buf text = {0};
    int rc = join_operands(args, &text);
    bool dash = cli_n_operands(args) && !strcmp(cli_operand(args, cli_n_operands(args) - 1), "-");
    if (!rc && dash)
        text.len -= text.len > 1 ? 2 : 1;
    if (!rc && (dash || !cli_n_operands(args))) {
        if (text.len)
            rc = buf_append(&text, "\n\n", 2);
        rc = rc ? rc : cli_read_stdin(&text, MOST_TEXT, err);
    }
    if (!rc && !text.len)
        rc = error_set(err, 0, "there is no question"), rc = CLI_USAGE;
    if (!rc)
        rc = ask_once(c, (const char *)text.data, text.len, err);
    buf_done(&text);
    return rc;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct chat_client c;
    int rc = set_up(&c, args, err);
    if (!rc)
        rc = catch_signals(err);
    if (rc) {
        chat_client_done(&c);
        return rc;
    }
    c.http.cancel_fd = stop_pipe[0];
    rc = cli_n_operands(args) || !isatty(STDIN_FILENO) ? one_question(&c, args, err) : converse(&c);
    chat_client_done(&c);
    close(stop_pipe[0]);
    close(stop_pipe[1]);
    return rc;
}

static const struct cli_option options[] = {
    {"url", "URL", "http://localhost:8080", "where the edge serves"},
    {"key", "KEY", NULL, "API key; better in the environment as MERIDIAN_API_KEY, where other users cannot see it"},
    {"model", "NAME", NULL, "which model (default: the one the edge has)"},
    {"system", "TEXT", NULL, "instructions for the model"},
    {"temperature", "T", NULL, "0 always takes the likeliest token; up to 2"},
    {"max-tokens", "N", NULL, "longest answer"},
    {"seed", "N", NULL, "the same question and seed give the same answer"},
    {"ca", "FILE", NULL, "https: certificates to trust instead of the system's"},
    {"fingerprint", "SHA256", NULL, "https: trust the certificate with this fingerprint, which the edge prints"},
    {NULL},
};

const struct cli_verb verb_chat = {
    .section = "Campus",
    .name = "chat",
    .summary = "talk with a model in the terminal",
    .operands = "[QUESTION...]",
    .max_operands = -1,
    .about = "With a QUESTION, or with one on standard input, prints the answer and ends; \"-\" as the last word puts "
             "standard "
             "input below the question. Otherwise a conversation: /reset begins anew, /quit ends, ^C stops an answer.",
    .example = "meridian chat --url https://edge.hospital:8443 --fingerprint AB:CD:…\n"
               "meridian chat \"What is a normal potassium level?\"\n"
               "meridian chat \"Summarise this letter:\" - < letter.txt",
    .options = options,
    .run = run,
};
