/* Who is there: HELLO ties a connection to a client (a process on campus, by its random instance), names the cut that is
 * wanted, and refuses halves that do not belong together by name. A client outlives its connections for a while. */
#include "service_state.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct model_cut service_cut(const struct split_cut *c)
{
    struct model_cut m = {.part = MODEL_CLOUD, .head = c->head, .tail = c->tail, .step = c->step};
    memcpy(m.id, c->id, 32);
    memcpy(m.run, c->run, 16);
    return m;
}

static struct client *client_find(struct service *s, const struct split_hello *h)
{
    for (struct client *c = s->clients; c; c = c->next)
        if (!memcmp(c->instance, h->instance, 16))
            return c;
    return NULL;
}

static struct client *client_add(struct service *s, const struct split_hello *h)
{
    struct client *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    memcpy(c->instance, h->instance, 16);
    c->number = ++s->last_client;
    c->next = s->clients;
    s->clients = c;
    s->n_clients++;
    return c;
}

void service_client_free(struct service *s, struct client *c)
{
    infer_close_all(s, c);
    train_client_gone(s, c);
    install_client_gone(s, c->instance);
    struct client **at = &s->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    s->n_clients--;
    for (int k = 0; k < 2; k++)
        if (c->conns[k])
            c->conns[k]->client = NULL;
    free(c);
}

/* The one that waits longest for its connections, if any does. */
static struct client *client_oldest_gone(struct service *s)
{
    struct client *oldest = NULL;
    for (struct client *c = s->clients; c; c = c->next)
        if (c->gone_ns && (!oldest || c->gone_ns < oldest->gone_ns))
            oldest = c;
    return oldest;
}

void service_client_tick(struct service *s, int64_t now_ns)
{
    for (struct client *c = s->clients, *next; c; c = next) {
        next = c->next;
        if (c->gone_ns && now_ns - c->gone_ns > s->cfg.grace_ns) {
            log_info("an edge did not come back; its %u sessions are closed", c->n_sessions);
            service_client_free(s, c);
        }
    }
}

/* The process on campus ends: nobody will come back for its sessions. */
void service_goodbye(struct service *s, struct conn *c)
{
    struct client *k = c->client;
    for (int which = 0; which < 2; which++)
        if (k->conns[which])
            k->conns[which]->dead = true;
    service_client_free(s, k);
    service_wake(s);
}

void service_conn_gone(struct service *s, struct conn *c, int64_t now_ns)
{
    infer_rows_abandon(s, c);
    train_rows_abandon(s, c);
    struct client *k = c->client;
    if (!k || k->conns[c->which] != c)
        return;
    k->conns[c->which] = NULL;
    if (!k->conns[!c->which])
        k->gone_ns = now_ns;
}

/* False: refused by name. */
static bool cut_right(struct service *s, struct conn *c, const struct split_hello *h, bool installed)
{
    if (installed || h->may_install)
        return true;
    struct model_cut wanted = service_cut(&h->cut), there;
    char want[48], have[48];
    model_cut_name(&wanted, want);
    if (!store_half_newest(&s->store, &there)) {
        conn_fail(s, c, SPLIT_ERR_NOT_INSTALLED,
            "the cloud has no model yet: start once with the cloud's half that belongs to this edge's half %s", want);
        return false;
    }
    model_cut_name(&there, have);
    bool same_cut = !memcmp(there.id, wanted.id, 32);
    conn_fail(s, c, same_cut ? SPLIT_ERR_WRONG_STEP : SPLIT_ERR_WRONG_CUT,
        "this edge's half is %s, the cloud's is %s: %s", want, have,
        same_cut
            ? "they were trained differently; use the edge's half of the same step and run, or install the cloud's"
            : "they are of different cuts; use the edge's half of that cut, or install the cloud's half of this one");
    return false;
}

static void hello_reply(struct service *s, struct conn *c, const struct split_header *h, bool installed)
{
    uint8_t payload[128];
    const struct split_hello *e = &c->client->hello;
    struct model_cut cut = service_cut(&e->cut);
    uint64_t row = SPLIT_ROWS_TRAIN + vec_row_size(VEC_F32, e->d), rows = s->cfg.window / 2 / row;
    struct split_hello_reply r = {
        .version = SPLIT_VERSION,
        .codecs = s->cfg.codecs,
        .installed = installed,
        .client = c->client->number,
        .max_sessions = s->cfg.max_sessions,
        .window = s->cfg.window,
        .max_install = s->cfg.max_install,
        .max_rows = rows < s->cfg.max_rows ? (uint32_t)rows : s->cfg.max_rows,
    };
    memcpy(r.instance, s->instance, 16);
    if (!installed)
        r.part = store_part_size(&s->store, &cut);
    if (e->role == SPLIT_TRAIN)
        r.n_steps = store_run_steps(&s->store, e->cut.id, e->run, r.steps);
    c->granted = s->cfg.window;
    conn_reply(s, c, h, payload, split_hello_reply_encode(payload, &r));
}

/* The same process under another name of half or in another role would mix two kinds of session. */
static bool same_purpose(const struct split_hello *a, const struct split_hello *b)
{
    return a->role == b->role && a->d == b->d && !memcmp(&a->cut, &b->cut, sizeof(a->cut)) &&
           !memcmp(a->run, b->run, 16);
}

void service_hello(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    struct split_hello e;
    int rc = split_hello_decode(&e, p, h->len);
    if (rc || h->flags || c->client) {
        conn_fail(s, c, rc == -EPROTONOSUPPORT ? SPLIT_ERR_VERSION : SPLIT_ERR_MALFORMED,
            rc == -EPROTONOSUPPORT ? "this cloud speaks version %u of the split protocol: update the older side"
                                   : "HELLO is not as version %u has it, or came twice",
            SPLIT_VERSION);
        return;
    }
    if (s->revoked[0]) {
        conn_fail(s, c, SPLIT_ERR_REVOKED, "%s", s->revoked);
        return;
    }
    if (vec_row_size(VEC_F32, e.d) + SPLIT_ROWS_TRAIN > SPLIT_MAX_PAYLOAD) {
        conn_fail(s, c, SPLIT_ERR_SHAPE, "vectors of %u values do not fit into a frame", e.d);
        return;
    }
    struct model_cut cut = service_cut(&e.cut);
    bool installed = store_half_has(&s->store, &cut);
    if (!cut_right(s, c, &e, installed))
        return;
    struct client *k = client_find(s, &e);
    if (k && !same_purpose(&k->hello, &e)) {
        service_client_free(s, k);
        k = NULL;
    }
    if (!k && s->n_clients >= SERVICE_MAX_CLIENTS && client_oldest_gone(s))
        service_client_free(s, client_oldest_gone(s));
    if (!k && (s->n_clients >= SERVICE_MAX_CLIENTS || !(k = client_add(s, &e)))) {
        conn_fail(s, c, SPLIT_ERR_BUSY, "%u processes are connected already: stop one of them", s->n_clients);
        return;
    }
    struct conn *old = k->conns[e.which];
    if (old) { /* the network lost it before we noticed */
        old->dead = true;
        old->client = NULL;
        infer_rows_abandon(s, old);
        train_rows_abandon(s, old);
    }
    k->hello = e;
    k->gone_ns = 0;
    k->conns[e.which] = c;
    c->client = k;
    c->which = e.which;
    hello_reply(s, c, h, installed);
}
