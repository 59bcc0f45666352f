/* Customers' routers at provider edges in memory: their routes lead over the access port, the others' over the VPN, and the
 * configuration's own stay. */
#include "base/bytes.h"
#include "base/test.h"
#include "bgp/vrf.h"
#include "pe/inner.h"
#include "pe/testing_pe.h"

#include <stdlib.h>

#define EDGES 2
enum { RED = 100, PORT = 5, VLAN = 42 };

struct net {
    struct testing_bgp bgp;
    struct bgp_speaker *reflector;
    struct testing_pe edge[EDGES], *all[EDGES];
    uint16_t peer[EDGES]; /* the customer's router at each */
};

static void settle(struct net *n)
{
    for (unsigned turn = 0; turn < 2; turn++) {
        testing_pe_settle(&n->bgp, n->all, EDGES);
        for (unsigned i = 0; i < EDGES; i++)
            if (n->peer[i])
                testing_bgp_hear(&n->bgp, pe_speaker(n->edge[i].pe), n->peer[i], NULL, NULL);
    }
}

/* The router 10.(i + 1).0.2 of AS 64512 + i, in the subnet at PORT. */
static void attach(struct net *n, unsigned i)
{
    static const uint32_t families[] = {BGP_IPV4_UNICAST, BGP_IPV6_UNICAST};
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CUSTOMER, 2, families, 2);
    struct bgp_open open = testing_bgp_open((uint8_t)(20 + i), families, 2);
    c.address = (struct ip_addr){.family = IP_V4, .a = {{10, (uint8_t)(i + 1), 0, 2}}};
    c.session.peer_as = open.as = 64512 + i;
    c.session.restart_time_s = 0;
    c.customer = (struct bgp_customer_config){.vrf = RED, .next_hop4 = {10, (uint8_t)(i + 1), 0, 1}};
    n->peer[i] = testing_bgp_raw(&n->bgp, pe_speaker(n->edge[i].pe), &c, &open);
    assert_true(n->peer[i] > 0);
}

static struct net *start(void)
{
    struct net *n = calloc(1, sizeof *n);
    struct bgp_speaker_config c = {.role = BGP_REFLECTOR, .identifier = {10, 0, 0, 9}, .next_hop = {{0xfd, [15] = 9}}};
    n->bgp.now = 1000000000;
    assert_int_equal(bgp_speaker_create(&n->reflector, &c, NULL, NULL), 0);
    for (unsigned i = 0; i < EDGES; i++) {
        testing_pe_init(&n->edge[i], &n->bgp, i + 1);
        n->all[i] = &n->edge[i];
        struct pe_vrf *v = testing_pe_vrf(&n->edge[i], RED, 1, (uint8_t)(i + 1));
        v->customers = true;
        n->edge[i].own[0][0].attached = true;
        n->edge[i].own[0][0].port = PORT;
        n->edge[i].own[0][0].vlan = VLAN;
        testing_pe_start(&n->edge[i]);
        assert_non_null(testing_pe_client(&n->edge[i], n->reflector, 9));
    }
    testing_pe_link(&n->edge[0], 0, &n->edge[1], 0);
    settle(n);
    testing_bgp_advance(&n->bgp, 70ll * 1000000000);
    settle(n);
    for (unsigned i = 0; i < EDGES; i++)
        attach(n, i);
    settle(n);
    return n;
}

static void end(struct net *n)
{
    for (unsigned i = 0; i < EDGES; i++)
        testing_pe_done(&n->edge[i]);
    bgp_speaker_free(n->reflector);
    free(n);
}

static void says(struct net *n, unsigned i, const char *prefix, bool withdrawn)
{
    uint8_t body[128] = {0}, raw[64], path[6] = {2, 1};
    struct ip_prefix p = testing_prefix(prefix);
    unsigned len = bgp_prefix_encode(&p, raw);
    int at = 2;
    if (withdrawn) {
        bytes_put_be16(body, (uint16_t)len);
        memcpy(body + 2, raw, len);
        at = (int)(4 + len);
    } else {
        bytes_put_be32(path + 2, 64512 + i);
        at = bgp_attribute_put(body, 4, sizeof body, 0x40, BGP_ORIGIN, "\0", 1);
        at = bgp_attribute_put(body, (size_t)at, sizeof body, 0x40, BGP_AS_PATH, path, 6);
        at = bgp_attribute_put(body, (size_t)at, sizeof body, 0x40, BGP_NEXT_HOP, "\12\1\0\2", 4);
        bytes_put_be16(body + 2, (uint16_t)(at - 4));
        memcpy(body + at, raw, len);
        at += (int)len;
    }
    testing_bgp_say(&n->bgp, pe_speaker(n->edge[i].pe), n->peer[i], BGP_UPDATE, body, (size_t)at);
    settle(n);
}

