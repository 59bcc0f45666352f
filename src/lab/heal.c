#include "lab/heal.h"

#include "base/clock.h"
#include "lab/ask.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lab_heal {
    struct lab_world *world;
    struct plan *plan;
    bool *was_up, *down; /* by link */
    uint32_t **path_of;  /* by router, slice: where it goes now */
};

/* --- what routers see --- */

/* Notes each of its core ports; true when a link that was up is so no longer. */
static bool look_at(struct lab_heal *h, uint32_t router)
{
    yyjson_doc *d;
    if (lab_ask(h->world->routers[router].socket, "{\"do\":\"show\",\"what\":\"ports\"}", &d, NULL))
        return false;
    bool news = false;
    size_t i, n;
    yyjson_val *port;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(d), "ports"), i, n, port)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(port, "name"));
        yyjson_val *link = yyjson_obj_get(port, "link");
        unsigned long number = name && !strncmp(name, "core", 4) ? strtoul(name + 4, NULL, 10) : UINT32_MAX;
        if (!link || number >= h->plan->routers[router].n_ports)
            continue;
        uint32_t at = h->plan->routers[router].ports[number].link;
        bool up = yyjson_get_bool(yyjson_obj_get(link, "up"));
        news |= h->was_up[at] && !up && !h->down[at];
        h->down[at] |= h->was_up[at] && !up;
        h->was_up[at] |= up;
    }
    yyjson_doc_free(d);
    return news;
}

/* --- what follows --- */

static bool is_dead(const struct lab_heal *h, const struct plan_path *p)
{
    for (uint32_t i = 0; i < p->n_links; i++)
        if (h->down[p->links[i]])
            return true;
    return false;
}

/* A slice in reserve of the same VPN, class and egress over links that are up. */
static const struct plan_slice *reserve(
    const struct lab_heal *h, const struct plan_router *r, const struct plan_slice *x)
{
    for (uint32_t i = 0; i < r->n_slices; i++) {
        const struct plan_slice *y = &r->slices[i];
        if (y->standby && y->vpn == x->vpn && y->class_ == x->class_ && !is_dead(h, &r->paths[y->path - 1]) &&
            !memcmp(&y->service_sid, &x->service_sid, sizeof(y->service_sid)))
            return y;
    }
    return NULL;
}

static int move_lane(const struct lab_heal *h, uint32_t router, const struct plan_slice *x, uint32_t from, uint32_t to)
{
    char request[256], sid[IP_TEXT_SIZE];
    snprintf(request, sizeof(request),
        "{\"do\":\"move\",\"tenant\":%u,\"class\":\"%s\",\"sid\":\"%s\",\"from\":%u,\"to\":%u}",
        h->plan->scenario->vpns[x->vpn].tenant_id, scenario_class_name(x->class_), ip6_print(sid, &x->service_sid),
        from, to);
    return lab_ask(h->world->routers[router].socket, request, NULL, NULL);
}

/* In the plan, from which a router's file is written (again). */
static void move_routes(struct plan_router *r, const struct scenario *s, const struct plan_slice *x, uint32_t to)
{
    for (uint32_t i = 0; i < r->n_routes; i++) {
        struct plan_route *route = &r->routes[i];
        if (route->kind != PLAN_ROUTE_REMOTE || route->vrf != s->vpns[x->vpn].vrf ||
            memcmp(&route->service_sid, &x->service_sid, sizeof(x->service_sid)) != 0)
            continue;
        route->path_of_class[x->class_] = to;
        if (x->class_ == SCENARIO_BULK)
            route->path_of_class[SCENARIO_CONTROL] = to;
    }
}

/* How many slices of this router took another way. */
static unsigned heal_router(struct lab_heal *h, uint32_t router)
{
    struct plan_router *r = &h->plan->routers[router];
    bool lanes = h->plan->scenario->mode == SCENARIO_LANES;
    unsigned moved = 0;
    for (uint32_t i = 0; i < r->n_slices; i++) {
        const struct plan_slice *x = &r->slices[i], *y;
        uint32_t *at = &h->path_of[router][i];
        if (x->standby || !is_dead(h, &r->paths[*at - 1]) || !(y = reserve(h, r, x)))
            continue;
        if (lanes && move_lane(h, router, x, *at, y->path))
            continue; /* tried again at the next look */
        move_routes(r, h->plan->scenario, x, y->path);
        *at = y->path;
        moved++;
    }
    if (moved && !lanes &&
        (lab_world_write_router(h->world, router, NULL) ||
            lab_ask(h->world->routers[router].socket, "{\"do\":\"reload\"}", NULL, NULL)))
        return 0;
    return moved;
}

bool lab_heal_look(struct lab_heal *h, char ret_line[192])
{
    const struct scenario *s = h->plan->scenario;
    int64_t begun = clock_now_ns();
    unsigned moved = 0;
    char names[96] = "";
    for (uint32_t i = 0; i < s->n_routers; i++)
        if (h->world->routers[i].process.running)
            look_at(h, i);
    for (uint32_t i = 0; i < s->n_links; i++)
        if (h->down[i])
            snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s", s->links[i].name);
    for (uint32_t i = 0; i < s->n_routers && names[0]; i++)
        moved += h->world->routers[i].process.running ? heal_router(h, i) : 0;
    if (moved)
        snprintf(ret_line, 192, "down:%s; %u slices took their other way within %.0f ms", names, moved,
            (double)(clock_now_ns() - begun) / 1e6);
    return moved > 0;
}

int lab_heal_create(struct lab_heal **ret, struct lab_world *w, struct plan *p, struct error *err)
{
    const struct scenario *s = p->scenario;
    struct lab_heal *h = calloc(1, sizeof(*h));
    bool good = h != NULL;
    if (good) {
        *h = (struct lab_heal){.world = w, .plan = p};
        h->was_up = calloc(s->n_links + 1, sizeof(*h->was_up));
        h->down = calloc(s->n_links + 1, sizeof(*h->down));
        h->path_of = calloc(s->n_routers + 1, sizeof(*h->path_of));
        good = h->was_up && h->down && h->path_of;
    }
    for (uint32_t i = 0; good && i < s->n_routers; i++) {
        h->path_of[i] = calloc(p->routers[i].n_slices + 1, sizeof(**h->path_of));
        good = h->path_of[i] != NULL;
        for (uint32_t k = 0; good && k < p->routers[i].n_slices; k++)
            h->path_of[i][k] = p->routers[i].slices[k].path;
    }
    if (!good) {
        lab_heal_free(h);
        return error_set(err, ENOMEM, "out of memory");
    }
    *ret = h;
    return 0;
}

void lab_heal_free(struct lab_heal *h)
{
    if (!h)
        return;
    for (uint32_t i = 0; h->path_of && i < h->plan->scenario->n_routers; i++)
        free(h->path_of[i]);
    free(h->path_of);
    free(h->was_up);
    free(h->down);
    free(h);
}
