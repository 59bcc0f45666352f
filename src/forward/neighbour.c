/* Neighbours: their states, lists and waiting packets.
 *
 * RFC 4861 section 7.3.3 and appendix C, for ARP as well. Ours: 1. resolve: a usable entry gives its MAC (STALE starts the
 * delay); else the packet waits and INCOMPLETE asks all three times, a second apart; 2. heard: any word from the host
 * renews it, an answer to us makes it REACHABLE, another MAC makes it STALE; 3. due: REACHABLE becomes STALE, DELAY becomes
 * PROBE, PROBE asks the host three times, then it is forgotten; STALE is forgotten after ten silent minutes. */
#include "forward/neighbour_inner.h"

#include "wire/ip_text.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* --- lists -------------------------------------------------------------------------------------------------- */

static struct neighbour_list *list_of(struct neighbour_table *t, const struct neighbour *n)
{
    struct net *net = &t->nets[n->key.net];
    return n->state == NEIGHBOUR_INCOMPLETE ? &net->resolving : &net->known;
}

static void list_append(struct neighbour_table *t, struct neighbour_list *l, uint32_t i)
{
    t->all[i].next = NO_NEIGHBOUR;
    t->all[i].prev = l->tail;
    if (l->n++)
        t->all[l->tail].next = i;
    else
        l->head = i;
    l->tail = i;
}

static void list_remove(struct neighbour_table *t, struct neighbour_list *l, uint32_t i)
{
    struct neighbour *n = &t->all[i];
    if (l->head == i)
        l->head = n->next;
    else
        t->all[n->prev].next = n->next;
    if (l->tail == i)
        l->tail = n->prev;
    else
        t->all[n->next].prev = n->prev;
    l->n--;
}

/* --- waiting packets ---------------------------------------------------------------------------------------- */

static struct rte_mbuf *wait_take(struct neighbour *n)
{
    struct rte_mbuf *m = n->head;
    n->head = packet_meta(m)->next;
    packet_meta(m)->next = NULL;
    n->waiting--;
    return m;
}

static void wait_lost(struct neighbour_table *t, struct neighbour *n, bool failed, int64_t now)
{
    struct rte_mbuf *m = wait_take(n);
    t->counters.waiting_lost++;
    t->ops.lost(t->ops.user, n->key.net, m, failed, now);
}

static void wait_append(struct neighbour_table *t, struct neighbour *n, struct rte_mbuf *m, int64_t now)
{
    if (n->waiting == NEIGHBOUR_WAITING) /* RFC 4861 section 7.2.2: the new one replaces the oldest */
        wait_lost(t, n, false, now);
    packet_meta(m)->next = NULL;
    if (n->waiting++)
        packet_meta(n->tail)->next = m;
    else
        n->head = m;
    n->tail = m;
}

/* All that waited goes on. The callbacks may resolve again, so the queue is taken off first. */
static void wait_ready(struct neighbour_table *t, uint32_t i, int64_t now)
{
    struct neighbour waiting = t->all[i];
    t->all[i].waiting = 0;
    t->all[i].head = t->all[i].tail = NULL;
    while (waiting.waiting)
        t->ops.ready(t->ops.user, waiting.key.net, waiting.mac, wait_take(&waiting), now);
}

/* --- entries ------------------------------------------------------------------------------------------------ */

static struct neighbour_key key_of(uint32_t net, const struct ip_addr *a)
{
    return (struct neighbour_key){.net = net, .family = a->family, .a = a->a};
}

/* Recent answers first: an entry is compared with what is asked for, so none of them can be out of date. */
uint32_t neighbour_index(struct neighbour_table *t, uint32_t net, const struct ip_addr *a)
{
    uint64_t hi, lo, known[2];
    memcpy(&hi, a->a.b, 8);
    memcpy(&lo, a->a.b + 8, 8);
    uint32_t *recent = &t->recent[((hi ^ lo ^ net) * 0x9e3779b97f4a7c15u) >> 56];
    const struct neighbour *n = &t->all[*recent];
    memcpy(known, n->key.a.b, 16);
    if (n->key.net == net && n->key.family == a->family && known[0] == hi && known[1] == lo)
        return *recent;
    struct neighbour_key key = key_of(net, a);
    uint32_t i = table_find(&t->by_key, &key);
    if (i != TABLE_NONE)
        *recent = i;
    return i;
}

static void forget(struct neighbour_table *t, uint32_t i, bool failed, int64_t now)
{
    struct neighbour *n = &t->all[i];
    while (n->waiting)
        wait_lost(t, n, failed, now);
    list_remove(t, list_of(t, n), i);
    table_del(&t->by_key, &n->key);
    deadlines_set(&t->deadlines, i, DEADLINE_NEVER);
    *n = (struct neighbour){.next = t->free};
    t->free = i;
}

void neighbour_forget_net(struct neighbour_table *t, uint32_t net, int64_t now)
{
    struct net *n = &t->nets[net];
    while (n->resolving.n)
        forget(t, n->resolving.head, false, now);
    while (n->known.n)
        forget(t, n->known.head, false, now);
}

