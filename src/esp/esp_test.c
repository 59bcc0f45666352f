#include "esp/esp.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"
#include "esp/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct ip6 a = {{0xfd, [15] = 1}}, b = {{0xfd, [15] = 2}};

/* Two routers, one VPN (10 here, 20 there), one lane, from a to b. */
struct ends {
    struct esp *at_a, *at_b;
};

static struct esp_sa_config config(uint32_t spi, bool sending, uint8_t key)
{
    struct esp_sa_config c = {.spi = spi,
        .peer = sending ? b : a,
        .vrf = sending ? 10 : 20,
        .lane = 1,
        .sending = sending,
        .key = {key},
        .salt = {9, key}};
    return c;
}

static void begin(struct ends *e)
{
    struct esp_sa_config out = config(0x1234, true, 1), in = config(0x1234, false, 1);
    assert_int_equal(esp_create(&e->at_a, 16), 0);
    assert_int_equal(esp_create(&e->at_b, 16), 0);
    assert_int_equal(esp_install(e->at_a, &out), 0);
    assert_int_equal(esp_install(e->at_b, &in), 0);
}

static void end(struct ends *e)
{
    esp_free(e->at_a);
    esp_free(e->at_b);
}

struct room {
    uint8_t bytes[ESP_HEAD + 2000 + ESP_TAIL_MOST];
};

/* Seals `len` bytes of a pattern; what comes back points at the ESP header inside `r`. */
static struct esp_packet sealed(struct ends *e, struct room *r, uint32_t len, uint8_t pattern)
{
    struct esp_packet p = {
        .sa = esp_sending(e->at_a, &b, 10, 1), .bytes = r->bytes + ESP_HEAD, .len = len, .next = IP_PROTO_IPIP};
    memset(p.bytes, pattern, len);
    esp_seal(e->at_a, &p, 1);
    assert_int_equal(p.verdict, ESP_GOOD);
    assert_ptr_equal(p.bytes, r->bytes);
    assert_int_equal(p.len, len + esp_overhead(len));
    return p;
}

static enum esp_verdict opened(struct ends *e, struct esp_packet *p)
{
    p->peer = &a;
    p->vrf = 20;
    p->sa = NULL;
    esp_open(e->at_b, p, 1);
    return p->verdict;
}

static void test_every_length_comes_back(void **state)
{
    (void)state;
    struct ends e;
    struct room r;
    begin(&e);
    for (uint32_t len = 1; len <= 2000; len += len < 70 ? 1 : 41) {
        struct esp_packet p = sealed(&e, &r, len, (uint8_t)len);
        assert_int_equal(p.len % 4, 0);
        uint8_t clear[16];
        memset(clear, (uint8_t)len, sizeof clear);
        if (len >= sizeof clear)
            assert_memory_not_equal(p.bytes + ESP_HEAD, clear, sizeof clear);
        assert_int_equal(opened(&e, &p), ESP_GOOD);
        assert_int_equal(p.len, len);
        assert_int_equal(p.next, IP_PROTO_IPIP);
        for (uint32_t i = 0; i < len; i++)
            assert_int_equal(p.bytes[i], (uint8_t)len);
    }
    end(&e);
}

static void test_the_form_of_rfc_4303_and_4106(void **state)
{
    (void)state;
    struct ends e;
    struct room r;
    begin(&e);
    sealed(&e, &r, 10, 0);
    struct esp_packet p = sealed(&e, &r, 10, 0);
    assert_int_equal(bytes_get_be32(p.bytes), 0x1234);
    assert_int_equal(bytes_get_be32(p.bytes + 4), 2);
    assert_int_equal(bytes_get_be64(p.bytes + 8), 2);
    assert_int_equal(p.len, 16 + 12 + 16);
    /* Opened by hand: the nonce is salt and IV, the AAD SPI and the whole sequence number. */
    struct aead *aead;
    struct aead_key *k;
    uint8_t key[32] = {1}, aad[12];
    aead_create(&aead);
    aead_key_create(&k, aead, key);
    bytes_put_be32(aad, 0x1234);
    bytes_put_be64(aad + 4, 2);
    struct aead_job j = {.key = k,
        .bytes = p.bytes + 16,
        .len = 12,
        .aad = aad,
        .aad_len = 12,
        .tag = p.bytes + 28,
        .nonce = {9, 1, [11] = 2}};
    aead_open(aead, &j, 1);
    assert_true(j.good);
    assert_int_equal(j.bytes[10], 0);             /* pad length */
    assert_int_equal(j.bytes[11], IP_PROTO_IPIP); /* next header */
    aead_key_free(k);
    aead_free(aead);
    end(&e);
}

