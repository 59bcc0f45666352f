/* Routers that are joined by nothing but beacons: kits and states in real files, BGP as a table of beacons that a test may cut,
 * delay or change, the core as a table of SAs. */
#include "router/keys.h"

#include "base/log.h"
#include "base/test.h"
#include "os/file.h"
#include "router/identity.h"
#include "router/xsec_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SITES 3
#define SAS   256
#define VRF   7u

struct site {
    struct keys *keys;
    struct keys_vpn vpn;
    struct ip6 loopback;
    uint8_t seed[32];
    char kit[96], state[96];
    uint8_t beacon[XSEC_BEACON_MOST];
    size_t len;
    unsigned told;
    struct esp_sa_config in[SAS], out[SAS];
    unsigned n_in, n_out;
    struct ip6 sid[SITES]; /* signed by the others; zero: none */
};

static struct world {
    struct ed25519 *ca;
    char dir[40], revoked[64];
    int64_t now;
    uint64_t serial;
    struct site site[SITES];
} w;
static struct error err;

/* --- the core, BGP ----------------------------------------------------------------------------------------------------- */

static void core(void *user, const struct keys_change *c, unsigned n)
{
    struct site *s = user;
    for (unsigned i = 0; i < n; i++) {
        struct esp_sa_config *list = c[i].sa.sending ? s->out : s->in;
        unsigned *count = c[i].sa.sending ? &s->n_out : &s->n_in, k = 0;
        assert_int_equal(c[i].sa.vrf, VRF);
        if (c[i].remove) {
            while (k < *count && !(list[k].spi == c[i].sa.spi && ip6_equal(&list[k].peer, &c[i].sa.peer)))
                k++;
            if (k < *count)
                list[k] = list[--*count];
            continue;
        }
        while (
            c[i].sa.sending && k < *count && !(list[k].lane == c[i].sa.lane && ip6_equal(&list[k].peer, &c[i].sa.peer)))
            k++;
        if (!c[i].sa.sending)
            k = *count;
        else if (k < *count)
            assert_memory_not_equal(list[k].key, c[i].sa.key, 32);
        *count += k == *count;
        list[k] = c[i].sa;
    }
}

static void advertise(void *user, uint32_t vrf, const uint8_t *beacon, size_t len)
{
    struct site *s = user;
    assert_int_equal(vrf, VRF);
    if (len)
        memcpy(s->beacon, beacon, len);
    s->len = len;
    s->told++;
}

static void service(void *user, uint32_t vrf, const struct ip6 *peer, const struct ip6 *sid)
{
    struct site *s = user;
    s->sid[peer->b[15] - 1] = sid ? *sid : (struct ip6){{0}};
}

static struct keys_beacon beacon_of(const struct site *s)
{
    struct keys_beacon b = {.vrf = VRF,
        .route = {.next_hop = s->loopback, .service_sid = s->vpn.service_sid},
        .bytes = s->beacon,
        .len = s->len};
    memcpy(b.route.target, s->vpn.target, 8);
    memcpy(b.route.rd, s->vpn.rd, 8);
    if (!s->len)
        b.bytes = NULL;
    return b;
}

static void settle(struct site *s)
{
    for (int i = 0; i < 100 && s->keys && keys_poll(s->keys, w.now) <= w.now; i++)
        ;
}

static void spread(void)
{
    for (int round = 0; round < 3; round++) /* a list needs another round to reach all */
        for (int i = 0; i < SITES; i++) {
            for (int k = 0; k < SITES && w.site[i].keys; k++) {
                struct keys_beacon b = beacon_of(&w.site[k]);
                if (i != k)
                    keys_beacon(w.site[i].keys, &b);
            }
            settle(&w.site[i]);
        }
}

/* What a sends, b opens; how many lanes a sends to b. */
static unsigned reaches(int a, int b)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w.site[a].n_out; i++) {
        const struct esp_sa_config *out = &w.site[a].out[i];
        if (!ip6_equal(&out->peer, &w.site[b].loopback))
            continue;
        bool open = false;
        for (unsigned k = 0; k < w.site[b].n_in; k++)
            open |= w.site[b].in[k].spi == out->spi && memcmp(w.site[b].in[k].key, out->key, 32) == 0 &&
                    ip6_equal(&w.site[b].in[k].peer, &w.site[a].loopback) && w.site[b].in[k].lane == out->lane;
        if (!open)
            fail_msg("what %d sends in lane %u nobody at %d can open", a, out->lane, b);
        n++;
    }
    return n;
}

