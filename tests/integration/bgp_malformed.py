#!/usr/bin/env python3
"""What our reflector does with what is wrong (RFC 7606 and docs/wire-bgp.md's table): ExaBGP injects attributes, a peer of raw
bytes repeats each after a sound route, and sends what must end the session. Always another client's routes and session stay.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import pathlib
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bgp_lab import (BASE, Lab, Pe, Raw, Reflector, attribute, attributes_of, body, check, message, reach, stop,  # noqa: E402
                     until)

SID = bytes.fromhex("050022000100" "1e00fcbbbb000001f00a000000000000000000004000010006201010000000")
KEPT, DISCARDED, WITHDRAWN = "kept", "discarded", "withdrawn"

# what, type, flags, value, what follows (RFC 7606; internal session)
ROWS = [
    ("unknown, optional, transitive", 0xf7, 0xc0, "0102", KEPT),
    ("unknown, optional, transitive, 1500 octets", 0xf7, 0xc0, "ab" * 1500, KEPT),
    ("unknown, optional, transitive, 3800 octets", 0xf7, 0xc0, "ab" * 3800, KEPT),
    ("unknown, optional, not transitive", 0xf8, 0x80, "0102", DISCARDED),
    ("ORIGIN of no known value", 1, 0x40, "03", WITHDRAWN),
    ("ORIGIN of two octets", 1, 0x40, "0000", WITHDRAWN),
    ("ORIGIN that is optional", 1, 0xc0, "00", WITHDRAWN),
    ("AS_PATH whose segment overruns it", 2, 0x40, "020200000001", WITHDRAWN),
    ("AS_PATH with an empty segment", 2, 0x40, "0200", WITHDRAWN),
    ("AS_PATH of an unknown segment type", 2, 0x40, "090100000001", WITHDRAWN),
    ("AS_PATH with ourselves", 2, 0x40, "02010000fde8", WITHDRAWN),
    ("MULTI_EXIT_DISC of three octets", 4, 0x80, "010101", WITHDRAWN),
    ("LOCAL_PREF of three octets", 5, 0x40, "000001", WITHDRAWN),
    ("ATOMIC_AGGREGATE of one octet", 6, 0x40, "01", DISCARDED),
    ("AGGREGATOR of seven octets", 7, 0xc0, "01010101010101", DISCARDED),
    ("AGGREGATOR that is not transitive", 7, 0x80, "0101010101010101", WITHDRAWN),
    ("COMMUNITIES of three octets", 8, 0xc0, "010101", WITHDRAWN),
    ("COMMUNITIES of none", 8, 0xc0, "", WITHDRAWN),
    ("ORIGINATOR_ID of five octets", 9, 0x80, "0101010101", WITHDRAWN),
    ("CLUSTER_LIST of five octets", 10, 0x80, "0101010101", WITHDRAWN),
    ("CLUSTER_LIST with our cluster", 10, 0x80, "0a000009", WITHDRAWN),
    ("EXTENDED_COMMUNITIES of seven octets", 16, 0xc0, "00020000000001"[:14], WITHDRAWN),
    ("AS4_PATH between speakers of four octets", 17, 0xc0, "02010000ffff", DISCARDED),
    ("LARGE_COMMUNITY of eleven octets", 32, 0xc0, "01" * 11, WITHDRAWN),
    ("TUNNEL_ENCAPSULATION that overruns", 23, 0xc0, "000f00040c", WITHDRAWN),
    ("TUNNEL_ENCAPSULATION with two tunnels", 23, 0xc0, "000f00080c06000000000064" * 2, KEPT),
    ("TUNNEL_ENCAPSULATION with a sub-TLV of 128 and more", 23, 0xc0, "000f000481000100", KEPT),
    ("PREFIX_SID that is sound", 40, 0xc0, SID.hex(), KEPT),
    ("PREFIX_SID with an unknown TLV", 40, 0xc0, "4d00020000", KEPT),
    ("PREFIX_SID whose TLV overruns", 40, 0xc0, "0500090000", WITHDRAWN),
    ("PREFIX_SID with a SID of two octets", 40, 0xc0, "050006000100020000", WITHDRAWN),
    ("PREFIX_SID with an unknown sub-TLV in its service", 40, 0xc0, "05" + "0028" + SID[3:].hex() + "630003010203", KEPT),
    ("beacon of 1500 octets", 245, 0xc0, "5a" * 1500, KEPT),
    ("beacon of 1501 octets", 245, 0xc0, "5a" * 1501, WITHDRAWN),
    ("beacon that is not transitive", 245, 0x80, "5a", WITHDRAWN),
]


def prefix(number):
    return f"2001:db8:{number:x}::/48"


def packed(number):
    return b"\x30" + socket.inet_pton(socket.AF_INET6, prefix(number)[:-3])[:6]


def seen(pe):
    """{number: {attribute type: value}} of the routes that the observer holds."""
    found = {}
    for path in pe.dump().values():
        raw = bytes.fromhex(path["nlri"])
        if path["family"] == "ipv6-unicast" and raw[1:5] == bytes.fromhex("20010db8"):
            found[struct.unpack_from(">H", raw, 5)[0]] = {k: v for _, k, v in attributes_of(bytes.fromhex(path["attributes"]))}
    return found


def judge(routes, number, row, who):
    what, kind, _, value, expected = row
    got = routes.get(number)
    found = WITHDRAWN if got is None else KEPT if got.get(kind) == bytes.fromhex(value) else DISCARDED
    check(found == expected, f"{who}, {what}: {found}")


def exabgp(lab, reflector, observer):
    host = lab.host(3)
    routes = "\n".join(f"    route {prefix(i + 1)} next-hop {host.six} attribute [0x{k:02x} 0x{f:02x} 0x{v}];"
                       for i, (_, k, f, v, _) in enumerate(ROWS) if v)
    config = lab.folder / "exabgp.conf"
    config.write_text(f"""neighbor {lab.host(9).six} {{
  router-id 10.0.0.3; local-address {host.six}; local-as 65000; peer-as 65000; group-updates false;
  family {{ ipv6 unicast; }}
  static {{
{routes}
    route 2001:db8:ffff::/48 next-hop {host.six};
  }}
}}
""")
    process = host.start("env", "exabgp.daemon.daemonize=false", "exabgp.daemon.user=root", "exabgp.log.all=false", "exabgp", config,
                         log="exabgp")
    reflector.up(host.six)
    until(lambda: 0xffff in seen(observer), "ExaBGP's last route", step=0.2)
    routes = seen(observer)
    for i, row in enumerate(ROWS):
        if row[3]:
            judge(routes, i + 1, row, "ExaBGP")
    peer = reflector.peers()[host.six]
    check(peer["state"] == "established" and peer["dropped"] == 0, "ExaBGP's session has stayed up through all of it")
    check(peer["treated_as_withdraw"] >= 15 and peer["attributes_discarded"] >= 2, f"counted: {peer['treated_as_withdraw']} UPDATEs "
          f"treated as withdraw, {peer['attributes_discarded']} attributes discarded, last: {peer['last_fault']}")
    stop(process)
    until(lambda: not seen(observer), "ExaBGP's routes leave with it")


def sound_then_wrong(lab, reflector, observer):
    """The same from a sound route on: what is treated as withdraw must take the route away that was there."""
    raw = Raw(lab.host(4), lab.host(9).six).up()
    hop = socket.inet_pton(socket.AF_INET6, lab.host(4).six)
    for i in range(len(ROWS)):
        raw.update(reach(2, 1, hop, packed(i + 1)) + BASE)
    until(lambda: len(seen(observer)) == len(ROWS), "a sound route for each row", step=0.1)
    for i, (_, kind, flags, value, _) in enumerate(ROWS):
        rest = b"".join(attribute(f, k, v) for f, k, v in ((0x40, 1, b"\0"), (0x40, 2, b""), (0x40, 5, b"\0\0\0\x64")) if k != kind)
        raw.update(reach(2, 1, hop, packed(i + 1)) + rest + attribute(flags, kind, bytes.fromhex(value)))
    raw.update(reach(2, 1, hop, packed(0xffff)) + BASE)
    until(lambda: 0xffff in seen(observer), "the last route", step=0.1)
    routes = seen(observer)
    for i, row in enumerate(ROWS):
        judge(routes, i + 1, row, "raw bytes")
    check(not raw.closed and reflector.peers()[lab.host(4).six]["dropped"] == 0, "its session has stayed up through all of it")
    # Attributes said twice: the first counts. A list that ends in the middle of an attribute: the routes before it are known.
    raw.update(reach(2, 1, hop, packed(0x1001)) + BASE + attribute(0x40, 5, b"\0\0\0\1"))
    until(lambda: seen(observer).get(0x1001, {}).get(5) == b"\0\0\0\x64", "LOCAL_PREF twice: the first one counts", step=0.1)
    for what, tail in (("two octets left", b"\x40\x01"), ("one that overruns", b"\xc0\xf7\x09\x01"), ("one octet left", b"\x40")):
        raw.update(reach(2, 1, hop, packed(0x1002)) + BASE)
        until(lambda: 0x1002 in seen(observer), "a sound route", step=0.1)
        raw.update(reach(2, 1, hop, packed(0x1002)) + BASE + tail)
        until(lambda: 0x1002 not in seen(observer), f"list of attributes with {what}: withdrawn", step=0.1)
        print(f"ok: list of attributes with {what}: withdrawn")
    for kind, name in ((1, "ORIGIN"), (2, "AS_PATH"), (5, "LOCAL_PREF")):
        raw.update(reach(2, 1, hop, packed(0x1003)) + BASE)
        until(lambda: 0x1003 in seen(observer), "a sound route", step=0.1)
        rest = b"".join(attribute(f, k, v) for f, k, v in ((0x40, 1, b"\0"), (0x40, 2, b""), (0x40, 5, b"\0\0\0\x64")) if k != kind)
        raw.update(reach(2, 1, hop, packed(0x1003)) + rest)
        until(lambda: 0x1003 not in seen(observer), f"{name} missing: withdrawn", step=0.1)
        print(f"ok: {name} missing: withdrawn")
    check(not raw.closed, "and its session is still the first one")
    raw.close()


def rt5(plen=24, third=2, label=b"\0\0\x30", width=4, esi=b"\0" * 10, gateway=None):
    value = bytes.fromhex("0000fde80000000a") + esi + b"\0\0\0\0" + bytes([plen]) + (bytes([10, 1, third]) + b"\0" * (width - 3)) + (
        gateway or b"\0" * width) + label
    return bytes([5, len(value)]) + value


def evpn(lab, reflector, observer):
    """Rows of the interoperability table that are about EVPN's routes themselves."""
    raw = Raw(lab.host(5), lab.host(9).six).up()
    hop = socket.inet_pton(socket.AF_INET6, lab.host(5).six)

    def held():
        return {r: bytes.fromhex(p["attributes"]) for r, p in observer.dump().items() if p["family"] == "evpn" and p["from"] != "self"}

    def say(nlri, more=b""):
        raw.update(reach(25, 70, hop, nlri) + BASE + more)

    innocent = set(held())
    say(rt5(), attribute(0xc0, 40, SID))
    until(lambda: "RT-5 65000:10 10.1.2.0/24" in held(), "RT-5 with its SID")
    say(rt5(third=3, label=b"\0\0\0"))
    until(lambda: "RT-5 65000:10 10.1.3.0/24" in held(), "RT-5 with label 0 and no Router's MAC: passed on")
    say(rt5(plen=200, width=16, third=4) + rt5(third=5))
    until(lambda: "RT-5 65000:10 10.1.5.0/24" in held(), "RT-5 of prefix length 200: skipped, the one behind it kept")
    check(not any("/200" in r for r in held()), "and gone")
    say(bytes([99, 4, 1, 2, 3, 4]) + rt5(third=6))
    until(lambda: "RT-5 65000:10 10.1.6.0/24" in held() and "RT-99, 6 bytes" in held(), "an unknown EVPN route type: carried, the rest kept")
    say(rt5(third=7), attribute(0xc0, 40, b"\x05\x00\x28" + SID[3:] + bytes.fromhex("630003010203")))
    until(lambda: "RT-5 65000:10 10.1.7.0/24" in held(), "an unknown sub-TLV in the SRv6 service: carried")
    say(rt5(third=2, esi=b"\1" * 10, gateway=b"\x0a\0\0\1"))
    until(lambda: "RT-5 65000:10 10.1.2.0/24" not in held(), "RT-5 with segment and gateway: withdrawn (RFC 9136 3.2)")
    check(innocent <= set(held()) and not raw.closed, "its session and the other client's routes stay")
    raw.close()
    until(lambda: set(held()) == innocent, "and leave with it")


