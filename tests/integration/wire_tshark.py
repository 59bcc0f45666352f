#!/usr/bin/env python3
"""What our codecs write in tshark's eyes: core packets with every set of hop-by-hop options and paths of one to four
addresses, ARP, neighbour discovery and ICMP errors. No field malformed, every checksum right, the values those that were
meant. (tshark of Debian 13 does not know option 0x12 and parameter problem code 4: it shows them as unknown.)

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import os
import pathlib
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ.get("MERIDIAN_BUILD", "build/main"))
FIELDS = ["frame.protocols", "ipv6.hopopts.len_oct", "ipv6.dstopts.len_oct", "ipv6.opt.type", "ipv6.opt.length", "ipv6.opt.unknown", "ipv6.opt.experimental",
          "ipv6.routing.segleft", "ipv6.routing.srh.last_entry", "ipv6.routing.srh.addr", "ipv6.dst", "ip.dst", "udp.dstport",
          "icmpv6.type", "icmpv6.code", "icmpv6.mtu", "icmp.type", "icmp.code", "icmp.mtu", "icmpv6.opt.mtu",
          "icmpv6.opt.prefix.flag.a", "icmpv6.nd.ra.router_lifetime", "arp.dst.proto_ipv4",
          "icmpv6.checksum.status", "icmp.checksum.status", "ip.checksum.status", "_ws.malformed", "_ws.expert.message"]
UNKNOWN = "Unknown Data (not interpreted)"
MARK, NR, LANE = "12345800", "000000000000004d", "01020304a0b0c0d0"
NUMBER = "a1b2c3d40000001122334455"
PATH = ["fcbb:bb00:1:a:b:c:d:e", "fcbb:bb00:1:1:2:3:4:5", "fcbb:bb00:1:6:7:8:9:0", "fcbb:bb00:1:f:f123::"]
SIZES = {0: "", 1: "8", 2: "16", 3: "24", 4: "16", 5: "24", 6: "24", 7: "32"}
ERRORS6 = [(1, 0), (1, 1), (1, 3), (1, 4), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (4, 4)]
ERRORS4 = [(3, 0), (3, 13), (3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (3, 2), (12, 0), (3, 2)]

failures = []


def expect(is_, should, what):
    if is_ != should:
        failures.append(f"{what}: {is_!r}, expected {should!r}")


def core(got, has, addresses):
    what = f"options {has}, {addresses} addresses"
    options = ([MARK] if has & 1 else []) + ([NR] if has & 2 else []) + ([LANE] if has & 4 else [])
    shown = [o for o in got["ipv6.opt.unknown"].split(",") + got["ipv6.opt.experimental"].split(",") if o]
    path = PATH[4 - addresses:]
    expect(shown, options, what)
    expect(got["ipv6.hopopts.len_oct"], SIZES[has], what + " size")
    expect(got["ipv6.dst"], path[0], what + " destination")
    expect(got["ipv6.routing.srh.addr"], ",".join(reversed(path[1:])), what + " segments")
    expect(got["ipv6.routing.segleft"], str(addresses - 1) if addresses > 1 else "", what + " segments left")
    expect(got["ip.dst"], "10.1.0.9", what + " inner packet")
    expect(got["udp.dstport"], "9", what + " inner port")


def stream(got, addresses):
    """The number of a 1+1 stream: a Destination Options header that the way does not look into."""
    what = f"stream, {addresses} addresses"
    core(dict(got, **{"ipv6.opt.unknown": got["ipv6.opt.unknown"].replace("," + NUMBER, ""),
                      "ipv6.opt.experimental": got["ipv6.opt.experimental"].replace("," + NUMBER, "")}), 7, addresses)
    expect(got["ipv6.dstopts.len_oct"], "16", what)
    expect(NUMBER in (got["ipv6.opt.unknown"] + "," + got["ipv6.opt.experimental"]).split(","), True, what + " number")


def first(text):
    return text.split(",")[0]


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "wire.pcap"
        subprocess.run([BUILD / "tests/wire/wire_pcap", path], check=True)
        shown = subprocess.run(["tshark", "-r", path, "-o", "ip.check_checksum:TRUE", "-Tfields", "-Eseparator=/t", "-Eoccurrence=a",
                                *sum((["-e", f] for f in FIELDS), [])], check=True, capture_output=True, text=True).stdout.splitlines()
    packets = [dict(zip(FIELDS, line.split("\t"))) for line in shown]
    expect(len(packets), 32 + 4 + 2 * len(ERRORS6) + 4, "packets")
    for i, got in enumerate(packets):
        expect(got["_ws.malformed"], "", f"packet {i + 1} malformed")
        expect([m for m in got["_ws.expert.message"].split(",") if m and m != UNKNOWN], [], f"packet {i + 1} complaints")
        for field in ("icmpv6.checksum.status", "icmp.checksum.status", "ip.checksum.status"):
            expect(set(got[field].split(",")) - {"", "1", "2"}, set(), f"packet {i + 1} {field}")
    for i in range(32):
        core(packets[i], i // 4, i % 4 + 1)
    arp, ns, na, ra = packets[32:36]
    expect(arp["arp.dst.proto_ipv4"], "10.0.0.9", "ARP")
    expect((ns["icmpv6.type"], na["icmpv6.type"], ra["icmpv6.type"]), ("135", "136", "134"), "discovery")
    expect((ra["icmpv6.opt.mtu"], ra["icmpv6.opt.prefix.flag.a"], ra["icmpv6.nd.ra.router_lifetime"]), ("1428", "True", "1800"),
           "router advertisement")
    for i, ((type6, code6), (type4, code4)) in enumerate(zip(ERRORS6, ERRORS4)):
        six, four = packets[36 + 2 * i], packets[37 + 2 * i]
        expect((first(six["icmpv6.type"]), first(six["icmpv6.code"])), (str(type6), str(code6)), f"ICMPv6 error {i}")
        expect((four["icmp.type"], four["icmp.code"]), (str(type4), str(code4)), f"ICMP error {i}")
        expect((six["icmpv6.mtu"], four["icmp.mtu"]), ("1400", "1400") if type6 == 2 else ("", ""), f"MTU of error {i}")
        expect(six["icmpv6.checksum.status"], "1", f"ICMPv6 error {i} checksum")
        expect(first(six["ipv6.routing.srh.last_entry"]), "1", f"what ICMPv6 error {i} quotes")
    for i in range(4):
        stream(packets[36 + 2 * len(ERRORS6) + i], i + 1)
    print("\n".join(failures) or f"{len(packets)} packets: tshark decodes them as they were meant")
    return bool(failures)


sys.exit(main())
