/* Files that people get wrong, each with what it is told: where it is, what is wrong, and mostly what to write instead. */
#include "base/test.h"
#include "scenario/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD    "name: t\nduration: 1 s\n"
#define ROUTERS "routers: [{name: a, role: pe}, {name: b}, {name: c, role: pe}]\n"
#define LINK(how)                                                                                                      \
    "links: [{a: a, b: b, rate: 1 Gbit/s, length: 1 km" how "}, {a: b, b: c, rate: 1 Gbit/s, length: 1 km}]\n"
#define VPNS    "vpns: [{name: v}]\n"
#define HOSTS   "hosts: [{name: h, router: a, vpn: v}, {name: i, router: c, vpn: v}]\n"
#define WORK    "workloads: [{name: w, type: udp, from: h, to: i, rate: 1 Mbit/s}]\n"
#define BEFORE  HEAD ROUTERS LINK("") VPNS
#define NETWORK BEFORE HOSTS WORK

static const struct {
    const char *text, *said;
} wrong[] = {
    /* names */
    {HEAD ROUTERS "links: [{a: a, b: z, rate: 1 Gbit/s}]\n",
        "links, entry 1 (a-z): b \"z\" names no router of this scenario"},
    {HEAD ROUTERS "links: [{a: a, b: a, rate: 1 Gbit/s}]\n", "is the same router as a"},
    {HEAD "routers: [{name: a}, {name: a}]\n", "routers, entry 2 (a): name \"a\" is taken"},
    {HEAD ROUTERS "links: [{name: x, a: a, b: b, rate: 1 Gbit/s}, {name: x, a: b, b: c, rate: 1 Gbit/s}]\n",
        "links, entry 2 (x): name \"x\" is taken"},
    {HEAD "vpns: [{name: v}, {name: v}]\n", "vpns, entry 2 (v): name \"v\" is taken"},
    {BEFORE "hosts: [{name: h, router: a, vpn: v}, {name: h, router: c, vpn: v}]\n",
        "hosts, entry 2 (h): name \"h\" is taken"},
    {BEFORE HOSTS "workloads: [{name: w, type: tcp, from: h, to: i}, {name: w, type: tcp, from: i, to: h}]\n",
        "workloads, entry 2 (w): name \"w\" is taken"},
    {BEFORE "hosts: [{name: h, router: a, vpn: q}]\n", "vpn \"q\" names no VPN of this scenario"},
    {BEFORE "hosts: [{name: 'a b', router: a, vpn: v}]\n", "is no name"},
    {NETWORK "faults: [{at: 1 ms, fault: cut, of: b-z}]\n", "\"b-z\" names nothing of this scenario"},
    /* numbers and units */
    {HEAD ROUTERS LINK(", loss: 200 %"),
        "loss \"200 %\" is no share; write a number from 0 to 1 or for example \"0.1 %\""},
    {HEAD ROUTERS "links: [{a: a, b: b, rate: 1 Gbit/s, length: -3 km}]\n",
        "length \"-3 km\" is no length; write for example \"3000 km\""},
    {HEAD ROUTERS "links: [{a: a, b: b, rate: 1 Gbit/s, length: 1e12 km}]\n", "is no length"},
    {HEAD ROUTERS "links: [{a: a, b: b, rate: 0 Gbit/s, length: 1 km}]\n", "rate \"0 Gbit/s\" carries nothing"},
    {HEAD ROUTERS "links: [{a: a, b: b, rate: 100, length: 1 km}]\n", "write for example \"100 Gbit/s\""},
    {HEAD ROUTERS "links: [{a: a, b: b, rate: nan Gbit/s}]\n", "is no rate"},
    {HEAD ROUTERS "links: [{a: a, b: b, rate: 1 Gbit/s, length: 1 km, delay: 1 ms}]\n", "one of them is enough"},
    {HEAD ROUTERS LINK(", mtu: 60"), "mtu \"60\" is no whole number from 1280 to 9600"},
    {BEFORE "hosts: [{name: h, router: a, vpn: v, rate: 0 bit/s}]\n", "rate \"0 bit/s\" carries nothing"},
    {BEFORE "hosts: [{name: h, router: a, vpn: v, vlan: 5000}]\n", "from 1 to 4094"},
    {BEFORE HOSTS "workloads: [{name: w, type: udp, from: h, to: i, rate: 0 Mbit/s}]\n",
        "rate \"0 Mbit/s\" sends nothing"},
    {BEFORE HOSTS "workloads: [{name: w, type: tcp, from: h, to: i, count: 0}]\n", "from 1 to 10000"},
    {BEFORE HOSTS "workloads: [{name: w, type: tcp, from: h, to: i, dscp: 99}]\n", "from 0 to 63"},
    {"name: t\nduration: 0 s\n", "duration \"0 s\" is no time at all"},
    {"name: t\nduration: -1 s\n", "is no time; write for example \"50 ms\""},
    {"name: t\nduration: 1 s\nmode: magic\n", "mode \"magic\" is none of lanes, fifo, ecn, pfc"},
    {NETWORK "faults: [{at: -1 s, fault: cut, of: a-b}]\n", "is no time"},
    /* what fits nowhere */
    {NETWORK "paths: [{name: p, from: a, to: c, via: [b, a, b]}]\n", "path p: passes a router twice"},
    {NETWORK "paths: [{name: p, from: a, to: a, via: [b]}]\n", "to \"a\" is where it begins"},
    {NETWORK "paths: [{name: p, from: a, to: c, via: [c]}]\n", "path p: no link leads from a to c"},
    {HEAD ROUTERS "links: [{a: a, b: b, rate: 1 Gbit/s}]\n" VPNS HOSTS WORK,
        "no way of at most 16 links leads from a to c"},
    {BEFORE HOSTS "workloads: [{name: w, type: udp, from: h, to: i, rate: 1 Mbit/s, packet: 9000}]\n",
        "packets of 9000 bytes, but host h has an MTU of 1500; give it a larger mtu"},
    {BEFORE "hosts: [{name: h, router: a, vpn: v, address: 10.0.0.2/24},"
            " {name: i, router: c, vpn: v, address: 10.0.0.3/24}]\n",
        "host i: its subnet is also host h's, at another port of VPN v"},
    {BEFORE "hosts: [{name: h, router: a, vpn: v, port: x, address: 10.0.0.2/24},"
            " {name: i, router: a, vpn: v, port: x, address: 10.0.0.2/24}]\n",
        "address is taken"},
    /* no scenario at all */
    {"{{{{", "is no scenario"},
    {"- a\n- b\n", "is no scenario"},
    {"name: t\nduration: 1 s\nrouters: many\n", "line: 3"},
    {"\x01\x02", "is no scenario"},
};

