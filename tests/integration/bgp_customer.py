#!/usr/bin/env python3
"""Customers' routers at two PEs of ours (PE–CE, RFC 4364 7): FRR and BIRD with one AS number at two sites, and raw bytes of a third
site that says what a customer may not. Routes go from site to site with the customer's path, over RT-5; signatures, GTSM, limits,
the same address twice, deaths."""
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bgp_lab import AS, Frr, Lab, Pe, Raw, attribute, check, ip, stop, until  # noqa: E402

SITES = 64512  # both daemons' AS
V4, V6 = (1, 1), (2, 1)


class Bird:
    """A customer's router: two networks of its own, the PE its neighbour."""

    def __init__(self, host, pe, secret):
        self.host, self.control = host, host.lab.folder / f"bird-{host.number}.ctl"
        self.config = host.lab.folder / f"bird-{host.number}.conf"
        channels = "".join(f"{v} {{ import all; export where source = RTS_STATIC; }}; " for v in ("ipv4", "ipv6"))
        self.config.write_text(
            f"router id 10.0.0.{host.number};\nprotocol device {{ }}\n"
            f"protocol static {{ ipv4; route 10.4.0.0/16 blackhole {{ bgp_med = 44; }}; }}\n"
            f"protocol static {{ ipv6; route 2001:db8:4::/48 blackhole; }}\n"
            f"protocol bgp upstream {{ local {host.four} as {SITES}; neighbor {pe} as {AS}; password \"{secret}\"; connect retry time 1; "
            f"connect delay time 1; error wait time 1,2; {channels}}}\n")
        self.start()

    def start(self):
        self.process = self.host.start("bird", "-f", "-c", self.config, "-s", self.control, log="bird")

    def route(self, prefix):
        return self.host.run("birdc", "-s", self.control, "show", "route", prefix, "all", may_fail=True)


def frr_customer(host, pe, own, more=""):
    return Frr(host, families=(), asn=SITES, bgp=f" no bgp network import-check\n neighbor {pe} remote-as {AS}\n"
               f" neighbor {pe} timers connect 1\n neighbor {pe} ttl-security hops 1\n"
               f" address-family ipv4 unicast\n  neighbor {pe} activate\n  network 10.3.0.0/16\n exit-address-family\n"
               f" address-family ipv6 unicast\n  neighbor {pe} activate\n  network 2001:db8:3::/48\n exit-address-family{more}")


def from_site_to_site(lab):
    pe1, pe2, f, b, r = (lab.host(n) for n in (1, 2, 3, 4, 5))
    for pe in (pe1, pe2, f, b):
        ip("-n", pe.namespace, "addr", "add", f"fd07::{pe.number}/64", "dev", "e0", "nodad")
    frr, bird = frr_customer(f, pe1.four, f.four), Bird(b, pe2.four, "between us")
    one = Pe(pe1, pe2.six, f"{f.four},vrf=7,as={SITES},override,gtsm,site={AS}:1", vrf=f"7,e0,{pe1.four},fd07::1",
             listen=pe1.six, retry=300, restart=0)
    two = Pe(pe2, pe1.six, f"{b.four},vrf=7,as={SITES},override,md5=between us", f"{r.four},vrf=7,as=64999,passive,limit=3",
             vrf=f"7,e0,{pe2.four},fd07::2", listen=pe2.six, retry=300, restart=0)
    one.up(pe2.six), one.up(f.four), two.up(b.four)
    three = Raw(r, pe2.four, families=(V4, V6), asn=64999).up()
    two.up(r.four)

    here = one.wait(lambda e: e["event"] == "customer" and e["prefix"] == "10.3.0.0/16" and not e["withdrawn"], "FRR's network at its PE")
    check((here["vrf"], here["gateway"]) == (7, f.four), "its router is the gateway in its VRF")
    v6 = one.wait(lambda e: e["event"] == "customer" and e["prefix"] == "2001:db8:3::/48", "and its IPv6 network")
    check(v6["gateway"].startswith("f"), f"with an IPv6 gateway ({v6['gateway']})")
    there = two.route("10.3.0.0/16")
    check(there["family"] == "evpn" and there["sid"] == "fcbb:bb00:1:f007::" and "0002fde800000007" in there["communities"],
          "as RT-5 with the VRF's SID and target at the other PE")
    check("0003fde800000001" in there["communities"], "and the site it began in")

    until(lambda: f"{AS} {AS}" in bird.route("10.3.0.0/16"), "BIRD has FRR's network, the AS that both have replaced by ours")
    check(f"next_hop: {pe2.four}" in bird.route("10.3.0.0/16").lower(), "its PE is the next hop")
    check(f"{AS} {AS}" in until(lambda: bird.route("2001:db8:3::/48") if "via" in bird.route("2001:db8:3::/48") or
                                "unreachable" in bird.route("2001:db8:3::/48") else "", "and the IPv6 one"), "with the same path")
    shown = until(lambda: (lambda t: t if "10.4.0.0/16" in t else "")(frr.vtysh("show bgp ipv4 unicast")), "FRR has BIRD's network")
    check(any("10.4.0.0/16" in line and pe1.four in line and f"{AS} {AS}" in line for line in shown.splitlines()),
          "over its own PE, with the path of two")
    until(lambda: "2001:db8:4::/48" in frr.vtysh("show bgp ipv6 unicast"), "and the IPv6 one")

    heard = until(lambda: [u for u in three.updates() if u[1] == bytes([16, 10, 3])], "the third site hears FRR's network")[0]
    kinds = [a[1] for a in heard[0]]
    check(sorted(kinds) == [1, 2, 3], f"in the message's own fields, without anything of the provider's ({kinds})")
    path = next(a[2] for a in heard[0] if a[1] == 2)
    check(path == struct.pack(">BBII", 2, 2, AS, SITES), "and with FRR's own AS: this customer has another")
    return frr, bird, one, two, three


