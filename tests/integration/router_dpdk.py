#!/usr/bin/env python3
"""A port through DPDK's ethdev, as network cards are, against one of our own: DPDK's memif driver at one end of a link, our memif
at the other.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import Net, check, finish, until  # noqa: E402

with Net("dpdk") as net:
    a, b = net.router("a"), net.router("b")
    net.link(a, b, mtu=1500)
    path = f"/tmp/dpdk-{os.getpid()}"  # DPDK takes 128 bytes for all of it
    a.ports[0]["memif"] = {"server": path, "id": 5}
    del b.ports[0]["memif"]
    b.ports[0]["pci"] = {"address": f"net_memif0,role=client,id=5,socket={path},socket-abstract=no,bsize=2048,"
                                    "mac=02:4d:00:02:00:00"}
    h1, h2 = net.host("h1", a), net.host("h2", b)
    net.plan()
    for h in net.hosts:
        h.up()
    for r in a, b:  # DPDK's client tries once
        r.start()
        until(lambda: "running as" in r.log(), 10)
    for h in net.hosts:
        net.attach(h)
    check(until(lambda: h1.ping(h2.v4, 1), 10), "hosts reach each other through DPDK's driver")
    check(h1.ping(h2.v6, 20, interval=0.01, size=1300), "twenty large pings, IPv6")
    lanes = b.show("lanes")
    check(lanes and all(x["state"] == "running" for x in lanes), "lanes run over it")
finish()
