/* TLS 1.3 records opened with a key log. */
#include "tls_records.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RECORD (5 + 16384 + 256)
#define MOST_SECRET 48

enum { HANDSHAKE_SECRET, TRAFFIC_SECRET };

struct tls_keys {
    struct tls_keys *next;
    uint8_t random[32];
    uint8_t secret[2][2][MOST_SECRET]; /* [stage][direction] */
    size_t len[2][2];
};

struct side {
    uint8_t buf[MOST_RECORD];
    size_t have;
    EVP_CIPHER_CTX *aead; /* NULL: records are in the clear, or their key is not known */
    uint8_t secret[MOST_SECRET], iv[12];
    size_t secret_len;
    uint64_t seq;
    bool lost;       /* nothing more of this direction can be opened */
    uint8_t head[4]; /* of a handshake message */
    size_t head_have, skip;
};

struct tls_connection {
    const struct tls_keys *all, *keys;
    struct tls_counts *counts;
    void (*plain)(void *user, int direction, const uint8_t *bytes, size_t len);
    void *user;
    uint16_t suite; /* 0: no ServerHello yet */
    struct side side[2];
};

/* --- the key log ------------------------------------------------------------------------------------------------------ */

static size_t unhex(uint8_t *to, size_t most, const char *from)
{
    size_t n = 0;
    while (n < most && sscanf(from + 2 * n, "%2hhx", &to[n]) == 1)
        n++;
    return n;
}

static void keys_line(struct tls_keys **all, const char *line)
{
    static const char *const names[2][2] = {{"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"},
        {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}};
    char name[40], random[65], secret[2 * MOST_SECRET + 1];
    uint8_t raw[32];
    if (sscanf(line, "%39s %64s %96s", name, random, secret) != 3 || unhex(raw, 32, random) != 32)
        return;
    for (int stage = 0; stage < 2; stage++)
        for (int way = 0; way < 2; way++) {
            if (strcmp(name, names[stage][way]) != 0)
                continue;
            struct tls_keys *k = *all;
            while (k && memcmp(k->random, raw, 32) != 0)
                k = k->next;
            if (!k && (k = calloc(1, sizeof(*k)))) {
                memcpy(k->random, raw, 32);
                k->next = *all;
                *all = k;
            }
            if (k)
                k->len[stage][way] = unhex(k->secret[stage][way], MOST_SECRET, secret);
        }
}

struct tls_keys *tls_keys_read(const char *path)
{
    char line[512];
    struct tls_keys *all = NULL;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        keys_line(&all, line);
    if (!all)
        fprintf(stderr, "%s: %s\n", path, f ? "no TLS 1.3 secrets in this key log" : strerror(errno));
    if (f)
        fclose(f);
    return all;
}

void tls_keys_free(struct tls_keys *k)
{
    while (k) {
        struct tls_keys *next = k->next;
        free(k);
        k = next;
    }
}

/* --- keys of a direction ---------------------------------------------------------------------------------------------- */

static int expand(const struct side *s, uint16_t suite, const char *label, uint8_t *to, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char digest[8], prefix[] = "tls13 ";
    snprintf(digest, sizeof(digest), "%s", suite == 0x1302 ? "SHA384" : "SHA256");
    OSSL_PARAM p[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)s->secret, s->secret_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, 6),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)label, strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    int ok = ctx && EVP_KDF_derive(ctx, to, len, p) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok ? 0 : -1;
}

static int side_key(struct side *s, uint16_t suite)
{
    const EVP_CIPHER *cipher = suite == 0x1301   ? EVP_aes_128_gcm()
                               : suite == 0x1302 ? EVP_aes_256_gcm()
                               : suite == 0x1303 ? EVP_chacha20_poly1305()
                                                 : NULL;
    uint8_t key[32];
    EVP_CIPHER_CTX_free(s->aead);
    s->aead = NULL;
    s->seq = 0;
    if (!cipher || !s->secret_len || expand(s, suite, "key", key, (size_t)EVP_CIPHER_get_key_length(cipher)) ||
        expand(s, suite, "iv", s->iv, 12))
        return -1;
    s->aead = EVP_CIPHER_CTX_new();
    return s->aead && EVP_DecryptInit_ex(s->aead, cipher, NULL, key, NULL) == 1 ? 0 : -1;
}

static void side_stage(struct tls_connection *c, int way, int stage)
{
    struct side *s = &c->side[way];
    if (!c->keys || !c->keys->len[stage][way]) {
        s->lost = true;
        return;
    }
    s->secret_len = c->keys->len[stage][way];
    memcpy(s->secret, c->keys->secret[stage][way], s->secret_len);
    s->lost = side_key(s, c->suite) != 0;
}

static void side_update(struct tls_connection *c, struct side *s)
{
    uint8_t next[MOST_SECRET];
    c->counts->updates++;
    s->lost = expand(s, c->suite, "traffic upd", next, s->secret_len) != 0;
    memcpy(s->secret, next, s->secret_len);
    s->lost = s->lost || side_key(s, c->suite);
}

/* --- records ------------------------------------------------------------------------------------------------------------ */

