#include "wire/sequence.h"

void sequence_encode(uint8_t *to, uint8_t next, uint8_t type, uint32_t epoch, uint64_t number)
{
    to[0] = next;
    to[1] = SEQUENCE_SIZE / 8 - 1;
    to[2] = type;
    to[3] = SEQUENCE_DATA;
    bytes_put_be32(to + SEQUENCE_EPOCH_AT, epoch);
    bytes_put_be64(to + SEQUENCE_NUMBER_AT, number);
}

static enum hbh_verdict unknown(uint8_t type)
{
    static const enum hbh_verdict of_action[4] = {HBH_OK, HBH_DISCARD, HBH_PROBLEM, HBH_PROBLEM_UNICAST};
    return of_action[type >> 6];
}

static enum hbh_verdict ours(struct sequence *s, const uint8_t *data, uint8_t len)
{
    if (s->has || len != SEQUENCE_DATA)
        return HBH_MALFORMED;
    s->has = true;
    s->epoch = bytes_get_be32(data);
    s->number = bytes_get_be64(data + 4);
    return s->number ? HBH_OK : HBH_MALFORMED;
}

enum hbh_verdict sequence_parse(struct sequence *ret, uint32_t *ret_at, const uint8_t *p, size_t len, uint8_t type)
{
    struct sequence s = {0};
    size_t at = 2;
    *ret_at = 0;
    if (len < 8 || len < 8 + 8 * (size_t)p[1])
        return HBH_MALFORMED;
    s.next = p[0];
    s.size = (uint16_t)(8 + 8 * p[1]);
    for (unsigned n = 0; at < s.size; n++) {
        *ret_at = (uint32_t)at;
        if (n == HBH_OPTIONS_MOST)
            return HBH_MALFORMED;
        if (p[at] == HBH_PAD1) {
            at++;
            continue;
        }
        if (at + 2 > s.size || at + 2 + p[at + 1] > s.size)
            return HBH_MALFORMED;
        enum hbh_verdict v = p[at] == type       ? ours(&s, p + at + 2, p[at + 1])
                             : p[at] == HBH_PADN ? HBH_OK
                                                 : unknown(p[at]);
        if (v != HBH_OK)
            return v;
        at += 2 + (size_t)p[at + 1];
    }
    *ret = s;
    return HBH_OK;
}