static void leads_to_the_customer(const struct testing_pe *t, const char *prefix, uint8_t subnet)
{
    const struct forward_route *r = testing_pe_route(t, RED, prefix);
    assert_non_null(r);
    assert_int_equal(r->kind, ROUTE_GATEWAY);
    assert_int_equal(r->port, PORT);
    assert_int_equal(r->vlan, VLAN);
    assert_int_equal(r->gateway.family, IP_V4);
    assert_memory_equal(r->gateway.a.b, ((uint8_t[]){10, subnet, 0, 2}), 4);
}

static bool is_told(const struct net *n, unsigned i, const char *prefix)
{
    struct ip_prefix p = testing_prefix(prefix);
    struct bgp_nlri nlri;
    uint8_t raw[64];
    size_t at = 0;
    bgp_nlri_next(BGP_IPV4_UNICAST, false, raw, bgp_prefix_encode(&p, raw), &at, &nlri);
    const struct bgp_route *r =
        bgp_rib_find(bgp_vrf_rib(pe_speaker(n->edge[i].pe), RED, BGP_IPV4_UNICAST), nlri.key, nlri.key_len);
    return r && bgp_rib_told(r, n->peer[i]);
}

static void from_site_to_site(void **state)
{
    struct net *n = start();
    says(n, 0, "172.16.0.0/12", false);
    leads_to_the_customer(&n->edge[0], "172.16.0.0/12", 1);
    const struct forward_route *r = testing_pe_route(&n->edge[1], RED, "172.16.0.0/12");
    struct ip6 service = testing_service(1, RED);
    assert_non_null(r);
    assert_int_equal(r->kind, ROUTE_REMOTE);
    assert_memory_equal(r->service_sid.b, service.b, 16);
    assert_true(is_told(n, 1, "172.16.0.0/12"));
    assert_true(is_told(n, 1, "10.1.0.0/16")); /* the other edge's subnet */
    assert_true(is_told(n, 1, "10.2.0.0/16")); /* and this one's own */
    assert_false(is_told(n, 0, "172.16.0.0/12"));
    says(n, 0, "172.16.0.0/12", true);
    assert_null(testing_pe_route(&n->edge[0], RED, "172.16.0.0/12"));
    assert_null(testing_pe_route(&n->edge[1], RED, "172.16.0.0/12"));
    assert_false(is_told(n, 1, "172.16.0.0/12"));
    end(n);
}

/* A site on both edges: each takes its own way, and the other's when that is gone. */
static void two_ways(void **state)
{
    struct net *n = start();
    says(n, 0, "172.16.0.0/12", false);
    says(n, 1, "172.16.0.0/12", false);
    leads_to_the_customer(&n->edge[0], "172.16.0.0/12", 1);
    leads_to_the_customer(&n->edge[1], "172.16.0.0/12", 2);
    bgp_peer_transport_failed(pe_speaker(n->edge[0].pe), n->peer[0], BGP_ACCEPTED, n->bgp.now);
    n->peer[0] = 0;
    settle(n);
    const struct forward_route *r = testing_pe_route(&n->edge[0], RED, "172.16.0.0/12");
    assert_non_null(r);
    assert_int_equal(r->kind, ROUTE_REMOTE);
    leads_to_the_customer(&n->edge[1], "172.16.0.0/12", 2);
    end(n);
}

/* What the file says has its place, whatever a customer says; and a gateway must be somewhere. */
static void what_is_ours_stays(void **state)
{
    struct net *n = start();
    unsigned before = n->edge[0].n_routes;
    says(n, 0, "10.1.0.0/16", false); /* the subnet itself */
    assert_null(testing_pe_route(&n->edge[0], RED, "10.1.0.0/16"));
    assert_int_equal(n->edge[0].n_routes, before);
    n->edge[0].own[0][0].attached = false;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    says(n, 0, "172.16.0.0/12", false);
    assert_null(testing_pe_route(&n->edge[0], RED, "172.16.0.0/12"));
    assert_non_null(strstr(n->edge[0].said, "10.1.0.2, which is in no subnet of VRF 100"));
    end(n);
}

static void customers_come_and_go_with_the_file(void **state)
{
    struct net *n = start();
    says(n, 0, "172.16.0.0/12", false);
    assert_int_equal(bgp_peer_remove(pe_speaker(n->edge[0].pe), n->peer[0], n->bgp.now), 0);
    n->peer[0] = 0;
    settle(n);
    assert_null(testing_pe_route(&n->edge[0], RED, "172.16.0.0/12"));
    n->edge[0].vrf[0].customers = false;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    assert_null(bgp_vrf_rib(pe_speaker(n->edge[0].pe), RED, BGP_IPV4_UNICAST));
    assert_non_null(testing_pe_route(&n->edge[0], RED, "10.2.0.0/16")); /* the VPN goes on */
    n->edge[0].vrf[0].customers = true;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    attach(n, 0);
    settle(n);
    assert_true(is_told(n, 0, "10.2.0.0/16"));
    says(n, 0, "172.16.0.0/12", false);
    leads_to_the_customer(&n->edge[0], "172.16.0.0/12", 1);
    end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_site_to_site),
        cmocka_unit_test(two_ways),
        cmocka_unit_test(what_is_ours_stays),
        cmocka_unit_test(customers_come_and_go_with_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
