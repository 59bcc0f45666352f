/* The configuration: what the documented example means, that printing and reading again gives the same, and what each
 * mistake is called. */
#include "router/router_config.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/test.h"
#include "os/file.h"
#include "router/eal.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct buf document;

/* The first ```yaml block of docs/router-config.md. */
static int set_up(void **state)
{
    struct error err = {""};
    const char *root = getenv("MERIDIAN_SOURCE");
    char path[512];
    snprintf(path, sizeof(path), "%s/docs/router-config.md", root ? root : ".");
    if (file_read(&document, path, 1 << 20, &err))
        fail_msg("%s", err.text);
    return 0;
}

static int tear_down(void **state)
{
    buf_done(&document);
    return 0;
}

static char *example(void)
{
    const char *from = strstr(buf_str(&document), "```yaml\n");
    assert_non_null(from);
    from += strlen("```yaml\n");
    const char *end = strstr(from, "```");
    return strndup(from, (size_t)(end - from));
}

static void read_example(struct router_config *c)
{
    struct error err = {""};
    char *text = example();
    if (router_config_read(c, text, strlen(text), &err))
        fail_msg("%s", err.text);
    free(text);
}

static bool is_ip6(const struct ip6 *a, const char *text)
{
    char mine[IP_TEXT_SIZE];
    return !strcmp(ip6_print(mine, a), text);
}

static void the_example_means_what_it_says(void **state)
{
    struct router_config c;
    read_example(&c);
    assert_string_equal(c.name, "pe1");
    assert_int_equal(c.id, 1);
    assert_true(is_ip6(&c.loopback, "fd00:6d65::1"));
    assert_int_equal(c.locator.len, 48);
    assert_int_equal(c.block_bits, 32);
    assert_int_equal(c.n_trusted, 1);
    assert_int_equal(c.trusted[0][0], 0x3b);
    assert_int_equal(c.mode, LANE_MODE_LANES);
    assert_int_equal(c.n_ports, 3);

    const struct config_port *p = &c.ports[0];
    assert_string_equal(p->name, "to-p1");
    assert_int_equal(p->kind, PORT_CORE);
    assert_true(p->has_memif && p->has_fibre && !p->has_tap && !p->has_pci);
    assert_string_equal(p->memif.server, "/run/meridian/pe1-p1.sock");
    assert_int_equal(p->memif.ring, 1024);
    assert_true(p->fibre.rate_bps == 10000000000u && p->rate_bps == 10000000000u);
    assert_true(p->fibre.km > 299.9 && p->fibre.km < 300.1);
    assert_int_equal(p->fibre.jitter_ns, 2000);
    assert_int_equal(p->peer, 2);
    assert_int_equal(p->mtu, 1900);
    assert_true(p->pool_cells > 4096);
    assert_true(p->link_window > 1024 + 7300 && p->link_window < 1024 + 7350); /* the ring, and 3 ms of fibre */

    p = &c.ports[1];
    assert_int_equal(p->kind, PORT_ACCESS);
    assert_string_equal(p->tap.namespace_, "hospital-a");
    assert_true(p->tap.keep);
    assert_int_equal(p->mtu, 1500);
    assert_int_equal(p->n_pfc, 2);
    assert_int_equal(p->pfc[1], 4);

    assert_true(c.ports[2].has_pci);

    assert_int_equal(c.access[0].vrf, 100);
    assert_int_equal(c.access[0].port, 1);
    assert_int_equal(c.access[0].tenant, 7); /* its VRF's */
    assert_int_equal(c.access[0].n_gateways, 2);
    assert_int_equal(c.access[0].gateways[0].len, 24);
    assert_int_equal(c.access[0].gateways[0].a.b[3], 1);
    assert_int_equal(c.access[0].priorities.parameter, 3);
    assert_int_equal(c.access[0].classes[0].dscp, 10);
    assert_int_equal(c.access[0].classes[0].class_, LANE_PARAMETER);

    assert_int_equal(c.routes[0].kind, ROUTE_REMOTE);
    assert_int_equal(c.routes[0].vrf, 100);
    assert_int_equal(c.routes[0].paths.inference, 1);
    assert_int_equal(c.routes[0].paths.bulk, 1);
    assert_int_equal(c.routes[1].kind, ROUTE_ADJACENT);
    assert_int_equal(c.routes[1].vrf, 0);
    assert_int_equal(c.sids[0].behaviour, SID_END_NEXT_CSID);
    assert_int_equal(c.sids[2].behaviour, SID_END_DT46_NEXT_CSID);
    assert_int_equal(c.sids[2].vrf, 100);
    assert_int_equal(c.paths[0].n_sids, 1);
    assert_true(c.paths[0].lanes);
    assert_int_equal(c.slices[0].class_, LANE_PARAMETER);
    assert_int_equal(c.slices[0].guarantee_bps, 2000000000);
    assert_int_equal(c.slices[0].limits.drop_cells, 8192);
    assert_int_equal(c.ipfix.collectors[0].port, 4739);
    assert_string_equal(c.metrics[0].at, "127.0.0.1:9464");
    assert_true(c.has_xsec && c.xsec.lifetime_ns == 3600 * NS_PER_S);
    assert_string_equal(c.xsec.kit, "/etc/meridian/pe1.kit");
    assert_int_equal(c.worker.core, -1);
    assert_int_equal(c.memory.huge, EAL_HUGE_AUTO);
    assert_int_equal(c.log.level, LOG_LEVEL_INFO);
    assert_true(c.lanes.control_loss > 0.0099 && c.lanes.control_loss < 0.0101);
    assert_true(c.memory.packets > c.ports[0].pool_cells);
    router_config_free(&c);
}

