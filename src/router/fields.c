/* Reading through libcyaml: for each table a schema is made whose values are all texts, in "raw" structs of one slot a key;
 * what libcyaml accepts is then converted value by value, with the place of each in every error. */
#include "router/fields_inner.h"

#include <cyaml/cyaml.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MOST 4096
#define LIST_MOST 65536

struct slot {
    void *p; /* char *, a raw struct, or an array of either */
    uint64_t n;
};

/* --- schema ------------------------------------------------------------------------------------------------- */

/* All schema memory of one reading, to be freed together. */
struct schemas {
    void *all[256];
    unsigned n;
};

static void *keep(struct schemas *s, size_t size)
{
    if (s->n == sizeof(s->all) / sizeof(*s->all))
        return NULL;
    return s->all[s->n++] = calloc(1, size);
}

static void schemas_done(struct schemas *s)
{
    while (s->n)
        free(s->all[--s->n]);
}

static const cyaml_schema_value_t text_entry = {.type = CYAML_STRING,
    .flags = CYAML_FLAG_POINTER,
    .data_size = sizeof(char),
    .string = {.min = 0, .max = TEXT_MOST}};

static cyaml_schema_field_t *schema_of(struct schemas *s, const struct fields *f);

static int schema_list(struct schemas *s, cyaml_schema_value_t *v, const struct field *f)
{
    v->type = CYAML_SEQUENCE;
    v->sequence.max = f->most ? (uint32_t)f->most : LIST_MOST;
    if (f->item) {
        v->data_size = sizeof(char *);
        v->sequence.entry = &text_entry;
        return 0;
    }
    cyaml_schema_value_t *entry = keep(s, sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    entry->type = CYAML_MAPPING;
    entry->data_size = (uint32_t)(fields_n(f->sub) * sizeof(struct slot));
    entry->mapping.fields = schema_of(s, f->sub);
    v->data_size = entry->data_size;
    v->sequence.entry = entry;
    return entry->mapping.fields ? 0 : -ENOMEM;
}

static cyaml_schema_field_t *schema_of(struct schemas *s, const struct fields *f)
{
    unsigned n = fields_n(f);
    cyaml_schema_field_t *c = keep(s, (n + 1) * sizeof(*c));
    for (unsigned i = 0; c && i < n; i++) {
        const struct field *from = &f->field[i];
        c[i].key = from->key;
        c[i].data_offset = (uint32_t)(i * sizeof(struct slot) + offsetof(struct slot, p));
        c[i].count_offset = (uint32_t)(i * sizeof(struct slot) + offsetof(struct slot, n));
        c[i].count_size = sizeof(uint64_t);
        c[i].value.flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL;
        if (from->kind == FIELD_LIST) {
            if (schema_list(s, &c[i].value, from))
                return NULL;
        } else if (from->kind == FIELD_MAP) {
            c[i].value.type = CYAML_MAPPING;
            c[i].value.data_size = (uint32_t)(fields_n(from->sub) * sizeof(struct slot));
            if (!(c[i].value.mapping.fields = schema_of(s, from->sub)))
                return NULL;
        } else {
            c[i].value.type = CYAML_STRING;
            c[i].value.data_size = sizeof(char);
            c[i].value.string.max = TEXT_MOST;
        }
    }
    return c;
}

/* libcyaml tells its fault in several lines: the fault, then where it was, from the inside out. */
struct complaint {
    char fault[256], where[256];
};

static void listen(cyaml_log_t level, void *user, const char *fmt, va_list args)
{
    struct complaint *c = user;
    char line[256];
    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\n")] = 0;
    char *text = strncmp(line, "Load: ", 6) ? line : line + 6;
    if (level < CYAML_LOG_ERROR || !strncmp(text, "Backtrace", 9))
        return;
    bool is_place = text[0] == ' ';
    char *to = is_place ? c->where : c->fault;
    if (!to[0])
        snprintf(to, sizeof(c->fault), "%s", text + strspn(text, " "));
}

static void lower_first(char *s)
{
    if (s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'a')
        s[0] = (char)(s[0] - 'A' + 'a');
}

/* --- conversion --------------------------------------------------------------------------------------------- */

struct place {
    const struct place *above;
    const char *key;
    int index; /* -1: none */
};

static size_t place_print(char *to, size_t cap, const struct place *p)
{
    size_t n = p->above ? place_print(to, cap, p->above) : 0;
    if (p->key)
        n += (size_t)snprintf(to + n, n < cap ? cap - n : 0, "%s%s", n ? "." : "", p->key);
    if (p->index >= 0)
        n += (size_t)snprintf(to + n, n < cap ? cap - n : 0, "[%d]", p->index);
    return n < cap ? n : cap - 1;
}

static int at(const struct place *p, int rc, struct error *err)
{
    char text[200];
    if (rc) {
        place_print(text, sizeof(text), p);
        error_prefix(err, rc, "%s", text);
    }
    return rc;
}

static int convert(
    void *to, const struct fields *f, const struct slot *raw, const struct place *above, struct error *err);

static int convert_list(
    void *to, const struct field *f, const struct slot *raw, const struct place *here, struct error *err)
{
    size_t size = f->item ? f->item->size : f->sub->size;
    size_t entry = f->item ? sizeof(char *) : fields_n(f->sub) * sizeof(struct slot);
    uint8_t *array = NULL;
    unsigned n = raw->p ? (unsigned)raw->n : 0;
    if (n && !(array = calloc(n, size)))
        return error_set(err, ENOMEM, "no memory");
    memcpy((uint8_t *)to + f->at, &array, sizeof(array));
    memcpy((uint8_t *)to + f->count, &n, sizeof(n));
    for (unsigned i = 0; i < n; i++) {
        struct place p = {here, NULL, (int)i};
        const uint8_t *one = (const uint8_t *)raw->p + i * entry;
        int rc;
        if (f->item) {
            const char *text;
            memcpy(&text, one, sizeof(text));
            rc = at(&p, field_parse(array + i * size, f->item, text, err), err);
        } else {
            rc = convert(array + i * size, f->sub, (const struct slot *)(const void *)one, &p, err);
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int convert_map(
    void *to, const struct field *f, const struct slot *raw, const struct place *here, struct error *err)
{
    bool given = raw->p;
    if (f->given)
        memcpy((uint8_t *)to + f->given, &given, sizeof(given));
    if (!given && f->required)
        return at(here, error_set(err, EINVAL, "is missing"), err);
    if (!given && f->given)
        return 0;
    struct slot none[64] = {0};
    return convert((uint8_t *)to + f->at, f->sub, given ? raw->p : none, here, err);
}

static int convert(
    void *to, const struct fields *f, const struct slot *raw, const struct place *above, struct error *err)
{
    for (unsigned i = 0; f->field[i].kind != FIELD_END; i++) {
        const struct field *d = &f->field[i];
        struct place here = {above, d->key, -1};
        const char *text = raw[i].p ? raw[i].p : d->fallback;
        int rc = 0;
        if (d->kind == FIELD_LIST)
            rc = convert_list(to, d, &raw[i], &here, err);
        else if (d->kind == FIELD_MAP)
            rc = convert_map(to, d, &raw[i], &here, err);
        else if (text)
            rc = at(&here, field_parse((uint8_t *)to + d->at, d, text, err), err);
        else if (d->required)
            rc = at(&here, error_set(err, EINVAL, "is missing"), err);
        if (rc)
            return rc;
    }
    return 0;
}

int fields_read(void *ret, const struct fields *f, const char *text, size_t len, struct error *err)
{
    struct schemas s = {.n = 0};
    struct complaint c = {"", ""};
    memset(ret, 0, f->size);
    if (len > FIELDS_FILE_MOST)
        return error_set(err, EFBIG, "the file is larger than %u MiB", FIELDS_FILE_MOST >> 20);
    cyaml_config_t cfg = {.log_fn = listen,
        .log_ctx = &c,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS};
    cyaml_schema_value_t top = {.type = CYAML_MAPPING,
        .flags = CYAML_FLAG_POINTER,
        .data_size = (uint32_t)(fields_n(f) * sizeof(struct slot)),
        .mapping = {.fields = schema_of(&s, f)}};
    struct slot *raw = NULL;
    int rc = 0;
    if (!top.mapping.fields) {
        rc = error_set(err, ENOMEM, "no memory");
    } else {
        cyaml_err_t e = cyaml_load_data((const uint8_t *)text, len, &cfg, &top, (cyaml_data_t **)&raw, NULL);
        if (!c.fault[0])
            snprintf(c.fault, sizeof(c.fault), "%s", cyaml_strerror(e));
        lower_first(c.fault);
        if (e != CYAML_OK)
            rc = error_set(err, EINVAL, "%s%s%s", c.fault, c.where[0] ? ", " : "", c.where);
        else if (!raw)
            rc = error_set(err, EINVAL, "the file is empty");
        else
            rc = convert(ret, f, raw, NULL, err);
        cyaml_free(&cfg, &top, raw, 0);
    }
    schemas_done(&s);
    if (rc)
        fields_free(ret, f);
    return rc;
}

void fields_free(void *s, const struct fields *f)
{
    for (const struct field *d = f->field; d->kind != FIELD_END; d++) {
        if (d->kind == FIELD_MAP)
            fields_free((uint8_t *)s + d->at, d->sub);
        if (d->kind != FIELD_LIST)
            continue;
        uint8_t *array;
        unsigned n;
        memcpy(&array, (uint8_t *)s + d->at, sizeof(array));
        memcpy(&n, (uint8_t *)s + d->count, sizeof(n));
        for (unsigned i = 0; array && d->sub && i < n; i++)
            fields_free(array + i * d->sub->size, d->sub);
        free(array);
    }
    memset(s, 0, f->size);
}

/* --- printing ----------------------------------------------------------------------------------------------- */

static int print(struct buf *to, const struct fields *f, const uint8_t *from, unsigned indent, bool in_list);

static int print_list(struct buf *to, const struct field *d, const uint8_t *from, unsigned indent)
{
    const uint8_t *array;
    unsigned n;
    char value[256];
    memcpy(&array, from + d->at, sizeof(array));
    memcpy(&n, from + d->count, sizeof(n));
    if (!n)
        return 0;
    int rc = buf_printf(to, "%s:%s", d->key, d->item ? " [" : "\n");
    for (unsigned i = 0; i < n && !rc; i++) {
        if (d->item) {
            struct field item = *d->item;
            item.required = true;
            field_print(value, &item, array + i * d->item->size);
            rc = buf_printf(to, "%s%s%s", i ? ", " : "", value, i + 1 == n ? "]\n" : "");
        } else {
            rc = buf_printf(to, "%*s- ", (int)indent, "");
            rc = rc ? rc : print(to, d->sub, array + i * d->sub->size, indent + 2, true);
        }
    }
    return rc;
}

static bool skipped(const struct field *d, const uint8_t *from)
{
    char value[256];
    unsigned n;
    bool given = true;
    if (d->kind == FIELD_LIST) {
        memcpy(&n, from + d->count, sizeof(n));
        return n == 0;
    }
    if (d->kind == FIELD_MAP) {
        if (d->given)
            memcpy(&given, from + d->given, sizeof(given));
        for (const struct field *s = d->sub->field; given && s->kind != FIELD_END; s++)
            if (!skipped(s, from + d->at))
                return false;
        return true;
    }
    return !field_print(value, d, from + d->at);
}

static int print(struct buf *to, const struct fields *f, const uint8_t *from, unsigned indent, bool in_list)
{
    char value[256];
    int rc = 0;
    for (const struct field *d = f->field; d->kind != FIELD_END && !rc; d++) {
        if (skipped(d, from))
            continue;
        if (!in_list)
            rc = buf_printf(to, "%*s", (int)indent, "");
        in_list = false;
        if (rc)
            break;
        if (d->kind == FIELD_LIST) {
            rc = print_list(to, d, from, indent);
        } else if (d->kind == FIELD_MAP) {
            rc = buf_printf(to, "%s:\n", d->key);
            rc = rc ? rc : print(to, d->sub, from + d->at, indent + 2, false);
        } else {
            field_print(value, d, from + d->at);
            rc = buf_printf(to, "%s: %s\n", d->key, value);
        }
    }
    return rc;
}

int fields_print(struct buf *to, const struct fields *f, const void *from)
{
    return print(to, f, from, 0, false);
}
