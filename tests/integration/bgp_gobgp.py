#!/usr/bin/env python3
"""GoBGP as route reflector between two of our PEs, and as client of our reflector, beside a client of raw bytes that compares
what goes in with what comes out, octet for octet. tshark reads everything that we sent.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import base64
import ipaddress
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bgp_lab import Gobgp, Lab, Pe, Raw, Reflector, attributes_of, check, until  # noqa: E402

BEACON = "5a" * 1500
SERVICE = "sid=fcbb:bb00:1:f00a:: rt=65000:10 rt=65000:11"


def through_gobgp(lab):
    """Two PEs, GoBGP between them."""
    rr = lab.host(9)
    gobgp = Gobgp(rr, lab.host(1).six, lab.host(2).six, reflector=True)
    one, two = Pe(lab.host(1), rr.six), Pe(lab.host(2), rr.six)
    one.up(rr.six), two.up(rr.six)
    one.send(f"rt5 65000:10 10.1.0.0/16 {SERVICE} color=20 beacon={BEACON} fill=f7:1500",
             f"rt5 10.0.0.1:7 2001:db8:1::/48 {SERVICE} beacon=01020304",
             f"vpn 65000:10 10.4.0.0/16 {SERVICE} attr=f8:c0:0102",
             f"vpn 65000:10 2001:db8:4::/48 {SERVICE}",
             "policy 1 20 fd00::2 pref=300 bsid=fcbb:bb00:1:b:: list=fcbb:bb00:2::,fcbb:bb00:3:: list=fcbb:bb00:4::",
             "policy 2 20 fd00::2 pref=200 name=backup list=fcbb:bb00:5::",
             "unicast fcbb:bb00:1::/48")
    heard = two.route("10.1.0.0/16")
    check(heard["sid"] == "fcbb:bb00:1:f00a::" and heard["behaviour"] == 64 and heard["color"] == 20, "GoBGP reflects RT-5 with its SID")
    check(heard["beacon"] == BEACON, "and 1500 octets of beacon")
    check(two.route("2001:db8:1::/48")["sid"] == "fcbb:bb00:1:f00a::", "also for IPv6")
    check(two.route("10.4.0.0/16")["sid"] == two.route("2001:db8:4::/48")["sid"] == "fcbb:bb00:1:f00a::", "VPNv4 and VPNv6 with SIDs")
    policy = two.wait(lambda e: e["event"] == "policy" and e["distinguisher"] == 1, "an SR Policy")
    check((policy["preference"], policy["bsid"]) == (300, "fcbb:bb00:1:b::") and
          policy["lists"] == [["fcbb:bb00:2::", "fcbb:bb00:3::"], ["fcbb:bb00:4::"]], "an SR Policy with its lists")
    named = two.wait(lambda e: e["event"] == "policy" and e["distinguisher"] == 2, "an SR Policy with a name")
    check(named["lists"] == [["fcbb:bb00:5::"]] and named["name"].startswith("backup"),
          "a policy's name arrives with three octets that GoBGP adds, its lists are right")
    sent, got = one.dump(), until(lambda: (lambda d: d if len(d) == 7 else None)(two.dump()), "all seven routes")
    for route in sent:
        if "(2)" in route:
            continue
        added = (9, 10)
        before = [a for a in attributes_of(bytes.fromhex(sent[route]["attributes"]))]
        after = [(f & ~0x20 if k in (0xf7, 0xf8) else f, k, v)
                 for f, k, v in attributes_of(bytes.fromhex(got[route]["attributes"])) if k not in added]
        check(sorted(before) == sorted(after) and sent[route]["nlri"] == got[route]["nlri"], f"{route}: octet for octet {sorted(set(before) ^ set(after)) or ''}")
    since = two.settle()
    one.send("withdraw rt5 65000:10 10.1.0.0/16", "withdraw policy 1 20 fd00::2")
    two.route("10.1.0.0/16", withdrawn=True, since=since)
    two.wait(lambda e: e["event"] == "policy" and e["withdrawn"] and e["distinguisher"] == 1, "its end", since)
    check(len(two.dump()) == 5, "withdraws arrive")
    for pe in (one, two):
        pe.close()
    gobgp.kill()


def clients_of_ours(lab):
    """Our reflector between two GoBGPs, a PE of ours and raw bytes."""
    rr, a, b, c, d = (lab.host(n) for n in (19, 11, 12, 13, 14))
    reflector = Reflector(rr, *(h.six for h in (a, b, c, d)))
    one, two = Gobgp(a, rr.six, d.six), Gobgp(b, rr.six)
    pe, raw = Pe(c, rr.six), Raw(d, rr.six, families=((25, 70), (2, 1), (1, 128))).up()
    beside = Raw(d, a.six, families=((25, 70), (2, 1), (1, 128)), identifier="10.0.0.114").up()  # what GoBGP itself says
    one.up(rr.six), two.up(rr.six), pe.up(rr.six)
    reflector.up(*(h.six for h in (a, b, c, d)))
    one.add("-a", "evpn", "prefix", "10.2.0.0/16", "etag", "0", "label", "100", "rd", "65000:20", "rt", "65000:20", "encap", "vxlan",
            "router-mac", "02:00:00:00:00:0a")
    one.add("-a", "ipv6", "2001:db8:2::/48", "med", "7", "community", "65000:1", "large-community", "65000:1:2")
    one.add("-a", "vpnv4", "10.20.0.0/16", "label", "17", "rd", "65000:20", "rt", "65000:20", "nexthop", a.four)
    pe.send(f"rt5 65000:30 10.3.0.0/16 {SERVICE} beacon=0a0b0c color=3")
    for family, count in (("evpn", 2), ("ipv6", 1), ("vpnv4", 1)):
        until(lambda: sum(len(v) for v in two.rib(family).values()) == count, f"{count} routes of {family} at the other GoBGP", step=0.2)
    check(pe.route("10.2.0.0/16")["communities"].startswith("0002fde8"), "GoBGP's RT-5 through our reflector at our PE")
    seen = str(two.rib("evpn"))
    sid = base64.b64encode(ipaddress.IPv6Address("fcbb:bb00:1:f00a::").packed).decode()
    check("10.3.0.0/16" in seen and sid in seen, "our RT-5 with its SID at the other GoBGP")

    def routes(peer):
        return {k: sorted(a for a in u[0] if a[1] not in (9, 10)) for u in peer.updates() for k in [
            a[2] for a in u[0] if a[1] == 14] if u[0]}

    until(lambda: len(routes(beside)) >= 3 and len(routes(raw)) >= 4, "the same UPDATEs on both ways")
    direct, reflected = routes(beside), routes(raw)
    for key, attributes in direct.items():
        check(key in reflected, f"MP_REACH_NLRI of {len(key)} octets is the same behind our reflector")
        same = [(f & ~0x10, k, v) for f, k, v in attributes if k != 14]
        check(same == [(f & ~0x10, k, v) for f, k, v in reflected[key] if k != 14], "and so is every other attribute")
    two.kill()
    since = pe.settle()
    one.gobgp("global", "rib", "del", "-a", "evpn", "prefix", "10.2.0.0/16", "etag", "0", "label", "100", "rd", "65000:20")
    pe.route("10.2.0.0/16", withdrawn=True, since=since)
    check(reflector.peers()[c.six]["dropped"] == 0, "withdraws pass, nobody's session ended for another's death")
    raw.close(), beside.close(), pe.close()


with Lab("gobgp") as net:
    capture = net.capture()
    through_gobgp(net)
    clients_of_ours(net)
    capture.check(1, 2, 13, 19)
