#!/usr/bin/env python3
"""`meridian accept`: a few rows from runs in virtual time, wrong ids, ^C in the middle, and a row for every clause and figure
there is. The report is opened in Chromium."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("MERIDIAN_BIN") or str(TOP / "build/main/src/cli/meridian")
OUT = TOP / "build/accept-test"
bad = 0


def check(good, what):
    global bad
    print(("ok    " if good else "FAIL  ") + what, flush=True)
    bad += not good


def accept(*args, **kw):
    return subprocess.run([BIN, "accept", "--out", str(OUT), *args], cwd=TOP, capture_output=True, text=True, timeout=300, **kw)


def report():
    return json.loads((OUT / "report.json").read_text())


def rows():
    done = accept("--only", "F6,R8,A4")
    seen = report()
    by_id = {r["id"]: r for r in seen["rows"]}
    check(sorted(by_id) == ["A4", "F6", "R8"], f"the rows that were asked for: {sorted(by_id)}")
    check(by_id["F6"]["verdict"] == "met" and by_id["F6"]["label"] == "simulated", "a ring that does not deadlock is met, simulated")
    unmet = [r for r in seen["rows"] if r["verdict"] == "not met"]
    check(all(r["why"] for r in unmet), "what is not met says why")
    check((done.returncode == 0) == (seen["met"] == 3), f"exit status {done.returncode} with {seen['met']} of 3 met")
    last = done.stdout.strip().splitlines()[-1]
    check(last == f"{seen['met']} met, {seen['not met']} not met, {seen['not demonstrable here']} not demonstrable here", last)
    check(len(seen["runs"]) == len({r["name"] for r in seen["runs"]}), "each run was made once")
    for run in seen["runs"]:
        check((OUT / f"evidence/{run['name']}.log").exists(), f"evidence of {run['name']} is kept")


def page():
    with tempfile.TemporaryDirectory() as profile:
        shown = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                                f"--user-data-dir={profile}", "--dump-dom", f"file://{OUT}/report.html"],
                               capture_output=True, text=True, timeout=120).stdout
    check(shown.count("<details") == 3 and "Deadlock" in shown, "Chromium shows a row for each")


def wrong():
    done = accept("--only", "L9")
    check(done.returncode == 2 and '"L9"' in done.stderr and "L1" in done.stderr, f"unknown row: {done.stderr.strip()}")
    done = subprocess.run([BIN, "accept", "--only", "A4"], cwd="/", capture_output=True, text=True, timeout=60)
    check(done.returncode == 1 and "make accept" in done.stderr, f"elsewhere: {done.stderr.strip()}")


def interrupted():
    shutil.rmtree(OUT, ignore_errors=True)
    p = subprocess.Popen([BIN, "accept", "--out", str(OUT), "--only", "F1"], cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, start_new_session=True)
    end = time.monotonic() + 60
    while not list(OUT.glob("evidence/*.log")) and time.monotonic() < end:
        time.sleep(0.02)
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=60)
    check(report()["interrupted"] and report()["rows"][0]["verdict"] != "met", "^C: the report says so, and nothing is called met")
    mine = [f for f in pathlib.Path("/proc").glob("[0-9]*/environ") if owned(f)]
    check(not mine, f"^C: nothing is left running {mine}")


def owned(environ):
    """A process that the interrupted acceptance started: their command lines name its measurement."""
    try:
        line = (environ.parent / "cmdline").read_bytes()
        return b"bench/run" in line and (environ.parent / "cwd").resolve() == TOP
    except OSError:
        return False


def complete():
    listed = set(re.findall(r"^([A-Z]\d+) ", subprocess.run([BIN, "accept", "--list"], cwd=TOP, capture_output=True, text=True).stdout,
                            re.M))
    shared = pathlib.Path(os.environ.get("MERIDIAN_SHARED", TOP.parent / "shared"))
    if not (shared / "standard/clauses.md").exists():
        print("skip  the clause list is not here: rows are not compared with it")
        return
    clauses = set(re.findall(r"^\| ([A-Z]\d+) \|", (shared / "standard/clauses.md").read_text(), re.M))
    figures = {f"F{n}" for n in re.findall(r"^\| (\d+) \|", (shared / "design/acceptance.md").read_text(), re.M)}
    check(listed == clauses | figures, f"a row for each clause and figure; {sorted(listed ^ (clauses | figures))}")


shutil.rmtree(OUT, ignore_errors=True)
rows()
page()
wrong()
complete()
interrupted()
shutil.rmtree(OUT, ignore_errors=True)
sys.exit(1 if bad else 0)
