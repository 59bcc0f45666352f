/* Scenario files: what they become, what is refused and how, and that docs/scenarios.md has every key. */
#include "scenario/scenario.h"

#include "base/buf.h"
#include "base/test.h"
#include "os/file.h"
#include "scenario/file.h"
#include "scenario/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NETWORK                                                                                                        \
    "name: t\nduration: 1 s\n"                                                                                         \
    "routers: [{name: pe1, role: pe}, {name: p1}, {name: pe2, role: pe, id: 1}]\n"                                     \
    "links:\n- {a: pe1, b: p1, rate: 100 Gbit/s, length: 50 km}\n"                                                     \
    "- {a: p1, b: pe2, rate: 40 Gbit/s, delay: 2 ms, loss: 0.1 %}\n"                                                   \
    "vpns: [{name: v}, {name: other, tenant: v}]\n"                                                                    \
    "hosts: [{name: h1, router: pe1, vpn: v}, {name: h2, router: pe2, vpn: v}, {name: h3, router: pe2, vpn: v}]\n"

static struct scenario *parsed(const char *text)
{
    struct scenario *s = NULL;
    struct error err = {""};
    int rc = scenario_parse(&s, "test", text, strlen(text), &err);
    if (rc)
        fail_msg("%s", err.text);
    return s;
}