static void says(const char *text, const char *said)
{
    struct scenario *s = NULL;
    struct plan *p = NULL;
    struct error err = {""};
    int rc = scenario_parse(&s, "f.yaml", text, strlen(text), &err);
    if (!rc)
        rc = plan_create(&p, s, &err);
    if (rc != -EINVAL || p)
        fail_msg("taken, or another error than EINVAL (%d %s): %s", rc, err.text, text);
    if (!strstr(err.text, said))
        fail_msg("\"%s\" does not say \"%s\"", err.text, said);
    assert_null(strchr(err.text, '\n'));
    scenario_free(s);
}

static void test_each(void **state)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        says(wrong[i].text, wrong[i].said);
}

/* A router with more cables than it has ports. */
static void test_too_many_ports(void **state)
{
    char text[16384];
    size_t n = (size_t)snprintf(text, sizeof(text), HEAD "routers: [{name: r0}");
    for (int i = 1; i < 80; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, ", {name: r%d}", i);
    n += (size_t)snprintf(text + n, sizeof(text) - n, "]\nlinks:\n");
    for (int i = 1; i < 80; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "- {a: r0, b: r%d, rate: 1 Gbit/s}\n", i);
    says(text, "router r0: more than 64 ports; share its links and hosts among several routers");
}

static void test_too_many_flows(void **state)
{
    char text[16384];
    size_t n = (size_t)snprintf(text, sizeof(text), BEFORE "hosts: [{name: h, router: a, vpn: v}");
    for (int i = 1; i < 20; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, ", {name: h%d, router: c, vpn: v}", i);
    snprintf(text + n, sizeof(text) - n, "]\nworkloads: [{name: w, type: tcp, from: '*', to: '*', count: 10000}]\n");
    says(text, "flows; give workloads a smaller count or fewer hosts");
}

static void test_what_they_are_made_from_is_good(void **state)
{
    struct scenario *s = NULL;
    struct plan *p = NULL;
    struct error err = {""};
    if (scenario_parse(&s, "f.yaml", NETWORK, strlen(NETWORK), &err) || plan_create(&p, s, &err))
        fail_msg("%s", err.text);
    plan_free(p);
    scenario_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_they_are_made_from_is_good),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_too_many_ports),
        cmocka_unit_test(test_too_many_flows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
