#!/usr/bin/env python3
"""BIRD between two of our speakers, as route reflector for IPv6 unicast: what it does not know (our beacon, unknown attributes,
Prefix-SID) passes unchanged but for the Partial bit, which RFC 4271 5 asks of it.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bgp_lab import Bird, Lab, Pe, attributes_of, check, until  # noqa: E402

with Lab("bird") as net:
    capture = net.capture()
    rr = net.host(9)
    bird = Bird(rr, net.host(1).six, net.host(2).six)
    one, two = Pe(net.host(1), rr.six, retry=200), Pe(net.host(2), rr.six, retry=200)
    one.up(rr.six), two.up(rr.six)
    one.send("unicast 2001:db8:1::/48 beacon=" + "5a" * 1500 + " fill=f7:1500", "unicast 2001:db8:2::/48 sid=fcbb:bb00:1:f00a::",
             "unicast 2001:db8:4::/48 fill=f7:3800", "unicast 2001:db8:3::/48 fill=f7:3000")
    for i in (1, 2, 3):
        two.route(f"2001:db8:{i}::/48")
    sent, got = one.dump(), two.dump()
    for i, types in ((1, (245, 0xf7)), (2, (40,)), (3, (0xf7,))):
        route = f"2001:db8:{i}::/48"
        before = {k: v for _, k, v in attributes_of(bytes.fromhex(sent[route]["attributes"]))}
        after = {k: (f, v) for f, k, v in attributes_of(bytes.fromhex(got[route]["attributes"]))}
        check(all(after[k][1] == before[k] for k in types), f"{route}: attributes {types} arrive with every octet")
        check(all(after[k][0] & 0x20 for k in types), f"{route}: with Partial set")
    check("2001:db8:4::/48" in bird.ask("show", "route") and "2001:db8:4::/48" not in got,
          "a route with an attribute of 3800 octets ends in BIRD: it has it and does not say it")
    check(two.peers()[rr.six]["faulty_updates"] == 0 and one.peers()[rr.six]["dropped"] == 0, "BIRD says nothing that is wrong")
    since = two.settle()
    bird.process.kill()
    two.down(rr.six, since)
    until(lambda: not [p for p in two.dump().values() if p["from"] != "self"] or all(
        p["stale"] for p in two.dump().values() if p["from"] != "self"), "its routes are gone or stale")
    one.close(), two.close()
    capture.check(1, 2)