static void refused(const char *text, const char *why)
{
    struct scenario *s = NULL;
    struct error err = {""};
    assert_int_equal(scenario_parse(&s, "f.yaml", text, strlen(text), &err), -EINVAL);
    assert_null(s);
    if (strncmp(err.text, "f.yaml: ", 8) != 0 || !strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void test_units(void **state)
{
    uint64_t u = 7;
    int64_t t;
    double d;
    assert_int_equal(units_rate("100 Gbit/s", &u), 0);
    assert_true(u == 100000000000u);
    assert_int_equal(units_rate("2.5Mbit/s", &u), 0);
    assert_true(u == 2500000);
    assert_int_equal(units_bytes("64 KiB", &u), 0);
    assert_true(u == 65536);
    assert_int_equal(units_time("50 ms", &t), 0);
    assert_true(t == 50000000);
    assert_int_equal(units_km("300 m", &d), 0);
    assert_true(d > 0.2999 && d < 0.3001);
    assert_int_equal(units_share("0.1 %", &d), 0);
    assert_true(d > 0.000999 && d < 0.001001);
    assert_int_equal(units_share("1e-6", &d), 0);
    assert_true(d > 0.99e-6 && d < 1.01e-6);
    static const char *const wrong[] = {"", "Gbit/s", "100", "-1 Gbit/s", "inf", "0x10 Gbit/s", "1e400 bit/s",
        "1 Gbit/s x", "nan Gbit/s", "1e Gbit/s", "99999999 Tbit/s"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(units_rate(wrong[i], &u), -EINVAL);
    assert_true(u == 65536); /* untouched */
    assert_int_equal(units_share("101 %", &d), -EINVAL);
    assert_int_equal(units_time("1", &t), -EINVAL);
    assert_int_equal(units_count("1.5", &u), -EINVAL);
}

static void test_network(void **state)
{
    struct scenario *s = parsed(NETWORK);
    assert_int_equal(s->n_routers, 3);
    assert_int_equal(s->routers[2].id, 1);
    assert_int_equal(s->routers[0].id, 2); /* 1 is taken, in whatever order */
    assert_int_equal(s->routers[1].id, 3);
    assert_string_equal(s->links[0].name, "pe1-p1");
    assert_true(s->links[0].delay_ns == 250000);
    assert_true(s->links[1].delay_ns == 2000000 && s->links[1].km > 399.9 && s->links[1].km < 400.1);
    assert_true(s->links[1].quality.loss == 0.001);
    assert_int_equal(s->vpns[0].vrf, 1);
    assert_int_equal(s->vpns[1].vrf, 2);
    assert_int_equal(s->vpns[1].tenant_id, s->vpns[0].tenant_id);
    assert_int_equal(s->hosts[2].router, 2);
    assert_true(s->seed == 1 && s->duration_ns == 1000000000 && s->mode == SCENARIO_LANES);
    scenario_free(s);
}

static void test_faults(void **state)
{
    struct scenario *s = parsed(NETWORK "faults:\n"
                                        "- {at: 20 ms, fault: degrade, of: '*', loss: 1 %, for: 5 ms}\n"
                                        "- {at: 10 ms, fault: cut, of: pe1-p1, for: 12 ms}\n");
    assert_int_equal(s->n_faults, 6);
    for (uint32_t i = 1; i < s->n_faults; i++)
        assert_true(s->faults[i - 1].at_ns <= s->faults[i].at_ns);
    assert_int_equal(s->faults[0].kind, SCENARIO_CUT);
    assert_int_equal(s->faults[1].kind, SCENARIO_DEGRADE);
    assert_true(s->faults[2].quality.loss == 0.01 && s->faults[2].what == 1);
    assert_int_equal(s->faults[3].kind, SCENARIO_RESTORE);
    assert_int_equal(s->faults[5].kind, SCENARIO_HEAL);
    scenario_free(s);
}

static void test_expectations(void **state)
{
    struct scenario *s = parsed(NETWORK "workloads: [{name: w, type: udp, from: h1, to: h2, rate: 1 Gbit/s}]\n"
                                        "expect: [lane_drops == 0, goodput(w) >= 40 Gbit/s, p99(w) <= 1.1 x alone,\n"
                                        " completed(w) >= 99.5 %, 'silence(w) < 3 ms']\n");
    assert_int_equal(s->n_expect, 5);
    assert_true(scenario_holds(&s->expect[0], 0, 0) && !scenario_holds(&s->expect[0], 1, 0));
    assert_true(scenario_holds(&s->expect[1], 40e9, 0) && !scenario_holds(&s->expect[1], 39.9e9, 0));
    assert_true(scenario_holds(&s->expect[2], 1.09, 1) && !scenario_holds(&s->expect[2], 1.11, 1));
    assert_true(scenario_holds(&s->expect[3], 0.996, 0) && !scenario_holds(&s->expect[3], 0.99, 0));
    assert_true(scenario_holds(&s->expect[4], 2.9e6, 0) && !scenario_holds(&s->expect[4], 3e6, 0));
    /* The VPN listed no classes: it gets the one that its workload uses. */
    assert_true(s->vpns[0].slice[SCENARIO_PARAMETER].wanted && !s->vpns[0].slice[SCENARIO_BULK].wanted);
    assert_false(s->vpns[1].slice[SCENARIO_PARAMETER].wanted);
    scenario_free(s);
}

#define CLOUD "  - {name: cloud, kind: cloud, host: h2}\n"
#define TRAIN "  - {name: t, kind: train, host: h1, cloud: cloud, model: e.gguf, data: d.jsonl}\n"

static void test_programs(void **state)
{
    struct scenario *s = parsed(NETWORK
        "setup: [make it, and this]\nprograms:\n" CLOUD TRAIN
        "  - {name: e, kind: edge, host: h1, cloud: cloud, model: t/edge.gguf, after: t, options: --threads 1}\n"
        "  - {name: c, kind: chat, host: h1, edge: e, users: 3, start: 5 s}\n"
        "  - {name: leaks, kind: check, command: search}\n"
        "faults: [{at: 1 s, fault: kill, of: cloud, for: 2 s}]\n"
        "expect: [efficiency(t) >= 97 %, token_p99(c) <= 200 ms, canaries(leaks) == 0, broken(c) == 0]\n");
    assert_int_equal(s->n_setup, 2);
    assert_int_equal(s->n_programs, 5);
    assert_int_equal(s->programs[2].after, 1);
    assert_int_equal(s->programs[3].edge, 2);
    assert_int_equal(s->programs[3].users, 3);
    assert_int_equal(s->programs[4].host, SCENARIO_NONE);
    assert_int_equal(s->faults[0].what, s->n_routers); /* programs come behind the routers */
    assert_int_equal(s->faults[1].kind, SCENARIO_RESTART);
    assert_int_equal(s->expect[0].program, 1);
    assert_true(s->expect[0].value == 0.97 && s->expect[1].value == 200e6);
    assert_int_equal(s->expect[0].workload, SCENARIO_NONE);
    scenario_free(s);

    refused(NETWORK "programs: [{name: p, kind: oven, host: h1}]\n", "none of cloud, train");
    refused(NETWORK "programs: [{name: p, kind: cloud}]\n", "programs, entry 1 (p): host is missing");
    refused(NETWORK "programs: [{name: p, kind: cloud, host: h9}]\n", "names no host");
    refused(NETWORK "programs: [{name: pe1, kind: cloud, host: h1}]\n", "is a router's");
    refused(
        NETWORK "programs: [{name: p, kind: cloud, host: h1, users: 3}]\n", "means nothing to a program of kind cloud");
    refused(NETWORK "programs:\n" TRAIN, "names no cloud above this one");
    refused(
        NETWORK "programs:\n" CLOUD "  - {name: c, kind: chat, host: h1, edge: cloud}\n", "is a program of kind cloud");
    refused(NETWORK "programs:\n" CLOUD "  - {name: cloud, kind: cloud, host: h1}\n", "is taken");
    refused(NETWORK "programs:\n" CLOUD TRAIN "expect: [efficiency >= 1]\n", "must say of which program");
    refused(NETWORK "programs:\n" CLOUD TRAIN "expect: [efficiency(h1) >= 1]\n", "names no program");
}

/* Addresses are a VPN's own: the cloud's machine has a host in each VPN that reaches it, or is not reached. */
static void test_machines(void **state)
{
    static const char other[] =
        "- {name: x1, router: pe1, vpn: blue, machine: m}\n- {name: y1, router: pe1, vpn: blue}\n"
        "- {name: x2, router: pe2, vpn: red, machine: m}\n";
    char text[4096];
    snprintf(text, sizeof(text),
        "name: t\nduration: 1 s\nrouters: [{name: pe1}, {name: pe2}]\nlinks: [{a: pe1, b: pe2, rate: 1 Gbit/s}]\n"
        "vpns: [{name: red}, {name: blue}]\nhosts:\n%s- {name: r1, router: pe1, vpn: red}\n"
        "programs: [{name: c, kind: cloud, host: x2}, {name: e, kind: edge, host: r1, cloud: c, model: m}]\n",
        other);
    struct scenario *s = parsed(text);
    assert_int_equal(scenario_reached_at(s, 2, s->hosts[1].vpn), 0);
    assert_int_equal(scenario_reached_at(s, 1, s->hosts[2].vpn), SCENARIO_NONE);
    scenario_free(s);
    snprintf(text, sizeof(text),
        "name: t\nduration: 1 s\nrouters: [{name: pe1}, {name: pe2}]\nlinks: [{a: pe1, b: pe2, rate: 1 Gbit/s}]\n"
        "vpns: [{name: red}, {name: blue}]\nhosts:\n%s"
        "programs: [{name: c, kind: cloud, host: y1}, {name: e, kind: edge, host: x2, cloud: c, model: m}]\n",
        other);
    refused(text, "its machine has no host in the VPN");
}

static void test_refusals(void **state)
{
    refused("", "nothing in it");
    refused("name: t\nduration: 1 s\nlinkz: []\n", "Unexpected key: linkz");
    refused("name: t\nduration: 1 s\nlinks:\n- {a: x, b: y, colour: red}\n", "Unexpected key: colour");
    refused("name: t\nduration: 1 s\nlinks:\n- {a: x, b: y, colour: red}\n", "line: 4");
    refused("name: t\nname: u\nduration: 1 s\n", "already seen: name");
    refused("name: [t]\n", "line: 1");
    refused("duration: 1 s\n", "name is missing");
    refused("name: t\n", "duration is missing");
    refused("name: t\nduration: 1\n", "is no time");
    refused("name: t t\nduration: 1 s\n", "is no name");
    refused(NETWORK "paths: [{name: n, from: pe1, to: pe9}]\n", "paths, entry 1 (n): to \"pe9\" names no router");
    refused(NETWORK "paths: [{name: n, from: pe1, to: pe2, via: [p7]}]\n", "via \"p7\" names no router and no link");
    refused(NETWORK "workloads: [{name: w, type: tcp, from: h9, to: h1}]\n", "from \"h9\" names no host");
    refused(NETWORK "workloads: [{name: w, type: udp, from: h1, to: h2}]\n", "rate is missing");
    refused(NETWORK "workloads: [{name: w, type: smtp, from: h1, to: h2}]\n", "none of tcp, udp, roce, command");
    refused(NETWORK "workloads: [{name: w, type: tcp, from: h1, to: h1}]\n", "no other host of the VPN");
    refused(NETWORK "faults: [{at: 1 s, fault: cut, of: nothing}]\n", "names nothing of this scenario");
    refused(NETWORK "faults: [{at: 1 s, fault: restore, of: pe1-p1, for: 1 s}]\n", "done once");
    refused(NETWORK "expect: [speed > 3]\n", "begins with no metric");
    refused(NETWORK "expect: [goodput > 3 Gbit/s]\n", "must say of which workload");
    refused(NETWORK "expect: [lane_drops == 3 Gbit/s]\n", "in no unit of its metric");
    refused(NETWORK "expect: [lane_drops = 3]\n", "compares with none");
    refused(NETWORK "links: []\n", "already seen: links");
    refused("name: t\nduration: 1 s\ncontrol: bgp\nrouters: [{name: a}]\n", "needs a router with the role reflector");
    refused("name: t\nduration: 1 s\nrouters: [{name: a}, {name: a}]\n", "entry 2 (a): name \"a\" is taken");
    refused("name: t\nduration: 1 s\nrouters: [{name: a, id: 5}, {name: b, id: 5}]\n", "is taken");
    refused("name: t\nduration: 1 s\nrouters: [{name: a, id: 60000}]\n", "from 1 to 57343");
    refused("name: t\nduration: 1 s\nrouters: [{name: a}, {name: b}]\nlinks: [{a: a, b: b}]\n", "rate is missing");
    refused("name: t\nduration: 1 s\nvpns: [{name: v, classes: [{class: control}]}]\n", "routers' own");
    refused("name: t\nduration: 1 s\nvpns: [{name: v, classes: [{class: bulk, dscp: 46}]}]\n", "the same dscp");
    refused("a: &x [b]\nc: *x\n", "");
}

/* docs/scenarios.md has a row for every key, in its section. */
static void test_documented(void **state)
{
    struct buf doc = {0};
    struct error err;
    char path[1024], heading[80], row[80];
    snprintf(path, sizeof(path), "%s/docs/scenarios.md", getenv("SOURCE_ROOT"));
    assert_int_equal(file_read(&doc, path, 1 << 20, &err), 0);
    unsigned n = 0;
    for (const char *key; (key = file_key(n)) != NULL; n++) {
        const char *space = strchr(key, ' ');
        snprintf(heading, sizeof(heading), "\n## %.*s\n", (int)(space - key), key);
        snprintf(row, sizeof(row), "\n| `%s` |", space + 1);
        const char *section = strstr(buf_str(&doc), heading);
        const char *end = section ? strstr(section + 4, "\n## ") : NULL;
        const char *found = section ? strstr(section, row) : NULL;
        if (!found || (end && found > end))
            fail_msg("docs/scenarios.md lacks the key %s in section %.*s", space + 1, (int)(space - key), key);
    }
    assert_true(n > 80);
    buf_done(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_machines),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
