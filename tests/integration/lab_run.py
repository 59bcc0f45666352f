#!/usr/bin/env python3
"""`meridian lab run`: a scenario with two real routers and real hosts gives figures and verdicts; a router that is killed comes
back; and however the run ends (by itself, ^C, kill -9, kill -9 of its janitor too) nothing of it is left: no namespace,
no mount, no process, no file; also beside other labs, which do not notice.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.environ.get("MERIDIAN_BIN", "build/main/src/cli/meridian")
SCENARIO = """
name: lab-test
duration: 3 s
routers:
  - {name: west, role: pe}
  - {name: east, role: pe}
links:
  - {a: west, b: east, rate: 200 Mbit/s, length: 20 km}
vpns:
  - {name: red}
hosts:
  - {name: left, router: west, vpn: red, rate: 1 Gbit/s, ecn: false}
  - {name: right, router: east, vpn: red, rate: 1 Gbit/s, ecn: false}
workloads:
  - {name: packets, type: udp, from: left, to: right, rate: 2 Mbit/s, packet: 500, class: inference}
  - {name: rdma, type: roce, from: left, to: right, bytes: 2 MB, message: 64 KiB}
  - {name: files, type: tcp, from: right, to: left, bytes: 1 MB, class: bulk}
  - {name: words, type: command, from: left, to: right, command: "ping -n -c 2 -i 0.2 $TO"}
FAULTS
expect:
  - goodput(packets) >= 1 Mbit/s
  - completed(rdma) >= 100 %
  - completed(files) >= 100 %
  - completed(words) >= 100 %
"""
FAULTS = """faults:
  - {at: 1 s, fault: kill, of: east, for: 500 ms}
"""


LOSSY = """
name: lab-lossy
duration: 4 s
routers:
  - {name: west, role: pe}
  - {name: p1}
  - {name: p2}
  - {name: east, role: pe}
links:
  - {a: west, b: p1, rate: 200 Mbit/s, length: 20 km}
  - {a: p1, b: east, rate: 200 Mbit/s, length: 20 km}
  - {a: west, b: p2, rate: 200 Mbit/s, length: 20 km}
  - {a: p2, b: east, rate: 200 Mbit/s, length: 20 km}
vpns:
  - {name: red}
hosts:
  - {name: left, router: west, vpn: red, rate: 1 Gbit/s, ecn: false}
  - {name: right, router: east, vpn: red, rate: 1 Gbit/s, ecn: false}
paths:
  - {name: north, from: west, to: east, via: [p1]}
  - {name: south, from: west, to: east, via: [p2], standby: true}
workloads:
  - {name: packets, type: udp, from: left, to: right, rate: 2 Mbit/s, packet: 500, class: parameter}
faults:
  - {at: 500 ms, fault: degrade, of: west-p1, loss: 10 %, for: 1 s}
  - {at: 2 s, fault: move, of: red, class: parameter, from_path: north, to_path: south}
  - {at: 2500 ms, fault: cut, of: p1-east}
expect:
  - lane_drops == 0
  - drops >= 10