static void check_mesh(void)
{
    for (int a = 0; a < SITES; a++)
        for (int b = 0; b < SITES; b++)
            if (a != b) {
                assert_int_equal(reaches(a, b), XSEC_LANES);
                assert_true(ip6_equal(&w.site[a].sid[b], &w.site[b].vpn.service_sid));
            }
}

/* --- sites -------------------------------------------------------------------------------------------------------------------- */

static void write_text(const char *path, enum xsec_file kind, const uint8_t *bytes, size_t len)
{
    struct buf text = {0};
    assert_int_equal(xsec_text_encode(&text, kind, bytes, len), 0);
    assert_int_equal(file_write(path, text.data, text.len, 0600, &err), 0);
    buf_done(&text);
}

static void enrol(int i)
{
    struct site *s = &w.site[i];
    struct xsec_kit kit = {0};
    struct ed25519 *key;
    uint8_t bytes[XSEC_KIT_MOST];
    ed25519_create(&key, s->seed);
    kit.certificate = (struct xsec_certificate){
        .serial = ++w.serial, .pe = s->loopback, .not_before = w.now - 5, .not_after = w.now + 10000000, .name = "pe"};
    memcpy(kit.certificate.key, ed25519_public(key), 32);
    memcpy(kit.ca, ed25519_public(w.ca), 32);
    ed25519_free(key);
    assert_int_equal(xsec_certificate_sign(&kit.certificate, w.ca), 0);
    write_text(s->kit, XSEC_FILE_KIT, bytes, xsec_kit_encode(&kit, bytes));
}

static int boot(int i)
{
    struct site *s = &w.site[i];
    struct keys_config c = {.kit = s->kit,
        .state = s->state,
        .revoked = i == 0 ? w.revoked : "",
        .loopback = s->loopback,
        .lifetime_s = 1000,
        .uid = getuid(),
        .gid = getgid()};
    struct keys_above above = {s, advertise, core, service};
    memcpy(c.seed, s->seed, 32);
    s->n_in = s->n_out = 0;
    int rc = keys_create(&s->keys, &c, &above, w.now, &err);
    return rc ? rc : keys_configure(s->keys, &s->vpn, 1, w.now, &err);
}

static void stop(int i)
{
    keys_free(w.site[i].keys);
    w.site[i].keys = NULL;
    assert_int_equal(w.site[i].n_in, 0);
    assert_int_equal(w.site[i].n_out, 0);
}

/* As kill -9 does: nobody is told, nothing is removed. */
static void die(int i)
{
    uint8_t beacon[XSEC_BEACON_MOST];
    size_t len = w.site[i].len;
    memcpy(beacon, w.site[i].beacon, len);
    stop(i);
    memcpy(w.site[i].beacon, beacon, len);
    w.site[i].len = len;
}

static int set_up(void **state)
{
    memset(&w, 0, sizeof w);
    strcpy(w.dir, "/tmp/keys-test-XXXXXX");
    if (!mkdtemp(w.dir))
        return -1;
    w.now = 1800000000;
    snprintf(w.revoked, sizeof w.revoked, "%s/revoked", w.dir);
    ed25519_create(&w.ca, (uint8_t[32]){42});
    struct xsec_revocations none = {.number = 1, .issued = w.now};
    uint8_t bytes[XSEC_REVOCATIONS_MOST];
    xsec_revocations_sign(&none, w.ca);
    write_text(w.revoked, XSEC_FILE_LIST, bytes, xsec_revocations_encode(&none, bytes));
    for (int i = 0; i < SITES; i++) {
        struct site *s = &w.site[i];
        snprintf(s->kit, sizeof s->kit, "%s/%d.kit", w.dir, i);
        snprintf(s->state, sizeof s->state, "%s/%d.state", w.dir, i);
        s->seed[0] = (uint8_t)(i + 1);
        s->loopback = (struct ip6){{0xfd, [15] = (uint8_t)(i + 1)}};
        s->vpn = (struct keys_vpn){.vrf = VRF,
            .target = {0, 2, 0xfd, 0xe8, [7] = 10},
            .rd = {[7] = (uint8_t)i},
            .service_sid = {{0xfc, [15] = (uint8_t)(i + 1)}}};
        enrol(i);
    }
    return 0;
}

