#include "esp/esp.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "esp/window.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

/* A key is good for 2^63 packets, far more than it lives for; refusing beats wrapping. */
#define SENT_MOST (UINT64_MAX / 2)

struct esp_sa {
    struct esp_sa *chain;
    struct esp_sa_config config; /* without the key */
    struct aead_key *key;
    uint64_t sent;             /* sending: the last sequence number; receiving: packets opened */
    struct esp_window *window; /* receiving; its memory is touched where numbers come */
};

struct esp {
    struct aead *aead;
    struct esp_sa **by_spi, **by_peer; /* receiving; sending */
    uint32_t buckets, count, most;
    bool lengths_only;
};

int esp_create(struct esp **ret, uint32_t sas_most)
{
    struct esp *e = calloc(1, sizeof *e);
    if (!e)
        return -ENOMEM;
    e->most = sas_most;
    for (e->buckets = 64; e->buckets < sas_most; e->buckets *= 2)
        continue;
    e->by_spi = calloc(e->buckets, sizeof *e->by_spi);
    e->by_peer = calloc(e->buckets, sizeof *e->by_peer);
    int rc = e->by_spi && e->by_peer ? aead_create(&e->aead) : -ENOMEM;
    if (rc) {
        esp_free(e);
        return rc;
    }
    *ret = e;
    return 0;
}

void esp_lengths_only(struct esp *e)
{
    e->lengths_only = true;
}

static void sa_free(struct esp_sa *sa)
{
    aead_key_free(sa->key);
    free(sa->window);
    OPENSSL_cleanse(sa, sizeof *sa);
    free(sa);
}

static void free_all(struct esp *e, struct esp_sa **table)
{
    for (uint32_t i = 0; table && i < e->buckets; i++)
        for (struct esp_sa *sa = table[i], *next; sa; sa = next) {
            next = sa->chain;
            sa_free(sa);
        }
    free(table);
}

void esp_free(struct esp *e)
{
    if (!e)
        return;
    free_all(e, e->by_spi);
    free_all(e, e->by_peer);
    aead_free(e->aead);
    free(e);
}

const char *esp_cipher(const struct esp *e)
{
    return aead_name(e->aead);
}

/* --- the SAs -------------------------------------------------------------------------------------------------------------- */

static uint64_t mix_peer(const struct ip6 *peer)
{
    return rng_mix(bytes_get_u64(peer->b)) + bytes_get_u64(peer->b + 8);
}

static struct esp_sa **spi_place(const struct esp *e, uint32_t spi, const struct ip6 *peer)
{
    struct esp_sa **at = &e->by_spi[rng_mix(mix_peer(peer) ^ spi) & (e->buckets - 1)];
    while (*at && ((*at)->config.spi != spi || !ip6_equal(&(*at)->config.peer, peer)))
        at = &(*at)->chain;
    return at;
}

static struct esp_sa **peer_place(const struct esp *e, const struct ip6 *peer, uint32_t vrf, uint16_t lane)
{
    struct esp_sa **at = &e->by_peer[rng_mix(mix_peer(peer) ^ (uint64_t)vrf << 16 ^ lane) & (e->buckets - 1)];
    while (*at && ((*at)->config.vrf != vrf || (*at)->config.lane != lane || !ip6_equal(&(*at)->config.peer, peer)))
        at = &(*at)->chain;
    return at;
}

struct esp_sa *esp_sending(struct esp *e, const struct ip6 *peer, uint32_t vrf, uint16_t lane)
{
    struct esp_sa *sa = *peer_place(e, peer, vrf, lane);
    return sa && sa->sent < SENT_MOST ? sa : NULL;
}

int esp_install(struct esp *e, const struct esp_sa_config *c)
{
    struct esp_sa **at = c->sending ? peer_place(e, &c->peer, c->vrf, c->lane) : spi_place(e, c->spi, &c->peer);
    struct esp_sa *before = *at;
    if (before && !c->sending)
        return -EEXIST;
    if (!before && e->count == e->most)
        return -ENOSPC;
    struct esp_sa *sa = calloc(1, sizeof *sa);
    if (!sa)
        return -ENOMEM;
    sa->config = *c;
    OPENSSL_cleanse(sa->config.key, sizeof sa->config.key);
    if (!c->sending && !(sa->window = calloc(1, sizeof *sa->window))) {
        free(sa);
        return -ENOMEM;
    }
    int rc = aead_key_create(&sa->key, e->aead, c->key);
    if (rc) {
        free(sa->window);
        free(sa);
        return rc;
    }
    if (sa->window)
        sa->window->next = 1; /* 0 is never sent (RFC 4303 3.3.3) */
    sa->chain = before ? before->chain : NULL;
    *at = sa;
    e->count += before == NULL;
    if (before)
        sa_free(before);
    return 0;
}