static void test_replays_and_overtaking(void **state)
{
    (void)state;
    struct ends e;
    static struct room r[1200], again;
    static struct esp_packet p[1200];
    begin(&e);
    for (int i = 0; i < 1200; i++)
        p[i] = sealed(&e, &r[i], 40, 1);
    again = r[700];
    struct esp_packet copy = p[700];
    copy.bytes = again.bytes;
    assert_int_equal(opened(&e, &p[700]), ESP_GOOD);
    assert_int_equal(opened(&e, &copy), ESP_REPLAYED);
    assert_int_equal(opened(&e, &p[600]), ESP_GOOD); /* overtaken, within the window */
    assert_int_equal(opened(&e, &p[1199]), ESP_GOOD);
    assert_int_equal(opened(&e, &p[1198]), ESP_GOOD);
    end(&e);
}

/* Number 1 behind ESP_WINDOW others, and behind one less. */
static void test_how_far_behind(void **state)
{
    (void)state;
    for (unsigned less = 0; less < 2; less++) {
        struct ends e;
        struct room first, r;
        begin(&e);
        struct esp_packet late = sealed(&e, &first, 40, 1), p;
        for (unsigned i = 0; i < ESP_WINDOW - less; i++)
            p = sealed(&e, &r, 0, 1);
        assert_int_equal(opened(&e, &p), ESP_GOOD);
        /* Too old is read as one of the next 2^32 (RFC 4303 A2.2), for which its ICV is wrong. */
        assert_int_equal(opened(&e, &late), less ? ESP_GOOD : ESP_NOT_AUTHENTIC);
        end(&e);
    }
}

/* The window against the plain list of what has passed. */
static void test_the_window_is_exact(void **state)
{
    (void)state;
    static struct esp_window w;
    enum { NUMBERS = 8 * ESP_WINDOW };
    uint8_t *seen = calloc(1, NUMBERS);
    assert_non_null(seen);
    for (unsigned round = 0; round < 4; round++) {
        uint64_t top = 0, high = round % 2 ? (1ull << 32) - NUMBERS / 2 : 0;
        memset(&w, 0, sizeof w);
        w.next = high + 1;
        memset(seen, 0, NUMBERS);
        for (uint64_t k = 0; k < 400000; k++) {
            uint64_t jump = rng_u64(round, k), n;
            if (jump % 5000 == 0)
                n = top + (jump >> 32) % (round < 2 ? 300 : 2 * ESP_WINDOW); /* ahead */
            else if (jump % 3 == 0)
                n = top + 1;
            else
                n = top - (jump >> 32) % (top < ESP_WINDOW + 200 ? top + 1 : ESP_WINDOW + 200);
            if (n == 0 || n >= NUMBERS)
                continue;
            bool fresh = !seen[n] && (n > top || top + 1 - n <= ESP_WINDOW);
            assert_int_equal(esp_window_pass(&w, high + n), fresh);
            seen[n] |= fresh;
            top = n > top ? n : top;
        }
        assert_true(top > ESP_WINDOW);
    }
    free(seen);
}

static void test_what_must_not_open(void **state)
{
    (void)state;
    struct ends e;
    struct room r;
    struct esp_packet p;
    begin(&e);
    for (unsigned at = 0; at < 60; at++) { /* any byte changed */
        p = sealed(&e, &r, 24, 7);
        p.bytes[at % p.len] ^= 4;
        assert_int_not_equal(opened(&e, &p), ESP_GOOD);
    }
    p = sealed(&e, &r, 24, 7);
    p.peer = &b;
    p.vrf = 20;
    esp_open(e.at_b, &p, 1);
    assert_int_equal(p.verdict, ESP_NO_KEY); /* another sender */
    p = sealed(&e, &r, 24, 7);
    p.peer = &a;
    p.vrf = 21;
    esp_open(e.at_b, &p, 1);
    assert_int_equal(p.verdict, ESP_WRONG_VPN); /* the SID was rewritten on the way */
    for (uint32_t len = 0; len < 36; len++) {
        p = sealed(&e, &r, 24, 7);
        p.len = len;
        assert_int_equal(opened(&e, &p), ESP_MALFORMED);
    }
    p = sealed(&e, &r, 24, 7);
    assert_int_equal(opened(&e, &p), ESP_GOOD); /* none of this has moved the window */
    end(&e);
}

