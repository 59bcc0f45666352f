#!/usr/bin/env python3
"""Transit routers end in good order under traffic: the first one's lanes move to the other, then back, then wait for a router that
is started again. Not a packet of one UDP flow is lost, and none is late in the first two cases.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import json
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import Net, check, finish, until  # noqa: E402


def lost(router):
    totals = json.loads(router.ctl("show", "losses").stdout)["totals"]
    kernel = sum(p["device"]["kernel_tx_dropped"] + p["device"]["rx_no_buffer"] for p in router.show("ports"))
    return {r: n["packets"] or n["cells"] for r, n in totals.items()} | ({"kernel": kernel} if kernel else {})


def out(router):
    """Ports that open lanes from this router leave by."""
    return sorted(x["out"] for x in router.show("lanes") if "in" not in x and x["state"] in ("running", "blocked"))


def up(router, *neighbours):
    ports = {p["name"]: p for p in router.show("ports")}
    return all(ports[f"to-{n.name}"]["link"]["up"] for n in neighbours)


def ends(router, what):
    check(router.stop(signal.SIGTERM) == 0, f"{router.name} ends: {what}")
    check("drained" in router.log() and "not drained" not in router.log(), "with nothing left in it")


with Net("drain") as net:
    a, p, q, b = (net.router(n) for n in "apqb")
    for r in p, q:
        net.link(a, r, fibre={"rate": "100 Mbit/s", "km": 50})
        net.link(r, b, fibre={"rate": "100 Mbit/s", "km": 50})
    h1, h2 = net.host("h1", a), net.host("h2", b)
    net.plan(backup=90)
    for r in a, b:
        other = b if r is a else a
        r.paths.append({"id": 90, "port": "to-q", "sids": [f"fcbb:bb00:{q.n:x}:{0xe000 + q.port_to(other):x}::"]})
    net.start(plan=False)
    check(until(lambda: h1.ping(h2.v4, 1)) and out(a) == ["to-p"] and out(b) == ["to-p"], "the lanes pass p")

    server = h2.start("iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    check(until(lambda: h2.run("ss", "-Hltn", "sport = 5201").stdout), "a receiver is there")
    flow = h1.start("iperf3", "-J", "-u", "-b", "5M", "-l", "1000", "-t", "20", "-c", h2.v4, stdout=subprocess.PIPE, text=True)
    check(until(lambda: any(x.get("sent_cells", 0) > 500 for x in a.show("lanes"))), "packets flow")

    ends(p, "its lanes move to q")
    check(out(a) == ["to-q"] and out(b) == ["to-q"], "and are there")
    p.start()
    check(until(lambda: up(a, p) and up(b, p), 20), "p is back")
    ends(q, "its lanes move back to p")
    check(out(a) == ["to-p"] and out(b) == ["to-p"], "and are there")
    ends(p, "nobody else is there: its lanes wait")
    check(out(a) == [] and out(b) == [], "and carry nothing")
    p.start()
    check(until(lambda: out(a) == ["to-p"], 20), "p is back, and they go on")

    said = json.loads(flow.communicate(timeout=60)[0])
    end = said["end"]["sum"] if "end" in said and "sum" in said["end"] else {"packets": 0, "lost_packets": said}
    check(end["packets"] > 10000 and end["lost_packets"] == 0, f"{end['lost_packets']} of {end['packets']} packets lost")
    for r in a, p, b:
        check(lost(r) == {}, f"{r.name} has lost nothing {lost(r) or ''}")
finish()
