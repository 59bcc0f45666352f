"""Network namespaces on one switch, with BGP daemons in them: ours (bgp_pe, `meridian bgp reflect`), GoBGP, FRR, BIRD, ExaBGP, and
a peer of our own that sends any bytes. Names carry the process id, so runs beside each other do not meet; everything ends with the
`with` block, however it ends. Everything waits on conditions.

Host number N has fd00::N/64 and 10.7.0.N/24."""
import atexit
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

BUILD = pathlib.Path(os.environ.get("MERIDIAN_BUILD", "build/main")).resolve()
BIN = os.environ.get("MERIDIAN_BIN") or str(BUILD / "src/cli/meridian")
PE = str(BUILD / "tests/bgp/bgp_pe")
WARNING = 0x600000  # tshark's expert severity
WAIT = 20.0  # seconds that anything may take: far above what it does take
AS = 65000


class Failed(Exception):
    pass


def check(good, what):
    if not good:
        raise Failed(what)
    print("ok:", what, flush=True)


def until(condition, what, seconds=WAIT, step=0.03):
    """The first true value of condition(); fails with `what` otherwise."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(step)


def six(number):
    return f"fd00::{number:x}"


def four(number):
    return f"10.7.0.{number}"


def ip(*args, may_fail=False):
    done = subprocess.run(["ip", *args], capture_output=True, text=True, timeout=20)
    if done.returncode and not may_fail:
        raise Failed(f"ip {' '.join(args)}: {done.stderr.strip()}")


class Lab:
    """with Lab("name") as lab: lab.host(1) …"""

    def __init__(self, name):
        self.name, self.hosts, self.running, self.pes, self.namespaces = name, {}, [], [], []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.tag = f"mb{os.getpid()}"
        self.hub = f"{self.tag}hub"

    def __enter__(self):
        if os.geteuid():
            print("skipped: needs root")
            sys.exit(77)
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
        ip("-n", self.hub, "link", "set", "br0", "up")
        return self

    def __exit__(self, kind, error, _):
        if isinstance(error, Failed):
            self.show_logs()
        self.close()
        if isinstance(error, Failed):
            print("FAILED:", error, flush=True)
            sys.exit(1)

    def show_logs(self):
        for path in sorted(self.folder.glob("*.log")):
            text = path.read_text(errors="replace").strip()
            if text:
                print(f"--- {path.name}\n{text[-1500:]}", flush=True)

    def close(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
        for process in self.running:
            process.wait()
        self.running.clear()
        for host in self.hosts.values():
            ip("netns", "del", host.namespace, may_fail=True)
        self.hosts.clear()
        for name in self.namespaces:
            ip("netns", "del", name, may_fail=True)
        ip("netns", "del", self.hub, may_fail=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def host(self, number):
        if number not in self.hosts:
            self.hosts[number] = Host(self, number)
        return self.hosts[number]

    def namespace(self, name):
        """One more, without a wire."""
        self.namespaces.append(self.tag + name)
        ip("netns", "add", self.tag + name)
        return self.tag + name

    def capture(self):
        return Capture(self)


class Host:
    def __init__(self, lab, number):
        self.lab, self.number = lab, number
        self.namespace = f"{lab.tag}h{number}"
        self.six, self.four = six(number), four(number)
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "add", "e0", "type", "veth", "peer", "name", f"h{number}", "netns", lab.hub)
        ip("-n", lab.hub, "link", "set", f"h{number}", "master", "br0", "up")
        ip("-n", self.namespace, "addr", "add", f"{self.four}/24", "dev", "e0")
        ip("-n", self.namespace, "addr", "add", f"{self.six}/64", "dev", "e0", "nodad")
        for device in ("lo", "e0"):
            ip("-n", self.namespace, "link", "set", device, "up")

    def command(self, *args):
        return ["ip", "netns", "exec", self.namespace, *map(str, args)]

    def start(self, *args, log=None, **more):
        out = open(self.lab.folder / f"{log or pathlib.Path(args[0]).name}-{self.number}.log", "ab")
        more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("stdout", out)
        process = subprocess.Popen(self.command(*args), stderr=out, cwd=self.lab.folder, **more)
        self.lab.running.append(process)
        return process

    def run(self, *args, may_fail=False, seconds=WAIT):
        done = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=seconds, cwd=self.lab.folder)
        if done.returncode and not may_fail:
            raise Failed(f"{' '.join(map(str, args))}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def socket(self, family=socket.AF_INET6, kind=socket.SOCK_STREAM, protocol=0):
        """A socket that lives in this host's namespace."""
        found = []

        def make():
            with open(f"/run/netns/{self.namespace}", "rb") as f:
                os.setns(f.fileno(), os.CLONE_NEWNET)
            found.append(socket.socket(family, kind, protocol))

        thread = threading.Thread(target=make)  # setns is the thread's own
        thread.start()
        thread.join()
        return found[0]

    def cut(self):
        ip("-n", self.lab.hub, "link", "set", f"h{self.number}", "down")

    def join(self):
        ip("-n", self.lab.hub, "link", "set", f"h{self.number}", "up")


