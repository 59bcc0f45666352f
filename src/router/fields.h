/* A configuration file as tables: each key's name, kind, place in a struct, range and default. Reading (strict YAML through
 * libcyaml), checking, printing what is in effect and freeing all follow from the same tables.
 *
 * Quantities are as people write them: "10 Gbit/s" or "10G", "5 ms", "1500", "100 km", "0.1 %". An error is one sentence that
 * says where: "ports[1].rate: \"fast\" is no rate such as 10G". The file's bytes never size an allocation beyond
 * FIELDS_FILE_MOST, and lists have bounds. */
#ifndef MERIDIAN_ROUTER_FIELDS_H
#define MERIDIAN_ROUTER_FIELDS_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIELDS_FILE_MOST (4u << 20)

enum field_kind {
    FIELD_END,     /* closes a table */
    FIELD_TEXT,    /* char[size] */
    FIELD_NUMBER,  /* uint32_t, or uint64_t when size is 8; least..most */
    FIELD_INTEGER, /* int32_t; least..most read as signed */
    FIELD_RATE,    /* uint64_t, bits a second */
    FIELD_TIME,    /* int64_t, ns */
    FIELD_KM,      /* double */
    FIELD_SHARE,   /* double, 0..1 */
    FIELD_BOOL,    /* bool */
    FIELD_ENUM,    /* uint32_t: the index in `names`; a NULL name is no value */
    FIELD_ADDR,    /* struct ip_addr */
    FIELD_IP6,     /* struct ip6 */
    FIELD_PREFIX,  /* struct ip_prefix */
    FIELD_GATEWAY, /* struct ip_prefix with host bits */
    FIELD_MAC,     /* uint8_t[6] */
    FIELD_KEY,     /* uint8_t[32], hexadecimal */
    FIELD_MAP,     /* the struct of `sub`, in place; `given` tells whether it was there */
    FIELD_LIST,    /* pointer to an array of `sub`'s structs, or of `item`s; its length (unsigned) at `count` */
};

struct fields;

struct field {
    const char *key;
    enum field_kind kind;
    size_t at;            /* offset in the struct */
    size_t size;          /* of the member */
    const char *fallback; /* as if it were written in the file; NULL: zero */
    bool required;
    uint64_t least, most; /* numbers; lists: entries */
    const char *const *names;
    const struct fields *sub;
    const struct field *item; /* list of values: what one is (its `at` is 0) */
    size_t count, given;      /* offsets; given 0: not noted */
};

struct fields {
    const struct field *field; /* ends with FIELD_END */
    size_t size;               /* of the struct */
};

/* Reads `text` into *ret, which is zeroed first. On failure *ret is empty. */
int fields_read(void *ret, const struct fields *f, const char *text, size_t len, struct error *err);
/* YAML of what is in effect. Keys that are zero and have no default are left out. */
int fields_print(struct buf *to, const struct fields *f, const void *from);
void fields_free(void *s, const struct fields *f); /* what fields_read allocated; *s is zero again */
/* One value, as it would stand in the file: -EINVAL and a sentence without the place. */
int field_parse(void *ret, const struct field *f, const char *text, struct error *err);

#endif
