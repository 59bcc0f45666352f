/* The other end of a router's control socket (ctl.h): requests as JSON lines, answers as documents. Blocking. */
#ifndef MERIDIAN_ROUTER_CTL_CLIENT_H
#define MERIDIAN_ROUTER_CTL_CLIENT_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

struct ctl_client {
    int fd;
    struct buf in;
    char path[128];
};

int ctl_client_open(struct ctl_client *c, const char *path, struct error *err);
void ctl_client_close(struct ctl_client *c); /* {.fd = -1} allowed */
/* Takes `doc` over. */
int ctl_client_ask(struct ctl_client *c, yyjson_mut_doc *doc, struct error *err);
/* The next line of the answer; the router's refusal ("ok": false) is the error. The caller frees *ret. -ETIMEDOUT after
 * timeout_ms without a line (-1: waits for ever). */
int ctl_client_line(struct ctl_client *c, yyjson_doc **ret, int timeout_ms, struct error *err);
/* Bytes behind a line: what was read with it is given first. 0: the router has closed the line. */
ssize_t ctl_client_bytes(struct ctl_client *c, void *to, size_t most);
/* {"do":"show","what":what}. */
int ctl_client_show(struct ctl_client *c, const char *what, yyjson_doc **ret, struct error *err);

#endif