class Capture:
    """Everything on the switch, for tshark, and for the fuzzers' corpus when MERIDIAN_CORPUS names a folder."""

    # What tshark 4.4 says of octets that are right: it knows SR Policy (RFC 9830) for AFI 1 only.
    KNOWN = {"Unknown SAFI (73) for AFI 2", "Unknown Next Hop length (16 bytes)"}

    def __init__(self, lab):
        self.lab, self.file = lab, lab.folder / "switch.pcap"
        log = open(lab.folder / "tcpdump.log", "wb")
        self.process = subprocess.Popen(["ip", "netns", "exec", lab.hub, "tcpdump", "-i", "br0", "-U", "--immediate-mode", "-B", "16384", "-s", "0", "-w",
                                         str(self.file), "tcp", "port", "179"], stdout=log, stderr=log)
        lab.running.append(self.process)
        until(lambda: "listening on" in (lab.folder / "tcpdump.log").read_text(), "tcpdump listens")

    def check(self, *ours):
        """tshark decodes what the hosts with these numbers sent: nothing malformed, no complaint."""
        until(self.written, "the capture is written")
        stop(self.process, signal.SIGINT)
        sources = " || ".join(f"ipv6.src == {six(n)} || ip.src == {four(n)}" for n in ours)
        fields = ["frame.number", "bgp.type", "_ws.malformed", "_ws.expert.message", "_ws.expert.severity"]
        shown = subprocess.run(["tshark", "-r", self.file, "-Y", f"bgp && ({sources})", "-Tfields", "-Eseparator=/t", "-Eoccurrence=a",
                                "-Eaggregator=;", *sum((["-e", f] for f in fields), [])], check=True, capture_output=True, text=True)
        packets = [dict(zip(fields, line.split("\t"))) for line in shown.stdout.splitlines()]

        def complaints(p):
            said = [m for m, level in zip(p["_ws.expert.message"].split(";"), p["_ws.expert.severity"].split(";"))
                    if level and int(level) >= WARNING]
            return set(said) - self.KNOWN or (p["_ws.malformed"] and not set(said) & self.KNOWN)

        wrong = [p for p in packets if complaints(p)]
        kinds = sorted({t for p in packets for t in p["bgp.type"].split(";") if t})
        if wrong:
            shutil.copy(self.file, BUILD.parent / "failed.pcap")
        check(packets and not wrong, f"tshark decodes our {len(packets)} segments (message types {', '.join(kinds)}) {wrong[:3] or ''}")
        self.keep()

    def written(self):
        """tcpdump writes what it has read; its file stops growing once the wire is quiet."""
        before = self.file.stat().st_size
        time.sleep(0.1)
        return before == self.file.stat().st_size

    def keep(self):
        folder = os.environ.get("MERIDIAN_CORPUS")
        if not folder:
            return
        shown = subprocess.run(["tshark", "-r", self.file, "-Y", "bgp", "-Tfields", "-e", "tcp.stream", "-e", "tcp.srcport", "-e",
                                "tcp.payload"], check=True, capture_output=True, text=True).stdout
        streams = {}
        for line in shown.splitlines():
            stream, port, payload = line.split("\t")
            streams.setdefault((stream, port), bytearray()).extend(bytes.fromhex(payload))
        for data in streams.values():
            while len(data) >= 19 and data[:16] == b"\xff" * 16 and struct.unpack_from(">H", data, 16)[0] <= len(data):
                length = struct.unpack_from(">H", data, 16)[0]
                one = b"\1" + bytes(data[:length])
                if length <= 600:
                    name = hashlib.sha1(one).hexdigest()[:16]
                    (pathlib.Path(folder) / name).write_bytes(one)
                del data[:length]


