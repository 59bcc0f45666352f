#include "bgp/rib.h"

#include "bgp/best.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The order of versions: entries in it are right while the route still has that version; others are passed over. */
struct entry {
    uint64_t version;
    struct bgp_route *route;
};

struct bgp_rib {
    uint32_t family;
    struct bgp_attribute_table *attributes;
    struct bgp_rib_above above;
    struct bgp_route **bucket;
    size_t n_buckets; /* a power of two */
    size_t routes, with_best, paths;
    struct entry *log;
    size_t log_len, log_cap;
    uint64_t version, forgotten; /* routes that were gone up to `forgotten` have been released */
    uint32_t from[BGP_SOURCES];
};

int bgp_rib_create(struct bgp_rib **ret, uint32_t family, struct bgp_attribute_table *t, const struct bgp_rib_above *a)
{
    struct bgp_rib *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->family = family;
    r->attributes = t;
    r->above = *a;
    r->n_buckets = 256;
    r->bucket = calloc(r->n_buckets, sizeof(struct bgp_route *));
    if (!r->bucket) {
        free(r);
        return -ENOMEM;
    }
    *ret = r;
    return 0;
}

static void free_path(struct bgp_rib *r, struct bgp_path *p)
{
    bgp_attributes_drop(r->attributes, p->attributes);
    r->from[p->source]--;
    r->paths--;
    free(p);
}

void bgp_rib_free(struct bgp_rib *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_buckets; i++)
        for (struct bgp_route *e = r->bucket[i], *next; e; e = next) {
            next = e->chain;
            for (struct bgp_path *p = e->paths, *after; p; p = after) {
                after = p->next;
                free_path(r, p);
            }
            free(e);
        }
    free(r->bucket);
    free(r->log);
    free(r);
}

size_t bgp_rib_count(const struct bgp_rib *r)
{
    return r->with_best;
}

size_t bgp_rib_bytes(const struct bgp_rib *r)
{
    return r->routes * sizeof(struct bgp_route) + r->paths * sizeof(struct bgp_path) +
           r->log_cap * sizeof(struct entry) + r->n_buckets * sizeof(struct bgp_route *);
}

uint32_t bgp_rib_from(const struct bgp_rib *r, uint16_t source)
{
    return r->from[source];
}

uint64_t bgp_rib_version(const struct bgp_rib *r)
{
    return r->version;
}

/* --- the table ------------------------------------------------------------------------------------------------------------ */

static uint32_t hash_key(const struct bgp_rib *r, const uint8_t *key, uint8_t len)
{
    return (uint32_t)siphash(bgp_attribute_table_seed(r->attributes), key, len);
}

static struct bgp_route *look_up(const struct bgp_rib *r, uint32_t hash, const uint8_t *key, uint8_t len)
{
    for (struct bgp_route *e = r->bucket[hash & (r->n_buckets - 1)]; e; e = e->chain)
        if (e->hash == hash && e->key_len == len && memcmp(e->key, key, len) == 0)
            return e;
    return NULL;
}

const struct bgp_route *bgp_rib_find(const struct bgp_rib *r, const uint8_t *key, uint8_t key_len)
{
    return look_up(r, hash_key(r, key, key_len), key, key_len);
}

static void grow(struct bgp_rib *r)
{
    size_t n = r->n_buckets * 4;
    struct bgp_route **bucket = calloc(n, sizeof(struct bgp_route *));
    if (!bucket)
        return; /* chains get longer, nothing else */
    for (size_t i = 0; i < r->n_buckets; i++)
        for (struct bgp_route *e = r->bucket[i], *next; e; e = next) {
            next = e->chain;
            e->chain = bucket[e->hash & (n - 1)];
            bucket[e->hash & (n - 1)] = e;
        }
    free(r->bucket);
    r->bucket = bucket;
    r->n_buckets = n;
}

static struct bgp_route *obtain(struct bgp_rib *r, const uint8_t *key, uint8_t len)
{
    uint32_t hash = hash_key(r, key, len);
    struct bgp_route *e = look_up(r, hash, key, len);
    if (e)
        return e;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->hash = hash;
    e->key_len = len;
    memcpy(e->key, key, len);
    if (r->routes > r->n_buckets)
        grow(r);
    e->chain = r->bucket[hash & (r->n_buckets - 1)];
    r->bucket[hash & (r->n_buckets - 1)] = e;
    r->routes++;
    return e;
}

static void release(struct bgp_rib *r, struct bgp_route *e)
{
    struct bgp_route **p = &r->bucket[e->hash & (r->n_buckets - 1)];
    while (*p != e)
        p = &(*p)->chain;
    *p = e->chain;
    r->routes--;
    free(e);
}

/* --- the order of versions --------------------------------------------------------------------------------------------------- */

