/* A question to a router's control socket (docs/router-config.md, `control`): one JSON line there, one back. */
#ifndef MERIDIAN_LAB_ASK_H
#define MERIDIAN_LAB_ASK_H

#include "base/error.h"

#include <stdint.h>
#include <yyjson.h>

/* `request` is JSON without newline. The caller frees *ret (NULL: not wanted). -errno with a sentence when nobody answers in
 * time; -EPROTO with the router's words when it refuses. */
int lab_ask(const char *socket, const char *request, yyjson_doc **ret, struct error *err);

#endif
