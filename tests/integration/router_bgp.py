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

REFLECTOR, INJECTOR = "fd00:6d65::ffff", "fd00:6d65::fffe"
MANY, LAST = 10000, "10.0.39.15"
SECRET = "of both ends"


def speak(router, peers=(REFLECTOR,), md5=None, **more):
    router.extra["punt"] = {"device": "mer0", "routes": ["fd00:6d65::/32"], **more.pop("punt", {})}
    router.extra["lanes"] = {"hello": "100 ms", "silence": "2 s"}  # a starved worker is not what is tested here
    router.extra["bgp"] = dict({"as": 65000, "peers": [dict({"address": p}, **({"md5": md5} if md5 else {})) for p in peers]}, **more)
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
                    *[f"{c.loopback},md5={SECRET}" for c in self.clients], INJECTOR]
        self.process = subprocess.Popen([*self.router.within(), *map(str, args)], stdout=log, stderr=log)
        self.net.processes.append(self.process)

    def toml(self):
        text = ['[global.config]\nas = 65000\nrouter-id = "10.0.0.99"\n'
                f'local-address-list = ["{REFLECTOR}"]\n']
        for c in [*[c.loopback for c in self.clients], INJECTOR]:
            text.append(f'[[neighbors]]\n[neighbors.config]\nneighbor-address = "{c}"\npeer-as = 65000\n'
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


def hang_up(pe, b):
    """A reload takes the customer's port away, or gives it back."""
    if b:
        pe.access.append({"port": b.name, "vrf": "blue", "gateways": [f"{b.gw4}/24", f"{b.gw6}/64"]})
    else:
        pe.access[:] = [a for a in pe.access if a["vrf"] != "blue"]
    pe.write()
    pe.process.send_signal(signal.SIGHUP)


def withdrawn(pe1, pe2, h):
    took = []
    for _ in range(3):
        began = time.monotonic()
        hang_up(pe2, None)
        gone = until(lambda: h["b2"].net4 not in routes_of(pe1, "blue"), 5, 0.01)
        took.append(time.monotonic() - began if gone else 99)
        check(h["r1"].ping(h["r2"].v4, 2), "a route is withdrawn: the other tenant does not notice")
        hang_up(pe2, h["b2"])
        check(until(lambda: h["b1"].ping(h["b2"].v4, 1), 10), "announced again, it forwards again")
    check(min(took) < 1, "from a reload here to the withdrawn route gone from forwarding there, asking included: " +
          ", ".join(f"{t * 1000:.0f} ms" for t in took))


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


def peers_change(pe1, h):
    """A reload takes the reflector away and gives it back; `meridian bgp show` speaks to routers too."""
    def shown(what):
        return json.loads(sh(BIN, "bgp", "show", what, pe1.extra["bgp"]["control"]).stdout)[what]

    check({x["address"]: x["state"] for x in shown("peers")}.get(REFLECTOR) == "established", "meridian bgp show: the session")
    check(any(h["r2"].net4 in x["route"] and x["best"] for x in shown("routes")), "and the routes")
    peers = pe1.extra["bgp"].pop("peers")
    pe1.write()
    check(pe1.ctl("reload", ok=False).returncode == 0, "a reload takes the reflector away")
    check(until(lambda: h["r2"].net4 not in routes_of(pe1, "red"), 5), "its routes are gone")
    check("fd00:6d65::3/128" in {r["prefix"] for r in pe1.show("routes")}, "the underlay is not")
    pe1.extra["bgp"]["peers"] = peers
    pe1.write()
    pe1.ctl("reload")
    check(until(lambda: h["r1"].ping(h["r2"].v4, 1), 15), "it is there again, and so are they")
    pe1.extra["bgp"]["as"] = 65001
    pe1.write()
    refused = pe1.ctl("reload", ok=False)
    check(refused.returncode and "bgp.as has changed; that takes a restart" in refused.stdout + refused.stderr, "another AS takes a restart, and it says so")
    pe1.extra["bgp"]["as"] = 65000
    pe1.write()


def metrics(pe1):
    text = pe1.run("curl", "-s", "http://[::1]:9464/metrics").stdout
    seen = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("meridian_bgp")}
    check(seen.get('meridian_bgp_sessions{state="established"}') == 2 and seen.get('meridian_bgp_routes{what="vrf"}', 0) >= 4 and
          seen.get('meridian_bgp_table_changes_total{result="refused"}') == 0, f"metrics count sessions, routes and changes {seen}")


