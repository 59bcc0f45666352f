/* memif's messages byte for byte, as memif 2.0 lays them out. */
#include "wire/memif.h"

#include "base/test.h"

#include <errno.h>
#include <string.h>

static void layout_is_that_of_memif_2(void **state)
{
    uint8_t b[MEMIF_MESSAGE_SIZE];
    memif_encode(b, &(struct memif_message){.type = MEMIF_HELLO, .hello = {"dpdk", 0x0200, 0x0200, 3, 4, 5, 14}});
    assert_memory_equal(b,
        "\x02\x00"
        "dpdk\0",
        7);
    assert_memory_equal(b + 34, "\x00\x02\x00\x02\x03\x00\x04\x00\x05\x00\x0e\x00", 12);
    memif_encode(b, &(struct memif_message){.type = MEMIF_INIT,
                        .init = {.version = 0x0200, .id = 0x01020304, .secret = "s3", .name = "me"}});
    assert_memory_equal(b, "\x03\x00\x00\x02\x04\x03\x02\x01\x00s3\0", 12);
    assert_memory_equal(b + 33, "me\0", 3);
    memif_encode(b, &(struct memif_message){.type = MEMIF_ADD_REGION, .region = {2, 0x0102030405060708}});
    assert_memory_equal(b, "\x04\x00\x02\x00\x08\x07\x06\x05\x04\x03\x02\x01\x00", 13);
    memif_encode(b, &(struct memif_message){.type = MEMIF_ADD_RING, .ring = {1, 2, 3, 0x04050607, 8, 0x090a}});
    assert_memory_equal(b, "\x05\x00\x01\x00\x02\x00\x03\x00\x07\x06\x05\x04\x08\x0a\x09\x00", 16);
    memif_encode(b, &(struct memif_message){.type = MEMIF_CONNECT, .connect = {"if0"}});
    assert_memory_equal(b, "\x06\x00if0\0", 6);
    memif_encode(b, &(struct memif_message){.type = MEMIF_DISCONNECT, .disconnect = {5, "bye"}});
    assert_memory_equal(b,
        "\x08\x00\x05\x00\x00\x00"
        "bye\0",
        10);
}

static void what_is_no_message_is_refused_and_texts_end(void **state)
{
    uint8_t b[MEMIF_MESSAGE_SIZE] = {MEMIF_ACK};
    struct memif_message m;
    assert_int_equal(memif_decode(&m, b, 128), 0);
    assert_int_equal(m.type, MEMIF_ACK);
    assert_int_equal(memif_decode(&m, b, 127), -EPROTO);
    assert_int_equal(memif_decode(&m, b, 0), -EPROTO);
    b[0] = 0;
    assert_int_equal(memif_decode(&m, b, 128), -EPROTO);
    b[0] = 9;
    assert_int_equal(memif_decode(&m, b, 128), -EPROTO);
    memset(b, 'x', sizeof(b));
    b[0] = MEMIF_DISCONNECT;
    b[1] = 0;
    assert_int_equal(memif_decode(&m, b, 128), 0);
    assert_int_equal(strlen(m.disconnect.reason), 96);
    b[0] = MEMIF_INIT;
    assert_int_equal(memif_decode(&m, b, 128), 0);
    assert_int_equal(strlen(m.init.secret), MEMIF_SECRET);
    assert_int_equal(strlen(m.init.name), MEMIF_NAME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_is_that_of_memif_2),
        cmocka_unit_test(what_is_no_message_is_refused_and_texts_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