static int64_t due_after(enum neighbour_state s)
{
    switch (s) {
    case NEIGHBOUR_REACHABLE:
        return REACHABLE_NS;
    case NEIGHBOUR_STALE:
        return STALE_KEPT_NS;
    case NEIGHBOUR_DELAY:
        return DELAY_NS;
    default:
        return RETRANSMIT_NS;
    }
}

/* Moves it to the end of the list of its new state, with that state's deadline. */
void neighbour_state_set(struct neighbour_table *t, uint32_t i, enum neighbour_state s, int64_t now)
{
    struct neighbour *n = &t->all[i];
    list_remove(t, list_of(t, n), i);
    n->state = (uint8_t)s;
    n->tries = 0;
    list_append(t, list_of(t, n), i);
    deadlines_set(&t->deadlines, i, now + due_after(s));
}

/* Whom to forget for a new one: the address asked for longest, else the host unheard for longest that is not REACHABLE. */
static uint32_t victim(const struct neighbour_table *t, const struct net *n)
{
    if (n->resolving.n)
        return n->resolving.head;
    uint32_t i = n->known.n ? n->known.head : NO_NEIGHBOUR;
    while (i != NO_NEIGHBOUR && t->all[i].state == NEIGHBOUR_REACHABLE)
        i = t->all[i].next;
    return i;
}

/* Room for one more in the net, for an address that is still to be asked for or one that was heard. */
static bool make_room(struct neighbour_table *t, uint32_t net, bool resolving, int64_t now)
{
    const struct net *n = &t->nets[net];
    uint32_t share = n->config.share, asked = share / NEIGHBOUR_RESOLVING;
    bool full = n->resolving.n + n->known.n >= share;
    if (!full && !(resolving && n->resolving.n && n->resolving.n >= asked))
        return true;
    uint32_t i = victim(t, n);
    if (i == NO_NEIGHBOUR)
        return false;
    t->counters.evicted++;
    forget(t, i, false, now);
    return true;
}

static uint32_t add(
    struct neighbour_table *t, uint32_t net, const struct ip_addr *a, enum neighbour_state s, int64_t now)
{
    if (!make_room(t, net, s == NEIGHBOUR_INCOMPLETE, now)) {
        t->counters.refused++;
        return NO_NEIGHBOUR;
    }
    uint32_t i = t->free;
    struct neighbour *n = &t->all[i];
    t->free = n->next;
    *n = (struct neighbour){.key = key_of(net, a), .state = (uint8_t)s};
    int rc = table_set(&t->by_key, &n->key, i);
    assert(rc == 0); /* the shares add up to what the table holds */
    (void)rc;
    list_append(t, list_of(t, n), i);
    deadlines_set(&t->deadlines, i, now + due_after(s));
    return i;
}

void neighbour_heard(struct neighbour_table *t, uint32_t net, const struct ip_addr *a, const uint8_t mac[6],
    bool answer, bool make, int64_t now)
{
    uint32_t i = neighbour_index(t, net, a);
    if (i == NO_NEIGHBOUR) {
        i = make ? add(t, net, a, NEIGHBOUR_STALE, now) : NO_NEIGHBOUR;
        if (i != NO_NEIGHBOUR)
            memcpy(t->all[i].mac, mac, 6);
        return;
    }
    struct neighbour *n = &t->all[i];
    bool was_incomplete = n->state == NEIGHBOUR_INCOMPLETE, other = memcmp(n->mac, mac, 6) != 0;
    bool asked = was_incomplete || n->state == NEIGHBOUR_PROBE; /* only then may an answer bring another MAC */
    memcpy(n->mac, mac, 6);
    if (answer && (asked || !other))
        neighbour_state_set(t, i, NEIGHBOUR_REACHABLE, now);
    else if (was_incomplete || other)
        neighbour_state_set(t, i, NEIGHBOUR_STALE, now);
    if (was_incomplete) {
        t->counters.resolved++;
        wait_ready(t, i, now);
    }
}

/* --- packets and time --------------------------------------------------------------------------------------- */

const uint8_t *neighbour_resolve(
    struct neighbour_table *t, uint32_t net, const struct ip_addr *a, struct rte_mbuf *m, int64_t now)
{
    uint32_t i = neighbour_index(t, net, a);
    if (i != NO_NEIGHBOUR && t->all[i].state != NEIGHBOUR_INCOMPLETE) {
        if (t->all[i].state == NEIGHBOUR_STALE)
            neighbour_state_set(t, i, NEIGHBOUR_DELAY, now);
        return t->all[i].mac;
    }
    bool fresh = i == NO_NEIGHBOUR;
    if (fresh && net_may_hold(&t->nets[net], a))
        i = add(t, net, a, NEIGHBOUR_INCOMPLETE, now);
    if (i == NO_NEIGHBOUR) {
        t->counters.waiting_lost++;
        t->ops.lost(t->ops.user, net, m, false, now);
        return NULL;
    }
    wait_append(t, &t->all[i], m, now);
    /* A scan must not become a flood; what the limit holds back is asked a second later (RFC 6583 section 6.2). */
    if (fresh && icmp_limit_pass(&t->nets[net].asking, now))
        send_solicit(t, &t->all[i], false, now);
    return NULL;
}

