#!/usr/bin/env python3
"""`meridian sim run` and `meridian twin compare` as a person meets them: results in words and as JSON, the same seed the same run,
^C says what was reached, --compare writes its tables, files and options that are wrong are refused in one sentence.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

BIN = os.environ.get("MERIDIAN_BIN", "build/main/src/cli/meridian")
SCENARIO = """
name: sim-test
duration: DURATION
routers: [{name: west, role: pe}, {name: mid}, {name: east, role: pe}]
links:
  - {a: west, b: mid, rate: 10 Gbit/s, length: 20 km}
  - {a: mid, b: east, rate: 5 Gbit/s, length: 20 km}
vpns: [{name: red}]
hosts: [{name: left, router: west, vpn: red}, {name: right, router: east, vpn: red}]
workloads:
  - {name: files, type: tcp, from: left, to: right, start: 10 ms}
  - {name: packets, type: udp, from: left, to: right, rate: 1 Gbit/s, class: inference, start: 10 ms}
expect:
  - lane_drops == 0
  - goodput(packets) >= 900 Mbit/s
"""


def check(good, what):
    if not good:
        raise SystemExit(f"FAILED: {what}")
    print("ok:", what)


def run(*args):
    return subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, timeout=120)


def results(file):
    r = run("sim", "run", file)
    check(r.returncode == 0, "a scenario whose expectations are met ends with 0")
    for words in ("sim-test", "mode lanes", "goodput", "losses: none", "met      lane_drops == 0", "hash "):
        check(words in r.stdout, f"the words have \"{words}\"")
    one, two = (json.loads(run("sim", "run", "--json", file).stdout) for _ in range(2))
    check(one["hash"] == two["hash"] and one["world"] == "sim" and one["whole"], "twice the same seed is twice the same run")
    check(json.loads(run("sim", "run", "--json", "--seed", 7, file).stdout)["hash"] != one["hash"], "another seed another one")
    work = {w["name"]: w for w in one["workloads"]}["packets"]
    check(0 < work["least_ns"] <= work["p50_ns"] <= work["p99_ns"] and work["lost"] == 0, "latencies are in order")
    lab = json.loads(run("sim", "run", "--json", "--as-lab", file).stdout)
    check(lab["as_lab"] and not one["as_lab"] and lab["hash"] != one["hash"], "planned as the lab plans it is another run")
    return one


def progress(file):
    r = run("sim", "run", "--json", file)
    said = [json.loads(line) for line in r.stderr.splitlines()]
    check(said and all(p["progress"] == "sim-test" and p["total"] > 0 for p in said), "with --json, progress is JSON too")
    check(said[-1]["ended"] and said[-1]["done"] == said[-1]["total"], "and says its end")


def interrupted(file, *options):
    p = subprocess.Popen([BIN, "sim", "run", *options, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         bufsize=1)
    first = p.stderr.readline()  # of the progress: it is under way
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=30)
    return p.returncode, out, first + err


def ends_early(file, folder):
    rc, out, _ = interrupted(file)
    check(rc == 1 and "interrupted: what follows is what was reached" in out and "goodput" in out, "^C says what was reached")
    rc, out, _ = interrupted(file, "--json")
    r = json.loads(out)
    check(rc == 1 and not r["whole"] and 0 < r["virtual_ns"] < 1e12, "and in JSON that it is not whole")
    target = folder / "early"
    rc, out, err = interrupted(file, "--compare", "--out", target)
    check(rc == 1 and "interrupted in mode lanes" in err and not target.exists(), "^C of a comparison writes nothing, and says so")


def comparison(file, folder):
    r = run("sim", "run", "--compare", "--out", folder / "all", file)
    check(r.returncode == 0 and all(m in r.stdout for m in ("lanes", "fifo", "ecn", "pfc")), "all modes are in one table")
    rows = list(csv.DictReader((folder / "all/summary.csv").open()))
    check([(x["workload"], x["mode"]) for x in rows] ==
          [(w, m) for w in ("files", "packets") for m in ("lanes", "fifo", "ecn", "pfc")], "summary.csv has each workload and mode")
    lost = {x["mode"]: int(x["lost_routers"]) for x in rows if x["workload"] == "files"}
    check(lost["lanes"] == 0 and lost["fifo"] > 0, f"a plain queue loses what lanes do not: {lost}")
    samples = list(csv.reader((folder / "all/goodput.csv").open()))
    check(len(samples) > 100 and len(samples[0]) == 9, "goodput.csv has 8 columns over time")
    for name in ("goodput.png", "latency.png"):
        check((folder / "all" / name).read_bytes()[:4] == b"\x89PNG", f"{name} is a picture")


def refusals(file, folder):
    def refused(words, *args):
        r = run(*args)
        said = r.stderr.strip()
        check(r.returncode != 0 and words in said and "\n" not in said, f"refused in one sentence: {said}")

    refused("cannot open", "sim", "run", folder / "none.yaml")
    refused("--mode magic is none of lanes, fifo, ecn, pfc", "sim", "run", "--mode", "magic", file)
    refused("is no time", "sim", "run", "--for", "ever", file)
    bad = folder / "bad.yaml"
    bad.write_text(SCENARIO.replace("b: east", "b: eest").replace("DURATION", "1 s"))
    refused(f"{bad}: links, entry 2 (mid-eest): b \"eest\" names no router", "sim", "run", bad)
    bad.write_text(SCENARIO.replace("DURATION", "1 s").replace("expect:", "paths: [{name: p, from: west, to: east, via: [east]}]\nexpect:"))
    refused(f"{bad}: path p: no link leads from west to east", "sim", "run", bad)
    refused("no result of a run", "twin", "compare", bad, bad)
    refused("is no share", "twin", "compare", "--bar", "lots", bad, bad)


def twins(one, folder):
    sim, lab = folder / "sim.json", folder / "lab.json"
    sim.write_text(json.dumps(one))
    lab.write_text(json.dumps(dict(one, world="lab", gap_p50_ns=1000, gap_p999_ns=2000, late_p999_ns=1, late_most_ns=2)))
    r = run("twin", "compare", sim, lab)
    check(r.returncode == 0 and "worst: throughput 0.00 %" in r.stdout, "a lab that says the same is within any bar")
    slow = dict(one, world="lab", workloads=[dict(w, goodput_bps=w["goodput_bps"] * 0.9) for w in one["workloads"]])
    lab.write_text(json.dumps(slow))
    r = run("twin", "compare", "--json", sim, lab)
    said = json.loads(r.stdout)
    check(r.returncode == 1 and said["over"] == 2 and
          all(abs(f["error"] - 1 / 9) < 1e-3 for f in said["figures"] if f["figure"] == "throughput"), "one that is slower is not")
    check(run("twin", "compare", "--bar", "12 %", sim, lab).returncode == 0, "but with a wider bar")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        short, long = folder / "short.yaml", folder / "long.yaml"
        short.write_text(SCENARIO.replace("DURATION", "60 ms"))
        long.write_text(SCENARIO.replace("DURATION", "1000 s"))
        one = results(short)
        progress(short)
        ends_early(long, folder)
        comparison(short, folder)
        refusals(short, folder)
        twins(one, folder)
    return 0


sys.exit(main())
