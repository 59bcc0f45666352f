#include "sim/slab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK (2u << 20) /* and aligned to that: one page where the kernel has large ones */

_Static_assert(sizeof(struct slab_note) <= sizeof(((struct rte_mbuf *)0)->dynfield1), "the dynamic fields hold it");

static void class_init(struct slab_class *c, uint32_t data)
{
    c->data = data;
    c->stride = (sizeof(struct rte_mbuf) + PACKET_META_SIZE + PACKET_HEADROOM + data + 63) / 64 * 64;
}

void slab_init(struct slab *s, uint64_t bytes_most)
{
    *s = (struct slab){.bytes_most = bytes_most};
    class_init(&s->small, SLAB_DATA);
    class_init(&s->large, SLAB_LARGE_DATA);
}

void slab_done(struct slab *s)
{
    for (uint32_t i = 0; i < s->n_chunks; i++)
        free(s->chunks[i]);
    free(s->chunks);
    for (struct slab_twin *t = s->twins, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    *s = (struct slab){0};
}

static struct rte_mbuf *number(uint8_t *chunk, const struct slab_class *c, size_t i)
{
    return (struct rte_mbuf *)(void *)(chunk + i * c->stride);
}

static int more(struct slab *s, struct slab_class *c)
{
    if (s->bytes + CHUNK > s->bytes_most)
        return -ENOMEM;
    void **chunks = realloc(s->chunks, (s->n_chunks + 1) * sizeof(*chunks));
    if (!chunks)
        return -ENOMEM;
    s->chunks = chunks;
    uint8_t *chunk = aligned_alloc(CHUNK, CHUNK);
    if (!chunk)
        return -ENOMEM;
    madvise(chunk, CHUNK, MADV_HUGEPAGE); /* a wish */
    chunks[s->n_chunks++] = chunk;
    s->bytes += CHUNK;
    for (size_t i = CHUNK / c->stride; i-- > 0;) {
        struct rte_mbuf *m = number(chunk, c, i);
        memset(m, 0, sizeof(*m) + PACKET_META_SIZE);
        m->buf_addr = (uint8_t *)m + sizeof(*m) + PACKET_META_SIZE;
        m->buf_len = (uint16_t)(PACKET_HEADROOM + c->data);
        m->priv_size = PACKET_META_SIZE;
        m->nb_segs = 1;
        packet_meta(m)->next = c->spare;
        c->spare = m;
    }
    return 0;
}

static struct rte_mbuf *take(struct slab *s, struct slab_class *c)
{
    if (!c->spare && more(s, c)) {
        s->refused++;
        return NULL;
    }
    struct rte_mbuf *m = c->spare;
    c->spare = packet_meta(m)->next;
    if (c->spare)
        __builtin_prefetch(c->spare, 1);
    memset(packet_meta(m), 0, PACKET_META_SIZE);
    m->data_off = PACKET_HEADROOM;
    m->refcnt = 1;
    m->nb_segs = 1;
    m->pkt_len = m->data_len = 0;
    m->ol_flags = 0;
    slab_note_set(m, &(struct slab_note){.flow = SLAB_NO_FLOW});
    if (++s->used > s->peak)
        s->peak = s->used;
    return m;
}

struct rte_mbuf *slab_small(struct slab *s)
{
    return take(s, &s->small);
}

struct rte_mbuf *slab_large(struct slab *s)
{
    return take(s, &s->large);
}

void slab_free(struct slab *s, struct rte_mbuf *m)
{
    assert(m->refcnt > 0);
    if (--m->refcnt)
        return;
    if (s->on_free && slab_note(m).flow != SLAB_NO_FLOW)
        s->on_free(s->user, m);
    struct slab_twin *twin = slab_note(m).twin;
    if (twin && --twin->about == 0) {
        twin->next = s->twins;
        s->twins = twin;
    }
    struct slab_class *c = m->buf_len == PACKET_HEADROOM + SLAB_DATA ? &s->small : &s->large;
    packet_meta(m)->next = c->spare;
    c->spare = m;
    s->used--;
}

struct rte_mbuf *slab_copy(struct slab *s, const struct rte_mbuf *m)
{
    struct rte_mbuf *c = m->data_len <= SLAB_DATA ? slab_small(s) : slab_large(s);
    if (!c)
        return NULL;
    memcpy(rte_pktmbuf_mtod(c, uint8_t *), rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
    c->data_len = m->data_len;
    c->pkt_len = m->pkt_len;
    memcpy(c->dynfield1, m->dynfield1, sizeof(c->dynfield1));
    return c;
}

static struct slab_twin *twin_take(struct slab *s)
{
    struct slab_twin *t = s->twins;
    if (t)
        s->twins = t->next;
    else
        t = malloc(sizeof(*t));
    if (t)
        *t = (struct slab_twin){.about = 1};
    return t;
}

struct rte_mbuf *slab_second(struct slab *s, struct rte_mbuf *m)
{
    struct rte_mbuf *c = slab_copy(s, m);
    struct slab_note n = slab_note(m);
    if (!c || n.flow == SLAB_NO_FLOW)
        return c;
    if (!n.twin && !(n.twin = twin_take(s))) {
        slab_note_set(c, &(struct slab_note){.flow = SLAB_NO_FLOW});
        slab_free(s, c);
        return NULL;
    }
    n.twin->about++;
    slab_note_set(m, &n);
    slab_note_set(c, &n);
    return c;
}
