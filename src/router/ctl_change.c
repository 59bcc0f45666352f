/* Requests that change something: emulated fibres, a lane's path, the configuration, the end. */
#include "router/ctl.h"

#include "forward/classes.h"
#include "router/device_fibre.h"
#include "wire/ip_text.h"

#include <string.h>

static void done(struct ctl_conn *k)
{
    yyjson_mut_val *o;
    yyjson_mut_doc *doc = ctl_answer(&o);
    if (doc)
        ctl_send(k, doc);
}

/* --- fibres ------------------------------------------------------------------------------------------------------- */

struct fibre_change {
    struct router_port *port;
    bool cut_it, mend, dark;
    struct fibre_config to;
};

static void change_fibre(void *user, int64_t now)
{
    struct fibre_change *c = user;
    if (c->cut_it || c->mend)
        device_fibre_cut(c->port->device, c->cut_it, c->dark);
    device_fibre_set(c->port->device, &c->to);
}

/* {"do":"link","port":P,"set":"cut"|"dark"|"mend"}, or quality: "loss", "bit_error", "km", "jitter_us". */
void ctl_link(struct ctl_conn *k, yyjson_val *rq)
{
    unsigned port;
    double jitter;
    if (!ctl_port(k, rq, &port))
        return;
    struct fibre_config *f = &k->router->ports[port].fibre;
    struct fibre_change c = {.port = &k->router->ports[port], .to = *f};
    const char *set = yyjson_get_str(yyjson_obj_get(rq, "set"));
    if (!device_is_fibre(c.port->device))
        return ctl_fail(k, "port \"%s\" has no emulated fibre", k->router->config.ports[port].name);
    c.cut_it = set && (!strcmp(set, "cut") || !strcmp(set, "dark"));
    c.dark = set && !strcmp(set, "dark");
    c.mend = set && !strcmp(set, "mend");
    if (set && !c.cut_it && !c.mend)
        return ctl_fail(k, "a link is set to cut, dark or mend");
    if (!ctl_number(k, rq, "loss", 0, 1, f->loss, &c.to.loss) ||
        !ctl_number(k, rq, "bit_error", 0, 1, f->bit_error, &c.to.bit_error) ||
        !ctl_number(k, rq, "km", 0, 1e5, f->km, &c.to.km) ||
        !ctl_number(k, rq, "jitter_us", 0, 1e6, (double)f->jitter_ns * 1e-3, &jitter))
        return;
    c.to.jitter_ns = (int64_t)(jitter * 1e3);
    *f = c.to;
    loop_call(k->router->loop, change_fibre, &c);
    done(k);
}

/* --- moves -------------------------------------------------------------------------------------------------------- */

struct move {
    struct router *router;
    uint32_t tenant, from, to;
    enum lane_class class_;
    struct ip6 sid;
    struct error err;
    int rc;
};

static void move_slice(void *user, int64_t now)
{
    struct move *m = user;
    m->rc = forward_slice_move(m->router->forward, m->tenant, m->class_, &m->sid, m->from, m->to, now, &m->err);
}

/* {"do":"move","tenant":T,"class":C,"sid":S,"from":PATH,"to":PATH} */
void ctl_move(struct ctl_conn *k, yyjson_val *rq)
{
    struct move m = {.router = k->router};
    double tenant, from, to;
    const char *class_ = ctl_text(k, rq, "class"), *sid = class_ ? ctl_text(k, rq, "sid") : NULL;
    if (!sid || !ctl_number(k, rq, "tenant", 0, UINT32_MAX, -1, &tenant) ||
        !ctl_number(k, rq, "from", 1, UINT32_MAX, -1, &from) || !ctl_number(k, rq, "to", 1, UINT32_MAX, -1, &to))
        return;
    if (class_parse(&m.class_, class_, &m.err) || ip6_parse(&m.sid, sid, &m.err))
        return ctl_fail(k, "%s", m.err.text);
    m.tenant = (uint32_t)tenant;
    m.from = (uint32_t)from;
    m.to = (uint32_t)to;
    loop_call(k->router->loop, move_slice, &m);
    if (m.rc)
        return ctl_fail(k, "%s", m.err.text);
    done(k);
}

/* --- the router ----------------------------------------------------------------------------------------------------- */

void ctl_reload(struct ctl_conn *k, yyjson_val *rq)
{
    struct error err = {""};
    if (router_reload(k->router, &err))
        return ctl_fail(k, "nothing has changed: %s", err.text);
    done(k);
}

/* Answered at once; the router ends when it has drained. */
void ctl_drain(struct ctl_conn *k, yyjson_val *rq)
{
    router_drain(k->router);
    done(k);
}
