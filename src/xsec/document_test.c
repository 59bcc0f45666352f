/* docs/wire-xsec.md says what the code does: its certificate, beacon, list and keys, octet for octet, are what fixed seeds give. */
#include "base/hex.h"
#include "base/test.h"
#include "xsec/derive.h"
#include "xsec/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *document(void)
{
    static char text[65536];
    char path[512];
    const char *root = getenv("SOURCE_ROOT");
    snprintf(path, sizeof path, "%s/docs/wire-xsec.md", root ? root : ".");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

/* The octets of the hex block behind a heading; what stands behind # is for people. */
static size_t block(const char *heading, uint8_t *to, size_t most)
{
    const char *at = strstr(document(), heading);
    assert_non_null(at);
    at = strstr(at, "```hex\n");
    assert_non_null(at);
    size_t digits = 0;
    for (at += 7; strncmp(at, "```", 3) != 0; at++) {
        if (*at == '#')
            at += strcspn(at, "\n");
        if (*at == ' ' || *at == '\n')
            continue;
        const char *all = "0123456789abcdef", *d = strchr(all, *at);
        assert_true(d && digits / 2 < most);
        to[digits / 2] = (uint8_t)(digits % 2 ? to[digits / 2] | (d - all) : (d - all) << 4);
        digits++;
    }
    assert_int_equal(digits % 2, 0);
    return digits / 2;
}

static void check(const char *heading, const uint8_t *is, size_t len)
{
    uint8_t says[2048];
    static char hex[4096];
    hex_put(hex, is, len);
    if (block(heading, says, sizeof says) != len || memcmp(says, is, len) != 0)
        fail_msg("docs/wire-xsec.md, %s: the code says %s", heading, hex);
}

struct side {
    struct ed25519 *key;
    uint8_t private[32];
    struct xsec_beacon beacon;
};

static struct side make(struct ed25519 *ca, uint8_t number)
{
    struct side s = {0};
    uint8_t seed[32];
    memset(seed, 0x10 + number, 32);
    memset(s.private, 0x20 + number, 32);
    ed25519_create(&s.key, seed);
    struct xsec_beacon *b = &s.beacon;
    *b = (struct xsec_beacon){.certificate = {.serial = 1800000000 + number,
                                  .pe = {{0xfd, 0, 0x6d, 0x65, [15] = number}},
                                  .not_before = 1800000000,
                                  .not_after = 1831536000,
                                  .name = "pe0",
                                  .n_vpns = 1,
                                  .vpn = {{0, 2, 0xfd, 0xe8, 0, 0, 0, 10}}},
        .vpn = {0, 2, 0xfd, 0xe8, 0, 0, 0, 10},
        .rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, number},
        .next_hop = {{0xfd, 0, 0x6d, 0x65, [15] = number}},
        .service_sid = {{0xfc, 0xbb, 0xbb, 0, 0, number, 0xf0, 0x0a}},
        .generation = 1800000100000 + number,
        .not_before = 1800000100,
        .not_after = 1800003700,
        .suites = 1u << XSEC_AES_256_GCM};
    b->certificate.name[2] = (char)('0' + number);
    memcpy(b->certificate.key, ed25519_public(s.key), 32);
    xsec_certificate_sign(&b->certificate, ca);
    x25519_public(b->key, s.private);
    memset(b->nonce, 0x30 + number, 32);
    return s;
}

static void test_the_examples(void **state)
{
    (void)state;
    struct ed25519 *ca;
    uint8_t seed[32], bytes[XSEC_BEACON_MOST], list[XSEC_REVOCATIONS_MOST];
    memset(seed, 0x01, 32);
    ed25519_create(&ca, seed);
    struct side one = make(ca, 1), two = make(ca, 2);
    struct xsec_revocations r = {.number = 1800000050, .issued = 1800000050, .n = 1, .serial = {1800000009}};
    xsec_revocations_sign(&r, ca);
    struct xsec_carried carried = {list, (uint16_t)xsec_revocations_encode(&r, list)};
    size_t len = xsec_beacon_sign(&one.beacon, &carried, one.key, bytes);
    check("### A beacon, octet for octet", bytes, len);
    struct xsec_beacon again;
    struct xsec_carried got;
    assert_int_equal(xsec_beacon_read(&again, &got, bytes, len, ed25519_public(ca), NULL, 1800000200), XSEC_GOOD);
    /* Keys of lane 2 from one to two, as both have them. */
    struct xsec_pair ours, theirs;
    struct xsec_key out, in;
    uint8_t key[40];
    assert_int_equal(xsec_pair_make(&ours, one.private, &one.beacon, &two.beacon, NULL), 0);
    assert_int_equal(xsec_pair_make(&theirs, two.private, &two.beacon, &one.beacon, NULL), 0);
    assert_int_equal(xsec_key_derive(&out, &ours, true, XSEC_AES_256_GCM, 2), 0);
    assert_int_equal(xsec_key_derive(&in, &theirs, false, XSEC_AES_256_GCM, 2), 0);
    assert_memory_equal(&out, &in, sizeof out);
    memcpy(key, out.key, 32);
    memcpy(key + 32, out.salt, 4);
    for (int i = 0; i < 4; i++)
        key[36 + i] = (uint8_t)(out.spi >> (24 - 8 * i));
    check("### A key, octet for octet", key, sizeof key);
    ed25519_free(one.key);
    ed25519_free(two.key);
    ed25519_free(ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_examples)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