int esp_remove(struct esp *e, uint32_t spi, const struct ip6 *peer, bool sending)
{
    struct esp_sa **at = sending ? NULL : spi_place(e, spi, peer);
    for (uint32_t i = 0; sending && i < e->buckets && !at; i++)
        for (struct esp_sa **p = &e->by_peer[i]; *p; p = &(*p)->chain)
            if ((*p)->config.spi == spi && ip6_equal(&(*p)->config.peer, peer)) {
                at = p;
                break;
            }
    if (!at || !*at)
        return -ENOENT;
    struct esp_sa *sa = *at;
    *at = sa->chain;
    sa_free(sa);
    e->count--;
    return 0;
}

uint32_t esp_sa_spi(const struct esp_sa *sa)
{
    return sa->config.spi;
}

uint64_t esp_sa_packets(const struct esp_sa *sa)
{
    return sa->sent;
}

/* --- sealing ---------------------------------------------------------------------------------------------------------------- */

/* AAD with extended sequence numbers (RFC 4106 5): SPI, high half, low half. */
static void put_aad(uint8_t aad[12], uint32_t spi, uint64_t sequence)
{
    bytes_put_be32(aad, spi);
    bytes_put_be64(aad + 4, sequence);
}

/* The IV is the sequence number: it never repeats under a key, which is all that GCM asks of it. */
static void put_nonce(uint8_t nonce[AEAD_NONCE], const uint8_t salt[4], const uint8_t iv[8])
{
    memcpy(nonce, salt, 4);
    memcpy(nonce + 4, iv, 8);
}

static void put_head(uint8_t *head, uint32_t spi, uint64_t sequence)
{
    bytes_put_be32(head, spi);
    bytes_put_be32(head + 4, (uint32_t)sequence);
    bytes_put_be64(head + 8, sequence);
}

static void prepare_seal(struct esp_packet *p, struct aead_job *j, uint8_t aad[12])
{
    struct esp_sa *sa = p->sa;
    uint64_t sequence = ++sa->sent;
    uint32_t pad = (4u - (p->len + 2u) % 4u) % 4u, body = p->len + pad + 2u;
    for (uint32_t i = 0; i < pad; i++)
        p->bytes[p->len + i] = (uint8_t)(i + 1); /* RFC 4303 2.4 */
    p->bytes[body - 2] = (uint8_t)pad;
    p->bytes[body - 1] = p->next;
    uint8_t *head = p->bytes - ESP_HEAD;
    put_head(head, sa->config.spi, sequence);
    put_aad(aad, sa->config.spi, sequence);
    *j = (struct aead_job){
        .key = sa->key, .bytes = p->bytes, .len = body, .aad = aad, .aad_len = 12, .tag = p->bytes + body};
    put_nonce(j->nonce, sa->config.salt, head + 8);
    p->bytes = head;
    p->len = ESP_HEAD + body + AEAD_TAG;
    p->verdict = ESP_GOOD;
}

/* What there is of it without its payload. */
static void seal_lengths(struct esp_packet *p)
{
    p->bytes -= ESP_HEAD;
    p->len += esp_overhead(p->len);
    put_head(p->bytes, p->sa->config.spi, ++p->sa->sent);
    p->verdict = ESP_GOOD;
}

void esp_seal(struct esp *e, struct esp_packet *p, unsigned n)
{
    struct aead_job jobs[ESP_BATCH];
    uint8_t aad[ESP_BATCH][12];
    unsigned m = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!p[i].sa || p[i].sa->sent >= SENT_MOST) {
            p[i].verdict = ESP_NO_KEY;
        } else if (e->lengths_only) {
            seal_lengths(&p[i]);
        } else {
            prepare_seal(&p[i], &jobs[m], aad[m]);
            m++;
        }
    }
    aead_seal(e->aead, jobs, m);
}

