#include "scenario/file.h"

#include <cyaml/cyaml.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ENTRIES 65536
#define GIVEN        (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_schema_value_t text_value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 4096)};

#define TEXT_AS(key, owner, member) CYAML_FIELD_STRING_PTR(key, GIVEN, struct owner, member, 1, 4096)
#define TEXT(owner, member)         TEXT_AS(#member, owner, member)
#define LIST(owner, member_)                                                                                           \
    {.key = #member_,                                                                                                  \
        .value = {.type = CYAML_SEQUENCE,                                                                              \
            .flags = GIVEN,                                                                                            \
            .data_size = sizeof(file_text),                                                                            \
            .sequence = {.entry = &text_value, .min = 0, .max = MOST_ENTRIES}},                                        \
        .data_offset = offsetof(struct owner, member_.at),                                                             \
        .count_offset = offsetof(struct owner, member_.n),                                                             \
        .count_size = sizeof(unsigned)}
#define SECTION(owner, member_, entry_)                                                                                \
    {.key = #member_,                                                                                                  \
        .value = {.type = CYAML_SEQUENCE,                                                                              \
            .flags = GIVEN,                                                                                            \
            .data_size = sizeof(*((struct owner *)NULL)->member_),                                                     \
            .sequence = {.entry = &entry_, .min = 0, .max = MOST_ENTRIES}},                                            \
        .data_offset = offsetof(struct owner, member_),                                                                \
        .count_offset = offsetof(struct owner, n_##member_),                                                           \
        .count_size = sizeof(unsigned)}
#define QUALITY(owner)                                                                                                 \
    TEXT(owner, loss), TEXT(owner, bit_errors), TEXT(owner, duplicate), TEXT(owner, reorder), TEXT(owner, jitter),     \
        TEXT(owner, control_loss), TEXT(owner, control_duplicate), TEXT(owner, control_reorder)

static const cyaml_schema_field_t site_fields[] = {
    TEXT(file_site, name), TEXT(file_site, city), TEXT(file_site, kind), CYAML_FIELD_END};

static const cyaml_schema_field_t router_fields[] = {TEXT(file_router, name), TEXT(file_router, id),
    TEXT(file_router, role), TEXT(file_router, site), TEXT(file_router, pool), TEXT(file_router, tenant_pool),
    TEXT(file_router, poll), TEXT(file_router, pps), TEXT(file_router, routes), CYAML_FIELD_END};

static const cyaml_schema_field_t link_fields[] = {TEXT(file_link, name), TEXT(file_link, a), TEXT(file_link, b),
    TEXT(file_link, rate), TEXT(file_link, length), TEXT(file_link, delay), TEXT(file_link, mtu),
    TEXT(file_link, group), QUALITY(file_link), CYAML_FIELD_END};

static const cyaml_schema_field_t host_fields[] = {TEXT(file_host, name), TEXT(file_host, kind),
    TEXT(file_host, router), TEXT(file_host, vpn), TEXT(file_host, port), TEXT(file_host, machine),
    TEXT(file_host, vlan), TEXT(file_host, address), TEXT(file_host, rate), TEXT(file_host, length),
    TEXT(file_host, delay), TEXT(file_host, mtu), TEXT(file_host, ecn), TEXT(file_host, pfc), CYAML_FIELD_END};

static const cyaml_schema_field_t class_fields[] = {TEXT_AS("class", file_class, class_), TEXT(file_class, guarantee),
    TEXT(file_class, cap), TEXT(file_class, rate), TEXT(file_class, window_least), TEXT(file_class, priority),
    TEXT(file_class, dscp), TEXT(file_class, ecn_at), TEXT(file_class, xoff_at), TEXT(file_class, xon_at),
    TEXT(file_class, drop_at), CYAML_FIELD_END};
static const cyaml_schema_value_t class_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_class, class_fields)};

static const cyaml_schema_field_t vpn_fields[] = {TEXT(file_vpn, name), TEXT(file_vpn, tenant), TEXT(file_vpn, vrf),
    TEXT(file_vpn, encrypted), TEXT(file_vpn, best_effort), SECTION(file_vpn, classes, class_value), CYAML_FIELD_END};

static const cyaml_schema_field_t path_fields[] = {TEXT(file_path, name), TEXT(file_path, from), TEXT(file_path, to),
    TEXT(file_path, how), TEXT(file_path, apart_from), TEXT(file_path, vpn), TEXT(file_path, both),
    TEXT(file_path, standby), TEXT(file_path, protects), LIST(file_path, via), LIST(file_path, classes),
    CYAML_FIELD_END};

static const cyaml_schema_field_t workload_fields[] = {TEXT(file_workload, name), TEXT(file_workload, type),
    TEXT(file_workload, from), TEXT(file_workload, to), TEXT_AS("class", file_workload, class_),
    TEXT(file_workload, dscp), TEXT(file_workload, rate), TEXT(file_workload, bytes), TEXT(file_workload, packet),
    TEXT(file_workload, message), TEXT(file_workload, start), TEXT(file_workload, duration), TEXT(file_workload, count),
    TEXT(file_workload, burst), TEXT(file_workload, pause), TEXT(file_workload, stagger), TEXT(file_workload, settle),
    TEXT(file_workload, command), TEXT(file_workload, server), CYAML_FIELD_END};