static void what_is_in_effect_reads_back_as_the_same(void **state)
{
    struct router_config c, again;
    struct buf first = {0}, second = {0};
    struct error err = {""};
    read_example(&c);
    assert_int_equal(fields_print(&first, &router_config_fields, &c), 0);
    if (router_config_read(&again, buf_str(&first), first.len, &err))
        fail_msg("%s in\n%s", err.text, buf_str(&first));
    assert_int_equal(fields_print(&second, &router_config_fields, &again), 0);
    assert_string_equal(buf_str(&first), buf_str(&second));
    buf_done(&first);
    buf_done(&second);
    router_config_free(&c);
    router_config_free(&again);
}

/* Every key of the tables has its row in the document, and no row is of a key that is not there. */
static void look_for_keys(const struct fields *f, const char *above, unsigned *n)
{
    for (const struct field *d = f->field; d->kind != FIELD_END; d++) {
        char path[128], row[160];
        snprintf(path, sizeof(path), "%s%s%s", above, above[0] ? "." : "", d->key);
        snprintf(row, sizeof(row), "\n| `%s` |", path);
        if (!strstr(buf_str(&document), row))
            fail_msg("docs/router-config.md does not explain %s", path);
        ++*n;
        if (d->sub)
            look_for_keys(d->sub, path, n);
    }
}

static void the_document_has_every_key_and_no_other(void **state)
{
    unsigned n = 0, rows = 0;
    look_for_keys(&router_config_fields, "", &n);
    for (const char *p = buf_str(&document); (p = strstr(p, "\n| `")); p++)
        rows++;
    assert_int_equal(rows, n);
}

/* The example with one line put in place of another is refused with this sentence. */
static void refused(const char *line, const char *by, const char *says)
{
    struct router_config c;
    struct error err = {""};
    char *text = example(), *at = strstr(text, line);
    struct buf b = {0};
    if (!at)
        fail_msg("the example has no \"%s\"", line);
    buf_append(&b, text, (size_t)(at - text));
    buf_append_str(&b, by);
    buf_append_str(&b, at + strlen(line));
    int rc = router_config_read(&c, buf_str(&b), b.len, &err);
    if (rc != -EINVAL || !strstr(err.text, says))
        fail_msg("\"%s\" for \"%s\" gives %d \"%s\", not \"%s\"", by, line, rc, err.text, says);
    for (const uint8_t *p = (const uint8_t *)&c; p < (const uint8_t *)(&c + 1); p++)
        assert_int_equal(*p, 0);
    free(text);
    buf_done(&b);
}