def stop(process, number=signal.SIGTERM):
    process.send_signal(number)
    process.wait(WAIT)


# --- ours -------------------------------------------------------------------------------------------------------------------


class Pe:
    """Our speaker in a process (tests/bgp/bgp_pe.c); its events as dictionaries."""

    def __init__(self, host, *peers, number=None, **options):
        self.host, self.events, self.echoes = host, [], 0
        host.lab.pes.append(self)
        words = {"as": AS, "id": f"10.0.0.{number or host.number}", "next-hop": host.six, "listen": "::", **options}
        args = [f"{k.replace('_', '-')}={v}" for k, v in words.items() if v is not None]
        self.process = host.start(PE, *args, *peers, log="pe", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        self.wait(lambda e: e["event"] == "started", "bgp_pe started")

    def read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def send(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()

    def wait(self, matches, what, since=0, seconds=WAIT):
        """The first event from number `since` on that matches."""
        def look():
            if self.process.poll() is not None and not self.thread.is_alive():
                found = [e for e in self.events[since:] if matches(e)]
                if not found:
                    raise Failed(f"{what}: bgp_pe ended with status {self.process.returncode}")
            errors = [e["text"] for pe in self.host.lab.pes for e in pe.events if e["event"] == "error"]
            if errors:
                raise Failed(f"{what}: bgp_pe says: {errors[0]}")
            return next((e for e in self.events[since:] if matches(e)), None)
        return until(look, what, seconds)

    def up(self, address, since=0, seconds=WAIT):
        return self.wait(lambda e: e["event"] == "peer" and e["up"] and e["address"] == address,
                         f"host {self.host.number}: session with {address}", since, seconds)

    def down(self, address, since=0, seconds=WAIT):
        return self.wait(lambda e: e["event"] == "peer" and not e["up"] and e["address"] == address,
                         f"host {self.host.number}: end of the session with {address}", since, seconds)

    def route(self, prefix, withdrawn=False, since=0, **more):
        return self.wait(lambda e: e.get("prefix") == prefix and e["withdrawn"] == withdrawn and
                         all(e.get(k) == v for k, v in more.items()),
                         f"host {self.host.number}: {prefix} {'withdrawn' if withdrawn else 'announced'}", since)

    def settle(self):
        """Everything sent before has been done; how many events there are then."""
        self.echoes += 1
        word = str(self.echoes)
        self.send("echo " + word)
        self.wait(lambda e: e["event"] == "echo" and e["word"] == word, "bgp_pe answers")
        return len(self.events)

    def dump(self):
        """{route text: path}"""
        since = self.settle()
        self.send("dump")
        self.wait(lambda e: e["event"] == "dumped", "a dump", since)
        return {e["route"]: e for e in self.events[since:] if e["event"] == "path"}

    def peers(self):
        since = self.settle()
        self.send("peers")
        event = self.wait(lambda e: e["event"] == "peers", "the peers", since)
        return {p["address"]: p for p in event["peers"]}

    def close(self):
        self.process.stdin.close()
        self.process.wait(WAIT)
        self.thread.join(WAIT)

    def kill(self):
        self.process.kill()
        self.process.wait(WAIT)


class Reflector:
    """`meridian bgp reflect`."""

    def __init__(self, host, *peers, listen="::", identifier=None):
        self.host, self.control = host, host.lab.folder / f"control-{host.number}"
        self.process = host.start(BIN, "bgp", "reflect", "--as", AS, "--id", identifier or f"10.0.0.{host.number}", "--listen",
                                  listen, "--control", self.control, *peers, log="reflect")
        until(lambda: self.control.exists() or self.process.poll() is not None, "the reflector listens")
        if self.process.poll() is not None:
            raise Failed("the reflector did not start")

    def show(self, what):
        return json.loads(subprocess.run([BIN, "bgp", "show", what, self.control], capture_output=True, text=True, check=True,
                                         timeout=WAIT).stdout)

    def peers(self):
        return {p["address"]: p for p in self.show("peers")["peers"]}

    def routes(self):
        return {r["route"]: r for r in self.show("routes")["routes"] if r["best"] and r["family"] != "rtc"}

    def up(self, *addresses, seconds=WAIT):
        until(lambda: all(self.peers()[a]["state"] == "established" for a in addresses),
              f"the reflector's sessions with {', '.join(addresses)}", seconds)


# --- what goes over the wire ---------------------------------------------------------------------------------------------------


def body(attributes, nlri=b"", withdrawn=b""):
    """An UPDATE's body."""
    return struct.pack(">H", len(withdrawn)) + withdrawn + struct.pack(">H", len(attributes)) + attributes + nlri


def message(kind, payload=b""):
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(payload), kind) + payload


def attribute(flags, kind, value):
    if flags & 0x10 or len(value) > 255:
        return struct.pack(">BBH", flags | 0x10, kind, len(value)) + value
    return struct.pack(">BBB", flags, kind, len(value)) + value


def attributes_of(raw):
    """[(flags, type, value)] of a list of attributes."""
    found, at = [], 0
    while at < len(raw):
        head = 4 if raw[at] & 0x10 else 3
        length = struct.unpack_from(">H", raw, at + 2)[0] if head == 4 else raw[at + 2]
        found.append((raw[at], raw[at + 1], raw[at + head:at + head + length]))
        at += head + length
    return found


BASE = attribute(0x40, 1, b"\0") + attribute(0x40, 2, b"") + attribute(0x40, 5, b"\0\0\0\x64")


def reach(afi, safi, next_hop, nlri, flags=0x80):
    return attribute(flags | 0x10, 14, struct.pack(">HBB", afi, safi, len(next_hop)) + next_hop + b"\0" + nlri)


class Raw:
    """A BGP peer that says what it is told to and keeps what it hears: messages as (type, body)."""

    def __init__(self, host, peer, families=((25, 70), (2, 1)), identifier=None, hold=90, asn=AS, capabilities=b"", as4=True,
                 hops=None, patience=WAIT):
        self.host, self.peer, self.heard, self.closed = host, peer, [], False
        family = socket.AF_INET6 if ":" in peer else socket.AF_INET
        self.socket = host.socket(family)
        self.socket.settimeout(patience)
        if hops and family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        elif hops:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        until(self.connect, f"a connection from host {host.number} to {peer}")
        self.socket.settimeout(None)
        multi = b"".join(struct.pack(">BBBBHBB", 2, 6, 1, 4, afi, 0, safi) for afi, safi in families)
        if as4:
            multi += struct.pack(">BBBBI", 2, 6, 65, 4, asn)
        parameters = multi + capabilities
        self.say(1, struct.pack(">BHH4sB", 4, min(asn, 23456) if asn > 65535 else asn, hold,
                                socket.inet_aton(identifier or f"10.0.0.{host.number}"), len(parameters)) + parameters)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def connect(self):
        try:
            self.socket.connect((self.peer, 179))
            return True
        except ConnectionRefusedError:
            return False
        except OSError as e:  # a first answer that was thrown away (MD5)
            raise Failed(f"host {self.host.number} cannot connect to {self.peer}: {e}") from e

    def say(self, kind, payload=b""):
        self.raw(message(kind, payload))

    def raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def update(self, attributes, nlri=b"", withdrawn=b""):
        self.say(2, body(attributes, nlri, withdrawn))

    def read(self):
        waiting = b""
        while True:
            try:
                more = self.socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                self.closed = True
                return
            waiting += more
            while len(waiting) >= 19 and len(waiting) >= struct.unpack_from(">H", waiting, 16)[0]:
                length, kind = struct.unpack_from(">HB", waiting, 16)
                self.heard.append((kind, waiting[19:length]))
                waiting = waiting[length:]
                if kind == 1:
                    self.say(4)  # the OPEN is fine

    def up(self):
        until(lambda: any(k == 4 for k, _ in self.heard), f"host {self.host.number}: a session of raw bytes")
        return self

    def updates(self, since=0):
        """[(attributes, announced, withdrawn)] with attributes as (flags, type, value)."""
        found = []
        for kind, data in self.heard[since:]:
            if kind == 2:
                gone = struct.unpack_from(">H", data, 0)[0]
                length = struct.unpack_from(">H", data, 2 + gone)[0]
                start = 4 + gone
                found.append((attributes_of(data[start:start + length]), data[start + length:], data[2:2 + gone]))
        return found

    def notifications(self):
        return [(data[0], data[1]) for kind, data in self.heard if kind == 3]

    def close(self):
        self.closed = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


# --- other daemons ---------------------------------------------------------------------------------------------------------------


class Gobgp:
    FAMILIES = ("l2vpn-evpn", "ipv6-unicast", "l3vpn-ipv4-unicast", "l3vpn-ipv6-unicast", "ipv6-srpolicy", "ipv4-srpolicy")

    def __init__(self, host, *peers, reflector=False, families=FAMILIES, restart=0, notification=False, restarting=False,
                 hold=None, secrets=None, passive=False, retry=1):
        self.host = host
        text = [f'[global.config]\nas = {AS}\nrouter-id = "10.0.0.{host.number}"\n']
        for peer in peers:
            text.append(f'[[neighbors]]\n[neighbors.config]\nneighbor-address = "{peer}"\npeer-as = {AS}')
            if secrets:
                text.append(f'auth-password = "{secrets}"')
            text.append(f"[neighbors.timers.config]\nconnect-retry = {retry}\nidle-hold-time-after-reset = 1")
            if hold:
                text.append(f"hold-time = {hold}\nkeepalive-interval = {hold // 3}")
            if passive:
                text.append("[neighbors.transport.config]\npassive-mode = true")
            if reflector:
                text.append(f'[neighbors.route-reflector.config]\nroute-reflector-client = true\n'
                            f'route-reflector-cluster-id = "10.0.0.{host.number}"')
            if restart:
                text.append(f"[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = {restart}\n"
                            f"notification-enabled = {str(notification).lower()}")
            for family in families:
                text.append(f'[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "{family}"')
                if restart:
                    text.append("[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true")
        self.config = host.lab.folder / f"gobgp-{host.number}.toml"
        self.config.write_text("\n".join(text) + "\n")
        self.start(restarting)

    def start(self, restarting=False):
        args = ["gobgpd", "-f", self.config, "-l", "info", "-p", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"]
        self.process = self.host.start(*args, *(["-r"] if restarting else []), log="gobgpd")
        until(lambda: self.process.poll() is not None or self.gobgp("global", may_fail=True), "gobgpd answers")
        if self.process.poll() is not None:
            raise Failed("gobgpd did not start")

    def gobgp(self, *args, may_fail=False):
        return self.host.run("gobgp", *args, may_fail=may_fail)

    def up(self, peer):
        def established():
            found = json.loads(self.gobgp("neighbor", peer, "-j", may_fail=True) or "{}")
            return found.get("state", {}).get("session_state") == 6
        until(established, f"gobgpd's session with {peer}", step=0.1)

    def rib(self, family):
        return json.loads(self.gobgp("global", "rib", "-a", family, "-j") or "{}")

    def add(self, *args):
        self.gobgp("global", "rib", "add", *args)

    def kill(self):
        self.process.kill()
        self.process.wait(WAIT)


class Frr:
    """FRR's zebra and bgpd; `families` are activated for every peer, all of them clients when `reflector`. vrf: a namespace that is
    FRR's VRF "red" (kernels without VRFs)."""

    def __init__(self, host, *peers, families=("l2vpn evpn", "ipv4 vpn", "ipv6 vpn", "ipv6 unicast"), reflector=False, bgp="",
                 zebra="", more="", vrf=None, folder=None, asn=AS):
        self.host, self.folder, self.vrf = host, host.lab.folder / (folder or f"frr-{host.number}"), vrf
        self.folder.mkdir()
        shutil.chown(self.folder, "frr", "frr")
        host.lab.folder.chmod(0o755)
        text = [f"router bgp {asn}", f" bgp router-id 10.0.0.{host.number}", " no bgp default ipv4-unicast",
                " no bgp ebgp-requires-policy", bgp]
        for peer in peers:
            text += [f" neighbor {peer} remote-as {AS}", f" neighbor {peer} timers connect 1", f" neighbor {peer} capability extended-nexthop"]
        for family in families:
            text.append(f" address-family {family}")
            for peer in peers:
                text += [f"  neighbor {peer} activate"] + ([f"  neighbor {peer} route-reflector-client"] if reflector else [])
            text.append(" exit-address-family")
        (self.folder / "bgpd.conf").write_text("\n".join(text) + "\n" + more)
        (self.folder / "zebra.conf").write_text(zebra)
        self.processes = [self.daemon("zebra")]
        until(lambda: (self.folder / "zserv").exists() and (self.folder / "zebra.vty").exists(), "zebra listens")
        self.processes.append(self.daemon("bgpd"))
        until(lambda: (self.folder / "bgpd.vty").exists(), "bgpd listens")

    def daemon(self, name):
        within, more = [], []
        if self.vrf:
            within = ["sh", "-c", f"exec 3</run/netns/{self.vrf}; mount -t tmpfs none /run/netns && touch /run/netns/red && "
                      'mount --bind /proc/self/fd/3 /run/netns/red && exec "$@"', "sh"]
            more = ["-w"] if name == "zebra" else []
        return self.host.start(*within, f"/usr/lib/frr/{name}", *more, "--vty_socket", self.folder, "-z", self.folder / "zserv", "-i",
                               self.folder / f"{name}.pid", "-f", self.folder / f"{name}.conf", "-A", "127.0.0.1", "--log", "stdout", log=name)

    def vtysh(self, *lines):
        return self.host.run("vtysh", "--vty_socket", self.folder, *(w for line in lines for w in ("-c", line)), may_fail=True)

    def up(self, peer):
        until(lambda: '"bgpState":"Established"' in self.vtysh(f"show bgp neighbors {peer} json").replace(" ", ""),
              f"bgpd's session with {peer}", step=0.1)


class Bird:
    """BIRD as IPv6 route reflector."""

    def __init__(self, host, *peers):
        self.host, self.control = host, host.lab.folder / f"bird-{host.number}.ctl"
        config = host.lab.folder / f"bird-{host.number}.conf"
        config.write_text(f"router id 10.0.0.{host.number};\nprotocol device {{ scan time 1; }}\nprotocol direct {{ ipv6; }}\n" + "".join(
            f"protocol bgp p{i} {{ local {host.six} as {AS}; neighbor {peer} as {AS}; rr client; connect retry time 1; "
            f"connect delay time 1; error wait time 1,2; ipv6 {{ import all; export all; }}; }}\n" for i, peer in enumerate(peers)))
        self.process = host.start("bird", "-f", "-c", config, "-s", self.control, log="bird")

    def ask(self, *args):
        return self.host.run("birdc", "-s", self.control, *args, may_fail=True)
