/* IPFIX on the wire: RFC 7011's own examples both ways, what the writer writes is what the reader reads, and what breaks
 * the rules is refused. */
#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"
#include "wire/ipfix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* RFC 7011, Appendix A.1 to A.5: a template, its data set, an options template, its data set. */
static const uint8_t rfc_example[] = {
    0x00, 0x0a, 0x00, 0x98, 0x5f, 0x5e, 0x10, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x2a, /* header */
    0x00, 0x02, 0x00, 0x1c, 0x01, 0x00, 0x00, 0x05, 0x00, 0x08, 0x00, 0x04, 0x00, 0x0c, 0x00, 0x04, /* template */
    0x00, 0x0f, 0x00, 0x04, 0x00, 0x02, 0x00, 0x04, 0x00, 0x01, 0x00, 0x04,                         /* 256 */
    0x01, 0x00, 0x00, 0x40,                                                                         /* data */
    0xc0, 0x00, 0x02, 0x0c, 0xc0, 0x00, 0x02, 0xfe, 0xc0, 0x00, 0x02, 0x01, 0x00, 0x00, 0x13, 0x91, /* 5009 */
    0x00, 0x51, 0x8c, 0x81, 0xc0, 0x00, 0x02, 0x1b, 0xc0, 0x00, 0x02, 0x17, 0xc0, 0x00, 0x02, 0x02, /* 5344385 */
    0x00, 0x00, 0x02, 0xec, 0x00, 0x05, 0xef, 0x46, 0xc0, 0x00, 0x02, 0x38, 0xc0, 0x00, 0x02, 0x41, /* 748, 388934 */
    0xc0, 0x00, 0x02, 0x03, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x19, 0x86,                         /* 5, 6534 */
    0x00, 0x03, 0x00, 0x18, 0x01, 0x02, 0x00, 0x03, 0x00, 0x01, 0x00, 0x8d, 0x00, 0x04, 0x00, 0x29, /* options 258 */
    0x00, 0x02, 0x00, 0x2a, 0x00, 0x02, 0x00, 0x00,                                                 /* padded by 2 */
    0x01, 0x02, 0x00, 0x14, 0x00, 0x00, 0x00, 0x01, 0x01, 0x59, 0x27, 0x61, 0x00, 0x00, 0x00, 0x02, /* 1: 345, 10081 */
    0x02, 0x72, 0x42, 0x60,                                                                         /* 2: 626, 16992 */
};

struct seen {
    unsigned n;
    struct {
        uint16_t template_id;
        unsigned n, scope;
        uint32_t enterprise[IPFIX_FIELDS_MOST];
        uint16_t id[IPFIX_FIELDS_MOST], len[IPFIX_FIELDS_MOST];
        uint64_t value[IPFIX_FIELDS_MOST];
        char text[64]; /* the last value that is no integer */
    } record[64];
};

static void see(
    void *user, const struct ipfix_header *h, const struct ipfix_known *of, const struct ipfix_value *v, unsigned n)
{
    struct seen *s = user;
    assert_true(s->n < 64);
    s->record[s->n].template_id = of->id;
    s->record[s->n].n = n;
    s->record[s->n].scope = of->scope;
    for (unsigned i = 0; i < n; i++) {
        s->record[s->n].enterprise[i] = v[i].field->enterprise;
        s->record[s->n].id[i] = v[i].field->id;
        s->record[s->n].len[i] = v[i].len;
        s->record[s->n].value[i] = ipfix_uint(&v[i]);
        if (v[i].field->len == IPFIX_VARIABLE && v[i].len < sizeof s->record[s->n].text)
            memcpy(s->record[s->n].text, v[i].bytes, v[i].len);
    }
    s->n++;
}

static struct ipfix_session *session(bool reliable)
{
    struct ipfix_session *s = NULL;
    assert_int_equal(ipfix_session_create(&s, reliable, 8), 0);
    return s;
}

