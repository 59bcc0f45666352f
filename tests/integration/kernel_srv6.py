#!/usr/bin/env python3
"""Our routers and Linux's own SRv6 on one path: host - A - Linux - B - host. Linux encapsulates (with and without SRH) and we
decapsulate; we encapsulate and Linux is End, End.X, End with NEXT-C-SID in the middle, and End.DT6 at the end.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import Net, check, finish, sh, until  # noqa: E402

MAC = {"a": "02:aa:00:00:00:01", "b": "02:aa:00:00:00:02"}  # of Linux's devices


def far(net, *args, ok=True):
    """The host behind Linux."""
    return sh("ip", "netns", "exec", f"{net.prefix}far", *args, ok=ok)


def linux(net, *args, ok=True):
    return sh("ip", "netns", "exec", f"{net.prefix}linux", *args, ok=ok)


def route(net, prefix, *how):
    linux(net, "ip", "-6" if ":" in prefix else "-4", "route", "replace", prefix, *how)


def set_up_linux(net, routers):
    for r in routers:
        dev = f"to-{r.name}"
        until(lambda: linux(net, "ip", "link", "show", dev, ok=False).returncode == 0, 20)
        linux(net, "ip", "link", "set", dev, "address", MAC[r.name], "up")
        linux(net, "sysctl", "-qw", f"net.ipv6.conf.{dev}.seg6_enabled=1", f"net.ipv6.conf.{dev}.forwarding=1")
        ours = f"02:4d:00:{r.n:02x}:00:00"
        linux(net, "ip", "-6", "neigh", "replace", f"fe80::{r.n}", "lladdr", ours, "dev", dev)
        route(net, f"fcbb:bb00:{r.n:x}::/48", "via", f"fe80::{r.n}", "dev", dev)
        route(net, f"fc00:{r.n:x}::/32", "via", f"fe80::{r.n}", "dev", dev)
        route(net, f"fd00:6d65::{r.n:x}/128", "via", f"fe80::{r.n}", "dev", dev)
    linux(net, "sysctl", "-qw", "net.ipv6.conf.all.seg6_enabled=1", "net.ipv6.conf.all.forwarding=1",
          "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
    linux(net, "ip", "sr", "tunsrc", "set", "fd00:6d65::9")
    linux(net, "ip", "link", "add", "stub", "type", "veth", "peer", "name", "wan0", "netns", f"{net.prefix}far")
    linux(net, "ip", "link", "set", "stub", "up")
    linux(net, "ip", "addr", "add", "10.0.99.1/24", "dev", "stub")
    linux(net, "ip", "addr", "add", "fd10:0:0:99::1/64", "dev", "stub", "nodad")
    far(net, "ip", "link", "set", "wan0", "up")
    far(net, "ip", "addr", "add", "10.0.99.2/24", "dev", "wan0")
    far(net, "ip", "addr", "add", "fd10:0:0:99::2/64", "dev", "wan0", "nodad")
    far(net, "ip", "route", "add", "default", "via", "10.0.99.1")
    far(net, "ip", "-6", "route", "add", "default", "via", "fd10:0:0:99::1")


def local_sid(net, sid, *action):
    # "dev" must be one that is no loopback; what it is does not matter.
    linux(net, "ip", "-6", "route", "replace", sid, "encap", "seg6local", "action", *action, "dev", "stub")


def kernel_encapsulates(net, a, h1):
    """From a host behind Linux to A's host and back: A's answer is encapsulated to End.DT6."""
    local_sid(net, "fc00:9::d6/128", "End.DT6", "table", "254")
    for mode in "encap", "encap.red":
        for name, sid in ("uDT46", a.service("red")), ("End.DT46", "fc00:1::46"):
            route(net, h1.net6, "encap", "seg6", "mode", mode, "segs", sid, "dev", "to-a")
            p = far(net, "ping", "-6", "-c3", "-i0.1", "-W1", h1.v6, ok=False)
            check(" 3 received" in p.stdout, f"Linux {mode} of IPv6 to our {name}, ours to Linux's End.DT6")
            # Linux has no End.DT46 without VRFs; that the host hears IPv4 is seen at the host.
            route(net, h1.net4, "encap", "seg6", "mode", mode, "segs", sid, "dev", "to-a")
            before = heard(h1)
            far(net, "ping", "-c3", "-i0.1", "-W1", h1.v4, ok=False)
            check(heard(h1) == before + 3, f"Linux {mode} of IPv4 to our {name}")


def heard(h):
    """Echo requests that a host has taken."""
    lines = h.run("cat", "/proc/net/snmp").stdout.splitlines()
    names, values = [x.split() for x in lines if x.startswith("Icmp:")]
    return int(values[names.index("InEchos")])


def kernel_in_the_middle(net, routers, h1, h2):
    local_sid(net, "fc00:9::e/128", "End")
    for r, nexthop in zip(routers, (2, 1)):
        local_sid(net, f"fc00:9::{nexthop}:1/128", "End.X", "nh6", f"fd00:6d65::{nexthop}")
    local_sid(net, "fcbb:bb00:9::/48", "End", "flavors", "next-csid", "lblen", "32", "nflen", "16")
    for name, path in ("End", 1), ("End.X", 2), ("End with NEXT-C-SID", 3):
        for r in routers:
            for x in r.routes:
                if x.get("sid", "").startswith("fcbb") or x.get("via_linux"):
                    x["path"] = path
            r.write()
            r.ctl("reload")
        check(until(lambda: h1.ping(h2.v4, 1), 3) and h1.ping(h2.v4, 3), f"through Linux's {name}: IPv4")
        check(h1.ping(h2.v6, 3, size=1300), f"through Linux's {name}: IPv6")


with Net("kernel") as net:
    ns = f"{net.prefix}linux"
    for name in ns, f"{net.prefix}far":
        sh("ip", "netns", "add", name)
    try:
        a, b = net.router("a"), net.router("b")
        for r in a, b:
            r.ports.append({"name": "to-linux", "kind": "core", "foreign": MAC[r.name],
                            "tap": {"device": f"to-{r.name}", "namespace": ns}, "mtu": 1900})
        h1, h2 = net.host("h1", a), net.host("h2", b)
        for r, other in (a, b), (b, a):
            r.extra["sids"] = [{"sid": f"fc00:{r.n}::46/128", "behaviour": "End.DT46", "vrf": "red"}]
            r.routes += [{"prefix": f"fcbb:bb00:{other.n}::/48", "port": "to-linux"},
                         {"prefix": "fcbb:bb00:9::/48", "port": "to-linux"},
                         {"prefix": "fc00:9::/32", "port": "to-linux"},
                         {"prefix": f"fd00:6d65::{other.n}/128", "port": "to-linux"},
                         {"vrf": "red", "prefix": "fd10:0:0:99::/64", "sid": "fc00:9::d6", "path": 4}]
            r.paths = [{"id": 1, "port": "to-linux", "sids": ["fc00:9::e"], "lanes": "no", "full_sids": "yes"},
                       {"id": 2, "port": "to-linux", "sids": [f"fc00:9::{other.n}:1"], "lanes": "no", "full_sids": "yes"},
                       {"id": 3, "port": "to-linux", "sids": ["fcbb:bb00:9::"], "lanes": "no"},
                       {"id": 4, "port": "to-linux", "sids": [], "lanes": "no", "full_sids": "yes"}]
            theirs = h2 if other is b else h1
            for prefix in theirs.net4, theirs.net6:
                r.routes.append({"vrf": "red", "prefix": prefix, "sid": other.service("red"), "path": 1})
        net.start(plan=False)
        set_up_linux(net, (a, b))
        if linux(net, "ip", "-6", "route", "add", "fc00:9::f/128", "encap", "seg6local", "action", "End", "dev", "stub",
                 ok=False).returncode:
            print("skip: this kernel has no SRv6")
            sys.exit(77)
        time.sleep(0.5)
        check(h1.ping(h1.gw6, 2), "the host reaches its gateway")
        kernel_encapsulates(net, a, h1)
        kernel_in_the_middle(net, (a, b), h1, h2)
    finally:
        for name in ns, f"{net.prefix}far":
            sh("ip", "netns", "del", name, ok=False)
finish()
