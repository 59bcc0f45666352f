#!/usr/bin/env python3
"""The alliance (scenarios/alliance.yaml), shortened, with real edge and cloud programs behind real routers.

1. A trains and chats beside elephants, a fibre is cut, B gets the model and an instance of its own: every expectation that does
   not depend on how busy this machine is, and nothing of A's found in any packet, decrypted frame, file or memory.
2. The same with a build that leaks on purpose: the same search finds it, and the run fails (tests/chain/leaky.sh).
3. (tests/chain/kills.sh) Each process is killed in turn (kill -9): training, the worker, the whole cloud, each router on the way. The weights are those of
   an undisturbed run in one process, bit for bit, and no chat stream breaks.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = os.path.abspath(os.environ.get("MERIDIAN_BIN", TOP / "build/main/src/cli/meridian"))
LEAKY = str(TOP / "build/leaky/src/cli/meridian")
ALLIANCE = (TOP / "scenarios/alliance.yaml").read_text()


def check(good, what):
    if not good:
        raise SystemExit(f"FAILED: {what}")
    print("ok:", what, flush=True)


class Lab:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.env = dict(os.environ, MERIDIAN_LAB_STATE=str(self.folder / "state"))
        (self.folder / "scenarios").mkdir()
        (self.folder / "tools").symlink_to(TOP / "tools")  # scenarios find it beside their folder

    def run(self, text, program=BIN, *more):
        path = self.folder / "scenarios/scenario.yaml"
        path.write_text(text)
        done = subprocess.run([program, "lab", "run", "--json", *more, path], env=self.env, capture_output=True, text=True,
                              timeout=300)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            raise SystemExit(f"FAILED: no result: {done.stdout[-500:]}\n{done.stderr[-3000:]}")

    def clean(self):
        subprocess.run([BIN, "lab", "clean"], env=self.env, capture_output=True)


def change(text, *pairs):
    for pattern, to in pairs:
        text, n = re.subn(pattern, to, text)
        if not n:
            raise SystemExit(f"FAILED: {pattern} is not in the scenario any more")
    return text


# Shorter, and without what a busy machine decides.
SHORT = [("duration: 100 s", "duration: 75 s"), ("--steps 60", "--steps 16"), (r"steps\(train\) == 60", "steps(train) == 16"),
         ("--save-every 20", "--save-every 8"), ("--samples 800", "--samples 300"), ("start: 15 s, duration: 25 s", "start: 3 s, duration: 10 s"),
         ("at: 28 s", "at: 7 s"), ("duration: 60 s", "duration: 25 s"), (r" *- efficiency.*\n", ""), (r" *- token_p99.*\n", ""),
         (r" *- silence.*\n", ""), ("data: held_out.jsonl}", "data: held_out.jsonl, duration: 60 s}")]


def programs_of(result):
    return {p["name"]: p for p in result["programs"]}


def honest(lab):
    rc, r = lab.run(change(ALLIANCE, *SHORT))
    missed = [e for e in r["expectations"] if not e["met"]]
    bad = [p for p in r["programs"] if not p["ended_well"]]
    check(rc == 0 and not missed and not bad, f"the alliance, shortened: all is met, all programs end well {missed} {bad}")
    p = programs_of(r)
    searched = p["leaks"]["said"]["searched"]
    check(set(searched) == {"packets", "decrypted frames", "packets on links", "cloud files", "cloud memory"} and
          all(row["complete"] and row["bytes"] > 0 for row in searched.values()),
          "searched completely: " + ", ".join(f"{row['bytes'] / 1e6:.0f} MB of {name}" for name, row in searched.items()))
    check(searched["packets on links"]["targets"] == 7, "each of the seven links was captured")
    workers = p["apart"]["said"]["workers"]
    check(len({w["uid"] for w in workers}) == 2 and len({w["pid"] for w in workers}) == 2,
          "A's and B's instances are processes of their own users and namespaces")
    check(p["chat-b"]["answers"] > 0, f"B chats with what A trained: {p['chat-b']['answers']:.0f} answers")


def leaky(lab):
    rc, r = lab.run(change(ALLIANCE, *SHORT), LEAKY)
    leaks = programs_of(r)["leaks"]
    hits = {name: row["hits"] for name, row in leaks["said"]["searched"].items()}
    check(rc != 0 and leaks["canaries"] > 0 and all(hits[k] for k in ("decrypted frames", "cloud files", "cloud memory")),
          f"a build that leaks on purpose makes it fail: found {hits}")
    check(hits["packets"] == 0 and hits["packets on links"] == 0, "and TLS hides it from the links")


# --- kills ------------------------------------------------------------------------------------------------------------

KILLS = """
faults:
  - {at: 4 s, fault: kill, of: train, for: 500 ms}
  - {at: 16 s, fault: kill, of: cloud, for: 500 ms}
  - {at: 24 s, fault: kill, of: hangzhou, for: 1 s}
  - {at: 30 s, fault: kill, of: hefei, for: 1 s}
  - {at: 36 s, fault: kill, of: pe-c, for: 1 s}
  - {at: 42 s, fault: kill, of: pe-a, for: 1 s}
