/* docs/wire-bgp.md says what the code does: its table of attributes is bgp_attribute_rule's, its example of an UPDATE is what a
 * PE sends, octet for octet. */
#include "base/clock.h"
#include "base/hex.h"
#include "base/test.h"
#include "bgp/testing_bgp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *document(void)
{
    static char text[65536];
    char path[512];
    const char *root = getenv("SOURCE_ROOT");
    snprintf(path, sizeof path, "%s/docs/wire-bgp.md", root ? root : ".");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

static const char *action_name(enum bgp_action a)
{
    return a == BGP_DISCARD_ATTRIBUTE ? "attribute discarded" : a == BGP_TREAT_AS_WITHDRAW ? "routes withdrawn" : "?";
}

/* Each attribute has its row, and there is no row for another. */
static void test_the_table_of_attributes(void **state)
{
    (void)state;
    const char *text = document();
    int rules = 0, rows = 0;
    for (unsigned type = 0; type < 256; type++) {
        const struct bgp_attribute_rule *r = bgp_attribute_rule((uint8_t)type);
        char row[256];
        if (!r)
            continue;
        rules++;
        snprintf(row, sizeof row, "\n| %u | %s | `%02x` | %s | %s | %s |", type, r->name, r->flags,
            r->ibgp_only ? "ignored" : "as inside", action_name(r->wrong), r->rfc);
        if (!strstr(text, row))
            fail_msg("docs/wire-bgp.md lacks%s", row);
    }
    const char *at = strstr(text, "\n| type | attribute |");
    assert_non_null(at);
    for (at = strchr(at + 1, '\n'); at && at[1] == '|'; at = strchr(at + 1, '\n'))
        rows++;
    assert_int_equal(rows - 1, rules); /* one is the line below the heading */
}

static void keep_update(void *user, uint8_t type, const uint8_t *body, size_t len)
{
    char *to = user;
    if (type == BGP_UPDATE && len > 30) {
        uint8_t whole[512];
        bgp_header_encode(whole, (uint32_t)(BGP_HEADER + len), BGP_UPDATE);
        memcpy(whole + BGP_HEADER, body, len);
        hex_put(to, whole, BGP_HEADER + len);
    }
}

static void originate(struct bgp_speaker *pe, int64_t now)
{
    struct bgp_rt5 r = {.rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, 10}, .prefix = {IP_V4, 16, {{10, 1}}}, .label = 0x30};
    struct bgp_srv6_service s = {.sid = {{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xf0, 0x0a}},
        .behaviour = 64,
        .block_bits = 32,
        .node_bits = 16,
        .function_bits = 16};
    uint8_t raw[64], value[64], attributes[256];
    struct error err;
    int at = bgp_attribute_put(
        attributes, 0, 256, 0xc0, BGP_EXTENDED_COMMUNITIES, "\0\2\xfd\xe8\0\0\0\12\3\13\0\0\0\0\0\24", 16);
    at =
        bgp_attribute_put(attributes, (size_t)at, 256, 0xc0, BGP_PREFIX_SID, value, bgp_srv6_service_encode(&s, value));
    at = bgp_attribute_put(attributes, (size_t)at, 256, 0xc0, BGP_XSEC_BEACON, "beacon", 6);
    assert_int_equal(bgp_originate(pe, BGP_EVPN, raw, bgp_rt5_encode(&r, raw), attributes, (size_t)at, now, &err), 0);
}

/* The block behind "```hex": hexadecimal digits, what follows two spaces and a '#' is for people. */
static void read_block(const char *text, char *to, size_t cap)
{
    const char *at = strstr(text, "```hex\n");
    size_t n = 0;
    assert_non_null(at);
    for (at += 7; *at && strncmp(at, "```", 3) != 0; at++) {
        if (*at == '#')
            at = strchr(at, '\n');
        else if (*at != ' ' && *at != '\n' && n < cap - 1)
            to[n++] = *at;
    }
    to[n] = 0;
}

static void test_the_example(void **state)
{
    (void)state;
    static const uint32_t families[] = {BGP_EVPN};
    struct testing_bgp t = {.now = 1000 * NS_PER_S};
    struct bgp_speaker_config c = {.role = BGP_PE, .identifier = {10, 0, 0, 1}, .next_hop = {{0xfd, [15] = 1}}};
    struct bgp_peer_config peer = testing_bgp_peer(BGP_PEER_INTERNAL, 9, families, 1);
    struct bgp_open open = testing_bgp_open(9, families, 1);
    struct bgp_speaker *pe;
    struct error err;
    char sent[1024] = "", written[1024];
    assert_int_equal(bgp_speaker_create(&pe, &c, NULL, &err), 0);
    uint16_t number = testing_bgp_raw(&t, pe, &peer, &open);
    originate(pe, t.now);
    testing_bgp_hear(&t, pe, number, keep_update, sent);
    read_block(document(), written, sizeof written);
    assert_string_equal(written, sent);
    bgp_speaker_free(pe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_of_attributes),
        cmocka_unit_test(test_the_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