static void every_mistake_has_its_sentence(void **state)
{
    refused("name: pe1\n", "nama: pe1\n", "nama");
    refused("name: pe1\n", "", "name: is missing");
    refused("id: 1\n", "id: one\n", "id: \"one\" is no whole number");
    refused("id: 1\n", "id: 0\n", "id: 0 is not between 1 and 4294967295");
    refused("loopback: fd00:6d65::1", "loopback: fd00::g", "loopback: ");
    refused("locator: fcbb:bb00:1::/48", "locator: fcbb:bb00::/32", "locator: an IPv6 prefix longer");
    refused("mode: lanes", "mode: magic", "mode: \"magic\" is none of: lanes, fifo, ecn, pfc");
    refused("3b6a27bcceb6a42d", "xx6a27bcceb6a42d", "trusted[0]: ");
    refused("    kind: core\n", "    kind: cpre\n", "ports[0].kind: \"cpre\" is none of: core, access");
    refused("      rate: 10 Gbit/s", "      rate: fast", "ports[0].fibre.rate: \"fast\" is no rate such as 10G");
    refused("      km: 300", "      km: -3", "ports[0].fibre.km: ");
    refused("      jitter: 2 us", "      jitter: 2", "ports[0].fibre.jitter: \"2\" is no time such as 5 ms");
    refused("      loss: 0", "      loss: 2", "ports[0].fibre.loss: \"2\" is no share");
    refused("    peer: 2\n", "    peer: 2\n    foreign: 02:00:00:00:00:01\n", "ports[0]: either peer");
    refused("    peer: 2\n", "    foreign: 03:00:00:00:00:01\n", "ports[0].foreign: 03:00:00:00:00:01 is a group's");
    refused("    peer: 2\n", "    foreign: 02:00:00\n", "ports[0].foreign: \"02:00:00\" is no MAC");
    refused("    peer: 2\n", "    mtu: 1200\n", "ports[0]: mtu: IPv6 links");
    refused("    peer: 2\n", "    mtu: 100000\n", "ports[0].mtu: 100000 is not between");
    refused("    peer: 2\n", "    pfc: [1]\n", "ports[0]: pfc is spoken to hosts");
    refused("    pfc: [3, 4]\n", "    pfc: [3, 9]\n", "ports[1].pfc[1]: 9 is not between 0 and 7");
    refused("    pfc: [3, 4]\n", "    peer: 3\n", "ports[1]: peer and foreign are for core ports");
    refused("    pfc: [3, 4]\n", "    lossy: {pfc_xoff: 10, pfc_xon: 10}\n", "ports[1]: lossy: pfc_xon");
    refused("    pfc: [3, 4]\n", "    lossy: {drop: 10, ecn: 11}\n", "ports[1]: lossy: ecn and pfc_xoff");
    refused("  - name: uplink\n", "  - name: to-p1\n", "the name \"to-p1\" is there twice");
    refused("    pci:\n", "    tap: {device: x}\n    pci:\n", "ports[2]: exactly one of memif, tap and pci");
    refused("      server: /run/meridian/pe1-p1.sock", "      ring: 1024", "ports[0]: memif: exactly one of server");
    refused("      server: /run/meridian/pe1-p1.sock", "      server: a\n      ring: 1000", "is no power of two");
    refused("  - name: red\n", "  - name: red\n    id: 9\n  - name: red\n",
        "the name \"red\" or the id 100 is there twice");
    refused("    vrf: red\n    gateways", "    vrf: blue\n    gateways", "access[0]: there is no VRF \"blue\"");
    refused("  - port: hospital-a\n", "  - port: to-p1\n", "access[0]: \"to-p1\" is a core port");
    refused("  - port: hospital-a\n", "  - port: nowhere\n", "access[0]: there is no port \"nowhere\"");
    refused(
        "        class: parameter\n", "        class: control\n", "access[0].classes[0].class: \"control\" is none");
    refused("10.1.0.1/24", "10.1.0.1/33", "access[0].gateways[0]: ");
    refused("    path: 1\n", "    path: 9\n", "routes[0]: there is no path 9");
    refused("    class: parameter\n    sid", "    class: parameter\n    backup: 9\n    sid",
        "slices[0]: backup: another path");
    refused("    path: 1\n", "    path: 1\n    local: yes\n", "routes[0]: exactly one of");
    refused("    path: 1\n", "    path: 1\n    local: perhaps\n", "routes[0].local: \"perhaps\" is no yes or no");
    refused("    port: to-p1\n  - prefix", "    gateway: fe80::1\n  - prefix", "routes[1]: gateway: by which port?");
    refused("    port: to-p1\n  - prefix", "    port: hospital-a\n  - prefix", "routes[1]: a port alone");
    refused("prefix: 10.2.0.0/24", "prefix: 10.2.0.1/24", "routes[0].prefix: ");
    refused("    behaviour: uN\n", "    behaviour: uN\n    port: to-p1\n", "sids[0]: port is for End.X and uA");
    refused("    behaviour: uA\n    port: to-p1\n", "    behaviour: uA\n", "sids[1]: port: the adjacency is missing");
    refused("    behaviour: uDT46\n    vrf: red\n", "    behaviour: uDT46\n", "sids[2]: vrf is missing");
    refused("    behaviour: uN\n", "    behaviour: uN\n    vrf: red\n", "sids[0]: vrf is for behaviours that");
    refused(
        "  - id: 1\n    sids", "  - id: 1\n    port: to-p1\n  - id: 1\n    sids", "paths[1]: the id 1 is there twice");
    refused("    guarantee: 2 Gbit/s\n", "    guarantee: 2 Gbit/s\n    cap: 1 Gbit/s\n",
        "slices[0]: cap is below guarantee");
    refused("  silence: 10 ms\n", "  silence: 4 ms\n", "lanes.silence: at least twice");
    refused("  state: /var/lib/meridian/pe1.xsec\n", "", "xsec.state");
    refused("  kit: /etc/meridian/pe1.kit\n", "  kit: /etc/meridian/pe1.kit\n  lifetime: 9 s\n",
        "xsec.lifetime: between 10 s");
    refused("name: pe1\n", "name: &a pe1\nuser: *a\n", "alias");
    refused("name: pe1\n", "name: [a, b]\n", "");
    refused("name: pe1\n", "name: \"this name is much longer than a name may be\"\n", "is longer than 31 bytes");
}

