/* `meridian router ctl`: one request to a running router. */
#include "cli/verbs.h"
#include "os/file.h"
#include "router/ctl_client.h"
#include "router/ctl_print.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct asking {
    const struct cli_args *args;
    struct ctl_client client;
    yyjson_mut_doc *doc;
    yyjson_mut_val *root;
    const char *what;
    bool json;
};

static const char *word(const struct asking *a, size_t i)
{
    return cli_operand(a->args, i + 2);
}

static int usage(struct error *err, const char *how)
{
    return error_set(err, 0, "usage: meridian router ctl SOCKET %s", how), CLI_USAGE;
}

static int begin(struct asking *a, struct error *err)
{
    a->doc = yyjson_mut_doc_new(NULL);
    a->root = a->doc ? yyjson_mut_obj(a->doc) : NULL;
    if (!a->root)
        return error_set(err, ENOMEM, "no memory");
    yyjson_mut_doc_set_root(a->doc, a->root);
    yyjson_mut_obj_add_str(a->doc, a->root, "do", a->what);
    return 0;
}

/* An option's number goes into the request under `key`, times `scale`. */
static int add_number(struct asking *a, const char *option, const char *key, double scale, struct error *err)
{
    double v = 0;
    if (!cli_str(a->args, option))
        return 0;
    int rc = cli_f64(a->args, option, 0, 1e15, &v, err);
    if (!rc)
        yyjson_mut_obj_add_real(a->doc, a->root, key, v * scale);
    return rc;
}

static int ask(struct asking *a, struct error *err)
{
    yyjson_mut_doc *doc = a->doc;
    a->doc = NULL;
    return ctl_client_ask(&a->client, doc, err);
}

static void print_json(yyjson_doc *doc)
{
    char *text = yyjson_write(doc, 0, NULL);
    puts(text ? text : "{}");
    free(text);
}

/* One line that says only that it is done. */
static int finish(struct asking *a, struct error *err)
{
    yyjson_doc *doc;
    int rc = ask(a, err);
    if (!rc)
        rc = ctl_client_line(&a->client, &doc, 30000, err);
    if (rc)
        return rc;
    if (a->json)
        print_json(doc);
    yyjson_doc_free(doc);
    return 0;
}

