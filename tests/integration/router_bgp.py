#!/usr/bin/env python3
"""BGP drives real routers: two provider edges, a router between them, a reflector beside it (ours, then GoBGP). Nobody has a
route in its file: loopbacks and locators come over the links, VPN routes through the reflector. Two tenants have the same
addresses and reach only their own; what is withdrawn is gone within a second; a reflector that is killed stops nothing; ten
thousand routes arrive and the last one forwards.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import json
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import BIN, Net, check, finish, sh, until  # noqa: E402

REFLECTOR = "fd00:6d65::ffff"
MANY = 10000


def speak(router, peers=(REFLECTOR,), **more):
    router.extra["punt"] = {"device": "mer0", "routes": ["fd00:6d65::/32"], **more.pop("punt", {})}
    router.extra["bgp"] = dict({"as": 65000, "peers": [{"address": p} for p in peers]}, **more)
    if not peers:
        del router.extra["bgp"]["peers"]


class Reflector:
    def __init__(self, net, router, clients, gobgp=False):
        self.net, self.router, self.clients, self.gobgp = net, router, clients, gobgp
        self.start()

    def start(self):
        self.control = self.net.dir / "reflector.sock"
        log = open(self.net.dir / "reflector.log", "ab")
        if self.gobgp:
            config = self.net.dir / "gobgp.toml"
            config.write_text(self.toml())
            args = ["gobgpd", "-f", config, "-p", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"]
        else:
            args = [BIN, "bgp", "reflect", "--as", 65000, "--id", "10.0.0.99", "--listen", REFLECTOR, "--control", self.control,
                    *[c.loopback for c in self.clients]]
        self.process = subprocess.Popen([*self.router.within(), *map(str, args)], stdout=log, stderr=log)
        self.net.processes.append(self.process)

    def toml(self):
        text = ['[global.config]\nas = 65000\nrouter-id = "10.0.0.99"\n'
                f'local-address-list = ["{REFLECTOR}"]\n']
        for c in self.clients:
            text.append(f'[[neighbors]]\n[neighbors.config]\nneighbor-address = "{c.loopback}"\npeer-as = 65000\n'
                        f'[neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1\n'
                        f'[neighbors.transport.config]\nlocal-address = "{REFLECTOR}"\n'
                        f'[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 60\n'
                        f'[neighbors.route-reflector.config]\nroute-reflector-client = true\n'
                        f'route-reflector-cluster-id = "10.0.0.99"')
            for family in "l2vpn-evpn", "l3vpn-ipv4-unicast", "ipv6-srpolicy":
                text.append(f'[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "{family}"\n'
                            "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true")
        return "\n".join(text) + "\n"

    def kill(self):
        self.process.kill()
        self.process.wait()


def routes_of(router, vrf):
    return {r["prefix"]: r for r in router.show("routes") if r.get("vrf") == vrf}


def reached(net, pe1, pe2, h):
    began = time.monotonic()
    check(until(lambda: h["r1"].ping(h["r2"].v4, 1), 30), f"a host reaches its tenant's other one, "
          f"{time.monotonic() - began:.1f} s after it was there")
    check(h["r1"].ping(h["r2"].v6, 2), "also by IPv6")
    check(until(lambda: h["b2"].ping(h["b1"].v4, 1), 10), "so does the other tenant with the same addresses")


def isolated(h):
    """Each tenant's host answers with its own word at the same address."""
    say = ("import socket, sys\ns = socket.create_server(('', 7000))\n"
           "while True:\n    c, _ = s.accept()\n    c.sendall(sys.argv[1].encode())\n    c.close()")
    hear = ("import socket, sys\ns = socket.create_connection((sys.argv[1], 7000), 2)\nprint(s.recv(100).decode())")
    servers = [h[n].start("python3", "-c", say, n) for n in ("r2", "b2")]

    def word(of, to):
        return of.run("python3", "-c", hear, to.v4, ok=False, timeout=20).stdout.strip()

    check(until(lambda: word(h["r1"], h["r2"]) == "r2", 10), "red at pe1 talks to red at pe2")
    check(until(lambda: word(h["b1"], h["b2"]) == "b2", 10), "blue at pe1 talks to blue at pe2, at the same addresses")
    check(all(word(h["r1"], h["r2"]) == "r2" and word(h["b1"], h["b2"]) == "b2" for _ in range(5)), "and so it stays")
    for s in servers:
        s.kill()
        s.wait()