static int tear_down(void **state)
{
    for (int i = 0; i < SITES; i++) {
        if (w.site[i].keys)
            stop(i);
        unlink(w.site[i].kit);
        unlink(w.site[i].state);
    }
    unlink(w.revoked);
    ed25519_free(w.ca);
    return rmdir(w.dir);
}

static void all_up(void)
{
    for (int i = 0; i < SITES; i++)
        assert_int_equal(boot(i), 0);
    spread();
    check_mesh();
}

/* --- tests --------------------------------------------------------------------------------------------------------------------- */

static void kits_are_all_it_takes(void **state)
{
    all_up();
    struct keys_view v = keys_view(w.site[0].keys);
    assert_int_equal(v.counters.peers, 2);
    assert_int_equal(v.counters.list_number, 1);
    assert_true(v.generation > 0);
    struct xsec_peer_view peers[4];
    assert_int_equal(keys_peers(w.site[0].keys, peers, 4), 2);
    assert_string_equal(peers[0].name, "pe");
    assert_int_equal(keys_vrf(w.site[0].keys, peers[0].vpn), VRF);
}

static void a_router_without_a_kit_passes_nothing_until_it_has_one(void **state)
{
    unlink(w.site[2].kit);
    for (int i = 0; i < SITES; i++)
        assert_int_equal(boot(i), 0);
    spread();
    assert_non_null(strstr(keys_why(w.site[2].keys), ".kit"));
    assert_int_equal(w.site[2].n_out + w.site[2].told, 0);
    assert_int_equal(reaches(0, 1), XSEC_LANES);
    enrol(2);
    w.now += 10; /* nobody says anything to it: it tries again by itself, with the beacons that it had heard */
    settle(&w.site[2]);
    assert_string_equal(keys_why(w.site[2].keys), "");
    assert_int_equal(w.site[2].n_out, 2 * XSEC_LANES);
    spread();
    check_mesh();
}

static void kits_that_do_not_hold(void **state)
{
    struct site *s = &w.site[0];
    s->loopback.b[15] = 9;
    assert_int_equal(boot(0), 0);
    assert_non_null(strstr(keys_why(s->keys), "this kit is for pe"));
    stop(0);
    s->loopback.b[15] = 1;
    w.now -= 100000; /* a clock that begins in the past */
    assert_int_equal(boot(0), 0);
    assert_non_null(strstr(keys_why(s->keys), "clock"));
    w.now += 100000;
    settle(s);
    assert_string_equal(keys_why(s->keys), "");
    stop(0);
    assert_int_equal(file_write(s->kit, "name: pe1\n", 10, 0600, &err), 0);
    assert_int_equal(boot(0), 0);
    assert_non_null(strstr(keys_why(s->keys), "no kit"));
}

static void a_restart_with_and_without_its_disk(void **state)
{
    all_up();
    for (int lost = 0; lost < 2; lost++) {
        uint8_t key[32];
        uint64_t generation = keys_view(w.site[1].keys).generation;
        memcpy(key, w.site[1].out[0].key, 32);
        die(1);
        if (lost)
            unlink(w.site[1].state);
        w.now += 3;
        assert_int_equal(boot(1), 0);
        assert_true(keys_view(w.site[1].keys).generation > generation);
        spread();
        check_mesh();
        for (unsigned i = 0; i < w.site[1].n_out; i++)
            assert_memory_not_equal(w.site[1].out[i].key, key, 32);
    }
}

static void a_state_that_cannot_be_written(void **state)
{
    char was[96];
    strcpy(was, w.site[1].state);
    snprintf(w.site[1].state, sizeof w.site[1].state, "%s/none/1.state", w.dir);
    assert_true(boot(1) < 0); /* else its generations would not be durable */
    assert_non_null(strstr(err.text, "none/1.state"));
    strcpy(w.site[1].state, was);
}

