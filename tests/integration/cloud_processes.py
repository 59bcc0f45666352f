#!/usr/bin/env python3
"""The cloud's processes for real: supervisor, enrol process, a worker for each hospital; invitation, joining, renewal,
revocation; strangers at the gate; crashes; the cage seen from outside. Prints each thing it checked.

Run inside the Debian 13 root from the repository root; MERIDIAN_BIN names the program. 0 passed, 77 skipped, 1 failed."""
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
import warnings

BIN = os.path.abspath(os.environ.get("MERIDIAN_BIN", "build/main/src/cli/meridian"))
warnings.filterwarnings("ignore", category=DeprecationWarning)


def say(text):
    print(text, flush=True)


def check(ok, text):
    say(("  ok    " if ok else "  WRONG ") + text)
    if not ok:
        raise SystemExit(1)


def wait_for(what, seconds, text):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.03)
    check(False, f"{text} (within {seconds} s)")


class Cloud:
    def __init__(self, top, prefix=()):
        self.dir, self.log, self.prefix, self.process = f"{top}/cloud", f"{top}/cloud.log", list(prefix), None
        self.port = 0

    def start(self, *more):
        out = open(self.log, "ab")
        begin = out.tell()
        self.process = subprocess.Popen(self.prefix + [BIN, "cloud", "run", "--dir", self.dir, "--memory", "2G",
                                        "--listen", f"127.0.0.1:{self.port}", *more], stderr=out, stdout=out, stdin=subprocess.DEVNULL)
        found = wait_for(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", self.text()[begin:]) or self.process.poll(), 10,
                         "the cloud listens")
        if not hasattr(found, "group"):
            raise RuntimeError(self.text()[begin:])
        self.port = int(found.group(1))

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def run(self, *args, fails=False):
        p = subprocess.run(self.prefix + [BIN, *args], capture_output=True, text=True, timeout=60)
        if (p.returncode != 0) != fails:
            say(p.stdout + p.stderr)
            check(False, f"meridian {' '.join(args)} {'fails' if fails else 'works'}")
        return p.stdout + p.stderr

    def list(self):
        return {h["name"]: h for h in json.loads(self.run("cloud", "list", "--json", "--dir", self.dir))}

    def ready(self, name):
        return wait_for(lambda: (h := self.list()[name])["ready"] and h, 15, f"{name}'s worker is ready")

    def invite(self, name, top, port=None):
        """`port`: where edges find the cloud, if something stands between."""
        kit = f"{top}/{name}.kit"
        self.run("cloud", "invite", name, "--dir", self.dir, "--address", f"127.0.0.1:{port or self.port}", "--out", kit)
        return kit

    def children(self):
        return [int(p) for p in subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()]

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(15)
        return self.process.returncode


class Edge:
    def __init__(self, cloud, dir):
        self.cloud, self.dir = cloud, dir

    def join(self, kit, *more, fails=False):
        return self.cloud.run("edge", "join", kit, "--dir", self.dir, *more, fails=fails)

    def id(self):
        return json.load(open(f"{self.dir}/cloud.json"))["id"]

    def context(self, with_certificate=True):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.minimum_version = ssl.TLSVersion.TLSv1_3
        c.load_verify_locations(f"{self.dir}/ca.pem")
        c.set_alpn_protocols(["meridian-split/1"])
        if with_certificate:
            c.load_cert_chain(f"{self.dir}/cert.pem", f"{self.dir}/key.pem")
        return c

    def connect(self, name=None, context=None):
        """A connection to a worker; refusals that come after our half of the handshake are raised here, too."""
        raw = socket.create_connection(("127.0.0.1", self.cloud.port), 5)
        s = (context or self.context()).wrap_socket(raw, server_hostname=name or self.id())
        s.settimeout(0.3)
        try:
            if s.recv(1) == b"":
                raise ssl.SSLError("ended")
        except (TimeoutError, ssl.SSLWantReadError):
            pass
        return s

    def refused(self, **how):
        try:
            self.connect(**how).close()
        except (ssl.SSLError, ConnectionError) as e:
            return str(e)
        return None


