#include "forward/path.h"
#include "forward/encap.h"
#include "forward/mtu.h"
#include "wire/sequence.h"

#include <errno.h>
#include <stdlib.h>

static struct path **place(const struct forward *f, uint32_t id)
{
    struct path **at = (struct path **)&f->paths;
    while (*at && (*at)->config.id != id)
        at = &(*at)->next;
    return at;
}

const struct path *path_find(const struct forward *f, uint32_t id)
{
    return *place(f, id);
}

void path_free_all(struct forward *f)
{
    for (struct path *p = f->paths, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    f->paths = NULL;
}

/* A lane runs along the path as it is: it is moved to another one, never with it. */
static bool has_lane(const struct forward *f, uint32_t id)
{
    for (const struct slice *s = f->slices; s; s = s->next)
        if (s->config.path == id || (s->protect && s->config.protect == id) ||
            (s->next_encap && s->next_encap->path == id))
            return true;
    return false;
}

static int check(const struct forward *f, const struct forward_path *p, struct error *err)
{
    if (p->id == 0)
        return error_set(err, EINVAL, "path 0 is the underlay's way; paths are numbered from 1");
    if (p->n_sids > LANE_SIDS_MOST - 1)
        return error_set(err, EINVAL, "path %u has %u SIDs; at most %u fit", p->id, p->n_sids, LANE_SIDS_MOST - 1);
    if (p->out_port >= LANE_PORTS_MOST || !f->ports[p->out_port].port ||
        f->ports[p->out_port].port->config.kind != PORT_CORE)
        return error_set(err, EINVAL, "path %u begins at port %u, which is no core port", p->id, p->out_port);
    if (p->n_risks > FORWARD_RISKS_MOST)
        return error_set(err, EINVAL, "path %u has %u risks; at most %u fit", p->id, p->n_risks, FORWARD_RISKS_MOST);
    return 0;
}

int forward_path_set(struct forward *f, const struct forward_path *config, struct error *err)
{
    int rc = check(f, config, err);
    if (!rc)
        rc = encap_path_check(f, config, err);
    if (rc)
        return rc;
    struct path **at = place(f, config->id);
    if (*at && has_lane(f, config->id))
        return error_set(err, EBUSY, "path %u carries a lane: move it to a new path instead", config->id);
    if (!*at) {
        struct path *p = calloc(1, sizeof *p);
        if (!p)
            return error_set(err, ENOMEM, "no memory for path %u", config->id);
        *at = p;
    }
    (*at)->config = *config;
    encap_path_changed(f, config->id);
    return 0;
}

int forward_path_del(struct forward *f, uint32_t id)
{
    struct path **at = place(f, id), *p = *at;
    if (!p)
        return -ENOENT;
    for (const struct encap *e = f->encaps; e; e = e->next)
        if (e->path == id)
            return -EBUSY;
    *at = p->next;
    free(p);
    return 0;
}

static bool carries_stream(const struct forward *f, uint32_t id)
{
    for (const struct slice *s = f->slices; s; s = s->next)
        if (s->protect && (s->config.path == id || s->config.protect == id))
            return true;
    return false;
}

uint32_t forward_path_mtu(struct forward *f, uint32_t id, bool encrypted)
{
    const struct path *p = path_find(f, id);
    if (!p)
        return 0;
    struct mtu_encap e = {HBH_HAS_ALL, (uint8_t)encap_addresses(f, &p->config, NULL), encrypted};
    uint32_t link = p->config.mtu ? p->config.mtu : f->ports[p->config.out_port].port->config.mtu;
    return e.addresses ? mtu_inner(&e, carries_stream(f, id) ? link - SEQUENCE_SIZE : link) : 0;
}