def resets(lab, reflector, observer):
    """What leaves no choice: NOTIFICATION, and only this session ends."""
    hop = socket.inet_pton(socket.AF_INET6, lab.host(6).six)
    route = reach(2, 1, hop, packed(0x3000))
    cases = [
        ("MP_REACH_NLRI twice", message(2, body(route + BASE + route)), (3, 1)),
        ("MP_REACH_NLRI of three octets", message(2, body(attribute(0x80, 14, b"\0\2\1") + BASE)), (3, 9)),
        ("MP_UNREACH_NLRI of two octets", message(2, body(attribute(0x80, 15, b"\0\2"))), (3, 9)),
        ("a next hop of fifteen octets", message(2, body(reach(2, 1, b"\0" * 15, packed(1)) + BASE)), (3, 9)),
        ("a prefix that overruns", message(2, body(reach(2, 1, hop, b"\x30\x20\x01") + BASE)), (3, 10)),
        ("a prefix of 129 bits", message(2, body(reach(2, 1, hop, b"\x81" + b"\0" * 17) + BASE)), (3, 10)),
        ("an EVPN route that overruns", message(2, body(reach(25, 70, hop, b"\x05\x30\x01") + BASE)), (3, 10)),
        ("an unknown well-known attribute", message(2, body(route + BASE + attribute(0x40, 250, b"\1"))), (3, 2)),
        ("attributes longer than the message", message(2, b"\0\0\0\x20\0"), (3, 1)),
        ("withdrawn routes longer than the message", message(2, b"\0\x20\0\0"), (3, 1)),
        ("wrong attributes and no route (RFC 7606 5.2)", message(2, body(attribute(0x40, 1, b"\3"))), (3, 1)),
        ("a marker that is none", b"\xfe" * 16 + b"\0\x13\4", (1, 1)),
        ("a length below the header's", b"\xff" * 16 + b"\0\x12\4", (1, 2)),
        ("a length above 4096 without leave", b"\xff" * 16 + b"\x20\0\2", (1, 2)),
        ("a message of type 9", b"\xff" * 16 + b"\0\x13\x09", (1, 3)),
        ("a second OPEN", message(1, struct.pack(">BHH4sB", 4, 65000, 90, b"\x0a\0\0\6", 0)), (5, 3)),
        ("BoRR of the wrong length", message(5, b"\0\2\1\1\0"), (7, 1)),
    ]
    for what, data, expected in cases:
        raw = Raw(lab.host(6), lab.host(9).six).up()
        raw.update(route + BASE)
        raw.raw(data)
        until(lambda: raw.closed, f"{what}: the session ends")
        check(raw.notifications() == [expected], f"{what}: NOTIFICATION {expected[0]}/{expected[1]} {raw.notifications()}")
    until(lambda: 0x3000 not in seen(observer), "its routes left each time", step=0.1)


with Lab("malformed") as net:
    rr = net.host(9)
    reflector = Reflector(rr, *(f"{net.host(n).six}{',passive' if n > 2 else ''}" for n in (1, 2, 3, 4, 5, 6)))
    observer, innocent = Pe(net.host(1), rr.six), Pe(net.host(2), rr.six)
    observer.up(rr.six), innocent.up(rr.six)
    innocent.send("rt5 65000:1 10.99.0.0/16 sid=fcbb:bb00:2:f001:: rt=65000:1", "unicast fcbb:bb00:2::/48")
    observer.route("10.99.0.0/16")
    exabgp(net, reflector, observer)
    sound_then_wrong(net, reflector, observer)
    evpn(net, reflector, observer)
    resets(net, reflector, observer)
    held = observer.dump()
    check("RT-5 65000:1 10.99.0.0/16" in held and "fcbb:bb00:2::/48" in held, "the innocent neighbour's routes are all there")
    check(not [e for e in observer.events if e.get("prefix") == "10.99.0.0/16" and e["withdrawn"]], "and never went away")
    states = reflector.peers()
    check(all(states[net.host(n).six]["dropped"] == 0 for n in (1, 2)), "nor did its session")
