#include "router/ctl_print.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COLUMNS 16

struct column {
    const char *title, *key; /* key: "link.rtt_ms" goes into an object */
};

static const struct table {
    const char *what;
    struct column column[COLUMNS];
} tables[] = {
    {"bgp", {{"VRFs", "vrfs"}, {"neighbours", "neighbours"}, {"underlay", "underlay_routes"}, {"VPN", "vpn_routes"},
                {"in VRFs", "vrf_routes"}, {"policies", "policies"}, {"used", "policies_used"}, {"steered", "steered"},
                {"changes", "changes"}, {"refused", "refused"}}},
    {"peers", {{"address", "address"}, {"as", "as"}, {"state", "state"}, {"since s", "since_s"},
                  {"routes in", "routes_in"}, {"dropped", "dropped"}, {"last error", "last_error"}}},
    {"vpn", {{"vrf", "vrf"}, {"prefix", "prefix"}, {"family", "family"}, {"rd", "rd"}, {"next hop", "next_hop"},
                {"sid", "sid"}, {"used", "used"}, {"why", "why"}}},
    {"policies", {{"color", "color"}, {"endpoint", "endpoint"}, {"distinguisher", "distinguisher"},
                     {"preference", "preference"}, {"segments", "segments"}, {"name", "name"}, {"valid", "valid"},
                     {"chosen", "chosen"}, {"failed", "failed"}, {"path", "path"}, {"steered", "steered"}}},
    {"underlay",
        {{"prefix", "prefix"}, {"router", "router"}, {"port", "port"}, {"metric", "metric"}, {"used", "used"}}},
    {"ports", {{"port", "name"}, {"kind", "kind"}, {"up", "up"}, {"link", "link.up"}, {"peer", "link.peer"},
                  {"rtt ms", "link.rtt_ms"}, {"rate", "rate_bps"}, {"rx", "rx_bps"}, {"tx", "tx_bps"},
                  {"rx packets", "rx_packets"}, {"tx packets", "tx_packets"}, {"waiting", "waiting_packets"},
                  {"dropped", "dropped_packets"}, {"lanes", "link.lanes"}, {"flying", "fibre.flying"}}},
    {"lanes", {{"lane", "id"}, {"tenant", "tenant"}, {"class", "class"}, {"state", "state"}, {"in", "in"},
                  {"out", "out"}, {"queued", "queued_cells"}, {"peak", "peak_cells"}, {"credit", "credit_cells"},
                  {"W", "window_cells"}, {"occupied", "occupied_cells"}, {"L-F", "reserved_cells"},
                  {"packets", "sent_packets"}, {"lost", "lost_cells"}, {"refused", "refused"}}},
    {"streams", {{"end", "end"}, {"tenant", "tenant"}, {"class", "class"}, {"from", "ingress"}, {"path", "path"},
                    {"and", "second_path"}, {"up", "complete"}, {"and", "second_complete"}, {"packets", "packets"},
                    {"copies", "copies"}, {"delivered", "delivered"}, {"redundant", "redundant"}, {"lost", "lost"},
                    {"held", "held_cells"}, {"lag us", "lag_us"}}},
    {"routes", {{"vrf", "vrf"}, {"prefix", "prefix"}, {"kind", "kind"}, {"port", "port"}, {"gateway", "gateway"},
                   {"sid", "sid"}, {"inference", "paths.inference"}, {"parameter", "paths.parameter"},
                   {"bulk", "paths.bulk"}, {"ready", "ready"}}},
    {"sids", {{"sid", "sid"}, {"behaviour", "behaviour"}, {"port", "port"}, {"vrf", "vrf"}}},
    {"neighbours", {{"port", "port"}, {"vlan", "vlan"}, {"vrf", "vrf"}, {"address", "address"}, {"mac", "mac"},
                       {"state", "state"}}},
    {"flows",
        {{"vrf", "vrf"}, {"from", "src"}, {"port", "src_port"}, {"to", "dst"}, {"port", "dst_port"}, {"proto", "proto"},
            {"tenant", "tenant"}, {"class", "class"}, {"rate", "rate_bps"}, {"bytes", "bytes"}}},
    {"losses", {{"at", "at"}, {"reason", "reason"}, {"port", "port"}, {"packets", "packets"}, {"cells", "cells"},
                   {"tenant", "tenant"}, {"class", "class"}, {"lane", "lane"}, {"flow", "flow"}}},
    {"collectors", {{"address", "address"}, {"port", "port"}, {"up", "up"}, {"records", "records"},
                       {"dropped", "dropped"}, {"bytes", "bytes"}, {"connects", "connects"}, {"waiting", "waiting"}}},
    {"keys", {{"vrf", "vrf"}, {"member", "name"}, {"loopback", "peer"}, {"sid", "sid"}, {"serial", "serial"},
                 {"generation", "generation"}, {"encrypts", "encrypts"}, {"until", "until"}, {"in order", "member"},
                 {"revoked", "revoked"}, {"peers", "peers"}, {"list", "list"}, {"why", "why"}}},
    {"events",
        {{"at", "at"}, {"event", "event"}, {"port", "port"}, {"lane", "lane"}, {"peer", "peer"}, {"detail", "detail"}}},
};

