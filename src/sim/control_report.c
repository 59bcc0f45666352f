/* What came of a run of the control plane, for people and for machines. */
#include "sim/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <yyjson.h>

static const char *ms(char to[32], int64_t ns)
{
    if (ns < 0)
        snprintf(to, 32, "-");
    else
        snprintf(to, 32, "%.3f", (double)ns / 1e6);
    return to;
}

void control_print(FILE *to, const struct scenario *s, const struct control_result *r)
{
    char a[32], b[32], c[32];
    fprintf(to, "%s: %u PEs, %u reflectors, %u VPNs, %u routes, %u sessions up at the end\n", s->name, r->pes,
        r->reflectors, r->vpns, r->routes, r->sessions);
    fprintf(to, "%12s  %-32s %9s %9s %12s %12s %12s\n", "at s", "what", "PEs wrong", "for good", "p50 ms", "p99 ms",
        "last ms");
    for (uint32_t i = 0; i < r->n_windows; i++) {
        const struct control_window *w = &r->windows[i];
        fprintf(to, "%12.3f  %-32s %9u %9u %12s %12s %12s\n", (double)w->at_ns / 1e9, w->what, w->affected,
            w->unfinished, ms(a, w->p50_ns), ms(b, w->p99_ns),
            w->unfinished ? "never"
            : w->affected ? ms(c, w->last_ns)
                          : "0");
    }
    fprintf(to,
        "until the last PE is right, over what happened after the start: p50 %s ms, p99 %s ms, most %s ms; never: %u\n",
        ms(a, r->p50_ns), ms(b, r->p99_ns), ms(c, r->most_ns), r->unfinished);
    fprintf(to,
        "tables: %.1f MB in a reflector, %.1f MB in a PE, %.1f MB in all; %" PRIu64 " events, %.1f MB over the wires\n",
        (double)r->reflector_bytes / 1e6, (double)r->pe_bytes / 1e6, (double)r->all_bytes / 1e6, r->events,
        (double)r->octets / 1e6);
    fprintf(to, "%.1f s of virtual time, hash %016" PRIx64 "\n", (double)r->now_ns / 1e9, r->hash);
}

static void put_ms(yyjson_mut_doc *d, yyjson_mut_val *o, const char *key, int64_t ns)
{
    if (ns < 0)
        yyjson_mut_obj_add_null(d, o, key);
    else
        yyjson_mut_obj_add_real(d, o, key, (double)ns / 1e6);
}

static void put_window(yyjson_mut_doc *d, yyjson_mut_val *list, const struct control_window *w)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, list);
    yyjson_mut_obj_add_real(d, o, "at_s", (double)w->at_ns / 1e9);
    yyjson_mut_obj_add_str(d, o, "what", w->what);
    yyjson_mut_obj_add_uint(d, o, "affected", w->affected);
    yyjson_mut_obj_add_uint(d, o, "unfinished", w->unfinished);
    put_ms(d, o, "p50_ms", w->p50_ns);
    put_ms(d, o, "p99_ms", w->p99_ns);
    put_ms(d, o, "last_ms", w->last_ns);
}

int control_json(FILE *to, const struct scenario *s, const struct control_result *r, double cpu_s, size_t resident)
{
    char hash[24];
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_doc_set_root(d, o);
    snprintf(hash, sizeof(hash), "%016" PRIx64, r->hash);
    yyjson_mut_obj_add_str(d, o, "scenario", s->name);
    yyjson_mut_obj_add_uint(d, o, "pes", r->pes);
    yyjson_mut_obj_add_uint(d, o, "reflectors", r->reflectors);
    yyjson_mut_obj_add_uint(d, o, "vpns", r->vpns);
    yyjson_mut_obj_add_uint(d, o, "routes", r->routes);
    yyjson_mut_obj_add_uint(d, o, "sessions", r->sessions);
    yyjson_mut_val *list = yyjson_mut_obj_add_arr(d, o, "windows");
    for (uint32_t i = 0; i < r->n_windows; i++)
        put_window(d, list, &r->windows[i]);
    put_ms(d, o, "convergence_p50_ms", r->p50_ns);
    put_ms(d, o, "convergence_p99_ms", r->p99_ns);
    put_ms(d, o, "convergence_max_ms", r->most_ns);
    yyjson_mut_obj_add_uint(d, o, "unfinished", r->unfinished);
    yyjson_mut_obj_add_uint(d, o, "events", r->events);
    yyjson_mut_obj_add_uint(d, o, "updates", r->updates);
    yyjson_mut_obj_add_uint(d, o, "octets", r->octets);
    yyjson_mut_obj_add_uint(d, o, "reflector_bytes", r->reflector_bytes);
    yyjson_mut_obj_add_uint(d, o, "pe_bytes", r->pe_bytes);
    yyjson_mut_obj_add_uint(d, o, "all_bytes", r->all_bytes);
    yyjson_mut_obj_add_uint(d, o, "resident_bytes", resident);
    yyjson_mut_obj_add_real(d, o, "cpu_s", cpu_s);
    yyjson_mut_obj_add_real(d, o, "virtual_s", (double)r->now_ns / 1e9);
    yyjson_mut_obj_add_str(d, o, "hash", hash);
    char *text = d ? yyjson_mut_write(d, 0, NULL) : NULL;
    int rc = text && fprintf(to, "%s\n", text) > 0 ? 0 : -ENOMEM;
    free(text);
    yyjson_mut_doc_free(d);
    return rc;
}