def edge_killed(pe1, pe2, h):
    pe2.stop(signal.SIGKILL)
    check(until(lambda: h["r2"].net4 not in routes_of(pe1, "red"), 5, 0.02), "an edge is killed: nobody sends to it")
    pe2.start()
    for name in ("r2", "b2"):
        until(lambda: h[name].run("ip", "link", "show", h[name].device, ok=False).returncode == 0, 10)
    check(until(lambda: h["r1"].ping(h["r2"].v4, 1), 30), "it comes back, and its routes with it")


class Injector:
    """Our speaker in a process beside the reflector, with routes and policies of others."""

    def __init__(self, net, router, edge):
        pe = str(pathlib.Path(BIN).resolve().parents[2] / "tests/bgp/bgp_pe")
        log = open(net.dir / "injector.log", "ab")
        self.process = subprocess.Popen([*router.within(), pe, "as=65000", "id=10.0.0.50", f"next-hop={edge.loopback}", "listen=::1",
                                         "quiet", f"{REFLECTOR},local={INJECTOR}"], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)
        net.processes.append(self.process)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


def many(pe1, pe2, h, injector):
    """Ten thousand host routes of red that lead to pe2; behind it the last of them is an address of r2's."""
    def held():
        return pe1.show("bgp")[0]["vrf_routes"]

    before = held()
    h["r2"].run("ip", "addr", "add", f"{LAST}/32", "dev", "lo")
    began = time.monotonic()
    injector.say(f"many {MANY} 65000:900 sid={pe2.service('red')} rt=65000:100")
    check(until(lambda: held() >= before + MANY, 60, 0.1), f"{MANY} routes reach the VRF, {time.monotonic() - began:.2f} s after the first was said")
    check(LAST + "/32" in routes_of(pe1, "red"), "the last one is in the core")
    check(until(lambda: h["r1"].ping(LAST, 2), 5), "and forwards")
    why = [r["why"] for r in pe2.show("vpn") if r["prefix"] == LAST + "/32"]
    check(why == ["it starts here"], f"the router that they name says why it does not use them: {why}")


