#!/usr/bin/env python3
"""Running a router: what it shows, ping and traceroute from inside a VPN, capture read by tshark, metrics read by promtool,
IPFIX to a collector that comes and goes, a changed configuration and a wrong one, a cut fibre, and an end that loses nothing.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import BIN, Net, check, finish, sh, until  # noqa: E402


def shows(a, h2):
    ports = {p["name"]: p for p in a.show("ports")}
    check(ports["to-b"]["link"]["up"] and ports["to-b"]["link"]["peer"] == 2, "show ports: the link and who is there")
    check(0.9 < ports["to-b"]["link"]["rtt_ms"] < 20, f"round trip of 2 x 100 km: {ports['to-b']['link']['rtt_ms']:.2f} ms")
    lanes = a.show("lanes")
    check(sorted((x.get("in", ""), x.get("out", "")) for x in lanes) == [("", "to-b"), ("to-b", "")],
          "show lanes: one begins here, one ends here")
    check(all(x["state"] == "running" for x in lanes), "both run")
    routes = {(r.get("vrf", ""), r["prefix"]): r for r in a.show("routes")}
    check(routes["red", h2.net4]["kind"] == "remote" and routes["red", h2.net4]["ready"], "show routes")
    check({s["behaviour"] for s in a.show("sids")} == {"uN", "uA", "uDT46"}, "show sids")
    check(any(n["address"] == "10.0.1.2" and n["state"] != "incomplete" for n in a.show("neighbours")), "show neighbours")
    check("packets: " in a.show("config")[0] and a.show("router")[0]["id"] == 1, "show config, show router")
    check(a.ctl("show", "nonsense", ok=False).returncode == 1, "what is not there is refused")


def probes(a, h2):
    p = a.ctl("ping", h2.v4, "--vrf", "red", "--count", "5", "--interval", "0.02")
    check(json.loads(p.stdout.splitlines()[-1])["answered"] == 5, "ping in the VRF, IPv4")
    p = a.ctl("ping", h2.v6, "--vrf", "red", "--count", "5", "--interval", "0.02", "--size", "1400")
    check(json.loads(p.stdout.splitlines()[-1])["answered"] == 5, "and IPv6")
    p = a.ctl("ping", "10.77.0.1", "--vrf", "red", "--count", "2", "--interval", "0.02", "--timeout", "0.3", ok=False)
    check(p.returncode == 1 and json.loads(p.stdout.splitlines()[-1])["answered"] == 0, "nobody is nobody")
    hops = [json.loads(x) for x in a.ctl("traceroute", h2.v4, "--vrf", "red").stdout.splitlines()]
    check([h.get("from") for h in hops[:-1]] == [h2.gw4, h2.v4], "traceroute: the far gateway, then the host")
    hops = [json.loads(x) for x in a.ctl("traceroute", "fd00:6d65::3").stdout.splitlines()]
    check([h.get("from") for h in hops[:-1]] == ["fd00:6d65::2", "fd00:6d65::3"], "traceroute through the underlay")


def capture(a, h1, h2, folder):
    file = folder / "to-b.pcapng"
    p = subprocess.Popen([BIN, "router", "ctl", a.control, "capture", "to-b", "--write", file])
    time.sleep(0.5)
    h1.ping(h2.v4, 20, interval=0.02)
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    check(p.wait(10) == 0, "a capture ends with ^C")
    t = sh("tshark", "-r", file, "-Y", "icmp", "-T", "fields", "-e", "frame.packet_flags_direction", "-e", "icmp.type")
    lines = t.stdout.split("\n")[:-1]
    both = {tuple(x.split("\t")) for x in lines}
    check(len(lines) == 40 and both == {("0x00000002", "8"), ("0x00000001", "0")}, "tshark reads both directions of it")
    bad = sh("tshark", "-r", file, "-Y", "_ws.malformed").stdout
    check(bad == "", "and finds nothing malformed")


def metrics(a, port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()
    p = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    check(p.returncode == 0, f"promtool accepts {text.count(b'meridian_')} lines of metrics {p.stderr.decode()[:200]}")
    check(b'meridian_lane_open{' in text and b'meridian_link_up{port="to-b"} 1' in text, "links and lanes are in them")


class Collector:
    """Takes IPFIX over TCP and counts messages and sets by their id."""

    def __init__(self, port):
        self.messages, self.sets, self.lines = 0, {}, 0
        self.socket = socket.create_server(("127.0.0.1", port))
        self.line = None
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                self.line, _ = self.socket.accept()
            except OSError:
                return
            self.lines += 1
            data = b""
            while True:
                try:
                    more = self.line.recv(65536)
                except OSError:
                    break
                if not more:
                    break
                data += more
                while len(data) >= 16 and len(data) >= int.from_bytes(data[2:4]):
                    message, data = data[:int.from_bytes(data[2:4])], data[int.from_bytes(data[2:4]):]
                    assert message[:2] == b"\x00\x0a"
                    self.messages += 1
                    at = 16
                    while at < len(message):
                        kind, length = int.from_bytes(message[at:at + 2]), int.from_bytes(message[at + 2:at + 4])
                        self.sets[kind] = self.sets.get(kind, 0) + 1
                        at += length

    def hang_up(self):
        self.line.shutdown(socket.SHUT_RDWR)
        self.line.close()


def ipfix(a, collector):
    check(until(lambda: collector.messages > 3 and any(s >= 256 for s in collector.sets), 8),
          f"the collector has {collector.messages} messages")
    check(2 in collector.sets or 3 in collector.sets, "templates came first")
    before = collector.messages
    collector.hang_up()
    check(until(lambda: collector.lines == 2 and collector.messages > before, 8), "a line that broke is made again")
    check(a.show("collectors")[0]["connects"] == 2, "and counted")


def reload(a, h1, h2):
    routes = list(a.routes)
    a.routes = [r for r in routes if r.get("prefix") != h2.net4]
    a.write()
    a.process.send_signal(signal.SIGHUP)
    check(until(lambda: (("red", h2.net4) not in {(r.get("vrf"), r["prefix"]) for r in a.show("routes")}), 5),
          "SIGHUP takes a route away")
    check(not h1.ping(h2.v4, 1) and h1.ping(h2.v6, 2), "IPv4 has none, IPv6 goes on")
    a.routes = routes
    a.slices[0]["guarantee"] = "1 Mbit/s"
    a.write()
    check(a.ctl("reload").returncode == 0 and until(lambda: h1.ping(h2.v4, 1), 5), "ctl reload brings it back")
    for what, change in ("a mistake", {"mode": "magic"}), ("another id", {"id": 77}):
        a.extra = change
        before = a.show("routes"), a.show("sids")
        a.write()
        p = a.ctl("reload", ok=False)
        check(p.returncode == 1 and "nothing has changed" in p.stderr, f"a file with {what} changes nothing")
        check((a.show("routes"), a.show("sids")) == before, "tables are as they were")


def cut(a, h1, h2):
    a.ctl("link", "to-b", "cut")
    check(until(lambda: not {p["name"]: p for p in a.show("ports")}["to-b"]["link"]["up"], 5),
          "a cut fibre is noticed by its silence")
    check(any(e["event"] == "link-down" for e in a.show("events")), "and remembered")
    a.ctl("link", "to-b", "mend")
    check(until(lambda: h1.ping(h2.v4, 1), 10), "mended, all is well")


def drain(a, b, h1, h2):
    """Datagrams that a host has sent before the end all arrive, though the fibre is long."""
    sink = h2.start("python3", "-c", "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
                    "s.setsockopt(1,33,64<<20)\ns.bind(('',9))\ns.settimeout(3)\nn=0\n"
                    "try:\n while True:\n  s.recv(2000)\n  n+=1\nexcept OSError: print(n)", stdout=subprocess.PIPE)
    time.sleep(0.5)
    h1.run("python3", "-c", "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
           f"s.connect(('{h2.v4}',9))\nfor i in range(3000): s.send(b'x'*1000)")
    before = {p["name"]: p for p in a.show("ports")}["h1"]["device"]["kernel_tx_dropped"]
    check(a.stop(signal.SIGTERM) == 0, "SIGTERM ends it in order")
    check("drained" in a.log() and "not drained" not in a.log(), "with nothing left")
    got = int(sink.communicate(timeout=20)[0])
    check(got == 3000 and before == 0, f"{got} of 3000 datagrams arrived")


port, ipfix_port = 19464, 14739
with Net("operations") as net:
    a, b, c = net.router("a"), net.router("b"), net.router("c")
    net.link(a, b, fibre={"rate": "1 Gbit/s", "km": 100})
    net.link(b, c)
    h1, h2 = net.host("h1", a), net.host("h2", c)
    collector = Collector(ipfix_port)
    a.extra = {"metrics": [f"127.0.0.1:{port}"],
               "ipfix": {"collectors": [{"address": "127.0.0.1", "port": ipfix_port}]}}
    kept = dict(a.extra)
    net.start()
    check(until(lambda: h1.ping(h2.v4, 1)), "the network works")
    h1.ping(h2.v6, 1)
    shows(a, h2)
    probes(a, h2)
    capture(a, h1, h2, net.dir)
    metrics(a, port)
    ipfix(a, collector)
    p = sh(BIN, "top", "--once", a.control, b.control, c.control)
    check(all(x in p.stdout for x in ("to-b", "to-c", "running", "bulk")), "top shows all three")
    p = sh(BIN, "top", "--once", "--json", a.control)
    check(len(json.loads(p.stdout)[0]["lanes"]) == 2, "also as JSON")
    cut(a, h1, h2)
    reload(a, h1, h2)
    a.extra = kept
    a.write()
    a.ctl("reload", ok=False)
    check(until(lambda: h1.ping(h2.v4, 1), 5), "still working")
    drain(a, b, h1, h2)
finish()