static void reads_the_rfcs_examples(void **state)
{
    struct ipfix_session *s = session(true);
    struct seen seen = {0};
    assert_int_equal(ipfix_message_length(rfc_example, 16), sizeof rfc_example);
    assert_int_equal(ipfix_read(s, rfc_example, sizeof rfc_example, see, &seen), 0);
    assert_int_equal(seen.n, 5);
    assert_int_equal(seen.record[0].value[0], 0xc000020c);
    assert_int_equal(seen.record[0].value[3], 5009);
    assert_int_equal(seen.record[1].value[4], 388934);
    assert_int_equal(seen.record[2].id[2], 15);
    assert_int_equal(seen.record[3].scope, 1);
    assert_int_equal(seen.record[3].value[1], 345);
    assert_int_equal(seen.record[4].value[2], 16992);
    assert_int_equal(s->missing, 0);
    ipfix_session_free(s);
}

/* The same message but for the padding of the options template, which we do not write. */
static void writes_the_rfcs_examples(void **state)
{
    static const struct ipfix_field flow[] = {{0, 8, 4}, {0, 12, 4}, {0, 15, 4}, {0, 2, 4}, {0, 1, 4}};
    static const struct ipfix_field card[] = {{0, 141, 4}, {0, 41, 2}, {0, 42, 2}};
    static const uint32_t flows[3][5] = {
        {0xc000020c, 0xc00002fe, 0xc0000201, 5009, 5344385},
        {0xc000021b, 0xc0000217, 0xc0000202, 748, 388934},
        {0xc0000238, 0xc0000241, 0xc0000203, 5, 6534},
    };
    uint8_t bytes[400], want[sizeof rfc_example];
    struct ipfix_writer w;
    ipfix_begin(&w, bytes, sizeof bytes);
    assert_int_equal(ipfix_put_template(&w, &(struct ipfix_template){256, 5, 0, flow}), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ipfix_record(&w, 256, 20), 0);
        for (unsigned k = 0; k < 5; k++)
            ipfix_put(&w, flows[i][k], 4);
    }
    assert_int_equal(ipfix_put_template(&w, &(struct ipfix_template){258, 3, 1, card}), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(ipfix_record(&w, 258, 8), 0);
        ipfix_put(&w, 1 + i, 4);
        ipfix_put(&w, i ? 626 : 345, 2);
        ipfix_put(&w, i ? 16992 : 10081, 2);
    }
    assert_int_equal(ipfix_end(&w, 0x5f5e1000, 7, 42), sizeof rfc_example - 2);
    size_t options = 16 + 28 + 64;
    memcpy(want, rfc_example, sizeof want);
    memmove(want + options + 22, want + options + 24, sizeof want - options - 24);
    bytes_put_be16(want + 2, sizeof want - 2);
    bytes_put_be16(want + options + 2, 22);
    assert_memory_equal(bytes, want, sizeof want - 2);
    assert_int_equal(w.records, 5);
}

static const struct ipfix_field mixed[] = {{0, 10, 4}, {32473, 5, 8}, {0, 82, IPFIX_VARIABLE}, {32473, 9, 3}};
static const struct ipfix_template mixed_template = {300, 4, 2, mixed};

static size_t write_mixed(uint8_t *bytes, size_t cap, unsigned records, const char *name, uint32_t sequence)
{
    struct ipfix_writer w;
    ipfix_begin(&w, bytes, cap);
    assert_int_equal(ipfix_put_template(&w, &mixed_template), 0);
    for (unsigned i = 0; i < records; i++) {
        assert_int_equal(ipfix_record(&w, 300, 4 + 8 + 1 + strlen(name) + 3), 0);
        ipfix_put(&w, i, 4);
        ipfix_put(&w, 0x0123456789abcdef + i, 8);
        ipfix_put_string(&w, name);
        ipfix_put(&w, 0xfffffe, 3);
    }
    return ipfix_end(&w, 1, sequence, 5);
}

