/* Byte for byte against packets that real adapters sent, and against the layouts of the InfiniBand Architecture. */
#include "wire/roce.h"

#include "base/test.h"

#include <errno.h>
#include <stdlib.h>

/* Captured: a CNP of a ConnectX-4 Lx, and an UC SEND of another adapter (its opcode is none of ours, its ICRC is good). */
static const uint8_t captured_cnp[] = {
    0x45,
    0xc2,
    0x00,
    0x3c,
    0x71,
    0x8c,
    0x40,
    0x00,
    0x40,
    0x11,
    0x91,
    0x61,
    10,
    0,
    17,
    1,
    10,
    0,
    18,
    1,
    0x00,
    0x00,
    0x12,
    0xb7,
    0x00,
    0x28,
    0x00,
    0x00,
    0x81,
    0x00,
    0xff,
    0xff,
    0x40,
    0x00,
    0x01,
    0x18,
    0x00,
    0x00,
    0x00,
    0x00,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0x82,
    0xfd,
    0x00,
    0x2a,
};
static const uint8_t captured_send[] = {
    0x45,
    0x01,
    0x00,
    0x40,
    0x04,
    0x78,
    0x40,
    0x00,
    0x40,
    0x11,
    0xb4,
    0xd5,
    192,
    168,
    0,
    7,
    192,
    168,
    0,
    7,
    0xc0,
    0x00,
    0x12,
    0xb7,
    0x00,
    0x2c,
    0xac,
    0xa2,
    0x24,
    0x60,
    0xff,
    0xff,
    0x00,
    0x00,
    0x00,
    0xd3,
    0x00,
    0xcf,
    0x17,
    0x10,
    'F',
    '0',
    0x81,
    0x8b,
    0xe2,
    0x89,
    '5',
    0xd9,
    0x0e,
    0x9a,
    0x95,
    'P',
    'T',
    0x01,
    0xbe,
    0x88,
    '^',
    'P',
    0x00,
    0x00,
    0x78,
    0xf3,
    0x53,
    0xf3,
};

static void test_icrc_of_real_adapters(void **state)
{
    assert_true(roce_icrc_valid(captured_cnp, sizeof(captured_cnp)));
    assert_true(roce_icrc_valid(captured_send, sizeof(captured_send)));
    struct roce_packet p;
    assert_int_equal(roce_decode(&p, captured_cnp, sizeof(captured_cnp), sizeof(captured_cnp)), 0);
    assert_int_equal(p.opcode, ROCE_CNP);
    assert_true(p.becn);
    assert_int_equal(p.qp, 0x118);
    assert_int_equal(p.dscp, 48);
    assert_int_equal(p.ecn, ROCE_ECT0);
    assert_int_equal(roce_size(&p), sizeof(captured_cnp));
    assert_int_equal(roce_decode(&p, captured_send, sizeof(captured_send), sizeof(captured_send)), -ENOTSUP);
}

static struct roce_packet sample(uint8_t family, enum roce_opcode opcode, uint32_t payload)
{
    struct roce_packet p = {
        .src = {family, {{10, 0, 0, 1}}},
        .dst = {family, {{10, 0, 0, 2}}},
        .dscp = 26,
        .ecn = ROCE_ECT0,
        .hops = 64,
        .src_port = 0xc123,
        .opcode = opcode,
        .ack_request = true,
        .pkey = 0xffff,
        .qp = 0xabcdef,
        .psn = 0x123456,
        .payload = payload,
    };
    if (family == IP_V6) {
        p.src.a.b[15] = 1;
        p.dst.a.b[15] = 2;
        p.flow_label = 0x54321;
    }
    if (opcode == ROCE_WRITE_FIRST || opcode == ROCE_WRITE_ONLY) {
        p.address = 0x1122334455667788;
        p.key = 0x99aabbcc;
        p.size = opcode == ROCE_WRITE_ONLY ? payload : 100000;
    }
    if (opcode == ROCE_ACKNOWLEDGE) {
        p.syndrome = ROCE_NAK_SEQUENCE;
        p.msn = 0x000102;
    }
    p.becn = opcode == ROCE_CNP;
    return p;
}

