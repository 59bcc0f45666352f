/* PFC frames byte for byte (IEEE 802.1Q-2022, 36.2 and table 31A-1 of 802.3), and what is no PFC frame. */
#include "base/test.h"
#include "wire/pfc.h"

/* Priority 3 stops for 65535 quanta, priority 5 goes on. */
static const uint8_t vector[PFC_SIZE] = {
    0x01, 0x80, 0xc2, 0x00, 0x00, 0x01,             /* to: the MAC control multicast */
    0x02, 0x11, 0x22, 0x33, 0x44, 0x55,             /* from */
    0x88, 0x08,                                     /* MAC control */
    0x01, 0x01,                                     /* opcode: priority-based flow control */
    0x00, 0x28,                                     /* priorities enabled: 5 and 3 */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, /* 0, 1, 2, 3 */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 4, 5, 6, 7 */
};

static void is_written_as_the_standard_has_it(void **state)
{
    (void)state;
    static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
    struct pfc p = {.enabled = 1 << 3 | 1 << 5};
    uint8_t frame[PFC_SIZE];
    memset(frame, 0xee, sizeof frame);
    p.quanta[3] = 0xffff;
    pfc_put(frame, mac, &p);
    assert_memory_equal(frame, vector, sizeof frame);
}

static void is_read_as_the_standard_has_it(void **state)
{
    (void)state;
    struct pfc p;
    uint8_t body[PFC_BODY];
    memcpy(body, vector + ETHER_SIZE, sizeof body);
    assert_int_equal(pfc_decode(&p, body, sizeof body), 0);
    assert_int_equal(p.enabled, 0x28);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(p.quanta[i], i == 3 ? 0xffff : 0);
    body[2] = 0x77; /* reserved */
    body[19] = 9;
    assert_int_equal(pfc_decode(&p, body, sizeof body), 0);
    assert_int_equal(p.enabled, 0x28);
    assert_int_equal(p.quanta[7], 9);
}

static void nothing_else_is_taken_for_it(void **state)
{
    (void)state;
    struct pfc p = {.enabled = 0x5a};
    uint8_t body[PFC_BODY];
    memcpy(body, vector + ETHER_SIZE, sizeof body);
    for (size_t len = 0; len < PFC_BODY; len++)
        assert_int_equal(pfc_decode(&p, body, len), -EPROTO);
    body[0] = 0; /* 0x0001: PAUSE of 802.3x */
    assert_int_equal(pfc_decode(&p, body, sizeof body), -EPROTO);
    assert_int_equal(p.enabled, 0x5a); /* untouched */
}

/* A quantum is 512 bit times. */
static void quanta_are_times_of_the_link(void **state)
{
    (void)state;
    assert_int_equal(pfc_ns(1, 1000000000), 512);
    assert_int_equal(pfc_ns(0xffff, 10000000000), 3355392);
    assert_int_equal(pfc_ns(0xffff, 400000000000), 83884);
    assert_int_equal(pfc_ns(0, 400000000000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_written_as_the_standard_has_it),
        cmocka_unit_test(is_read_as_the_standard_has_it),
        cmocka_unit_test(nothing_else_is_taken_for_it),
        cmocka_unit_test(quanta_are_times_of_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