"""


def check(good, what):
    if not good:
        raise SystemExit(f"FAILED: {what}")
    print("ok:", what)


class Lab:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.state = self.folder / "state"
        self.env = dict(os.environ, MERIDIAN_LAB_STATE=str(self.state))

    def scenario(self, text):
        path = self.folder / "scenario.yaml"
        path.write_text(text)
        return path

    def start(self, *args):
        return subprocess.Popen([BIN, "lab", "run", *map(str, args)], env=self.env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True)

    def runs(self):
        return sorted(self.state.glob("ml-*")) if self.state.exists() else []

    def left(self):
        """What there is of any run: namespaces, processes, folders."""
        found = [n for n in os.listdir("/run/netns") if n.startswith("ml-")] if os.path.isdir("/run/netns") else []
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if b"MERIDIAN_LAB=" in p.joinpath("environ").read_bytes() and ") Z" not in p.joinpath("stat").read_text():
                    found.append(p.joinpath("cmdline").read_text().replace("\0", " "))
            except OSError:
                pass
        mounts = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
        return found + [m for m in mounts if "/ml-" in m and m.split("/")[-1] not in found] + [str(r) for r in self.runs()]

    def clean_within(self, seconds):
        end = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.1)
        return not left or print("left:", left)

    def in_the_middle(self, scenario):
        """A run whose workloads have begun."""
        lab = self.start("--for", "60s", scenario)
        for line in lab.stderr:
            if "running for" in line:
                break
        time.sleep(0.5)
        check(len(self.left()) > 5, "a run is under way")
        return lab

    def janitor_of(self, lab):
        children = pathlib.Path(f"/proc/{lab.pid}/task/{lab.pid}/children").read_text().split()
        return next(int(c) for c in children if pathlib.Path(f"/proc/{c}/comm").read_text().strip() == "lab-janitor")


def result(lab, seconds=150):
    out, err = lab.communicate(timeout=seconds)
    try:
        return json.loads(out)
    except ValueError:
        raise SystemExit(f"FAILED: no result (status {lab.returncode}): {out[-500:]}\n{err[-3000:]}")


def by_itself(lab, scenario):
    run = lab.start("--json", scenario)
    r = result(run)
    works = {w["name"]: w for w in r["workloads"]}
    check(run.returncode == 0 and all(e["met"] for e in r["expectations"]), f"expectations are met: {r['expectations']}")
    check(works["rdma"]["payload"] >= 2e6 and works["rdma"]["retransmitted"] == 0, "RDMA arrives, nothing is sent again")
    check(works["packets"]["lost"] == 0 and works["packets"]["p99_ns"] > 100e3, "no packet is lost, the fibre takes its time")
    check(lab.clean_within(0), "nothing is left")


def with_faults(lab, scenario):
    run = lab.start("--json", "--for", "6s", "--keep", scenario)
    r = result(run)
    works = {w["name"]: w for w in r["workloads"]}
    check(works["packets"]["silence_ns"] > 400e6, "a killed router is silence")
    check(works["packets"]["delivered"] > 0.3 * works["packets"]["sent"], "and packets flow again when it is back")
    kept = lab.runs()
    check(len(kept) == 1 and (kept[0] / "west.yaml").exists() and (kept[0] / "packets-0.out").exists(), "--keep keeps files")
    check(not [x for x in lab.left() if x != str(kept[0])], "and nothing else")
    for f in ("west.yaml", "east.yaml"):
        subprocess.run([BIN, "router", "--check", kept[0] / f], check=True, capture_output=True)
    print("ok: the routers' files are whole")
    subprocess.run([BIN, "lab", "clean"], env=lab.env, check=True, capture_output=True)
    check(not lab.left(), "lab clean removes them")


def losses(lab, scenario):
    r = result(lab.start("--json", scenario))
    packets = r["workloads"][0]
    check(all(e["met"] for e in r["expectations"]), f"a bad fibre loses packets, lanes drop none: {r['expectations']}")
    check(packets["lost"] == r["drops"], f"what the sink misses ({packets['lost']}) the routers have counted ({r['drops']})")
    check(packets["delivered"] > 0.85 * packets["sent"], "a lane that was moved away does not notice that its old path is cut")


def ends(lab, scenario):
    run = lab.in_the_middle(scenario)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    check(run.returncode == 1 and lab.clean_within(0), "^C leaves nothing")

    run = lab.in_the_middle(scenario)
    run.send_signal(signal.SIGINT)
    time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    check(lab.clean_within(30), "^C twice leaves nothing")

    run = lab.in_the_middle(scenario)
    run.kill()
    run.communicate(timeout=60)
    check(lab.clean_within(30), "kill -9 leaves nothing: the janitor tidied up")

    run = lab.in_the_middle(scenario)
    os.kill(lab.janitor_of(run), signal.SIGKILL)
    run.kill()
    run.communicate(timeout=60)
    check(lab.left(), "without the janitor something is left")
    time.sleep(0.5)
    out = subprocess.run([BIN, "lab", "clean"], env=lab.env, check=True, capture_output=True, text=True).stdout
    check("removed 1 runs" in out and lab.clean_within(0), f"until lab clean: {out.strip()}")


def two_at_once(lab, scenario):
    """Neither sees the other; what a dead one left is taken away beside a living one."""
    first, second = lab.in_the_middle(scenario), lab.in_the_middle(scenario)
    check(len(lab.runs()) == 2, "two labs run beside each other")
    os.kill(lab.janitor_of(first), signal.SIGKILL)
    first.kill()
    first.communicate(timeout=60)
    out = subprocess.run([BIN, "lab", "clean"], env=lab.env, check=True, capture_output=True, text=True).stdout
    check("removed 1 runs" in out and "1 runs are alive" in out, f"lab clean takes the dead one: {out.strip()}")
    check(second.poll() is None and len(lab.runs()) == 1, "and leaves the living one alone")
    names = [n for n in os.listdir("/run/netns") if n.startswith("ml-")]
    check(names and all(n.startswith(lab.runs()[0].name) for n in names), "whose namespaces are all that there are")
    third = lab.start("--json", scenario)
    r = result(third)
    check(third.returncode == 0 and all(e["met"] for e in r["expectations"]), "a third one beside it gives its figures")
    second.send_signal(signal.SIGINT)
    out, err = second.communicate(timeout=60)
    check(second.returncode == 1 and lab.clean_within(0), "^C ends the second, nothing is left of any")
    check("interrupted" in err, "and it says so")


def main():
    if os.geteuid():
        print("skipped: needs root")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        lab = Lab(folder)
        try:
            by_itself(lab, lab.scenario(SCENARIO.replace("FAULTS", "")))
            with_faults(lab, lab.scenario(SCENARIO.replace("FAULTS", FAULTS)))
            losses(lab, lab.scenario(LOSSY))
            ends(lab, lab.scenario(SCENARIO.replace("FAULTS", "")))
            two_at_once(lab, lab.scenario(SCENARIO.replace("FAULTS", "")))
        finally:
            subprocess.run([BIN, "lab", "clean"], env=lab.env, capture_output=True)
            shutil.rmtree(lab.state, ignore_errors=True)
    return 0


sys.exit(main())
