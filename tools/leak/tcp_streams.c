/* TCP connections out of a capture. */
#include "tcp_streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS 4096u

struct segment {
    struct segment *next; /* by sequence number */
    uint32_t seq;
    size_t len;
    uint8_t bytes[];
};

struct direction {
    uint32_t expected; /* the next byte's sequence number */
    struct segment *early;
};

struct stream {
    struct stream *next;
    uint8_t client[18], server[18]; /* address (IPv4 in the first four bytes) and port */
    bool known[2];                  /* the direction's first sequence number is known */
    struct direction way[2];
    void *user;
};

struct reader {
    const struct tcp_sink *sink;
    void *user;
    uint16_t port;
    struct tcp_counts *counts;
    struct stream *streams[BUCKETS];
    bool swapped;
};

struct packet {
    uint8_t from[18], to[18];
    uint16_t from_port, to_port;
    uint32_t seq;
    uint8_t flags;
    const uint8_t *bytes;
    size_t len, lost; /* payload that was kept, and that was cut off */
};

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)be16(p) << 16 | be16(p + 2);
}

/* --- packets -------------------------------------------------------------------------------------------------------- */

static bool parse_tcp(struct packet *k, const uint8_t *p, size_t kept, size_t whole)
{
    if (kept < 20 || (size_t)(p[12] >> 4) * 4 < 20 || whole < (size_t)(p[12] >> 4) * 4)
        return false;
    size_t head = (size_t)(p[12] >> 4) * 4;
    k->from_port = be16(p);
    k->to_port = be16(p + 2);
    memcpy(k->from + 16, p, 2);
    memcpy(k->to + 16, p + 2, 2);
    k->seq = be32(p + 4);
    k->flags = p[13];
    k->bytes = p + (head < kept ? head : kept);
    k->len = head < kept ? kept - head : 0;
    k->lost = whole - head - k->len;
    return true;
}

/* kept: bytes captured; whole: bytes there were. Lengths of 0 (segments larger than 64 KiB) mean all of it. */
static bool parse_ip(struct packet *k, const uint8_t *p, size_t kept, size_t whole)
{
    size_t head = 40, len = 0;
    memset(k, 0, sizeof(*k));
    if (kept >= 20 && p[0] >> 4 == 4) {
        head = (size_t)(p[0] & 15) * 4;
        len = be16(p + 2);
        if (p[9] != 6 || head < 20 || be16(p + 6) & 0x1fff)
            return false;
        memcpy(k->from, p + 12, 4);
        memcpy(k->to, p + 16, 4);
    } else if (kept >= 40 && p[0] >> 4 == 6) {
        len = be16(p + 4) ? be16(p + 4) + 40u : 0;
        if (p[6] != 6)
            return false;
        memcpy(k->from, p + 8, 16);
        memcpy(k->to, p + 24, 16);
    } else {
        return false;
    }
    len = len && len < whole ? len : whole;
    kept = kept < len ? kept : len;
    return kept > head && parse_tcp(k, p + head, kept - head, len - head);
}

/* Bytes before the IP header, or -1: another protocol. */
static int link_head(uint32_t type, const uint8_t *p, size_t len)
{
    size_t n = type == 1 ? 14 : type == 113 ? 16 : type == 276 ? 20 : 0;
    if (len < n)
        return -1;
    uint16_t protocol = type == 1 ? be16(p + 12) : type == 113 ? be16(p + 14) : type == 276 ? be16(p) : 0x0800;
    return protocol == 0x0800 || protocol == 0x86dd ? (int)n : -1;
}

/* --- streams ---------------------------------------------------------------------------------------------------------- */

static struct stream **stream_at(struct reader *r, const uint8_t client[18], const uint8_t server[18])
{
    uint32_t h = 2166136261u;
    for (int i = 0; i < 18; i++)
        h = (h ^ client[i]) * 16777619u;
    struct stream **at = &r->streams[h % BUCKETS];
    while (*at && (memcmp((*at)->client, client, 18) || memcmp((*at)->server, server, 18)))
        at = &(*at)->next;
    return at;
}

static struct stream *stream_new(struct reader *r, struct stream **at, const struct packet *k)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (!s)
        abort();
    memcpy(s->client, k->from, 18);
    memcpy(s->server, k->to, 18);
    s->user = r->sink->open(r->user, r->counts->connections++);
    s->next = *at; /* an older one between the same ports stays behind it */
    return *at = s;
}

static void deliver(struct reader *r, struct stream *s, int way, uint32_t seq, const uint8_t *p, size_t len)
{
    struct direction *d = &s->way[way];
    size_t old = (int32_t)(d->expected - seq) > 0 ? d->expected - seq : 0;
    if (old >= len) {
        r->counts->repeated += len;
        return;
    }
    r->counts->repeated += old;
    r->counts->payload += len - old;
    d->expected = seq + (uint32_t)len;
    r->sink->data(s->user, way, p + old, len - old);
}