static void reads_what_it_writes(void **state)
{
    uint8_t bytes[2000];
    struct ipfix_session *s = session(true);
    struct seen seen = {0};
    size_t len = write_mixed(bytes, sizeof bytes, 7, "link-to-the-north", 0);
    assert_int_equal(ipfix_read(s, bytes, len, see, &seen), 0);
    assert_int_equal(seen.n, 7);
    assert_int_equal(seen.record[6].scope, 2);
    assert_int_equal(seen.record[6].value[0], 6);
    assert_int_equal(seen.record[6].enterprise[1], 32473);
    assert_true(seen.record[6].value[1] == 0x0123456789abcdef + 6);
    assert_string_equal(seen.record[6].text, "link-to-the-north");
    assert_int_equal(seen.record[6].value[3], 0xfffffe);
    ipfix_session_free(s);
}

static void full_is_full(void **state)
{
    uint8_t bytes[100], before[100];
    struct ipfix_writer w;
    ipfix_begin(&w, bytes, 60); /* header 16, options template 4 + 6 + 4 + 8 + 4 + 8 = 34: 10 are left */
    assert_int_equal(ipfix_put_template(&w, &mixed_template), 0);
    memcpy(before, bytes, sizeof before);
    assert_int_equal(ipfix_record(&w, 300, 7), -ENOSPC);
    assert_int_equal(ipfix_put_template(&w, &mixed_template), -ENOSPC);
    assert_memory_equal(bytes, before, sizeof before);
    assert_int_equal(ipfix_record(&w, 300, 6), 0);
    ipfix_put_bytes(&w, "123456", 6);
    assert_int_equal(ipfix_end(&w, 1, 1, 1), 60);
    ipfix_begin(&w, bytes, 60);
    assert_int_equal(ipfix_end(&w, 1, 1, 1), 0);
}

static void long_strings_and_long_forms(void **state)
{
    uint8_t bytes[2000];
    char name[400];
    struct ipfix_session *s = session(true);
    struct seen seen = {0};
    memset(name, 'x', 399);
    name[399] = 0;
    assert_int_equal(ipfix_read(s, bytes, write_mixed(bytes, sizeof bytes, 1, name, 0), see, &seen), 0);
    assert_int_equal(seen.record[0].len[2], 254); /* cut */
    /* Lengths from 255 on take three bytes (RFC 7011, 7); they may also be used for short ones. */
    static const uint8_t form[] = {0, 10, 0, 38, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1, 44, 0, 22, 0, 0, 0, 9, 1, 2, 3,
        4, 5, 6, 7, 8, 255, 0, 0, 9, 9, 9};
    assert_int_equal(ipfix_read(s, form, sizeof form, see, &seen), 0);
    assert_int_equal(seen.n, 2);
    assert_int_equal(seen.record[1].len[2], 0);
    assert_int_equal(seen.record[1].value[3], 0x090909);
    ipfix_session_free(s);
}

static void times_come_back(void **state)
{
    uint8_t bytes[100];
    struct ipfix_writer w;
    const struct ipfix_field f = {0, 325, 8};
    ipfix_begin(&w, bytes, sizeof bytes);
    for (unsigned i = 0; i < 10000; i++) {
        int64_t ns = i < 2 ? i : i < 10 ? 1700000000999999991 + i : (int64_t)(rng_u64(1, i) % 2000000000000000000u);
        w.len = IPFIX_HEADER;
        ipfix_put_ntp(&w, ns);
        struct ipfix_value v = {&f, bytes + IPFIX_HEADER, 8};
        assert_int_equal(ipfix_unix_ns(&v), ns);
    }
    assert_int_equal(ipfix_unix_ns(NULL), 0);
    assert_int_equal(ipfix_uint(NULL), 0);
}

static void sequence_numbers_tell_what_is_missing(void **state)
{
    uint8_t bytes[1000];
    struct ipfix_session *s = session(false);
    struct seen seen = {0};
    ipfix_read(s, bytes, write_mixed(bytes, sizeof bytes, 3, "a", 100), see, &seen);
    ipfix_read(s, bytes, write_mixed(bytes, sizeof bytes, 2, "a", 103), see, &seen);
    assert_int_equal(s->missing, 0);
    ipfix_read(s, bytes, write_mixed(bytes, sizeof bytes, 1, "a", 110), see, &seen);
    assert_int_equal(s->missing, 5);
    ipfix_read(s, bytes, write_mixed(bytes, sizeof bytes, 1, "a", 104), see, &seen); /* overtaken */
    assert_int_equal(s->missing, 5);
    assert_int_equal(s->records, 7);
    ipfix_session_free(s);
}

