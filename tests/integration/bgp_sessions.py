#!/usr/bin/env python3
"""Who may talk to us and for how long: MD5 signatures, GTSM, IPv4 and IPv6 transports, strangers, prefix limits, silent peers,
peers that read nothing, route target constraint; between our own speakers, GoBGP and raw bytes. tshark reads what we sent.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import pathlib
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bgp_lab import BASE, Failed, Gobgp, Host, Lab, Pe, Raw, Reflector, check, reach, until  # noqa: E402

SERVICE = "sid=fcbb:bb00:1:f00a::"
RTC = struct.pack(">BBBBHBB", 2, 6, 1, 4, 1, 0, 132)


def kernel_has_md5(host: Host):
    s = host.socket()
    key = struct.pack("<HH4s16s4s", socket.AF_INET6, 0, b"", socket.inet_pton(socket.AF_INET6, "fd00::1"), b"").ljust(128, b"\0")
    try:
        s.setsockopt(socket.IPPROTO_TCP, 14, key + struct.pack("<BBHI80s", 0, 0, 3, 0, b"key"))
        return True
    except OSError:
        return False
    finally:
        s.close()


def signed(lab):
    rr = lab.host(9)
    if not kernel_has_md5(rr):
        print("skipped: this kernel has no TCP MD5 signatures")
        return
    a, b, c = lab.host(1), lab.host(2), lab.host(3)
    reflector = Reflector(rr, f"{a.six},md5=secret", f"{b.four},md5=other", f"{c.six},md5=secret,passive")
    one, two = Pe(a, f"{rr.six},md5=secret"), Pe(b, f"{rr.four},md5=other")
    one.up(rr.six), two.up(rr.four)
    check(True, "signed sessions over IPv6 and IPv4")
    gobgp = Gobgp(c, rr.six, secrets="secret")
    gobgp.up(rr.six)
    check(True, "and with GoBGP")
    one.send("unicast 2001:db8:1::/48")
    until(lambda: gobgp.rib("ipv6"), "a route over signed sessions", step=0.2)
    two.close()
    two = Pe(b, f"{rr.four},md5=wrong", retry=200)
    fails = Pe(a, f"{rr.six}", number=77, retry=200, listen=None)
    try:
        two.up(rr.four, seconds=2.5)
        raise SystemExit("FAILED: a wrong key was accepted")
    except Failed:
        check(not [e for e in fails.events if e["event"] == "peer" and e["up"]], "no session with a wrong key, none without")
    for pe in (one, two, fails):
        pe.close()
    gobgp.kill()
    reflector.process.kill()


def near_only(lab):
    """GTSM: what came from further away than one hop is not heard."""
    rr, a, b, c = (lab.host(n) for n in (19, 11, 12, 13))
    reflector = Reflector(rr, f"{a.six},gtsm", f"{b.four},gtsm", f"{c.six},gtsm,passive", f"{c.four},gtsm,passive")
    one, two = Pe(a, f"{rr.six},gtsm"), Pe(b, f"{rr.four},gtsm")
    one.up(rr.six), two.up(rr.four)
    check(True, "GTSM over IPv6 and IPv4 between ours")
    for address in (rr.six, rr.four):
        near = Raw(c, address, hops=255).up()
        near.close()
        try:
            Raw(c, address, hops=64, patience=1)
            raise SystemExit(f"FAILED: {address} heard somebody with a hop limit of 64")
        except Failed:
            check(True, f"{address}: a hop limit of 255 is heard, 64 is not, not even its SYN")
    for pe in (one, two):
        pe.close()
    reflector.process.kill()


def strangers_and_limits(lab):
    rr, a, b, c, d = (lab.host(n) for n in (29, 21, 22, 23, 24))
    reflector = Reflector(rr, a.four, f"{b.six},limit=10,passive", f"{d.six},passive")
    watcher = Pe(a, rr.four)
    watcher.up(rr.four)
    stranger = Raw(c, rr.six)
    until(lambda: stranger.closed, "a stranger's connection is closed")
    check(not stranger.heard, "a stranger hears nothing")
    wrong = Raw(d, rr.six, asn=65001)
    until(lambda: wrong.closed, "a wrong AS number is refused")
    check(wrong.notifications() == [(2, 2)], "with OPEN/bad peer AS")
    twin = Raw(d, rr.six, identifier="10.0.0.29")
    until(lambda: twin.closed, "our own identifier is refused")
    check(twin.notifications() == [(2, 3)], "with OPEN/bad identifier")

    raw = Raw(b, rr.six).up()
    hop = socket.inet_pton(socket.AF_INET6, b.six)
    for i in range(11):
        raw.update(reach(2, 1, hop, b"\x30\x20\x01\x0d\xb8\0" + bytes([i])) + BASE)
    until(lambda: raw.closed, "the eleventh route ends the session")
    check(raw.notifications() == [(6, 1)], "with Cease/maximum number of prefixes")
    check(reflector.show("routes")["total"]["ipv6-unicast"] == 0, "and its routes are gone")
    again = Raw(b, rr.six)
    until(lambda: again.closed, "it may not come back by itself")
    watcher.send("rt5 65000:1 10.0.0.0/8 " + SERVICE)
    until(lambda: reflector.routes(), "the session over IPv4 carries EVPN")
    check(reflector.peers()[a.four]["dropped"] == 0, "the others were not touched")
    watcher.close()
    reflector.process.kill()


def silence(lab):
    """Hold timers, ours and the peer's."""
    a, b = lab.host(31), lab.host(32)
    one, two = Pe(a, b.six, hold=3, restart=0), Pe(b, a.six, hold=3, restart=0)
    one.up(b.six), two.up(a.six)
    one.send("unicast 2001:db8:31::/48")
    two.route("2001:db8:31::/48")
    check("hold timer" in [a.cut(), one.down(b.six)][1].get("why", ""), "a cut wire: the hold timer ends the session")
    two.route("2001:db8:31::/48", withdrawn=True)
    since = one.settle()
    a.join()
    one.up(b.six, since)
    two.route("2001:db8:31::/48", since=two.settle() and 0)
    check(True, "it comes up again when the wire does")
    mute = lab.host(33)
    three = Pe(lab.host(34), f"{mute.six},passive", hold=3, restart=0)
    raw = Raw(mute, lab.host(34).six, hold=3).up()
    until(lambda: raw.closed, "a peer that says no keepalive")
    check((4, 0) in raw.notifications(), "hears that the hold timer expired")
    for pe in (one, two, three):
        pe.close()