expect:
  - steps(train) == 40
  - restarts(train) == 1
  - restarts(cloud) == 1
  - ended(worker) == 1
  - broken(chat-a) == 0
  - answers(chat-a) >= 3
"""


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def meridian(*args, rc=0):
    done = subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)
    if rc is not None and done.returncode != rc:
        raise SystemExit(f"FAILED: {args}: {done.stdout}{done.stderr}")
    return done


def kills(lab):
    """Vectors travel as f32 here, since the run in one process has no codec."""
    text = change(ALLIANCE, ("duration: 100 s", "duration: 90 s"), ("--steps 60", "--steps 40"), ("--save-every 20", "--save-every 4"),
                  ("--samples 800", "--samples 300"), ("--codec f16", "--codec f32"), ("heal: true", "heal: false"),
                  (r"(?s)faults:.*", ""), (r" *- \{name: (cable|seal|b-takes|give|publish|unseal|edge-b|chat-b|apart|leaks|elephant).*\n", ""),
                  (r"(?s)  # every packet.*?ready: capturing\n", ""), ("duration: 60 s", "duration: 60 s"))
    worker = ("  - {name: worker, kind: command, host: centre-a, start: 10 s, command: 'for p in $(cat /proc/$CLOUD_PID/task/*/children); do "
              "if grep -aq -- --store /proc/$p/cmdline; then kill -9 $p; fi; done'}\n")
    text = text.replace("workloads:\n", worker + "workloads:\n") + KILLS
    rc, r = lab.run(text, BIN, "--keep")
    missed = [e for e in r["expectations"] if not e["met"]]
    check(rc == 0 and not missed, f"kill -9 of training, worker, cloud, four routers: all steps done, no stream broken {missed} "
          f"{[p for p in r['programs'] if not p['ended_well']]}")
    chat = programs_of(r)["chat-a"]
    print(f"    {chat['answers']:.0f} answers, the longest wait for a token {chat['token_most_ns'] / 1e9:.1f} s")
    site = next((lab.folder / "state").glob("ml-*/site"))
    options = re.search(r"options: (--steps 40.*)\}", text).group(1).replace("--codec f32", "").split()
    meridian("train", "--local", site / "whole.gguf", "--data", site / "corpus/train.jsonl", "--out", lab.folder / "alone", *options)
    merged = lab.folder / "merged.gguf"
    for half in (site / "centre/cloud/stores/hospital-a/halves").glob("*.gguf"):
        if not meridian("model", "merge", site / "campus-a/train/edge.gguf", half, "--out", merged, rc=None).returncode:
            break
    check(merged.exists() and digest(merged) == digest(lab.folder / "alone/model.gguf"),
          "no step was lost: the weights are those of an undisturbed run in one process, bit for bit")


def main():
    if os.geteuid():
        print("skipped: needs root")
        return 77
    wanted = sys.argv[1:] or ["honest"]  # the others: tests/chain/
    if "leaky" in wanted:
        subprocess.run([TOP / "tools/build", "leaky"], check=True, capture_output=True)
    (TOP / "build").mkdir(exist_ok=True)
    for part in wanted:
        with tempfile.TemporaryDirectory(dir=TOP / "build", prefix="chain-") as folder:
            os.chmod(folder, 0o755)
            lab = Lab(folder)
            try:
                {"honest": honest, "leaky": leaky, "kills": kills}[part](lab)
            finally:
                lab.clean()
    return 0


sys.exit(main())