static void renewals_break_nothing(void **state)
{
    all_up();
    unsigned told = w.site[0].told;
    for (int t = 0; t < 3000; t += 7) {
        w.now += 7;
        for (int i = 0; i < SITES; i++) {
            settle(&w.site[i]);
            check_mesh(); /* before anybody has heard of it */
        }
        spread();
        check_mesh();
    }
    assert_in_range(w.site[0].told - told, 4, 8);
    assert_true(w.site[0].n_in <= 2 * 4 * XSEC_LANES); /* at most two generations a side */
}

static void clocks_that_differ(void **state)
{
    for (int i = 0; i < SITES; i++) {
        w.now += i == 2 ? XSEC_SKEW_S + 60 : 0;
        assert_int_equal(boot(i), 0);
    }
    w.now -= XSEC_SKEW_S + 60;
    for (int i = 1; i < SITES; i++) {
        struct keys_beacon b = beacon_of(&w.site[i]);
        keys_beacon(w.site[0].keys, &b);
    }
    settle(&w.site[0]);
    assert_int_equal(w.site[0].n_out, XSEC_LANES); /* the third's beacon is of the future */
    assert_int_equal(keys_view(w.site[0].keys).counters.verdicts[XSEC_EARLY], 1);
    w.now += 90; /* BGP says nothing new: it is looked at again by itself */
    settle(&w.site[0]);
    assert_int_equal(w.site[0].n_out, 2 * XSEC_LANES);
}

static void what_bgp_brings_is_judged_and_never_more(void **state)
{
    all_up();
    struct keys_beacon b = beacon_of(&w.site[1]);
    static uint8_t junk[70000];
    struct keys_view before = keys_view(w.site[0].keys);
    b.bytes = junk;
    b.len = sizeof junk;
    keys_beacon(w.site[0].keys, &b);
    settle(&w.site[0]);
    b.len = 0;
    keys_beacon(w.site[0].keys, &b); /* an attribute without octets */
    settle(&w.site[0]);
    b = beacon_of(&w.site[1]); /* another's beacon on the third's route */
    b.route.next_hop = w.site[2].loopback;
    memcpy(b.route.rd, w.site[2].vpn.rd, 8);
    keys_beacon(w.site[0].keys, &b);
    settle(&w.site[0]);
    struct keys_view v = keys_view(w.site[0].keys);
    assert_int_equal(v.counters.verdicts[XSEC_MALFORMED] - before.counters.verdicts[XSEC_MALFORMED], 1);
    assert_int_equal(v.counters.verdicts[XSEC_INCONSISTENT] - before.counters.verdicts[XSEC_INCONSISTENT], 1);
    check_mesh(); /* what was good before stays */
    /* Withdrawn: keys stay until the signed time is over; the memory of it goes. */
    b = beacon_of(&w.site[1]);
    b.bytes = NULL;
    keys_beacon(w.site[0].keys, &b);
    keys_beacon(w.site[0].keys, &b);
    settle(&w.site[0]);
    assert_int_equal(keys_view(w.site[0].keys).beacons, 1);
    assert_int_equal(reaches(0, 1), XSEC_LANES);
    w.now += 1000 + XSEC_SKEW_S + 2;
    settle(&w.site[0]);
    assert_int_equal(w.site[0].n_out, 0);
    assert_int_equal(w.site[0].sid[1].b[0], 0);
}