static void keep_early(struct direction *d, uint32_t seq, const uint8_t *p, size_t len)
{
    struct segment **at = &d->early, *g = malloc(sizeof(*g) + len);
    if (!g)
        abort();
    *g = (struct segment){.seq = seq, .len = len};
    memcpy(g->bytes, p, len);
    while (*at && (int32_t)((*at)->seq - seq) < 0)
        at = &(*at)->next;
    g->next = *at;
    *at = g;
}

static void stream_data(struct reader *r, struct stream *s, int way, const struct packet *k)
{
    struct direction *d = &s->way[way];
    uint32_t seq = k->seq + (k->flags & 2 ? 1 : 0);
    if (k->flags & 2) {
        d->expected = seq;
        s->known[way] = true;
    }
    if (!k->len || !s->known[way]) {
        r->counts->headless += k->len;
        return;
    }
    if ((int32_t)(seq - d->expected) > 0)
        return keep_early(d, seq, k->bytes, k->len);
    deliver(r, s, way, seq, k->bytes, k->len);
    while (d->early && (int32_t)(d->early->seq - d->expected) <= 0) {
        struct segment *g = d->early;
        d->early = g->next;
        deliver(r, s, way, g->seq, g->bytes, g->len);
        free(g);
    }
}

static void packet(struct reader *r, const struct packet *k)
{
    int way = k->to_port == r->port ? TCP_CLIENT : k->from_port == r->port ? TCP_SERVER : -1;
    if (way < 0)
        return;
    struct stream **at = way == TCP_CLIENT ? stream_at(r, k->from, k->to) : stream_at(r, k->to, k->from);
    bool opens = way == TCP_CLIENT && (k->flags & 18) == 2;
    r->counts->cut += k->lost;
    if (opens && (!*at || (*at)->way[TCP_CLIENT].expected != k->seq + 1))
        stream_new(r, at, k);
    if (*at && !(k->flags & 2 && (*at)->known[way] && (*at)->way[way].expected != k->seq + 1))
        stream_data(r, *at, way, k); /* a repeated SYN must not turn it back */
    else if (!*at)
        r->counts->headless += k->len;
}

/* What still waits was never joined on to what came before it. */
static void stream_end(struct reader *r, struct stream *s)
{
    for (int way = 0; way < 2; way++) {
        uint32_t at = s->way[way].expected;
        for (struct segment *g = s->way[way].early, *next; g; g = next) {
            next = g->next;
            r->counts->missing += (int32_t)(g->seq - at) > 0 ? g->seq - at : 0;
            r->counts->unordered += g->len;
            at = g->seq + (uint32_t)g->len;
            free(g);
        }
    }
    free(s);
}

/* --- the file --------------------------------------------------------------------------------------------------------- */

static uint32_t number(const struct reader *r, const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return r->swapped ? __builtin_bswap32(v) : v;
}

/* -1: not a capture that can be read. A last packet that is still being written is left out. */
static int read_all(struct reader *r, const uint8_t *p, size_t size)
{
    uint32_t magic;
    if (size < 24)
        return -1;
    memcpy(&magic, p, 4);
    r->swapped = magic == 0xd4c3b2a1u || magic == 0x4d3cb2a1u;
    if (!r->swapped && magic != 0xa1b2c3d4u && magic != 0xa1b23c4du)
        return -1;
    uint32_t type = number(r, p + 20) & 0xffff;
    if (type != 1 && type != 101 && type != 113 && type != 276)
        return -1;
    for (size_t at = 24; size - at >= 16;) {
        uint32_t kept = number(r, p + at + 8), whole = number(r, p + at + 12);
        at += 16;
        if (kept > size - at)
            break;
        struct packet k;
        int head = link_head(type, p + at, kept);
        r->counts->packets++;
        if (head >= 0 && parse_ip(&k, p + at + head, kept - (size_t)head, (whole < kept ? kept : whole) - (size_t)head))
            packet(r, &k);
        at += kept;
    }
    return 0;
}

int tcp_streams_read(const char *path, uint16_t port, const struct tcp_sink *sink, void *user, struct tcp_counts *ret)
{
    struct stat st;
    struct reader *r = calloc(1, sizeof(*r));
    int fd = open(path, O_RDONLY), rc = -1;
    *ret = (struct tcp_counts){0};
    if (!r || fd < 0 || fstat(fd, &st) || !st.st_size) {
        fprintf(stderr, "%s: %s\n", path, errno ? strerror(errno) : "is empty");
    } else {
        uint8_t *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        *r = (struct reader){.sink = sink, .user = user, .port = port, .counts = ret};
        rc = p == MAP_FAILED ? -1 : read_all(r, p, (size_t)st.st_size);
        if (rc)
            fprintf(stderr, "%s: no capture of Ethernet or IP in pcap form\n", path);
        if (p != MAP_FAILED)
            munmap(p, (size_t)st.st_size);
        for (size_t i = 0; i < BUCKETS; i++)
            for (struct stream *s = r->streams[i], *next; s; s = next) {
                next = s->next;
                stream_end(r, s);
            }
    }
    if (fd >= 0)
        close(fd);
    free(r);
    return rc;
}
