#!/usr/bin/env python3
"""What forwarding cores put on the wire, in tshark's eyes: VPNs over NEXT-C-SID containers, containers with an SRH and full
SIDs with an SRH, without lanes and in lanes; hosts' packets, ICMP errors, ARP and discovery. No frame malformed, no
complaint, every checksum right, and on every link of the way the destination, segments left, hop limit, options and inner
packet that RFC 8986, 8754 and 9800 want. (tshark of Debian 13 shows options 0x12 and 0x1e as unknown.)

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import ipaddress
import os
import pathlib
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ.get("MERIDIAN_BUILD", "build/main"))
FIELDS = ["frame.protocols", "eth.type", "eth.src", "eth.dst", "ipv6.hlim", "ipv6.flow", "ipv6.tclass.ecn", "ipv6.tclass.dscp", "ipv6.nxt",
          "ipv6.dst", "ipv6.src", "ipv6.opt.type", "ipv6.opt.length", "ipv6.opt.unknown", "ipv6.opt.experimental", "ipv6.hopopts.len_oct",
          "ipv6.routing.segleft", "ipv6.routing.srh.last_entry", "ipv6.routing.srh.addr", "ip.dst", "ip.ttl", "ip.dsfield.ecn",
          "udp.srcport", "udp.dstport", "udp.length", "icmpv6.type", "icmpv6.code", "icmpv6.mtu", "icmp.type", "icmp.code", "icmp.mtu",
          "icmpv6.checksum.status", "icmp.checksum.status", "ip.checksum.status", "udp.checksum.status",
          "vlan.id", "_ws.malformed", "_ws.expert.message"]
# Options that tshark does not know, and quoted packets that had no hops left.
FINE = {"", "Unknown Data (not interpreted)", '"Time To Live" only 1'}
BLOCK = "fcbb:bb00"
NETWORKS = {"container": 4, "containers": 10, "full": 5}

failures = []


def expect(is_, should, what):
    if is_ != should:
        failures.append(f"{what}: {is_!r}, expected {should!r}")


def address(*groups):
    return ipaddress.IPv6Address(":".join(groups + ("0",) * (8 - len(groups))))


def full(router, function, number):
    return ipaddress.IPv6Address(f"2001:db8:{router:x}::{function}:{number}")


def way(name, routers):
    """(destination, segments left, SRH's list) on each link from the left to the right."""
    hops = routers - 2
    if name == "full":
        sids = [full(k, "e", 1) for k in range(2, routers)] + [full(routers, "d", 1)]
        listed = sids[:0:-1]
        return [(sid, len(sids) - 1 - i, listed) for i, sid in enumerate(sids)]
    csids = ["e001"] * hops
    last = [f"{routers:x}", "d001"]
    if hops + 2 <= 6:
        return [(address(*BLOCK.split(":"), *csids[i:], *last), None, []) for i in range(hops + 1)]
    second = address(*BLOCK.split(":"), *csids[6:], *last)
    first = [(address(*BLOCK.split(":"), *csids[i:6]), 1, [second]) for i in range(6)]
    rest = [(address(*BLOCK.split(":"), *csids[6 + i:], *last), 0, [second]) for i in range(hops - 6 + 1)]
    return first + rest


def first(text):
    return text.split(",")[0]


def decode(path):
    shown = subprocess.run(["tshark", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Tfields",
                            "-Eseparator=/t", "-Eoccurrence=a", *sum((["-e", f] for f in FIELDS), [])],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    return [dict(zip(FIELDS, line.split("\t"))) for line in shown]


def all_sound(name, packets):
    for i, got in enumerate(packets, 1):
        expect(got["_ws.malformed"], "", f"{name} frame {i} malformed")
        expect(set(got["_ws.expert.message"].split(",")) - FINE, set(), f"{name} frame {i} complaints")
        for field in ("icmpv6.checksum.status", "icmp.checksum.status", "ip.checksum.status"):
            expect(set(got[field].split(",")) - {"", "1", "2"}, set(), f"{name} frame {i} {field}")


def tunnelled(packets, **inner):
    """Frames on core links that carry a host's packet with these fields."""
    return [p for p in packets if p["eth.type"] == "0x86dd" and p["frame.protocols"].count("ipv6") + p["frame.protocols"].count(":ip") > 1
            and p["ipv6.hopopts.len_oct"] and all(p[k].split(",")[-1] == v for k, v in inner.items())]


def on_every_link(name, routers, lanes, packets):
    expected = way(name, routers)
    for family, inner in (("4", {"ip.dst": "10.0.1.2", "udp.length": "108"}), ("6", {"ipv6.dst": "fd00:b::2", "udp.length": "108"})):
        seen = [p for p in tunnelled(packets, **inner) if p["ipv6.tclass.dscp"].split(",")[0] == "34"][:len(expected)]
        expect(len(seen), len(expected), f"{name} IPv{family} links")
        for i, (p, (dst, left, listed)) in enumerate(zip(seen, expected)):
            what = f"{name} IPv{family} link {i + 1}"
            expect(ipaddress.IPv6Address(first(p["ipv6.dst"])), dst, what + " destination")
            expect(first(p["ipv6.hlim"]), str(64 - i), what + " hop limit")
            expect(p["ipv6.routing.segleft"], "" if left is None else str(left), what + " segments left")
            expect([ipaddress.IPv6Address(a) for a in p["ipv6.routing.srh.addr"].split(",") if a], listed, what + " segment list")
            expect(p["ipv6.hopopts.len_oct"], "32" if lanes else "24", what + " options")
            # PadN aside: marking, NR, and in lanes the lane's.
            kinds = [int(t, 0) for t in p["ipv6.opt.type"].split(",") if int(t, 0) > 1]
            expect(kinds, [0x12, 0x1e] + ([0x3e] if lanes else []), what + " kinds of options")
            expect(p["ipv6.opt.unknown"].split(",")[0][:5], "01003", what + " FlowMonID")
            expect(first(p["ipv6.flow"]), first(seen[0]["ipv6.flow"]), what + " flow label")
            expect(first(p["udp.srcport"]), "1000", what + " inner port")
            expect(first(p["ipv6.tclass.ecn"]), "0" if family == "4" else "2", what + " ECN")


def errors(name, packets):
    """Both families' errors reach the hosts: hops at both PEs, too big, no route, no host."""
    told = [p for p in packets if p["frame.protocols"].split(":")[-1] == "data" and not p["ipv6.hopopts.len_oct"]
            and (first(p["icmpv6.type"]) in "1234" and p["icmpv6.type"] or p["icmp.type"])]
    kinds = {("6", first(p["icmpv6.type"]), first(p["icmpv6.code"])) if p["icmpv6.type"] else
             ("4", first(p["icmp.type"]), first(p["icmp.code"])) for p in told}
    expect(kinds >= {("4", "11", "0"), ("6", "3", "0"), ("4", "3", "4"), ("6", "2", "0"), ("6", "1", "0"), ("6", "1", "3")}, True,
           f"{name} kinds of errors {sorted(kinds)}")


def main():
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([BUILD / "tests/forward/forward_pcap", folder], check=True)
        for name, routers in NETWORKS.items():
            for lanes in (False, True):
                packets = decode(pathlib.Path(folder) / f"{name}{'-lanes' if lanes else ''}.pcap")
                total += len(packets)
                label = name + (" in lanes" if lanes else "")
                all_sound(label, packets)
                on_every_link(name, routers, lanes, packets)
                errors(label, packets)
    print("\n".join(failures[:40]) or f"{total} frames: tshark decodes them as they were meant")
    return bool(failures)


sys.exit(main())