def what_a_customer_may_not(lab, two, one, three):
    base = attribute(0x40, 1, b"\0") + attribute(0x40, 2, struct.pack(">BBI", 2, 1, 64999)) + attribute(0x40, 3, bytes([10, 7, 0, 99]))
    evil = attribute(0xc0, 16, bytes.fromhex("0002fde800000008")) + attribute(0xc0, 245, b"beacon") + attribute(
        0xc0, 40, bytes.fromhex("0500220001001e00fcbb000000000000000000000000000000004000010006201010000000"))
    three.update(base + evil, bytes([24, 10, 5, 1]))
    there = one.route("10.5.1.0/24")
    check("0002fde800000008" not in there["communities"] and "0002fde800000007" in there["communities"],
          "a customer's route target does not leave its VRF")
    check("beacon" not in there and there["sid"] == "fcbb:bb00:2:f007::", "nor its beacon, nor its SID")
    peer = two.peers()[lab.host(5).four]
    check(peer["kind"] == "customer" and peer["vrf"] == 7 and peer["refused"]["provider_attributes"] == 1, "`bgp show` says so")
    loop = attribute(0x40, 1, b"\0") + attribute(0x40, 2, struct.pack(">BBII", 2, 2, 64999, AS)) + attribute(0x40, 3, bytes([10, 7, 0, 5]))
    three.update(loop, bytes([24, 10, 5, 2]))
    until(lambda: two.peers()[lab.host(5).four]["refused"].get("as_loop") == 1, "our AS in its path: a loop, counted")
    last = two.peers()[lab.host(5).four]["last_refused"]
    check(last == {"route": "10.5.2.0/24", "why": "our AS is in its path"}, "and said in words")
    since = one.settle()
    for i in range(3, 6):
        three.update(base, bytes([24, 10, 5, i]))
    until(lambda: three.notifications(), "more networks than agreed end the session")
    code, sub = three.notifications()[0]
    check((code, sub) in ((6, 1), (6, 9)), f"with Cease, maximum number of prefixes ({code}/{sub})")
    one.route("10.5.1.0/24", withdrawn=True, since=since)


def deaths(lab, frr, bird, one, two):
    since = two.settle()
    stop(bird.process)
    two.wait(lambda e: e["event"] == "customer" and e["withdrawn"] and e["prefix"] == "10.4.0.0/16", "BIRD ends: its network goes", since)
    until(lambda: "10.4.0.0/16" not in frr.vtysh("show bgp ipv4 unicast"), "from FRR too")
    since = two.settle()
    bird.start()
    two.up(lab.host(4).four, since)
    until(lambda: "10.4.0.0/16" in frr.vtysh("show bgp ipv4 unicast"), "it comes back, and so does its network")
    until(lambda: f"{AS} {AS}" in bird.route("10.3.0.0/16"), "and it hears FRR's again")
    one.kill()  # the PE itself: with its RT-5 the site goes from everywhere
    until(lambda: "10.3.0.0/16" not in bird.route("10.3.0.0/16"), "a PE's death takes its site from the others")


with Lab("customer") as net:
    capture = net.capture()
    daemons = from_site_to_site(net)
    what_a_customer_may_not(net, daemons[3], daemons[2], daemons[4])
    deaths(net, *daemons[:4])
    daemons[3].close()
    capture.check(1, 2)
