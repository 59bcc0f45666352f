#!/usr/bin/env python3
"""1+1 lanes with real routers: `meridian lab run scenarios/lab-one-plus-one.yaml` cuts the emulated fibre of either path in turn.
The protected tenant's sink misses no packet and sees none overtaken or repeated; the tenant beside it, with one lane, does miss
some. While it runs the routers tell of both paths (`show streams`), and what they count agrees with what the sink saw. Two paths
that share a duct are refused before anything starts.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.environ.get("MERIDIAN_BIN", "build/main/src/cli/meridian")
SCENARIO = pathlib.Path("scenarios/lab-one-plus-one.yaml")


def check(good, what):
    if not good:
        raise SystemExit(f"FAILED: {what}")
    print("ok:", what)


def streams(state, router):
    """What a router tells, or nothing when it is not there any more."""
    found = list(state.glob(f"ml-*/{router}*"))
    for socket in (p for p in found if p.is_socket()):
        got = subprocess.run([BIN, "router", "ctl", "--json", socket, "show", "streams"], capture_output=True, text=True)
        if got.returncode == 0:
            return json.loads(got.stdout)["streams"]
    return []


def refused(folder, env):
    text = SCENARIO.read_text().replace("length: 50 km}", "length: 50 km, group: duct}", 1)
    text = text.replace("length: 150 km}", "length: 150 km, group: duct}", 1)
    path = pathlib.Path(folder) / "shared.yaml"
    path.write_text(text)
    for what in ("lab", "sim"):
        got = subprocess.run([BIN, what, "run", path], env=env, capture_output=True, text=True)
        said = got.stderr + got.stdout
        check(got.returncode != 0 and "depend on duct" in said, f"{what}: paths in one duct are refused: {said.strip()[-120:]}")


def watched(lab, state):
    """The last that the egress told of the stream from pe1 before it ended, and the ingress of its slices."""
    egress, ingress = [], []
    while lab.poll() is None:
        egress = [s for s in streams(state, "pe2") if s["end"] == "egress"] or egress
        ingress = [s for s in streams(state, "pe1") if s["end"] == "ingress"] or ingress
        time.sleep(0.3)
    return egress, ingress


def main():
    if os.geteuid():
        print("skipped: needs root")
        return 77
    with tempfile.TemporaryDirectory(dir="build") as folder:
        os.chmod(folder, 0o755)
        state = pathlib.Path(folder).resolve() / "state"
        env = dict(os.environ, MERIDIAN_LAB_STATE=str(state))
        try:
            refused(folder, env)
            lab = subprocess.Popen([BIN, "lab", "run", "--json", SCENARIO], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   text=True)
            egress, ingress = watched(lab, state)
            out = lab.communicate(timeout=60)[0]
            r = json.loads(out.splitlines()[-1])
            works = {w["name"]: w for w in r["workloads"]}
            safe, plain = works["safe"], works["plain"]
            check(safe["sent"] > 5000 and safe["delivered"] == safe["sent"], f"all of {safe['sent']} packets arrived over two paths")
            check(safe["reordered"] == 0, "in order")
            check(plain["delivered"] < plain["sent"], f"over one path {plain['sent'] - plain['delivered']} did not")
            check(all(e["met"] for e in r["expectations"]), f"the expectations are met: {r['expectations']}")
            check(len(egress) == 2 and all(s["lost"] == 0 and s["delivered"] > 0 for s in egress), f"the egress counts no loss: {egress}")
            check(len(ingress) == 2 and all(s["alone"] > 0 and s["copies"] > 0 for s in ingress),
                  f"the ingress sent by both paths, and by one while the other was cut: {ingress}")
        finally:
            subprocess.run([BIN, "lab", "clean"], env=env, capture_output=True)
            shutil.rmtree(state, ignore_errors=True)
    return 0


sys.exit(main())