def steered(pe1, p, pe2, h, injector):
    """SR Policies of colour 20: the class parameter of red gets a path and a lane, moves to a better one, falls back, and ends."""
    def paths():
        return routes_of(pe1, "red").get(h["r2"].net4, {"paths": {"parameter": 0, "bulk": 0}})["paths"]

    def lane():
        return [x for x in pe1.show("lanes") if x["class"] == "parameter" and x["tenant"] == 7 and x["state"] in ("open", "running", "blocked", "idle")]

    def policies():
        return {x["distinguisher"]: x for x in pe1.show("policies")}

    first = f"fcbb:bb00:1:e000::,fcbb:bb00:2:{0xe000 + p.port_to(pe2):x}::"
    injector.say(f"policy 1 20 {pe2.loopback} pref=100 list={first}")
    check(until(lambda: paths()["parameter"] >= 2 ** 31, 10), "a policy of its colour steers the class")
    check(paths()["bulk"] == 0, "and no other")
    check(until(lane, 10), f"it has a lane of its own {[x['state'] for x in pe1.show('lanes')]}")
    one = paths()["parameter"]
    check(h["r1"].run("ping", "-c3", "-i0.2", "-Q", hex(10 << 2), h["r2"].v4, ok=False).returncode == 0, "which carries packets")
    injector.say(f"policy 2 20 {pe2.loopback} pref=200 list={first},fcbb:bb00:3::")
    check(until(lambda: paths()["parameter"] not in (0, one), 15), "a better candidate takes over")
    check(policies()[2]["chosen"] and not policies()[1]["chosen"], "and show says so")
    check(h["r1"].run("ping", "-c3", "-i0.2", "-Q", hex(10 << 2), h["r2"].v4, ok=False).returncode == 0, "packets go on")
    two = paths()["parameter"]
    injector.say(f"policy 9 20 {pe2.loopback} pref=300 list=fcbb:bb00:1:e000::,fcbb:bb00:77::")
    check(until(lambda: policies().get(9, {}).get("failed"), 15), "a path through a router that is not there gets no lane and is given up")
    check(policies()[2]["chosen"] and paths()["parameter"] == two, "its class stays where it was")
    check(h["r1"].run("ping", "-c3", "-i0.2", "-Q", hex(10 << 2), h["r2"].v4, ok=False).returncode == 0, "and works")
    injector.say(f"withdraw policy 9 20 {pe2.loopback}")
    injector.say(f"withdraw policy 2 20 {pe2.loopback}")
    check(until(lambda: policies().get(1, {}).get("chosen"), 10), "withdrawn: the next best is chosen")
    check(until(lambda: policies()[1]["steered"] == 1 and paths()["parameter"] != 0, 15), "and taken")
    injector.say(f"withdraw policy 1 20 {pe2.loopback}")
    check(until(lambda: paths()["parameter"] == 0, 10), "withdrawn too: the underlay's shortest way")
    check(until(lambda: not lane(), 15) and h["r1"].ping(h["r2"].v4, 2), "without a lane, and it still forwards")


def main(gobgp):
    with Net("bgp-gobgp" if gobgp else "bgp") as net:
        pe1, p, pe2 = (net.router(n, own=True) for n in ("pe1", "p", "pe2"))
        net.link(pe1, p)
        net.link(p, pe2)
        h = {"r1": net.host("r1", pe1, "red", 201), "b1": net.host("b1", pe1, "blue", 201),
             "r2": net.host("r2", pe2, "red", 202), "b2": net.host("b2", pe2, "blue", 202)}
        for pe in pe1, pe2:
            pe.vrfs = {"red": (100, 7), "blue": (101, 8)}
            speak(pe, md5=None if gobgp else SECRET, control=str(pe.dir / "bgp"))
        pe1.extra["metrics"] = ["[::1]:9464"]
        pe1.classes = {"red": [{"class": "parameter", "color": 20}]}
        pe2.routes.append({"vrf": "red", "prefix": "10.0.39.14/31", "port": "r2", "gateway": h["r2"].v4})
        speak(p, (), punt={"addresses": [REFLECTOR, INJECTOR]})
        net.start(plan=False)
        check(until(lambda: "fd00:6d65::3/128" in {r["prefix"] for r in pe1.show("routes")}, 10),
              "loopbacks come over the links, nobody was told")
        reflector = Reflector(net, p, (pe1, pe2), gobgp)
        reached(net, pe1, pe2, h)
        isolated(h)
        withdrawn(pe1, pe2, h)
        metrics(pe1)
        peers_change(pe1, h)
        targets_change(pe1, pe2, h)
        injector = Injector(net, p, pe2)
        steered(pe1, p, pe2, h, injector)
        many(pe1, pe2, h, injector)
        injector.process.stdin.close()
        check(until(lambda: LAST + "/32" not in routes_of(pe1, "red"), 20), "all of them end with who said them")
        reflector_killed(reflector, h)
        edge_killed(pe1, pe2, h)
        for r in pe1, pe2, p:
            check(r.stop() == 0, f"{r.name} ends in order")


for which in sys.argv[1:] or ("ours", "gobgp"):
    print("---", which, flush=True)
    main(which == "gobgp")
finish()
