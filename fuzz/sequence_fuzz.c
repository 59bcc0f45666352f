/* Destination Options headers as any router may send them: nothing is read beyond the bytes, and what is accepted lies within
 * them and can be written again. Behind it the eliminator, with epochs, numbers, paths and times as the bytes have them: what it
 * holds stays within its bounds and comes out once and in order. */
#include "lane/duplicate.h"
#include "wire/sequence.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void header(const uint8_t *data, size_t size)
{
    struct sequence s = {0}, again;
    uint32_t at;
    uint8_t to[SEQUENCE_SIZE], *exact = malloc(size ? size : 1); /* so that the sanitizer sees the end */
    memcpy(exact, data, size);
    if (sequence_parse(&s, &at, exact, size, SEQUENCE_DEFAULT) == HBH_OK) {
        must(s.size <= size && s.size % 8 == 0 && (!s.has || s.number));
        sequence_encode(to, s.next, SEQUENCE_DEFAULT, s.epoch, s.number);
        if (s.has)
            must(sequence_parse(&again, &at, to, sizeof to, SEQUENCE_DEFAULT) == HBH_OK && again.number == s.number &&
                 again.epoch == s.epoch && again.next == s.next);
    } else {
        must(at < size || size < 8);
    }
    free(exact);
}

struct out {
    uint64_t last;
    uint32_t epoch;
};

/* An item is epoch << 32 | low bits of the number. */
static void deliver(struct out *o, uint64_t item, uint64_t number)
{
    uint32_t epoch = (uint32_t)(item >> 32);
    must((uint32_t)number == (uint32_t)item && (epoch != o->epoch || number > o->last));
    *o = (struct out){number, epoch};
}

static void one(struct duplicate *d, struct out *o, const uint8_t *p, uint64_t base, int64_t now)
{
    uint32_t epoch = 1 + (p[0] >> 1 & 3);
    uint64_t item, number = (p[0] & 0x80 ? base : 0) + 1 + ((uint64_t)(p[1] & 3) << 8 | p[2]);
    uint64_t name = (uint64_t)epoch << 32 | (uint32_t)number;
    if (duplicate_is_new(d, epoch)) {
        while ((item = (uintptr_t)duplicate_flush(d)))
            deliver(o, item, d->next - 1);
        duplicate_begin(d, epoch, number);
        o->epoch = 0;
    }
    if (duplicate_arrive(d, epoch, number, p[0] & 1, 1 + (p[0] >> 4 & 3), (void *)(uintptr_t)name, now) ==
        DUPLICATE_DELIVER)
        deliver(o, name, number);
    while ((item = (uintptr_t)duplicate_next(d, now)))
        deliver(o, item, d->next - 1);
}

/* Four bytes a packet: epoch, path and cells; number; time since the last one. */
static void stream(const uint8_t *data, size_t size)
{
    enum { WINDOW = 64, CELLS = 40 };
    struct duplicate d;
    struct out o = {0};
    int64_t now = 0;
    uint64_t base = size ? (uint64_t)data[0] << 55 : 0;
    void *memory = calloc(1, duplicate_memory(WINDOW));
    must(memory != NULL);
    duplicate_init(&d, &(struct duplicate_limits){WINDOW, CELLS, 1000000}, memory);
    for (size_t i = 1; i + 4 <= size; i += 4) {
        now += (int64_t)data[i + 3] * 10000;
        one(&d, &o, data + i, base, now);
        must(duplicate_check(&d) == 0 && (!d.held || duplicate_deadline(&d) > now));
    }
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    header(data, size);
    stream(data, size);
    return 0;
}