static void due(struct neighbour_table *t, uint32_t i, int64_t now)
{
    struct neighbour *n = &t->all[i];
    switch ((enum neighbour_state)n->state) {
    case NEIGHBOUR_REACHABLE:
        neighbour_state_set(t, i, NEIGHBOUR_STALE, now);
        return;
    case NEIGHBOUR_DELAY:
        neighbour_state_set(t, i, NEIGHBOUR_PROBE, now);
        send_solicit(t, n, true, now);
        return;
    case NEIGHBOUR_INCOMPLETE:
    case NEIGHBOUR_PROBE:
        if (++n->tries < SOLICITATIONS) {
            send_solicit(t, n, n->state == NEIGHBOUR_PROBE, now);
            deadlines_set(&t->deadlines, i, now + RETRANSMIT_NS);
            return;
        }
        t->counters.failed++;
        forget(t, i, true, now);
        return;
    case NEIGHBOUR_STALE:
    case NEIGHBOUR_NONE:
        forget(t, i, false, now);
    }
}

int64_t neighbour_poll(struct neighbour_table *t, int64_t now)
{
    for (uint32_t i; (i = deadlines_take(&t->deadlines, now)) != UINT32_MAX;) {
        if (i < t->neighbours_most)
            due(t, i, now);
        else
            net_advertise(t, i - t->neighbours_most, now);
    }
    return deadlines_next(&t->deadlines);
}

/* --- the table ---------------------------------------------------------------------------------------------- */

int neighbour_create(struct neighbour_table **ret, const struct neighbour_config *c, const struct neighbour_ops *ops)
{
    struct neighbour_table *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->ops = *ops;
    t->seed = c->seed;
    t->neighbours_most = c->neighbours_most ? c->neighbours_most : 4096;
    t->nets_most = c->nets_most ? c->nets_most : 256;
    t->all = calloc(t->neighbours_most, sizeof(*t->all));
    t->nets = calloc(t->nets_most, sizeof(*t->nets));
    if (!t->all || !t->nets || table_init(&t->by_key, sizeof(struct neighbour_key), t->neighbours_most, c->seed) ||
        deadlines_init(&t->deadlines, t->neighbours_most + t->nets_most)) {
        neighbour_free(t);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < t->neighbours_most; i++)
        t->all[i].next = i + 1;
    *ret = t;
    return 0;
}

void neighbour_free(struct neighbour_table *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; t->nets && t->all && i < t->nets_most; i++)
        neighbour_forget_net(t, i, 0);
    table_done(&t->by_key);
    deadlines_done(&t->deadlines);
    free(t->all);
    free(t->nets);
    free(t);
}

const struct neighbour_counters *neighbour_counters(const struct neighbour_table *t)
{
    return &t->counters;
}

enum neighbour_state neighbour_look(
    const struct neighbour_table *t, uint32_t net, const struct ip_addr *a, uint8_t ret_mac[6])
{
    struct neighbour_key key = key_of(net, a);
    uint32_t i = table_find(&t->by_key, &key);
    if (i == NO_NEIGHBOUR)
        return NEIGHBOUR_NONE;
    if (ret_mac)
        memcpy(ret_mac, t->all[i].mac, 6);
    return (enum neighbour_state)t->all[i].state;
}

uint32_t neighbour_count(const struct neighbour_table *t, uint32_t net)
{
    return net < t->nets_most ? t->nets[net].resolving.n + t->nets[net].known.n : 0;
}

static bool list_check(const struct neighbour_table *t, const struct neighbour_list *l, uint32_t net, bool resolving)
{
    uint32_t n = 0, prev = NO_NEIGHBOUR;
    for (uint32_t i = l->n ? l->head : NO_NEIGHBOUR; i != NO_NEIGHBOUR; prev = i, i = t->all[i].next, n++) {
        const struct neighbour *e = &t->all[i];
        uint32_t waiting = 0;
        for (const struct rte_mbuf *m = e->head; m && waiting < e->waiting; waiting++)
            m = packet_meta((struct rte_mbuf *)(uintptr_t)m)->next;
        if (e->key.net != net || (e->state == NEIGHBOUR_INCOMPLETE) != resolving || e->state == NEIGHBOUR_NONE ||
            (prev != NO_NEIGHBOUR && e->prev != prev) || table_find(&t->by_key, &e->key) != i ||
            t->deadlines.due[i] == DEADLINE_NEVER || waiting != e->waiting || (waiting && !resolving))
            return false;
    }
    return n == l->n;
}

bool neighbour_check(const struct neighbour_table *t)
{
    uint32_t n = 0, reserved = 0;
    for (uint32_t i = 0; i < t->nets_most; i++) {
        const struct net *net = &t->nets[i];
        if (!list_check(t, &net->resolving, i, true) || !list_check(t, &net->known, i, false) ||
            net->resolving.n + net->known.n > net->config.share)
            return false;
        n += net->resolving.n + net->known.n;
        reserved += net->config.share;
    }
    return n == t->by_key.n && reserved == t->reserved && reserved <= t->neighbours_most;
}
