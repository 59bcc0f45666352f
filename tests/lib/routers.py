"""A small network of real routers for tests: processes joined by memif, hosts in network namespaces behind TAPs.

    with Net("name") as net:
        a, b = net.router("a"), net.router("b")
        net.link(a, b)
        h1, h2 = net.host("h1", a), net.host("h2", b)
        net.start()
        h1.run("ping", "-c1", h2.v4)

Addresses are those of src/scenario/plan.h. Everything lives under build/router-test/NAME and goes at the end."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

BIN = os.environ.get("MERIDIAN_BIN", "build/main/src/cli/meridian")
failures = 0


def check(good, what):
    global failures
    print(("ok    " if good else "FAIL  ") + what, flush=True)
    failures += not good
    return good


def finish():
    sys.exit(1 if failures else 0)


def sh(*args, timeout=60, ok=True, **kw):
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=timeout, **kw)
    if ok and p.returncode:
        raise RuntimeError(f"{' '.join(map(str, args))}: {p.returncode}\n{p.stdout}{p.stderr}")
    return p


def until(what, seconds=10, every=0.05):
    """What it returns once it is true, or its last answer."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got or time.monotonic() > end:
            return got
        time.sleep(every)


class Host:
    def __init__(self, net, name, router, vrf, number, vlan=0):
        self.net, self.name, self.router, self.vrf, self.n = net, name, router, vrf, number
        self.ns = f"{net.prefix}{name}"
        self.v4, self.gw4, self.net4 = f"10.0.{number}.2", f"10.0.{number}.1", f"10.0.{number}.0/24"
        self.v6, self.gw6, self.net6 = f"fd10:0:0:{number:x}::2", f"fd10:0:0:{number:x}::1", f"fd10:0:0:{number:x}::/64"
        self.device = "wan0"

    def up(self):
        sh("ip", "netns", "add", self.ns)
        self.run("ip", "link", "set", "lo", "up")

    def configure(self):
        run = self.run
        run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", f"net.ipv6.conf.{self.device}.accept_dad=0",
            "net.ipv4.tcp_ecn=1", ok=False)
        run("ip", "addr", "replace", f"{self.v4}/24", "dev", self.device)
        run("ip", "addr", "replace", f"{self.v6}/64", "dev", self.device, "nodad")
        run("ip", "route", "replace", "default", "via", self.gw4)
        run("ip", "-6", "route", "replace", "default", "via", self.gw6)

    def run(self, *args, **kw):
        return sh("ip", "netns", "exec", self.ns, *args, **kw)

    def start(self, *args, **kw):
        p = subprocess.Popen(["ip", "netns", "exec", self.ns, *map(str, args)], **kw)
        self.net.processes.append(p)
        return p

    def ping(self, to, count=3, wait=1, size=56, interval=0.05, ok=False):
        p = self.run("ping", "-n", "-q", "-c", count, "-W", wait, "-i", interval, "-s", size, to, ok=ok,
                     timeout=30 + count * (interval + 0.1))
        return p.returncode == 0 and f"{count} received" in p.stdout


