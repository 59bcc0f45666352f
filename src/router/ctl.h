/* The control socket: JSON lines over a Unix stream socket, one request a line, its answer a line (docs/router-control.md).
 * Some requests answer with several lines, and a capture with pcapng after its line. On the control thread. */
#ifndef MERIDIAN_ROUTER_CTL_H
#define MERIDIAN_ROUTER_CTL_H

#include "router/router_inner.h"

#include <yyjson.h>

#define CTL_LINE_MOST 65536u     /* bytes of a request */
#define CTL_OUT_MOST  (8u << 20) /* bytes that wait for a client that does not read; then it is given up */
#define CTL_CONNS     32u

struct ctl;

int ctl_open(struct ctl **ret, struct router *r, const char *path, uid_t owner, struct error *err);
void ctl_close(struct ctl *c); /* NULL allowed */

/* --- for the files that answer --- */

struct ctl_conn {
    struct ctl *control;
    struct router *router;
    struct reactor_watch watch;
    struct buf in, out;
    bool closing; /* once `out` is written */
    bool busy;    /* an answer of several lines is under way: the next request waits */
    bool half;    /* the client sends no more */
    /* of the request under way */
    struct reactor_timer timer;
    void *work;
    void (*end_work)(struct ctl_conn *k); /* frees it; also when the client leaves. NULL: none */
};

/* All take the doc over (or it is the caller's fault to leak): a line {"ok":true,…}. */
void ctl_send(struct ctl_conn *k, yyjson_mut_doc *doc);
yyjson_mut_doc *ctl_answer(yyjson_mut_val **ret_root); /* {"ok":true}; NULL: no memory */
__attribute__((format(printf, 2, 3))) void ctl_fail(struct ctl_conn *k, const char *fmt, ...);
void ctl_flush(struct ctl_conn *k);
void ctl_work_done(struct ctl_conn *k); /* the answer of several lines has ended */

/* "name": a text of the request, or NULL and the failure is sent. */
const char *ctl_text(struct ctl_conn *k, yyjson_val *rq, const char *name);
/* A number within the range, `fallback` if it is not there. False: the failure is sent. */
bool ctl_number(
    struct ctl_conn *k, yyjson_val *rq, const char *name, double least, double most, double fallback, double *ret);
bool ctl_port(struct ctl_conn *k, yyjson_val *rq, unsigned *ret); /* of "port": by name */
bool ctl_vrf(struct ctl_conn *k, yyjson_val *rq, uint32_t *ret);  /* of "vrf": by name; absent: the underlay */

void ctl_show(struct ctl_conn *k, yyjson_val *rq); /* ctl_show.c */
void ctl_ping(struct ctl_conn *k, yyjson_val *rq); /* ctl_ping.c */
void ctl_traceroute(struct ctl_conn *k, yyjson_val *rq);
void ctl_capture(struct ctl_conn *k, yyjson_val *rq); /* ctl_capture.c */
void ctl_link(struct ctl_conn *k, yyjson_val *rq);    /* control_change.c */
void ctl_move(struct ctl_conn *k, yyjson_val *rq);
void ctl_reload(struct ctl_conn *k, yyjson_val *rq);
void ctl_drain(struct ctl_conn *k, yyjson_val *rq);

#endif
