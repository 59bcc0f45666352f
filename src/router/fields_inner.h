/* Shared by the files of fields.h. */
#ifndef MERIDIAN_ROUTER_FIELDS_INNER_H
#define MERIDIAN_ROUTER_FIELDS_INNER_H

#include "router/fields.h"

/* Writes one value's text. False: it is zero and has no default, so it is not worth printing. */
bool field_print(char to[256], const struct field *f, const void *from);

static inline unsigned fields_n(const struct fields *f)
{
    unsigned n = 0;
    while (f->field[n].kind != FIELD_END)
        n++;
    return n;
}

#endif