class Router:
    def __init__(self, net, name, number, ns=None):
        self.net, self.name, self.n, self.ns = net, name, number, ns
        self.loopback = f"fd00:6d65::{number:x}"
        self.ports, self.extra, self.routes, self.paths, self.slices, self.access = [], {}, [], [], [], []
        self.vrfs, self.classes = {}, {}  # classes: of a VRF, for BGP's policies
        self.dir = net.dir / name
        self.control = str(self.dir / "ctl")
        self.process = None
        self.key = None

    def config(self):
        c = {"name": self.name, "id": self.n, "loopback": f"fd00:6d65::{self.n:x}",
             "locator": f"fcbb:bb00:{self.n:x}::/48", "block_bits": 32, "identity": str(self.dir / "key"),
             "trusted": [r.key for r in self.net.routers], "user": "4711", "control": self.control,
             "memory": {"huge": "no"},
             # Where ten processes share two cores a worker may be kept waiting for tens of milliseconds.
             "lanes": {"hello": "20 ms", "silence": "200 ms"},
             "ports": self.ports,
             "vrfs": [dict({"name": name, "id": v[0], "tenant": v[1]},
                           **({"classes": self.classes[name]} if name in self.classes else {})) for name, v in self.vrfs.items()],
             "access": self.access,
             "sids": [{"sid": f"fcbb:bb00:{self.n:x}::/48", "behaviour": "uN"}],
             "routes": [{"prefix": f"fd00:6d65::{self.n:x}/128", "local": "yes"}] + self.routes,
             "paths": self.paths, "slices": self.slices}
        for i, p in enumerate(self.ports):
            if p["kind"] == "core" and "foreign" not in p:
                c["sids"].append({"sid": f"fcbb:bb00:{self.n:x}:{0xe000 + i:x}::/64", "behaviour": "uA",
                                  "port": p["name"]})
                c["sids"].append({"sid": f"fcbb:bb00:{0xe000 + i:x}::/48", "behaviour": "uA", "port": p["name"]})
        for name, (vrf, _) in self.vrfs.items():
            c["sids"].append({"sid": f"fcbb:bb00:{self.n:x}:{0xf000 + vrf:x}::/64", "behaviour": "uDT46", "vrf": name})
        for k, v in self.extra.items():
            c[k] = c[k] + v if isinstance(v, list) and k in c else v
        return {k: v for k, v in c.items() if v not in ([], {})}

    def write(self):
        (self.dir / "router.yaml").write_text(json.dumps(self.config(), indent=1))  # JSON is YAML
        return self.dir / "router.yaml"

    def start(self, *options):
        self.write()
        log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen([*self.within(), BIN, "router", *options, str(self.dir / "router.yaml")],
                                        stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def within(self):
        return ["ip", "netns", "exec", self.ns] if self.ns else []

    def run(self, *args, **kw):
        """Beside the router, in its namespace."""
        return sh(*self.within(), *args, **kw)

    def ctl(self, *words, ok=True, timeout=30):
        return sh(BIN, "router", "ctl", "--json", self.control, *words, ok=ok, timeout=timeout)

    def show(self, what):
        return json.loads(self.ctl("show", what).stdout)[what]

    def log(self):
        log = self.dir / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def stop(self, sig=signal.SIGTERM, wait=30):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(wait)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode if self.process else None

    def service(self, vrf):
        return f"fcbb:bb00:{self.n:x}:{0xf000 + self.vrfs[vrf][0]:x}::"

    def port_to(self, other):
        return next(i for i, p in enumerate(self.ports) if p.get("to") is other or p["name"] == f"to-{other.name}")


class Net:
    def __init__(self, name, rate="1 Gbit/s"):
        self.name, self.rate = name, rate
        self.prefix = f"t{os.getpid() % 10000}-"
        self.dir = pathlib.Path("build/router-test").absolute() / name
        self.routers, self.hosts, self.processes, self.links = [], [], [], []

    def __enter__(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        os.chmod(self.dir, 0o755)
        return self

    def __exit__(self, kind, *_):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
                p.wait()
        for r in self.routers:
            r.stop(signal.SIGKILL)
            if kind or failures:
                print(f"--- log of {r.name}\n" + r.log()[-3000:], flush=True)
        for h in self.hosts:
            sh("ip", "netns", "del", h.ns, ok=False)
        for r in self.routers:
            if r.ns:
                sh("ip", "netns", "del", r.ns, ok=False)
        if not kind and not failures:
            shutil.rmtree(self.dir, ignore_errors=True)

    def router(self, name, own=False):
        """own: in a network namespace of its own, for those that speak BGP."""
        r = Router(self, name, len(self.routers) + 1, f"{self.prefix}{name}" if own else None)
        if own:
            sh("ip", "netns", "add", r.ns)
            r.run("ip", "link", "set", "lo", "up")
        r.dir.mkdir()
        r.key = sh(BIN, "router", "key", r.dir / "key").stdout.strip()
        self.routers.append(r)
        return r

    def link(self, a, b, fibre=None, **more):
        """The lower one listens."""
        path = str(self.dir / f"{a.name}-{b.name}.memif")
        for r, other, role in (a, b, "server"), (b, a, "client"):
            p = {"name": f"to-{other.name}", "kind": "core", "memif": {role: path}, "peer": other.n}
            if fibre:
                p["fibre"] = dict(fibre, seed=len(self.links) * 2 + (role == "server") + 1)
            else:
                p["rate"] = self.rate
            p.update(more)
            r.ports.append(p)
        self.links.append((a, b))

    def host(self, name, router, vrf="red", number=None, **port):
        number = number or len(self.hosts) + 1
        h = Host(self, name, router, vrf, number)
        tap = {"device": h.device, "namespace": h.ns, "keep": "yes"}
        router.ports.append(dict({"name": name, "kind": "access", "tap": tap}, **port))
        if vrf not in router.vrfs:
            vrfs = sorted({v for r in self.routers for v in r.vrfs} | {vrf})
            router.vrfs[vrf] = (100 + vrfs.index(vrf), 7 + vrfs.index(vrf))
        router.access.append({"port": name, "vrf": vrf, "gateways": [f"{h.gw4}/24", f"{h.gw6}/64"]})
        self.hosts.append(h)
        return h

    def way(self, a, b):
        """Routers from a to b, the shortest way."""
        seen, todo = {a: None}, [a]
        while todo:
            r = todo.pop(0)
            for x, y in self.links:
                for here, there in (x, y), (y, x):
                    if here is r and there not in seen:
                        seen[there] = r
                        todo.append(there)
        trail = [b]
        while trail[-1] is not a:
            trail.append(seen[trail[-1]])
        return trail[::-1]

    def plan(self, lanes=True, classes=("bulk",), **slice_):
        """Underlay routes, a path between each two routers, and for each VRF slices and routes to its other hosts."""
        for a in self.routers:
            for b in self.routers:
                if a is b:
                    continue
                way = self.way(a, b)
                first = f"to-{way[1].name}"
                a.routes.append({"prefix": f"fd00:6d65::{b.n:x}/128", "port": first})
                a.routes.append({"prefix": f"fcbb:bb00:{b.n:x}::/48", "port": first})
                a.paths.append({"id": b.n, "port": first, "sids": [
                    f"fcbb:bb00:{r.n:x}:{0xe000 + r.port_to(way[i + 2]):x}::" for i, r in enumerate(way[1:-1])]})
                for vrf in a.vrfs:
                    theirs = [h for h in self.hosts if h.router is b and h.vrf == vrf]
                    if theirs and lanes:
                        for c in classes:
                            a.slices.append(dict({"tenant": a.vrfs[vrf][1], "path": b.n, "class": c,
                                                  "sid": b.service(vrf)}, **slice_))
                    for h in theirs:
                        for prefix in (h.net4, h.net6):
                            a.routes.append({"vrf": vrf, "prefix": prefix, "sid": b.service(vrf), "path": b.n})

    def start(self, plan=True, **planned):
        if plan:
            self.plan(**planned)
        for h in self.hosts:
            h.up()
        for r in self.routers:
            r.start()
        for h in self.hosts:
            self.attach(h)

    def attach(self, h):
        if not until(lambda: h.run("ip", "link", "show", h.device, ok=False).returncode == 0, 20):
            raise RuntimeError(f"{h.router.name} does not start:\n{h.router.log()[-2000:]}")
        h.configure()