/* --- opening ------------------------------------------------------------------------------------------------------------------ */

uint64_t esp_sequence_extend(uint32_t low, uint64_t next)
{
    const uint64_t window = ESP_WINDOW;
    uint64_t top = next ? next - 1 : 0, high = top >> 32;
    uint32_t top_low = (uint32_t)top;
    if (top_low >= window - 1)
        return (low >= top_low - (window - 1) ? high : high + 1) << 32 | low;
    /* The window reaches back over a wrap of the low half. */
    return (low >= (uint32_t)(top_low - (window - 1)) && high ? high - 1 : high) << 32 | low;
}

static enum esp_verdict prepare_open(
    const struct esp *e, struct esp_packet *p, struct aead_job *j, uint8_t aad[12], uint64_t *ret_sequence)
{
    p->sa = NULL;
    p->first = false;
    if (p->len < ESP_HEAD + 4 + AEAD_TAG || p->len % 4)
        return ESP_MALFORMED;
    p->sa = *spi_place(e, bytes_get_be32(p->bytes), p->peer);
    if (!p->sa)
        return ESP_NO_KEY;
    if (p->sa->config.vrf != p->vrf)
        return ESP_WRONG_VPN;
    *ret_sequence = esp_sequence_extend(bytes_get_be32(p->bytes + 4), p->sa->window->next);
    uint32_t body = p->len - ESP_HEAD - AEAD_TAG;
    put_aad(aad, p->sa->config.spi, *ret_sequence);
    *j = (struct aead_job){.key = p->sa->key,
        .bytes = p->bytes + ESP_HEAD,
        .len = body,
        .aad = aad,
        .aad_len = 12,
        .tag = p->bytes + ESP_HEAD + body};
    put_nonce(j->nonce, p->sa->config.salt, p->bytes + 8);
    return ESP_GOOD;
}

/* Authentic: it must be new too. */
static enum esp_verdict pass(struct esp_packet *p, uint64_t sequence)
{
    if (!esp_window_pass(p->sa->window, sequence))
        return ESP_REPLAYED;
    p->first = p->sa->sent++ == 0;
    return ESP_GOOD;
}

static enum esp_verdict finish_open(struct esp_packet *p, const struct aead_job *j, uint64_t sequence)
{
    enum esp_verdict verdict = j->good ? pass(p, sequence) : ESP_NOT_AUTHENTIC;
    if (verdict != ESP_GOOD)
        return verdict;
    uint8_t pad = j->bytes[j->len - 2];
    if (pad + 2u > j->len)
        return ESP_MALFORMED;
    p->bytes = j->bytes;
    p->len = j->len - 2u - pad;
    p->next = j->bytes[j->len - 1];
    return ESP_GOOD;
}

/* A packet without its trailer: the most that the payload can be, and what it looks like. */
static enum esp_verdict open_lengths(struct esp_packet *p, uint64_t sequence)
{
    enum esp_verdict verdict = pass(p, sequence);
    if (verdict != ESP_GOOD)
        return verdict;
    p->bytes += ESP_HEAD;
    p->len -= ESP_HEAD + 2u + AEAD_TAG;
    p->next = p->bytes[0] >> 4 == IP_V4 ? IP_PROTO_IPIP : IP_PROTO_IPV6;
    return ESP_GOOD;
}

void esp_open(struct esp *e, struct esp_packet *p, unsigned n)
{
    struct aead_job jobs[ESP_BATCH];
    uint8_t aad[ESP_BATCH][12], of[ESP_BATCH];
    uint64_t sequence[ESP_BATCH];
    unsigned m = 0;
    for (unsigned i = 0; i < n; i++) {
        p[i].verdict = prepare_open(e, &p[i], &jobs[m], aad[m], &sequence[m]);
        of[m] = (uint8_t)i;
        if (p[i].verdict == ESP_GOOD && e->lengths_only)
            p[i].verdict = open_lengths(&p[i], sequence[m]);
        else
            m += p[i].verdict == ESP_GOOD;
    }
    aead_open(e->aead, jobs, m);
    for (unsigned k = 0; k < m; k++)
        p[of[k]].verdict = finish_open(&p[of[k]], &jobs[k], sequence[k]);
}