static void mistakes_of_bgp(void **state)
{
    refused("  as: 65000\n", "", "bgp.as: is missing");
    refused("  as: 65000\n", "  as: 65000\n  identifier: fd00::1\n", "bgp.identifier: is written like an IPv4");
    refused("  as: 65000\n", "  as: 65000\n  announce: [10.0.0.0/8]\n", "bgp.announce[0]: the underlay is IPv6");
    refused("  as: 65000\n", "  as: 65000\n  hold: 2\n", "bgp.hold: 2 is not between");
    refused(
        "      md5: a secret of both\n", "    - address: fd00:6d65::ffff\n", "bgp.peers[1]: the same address twice");
    refused("      md5: a secret of both\n", "      families: [ipv4]\n", "bgp.peers[0].families[0]: \"ipv4\" is none");
    refused("    import: [\"65000:100\", \"65000:1\"]\n", "    import: [\"65000\"]\n", "vrfs[0]: import[0]: ");
    refused("    tenant: 7\n", "    rd: nobody\n", "vrfs[0]: rd: ");
    refused("        color: 20\n", "      - class: parameter\n", "vrfs[0]: classes[1]: the same class twice");
    refused("        guarantee: 1 Gbit/s\n", "        guarantee: 2G\n        cap: 1G\n",
        "vrfs[0]: classes[0]: cap is below");
    refused("    behaviour: uDT46\n    vrf: red\n",
        "    behaviour: uDT4\n    vrf: red\n  - sid: fcbb:bb00:1:f065::/64\n    "
        "behaviour: uDT46\n    vrf: blue\n",
        "sids[3]: there is no VRF \"blue\"");
    refused(
        "    tenant: 7\n", "    tenant: 7\n  - name: blue\n    id: 4196\n", "vrfs[1]: the service SID that follows");
    refused("    tenant: 7\n", "    tenant: 7\n  - name: blue\n    id: 65536\n", "vrfs[1]: rd is missing");
    refused("  - id: 1\n    sids", "  - id: 2147483648\n    sids", "paths[0]: ids from 2147483648 on are BGP's");
}

