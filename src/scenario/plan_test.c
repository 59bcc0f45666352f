/* Plans: numbers and addresses are those that plan.h promises, paths go where they should, and twice the same. */
#include "scenario/plan.h"

#include "base/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* A square with a diagonal of two cables: pe1 - p1 - pe2 short, pe1 - p2 - pe2 long; p1-pe2 and p2-pe2 share a duct. */
#define SQUARE                                                                                                         \
    "name: t\nduration: 1 s\n"                                                                                         \
    "routers: [{name: pe1, role: pe}, {name: p1}, {name: p2}, {name: pe2, role: pe}]\n"                                \
    "links:\n"                                                                                                         \
    "- {a: pe1, b: p1, rate: 100 Gbit/s, length: 10 km}\n"                                                             \
    "- {a: p1, b: pe2, rate: 40 Gbit/s, length: 10 km}\n"                                                              \
    "- {a: pe1, b: p2, rate: 100 Gbit/s, length: 100 km}\n"                                                            \
    "- {a: p2, b: pe2, rate: 100 Gbit/s, length: 100 km, mtu: 4000}\n"                                                 \
    "vpns: [{name: v}, {name: u}]\n"                                                                                   \
    "hosts:\n"                                                                                                         \
    "- {name: h1, router: pe1, vpn: v, port: rack, vlan: 10}\n"                                                        \
    "- {name: h2, router: pe1, vpn: u, port: rack, vlan: 20}\n"                                                        \
    "- {name: h3, router: pe2, vpn: v, address: 192.168.7.9/24}\n"                                                     \
    "- {name: h4, router: pe2, vpn: u}\n"                                                                              \
    "workloads:\n"                                                                                                     \
    "- {name: a, type: tcp, from: h1, to: h3}\n"                                                                       \
    "- {name: b, type: roce, from: '*', to: '*', class: bulk, count: 2, start: 1 ms, stagger: 1 us}\n"

static struct plan *planned(const char *text)
{
    struct scenario *s;
    struct plan *p;
    struct error err = {""};
    if (scenario_parse(&s, "test", text, strlen(text), &err) || plan_create(&p, s, &err))
        fail_msg("%s", err.text);
    return p;
}

static void done(struct plan *p)
{
    const struct scenario *s = p->scenario;
    plan_free(p);
    scenario_free((struct scenario *)s);
}

static const char *text_of(const struct ip6 *a)
{
    static char text[2][INET6_ADDRSTRLEN];
    static int which;
    which = !which;
    return inet_ntop(AF_INET6, a->b, text[which], sizeof(text[0]));
}

static void test_numbers(void **state)
{
    struct plan *p = planned(SQUARE);
    const struct plan_router *pe1 = &p->routers[0], *p1 = &p->routers[1];
    assert_string_equal(text_of(&pe1->loopback), "fd00:6d65::1");
    assert_string_equal(text_of(&p1->locator.a), "fcbb:bb00:2::");
    assert_int_equal(pe1->n_ports, 3); /* two cores, one shared access */
    assert_true(pe1->ports[2].access);
    assert_string_equal(pe1->ports[2].name, "rack");
    assert_int_equal(pe1->n_access, 2);
    assert_int_equal(p1->ports[1].peer, 3);
    assert_int_equal(p1->ports[1].peer_port, 0);
    struct ip6 sid = plan_service_sid(p, 3, 1);
    assert_string_equal(text_of(&sid), "fcbb:bb00:4:f002::");
    bool node = false, adjacency = false, behind = false, service = false;
    for (uint32_t i = 0; i < pe1->n_sids; i++) {
        const char *t = text_of(&pe1->sids[i].sid.a);
        node |= strcmp(t, "fcbb:bb00:1::") == 0 && pe1->sids[i].sid.len == 48;
        adjacency |= strcmp(t, "fcbb:bb00:1:e001::") == 0 && pe1->sids[i].port == 1;
        behind |= strcmp(t, "fcbb:bb00:e001::") == 0 && pe1->sids[i].sid.len == 48;
        service |= strcmp(t, "fcbb:bb00:1:f001::") == 0 && pe1->sids[i].vrf == 1;
    }
    assert_true(node && adjacency && behind && service);
    done(p);
}

static void test_addresses(void **state)
{
    struct plan *p = planned(SQUARE);
    assert_memory_equal(p->hosts[0].address4.a.b, ((uint8_t[]){10, 0, 0, 2}), 4);
    assert_memory_equal(p->hosts[1].address4.a.b, ((uint8_t[]){10, 0, 1, 2}), 4);
    assert_memory_equal(p->hosts[2].address4.a.b, ((uint8_t[]){192, 168, 7, 9}), 4);
    assert_memory_equal(p->hosts[2].gateway4.a.b, ((uint8_t[]){192, 168, 7, 1}), 4);
    assert_string_equal(text_of(&p->hosts[3].address6.a), "fd10:0:0:3::2");
    assert_int_equal(p->hosts[1].vlan, 20);
    done(p);
}

static const struct plan_route *route_to(const struct plan_router *r, uint32_t vrf, struct ip6 a)
{
    for (uint32_t i = 0; i < r->n_routes; i++)
        if (r->routes[i].vrf == vrf && memcmp(&r->routes[i].prefix.a, &a, 16) == 0)
            return &r->routes[i];
    fail_msg("no route");
    return NULL;
}

