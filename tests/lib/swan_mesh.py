"""A full mesh of strongSwan sites, for comparison: a charon of Debian's package in each network namespace, with its user-space ESP
(kernel-libipsec), certificates of one CA, one IKE and child SA for each pair of sites, all sites on one switch.

Site N has 192.0.2.N on the switch and 10.9.N.1/24 inside. What an operator would write and type is counted as it is written and
typed: `lines` (of configuration, without certificates) and `commands`, both by site."""
import atexit
import collections
import difflib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

PLUGINS = ("random nonce openssl x509 revocation constraints pubkey pkcs1 pkcs8 pem kernel-libipsec kernel-netlink "
           "socket-default vici updown")
DAEMON = """charon {
  load = %s
  port = 500
  filelog {
    log {
      path = %s/log
      default = 1
      flush_line = yes
    }
  }
  plugins {
    kernel-netlink {
      fwmark = !0x42
    }
    socket-default {
      fwmark = 0x42
    }
    kernel-libipsec {
      allow_peer_ts = yes
    }
    vici {
      socket = unix://%s/vici
    }
  }
}
swanctl {
  socket = unix://%s/vici
  load = pem pkcs1 pkcs8 x509 openssl random
}
"""
PEER = """  site-{j} {{
    version = 2
    local_addrs = 192.0.2.{i}
    remote_addrs = 192.0.2.{j}
    proposals = aes256gcm16-prfsha256-x25519
    local {{
      auth = pubkey
      certs = site-{i}.pem
      id = site-{i}
    }}
    remote {{
      auth = pubkey
      id = site-{j}
    }}
    children {{
      net {{
        local_ts = {local}
        remote_ts = {remote}
        esp_proposals = aes256gcm16-x25519
        start_action = {start}
      }}
    }}
  }}
"""


def sh(*args, ok=True, timeout=60, **kw):
    p = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=timeout, **kw)
    if ok and p.returncode:
        raise RuntimeError(f"{' '.join(map(str, args))}: {p.returncode}\n{p.stdout}{p.stderr}")
    return p


