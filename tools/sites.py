"""Two sites on one machine: a hospital and a compute centre, each in a network namespace of its own, joined by one veth.

For the demonstration and for tests with real processes. Everything a `Sites` made (namespaces, processes) it takes away
again, also after an error or ^C; nothing outside the two namespaces is touched.

    with Sites(folder) as sites:
        cloud = sites.start("cloud", "cloud", MERIDIAN, "cloud", "run", ...)   # in the cloud's namespace, log in folder
        sites.wait_for_text(cloud, "listening", 10)
        sites.run("hospital", MERIDIAN, "edge", "join", ...)
"""
import os
import pathlib
import signal
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
MERIDIAN = os.environ.get("MERIDIAN_BIN", str(TOP / "build/main/src/cli/meridian"))
ADDRESS = {"hospital": "10.77.0.1", "cloud": "10.77.0.2"}


class Failed(Exception):
    """Something a person should read; the text says what and where to look."""


class Process:
    def __init__(self, name, popen, log):
        self.name, self.popen, self.log = name, popen, pathlib.Path(log)
        self.pid = popen.pid

    def alive(self):
        return self.popen.poll() is None

    def tail(self, lines=12):
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-lines:])

    def children(self):
        """This process and all that descend from it."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as f:
                        todo += map(int, f.read().split())
            except OSError:
                pass
        return found


class Sites:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ns = {site: f"md{os.getpid()}{site[0]}" for site in ADDRESS}
        self.processes, self.made = [], []

    def __enter__(self):
        for sig in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        try:
            for site, ns in self.ns.items():
                self.ip("netns", "add", ns)
                self.made.append(ns)
            a, b = self.ns["hospital"], self.ns["cloud"]
            self.ip("-n", a, "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", b)
            for site, ns in self.ns.items():
                self.ip("-n", ns, "addr", "add", ADDRESS[site] + "/24", "dev", "wan")
                self.ip("-n", ns, "link", "set", "wan", "up")
                self.ip("-n", ns, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def ip(*args):
        done = subprocess.run(["ip", *args], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"ip {' '.join(args)}: {done.stderr.strip()}. Network namespaces need root, or an ordinary user "
                         "who may make user namespaces (tools/root enters one)")

    def command(self, site, *args):
        return ["ip", "netns", "exec", self.ns[site], *map(str, args)]

    def start(self, site, name, *args, env=None):
        log = self.folder / f"{name}.log"
        with open(log, "ab") as out:
            popen = subprocess.Popen(self.command(site, *args), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     start_new_session=True, env={**os.environ, **(env or {})})
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def run(self, site, *args, timeout=120, check=True, env=None):
        done = subprocess.run(self.command(site, *args), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, **(env or {})})
        if check and done.returncode:
            raise Failed(f"{' '.join(map(str, args))}\n{done.stdout}{done.stderr}".strip())
        return done

    @staticmethod
    def wait_for(what, limit_s, ready, process=None):
        """Polls until ready() is true; fails when `process` ends or the limit is over."""
        end = time.monotonic() + limit_s
        while not ready():
            if process and not process.alive():
                raise Failed(f"{process.name} ended while waiting for {what}:\n{process.tail()}")
            if time.monotonic() > end:
                raise Failed(f"no {what} within {limit_s} s" + (f":\n{process.tail()}" if process else ""))
            time.sleep(0.05)

    def wait_for_text(self, process, text, limit_s):
        self.wait_for(f'"{text}" from {process.name}', limit_s,
                      lambda: process.log.exists() and text in process.log.read_text(errors="replace"), process)

    def stop(self, process, sig=signal.SIGTERM, limit_s=10):
        if process.alive():
            os.killpg(process.pid, sig)
            try:
                process.popen.wait(limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.popen.wait()
        if process in self.processes:
            self.processes.remove(process)
        return process.popen.returncode

    def close(self):
        for process in reversed(list(self.processes)):
            self.stop(process)
        for ns in reversed(self.made):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)
        self.made.clear()