def is_open(s):
    s.settimeout(0.2)
    try:
        s.recv(1)
    except (TimeoutError, ssl.SSLWantReadError):
        return True
    except (ssl.SSLError, OSError):
        pass
    return False


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def joining(cloud, top):
    say("invitation and joining")
    kit = cloud.invite("hospital-a", top)
    text = open(kit).read()
    check("PRIVATE" not in text and "hospital" not in text and stat.S_IMODE(os.stat(kit).st_mode) == 0o600,
          "the kit holds no private key and not the hospital's name, and only its owner reads it")
    a = Edge(cloud, f"{top}/edge-a")
    for change, says in [({"root": "sha256:" + "0" * 64}, "fingerprint"), ({"token": "0" * 64}, "not known"),
                         ({"enrol": "0" * 32}, "not the one of this kit"), ({"expires": 1}, "expired"),
                         ({"address": "127.0.0.1:9"}, "refused"), ({"address": "nonsense"}, "no address")]:
        bad = f"{top}/bad.kit"
        json.dump(json.loads(text) | change, open(bad, "w"))
        os.chmod(bad, 0o644)
        said = a.join(bad, fails=True).strip()
        check(says in said, f"wrong {list(change)[0]}: {said}")
    a.join(kit)
    check(stat.S_IMODE(os.stat(f"{a.dir}/key.pem").st_mode) == 0o600, "the key is the edge's own, mode 0600")
    check("hospital" not in subprocess.run(["openssl", "x509", "-in", f"{a.dir}/cert.pem", "-noout", "-text"],
                                           capture_output=True, text=True).stdout, "the certificate does not name the hospital")
    cloud.ready("hospital-a")
    check(True, "its worker runs without a restart of the cloud")
    said = Edge(cloud, f"{top}/thief").join(kit, fails=True).strip()
    check("already been used" in said, f"the token does not work twice: {said}")
    check("already joined" in a.join(kit, fails=True), "an edge that has joined says so")
    b = Edge(cloud, f"{top}/edge-b")
    b.join(cloud.invite("hospital-b", top))
    cloud.ready("hospital-b")
    return a, b


def admission(cloud, a, b):
    say("admission")
    s = a.connect()
    check(s.version() == "TLSv1.3" and s.selected_alpn_protocol() == "meridian-split/1", f"edge a is admitted: {s.version()}, {s.cipher()[0]}")
    wait_for(lambda: cloud.list()["hospital-a"]["links"] == 1, 5, "the list shows its link")
    s.close()
    check(a.id() != b.id() and re.fullmatch("[0-9a-f]{32}", a.id()) is not None, "ids are opaque")
    why = b.refused(name=a.id())
    check(why is not None, f"b's certificate does not open a's worker: {why}")
    why = a.refused(context=a.context(with_certificate=False))
    check(why is not None, f"no certificate, no admission: {why}")
    why = a.refused(name="0123456789abcdef0123456789abcdef")
    check(why is not None and "UNRECOGNIZED_NAME" in why.upper().replace(" ", "_"), f"an unknown name is turned away: {why}")
    c = a.context()
    c.set_alpn_protocols(["h2"])
    check(a.refused(context=c) is not None, "another protocol is turned away")


def strangers(cloud, a):
    say("strangers at the gate")
    before = cloud.children()
    slow = socket.create_connection(("127.0.0.1", cloud.port), 5)
    start = time.monotonic()
    hello = bytes([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]) + bytes(300)
    loud = socket.create_connection(("127.0.0.1", cloud.port), 5)
    loud.sendall(b"GET / HTTP/1.1\r\n\r\n")
    loud.settimeout(2)
    try:
        ended = loud.recv(100) == b""
    except ConnectionError:
        ended = True
    check(ended, "who does not speak TLS is cut off without an answer")
    crowd = [socket.create_connection(("127.0.0.1", cloud.port), 5) for _ in range(40)]
    time.sleep(0.4)
    crowd[-1].settimeout(1)
    try:
        full = crowd[-1].recv(1) == b""
    except ConnectionError:
        full = True
    check(full, "one source gets so many half-open connections and no more")
    for s in crowd:
        s.close()
    wait_for(lambda: a.refused() is None, 2, "an edge gets in beside them")
    i = 0
    slow.settimeout(0.2)
    while time.monotonic() - start < 8:
        try:
            slow.sendall(hello[i:i + 1])
            i += 1
            if slow.recv(1) == b"":
                break
        except TimeoutError:
            pass
        except ConnectionError:
            break
    took = time.monotonic() - start
    check(4.5 < took < 6.5, f"a ClientHello a byte at a time is cut off after {took:.1f} s ({i} bytes)")
    check(cloud.children() == before, "nothing was started for any of them")