/* A whole packet at buf; returns its length. */
static uint32_t build(uint8_t *buf, const struct roce_packet *p)
{
    uint32_t n = roce_put(buf, p), len = roce_size(p);
    for (uint32_t i = n; i < len; i++)
        buf[i] = (uint8_t)i;
    roce_icrc_put(buf, len);
    return len;
}

static void test_layout_of_a_write(void **state)
{
    static const uint8_t expected[] = {
        0x45, 0x6a, 0x00, 20 + 8 + 12 + 16 + 8 + 4, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x26, 0x3d, /* IPv4 */
        10, 0, 0, 1, 10, 0, 0, 2,                                                                   /* addresses */
        0xc1, 0x23, 0x12, 0xb7, 0x00, 8 + 12 + 16 + 8 + 4, 0x00, 0x00,                              /* UDP */
        0x0a, 0x10, 0xff, 0xff, 0x00, 0xab, 0xcd, 0xef, 0x80, 0x12, 0x34, 0x56,                     /* BTH, pad 1 */
        0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0, 0, 0, 7,         /* RETH */
    };
    uint8_t buf[128];
    struct roce_packet p = sample(IP_V4, ROCE_WRITE_ONLY, 7);
    assert_int_equal(build(buf, &p), sizeof(expected) + 8 + 4);
    assert_memory_equal(buf, expected, sizeof(expected));
}

static void test_layout_of_an_answer_over_ipv6(void **state)
{
    static const uint8_t expected[] = {
        0x66, 0xa5, 0x43, 0x21, 0x00, 8 + 12 + 4 + 4, 17, 64,                   /* IPv6 */
        10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,                        /* source */
        10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,                        /* destination */
        0xc1, 0x23, 0x12, 0xb7, 0x00, 8 + 12 + 4 + 4, 0x00, 0x00,               /* UDP */
        0x11, 0x00, 0xff, 0xff, 0x00, 0xab, 0xcd, 0xef, 0x80, 0x12, 0x34, 0x56, /* BTH */
        0x60, 0x00, 0x01, 0x02,                                                 /* AETH */
    };
    uint8_t buf[128];
    struct roce_packet p = sample(IP_V6, ROCE_ACKNOWLEDGE, 0);
    assert_int_equal(build(buf, &p), sizeof(expected) + 4);
    assert_memory_equal(buf, expected, sizeof(expected));
}

static const struct {
    enum roce_opcode opcode;
    uint32_t payload;
} kinds[] = {
    {ROCE_WRITE_FIRST, 4096},
    {ROCE_WRITE_MIDDLE, 1024},
    {ROCE_WRITE_LAST, 1},
    {ROCE_WRITE_LAST, 1022},
    {ROCE_WRITE_ONLY, 0},
    {ROCE_WRITE_ONLY, 63},
    {ROCE_ACKNOWLEDGE, 0},
    {ROCE_CNP, 0},
};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

static void test_what_goes_out_comes_in(void **state)
{
    static uint8_t buf[5000];
    for (unsigned i = 0; i < 2 * KINDS; i++) {
        struct roce_packet p = sample(i & 1 ? IP_V6 : IP_V4, kinds[i / 2].opcode, kinds[i / 2].payload), got;
        uint32_t len = build(buf, &p);
        assert_int_equal(len, roce_size(&p));
        assert_true(roce_icrc_valid(buf, len));
        assert_int_equal(roce_decode(&got, buf, len, len), 0);
        assert_memory_equal(&got, &p, sizeof(p));
        assert_int_equal(roce_decode(&got, buf, len, len + 6), 0); /* Ethernet's padding behind it */
        assert_int_equal(roce_size(&got), len);
        assert_int_equal(roce_decode(&got, buf, roce_headers_size(&p), len), 0); /* headers alone */
        assert_memory_equal(&got, &p, sizeof(p));
    }
}

static void test_a_cut_packet_is_refused(void **state)
{
    static uint8_t buf[5000];
    for (unsigned i = 0; i < 2 * KINDS; i++) {
        struct roce_packet p = sample(i & 1 ? IP_V6 : IP_V4, kinds[i / 2].opcode, kinds[i / 2].payload), got;
        uint32_t len = build(buf, &p);
        for (uint32_t n = 0; n < len; n++) {
            uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a byte too far */
            memcpy(exact, buf, n);
            assert_int_not_equal(roce_decode(&got, exact, n, n), 0);
            free(exact);
        }
        for (uint32_t n = 0; n < roce_headers_size(&p); n++)
            assert_int_not_equal(roce_decode(&got, buf, n, len), 0);
    }
}

