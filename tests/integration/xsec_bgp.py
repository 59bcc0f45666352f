#!/usr/bin/env python3
"""Encrypted VPNs whose keys come by BGP, with real routers: two provider edges, a router between them and a reflector that knows
nothing of keys. What is checked:

  one command a site makes a member; hosts then reach each other, and the wire shows ESP only (the capture is searched for canaries)
  a new subnet is encrypted with no rule written; so is a new VPN; so is a new site, with one command there and none elsewhere
  keys are renewed under load without a lost packet
  an edge that is killed comes back, with its disk and without it
  a member that was revoked at one edge is cut off by the other
  FRR as a reflector strips the service SIDs from all routes: the signed ones serve

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import BIN, Net, check, finish, sh, until  # noqa: E402

REFLECTOR = "fd00:6d65::ffff"
CANARY = "canary-7f3a-patient-record-must-not-show"


def speak(router, peers=(REFLECTOR,), xsec=True, **more):
    router.extra["punt"] = {"device": "mer0", "routes": ["fd00:6d65::/32"], **more.pop("punt", {})}
    router.extra["lanes"] = {"hello": "20 ms", "silence": "2 s"}  # a machine with other work is no cut fibre
    router.extra["bgp"] = {"as": 65000, "control": str(router.dir / "bgp.sock")}
    if peers:
        router.extra["bgp"]["peers"] = [{"address": p} for p in peers]
    for a in router.extra["punt"].get("addresses", []):
        router.routes.append({"prefix": f"{a}/128", "local": "yes"})
    if not xsec:
        return
    router.extra["xsec"] = dict({"kit": str(router.dir / "kit"), "state": str(router.dir / "xsec"), "lifetime": "10 s"}, **more)
    plain = router.config
    router.config = lambda: {**plain(), "vrfs": [dict(v, encrypt="yes") for v in plain()["vrfs"]]}


def enrol(net, router):
    """The one command of a new site."""
    return sh(BIN, "xsec", "enrol", router.write(), "--ca", net.dir / "ca").stdout


def reflect(net, router, clients):
    log = open(net.dir / "reflector.log", "ab")
    net.processes.append(subprocess.Popen(
        [*router.within(), BIN, "bgp", "reflect", "--as", "65000", "--id", "10.0.0.99", "--listen", REFLECTOR, "--control",
         str(net.dir / "reflector.sock"), *[c.loopback for c in clients]], stdout=log, stderr=log))


def peers(router):
    return {p["name"]: p for p in router.show("keys") if "peer" in p}


def own(router):
    return next(p for p in router.show("keys") if "peer" not in p)


def packets(h, to, n, interval):
    """How many of n pings came back; loss of requests or answers both count."""
    out = h.run("ping", "-q", "-c", n, "-i", interval, "-W", "2", to.v4, ok=False, timeout=n * interval + 60).stdout
    return int(re.search(r"(\d+) received", out).group(1))


class Capture:
    """Everything on a port of a router, read by tshark."""
    def __init__(self, net, router, port, name):
        self.file = net.dir / f"{name}.pcapng"
        self.process = subprocess.Popen([BIN, "router", "ctl", router.control, "capture", port, "--write", str(self.file)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        net.processes.append(self.process)
        until(self.file.exists, 5)
        time.sleep(0.3)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        return self.file

    def fields(self, display, *fields):
        out = sh("tshark", "-r", self.file, "-Y", display, "-T", "fields", *[x for f in fields for x in ("-e", f)]).stdout
        return [line.split("\t") for line in out.splitlines()]


def canary(h, to, text):
    say = "import socket, sys\ns = socket.create_connection((sys.argv[1], 7000), 5)\nfor i in range(200): s.sendall(sys.argv[2].encode() + b'\\n')\nprint(len(s.recv(100)))"
    hear = ("import socket\ns = socket.create_server(('', 7000))\nwhile True:\n    c, _ = s.accept()\n"
            "    n = 0\n    while n < 200 * 41:\n        b = c.recv(65536)\n        if not b: break\n        n += len(b)\n    c.sendall(b'heard')\n    c.close()")
    server = to.start("python3", "-c", hear)
    try:
        return until(lambda: h.run("python3", "-c", say, to.v4, text, ok=False).stdout.strip() == "5", 20, 0.3)
    finally:
        server.kill()
        server.wait()


def only_esp(net, capture, what, least=200):
    file = capture.end()
    raw = file.read_bytes()
    inner = capture.fields("icmp or tcp.port == 7000 or (icmpv6.type == 128) or (icmpv6.type == 129)", "frame.number")
    esp = capture.fields("esp", "esp.spi")
    check(len(esp) > least and not inner and CANARY.encode() not in raw,
          f"{what}: {len(esp)} packets of ESP, {len(inner)} of the tenant's in clear, no canary in {len(raw)} octets")
    return {int(s[0], 16) for s in esp}


def first_traffic(net, pe1, pe2, h):
    began = time.monotonic()
    check(until(lambda: h["r1"].ping(h["r2"].v4, 1), 30), f"hosts reach each other {time.monotonic() - began:.1f} s later")
    capture = Capture(net, pe1, "to-p", "first")
    check(h["r1"].ping(h["r2"].v4, 5) and h["r1"].ping(h["r2"].v6, 5), "by both families")
    check(canary(h["r1"], h["r2"], CANARY), "and by TCP")
    only_esp(net, capture, "on the core link", 30)
    check(peers(pe1)["pe2"]["encrypts"] and peers(pe2)["pe1"]["encrypts"], "show keys: each is the other's")


def new_prefix(net, pe1, pe2, h):
    """A subnet more at one edge: nothing is said about encryption anywhere."""
    h["r2"].run("ip", "addr", "add", "10.77.0.2/24", "dev", h["r2"].device)
    pe2.access[0]["gateways"].append("10.77.0.1/24")
    pe2.write()
    pe2.process.send_signal(signal.SIGHUP)
    capture = Capture(net, pe1, "to-p", "prefix")
    reached = until(lambda: h["r1"].run("ping", "-c1", "-W1", "10.77.0.2", ok=False).returncode == 0, 10)
    h["r1"].run("ping", "-c", "200", "-i", "0.005", "10.77.0.2", ok=False)
    check(reached, "a new subnet is reached: 0 rules written")
    only_esp(net, capture, "and encrypted")


def reload(*routers):
    for r in routers:
        r.write()
        r.process.send_signal(signal.SIGHUP)


def new_vpn(net, pe1, pe2, h, parked):
    """A tenant more, who was not there at the start: its VRF and its hosts' subnets, and no word about keys."""
    for pe in pe1, pe2:
        pe.vrfs["blue"], access = parked[pe.name]
        pe.access.append(access)
    reload(pe1, pe2)
    reached = until(lambda: h["b1"].ping(h["b2"].v4, 1), 15)
    capture = Capture(net, pe1, "to-p", "vpn")
    check(reached and packets(h["b1"], h["b2"], 200, 0.005) == 200, "a new VPN: 0 rules written, its hosts reach each other")
    only_esp(net, capture, "and it is encrypted")
    check({p["vrf"] for p in pe1.show("keys") if "peer" in p} == {"red", "blue"}, "with keys of its own")
    check(h["r1"].ping(h["r2"].v4, 3), "the other VPN does not notice")
    for pe in pe1, pe2:
        pe.access.pop()
        del pe.vrfs["blue"]
    reload(pe1, pe2)
    check(until(lambda: {p["vrf"] for p in pe1.show("keys") if "peer" in p} == {"red"}, 10) and
          not h["b1"].ping(h["b2"].v4, 1), "taken away, its keys are gone with it")
    check(h["r1"].ping(h["r2"].v4, 3), "and only they")