class SwanMesh:
    """with SwanMesh() as mesh: mesh.site(1) … mesh.join(3); mesh.reach(1, 3)"""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="swan-"))
        self.tag = f"sw{os.getpid() % 100000}"
        self.hub = f"{self.tag}hub"
        self.sites, self.processes, self.captures = [], {}, []
        self.lines, self.commands = collections.Counter(), collections.Counter()
        self.prefixes = collections.defaultdict(lambda: 1)

    def __enter__(self):
        atexit.register(self.close)
        sh("ip", "netns", "add", self.hub)
        sh("ip", "-n", self.hub, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", self.hub, "link", "set", "br0", "up")
        self.openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "3",
                     "-subj", "/CN=mesh CA")
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for p in list(self.processes.values()) + self.captures:
            if p.poll() is None:
                p.terminate()
        for p in list(self.processes.values()) + self.captures:
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.processes, self.captures = {}, []
        for i in self.sites:
            sh("ip", "netns", "del", self.ns(i), ok=False)
        self.sites = []
        sh("ip", "netns", "del", self.hub, ok=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ns(self, i):
        return f"{self.tag}s{i}"

    def dir(self, i):
        return self.folder / f"site-{i}"

    def openssl(self, *args):
        sh("openssl", *args, cwd=self.folder)

    def cable(self, i):
        """What any kind of VPN needs: a machine on the network. Not counted."""
        ns = self.ns(i)
        sh("ip", "netns", "add", ns)
        self.sites.append(i)
        sh("ip", "-n", self.hub, "link", "add", f"p{i}", "type", "veth", "peer", "name", "wan", "netns", ns)
        sh("ip", "-n", self.hub, "link", "set", f"p{i}", "master", "br0", "up")
        for args in (("addr", "add", f"192.0.2.{i}/24", "dev", "wan"), ("link", "set", "wan", "up"), ("link", "set", "lo", "up"),
                     ("addr", "add", f"10.9.{i}.1/32", "dev", "lo")):
            sh("ip", "-n", ns, *args)

    def enrol(self, i):
        """The site's certificate: one command at the CA (and the files carried over)."""
        d = self.dir(i)
        for sub in ("x509", "x509ca", "private"):
            (d / "swanctl" / sub).mkdir(parents=True, exist_ok=True)
        self.openssl("req", "-newkey", "ed25519", "-nodes", "-keyout", f"site-{i}/swanctl/private/site-{i}.pem", "-out",
                     f"site-{i}/req.pem", "-subj", f"/CN=site-{i}", "-addext", f"subjectAltName=DNS:site-{i}")
        self.openssl("x509", "-req", "-in", f"site-{i}/req.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
                     "-copy_extensions", "copy", "-out", f"site-{i}/swanctl/x509/site-{i}.pem")
        shutil.copy(self.folder / "ca.pem", d / "swanctl/x509ca/ca.pem")
        self.commands[i] += 1

    def daemon(self, i):
        d = self.dir(i)
        (d / "strongswan.conf").write_text(DAEMON % (PLUGINS, d, d, d))
        (d / "run").mkdir(exist_ok=True)
        # /run of its own for the pid file, /etc/swanctl its own; ends with the process.
        self.processes[i] = subprocess.Popen(
            ["ip", "netns", "exec", self.ns(i), "unshare", "--mount", "sh", "-c",
             f"mount --bind {d}/run /run && mkdir -p /etc/swanctl && mount --bind {d}/swanctl /etc/swanctl && "
             f"exec env STRONGSWAN_CONF={d}/strongswan.conf /usr/lib/ipsec/charon"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while not (d / "vici").exists():
            if time.monotonic() > end or self.processes[i].poll() is not None:
                raise RuntimeError(f"charon of site {i} does not start: {(d / 'log').read_text() if (d / 'log').exists() else ''}")
            time.sleep(0.01)

    def inside(self, i):
        return ",".join(f"10.{9 + n}.{i}.0/24" for n in range(self.prefixes[i]))

    def write(self, i, peers):
        """The connections of a site; lines that were not there before, or are another, count as written."""
        path = self.dir(i) / "swanctl/swanctl.conf"
        before = path.read_text().splitlines() if path.exists() else []
        text = "connections {\n" + "".join(
            PEER.format(i=i, j=j, start="start" if i > j else "none", local=self.inside(i), remote=self.inside(j)) for j in peers) + "}\n"
        path.write_text(text)
        self.lines[i] += sum(line.startswith("+ ") for line in difflib.ndiff(before, text.splitlines()))
        self.commands[i] += bool(before)  # an existing site's file is opened and edited

    def load(self, i):
        d = self.dir(i)
        sh("ip", "netns", "exec", self.ns(i), "unshare", "--mount", "sh", "-c",
           f"mkdir -p /etc/swanctl && mount --bind {d}/swanctl /etc/swanctl && "
           f"exec env STRONGSWAN_CONF={d}/strongswan.conf swanctl --load-all")
        self.commands[i] += 1

    def bring_up(self, n):
        """Sites 1 to n from nothing: seconds until all pairs reach each other."""
        for i in range(1, n + 1):
            self.cable(i)
        start = time.monotonic()
        for i in range(1, n + 1):
            self.enrol(i)
            self.daemon(i)
        for i in range(1, n + 1):
            self.write(i, [j for j in range(1, n + 1) if j != i])
            self.load(i)
        self.all_reach([(i, j) for i in range(1, n + 1) for j in range(1, i)])
        return time.monotonic() - start

    def join(self, i):
        """One more: the work at it and at all the others. Seconds, commands and lines of it."""
        self.cable(i)
        others = [j for j in self.sites if j != i]
        self.lines.clear()
        self.commands.clear()
        start = time.monotonic()
        self.enrol(i)
        self.daemon(i)
        for j in others:
            self.write(j, [k for k in self.sites if k != j])
            self.load(j)
        self.write(i, others)
        self.load(i)
        self.all_reach([(i, j) for j in others])
        return time.monotonic() - start, sum(self.commands.values()), sum(self.lines.values())

    def add_prefix(self, i):
        """A subnet more inside site i, protected like the first: commands and lines of it, at all sites."""
        self.lines.clear()
        self.commands.clear()
        self.prefixes[i] += 1
        n = 8 + self.prefixes[i]
        sh("ip", "-n", self.ns(i), "addr", "add", f"10.{n}.{i}.1/32", "dev", "lo")
        for j in self.sites:
            self.write(j, [k for k in self.sites if k != j])
            self.load(j)
        return sum(self.commands.values()), sum(self.lines.values())

    def all_reach(self, pairs, seconds=60):
        end = time.monotonic() + seconds
        while pairs:
            pairs = [p for p in pairs if not self.reach(*p)]
            if pairs and time.monotonic() > end:
                i, _ = pairs[0]
                raise RuntimeError(f"no way between {pairs}:\n{(self.dir(i) / 'log').read_text()[-3000:]}")

    def reach(self, i, j):
        return sh("ip", "netns", "exec", self.ns(i), "ping", "-n", "-q", "-c1", "-W0.2", "-I", f"10.9.{i}.1", f"10.9.{j}.1",
                  ok=False).returncode == 0

    def watch(self):
        """What the first site sends and gets from now on, into a file: see `seen`."""
        path = self.folder / "capture.pcap"
        p = subprocess.Popen(["ip", "netns", "exec", self.hub, "tshark", "-q", "-i", f"p{self.sites[0]}", "-w", path, "-f", "ip"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.captures.append(p)
        end = time.monotonic() + 20
        while not (path.exists() and path.stat().st_size):  # dumpcap has begun: its file has a head
            if p.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"tshark does not capture: {p.stderr.read() if p.poll() is not None else ''}")
            time.sleep(0.02)
        return path

    def seen(self, path):
        """Packets that were protected, and packets of the sites' inside addresses in clear."""
        count = lambda what: len(sh("tshark", "-r", path, "-Y", what, ok=False).stdout.splitlines())  # noqa: E731
        end = time.monotonic() + 5
        while not count("esp or ip.addr == 10.0.0.0/8") and time.monotonic() < end:
            time.sleep(0.1)  # the capture lags behind the wire
        p = self.captures.pop()
        p.terminate()
        p.wait(10)
        return count("esp"), count("ip.addr == 10.0.0.0/8")