static int decode_with(const struct roce_packet *p, uint32_t at, uint8_t value)
{
    static uint8_t buf[5000];
    struct roce_packet got;
    uint32_t len = build(buf, p);
    buf[at] = value;
    return roce_decode(&got, buf, len, len);
}

static void test_what_does_not_fit_is_refused(void **state)
{
    struct roce_packet p4 = sample(IP_V4, ROCE_WRITE_ONLY, 6), p6 = sample(IP_V6, ROCE_WRITE_ONLY, 6);
    assert_int_equal(decode_with(&p4, 0, 0x46), -ENOENT);               /* IPv4 options */
    assert_int_equal(decode_with(&p4, 6, 0x20), -ENOENT);               /* a fragment */
    assert_int_equal(decode_with(&p4, IP4_PROTO, 6), -ENOENT);          /* TCP */
    assert_int_equal(decode_with(&p4, IP4_TTL, 63), -EPROTO);           /* header checksum */
    assert_int_equal(decode_with(&p6, IP6_NEXT, 0), -ENOENT);           /* hop-by-hop options */
    assert_int_equal(decode_with(&p6, 40 + 3, 0), -ENOENT);             /* another port */
    assert_int_equal(decode_with(&p6, 40 + 5, 1), -EPROTO);             /* UDP length */
    assert_int_equal(decode_with(&p6, IP6_LEN + 1, 255), -EPROTO);      /* longer than there is */
    assert_int_equal(decode_with(&p6, 48 + 1, 0x21), -EPROTO);          /* transport version 1 */
    assert_int_equal(decode_with(&p6, 48 + 1, 0x30), -EPROTO);          /* another pad than RETH says */
    assert_int_equal(decode_with(&p6, 48, 0x04), -ENOTSUP);             /* SEND ONLY */
    assert_int_equal(decode_with(&p6, 48, ROCE_WRITE_LAST), 0);         /* (the RETH is payload then) */
    assert_int_equal(decode_with(&p6, 48, ROCE_WRITE_MIDDLE), -EPROTO); /* padded */
    assert_int_equal(decode_with(&p6, 48, ROCE_ACKNOWLEDGE), -EPROTO);  /* with payload */
    struct roce_packet first = sample(IP_V6, ROCE_WRITE_FIRST, 1024);
    first.size = 1024;
    assert_int_equal(decode_with(&first, 0, 0x66), -EPROTO); /* nothing left for the packets after the first */
}

static void test_icrc_ignores_what_routers_change_and_nothing_else(void **state)
{
    for (int family = IP_V4; family <= IP_V6; family += 2) {
        uint8_t buf[256];
        struct roce_packet p = sample((uint8_t)family, ROCE_WRITE_ONLY, 41);
        uint32_t len = build(buf, &p), udp = family == IP_V4 ? IP4_SIZE : IP6_SIZE;
        for (uint32_t at = 0; at < len; at++)
            for (int bit = 0; bit < 8; bit++) {
                bool mutable4 = at == IP4_TOS || at == IP4_TTL || at == IP4_SUM || at == IP4_SUM + 1;
                bool mutable6 = (at == 0 && bit < 4) || (at > 0 && at < 4) || at == IP6_HOPS;
                bool mutable_ =
                    (family == IP_V4 ? mutable4 : mutable6) || at == udp + 6 || at == udp + 7 || at == udp + 12;
                if (at == 0 && bit >= 4)
                    continue; /* the version decides how the rest is read */
                buf[at] ^= (uint8_t)(1 << bit);
                assert_int_equal(roce_icrc_valid(buf, len), mutable_);
                buf[at] ^= (uint8_t)(1 << bit);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_icrc_of_real_adapters),
        cmocka_unit_test(test_layout_of_a_write),
        cmocka_unit_test(test_layout_of_an_answer_over_ipv6),
        cmocka_unit_test(test_what_goes_out_comes_in),
        cmocka_unit_test(test_a_cut_packet_is_refused),
        cmocka_unit_test(test_what_does_not_fit_is_refused),
        cmocka_unit_test(test_icrc_ignores_what_routers_change_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