static void test_no_key_means_no_packet(void **state)
{
    (void)state;
    struct ends e;
    struct room r;
    begin(&e);
    assert_null(esp_sending(e.at_a, &b, 11, 1));
    assert_null(esp_sending(e.at_a, &b, 10, 2));
    assert_null(esp_sending(e.at_a, &a, 10, 1));
    assert_int_equal(esp_remove(e.at_a, 0x1234, &b, true), 0);
    assert_null(esp_sending(e.at_a, &b, 10, 1));
    struct esp_packet p = {.sa = NULL, .bytes = r.bytes + ESP_HEAD, .len = 20};
    esp_seal(e.at_a, &p, 1);
    assert_int_equal(p.verdict, ESP_NO_KEY);
    assert_int_equal(esp_remove(e.at_a, 0x1234, &b, true), -ENOENT);
    end(&e);
}

static void test_make_before_break(void **state)
{
    (void)state;
    struct ends e;
    struct room r1, r2;
    begin(&e);
    struct esp_packet before = sealed(&e, &r1, 30, 1);
    struct esp_sa_config in = config(0x9999, false, 2), out = config(0x9999, true, 2);
    assert_int_equal(esp_install(e.at_b, &in), 0);
    assert_int_equal(esp_install(e.at_b, &in), -EEXIST);
    assert_int_equal(esp_install(e.at_a, &out), 0);
    assert_int_equal(esp_remove(e.at_a, 0x1234, &b, true), -ENOENT); /* it is not in use any more */
    struct esp_packet after = sealed(&e, &r2, 30, 1);
    assert_int_equal(bytes_get_be32(after.bytes), 0x9999);
    assert_int_equal(opened(&e, &after), ESP_GOOD);
    assert_int_equal(opened(&e, &before), ESP_GOOD);
    end(&e);
}

static void test_a_batch_of_mixed_packets(void **state)
{
    (void)state;
    struct ends e;
    static struct room r[ESP_BATCH];
    struct esp_packet p[ESP_BATCH];
    begin(&e);
    for (unsigned i = 0; i < ESP_BATCH; i++) {
        p[i] = sealed(&e, &r[i], 20 + i, (uint8_t)i);
        p[i].peer = &a;
        p[i].vrf = i % 5 == 0 ? 99 : 20;
        if (i % 7 == 0)
            p[i].bytes[ESP_HEAD] ^= 1;
    }
    esp_open(e.at_b, p, ESP_BATCH);
    for (unsigned i = 0; i < ESP_BATCH; i++) {
        assert_int_equal(p[i].verdict, i % 5 == 0 ? ESP_WRONG_VPN : i % 7 == 0 ? ESP_NOT_AUTHENTIC : ESP_GOOD);
        if (p[i].verdict == ESP_GOOD)
            assert_int_equal(p[i].bytes[19 + i], i);
    }
    end(&e);
}

static void test_extended_sequence_numbers(void **state)
{
    (void)state;
    /* Against the definition: the number with this low half that is nearest above the window's lower edge. */
    for (uint64_t k = 0; k < 20000; k++) {
        uint64_t next =
            (rng_u64(1, k) & 3) << 32 |
            (k % 2 ? (uint32_t)rng_u64(2, k) : (uint32_t)(rng_u64(2, k) % (4 * ESP_WINDOW) - 2 * ESP_WINDOW));
        uint64_t edge = next > ESP_WINDOW ? next - ESP_WINDOW : 0;
        uint64_t sequence = edge + rng_u64(3, k) % 0x80000000u;
        assert_true(esp_sequence_extend((uint32_t)sequence, next) == sequence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length_comes_back),
        cmocka_unit_test(test_the_form_of_rfc_4303_and_4106),
        cmocka_unit_test(test_replays_and_overtaking),
        cmocka_unit_test(test_how_far_behind),
        cmocka_unit_test(test_the_window_is_exact),
        cmocka_unit_test(test_what_must_not_open),
        cmocka_unit_test(test_no_key_means_no_packet),
        cmocka_unit_test(test_make_before_break),
        cmocka_unit_test(test_a_batch_of_mixed_packets),
        cmocka_unit_test(test_extended_sequence_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