static const cyaml_schema_field_t program_fields[] = {TEXT(file_program, name), TEXT(file_program, kind),
    TEXT(file_program, host), TEXT(file_program, cloud), TEXT(file_program, edge), TEXT(file_program, to),
    TEXT(file_program, after), TEXT(file_program, start), TEXT(file_program, duration), TEXT(file_program, model),
    TEXT(file_program, half), TEXT(file_program, data), TEXT(file_program, users), TEXT(file_program, tokens),
    TEXT(file_program, options), TEXT(file_program, command), TEXT(file_program, ready), CYAML_FIELD_END};

static const cyaml_schema_field_t fault_fields[] = {TEXT(file_fault, at), TEXT(file_fault, fault), TEXT(file_fault, of),
    TEXT_AS("for", file_fault, for_), TEXT_AS("class", file_fault, class_), TEXT(file_fault, from_path),
    TEXT(file_fault, to_path), QUALITY(file_fault), CYAML_FIELD_END};

#define ENTRY(name) {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_##name, name##_fields)}
static const cyaml_schema_value_t site_value = ENTRY(site), router_value = ENTRY(router), link_value = ENTRY(link),
                                  host_value = ENTRY(host), vpn_value = ENTRY(vpn), path_value = ENTRY(path),
                                  workload_value = ENTRY(workload), program_value = ENTRY(program),
                                  fault_value = ENTRY(fault);

static const cyaml_schema_field_t scenario_fields[] = {TEXT(file_scenario, name), TEXT(file_scenario, about),
    TEXT(file_scenario, seed), TEXT(file_scenario, duration), TEXT(file_scenario, mode), TEXT(file_scenario, hello),
    TEXT(file_scenario, silence), TEXT(file_scenario, watchdog), TEXT(file_scenario, control_loss),
    TEXT(file_scenario, bgp_hold), TEXT(file_scenario, bgp_restart), TEXT(file_scenario, heal),
    TEXT(file_scenario, control), SECTION(file_scenario, sites, site_value),
    SECTION(file_scenario, routers, router_value), SECTION(file_scenario, links, link_value),
    SECTION(file_scenario, hosts, host_value), SECTION(file_scenario, vpns, vpn_value),
    SECTION(file_scenario, paths, path_value), SECTION(file_scenario, workloads, workload_value),
    LIST(file_scenario, setup), SECTION(file_scenario, programs, program_value),
    SECTION(file_scenario, faults, fault_value), LIST(file_scenario, expect), CYAML_FIELD_END};

static const cyaml_schema_value_t scenario_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct file_scenario, scenario_fields)};

/* --- loading ------------------------------------------------------------------------------------------------- */

/* libcyaml tells what is wrong through its log only: the first complaint, then where, innermost first. */
struct complaint {
    char what[256], where[256];
};

static void strip(char *s)
{
    s[strcspn(s, "\n")] = '\0';
}

__attribute__((format(printf, 3, 0))) static void on_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct complaint *c = ctx;
    char line[256];
    if (level < CYAML_LOG_ERROR)
        return;
    vsnprintf(line, sizeof(line), fmt, args);
    strip(line);
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    if (strncmp(text, "Backtrace", 9) == 0)
        return;
    if (!c->what[0])
        snprintf(c->what, sizeof(c->what), "%s", text + strspn(text, " "));
    else if (!c->where[0])
        snprintf(c->where, sizeof(c->where), "%s", text + strspn(text, " "));
}

static const cyaml_config_t *config(cyaml_config_t *c, struct complaint *said)
{
    *c = (cyaml_config_t){.log_fn = on_log,
        .log_ctx = said,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS};
    return c;
}

int file_load(struct file_scenario **ret, const char *text, size_t len, struct error *err)
{
    struct complaint said = {0};
    cyaml_config_t c;
    struct file_scenario *f = NULL;
    cyaml_err_t rc =
        cyaml_load_data((const uint8_t *)text, len, config(&c, &said), &scenario_value, (cyaml_data_t **)&f, NULL);
    if (rc == CYAML_ERR_OOM)
        return error_set(err, ENOMEM, "no memory");
    if (rc != CYAML_OK)
        return error_set(err, EINVAL, "is no scenario: %s%s%s", said.what[0] ? said.what : cyaml_strerror(rc),
            said.where[0] ? ", " : "", said.where);
    if (!f)
        return error_set(err, EINVAL, "nothing in it");
    *ret = f;
    return 0;
}

void file_free(struct file_scenario *f)
{
    struct complaint said = {0};
    cyaml_config_t c;
    if (f)
        cyaml_free(config(&c, &said), &scenario_value, f, 0);
}

/* --- the keys, for the document's test ------------------------------------------------------------------------ */

static const char *nth(const cyaml_schema_field_t *fields, const char *section, unsigned *left)
{
    static char name[128];
    for (const cyaml_schema_field_t *f = fields; f->key; f++) {
        if ((*left)-- == 0) {
            snprintf(name, sizeof(name), "%s %s", section, f->key);
            return name;
        }
        const cyaml_schema_value_t *entry = f->value.type == CYAML_SEQUENCE ? f->value.sequence.entry : NULL;
        const char *inner = entry && entry->type == CYAML_MAPPING ? nth(entry->mapping.fields, f->key, left) : NULL;
        if (inner)
            return inner;
    }
    return NULL;
}

const char *file_key(unsigned i)
{
    return nth(scenario_fields, "scenario", &i);
}
