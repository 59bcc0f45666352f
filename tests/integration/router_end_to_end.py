#!/usr/bin/env python3
"""Two routers as real processes between two hosts: ping and iperf3, IPv4 and IPv6, TCP and UDP, over open lanes; without
rights; a router that is killed comes back.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import json
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import Net, check, finish, until  # noqa: E402


def status(router, key):
    text = pathlib.Path(f"/proc/{router.process.pid}/status").read_text()
    return re.search(rf"^{key}:\s*(.*)$", text, re.M).group(1).split()


def used(router):
    f = pathlib.Path(f"/proc/{router.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / 100


def iperf(h1, h2, to, *options):
    server = h2.start("iperf3", "-s", "-1", stdout=-3, stderr=-3)
    time.sleep(0.3)
    p = h1.run("iperf3", "-J", "-t", 2, "-c", to, *options, ok=False, timeout=30)
    server.wait(10)
    return json.loads(p.stdout)["end"]


def overrun(h):
    """Datagrams that found the receiving program's own buffer full: what a busy host loses itself."""
    names, values = [x.split() for x in h.run("cat", "/proc/net/snmp").stdout.splitlines() if x.startswith("Udp:")]
    six = dict(x.split() for x in h.run("cat", "/proc/net/snmp6").stdout.splitlines())
    return int(values[names.index("RcvbufErrors")]) + int(six["Udp6RcvbufErrors"])


def pings(h1, h2):
    check(until(lambda: h1.ping(h2.v4, 1)), "IPv4 reaches the other host")
    check(h1.ping(h2.v6, 3), "so does IPv6")
    check(h1.ping(h1.gw4, 3) and h1.ping(h1.gw6, 3), "gateways answer, IPv4 and IPv6")
    check(h1.ping(h2.gw4, 3) and h1.ping(h2.gw6, 3), "so do the remote ones")
    check(h1.ping(h2.v4, 3, size=1472) and h1.ping(h2.v6, 3, size=1452), "full-sized packets pass")
    check(h1.ping(h2.v4, 3, size=9000) and h1.ping(h2.v6, 3, size=9000), "so do fragmented ones")
    check(not h1.ping("10.9.9.9", 1) and "Unreachable" in h1.run("ping", "-c1", "-W1", "10.9.9.9", ok=False).stdout,
          "what has no route is told so")


def loads(h1, h2):
    for name, to in ("IPv4", h2.v4), ("IPv6", h2.v6):
        e = iperf(h1, h2, to)
        rate = e["sum_received"]["bits_per_second"] / 1e6
        check(rate > 50, f"TCP over {name}: {rate:.0f} Mbit/s")
        before = overrun(h2)
        e = iperf(h1, h2, to, "-u", "-b", "50M")["sum"]
        own = overrun(h2) - before
        check(e["packets"] > 5000 and e["lost_packets"] <= own,
              f"UDP over {name}: {e['lost_packets']} of {e['packets']} datagrams lost, {own} of them by the host itself")


def rights(routers):
    for r in routers:
        check(status(r, "Uid") == ["4711"] * 4 and status(r, "Gid") == ["4711"] * 4, f"{r.name} is an ordinary user")
        check(status(r, "NoNewPrivs") == ["1"] and status(r, "Seccomp") == ["2"], "no new rights, system calls filtered")
        check(all(int(status(r, c)[0], 16) == 0 for c in ("CapEff", "CapPrm", "CapBnd")), "no rights left")


def idle(routers):
    time.sleep(1)
    before, begin = [used(r) for r in routers], time.monotonic()
    time.sleep(4)
    took = time.monotonic() - begin
    for r, b in zip(routers, before):
        share = (used(r) - b) / took
        check(share < 0.05, f"{r.name} waits with {share:.1%} of a core, hellos included")


def killed(a, b, h1, h2):
    b.stop(signal.SIGKILL)
    time.sleep(0.2)
    check(a.process.poll() is None, "the neighbour of a killed router goes on")
    b.start()
    check(until(lambda: h1.ping(h2.v4, 1), 15), "the killed router comes back, and so do its lanes")
    a.stop(signal.SIGKILL)
    a.start()
    check(until(lambda: h1.ping(h2.v6, 1), 15), "the other one too")


with Net("end-to-end") as net:
    a, b = net.router("a"), net.router("b")
    net.link(a, b)
    h1, h2 = net.host("h1", a), net.host("h2", b)
    net.start()
    pings(h1, h2)
    check("lane is open" in a.log() and "lane is open" in b.log(), "lanes are open both ways")
    rights((a, b))
    loads(h1, h2)
    idle((a, b))
    killed(a, b, h1, h2)
    check(a.stop() == 0 and b.stop() == 0, "they end in order")
finish()
