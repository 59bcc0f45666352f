/* `meridian top`: what routers do now. Links with their rates and losses, lanes with what they hold, the biggest flows; drawn
 * anew every second on a terminal, plain text elsewhere. */
#include "base/clock.h"
#include "cli/verbs.h"
#include "router/ctl_client.h"
#include "router/ctl_print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define ROUTERS 64
#define ROWS    4096

static const char *const parts[] = {"router", "ports", "lanes", "flows", "losses"};
enum { ROUTER, PORTS, LANES, FLOWS, LOSSES, PARTS };

struct seen {
    struct ctl_client client;
    const char *path;
    bool open;
    yyjson_doc *doc[PARTS];
    char trouble[256];
};

static yyjson_val *list_of(const struct seen *s, int part)
{
    return yyjson_obj_get(yyjson_doc_get_root(s->doc[part]), parts[part]);
}

static void forget(struct seen *s)
{
    for (int p = 0; p < PARTS; p++) {
        yyjson_doc_free(s->doc[p]);
        s->doc[p] = NULL;
    }
}

/* A router that is gone, or not there yet, is asked again the next time. */
static void look(struct seen *s)
{
    struct error err = {""};
    forget(s);
    int rc = s->open ? 0 : ctl_client_open(&s->client, s->path, &err);
    s->open = rc == 0;
    for (int p = 0; p < PARTS && !rc; p++)
        rc = ctl_client_show(&s->client, parts[p], &s->doc[p], &err);
    snprintf(s->trouble, sizeof(s->trouble), "%s", rc ? err.text : "");
    if (rc && s->open) {
        ctl_client_close(&s->client);
        s->open = false;
    }
}

/* --- text ----------------------------------------------------------------------------------------------------------- */

static double number(yyjson_val *o, const char *key)
{
    return yyjson_get_num(yyjson_obj_get(o, key));
}

static const char *text(yyjson_val *o, const char *key)
{
    const char *s = yyjson_get_str(yyjson_obj_get(o, key));
    return s ? s : "-";
}

static const char *name_of(const struct seen *s)
{
    return s->doc[ROUTER] ? text(yyjson_arr_get_first(list_of(s, ROUTER)), "name") : s->path;
}

static double lost_total(const struct seen *s)
{
    yyjson_val *totals = yyjson_obj_get(yyjson_doc_get_root(s->doc[LOSSES]), "totals"), *k, *v;
    size_t i, n;
    double sum = 0;
    yyjson_obj_foreach(totals, i, n, k, v) sum += number(v, "packets");
    return sum;
}

static void print_ports(const struct seen *all, unsigned n_all)
{
    printf("%-12s %-14s %-6s %-5s %8s %8s %8s %9s %8s %8s\n", "router", "port", "kind", "state", "rate", "in", "out",
        "rtt ms", "waiting", "dropped");
    for (unsigned r = 0; r < n_all; r++) {
        yyjson_val *o, *ports = list_of(&all[r], PORTS);
        size_t i, n;
        yyjson_arr_foreach(ports, i, n, o)
        {
            char rate[32], in[32], out[32], rtt[32] = "-";
            yyjson_val *link = yyjson_obj_get(o, "link");
            bool up = yyjson_get_bool(yyjson_obj_get(link ? link : o, "up"));
            ctl_print_number(rate, number(o, "rate_bps"));
            ctl_print_number(in, number(o, "rx_bps"));
            ctl_print_number(out, number(o, "tx_bps"));
            if (link)
                snprintf(rtt, sizeof(rtt), "%.3f", number(link, "rtt_ms"));
            printf("%-12.12s %-14.14s %-6s %-5s %8s %8s %8s %9s %8.0f %8.0f\n", name_of(&all[r]), text(o, "name"),
                text(o, "kind"), up ? "up" : "DOWN", rate, in, out, rtt, number(o, "waiting_packets"),
                number(o, "dropped_packets"));
        }
    }
}

struct row {
    const struct seen *from;
    yyjson_val *o;
    double key;
};

