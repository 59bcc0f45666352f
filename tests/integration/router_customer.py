#!/usr/bin/env python3
"""Customers' routers at real PEs: two of our routers, joined by memif, speak BGP with each other; FRR behind an access port of one,
BIRD behind an access port of the other (PE–CE), in network namespaces behind TAPs. Networks of one site are reached from the other
once the customers' routers have told them, and only then; another tenant with the same addresses, and the same address for its
router, hears nothing of it. Only BGP reaches the router's Linux from a customer.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import Net, check, finish, until  # noqa: E402

AS, SITE1, SITE2 = 65000, 64512, 64513


def speak(router, other, customers):
    router.extra["punt"] = {"device": "mer0", "routes": ["fd00:6d65::/32"]}
    router.extra["bgp"] = {"as": AS, "restart": "0", "hold": "9", "peers": [{"address": other.loopback}], "customers": customers,
                           "control": str(router.dir / "bgp.sock")}


class Frr:
    def __init__(self, net, host, asn, network, network6, more=""):
        self.host, self.folder = host, net.dir / f"frr-{host.name}"
        self.folder.mkdir()
        net.dir.chmod(0o755)
        shutil.chown(self.folder, "frr", "frr")
        gw = host.gw4
        (self.folder / "bgpd.conf").write_text(
            f"router bgp {asn}\n bgp router-id {host.v4}\n no bgp default ipv4-unicast\n no bgp ebgp-requires-policy\n"
            f" no bgp network import-check\n neighbor {gw} remote-as {AS}\n neighbor {gw} timers connect 1\n{more}"
            f" address-family ipv4 unicast\n  neighbor {gw} activate\n  network {network}\n exit-address-family\n"
            f" address-family ipv6 unicast\n  neighbor {gw} activate\n  network {network6}\n exit-address-family\n")
        (self.folder / "zebra.conf").write_text("")
        self.processes = []
        self.daemon(net, "zebra")
        until(lambda: (self.folder / "zserv").exists(), 20)
        self.daemon(net, "bgpd")

    def daemon(self, net, name):
        log = open(self.folder / f"{name}.log", "ab")
        p = self.host.start(f"/usr/lib/frr/{name}", "--vty_socket", self.folder, "-z", self.folder / "zserv", "-i",
                            self.folder / f"{name}.pid", "-f", self.folder / f"{name}.conf", "-A", "127.0.0.1", "--log", "stdout",
                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes.append(p)

    def vtysh(self, command):
        return self.host.run("vtysh", "--vty_socket", self.folder, "-c", command, ok=False).stdout


class Bird:
    def __init__(self, net, host, asn, network, more=""):
        self.net, self.host, self.control = net, host, net.dir / f"bird-{host.name}.ctl"
        self.config = net.dir / f"bird-{host.name}.conf"
        self.config.write_text(
            f"router id {host.v4};\nprotocol device {{ }}\nprotocol kernel {{ ipv4 {{ export where source = RTS_BGP; }}; }}\n"
            f"protocol static {{ ipv4; route {network} unreachable; }}\n"
            f"protocol bgp upstream {{ local {host.v4} as {asn}; neighbor {host.gw4} as {AS}; connect retry time 1; connect delay time 1; "
            f"error wait time 1,2; {more} ipv4 {{ import all; export where source = RTS_STATIC; }}; }}\n")
        self.start()

    def start(self):
        log = open(self.net.dir / "bird.log", "ab")
        self.process = self.host.start("bird", "-f", "-c", self.config, "-s", self.control, stdout=log, stderr=log)

    def route(self, prefix):
        return self.host.run("birdc", "-s", self.control, "show", "route", prefix, "all", ok=False).stdout


def main():
    with Net("customer") as net:
        pe1, pe2 = net.router("pe1", own=True), net.router("pe2", own=True)
        net.link(pe1, pe2)
        red1, red2 = net.host("red1", pe1), net.host("red2", pe2)
        blue1, blue2 = net.host("blue1", pe1, "white", number=1), net.host("blue2", pe2, "white", number=2)
        speak(pe1, pe2, [{"vrf": "red", "address": red1.v4, "as": SITE1, "ttl_security": "yes", "site": f"{AS}:1"},
                         {"vrf": "white", "address": blue1.v4, "as": 64999}])
        speak(pe2, pe1, [{"vrf": "red", "address": red2.v4, "as": SITE2, "limit": 100}])
        net.start(plan=False)
        for host, lan in ((red1, "172.21.0.1"), (red2, "172.22.0.1"), (blue1, "172.21.0.1")):
            host.run("ip", "addr", "add", f"{lan}/32", "dev", "lo")
        check(until(lambda: red1.ping(red2.v4, 1), 30), "the sites' own subnets reach each other over the VPN")
        check(not red1.run("ping", "-n", "-c1", "-W1", "172.22.0.1", ok=False).stdout.count("1 received"),
              "what nobody has told is not reached")

        frr = Frr(net, red1, SITE1, "172.21.0.0/16", "2001:db8:21::/48", f" neighbor {red1.gw4} ttl-security hops 1\n")
        bird = Bird(net, red2, SITE2, "172.22.0.0/16")
        began = time.monotonic()
        shown = until(lambda: (lambda t: t if "172.22.0.0/16" in t else "")(frr.vtysh("show bgp ipv4 unicast")), 30)
        check(shown and any("172.22.0.0/16" in line and red1.gw4 in line and f"{AS} {SITE2}" in line for line in shown.splitlines()),
              f"FRR hears BIRD's network from its PE, our AS in front ({time.monotonic() - began:.1f} s)")
        check(until(lambda: f"{AS} {SITE1}" in bird.route("172.21.0.0/16"), 20), "BIRD hears FRR's")
        check(f"{red1.net4}" in frr.vtysh("show bgp ipv4 unicast") and red2.net4 in frr.vtysh("show bgp ipv4 unicast"),
              "both PEs' subnets too")
        check(until(lambda: red1.ping("172.22.0.1", 2), 10), "and the network behind it is reached")
        check("3 received" in red2.run("ping", "-n", "-c3", "-i", "0.1", "-W1", "-I", "172.22.0.1", "172.21.0.1", ok=False).stdout,
              "from network to network, both behind customers' routers")
        route = next((r for r in pe1.show("routes") if r["prefix"] == "172.21.0.0/16"), None)
        check(route and route.get("gateway") == red1.v4, f"at its PE the route leads to FRR ({route})")
        check("2001:db8:21::/48" in [r["prefix"] for r in pe2.show("routes")], "its IPv6 network is a route of the VRF at the other PE")

        check(blue1.run("ip", "route", "get", "172.22.0.1", ok=False).returncode == 0 and
              "1 received" not in blue1.run("ping", "-n", "-c1", "-W1", "172.22.0.1", ok=False).stdout,
              "the other tenant does not reach it")
        check("172.2" not in " ".join(r["prefix"] for r in pe1.show("routes") if r.get("vrf") == "white"), "and has no such route")
        open_port = red1.run("sh", "-c", f"exec 3<>/dev/tcp/{red1.gw4}/22", ok=False)
        check(open_port.returncode != 0 and red1.ping(red1.gw4, 2), "only BGP reaches the router's Linux; its gateway answers echoes")

        bird.process.terminate()
        bird.process.wait()
        check(until(lambda: "172.22.0.0/16" not in frr.vtysh("show bgp ipv4 unicast"), 20), "BIRD ends: FRR hears no more of its network")
        check(until(lambda: "172.22.0.0/16" not in [r["prefix"] for r in pe2.show("routes")], 10), "and the PE has no route to it")
        bird.start()
        check(until(lambda: red1.ping("172.22.0.1", 1), 30), "it comes back, and the way with it")
        blue = Frr(net, blue1, 64999, "172.21.0.0/16", "2001:db8:99::/48")
        check(until(lambda: blue2.ping("172.21.0.1", 1), 30), "the other tenant's router at the same address has its own session and network")
        check(red2.ping("172.21.0.1", 1), "beside the first one's")
        check(len(blue.processes) == 2, "all daemons are still there")
        pe1.extra["bgp"]["customers"].pop(0)
        pe1.write()
        pe1.ctl("reload")
        check(until(lambda: "172.21.0.0/16" not in bird.route("172.21.0.0/16").replace("Network not found", ""), 20),
              "a customer is taken out of the file: its networks go")
        check(blue2.ping("172.21.0.1", 1), "the other's stay")
    finish()


main()