def targets(lab):
    """RFC 4684: the reflector tells a PE what it wants, GoBGP and raw bytes alike."""
    rr, a, b, c = (lab.host(n) for n in (49, 41, 42, 43))
    reflector = Reflector(rr, a.six, b.six, f"{c.six},passive")
    every = "evpn,vpnv4,vpnv6,sr-policy-v6,sr-policy-v4,ipv6-unicast,rtc"
    one, two = Pe(a, rr.six, families=every), Pe(b, rr.six, families=every)
    one.up(rr.six), two.up(rr.six)
    for i in range(1, 4):
        one.send(f"rt5 65000:{i} 10.{i}.0.0/16 {SERVICE} rt=65000:{i}", f"vpn 65000:{i} 10.{i}.0.0/16 {SERVICE} rt=65000:{i}")
    one.send("unicast 2001:db8:41::/48")
    until(lambda: reflector.show("routes")["total"]["vpnv4"] == 3, "the reflector wants everything")
    two.route("2001:db8:41::/48")
    check(not [e for e in two.events if e["event"] == "vpn"], "a PE that wants nothing is told no VPN route")
    two.send("import 65000:2")
    two.route("10.2.0.0/16", family="evpn"), two.route("10.2.0.0/16", family="vpnv4")
    check({e["prefix"] for e in two.events if e["event"] == "vpn"} == {"10.2.0.0/16"}, "one that wants a target gets its routes")
    two.send("import-end 65000:2", "import 65000:3")
    two.route("10.2.0.0/16", withdrawn=True, family="evpn"), two.route("10.3.0.0/16", family="vpnv4")
    check(True, "and others when it wants others")
    raw = Raw(c, rr.six, families=((25, 70), (1, 132))).up()
    until(lambda: any(a[1] == 14 and a[2][:3] == b"\0\1\x84" and a[2][-1:] == b"\0" for u in raw.updates() for a in u[0]),
          "the default target, by which a reflector asks for everything")
    wish = b"\x60" + struct.pack(">I", 65000) + b"\0\2\xfd\xe8\0\0\0\1"
    raw.update(reach(1, 132, socket.inet_pton(socket.AF_INET6, c.six), wish) + BASE)
    raw.update(b"\x80\x0f\x03\0\1\x84")
    until(lambda: any(a[1] == 14 and a[2][:3] == b"\0\x19\x46" for u in raw.updates() for a in u[0]), "its routes")
    routes = [a[2] for u in raw.updates() for a in u[0] if a[1] == 14 and a[2][:3] == b"\0\x19\x46"]
    check(len(routes) == 1 and bytes([10, 1, 0, 0]) in routes[0], "raw bytes that want one target get its route alone")
    raw.close()
    for pe in (one, two):
        pe.close()
    reflector.process.kill()


def from_a_prefix(lab):
    """A reflector that knows its clients by their prefix: new ones need nothing written there."""
    rr, a, b, outside = lab.host(99), lab.host(81), lab.host(82), lab.host(97)
    reflector = Reflector(rr, "fd00::50/124,limit=10")
    check(not reflector.peers(), "nobody is known beforehand")
    one, two = Pe(a, rr.six), Pe(b, rr.six)
    one.up(rr.six), two.up(rr.six)
    one.send("rt5 65000:1 10.8.0.0/16 " + SERVICE)
    two.route("10.8.0.0/16", family="evpn")
    check(set(reflector.peers()) == {a.six, b.six}, "whoever comes from the prefix is a client")
    stranger = Raw(outside, rr.six)
    until(lambda: stranger.closed, "who comes from elsewhere is not")
    check(not stranger.heard and len(reflector.peers()) == 2, "and hears nothing")
    one.close()
    until(lambda: not reflector.routes(), "its routes go with it", seconds=150)
    again = Pe(a, rr.six)
    again.up(rr.six)
    check(len(reflector.peers()) == 2, "back, it is the same client")
    again.close(), two.close()
    reflector.process.kill()


with Lab("sessions") as net:
    capture = net.capture()
    for part in (signed, near_only, strangers_and_limits, silence, targets, from_a_prefix):
        part(net)
    capture.check(1, 2, 9, 11, 12, 19, 21, 29, 31, 32, 34, 41, 42, 49, 81, 82, 99)