/* --- templates over time ------------------------------------------------------------------------------------------ */

static size_t message(uint8_t *bytes, const uint8_t *sets, size_t len)
{
    memset(bytes, 0, IPFIX_HEADER);
    bytes_put_be16(bytes, IPFIX_VERSION);
    bytes_put_be16(bytes + 2, (uint16_t)(IPFIX_HEADER + len));
    memcpy(bytes + IPFIX_HEADER, sets, len);
    return IPFIX_HEADER + len;
}

#define READ(s, seen, ...)                                                                                             \
    ipfix_read(                                                                                                        \
        s, bytes, message(bytes, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})), see, seen)

#define TEMPLATE(id, element, len) 0, 2, 0, 12, 1, id, 0, 1, 0, element, 0, len

static void templates_are_withdrawn_and_replaced(void **state)
{
    uint8_t bytes[200];
    struct seen seen = {0};
    struct ipfix_session *s = session(true);
    assert_int_equal(READ(s, &seen, TEMPLATE(0, 1, 2)), 0);
    assert_int_equal(READ(s, &seen, TEMPLATE(0, 1, 2)), 0);        /* the same again */
    assert_int_equal(READ(s, &seen, TEMPLATE(0, 1, 4)), -EBADMSG); /* another one, not withdrawn */
    assert_int_equal(READ(s, &seen, 1, 0, 0, 6, 7, 8), 0);
    assert_int_equal(seen.record[0].value[0], 0x0708);
    assert_int_equal(READ(s, &seen, 0, 2, 0, 8, 1, 0, 0, 0), 0);
    assert_int_equal(READ(s, &seen, 1, 0, 0, 6, 7, 8), 0);
    assert_int_equal(s->unknown, 1);
    assert_int_equal(READ(s, &seen, TEMPLATE(0, 1, 4), TEMPLATE(1, 1, 4)), 0);
    assert_int_equal(READ(s, &seen, 0, 2, 0, 8, 0, 2, 0, 0), 0); /* all of them */
    assert_int_equal(READ(s, &seen, 1, 1, 0, 8, 7, 8, 7, 8), 0);
    assert_int_equal(s->unknown, 2);
    ipfix_session_free(s);

    s = session(false);
    assert_int_equal(READ(s, &seen, TEMPLATE(0, 1, 2)), 0);
    assert_int_equal(READ(s, &seen, TEMPLATE(0, 1, 4)), 0);
    assert_int_equal(READ(s, &seen, 1, 0, 0, 8, 0, 0, 1, 2), 0);
    assert_int_equal(seen.record[1].value[0], 0x0102);
    assert_int_equal(READ(s, &seen, 0, 2, 0, 8, 1, 0, 0, 0), -EBADMSG);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(READ(s, &seen, TEMPLATE(i, 1, 4)), 0);
    assert_int_equal(s->refused, 12); /* 8 fit */
    ipfix_session_free(s);
}