static int by_key(const void *a, const void *b)
{
    double x = ((const struct row *)a)->key, y = ((const struct row *)b)->key;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Rows of a part of all routers, those with the most of `key` (or of `other`) first. */
static unsigned gather(
    struct row *rows, const struct seen *all, unsigned n_all, int part, const char *key, const char *other)
{
    unsigned got = 0;
    for (unsigned r = 0; r < n_all; r++) {
        yyjson_val *o, *list = list_of(&all[r], part);
        size_t i, n;
        yyjson_arr_foreach(list, i, n, o)
        {
            if (got < ROWS)
                rows[got++] = (struct row){&all[r], o, number(o, key) + (other ? number(o, other) : 0)};
        }
    }
    qsort(rows, got, sizeof(*rows), by_key);
    return got;
}

static void print_lanes(const struct seen *all, unsigned n_all, unsigned most)
{
    static struct row rows[ROWS];
    unsigned n = gather(rows, all, n_all, LANES, "queued_cells", "occupied_cells");
    printf("\n%-12s %-18s %6s %-10s %-9s %-12s %-12s %7s %7s %7s %7s %9s %6s\n", "router", "lane", "tenant", "class",
        "state", "in", "out", "queued", "held", "L-F", "W", "packets", "lost");
    for (unsigned i = 0; i < n && i < most; i++) {
        yyjson_val *o = rows[i].o;
        char packets[32];
        ctl_print_number(packets, number(o, "sent_packets"));
        printf("%-12.12s %-18s %6.0f %-10s %-9s %-12.12s %-12.12s %7.0f %7.0f %7.0f %7.0f %9s %6.0f\n",
            name_of(rows[i].from), text(o, "id"), number(o, "tenant"), text(o, "class"), text(o, "state"),
            text(o, "in"), text(o, "out"), number(o, "queued_cells"), number(o, "occupied_cells"),
            number(o, "reserved_cells"), number(o, "window_cells"), packets, number(o, "lost_cells"));
    }
    if (n > most)
        printf("… and %u lanes more\n", n - most);
}

static void print_flows(const struct seen *all, unsigned n_all, unsigned most)
{
    static struct row rows[ROWS];
    unsigned n = gather(rows, all, n_all, FLOWS, "rate_bps", NULL);
    if (n)
        printf("\n%-12s %-10s %-39s %-39s %8s %8s\n", "router", "vrf", "from", "to", "rate", "bytes");
    for (unsigned i = 0; i < n && i < most; i++) {
        yyjson_val *o = rows[i].o;
        char rate[32], bytes[32];
        ctl_print_number(rate, number(o, "rate_bps"));
        ctl_print_number(bytes, number(o, "bytes"));
        printf("%-12.12s %-10.10s %-32.32s %6.0f %-32.32s %6.0f %8s %8s\n", name_of(rows[i].from), text(o, "vrf"),
            text(o, "src"), number(o, "src_port"), text(o, "dst"), number(o, "dst_port"), rate, bytes);
    }
}

static void print_text(const struct seen *all, unsigned n, unsigned rows)
{
    for (unsigned i = 0; i < n; i++) {
        yyjson_val *o = all[i].doc[ROUTER] ? yyjson_arr_get_first(list_of(&all[i], ROUTER)) : NULL;
        if (!o)
            printf("%s\n", all[i].trouble);
        else
            printf("%-12s up %.0f s, worker %.1f%% busy, %.0f of %.0f packets free, %.0f lost\n", text(o, "name"),
                number(o, "up_s"), number(o, "busy_share") * 100, number(o, "packets_free"), number(o, "packets"),
                lost_total(&all[i]));
    }
    printf("\n");
    print_ports(all, n);
    print_lanes(all, n, rows);
    print_flows(all, n, 10);
}

static void print_json(const struct seen *all, unsigned n)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_arr(doc);
    yyjson_mut_doc_set_root(doc, root);
    for (unsigned i = 0; i < n; i++) {
        yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, root);
        yyjson_mut_obj_add_str(doc, o, "socket", all[i].path);
        if (all[i].trouble[0])
            yyjson_mut_obj_add_str(doc, o, "error", all[i].trouble);
        for (int p = 0; p < PARTS && all[i].doc[p]; p++)
            yyjson_mut_obj_add_val(doc, o, parts[p], yyjson_val_mut_copy(doc, list_of(&all[i], p)));
    }
    char *line = yyjson_mut_write(doc, 0, NULL);
    puts(line ? line : "[]");
    free(line);
    yyjson_mut_doc_free(doc);
}

static unsigned terminal_rows(void)
{
    struct winsize w;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 20 ? w.ws_row - 16u : 20;
}

static int run(const struct cli_args *args, struct error *err)
{
    static struct seen all[ROUTERS];
    unsigned n = (unsigned)cli_n_operands(args), failed = 0;
    bool json = cli_flag(args, "json"), once = cli_flag(args, "once"),
         terminal = isatty(STDOUT_FILENO) && !json && !once;
    double every = 1;
    int rc = cli_f64(args, "interval", 0.1, 3600, &every, err);
    for (unsigned i = 0; i < n; i++)
        all[i] = (struct seen){.client = {.fd = -1}, .path = cli_operand(args, i)};
    while (!rc && !cli_interrupted) {
        failed = 0;
        for (unsigned i = 0; i < n; i++) {
            look(&all[i]);
            failed += all[i].trouble[0] != 0;
        }
        if (terminal)
            fputs("\033[H\033[2J", stdout);
        if (json)
            print_json(all, n);
        else
            print_text(all, n, terminal ? terminal_rows() : ROWS);
        fflush(stdout);
        if (once)
            break;
        struct timespec t = {(time_t)every, (long)((every - (double)(time_t)every) * 1e9)};
        nanosleep(&t, NULL);
    }
    for (unsigned i = 0; i < n; i++) {
        forget(&all[i]);
        ctl_client_close(&all[i].client);
    }
    if (!rc && once && failed == n)
        rc = error_set(err, ENOTCONN, "%s", n == 1 ? all[0].trouble : "no router answers");
    return rc;
}

const struct cli_verb verb_top = {
    .section = "Network",
    .name = "top",
    .summary = "show live what routers do: links, lanes, flows",
    .operands = "SOCKET...",
    .min_operands = 1,
    .max_operands = ROUTERS,
    .about = "Each SOCKET is a router's `control`. Lanes are shown fullest first: cells that wait (queued), that are "
             "held for\n"
             "their sender (held), promised to it (L-F) and its window W; flows are the elephants. On a terminal it "
             "draws anew\n"
             "every second until ^C; elsewhere it prints text.",
    .example = "meridian top /run/meridian/*.ctl\nmeridian top --once --json /run/meridian/pe1.ctl",
    .options =
        (const struct cli_option[]){
            {"once", NULL, NULL, "print once and end"},
            {"json", NULL, NULL, "a JSON line each time"},
            {"interval", "SECONDS", "1", "between two looks"},
            {NULL},
        },
    .run = run,
};