static void test_routes(void **state)
{
    struct plan *p = planned(SQUARE);
    const struct plan_router *pe1 = &p->routers[0];
    const struct plan_route *r = route_to(pe1, 1, (struct ip6){{192, 168, 7, 0}});
    assert_int_equal(r->kind, PLAN_ROUTE_REMOTE);
    const struct plan_path *path = &pe1->paths[r->path_of_class[SCENARIO_PARAMETER] - 1];
    assert_int_equal(path->n_sids, 1);
    assert_string_equal(text_of(&path->sids[0]), "fcbb:bb00:e001::");
    assert_int_equal(path->out_port, 0);
    assert_true(path->rate_bps == 40000000000u && path->delay_ns == 100000);
    r = route_to(pe1, 0, p->routers[2].locator.a);
    assert_int_equal(r->kind, PLAN_ROUTE_ADJACENT);
    assert_int_equal(r->port, 1);
    /* v: parameter (a) and bulk (b); u: bulk. One path for all: it is shared, not made thrice. */
    assert_int_equal(pe1->n_slices, 3);
    assert_int_equal(pe1->n_paths, 1);
    done(p);
}

static void test_flows(void **state)
{
    struct plan *p = planned(SQUARE);
    /* a: 1; b: h1<->h3 and h2<->h4, two each. */
    assert_int_equal(p->n_flows, 1 + 4 * 2);
    assert_int_equal(p->flows[0].from, 0);
    assert_int_equal(p->flows[0].to, 2);
    assert_true(p->flows[8].start_ns == 1000000 + 7 * 1000);
    assert_int_equal(p->flows[8].dst_port, 4791);
    done(p);
}

static void test_paths(void **state)
{
    struct plan *p = planned(SQUARE "paths:\n"
                                    "- {name: north, from: pe1, to: pe2, via: [p1]}\n"
                                    "- {name: south, from: pe1, to: pe2, apart_from: north, classes: [bulk]}\n"
                                    "- {name: spare, from: pe2, to: pe1, via: [p2], standby: true, both: false}\n");
    const struct plan_router *pe1 = &p->routers[0], *pe2 = &p->routers[3];
    assert_int_equal(pe1->n_paths, 2);
    assert_int_equal(pe2->n_paths, 3);
    const struct plan_path *south = &pe1->paths[1];
    assert_int_equal(south->n_links, 2);
    assert_int_equal(south->links[0], 2);
    assert_int_equal(south->mtu, 4000);
    /* north comes first and is meant for every class. */
    assert_int_equal(route_to(pe1, 1, (struct ip6){{192, 168, 7, 0}})->path_of_class[SCENARIO_BULK], 1);
    unsigned standby = 0;
    for (uint32_t i = 0; i < pe2->n_slices; i++)
        standby += pe2->slices[i].standby;
    assert_int_equal(standby, 3);
    done(p);
}

/* 1+1: only the class and the VPN that the second path is meant for, in both directions, with windows for the difference. */
static void test_protected(void **state)
{
    struct plan *p =
        planned(SQUARE "paths:\n"
                       "- {name: north, from: pe1, to: pe2, via: [p1]}\n"
                       "- {name: south, from: pe1, to: pe2, via: [p2], protects: north, classes: [parameter]}\n");
    for (unsigned k = 0; k < 4; k += 3) {
        const struct plan_router *pe = &p->routers[k];
        unsigned protected = 0;
        for (uint32_t i = 0; i < pe->n_slices; i++) {
            const struct plan_slice *x = &pe->slices[i];
            assert_int_equal(x->path, 1);
            assert_int_equal(x->protect, x->class_ == SCENARIO_PARAMETER ? 2 : 0);
            protected += x->protect != 0;
        }
        assert_int_equal(protected, 1);
        assert_int_equal(pe->paths[0].n_risks, 3); /* two links and the router between */
    }
    done(p);
}

static void impossible(const char *text, const char *why)
{
    struct scenario *s;
    struct plan *p;
    struct error err = {""};
    assert_int_equal(scenario_parse(&s, "test", text, strlen(text), &err), 0);
    assert_int_equal(plan_create(&p, s, &err), -EINVAL);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    scenario_free(s);
}

static void test_impossible(void **state)
{
    impossible(SQUARE "paths: [{name: n, from: pe1, to: pe2, via: [pe1-p1, p2]}]\n", "no link leads from p1 to p2");
    impossible("name: t\nduration: 1 s\nrouters: [{name: a}, {name: b}, {name: c}]\n"
               "links: [{a: a, b: b, rate: 1 Gbit/s, group: g}, {a: a, b: c, rate: 1 Gbit/s},"
               " {a: c, b: b, rate: 1 Gbit/s, group: g}]\n"
               "paths: [{name: x, from: a, to: b}, {name: y, from: a, to: b, apart_from: x}]\n",
        "shares nothing with x");
    impossible("name: t\nduration: 1 s\nrouters: [{name: a}, {name: b}]\nvpns: [{name: v}]\n"
               "hosts: [{name: h, router: a, vpn: v}, {name: i, router: b, vpn: v}]\n",
        "leads from a to b");
    impossible(SQUARE "paths: [{name: n, from: pe1, to: pe2, via: [p1, pe1-p1, p2]}]\n", "twice");
    impossible("name: t\nduration: 1 s\nrouters: [{name: a}]\nvpns: [{name: v}, {name: u}]\n"
               "hosts: [{name: h, router: a, vpn: v, port: x}, {name: i, router: a, vpn: u, port: x}]\n",
        "already belongs to VPN v");
    impossible("name: t\nduration: 1 s\nrouters: [{name: a}]\nvpns: [{name: v}]\n"
               "hosts: [{name: h, router: a, vpn: v, address: 10.0.0.1/24}]\n",
        "gateway's");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_flows),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_protected),
        cmocka_unit_test(test_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
