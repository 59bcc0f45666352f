#!/usr/bin/env python3
"""Hospital groups and a clinic (S2, S3, S4) with real programs behind real routers, shortened: scenarios/group-no-it.yaml,
group-it.yaml, clinic.yaml. Encrypted VPNs get routes, services and keys by BGP. What a branch sends up is plain HTTP and DICOM with
canary names in it: on the links it is found when the same scenario does not encrypt, and not when it does.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = os.path.abspath(os.environ.get("MERIDIAN_BIN", TOP / "build/main/src/cli/meridian"))


def check(good, what):
    if not good:
        raise SystemExit(f"FAILED: {what}")
    print("ok:", what, flush=True)


def change(text, *pairs):
    for pattern, to in pairs:
        text, n = re.subn(pattern, to, text)
        if not n:
            raise SystemExit(f"FAILED: {pattern} is not in the scenario any more")
    return text


def run(folder, name, *pairs):
    """The scenario, changed; its exit status, expectations that were not met, and what the programs said."""
    path = folder / "scenarios/scenario.yaml"
    path.write_text(change((TOP / f"scenarios/{name}.yaml").read_text(), *pairs))
    done = subprocess.run([BIN, "lab", "run", "--json", path], capture_output=True, text=True, timeout=280,
                          env=dict(os.environ, MERIDIAN_LAB_STATE=str(folder / "state")))
    try:
        r = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"FAILED: no result: {done.stdout[-500:]}\n{done.stderr[-3000:]}")
    missed = [e["expectation"] for e in r["expectations"] if not e["met"]]
    bad = [(p["name"], p.get("why")) for p in r["programs"] if not p["ended_well"]]
    return done.returncode, missed, bad, {p["name"]: p for p in r["programs"]}


SHORT = [("duration: 75 s", "duration: 55 s"), ("--steps 24", "--steps 8"), (r"steps\(train\) == 24", "steps(train) == 8"),
         ("--save-every 12", "--save-every 4")]


def main():
    if os.geteuid():
        print("skipped: needs root")
        return 77
    (TOP / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOP / "build", prefix="chain-") as top:
        os.chmod(top, 0o755)
        folder = pathlib.Path(top)
        (folder / "scenarios").mkdir()
        (folder / "tools").symlink_to(TOP / "tools")
        try:
            rc, missed, bad, p = run(folder, "group-no-it", *SHORT)
            links = p["leaks"]["said"]["searched"]["packets on links"]
            check(rc == 0 and links["targets"] == 4 and links["bytes"] > 1e6,
                  f"a branch with only a CPE: samples, studies, page and chat go through; nothing of it in {links['bytes'] / 1e6:.0f} MB "
                  f"of four links {missed} {bad}")
            rc, missed, bad, p = run(folder, "group-no-it", ("encrypted: true, best_effort: true", "best_effort: true"),
                                     ("duration: 75 s", "duration: 20 s"), (r"--steps 24", "--steps 1"))
            links = p["leaks"]["said"]["searched"]["packets on links"]
            check(rc != 0 and links["hits"] > 100, f"without encryption the same search finds {links['hits']} on the links")
            rc, missed, bad, p = run(folder, "group-it", *SHORT)
            check(rc == 0, f"a branch with its own appliance and instance {missed} {bad}")
            rc, missed, bad, p = run(folder, "clinic", ("duration: 40 s", "duration: 25 s"))
            check(rc == 0, f"a clinic with a rented model: {p['people']['answers']:.0f} answers {missed} {bad}")
        finally:
            subprocess.run([BIN, "lab", "clean"], env=dict(os.environ, MERIDIAN_LAB_STATE=str(folder / "state")), capture_output=True)
    return 0


sys.exit(main())