static void what_breaks_the_rules_is_refused(void **state)
{
    uint8_t bytes[200];
    struct seen seen = {0};
    struct ipfix_session *s = session(true);
    assert_int_equal(READ(s, &seen, TEMPLATE(0, 1, 4)), 0);
    assert_int_equal(READ(s, &seen, 0, 2, 0, 12, 0, 255, 0, 1, 0, 1, 0, 4), -EBADMSG); /* id of a set */
    assert_int_equal(READ(s, &seen, 0, 2, 0, 12, 1, 9, 0, 2, 0, 1, 0, 4), -EBADMSG);   /* a field is missing */
    assert_int_equal(READ(s, &seen, 0, 2, 0, 12, 1, 9, 0, 1, 0, 1, 0, 0), -EBADMSG);   /* of no length */
    assert_int_equal(READ(s, &seen, 0, 2, 0, 12, 1, 9, 0, 1, 0, 0, 0, 4), -EBADMSG);   /* of no element */
    assert_int_equal(READ(s, &seen, 0, 2, 0, 16, 1, 9, 0, 1, 128, 1, 0, 4, 0, 0, 0, 0), -EBADMSG); /* enterprise 0 */
    assert_int_equal(READ(s, &seen, 0, 3, 0, 14, 1, 9, 0, 1, 0, 0, 0, 1, 0, 4), -EBADMSG);         /* no scope */
    assert_int_equal(READ(s, &seen, 0, 3, 0, 14, 1, 9, 0, 1, 0, 2, 0, 1, 0, 4), -EBADMSG); /* more scope than fields */
    assert_int_equal(READ(s, &seen, 0, 4, 0, 8, 1, 1, 1, 1), -EBADMSG);                    /* a set of no kind */
    assert_int_equal(READ(s, &seen, 1, 0, 0, 4), -EBADMSG);                                /* an empty set */
    assert_int_equal(READ(s, &seen, 1, 0, 0, 7, 1, 1, 1), -EBADMSG);                       /* too short a record */
    assert_int_equal(READ(s, &seen, 1, 0, 0, 11, 1, 1, 1, 1, 0, 0, 7), -EBADMSG);          /* padding of no zeros */
    assert_int_equal(READ(s, &seen, 1, 0, 0, 12, 1, 1, 1, 1), -EBADMSG);                   /* beyond the message */
    assert_int_equal(READ(s, &seen, 1, 0, 0, 3), -EBADMSG);
    assert_int_equal(READ(s, &seen, 1, 0, 0), -EBADMSG);
    assert_int_equal(READ(s, &seen, 1, 0, 0, 11, 1, 1, 1, 1, 0, 0, 0), 0);
    size_t len = message(bytes, (const uint8_t[]){1, 0, 0, 8, 1, 1, 1, 1}, 8);
    bytes[1] = 9; /* NetFlow */
    assert_int_equal(ipfix_read(s, bytes, len, see, &seen), -EBADMSG);
    assert_int_equal(ipfix_message_length(bytes, len), -EBADMSG);
    assert_int_equal(ipfix_message_length(bytes, 15), 0);
    bytes[1] = 10, bytes[3] = 15;
    assert_int_equal(ipfix_message_length(bytes, len), -EBADMSG);
    assert_int_equal(s->malformed, 15);
    ipfix_session_free(s);
}

static void cut_anywhere_is_refused_or_shorter(void **state)
{
    for (size_t cut = 0; cut < sizeof rfc_example; cut++) {
        struct ipfix_session *s = session(true);
        struct seen seen = {0};
        uint8_t *part = malloc(cut ? cut : 1);
        memcpy(part, rfc_example, cut);
        assert_int_equal(ipfix_read(s, part, cut, see, &seen), -EBADMSG);
        assert_int_equal(seen.n, 0);
        if (cut >= IPFIX_HEADER) {
            bytes_put_be16(part + 2, (uint16_t)cut);
            int rc = ipfix_read(s, part, cut, see, &seen);
            bool between_sets = cut == 16 || cut == 44 || cut == 108 || cut == 132;
            assert_int_equal(rc, between_sets ? 0 : -EBADMSG);
        }
        free(part);
        ipfix_session_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_rfcs_examples),
        cmocka_unit_test(writes_the_rfcs_examples),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(full_is_full),
        cmocka_unit_test(long_strings_and_long_forms),
        cmocka_unit_test(times_come_back),
        cmocka_unit_test(sequence_numbers_tell_what_is_missing),
        cmocka_unit_test(templates_are_withdrawn_and_replaced),
        cmocka_unit_test(what_breaks_the_rules_is_refused),
        cmocka_unit_test(cut_anywhere_is_refused_or_shorter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
