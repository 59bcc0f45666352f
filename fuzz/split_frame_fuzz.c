/* Frames as a hostile peer would send them: byte 0 chooses the role, then header and payload. Whatever is accepted must
 * encode to the very bytes it came from, so every byte has exactly one meaning. */
#include "wire/split_payload.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[SPLIT_MAX_PAYLOAD + 64];
static float rows[SPLIT_MAX_PAYLOAD];

static void same(const uint8_t *p, size_t len, size_t n)
{
    if (n != len || memcmp(p, again, n))
        abort();
}

static void check_rows(enum split_role role, const struct split_header *h, const uint8_t *p)
{
    struct split_rows r;
    uint32_t samples[SPLIT_MAX_SAMPLES];
    if (split_rows_decode(&r, role, h, p))
        return;
    memcpy(samples, r.sample_rows, 4 * r.n_samples);
    size_t n = split_rows_encode_start(again, role, &r, samples);
    if (n > h->len || memcmp(p, again, n))
        abort();
    for (uint32_t d = 1; d < 200; d = d * 2 + 1)
        if ((size_t)r.n_here * d <= SPLIT_MAX_PAYLOAD)
            (void)split_rows_unpack(&r, d, rows);
}

#define CHECK(type, decode, ...)                                                                                       \
    do {                                                                                                               \
        type v;                                                                                                        \
        if (!decode(&v, p, h->len))                                                                                    \
            same(p, h->len, __VA_ARGS__);                                                                              \
    } while (0)

static void check(enum split_role role, const struct split_header *h, const uint8_t *p)
{
    bool reply = h->flags & SPLIT_REPLY;
    switch (h->op) {
    case SPLIT_HELLO:
        if (reply)
            CHECK(struct split_hello_reply, split_hello_reply_decode, split_hello_reply_encode(again, &v));
        else
            CHECK(struct split_hello, split_hello_decode, split_hello_encode(again, &v));
        break;
    case SPLIT_INSTALL:
        if (reply) {
            CHECK(struct split_install_reply, split_install_reply_decode, split_install_reply_encode(again, &v));
        } else {
            struct split_install v;
            if (!split_install_decode(&v, p, h->len)) {
                size_t n = split_install_encode_start(again, &v);
                memcpy(again + n, v.bytes, v.n);
                same(p, h->len, n + v.n);
            }
        }
        break;
    case SPLIT_OPEN:
        if (reply)
            CHECK(struct split_open_reply, split_open_reply_decode, split_open_reply_encode(again, &v));
        else
            CHECK(struct split_open, split_open_decode, split_open_encode(again, &v));
        break;
    case SPLIT_FORWARD:
    case SPLIT_BACKWARD:
        check_rows(role, h, p);
        break;
    case SPLIT_STEP:
        if (reply)
            CHECK(struct split_step_reply, split_step_reply_decode, split_step_reply_encode(again, &v));
        else
            CHECK(struct split_step, split_step_decode, split_step_encode(again, &v));
        break;
    case SPLIT_SAVE:
        if (!reply)
            CHECK(struct split_save, split_save_decode, split_save_encode(again, &v));
        break;
    case SPLIT_LOAD:
    case SPLIT_WINDOW:
        CHECK(uint64_t, split_u64_decode, split_u64_encode(again, v));
        break;
    case SPLIT_PING: {
        struct split_ping v;
        if (!split_ping_decode(&v, p, h->len, reply))
            same(p, h->len, split_ping_encode(again, &v, reply));
        break;
    }
    case SPLIT_ERROR:
        CHECK(struct split_error, split_error_decode, split_error_encode(again, v.code, v.text));
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct split_header h;
    if (size < 1 + SPLIT_HEADER || split_header_decode(&h, data + 1, size - 1))
        return 0;
    split_header_encode(again, &h);
    same(data + 1, SPLIT_HEADER, SPLIT_HEADER);
    if (h.len > size - 1 - SPLIT_HEADER)
        return 0;
    uint8_t *exact = malloc(h.len ? h.len : 1); /* so that the sanitizer sees the end */
    memcpy(exact, data + 1 + SPLIT_HEADER, h.len);
    check(data[0] & 1 ? SPLIT_TRAIN : SPLIT_SERVE, &h, exact);
    free(exact);
    return 0;
}