def key_losses(*routers):
    """Packets that were dropped for want of a key, or because a key did not fit."""
    n = 0
    for r in routers:
        totals = json.loads(r.ctl("show", "losses").stdout)["totals"]
        n += sum(totals.get(why, {"packets": 0})["packets"] for why in ("no-key", "not-authentic", "replay", "cleartext", "wrong-vpn"))
    return n


def renewed_under_load(net, pe1, pe2, h):
    """Lifetime 10 s: a generation every 5 s at each edge."""
    before, lost = own(pe1)["generation"], key_losses(pe1, pe2)
    began = own(pe1)["renewals"]
    capture = Capture(net, pe1, "to-p", "renewal")
    n = 3000
    got = packets(h["r1"], h["r2"], n, 0.005)
    spis = only_esp(net, capture, "through renewals")
    renewals = own(pe1)["renewals"] - began
    check(got == n and renewals >= 2 and len(spis) > 4,
          f"{n - got} of {n} packets lost while keys were renewed {renewals} times at one edge ({len(spis)} SPIs seen)")
    check(key_losses(pe1, pe2) == lost, "no packet was without a key, or under one that did not fit")
    check(own(pe1)["generation"] > before, "generations rise")


def killed(net, pe1, pe2, h, disk):
    was = own(pe2)["generation"]
    pe2.stop(signal.SIGKILL)
    if not disk:
        (pe2.dir / "xsec").unlink()
    time.sleep(1)
    pe2.start()
    began = time.monotonic()
    until(lambda: h["r2"].run("ip", "link", "show", h["r2"].device, ok=False).returncode == 0, 10)
    check(until(lambda: h["r1"].ping(h["r2"].v4, 1), 30),
          f"killed, {'with its disk' if disk else 'its disk lost'}: reached again {time.monotonic() - began:.1f} s after the start")
    now = own(pe2)["generation"]
    check(now > was and peers(pe1)["pe2"]["generation"] >= now, "under a higher generation, which the other one took")