/* Drops entries that no longer say anything; what remains is still in order. */
static void compact(struct bgp_rib *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->log_len; i++)
        if (r->log[i].route && r->log[i].route->version == r->log[i].version)
            r->log[n++] = r->log[i];
    r->log_len = n;
}

/* Room for one more entry, made before anything changes so that a change can always be told. */
static int reserve(struct bgp_rib *r)
{
    if (r->log_len < r->log_cap)
        return 0;
    if (r->log_len > 2 * r->routes + 64) {
        compact(r);
        return 0;
    }
    size_t cap = r->log_cap ? r->log_cap * 2 : 256;
    struct entry *log = realloc(r->log, cap * sizeof *log);
    if (!log)
        return -ENOMEM;
    r->log = log;
    r->log_cap = cap;
    return 0;
}

static size_t position(const struct bgp_rib *r, uint64_t after)
{
    size_t low = 0, high = r->log_len;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (r->log[mid].version > after)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* A route's entry must not point at it once it is released. */
static void unlog(struct bgp_rib *r, const struct bgp_route *e)
{
    for (size_t i = position(r, e->version - 1); e->version && i < r->log_len && r->log[i].version == e->version; i++)
        r->log[i].route = NULL;
}

static void touch(struct bgp_rib *r, struct bgp_route *e)
{
    unlog(r, e);
    e->version = ++r->version;
    r->log[r->log_len++] = (struct entry){e->version, e};
}

const struct bgp_route *bgp_rib_next(const struct bgp_rib *r, uint64_t after)
{
    for (size_t i = position(r, after); i < r->log_len; i++)
        if (r->log[i].route)
            return r->log[i].route;
    return NULL;
}

bool bgp_rib_told(const struct bgp_route *e, uint16_t peer)
{
    return e->told[peer / 64] >> peer % 64 & 1;
}

void bgp_rib_set_told(struct bgp_rib *r, const struct bgp_route *e, uint16_t peer, bool told)
{
    (void)r; /* the table owns its routes: whoever may change them has it */
    uint64_t *word = (uint64_t *)&e->told[peer / 64], bit = 1ull << peer % 64;
    *word = told ? *word | bit : *word & ~bit;
}

void bgp_rib_untell(struct bgp_rib *r, uint16_t peer)
{
    for (size_t i = 0; i < r->n_buckets; i++)
        for (struct bgp_route *e = r->bucket[i]; e; e = e->chain)
            e->told[peer / 64] &= ~(1ull << peer % 64);
}

void bgp_rib_forget(struct bgp_rib *r, uint64_t version)
{
    if (version <= r->forgotten)
        return;
    for (size_t i = position(r, r->forgotten); i < r->log_len && r->log[i].version <= version; i++) {
        struct bgp_route *e = r->log[i].route;
        if (!e || e->paths)
            continue;
        r->log[i].route = NULL;
        release(r, e);
    }
    r->forgotten = version;
    if (r->log_len > 2 * r->routes + 64)
        compact(r);
}

/* --- changes --------------------------------------------------------------------------------------------------------------------- */

/* Chooses again. `changed`: the best path itself is another one or says something else now. Needs room in the log. */
static void select_best(struct bgp_rib *r, struct bgp_route *e, bool changed)
{
    struct bgp_path *before = e->best;
    e->best = bgp_best(e->paths, &r->above);
    if (e->best == before && !changed)
        return;
    if (!e->best && !before)
        return;
    r->with_best += (e->best != NULL) - (before != NULL);
    touch(r, e);
    if (r->above.best)
        r->above.best(r->above.user, r->family, e, before);
}

static struct bgp_path **place(struct bgp_route *e, uint16_t source, uint64_t id)
{
    struct bgp_path **p = &e->paths;
    while (*p && ((*p)->source < source || ((*p)->source == source && (*p)->id < id)))
        p = &(*p)->next;
    return p;
}

static bool is(const struct bgp_path *p, uint16_t source, uint64_t id)
{
    return p && p->source == source && p->id == id;
}

static bool says_the_same(const struct bgp_path *p, const struct bgp_nlri *n, const struct bgp_attributes *a)
{
    return p->attributes == a && p->raw_len == n->raw_len && memcmp(p->raw, n->raw, n->raw_len) == 0 &&
           !p->long_lived_stale;
}

int bgp_rib_announce(
    struct bgp_rib *r, const struct bgp_nlri *n, uint16_t source, bool ibgp, struct bgp_attributes *a, int64_t now)
{
    struct bgp_route *e = n->raw_len <= BGP_NLRI_KEY_MOST && reserve(r) == 0 ? obtain(r, n->key, n->key_len) : NULL;
    struct bgp_path **at = e ? place(e, source, n->path_id) : NULL, *p = at ? *at : NULL;
    if (is(p, source, n->path_id) && says_the_same(p, n, a)) {
        p->stale = false;
        bgp_attributes_drop(r->attributes, a);
        return 0;
    }
    bool replaces = is(p, source, n->path_id);
    struct bgp_path *fresh = replaces ? p : e ? calloc(1, sizeof *fresh) : NULL;
    if (!fresh) {
        if (e && !e->paths && !e->version)
            release(r, e);
        bgp_attributes_drop(r->attributes, a);
        return -ENOMEM;
    }
    if (replaces) {
        bgp_attributes_drop(r->attributes, p->attributes);
    } else {
        fresh->next = *at;
        *at = fresh;
        r->from[source]++;
        r->paths++;
    }
    fresh->attributes = a;
    fresh->source = source;
    fresh->id = n->path_id;
    fresh->ibgp = ibgp;
    fresh->stale = fresh->long_lived_stale = false;
    fresh->since_ns = now;
    fresh->raw_len = (uint8_t)n->raw_len;
    memcpy(fresh->raw, n->raw, n->raw_len);
    select_best(r, e, replaces && e->best == fresh);
    return 0;
}

/* Takes the path out, chooses again while it still exists (whoever hears of it may compare), then frees it. True: the route
 * went with it. */
static bool remove_path(struct bgp_rib *r, struct bgp_route *e, struct bgp_path **at)
{
    struct bgp_path *p = *at;
    *at = p->next;
    if (reserve(r) == 0) {
        select_best(r, e, false);
    } else if (e->best == p) {
        e->best = NULL; /* no memory even to tell: the route is not used, peers hear at the next change */
        r->with_best--;
    }
    free_path(r, p);
    if (e->paths || e->version > r->forgotten)
        return false;
    unlog(r, e); /* nobody was told of it, or everybody that it is of no use */
    release(r, e);
    return true;
}

bool bgp_rib_withdraw(struct bgp_rib *r, const uint8_t *key, uint8_t key_len, uint16_t source, uint64_t id)
{
    struct bgp_route *e = look_up(r, hash_key(r, key, key_len), key, key_len);
    struct bgp_path **at = e ? place(e, source, id) : NULL;
    if (!at || !is(*at, source, id))
        return false;
    remove_path(r, e, at);
    return true;
}

/* Calls `visit` for a source's paths of every route, wherever in the table. It may remove the path that it is shown: then it
 * says so, and whether the route went too. */
enum visited { STAYS, REMOVED, ROUTE_GONE };

static void each_of(
    struct bgp_rib *r, uint16_t source, enum visited (*visit)(struct bgp_rib *, struct bgp_route *, struct bgp_path **))
{
    for (size_t i = 0; i < r->n_buckets && r->from[source]; i++)
        for (struct bgp_route *e = r->bucket[i], *next; e; e = next) {
            enum visited what = STAYS;
            next = e->chain;
            struct bgp_path **at = place(e, source, 0);
            while (what != ROUTE_GONE && *at && (*at)->source == source) {
                what = visit(r, e, at);
                if (what == STAYS)
                    at = &(*at)->next;
            }
        }
}

static enum visited drop(struct bgp_rib *r, struct bgp_route *e, struct bgp_path **at)
{
    return remove_path(r, e, at) ? ROUTE_GONE : REMOVED;
}

void bgp_rib_drop_source(struct bgp_rib *r, uint16_t source)
{
    each_of(r, source, drop);
}

static enum visited drop_stale(struct bgp_rib *r, struct bgp_route *e, struct bgp_path **at)
{
    return (*at)->stale ? drop(r, e, at) : STAYS;
}

void bgp_rib_sweep_stale(struct bgp_rib *r, uint16_t source)
{
    each_of(r, source, drop_stale);
}

static enum visited mark(struct bgp_rib *r, struct bgp_route *e, struct bgp_path **at)
{
    (void)r, (void)e;
    (*at)->stale = true;
    return STAYS;
}

static enum visited mark_long_lived(struct bgp_rib *r, struct bgp_route *e, struct bgp_path **at)
{
    if ((*at)->attributes->no_llgr)
        return drop(r, e, at);
    (*at)->stale = (*at)->long_lived_stale = true;
    if (reserve(r) == 0)
        select_best(r, e, e->best == *at);
    return STAYS;
}

void bgp_rib_mark_stale(struct bgp_rib *r, uint16_t source, bool long_lived)
{
    each_of(r, source, long_lived ? mark_long_lived : mark);
}

void bgp_rib_select_all(struct bgp_rib *r)
{
    for (size_t i = 0; i < r->n_buckets; i++)
        for (struct bgp_route *e = r->bucket[i]; e; e = e->chain)
            if (reserve(r) == 0)
                select_best(r, e, false);
}