static int show(struct asking *a, struct error *err)
{
    yyjson_doc *doc;
    if (!word(a, 0))
        return usage(err, "show router|ports|lanes|streams|routes|sids|neighbours|flows|losses|events|collectors|config"
                          "|bgp|peers|vpn|underlay|policies|keys");
    int rc = ctl_client_show(&a->client, word(a, 0), &doc, err);
    if (rc)
        return rc;
    if (a->json)
        print_json(doc);
    else
        ctl_print_show(stdout, word(a, 0), yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return 0;
}

/* --- ping, traceroute --------------------------------------------------------------------------------------------- */

static void print_probe(yyjson_val *v, bool trace)
{
    const char *from = yyjson_get_str(yyjson_obj_get(v, "from"));
    const char *answer = yyjson_get_str(yyjson_obj_get(v, "answer"));
    unsigned long long n = yyjson_get_uint(yyjson_obj_get(v, trace ? "hop" : "number"));
    if (yyjson_get_bool(yyjson_obj_get(v, "end"))) {
        if (!trace)
            printf("%llu sent, %llu answered\n", (unsigned long long)yyjson_get_uint(yyjson_obj_get(v, "sent")),
                (unsigned long long)yyjson_get_uint(yyjson_obj_get(v, "answered")));
    } else if (!from) {
        printf("%3llu  no answer\n", n);
    } else {
        printf("%3llu  %-40s %8.3f ms%s%s\n", n, from, yyjson_get_num(yyjson_obj_get(v, "ms")),
            strcmp(answer, "reply") ? "  " : "", strcmp(answer, "reply") ? answer : "");
    }
    fflush(stdout);
}

static int probe(struct asking *a, struct error *err)
{
    bool trace = !strcmp(a->what, "traceroute"), end = false;
    unsigned long long answered = 0;
    if (!word(a, 0))
        return usage(err, trace ? "traceroute ADDRESS" : "ping ADDRESS");
    int rc = begin(a, err);
    if (rc)
        return rc;
    yyjson_mut_obj_add_strcpy(a->doc, a->root, "to", word(a, 0));
    if (cli_str(a->args, "vrf"))
        yyjson_mut_obj_add_strcpy(a->doc, a->root, "vrf", cli_str(a->args, "vrf"));
    rc = add_number(a, "count", "count", 1, err);
    rc = rc ? rc : add_number(a, "interval", "interval_ms", 1000, err);
    rc = rc ? rc : add_number(a, "timeout", "timeout_ms", 1000, err);
    rc = rc ? rc : add_number(a, "size", "size", 1, err);
    rc = rc ? rc : add_number(a, "dscp", "dscp", 1, err);
    rc = rc ? rc : ask(a, err);
    while (!rc && !end && !cli_interrupted) {
        yyjson_doc *doc;
        rc = ctl_client_line(&a->client, &doc, -1, err);
        if (rc)
            return cli_interrupted ? 0 : rc;
        yyjson_val *root = yyjson_doc_get_root(doc);
        end = yyjson_get_bool(yyjson_obj_get(root, "end"));
        answered = yyjson_get_uint(yyjson_obj_get(root, "answered"));
        if (a->json)
            print_json(doc);
        else
            print_probe(root, trace);
        yyjson_doc_free(doc);
    }
    return rc ? rc : end && !answered ? CLI_QUIET : 0;
}

/* --- capture ------------------------------------------------------------------------------------------------------ */

static int copy_capture(struct asking *a, int fd, struct error *err)
{
    static uint8_t bytes[65536];
    bool told = false;
    for (;;) {
        /* ^C: say so, and take what is still on its way with the statistics at the end. */
        if (cli_interrupted && !told) {
            shutdown(a->client.fd, SHUT_WR);
            told = true;
        }
        ssize_t n = ctl_client_bytes(&a->client, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? error_set(err, errno, "%s", strerror(errno)) : 0;
        int rc = file_write_all(fd, bytes, (size_t)n);
        if (rc)
            return error_set(err, -rc, "cannot write the capture: %s", strerror(-rc));
    }
}

static int capture(struct asking *a, struct error *err)
{
    const char *path = cli_str(a->args, "write");
    yyjson_doc *doc;
    if (!word(a, 0) || !path)
        return usage(err, "capture PORT --write FILE (- is stdout)");
    int rc = begin(a, err);
    if (rc)
        return rc;
    yyjson_mut_obj_add_strcpy(a->doc, a->root, "port", word(a, 0));
    rc = add_number(a, "count", "count", 1, err);
    rc = rc ? rc : add_number(a, "size", "snap", 1, err);
    rc = rc ? rc : ask(a, err);
    rc = rc ? rc : ctl_client_line(&a->client, &doc, 10000, err);
    if (rc)
        return rc;
    yyjson_doc_free(doc);
    int fd = strcmp(path, "-") ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : STDOUT_FILENO;
    if (fd < 0)
        return error_set(err, errno, "%s: %s", path, strerror(errno));
    rc = copy_capture(a, fd, err);
    if (fd != STDOUT_FILENO)
        close(fd);
    return rc;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static int change_link(struct asking *a, struct error *err)
{
    if (!word(a, 0))
        return usage(err, "link PORT cut|dark|mend, or link PORT --loss SHARE …");
    int rc = begin(a, err);
    if (rc)
        return rc;
    yyjson_mut_obj_add_strcpy(a->doc, a->root, "port", word(a, 0));
    if (word(a, 1))
        yyjson_mut_obj_add_strcpy(a->doc, a->root, "set", word(a, 1));
    rc = add_number(a, "loss", "loss", 1, err);
    rc = rc ? rc : add_number(a, "bit-error", "bit_error", 1, err);
    rc = rc ? rc : add_number(a, "km", "km", 1, err);
    rc = rc ? rc : add_number(a, "jitter", "jitter_us", 1e6, err);
    return rc ? rc : finish(a, err);
}

static int move(struct asking *a, struct error *err)
{
    if (!word(a, 4))
        return usage(err, "move TENANT CLASS SID FROM-PATH TO-PATH");
    int rc = begin(a, err);
    if (rc)
        return rc;
    yyjson_mut_obj_add_real(a->doc, a->root, "tenant", strtod(word(a, 0), NULL));
    yyjson_mut_obj_add_strcpy(a->doc, a->root, "class", word(a, 1));
    yyjson_mut_obj_add_strcpy(a->doc, a->root, "sid", word(a, 2));
    yyjson_mut_obj_add_real(a->doc, a->root, "from", strtod(word(a, 3), NULL));
    yyjson_mut_obj_add_real(a->doc, a->root, "to", strtod(word(a, 4), NULL));
    return finish(a, err);
}

static int simple(struct asking *a, struct error *err)
{
    int rc = begin(a, err);
    return rc ? rc : finish(a, err);
}

static const struct {
    const char *name;
    int (*run)(struct asking *a, struct error *err);
} requests[] = {
    {"show", show},
    {"ping", probe},
    {"traceroute", probe},
    {"capture", capture},
    {"link", change_link},
    {"move", move},
    {"reload", simple},
    {"drain", simple},
};

static int run(const struct cli_args *args, struct error *err)
{
    struct asking a = {.args = args, .what = cli_operand(args, 1), .json = cli_flag(args, "json")};
    size_t i = 0, n = sizeof(requests) / sizeof(*requests);
    while (i < n && strcmp(requests[i].name, a.what))
        i++;
    if (i == n)
        return error_set(err, 0, "there is no request \"%.40s\"; see --help", a.what), CLI_USAGE;
    int rc = ctl_client_open(&a.client, cli_operand(args, 0), err);
    if (!rc)
        rc = requests[i].run(&a, err);
    yyjson_mut_doc_free(a.doc);
    ctl_client_close(&a.client);
    return rc;
}

const struct cli_verb verb_router_ctl = {
    .section = "Network",
    .name = "router ctl",
    .summary = "ask a running router, or tell it something",
    .operands = "SOCKET REQUEST [WORD...]",
    .min_operands = 2,
    .max_operands = 8,
    .about = "show router|ports|lanes|streams|routes|sids|neighbours|flows|losses|events|collectors|config\n"
             "show bgp|peers|vpn|underlay|policies   what BGP says and why it is used, or not\n"
             "show keys                               who encrypts with whom (xSEC)\n"
             "ping ADDRESS, traceroute ADDRESS     in the VRF that --vrf names, or the underlay\n"
             "capture PORT --write FILE            both directions, pcapng, until ^C or --count frames\n"
             "link PORT cut|dark|mend              an emulated fibre: swallows all (dark: without carrier); or its\n"
             "                                     --loss, --bit-error, --km, --jitter\n"
             "move TENANT CLASS SID FROM TO        a lane to another path\n"
             "reload                               takes the changed configuration file\n"
             "drain                                sends what it holds and ends",
    .example = "meridian router ctl /run/meridian/pe1.ctl show lanes\n"
               "meridian router ctl /run/meridian/pe1.ctl ping 10.2.0.2 --vrf red",
    .options =
        (const struct cli_option[]){
            {"json", NULL, NULL, "print the answer as JSON"},
            {"vrf", "NAME", NULL, "VRF of ping and traceroute"},
            {"count", "N", NULL, "probes or captured frames"},
            {"interval", "SECONDS", NULL, "between pings"},
            {"timeout", "SECONDS", NULL, "for an answer"},
            {"size", "BYTES", NULL, "payload of probes; of each captured frame at most"},
            {"dscp", "N", NULL, "of probes"},
            {"write", "FILE", NULL, "where a capture goes; - is stdout"},
            {"loss", "SHARE", NULL, "of an emulated fibre"},
            {"bit-error", "SHARE", NULL, "of an emulated fibre"},
            {"km", "KM", NULL, "of an emulated fibre"},
            {"jitter", "SECONDS", NULL, "of an emulated fibre"},
            {NULL},
        },
    .run = run,
};