void ctl_print_number(char to[32], double v)
{
    static const char units[] = " kMGTP";
    unsigned u = 0;
    while (fabs(v) >= 9999.5 && units[u + 1]) {
        v /= 1000;
        u++;
    }
    snprintf(to, 32, u && fabs(v) < 99.95 ? "%.1f%.1s" : "%.0f%.1s", v, u ? &units[u] : "");
}

void ctl_print_value(char to[64], const char *key, yyjson_val *v)
{
    size_t len = strlen(key);
    if (yyjson_is_bool(v)) {
        snprintf(to, 64, "%s", yyjson_get_bool(v) ? "yes" : "no");
    } else if (yyjson_is_str(v)) {
        snprintf(to, 64, "%s", yyjson_get_str(v));
    } else if (!strcmp(key, "at") && yyjson_is_num(v)) {
        double at = yyjson_get_num(v);
        time_t s = (time_t)at;
        struct tm tm;
        gmtime_r(&s, &tm);
        size_t n = strftime(to, 40, "%H:%M:%S", &tm);
        snprintf(to + n, 64 - n, ".%06.0f", (at - (double)s) * 1e6);
    } else if (len > 4 && !strcmp(key + len - 4, "_bps")) {
        ctl_print_number(to, yyjson_get_num(v));
    } else if (yyjson_is_real(v)) {
        snprintf(to, 64, "%.4g", yyjson_get_real(v));
    } else if (yyjson_is_num(v)) {
        snprintf(to, 64, "%llu", (unsigned long long)yyjson_get_uint(v));
    } else {
        snprintf(to, 64, "-");
    }
}

static yyjson_val *find(yyjson_val *o, const char *key)
{
    const char *dot = strchr(key, '.');
    return dot ? yyjson_obj_get(yyjson_obj_getn(o, key, (size_t)(dot - key)), dot + 1) : yyjson_obj_get(o, key);
}

static void print_table(FILE *to, const struct table *t, yyjson_val *list)
{
    unsigned width[COLUMNS] = {0}, columns = 0;
    char text[64];
    size_t i, n;
    yyjson_val *o;
    while (columns < COLUMNS && t->column[columns].title)
        columns++;
    for (unsigned c = 0; c < columns; c++) {
        bool any = false;
        width[c] = (unsigned)strlen(t->column[c].title);
        yyjson_arr_foreach(list, i, n, o)
        {
            ctl_print_value(text, t->column[c].key, find(o, t->column[c].key));
            any |= strcmp(text, "-") != 0;
            if (strlen(text) > width[c])
                width[c] = (unsigned)strlen(text);
        }
        if (!any)
            width[c] = 0; /* nobody has it: not shown */
    }
    for (unsigned c = 0; c < columns; c++)
        if (width[c])
            fprintf(to, "%-*s  ", (int)width[c], t->column[c].title);
    fputc('\n', to);
    yyjson_arr_foreach(list, i, n, o)
    {
        for (unsigned c = 0; c < columns; c++) {
            ctl_print_value(text, t->column[c].key, find(o, t->column[c].key));
            if (width[c])
                fprintf(to, "%-*s  ", (int)width[c], text);
        }
        fputc('\n', to);
    }
}

static void print_pairs(FILE *to, yyjson_val *o)
{
    size_t i, n;
    yyjson_val *k, *v;
    char text[64];
    yyjson_obj_foreach(o, i, n, k, v)
    {
        ctl_print_value(text, yyjson_get_str(k), v);
        fprintf(to, "%-16s %s\n", yyjson_get_str(k), yyjson_is_str(v) ? yyjson_get_str(v) : text);
    }
}

static void print_totals(FILE *to, yyjson_val *totals)
{
    size_t i, n;
    yyjson_val *k, *v;
    fprintf(to, "%-16s %12s %12s\n", "lost because of", "packets", "cells");
    yyjson_obj_foreach(totals, i, n, k, v) fprintf(to, "%-16s %12llu %12llu\n", yyjson_get_str(k),
        (unsigned long long)yyjson_get_uint(yyjson_obj_get(v, "packets")),
        (unsigned long long)yyjson_get_uint(yyjson_obj_get(v, "cells")));
    fputc('\n', to);
}

void ctl_print_show(FILE *to, const char *what, yyjson_val *root)
{
    yyjson_val *list = yyjson_obj_get(root, what), *totals = yyjson_obj_get(root, "totals");
    if (totals)
        print_totals(to, totals);
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        if (!strcmp(tables[i].what, what)) {
            print_table(to, &tables[i], list);
            return;
        }
    if (yyjson_is_str(yyjson_arr_get_first(list)))
        fputs(yyjson_get_str(yyjson_arr_get_first(list)), to);
    else
        print_pairs(to, yyjson_arr_get_first(list));
}