static void a_list_in_a_file_of_one_reaches_all_and_outlives_restarts(void **state)
{
    all_up();
    struct xsec_revocations r = {.number = 5, .issued = w.now, .n = 1, .serial = {3}}; /* the third */
    uint8_t bytes[XSEC_REVOCATIONS_MOST];
    xsec_revocations_sign(&r, w.ca);
    write_text(w.revoked, XSEC_FILE_LIST, bytes, xsec_revocations_encode(&r, bytes));
    assert_int_equal(keys_reload(w.site[0].keys, w.now, &err), 0); /* one router, one reload */
    spread();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(w.site[i].n_out, XSEC_LANES);
        assert_int_equal(keys_view(w.site[i].keys).counters.list_number, 5);
    }
    assert_int_equal(w.site[2].n_out + w.site[2].len, 0);
    assert_true(keys_view(w.site[2].keys).counters.revoked);
    /* The second never had the file. It dies, comes back, and remembers before anybody tells it. */
    die(1);
    w.now++;
    assert_int_equal(boot(1), 0);
    assert_int_equal(keys_view(w.site[1].keys).counters.list_number, 5);
    spread();
    assert_int_equal(reaches(0, 1), XSEC_LANES);
    /* Enrolled again: the kit alone brings the third back. */
    enrol(2);
    w.now++;
    assert_int_equal(keys_reload(w.site[2].keys, w.now, &err), 0);
    spread();
    check_mesh();
}

static void files_that_are_none_change_nothing_at_a_reload(void **state)
{
    all_up();
    assert_int_equal(file_write(w.revoked, "x", 1, 0600, &err), 0);
    assert_int_equal(keys_reload(w.site[0].keys, w.now, &err), 0); /* the log says it; the kit is fine */
    assert_int_equal(file_write(w.site[0].kit, "x", 1, 0600, &err), 0);
    assert_int_equal(keys_reload(w.site[0].keys, w.now, &err), -EINVAL);
    check_mesh();
}

static void vpns_come_and_go(void **state)
{
    all_up();
    struct keys_vpn two[2] = {w.site[0].vpn, w.site[0].vpn};
    assert_int_equal(keys_configure(w.site[0].keys, two, 2, w.now, &err), -EINVAL);
    assert_non_null(strstr(err.text, "65000:10"));
    check_mesh();
    assert_int_equal(keys_configure(w.site[0].keys, NULL, 0, w.now, &err), 0);
    assert_int_equal(w.site[0].n_in + w.site[0].n_out + w.site[0].len, 0);
    w.now++;
    assert_int_equal(keys_configure(w.site[0].keys, two, 1, w.now, &err), 0);
    settle(&w.site[0]); /* with the beacons that it knew */
    assert_int_equal(w.site[0].n_out, 2 * XSEC_LANES);
    spread();
    check_mesh();
}

static void a_secret_of_all(void **state)
{
    char path[64], text[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    snprintf(path, sizeof path, "%s/psk", w.dir);
    struct site *s = &w.site[0];
    struct keys_config c = {.kit = s->kit, .state = s->state, .psk = path, .loopback = s->loopback, .lifetime_s = 1000};
    struct keys_above above = {s, advertise, core, service};
    memcpy(c.seed, s->seed, 32);
    assert_int_equal(keys_create(&s->keys, &c, &above, w.now, &err), -ENOENT);
    assert_int_equal(file_write(path, text, 65, 0644, &err), 0);
    assert_int_equal(keys_create(&s->keys, &c, &above, w.now, &err), -EPERM);
    assert_int_equal(file_write(path, text, 65, 0600, &err), 0);
    assert_int_equal(keys_create(&s->keys, &c, &above, w.now, &err), 0);
    keys_configure(s->keys, &s->vpn, 1, w.now, &err);
    boot(1);
    spread();
    assert_int_equal(s->n_out, XSEC_LANES);
    assert_memory_not_equal(s->out[0].key, w.site[1].in[0].key, 32); /* who does not have it, has other keys */
    unlink(path);
}

int main(void)
{
    log_setup(LOG_LEVEL_ERROR, false, "test");
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(kits_are_all_it_takes),
        TEST(a_router_without_a_kit_passes_nothing_until_it_has_one),
        TEST(kits_that_do_not_hold),
        TEST(a_restart_with_and_without_its_disk),
        TEST(a_state_that_cannot_be_written),
        TEST(renewals_break_nothing),
        TEST(clocks_that_differ),
        TEST(what_bgp_brings_is_judged_and_never_more),
        TEST(a_list_in_a_file_of_one_reaches_all_and_outlives_restarts),
        TEST(files_that_are_none_change_nothing_at_a_reload),
        TEST(vpns_come_and_go),
        TEST(a_secret_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