/* ClientHello and ServerHello lie whole at the beginning of a record in practice; others in the clear say nothing. */
static void clear_record(struct tls_connection *c, int way, const uint8_t *p, size_t len)
{
    static const uint8_t retry[4] = {0xcf, 0x21, 0xad, 0x74}; /* HelloRetryRequest's "random" begins so */
    size_t suite = len >= 39 ? 39u + p[38] : len;
    if (len < 39 || suite + 2 > len)
        return;
    if (way == 0 && p[0] == 1) {
        c->keys = c->all;
        while (c->keys && memcmp(c->keys->random, p + 6, 32) != 0)
            c->keys = c->keys->next;
    } else if (way == 1 && p[0] == 2 && memcmp(p + 6, retry, 4) != 0) {
        c->suite = (uint16_t)(p[suite] << 8 | p[suite + 1]);
        side_stage(c, 0, HANDSHAKE_SECRET);
        side_stage(c, 1, HANDSHAKE_SECRET);
    }
}

/* Handshake messages that were sealed: Finished changes to the keys of the traffic, KeyUpdate to the next ones. */
static void handshake(struct tls_connection *c, int way, const uint8_t *p, size_t len)
{
    struct side *s = &c->side[way];
    while (len) {
        if (s->head_have < 4) {
            s->head[s->head_have++] = *p++;
            len--;
            s->skip = (size_t)s->head[1] << 16 | (size_t)s->head[2] << 8 | s->head[3];
        } else {
            size_t n = s->skip < len ? s->skip : len;
            p += n, len -= n, s->skip -= n;
        }
        if (s->head_have < 4 || s->skip)
            continue;
        s->head_have = 0;
        if (s->head[0] == 20)
            side_stage(c, way, TRAFFIC_SECRET);
        else if (s->head[0] == 24)
            side_update(c, s);
    }
}

static int open_record(struct side *s, uint8_t *to, const uint8_t *r, size_t len, size_t *ret_len)
{
    uint8_t nonce[12];
    int n = 0, more = 0;
    memcpy(nonce, s->iv, 12);
    for (int i = 0; i < 8; i++)
        nonce[11 - i] ^= (uint8_t)(s->seq >> 8 * i);
    s->seq++;
    if (len < 5 + 17 || EVP_DecryptInit_ex(s->aead, NULL, NULL, NULL, nonce) != 1 ||
        EVP_DecryptUpdate(s->aead, NULL, &n, r, 5) != 1 ||
        EVP_DecryptUpdate(s->aead, to, &n, r + 5, (int)(len - 5 - 16)) != 1 ||
        EVP_CIPHER_CTX_ctrl(s->aead, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(r + len - 16)) != 1 ||
        EVP_DecryptFinal_ex(s->aead, to + n, &more) != 1)
        return -1;
    *ret_len = (size_t)n + (size_t)more;
    return 0;
}

static void record(struct tls_connection *c, int way, const uint8_t *r, size_t len)
{
    struct side *s = &c->side[way];
    uint8_t text[MOST_RECORD];
    size_t n = 0;
    if (!s->lost && r[0] != 23 && (!s->aead || r[0] == 20)) {
        c->counts->clear += len;
        if (r[0] == 22)
            clear_record(c, way, r + 5, len - 5);
        return;
    }
    if (s->lost || !s->aead || open_record(s, text, r, len, &n)) {
        s->lost = true;
        c->counts->sealed += len;
        return;
    }
    while (n && !text[n - 1])
        n--;
    uint8_t type = n ? text[--n] : 0;
    c->counts->overhead += len - n;
    if (type == 23) {
        c->counts->plain += n;
        c->plain(c->user, way, text, n);
    } else {
        c->counts->inner += n;
        if (type == 22)
            handshake(c, way, text, n);
    }
}

/* The whole length of the record that begins in buf, 0: too little is there, -1: this is no TLS. */
static long record_length(const struct side *s)
{
    if (s->have < 5)
        return 0;
    size_t len = 5 + ((size_t)s->buf[3] << 8 | s->buf[4]);
    if (s->buf[0] < 20 || s->buf[0] > 23 || s->buf[1] != 3 || len > MOST_RECORD)
        return -1;
    return s->have < len ? 0 : (long)len;
}

struct tls_connection *tls_connection_create(const struct tls_keys *keys, struct tls_counts *counts,
    void (*plain)(void *user, int direction, const uint8_t *bytes, size_t len), void *user)
{
    struct tls_connection *c = calloc(1, sizeof(*c));
    if (c) {
        c->all = keys;
        c->counts = counts;
        c->plain = plain;
        c->user = user;
    }
    return c;
}

void tls_connection_feed(struct tls_connection *c, int way, const uint8_t *p, size_t len)
{
    struct side *s = &c->side[way];
    bool tls = s->have != SIZE_MAX;
    while (len && tls) {
        size_t want = s->have < 5 ? 5 : 5 + ((size_t)s->buf[3] << 8 | s->buf[4]);
        size_t n = want - s->have < len ? want - s->have : len;
        memcpy(s->buf + s->have, p, n);
        p += n, len -= n, s->have += n;
        long whole = record_length(s);
        if (whole > 0) {
            record(c, way, s->buf, (size_t)whole);
            s->have = 0;
        } else if (whole < 0) {
            c->counts->sealed += s->have;
            s->have = SIZE_MAX;
            tls = false;
        }
    }
    c->counts->sealed += len;
}

size_t tls_connection_rest(const struct tls_connection *c)
{
    size_t n = 0;
    for (int way = 0; way < 2; way++)
        n += c->side[way].have == SIZE_MAX ? 0 : c->side[way].have;
    return n;
}

void tls_connection_free(struct tls_connection *c)
{
    for (int way = 0; c && way < 2; way++)
        EVP_CIPHER_CTX_free(c->side[way].aead);
    free(c);
}