def new_site(net, pe1, pe3, h):
    """The third edge was no member. One command on it; at the others nothing."""
    files = {r.name: (r.dir / "router.yaml").read_bytes() for r in (pe1,)}
    check(not h["r3"].ping(h["r1"].v4, 1), "a site that is no member reaches nobody")
    began = time.monotonic()
    enrol(net, pe3)
    check(until(lambda: h["r3"].ping(h["r1"].v4, 1), 30), f"one command at the new site: {time.monotonic() - began:.1f} s later it is reached")
    check(h["r3"].ping(h["r2"].v4, 2) or until(lambda: h["r3"].ping(h["r2"].v4, 1), 10), "by every other site")
    check(files["pe1"] == (pe1.dir / "router.yaml").read_bytes(), "and nothing was typed at the others")
    return time.monotonic() - began


def revoked(net, pe1, pe2, pe3, h):
    """The list is given to pe1 alone."""
    sh(BIN, "xsec", "revoke", "pe3", "--ca", net.dir / "ca", "--out", net.dir / "revoked")
    (net.dir / "revoked").chmod(0o644)
    pe1.process.send_signal(signal.SIGHUP)
    began = time.monotonic()
    check(until(lambda: "pe3" not in peers(pe1) and "pe3" not in peers(pe2), 10, 0.02),
          f"a member that is revoked at one edge has no keys at any: {(time.monotonic() - began) * 1000:.0f} ms")
    check(not h["r3"].ping(h["r1"].v4, 2) and not h["r3"].ping(h["r2"].v4, 2), "it reaches nobody")
    check(h["r1"].ping(h["r2"].v4, 3), "the others do not notice")
    check(until(lambda: own(pe3)["revoked"], 5), "and it knows why")


class Frr:
    """FRR's zebra and bgpd beside a router, reflecting EVPN."""
    def __init__(self, net, router, clients):
        self.folder, self.router = net.dir / "frr", router
        self.folder.mkdir()
        shutil.chown(self.folder, "frr", "frr")
        text = ["router bgp 65000", " bgp router-id 10.0.0.99", " no bgp default ipv4-unicast"]
        for c in clients:
            text += [f" neighbor {c.loopback} remote-as 65000", f" neighbor {c.loopback} timers connect 1",
                     f" neighbor {c.loopback} update-source {REFLECTOR}"]
        text.append(" address-family l2vpn evpn")
        text += [f"  neighbor {c.loopback} {word}" for c in clients for word in ("activate", "route-reflector-client")]
        (self.folder / "bgpd.conf").write_text("\n".join(text) + "\n exit-address-family\n")
        (self.folder / "zebra.conf").write_text("")
        self.processes = []
        for name, more in ("zebra", []), ("bgpd", ["-l", REFLECTOR]):
            log = open(net.dir / f"frr-{name}.log", "ab")
            self.processes.append(subprocess.Popen(
                [*router.within(), f"/usr/lib/frr/{name}", *more, "--vty_socket", self.folder, "-z", self.folder / "zserv", "-i",
                 self.folder / f"{name}.pid", "-f", self.folder / f"{name}.conf", "-A", "127.0.0.1", "--log", "stdout"],
                stdout=log, stderr=log))
            net.processes.append(self.processes[-1])
            until((self.folder / f"{name}.vty").exists, 10)