def withdrawn(pe1, pe2, h):
    """A reload takes the subnet's VRF away at one end."""
    pe2.access[:] = [a for a in pe2.access if a["vrf"] != "blue"]
    pe2.write()
    began = time.monotonic()
    pe2.process.send_signal(signal.SIGHUP)
    gone = until(lambda: h["b2"].net4 not in routes_of(pe1, "blue"), 5, 0.01)
    took = time.monotonic() - began
    check(gone and took < 1, f"a withdrawn route is gone from the other router's forwarding after {took * 1000:.0f} ms")
    check(h["r1"].ping(h["r2"].v4, 2), "the other tenant does not notice")
    pe2.access.append({"port": "b2", "vrf": "blue", "gateways": [f"{h['b2'].gw4}/24", f"{h['b2'].gw6}/64"]})
    pe2.write()
    pe2.process.send_signal(signal.SIGHUP)
    check(until(lambda: h["b1"].ping(h["b2"].v4, 1), 10), "announced again, it forwards again")


def targets_change(pe1, pe2, h):
    pe2.extra["vrfs"] = []
    before = pe2.config
    pe2.config = lambda: {**before(), "vrfs": [dict(v, **({"import": ["65000:777"], "export": ["65000:777"]} if v["name"] == "blue" else {}))
                                               for v in before()["vrfs"]]}
    pe2.write()
    pe2.process.send_signal(signal.SIGHUP)
    check(until(lambda: h["b2"].net4 not in routes_of(pe1, "blue") and h["b1"].net4 not in routes_of(pe2, "blue"), 5),
          "another route target after a reload: the VPN has come apart")
    pe2.config = before
    del pe2.extra["vrfs"]
    pe2.write()
    pe2.process.send_signal(signal.SIGHUP)
    check(until(lambda: h["b1"].ping(h["b2"].v4, 1), 10), "with the old one it is whole again")


def reflector_killed(reflector, h):
    reflector.kill()
    time.sleep(1)
    check(h["r1"].ping(h["r2"].v4, 5) and h["b1"].ping(h["b2"].v4, 5), "the reflector is killed: forwarding goes on")
    reflector.start()


def edge_killed(pe1, pe2, h):
    pe2.stop(signal.SIGKILL)
    check(until(lambda: h["r2"].net4 not in routes_of(pe1, "red"), 5, 0.02), "an edge is killed: nobody sends to it")
    pe2.start()
    for name in ("r2", "b2"):
        until(lambda: h[name].run("ip", "link", "show", h[name].device, ok=False).returncode == 0, 10)
    check(until(lambda: h["r1"].ping(h["r2"].v4, 1), 30), "it comes back, and its routes with it")


def many(net, pe1, pe2, h, gobgp):
    """GoBGP says ten thousand routes of red that lead to pe2's service; each is a host behind h r2."""
    sid = pe2.service("red")
    h["r2"].run("ip", "addr", "add", "10.200.39.15/32", "dev", "lo")
    script = net.dir / "many.sh"
    script.write_text("\n".join(gobgp.many(sid, pe2.loopback)))
    began = time.monotonic()
    sh(*gobgp.router.within(), "sh", script, timeout=300)
    said = time.monotonic() - began
    check(until(lambda: sum(1 for p in routes_of(pe1, "red") if p.startswith("10.2")) >= MANY, 60, 0.5),
          f"{MANY} routes are in the VRF {time.monotonic() - began - said:.1f} s after they were all said ({said:.0f} s)")


def main(gobgp):
    with Net("bgp-gobgp" if gobgp else "bgp") as net:
        pe1, p, pe2 = (net.router(n, own=True) for n in ("pe1", "p", "pe2"))
        net.link(pe1, p)
        net.link(p, pe2)
        h = {"r1": net.host("r1", pe1, "red", 1), "b1": net.host("b1", pe1, "blue", 1),
             "r2": net.host("r2", pe2, "red", 2), "b2": net.host("b2", pe2, "blue", 2)}
        for pe in pe1, pe2:
            pe.vrfs = {"red": (100, 7), "blue": (101, 8)}
            speak(pe)
        speak(p, (), punt={"addresses": [REFLECTOR]})
        net.start(plan=False)
        check(until(lambda: "fd00:6d65::3/128" in {r["prefix"] for r in pe1.show("routes")}, 10),
              "loopbacks come over the links, nobody was told")
        reflector = Reflector(net, p, (pe1, pe2), gobgp)
        reached(net, pe1, pe2, h)
        isolated(h)
        withdrawn(pe1, pe2, h)
        targets_change(pe1, pe2, h)
        reflector_killed(reflector, h)
        edge_killed(pe1, pe2, h)
        for r in pe1, pe2, p:
            check(r.stop() == 0, f"{r.name} ends in order")


for which in sys.argv[1:] or ("ours", "gobgp"):
    print("---", which, flush=True)
    main(which == "gobgp")
finish()