static void what_bgp_needs_follows_from_the_rest(void **state)
{
    static const char text[] =
        "name: a\nid: 258\nloopback: \"fd00::102\"\nlocator: \"fcbb:bb00:102::/48\"\nidentity: k\n"
        "punt: {device: mer0, addresses: [\"fd00::ffff\"]}\nbgp: {as: 65000}\n"
        "vrfs:\n  - {name: red, id: 100}\n  - {name: blue, id: 101, encrypt: yes, rd: \"65000:7\", "
        "import: [\"65000:1\"], export: [\"10.0.0.1:2\"]}\n";
    struct router_config c;
    struct error err = {""};
    uint8_t rd[8], targets[CONFIG_TARGETS_MOST][8];
    if (router_config_read(&c, text, sizeof(text) - 1, &err))
        fail_msg("%s", err.text);
    assert_memory_equal(c.bgp.identifier.a.b, "\0\0\1\2", 4);
    assert_int_equal(router_config_rd(&c, 0, rd, &err), 0);
    assert_memory_equal(rd, "\0\1\0\0\1\2\0\x64", 8);
    assert_int_equal(router_config_rd(&c, 1, rd, &err), 0);
    assert_memory_equal(rd, "\0\0\xfd\xe8\0\0\0\7", 8);
    assert_int_equal(router_config_targets(&c, 0, true, targets, CONFIG_TARGETS_MOST, &err), 1);
    assert_memory_equal(targets[0], "\0\2\xfd\xe8\0\0\0\x64", 8);
    assert_int_equal(router_config_targets(&c, 1, true, targets, CONFIG_TARGETS_MOST, &err), 1);
    assert_memory_equal(targets[0], "\1\2\x0a\0\0\1\0\2", 8);
    assert_true(is_ip6(&router_config_service(&c, 100)->sid.a, "fcbb:bb00:102:f064::"));
    assert_true(is_ip6(&router_config_service(&c, 101)->sid.a, "fcbb:bb00:102:f065::"));
    assert_int_equal(router_config_service(&c, 101)->sid.len, 64);
    assert_true(router_config_encrypted(&c, 101) && !router_config_encrypted(&c, 100));
    assert_int_equal(c.n_routes, 2); /* the loopback and the punt's other address are ours */
    assert_int_equal(c.routes[0].kind, ROUTE_LOCAL);
    assert_int_equal(c.n_sids, 3); /* two services and the node */
    router_config_free(&c);
}

static void what_is_no_yaml_is_refused_and_says_where(void **state)
{
    struct router_config c;
    struct error err = {""};
    const char *bad = "name: pe1\nports:\n  - name: a\n    kind: core\n    nonsense: 1\n";
    assert_int_equal(router_config_read(&c, bad, strlen(bad), &err), -EINVAL);
    assert_non_null(strstr(err.text, "nonsense"));
    assert_non_null(strstr(err.text, "line: 4"));
    assert_int_equal(router_config_read(&c, "", 0, &err), -EINVAL);
    assert_int_equal(router_config_read(&c, "{{{", 3, &err), -EINVAL);
    assert_int_equal(router_config_read(&c, "- a\n", 4, &err), -EINVAL);
    assert_int_equal(router_config_load(&c, "/nonexistent", &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_means_what_it_says),
        cmocka_unit_test(what_is_in_effect_reads_back_as_the_same),
        cmocka_unit_test(the_document_has_every_key_and_no_other),
        cmocka_unit_test(every_mistake_has_its_sentence),
        cmocka_unit_test(mistakes_of_bgp),
        cmocka_unit_test(what_bgp_needs_follows_from_the_rest),
        cmocka_unit_test(what_is_no_yaml_is_refused_and_says_where),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