def told_sid(router, prefix):
    """The service SIDs that BGP's routes to a prefix arrived with."""
    routes = json.loads(sh(BIN, "bgp", "show", "routes", router.dir / "bgp.sock").stdout)["routes"]
    return [r.get("sid") for r in routes if prefix in r["route"] and r.get("source")]


def stripped():
    with Net("xsec-frr") as net:
        pe1, p, pe2 = (net.router(n, own=True) for n in ("pe1", "p", "pe2"))
        net.link(pe1, p)
        net.link(p, pe2)
        h = {"r1": net.host("r1", pe1), "r2": net.host("r2", pe2)}
        sh(BIN, "xsec", "ca", "init", net.dir / "ca")
        # FRR reflects a route only where it has a way to its SID.
        speak(p, (), xsec=False, punt={"addresses": [REFLECTOR], "routes": ["fd00:6d65::/32", "fcbb:bb00::/32"]})
        for pe in pe1, pe2:
            speak(pe)
            enrol(net, pe)
        net.start(plan=False)
        Frr(net, p, (pe1, pe2))
        check(until(lambda: h["r1"].ping(h["r2"].v4, 1), 40), "FRR reflects: hosts reach each other")
        sids = told_sid(pe1, h["r2"].net4)
        check(sids and not any(sids), f"though it stripped the service SID from every route: {sids}")
        routes = {r["prefix"]: r for r in pe1.show("routes") if r.get("vrf") == "red"}
        check(routes[h["r2"].net4].get("sid") == pe2.service("red"), "the one that pe2 signed serves")
        capture = Capture(net, pe1, "to-p", "frr")
        check(canary(h["r1"], h["r2"], CANARY) and packets(h["r1"], h["r2"], 200, 0.01) == 200, "TCP and pings")
        only_esp(net, capture, "behind FRR")


def main():
    with Net("xsec") as net:
        pe1, p, pe2, pe3 = (net.router(n, own=True) for n in ("pe1", "p", "pe2", "pe3"))
        for pe in pe1, pe2, pe3:
            net.link(pe, p)
        h = {"r1": net.host("r1", pe1), "r2": net.host("r2", pe2), "r3": net.host("r3", pe3),
             "b1": net.host("b1", pe1, "blue"), "b2": net.host("b2", pe2, "blue")}
        parked = {}
        for pe in pe1, pe2:
            del pe.vrfs["blue"]
            parked[pe.name] = (101, 8), pe.access.pop()
        sh(BIN, "xsec", "ca", "init", net.dir / "ca")
        for pe in pe1, pe2, pe3:
            speak(pe, **({"revoked": str(net.dir / "revoked")} if pe is pe1 else {}))
        speak(p, (), xsec=False, punt={"addresses": [REFLECTOR]})
        for pe in pe1, pe2:
            check("is a member until" in enrol(net, pe), f"{pe.name}: one command")
        net.start(plan=False)
        reflect(net, p, (pe1, pe2, pe3))
        first_traffic(net, pe1, pe2, h)
        new_prefix(net, pe1, pe2, h)
        new_vpn(net, pe1, pe2, h, parked)
        new_site(net, pe1, pe3, h)
        renewed_under_load(net, pe1, pe2, h)
        killed(net, pe1, pe2, h, True)
        killed(net, pe1, pe2, h, False)
        revoked(net, pe1, pe2, pe3, h)
        for r in pe1, pe2, pe3, p:
            check(r.stop() == 0, f"{r.name} ends in order")


for which in sys.argv[1:] or ("ours", "frr"):
    print("---", which, flush=True)
    main() if which == "ours" else stripped()
finish()