def cage(cloud, as_root):
    say("the cage from outside")
    for name, pid in [(n, h["pid"]) for n, h in cloud.list().items() if h["pid"]]:
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status") if ":\t" in line)
        check(status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1", f"{name}: system calls filtered, no new rights")
        check(all(int(status[k], 16) == 0 for k in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")), f"{name}: no capability, not even to inherit")
        if as_root:
            check(int(status["Uid"].split()[0]) > 60710, f"{name}: user {status['Uid'].split()[0]} of its own")
        for kind in ("mnt", "net", "pid", "ipc"):
            try:
                check(os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), f"{name}: a {kind} namespace of its own")
            except PermissionError:
                check(not as_root, f"{name}: its {kind} namespace cannot even be asked for")
        if as_root:
            check(os.listdir(f"/proc/{pid}/root") == ["store"], f"{name}: sees its store and nothing else")
            check([l.split(":")[0].strip() for l in open(f"/proc/{pid}/net/dev") if ":" in l] == ["lo"], f"{name}: has no network")
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            check(not [l for l in links if "state.json" in l or "key" in l], f"{name}: holds no file of others")
            rollup = dict(re.findall(r"^(\w+): +(\d+) kB", open(f"/proc/{pid}/smaps_rollup").read(), re.M))
            mine = int(rollup["Private_Clean"]) + int(rollup["Private_Dirty"])
            check(mine < 48 * 1024, f"{name}: idle, {mine / 1024:.1f} MB of its own ({int(rollup['Rss']) / 1024:.1f} MB with what is shared)")
    uids = {h["pid"]: os.stat(f"/proc/{h['pid']}").st_uid for h in cloud.list().values()}
    for h in cloud.list().values():
        environment = open(f"/proc/{h['pid']}/environ").read() if as_root else ""
        check("HOME=" not in environment, "the operator's environment is not passed on")
    return uids


def crashes(cloud, a, b):
    say("crashes")
    mine, old = a.connect(), cloud.list()["hospital-b"]["pid"]
    os.kill(old, signal.SIGKILL)
    fresh = wait_for(lambda: (h := cloud.list()["hospital-b"])["ready"] and h["pid"] != old and h, 10, "b's worker is started again")
    check(fresh["restarts"] == 1, f"b's worker is killed and started again: process {old} became {fresh['pid']}")
    check(is_open(mine), "a's connection did not notice")
    check(b.refused() is None, "b gets in again")
    mine.close()
    enrol = [p for p in cloud.children() if "enrol-process" in open(f"/proc/{p}/cmdline").read()]
    os.kill(enrol[0], signal.SIGKILL)
    wait_for(lambda: [p for p in cloud.children() if p != enrol[0] and "enrol-process" in open(f"/proc/{p}/cmdline").read()], 10,
             "the enrol process is started again")
    time.sleep(0.5)
    wait_for(lambda: subprocess.run(cloud.prefix + [BIN, "edge", "renew", "--dir", a.dir], capture_output=True).returncode == 0, 10,
             "renewal works after the enrol process was killed")
    check(True, "the enrol process was killed and started again; edge a renewed its certificate")
    check(a.refused() is None, "the renewed certificate is good")


def revocation(cloud, a, b, top):
    say("revocation")
    mine, others = a.connect(), b.connect()
    old = cloud.list()["hospital-a"]["pid"]
    shutil.copytree(a.dir, f"{top}/edge-a-old")
    start = time.monotonic()
    cloud.run("cloud", "revoke", "hospital-a", "--dir", cloud.dir)
    wait_for(lambda: not is_open(mine), 2, "a's connection is cut")
    took = time.monotonic() - start
    check(took < 1.6, f"a's connection is cut {took:.2f} s after the command began")
    wait_for(lambda: not alive(old), 2, "a's worker is gone")
    check(is_open(others) and b.refused() is None, "b did not notice")
    why = a.refused()
    check(why is not None and "REVOKED" in why.upper(), f"a's certificate is refused: {why}")
    said = cloud.run("edge", "renew", "--dir", a.dir, fails=True).strip()
    check("revoked" in said, f"and not renewed: {said}")
    check(cloud.list()["hospital-a"]["status"] == "revoked", "the list says revoked")
    a.join(cloud.invite("hospital-a", top), "--again")
    cloud.ready("hospital-a")
    check(a.refused() is None, "invited again it gets in with a new identity")
    former = Edge(cloud, f"{top}/edge-a-old")
    check(former.refused(name=a.id()) is not None, "the revoked certificate does not open the new worker")
    check(former.refused() is not None, "nor is the old name known")
    others.close()


def endings(cloud):
    say("endings")
    said = cloud.run("cloud", "run", "--dir", cloud.dir, "--listen", "127.0.0.1:0", fails=True)
    check("another meridian cloud runs" in said, "a second cloud on the same folder is refused")
    children = cloud.children()
    cloud.process.kill()
    cloud.process.wait()
    wait_for(lambda: not any(alive(p) for p in children), 2, "its children die with a killed supervisor")
    check(True, f"the supervisor was killed; its {len(children)} children died with it")
    check(cloud.list()["hospital-a"]["pid"] == 0, "the list does not claim that anything runs")
    cloud.start()
    cloud.ready("hospital-a")
    cloud.ready("hospital-b")
    children = cloud.children()
    start = time.monotonic()
    check(cloud.stop() == 0, f"SIGTERM ends it with status 0 after {time.monotonic() - start:.1f} s")
    check(not any(alive(p) for p in children), "and nothing is left")


def lives(top):
    """Certificates that live for seconds: a worker's is made anew in time, an edge's runs out unless it is renewed."""
    say("lives of certificates")
    cloud = Cloud(f"{top}/short")
    os.mkdir(f"{top}/short")
    try:
        keylog = f"{top}/short/keys.log"
        cloud.start("--server-life", "4s", "--edge-life", "12s", "--unsafe-keylog", keylog)
        a, b = Edge(cloud, f"{top}/short/edge-a"), Edge(cloud, f"{top}/short/edge-b")
        a.join(cloud.invite("hospital-a", f"{top}/short"))
        b.join(cloud.invite("hospital-b", f"{top}/short"))
        born = time.monotonic()
        pid = cloud.ready("hospital-a")["pid"]
        s = a.connect()
        secrets = open(keylog).read()
        check("SERVER_TRAFFIC_SECRET_0" in secrets and "UNSAFE" in cloud.text() and stat.S_IMODE(os.stat(keylog).st_mode) == 0o600,
              "a key log is written only when asked for, with a warning")
        first = s.getpeercert()["notAfter"]
        time.sleep(5)
        later = a.connect().getpeercert()["notAfter"]
        check(ssl.cert_time_to_seconds(later) > ssl.cert_time_to_seconds(first) and cloud.list()["hospital-a"]["pid"] == pid,
              f"the worker renewed its certificate: {first} became {later}")
        check(is_open(s), "connections made with the former one go on")
        a.cloud.run("edge", "renew", "--dir", a.dir)
        time.sleep(max(0.0, 13 - (time.monotonic() - born)))
        check(a.refused() is None, "edge a renewed and gets in")
        why = b.refused()
        check(why is not None and "EXPIRED" in why.upper(), f"edge b did not and is refused: {why}")
        said = cloud.run("edge", "renew", "--dir", b.dir, fails=True).strip()
        check("expired" in said, said)
    finally:
        cloud.stop(signal.SIGKILL)


def main():
    if not os.path.exists(BIN):
        say(f"skipped: {BIN} is not built")
        return 77
    if os.environ.get("ASAN_OPTIONS") is None:
        os.environ["ASAN_OPTIONS"] = "detect_leaks=0"
    passes = [("as root", ())] if os.geteuid() == 0 else []
    if os.geteuid() != 0:
        passes.append(("as an ordinary user", ()))
    elif shutil.which("setpriv"):
        passes.append(("as an ordinary user", ("setpriv", "--reuid=60000", "--regid=60000", "--clear-groups")))
        passes.append(("as root of a container", ("setpriv", "--bounding-set=-sys_admin")))
    for name, prefix in passes:
        say(f"== {name}")
        top = tempfile.mkdtemp(prefix="meridian-cloud-")
        if name == "as an ordinary user" and prefix:
            os.chown(top, 60000, 60000)
        cloud = Cloud(top, prefix)
        good = False
        try:
            cloud.start()
            a, b = joining(cloud, top)
            admission(cloud, a, b)
            cage(cloud, name == "as root")
            if name == "as root":
                strangers(cloud, a)
                crashes(cloud, a, b)
                revocation(cloud, a, b, top)
                lives(top)
            endings(cloud)
            check("hospital" in cloud.text() and "PRIVATE" not in cloud.text(), "the log names hospitals, for the operator, and no secret")
            good = True
        finally:
            if not good:
                say(cloud.text()[-6000:])
            cloud.stop(signal.SIGKILL) if cloud.process else None
            shutil.rmtree(top, ignore_errors=True)
    say("all as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
