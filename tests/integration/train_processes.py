#!/usr/bin/env python3
"""Training with real processes: the campus trains while its middle is in a worker behind TLS. The worker is killed, the
campus is killed, the campus is stopped by ^C; the weights are those of an undisturbed run in one process, bit for bit.
Afterwards the trained halves generate together, and no word of the samples is found in any file of the cloud.

Run inside the Debian 13 root from the repository root; MERIDIAN_BIN names the program. 0 passed, 1 failed."""
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cloud_processes import BIN, Cloud, Edge, check, say  # noqa: E402

CANARY = "zyxwoq"
os.environ.setdefault("GOMP_SPINCOUNT", "100")


def run(*args, rc=0):
    p = subprocess.run([BIN, *args], capture_output=True, text=True, timeout=240)
    if p.returncode != rc:
        say(p.stdout + p.stderr)
        check(False, f"meridian {' '.join(args)} ends with {rc}, not {p.returncode}")
    return p.stdout


def samples(path):
    random.seed(1)
    with open(path, "w") as f:
        for i in range(200):
            a, b = random.randint(0, 20), random.randint(0, 20)
            f.write(json.dumps({"messages": [
                {"role": "user", "content": f"What is {a}+{b}? {CANARY}"},
                {"role": "assistant", "content": f"It is {a + b}."}]}) + "\n")


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Training:
    """One run of `meridian train`; `progress` holds the JSON lines seen so far."""

    def __init__(self, *args):
        self.err = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([BIN, "train", *args, "--json"], stdout=subprocess.PIPE, stderr=self.err, text=True)

    def steps(self):
        """Steps shown: every two seconds at most, so checkpoints are watched instead where it matters."""
        self.err.seek(0)
        return [json.loads(line) for line in self.err.read().splitlines() if line.startswith("{")]

    def until(self, path, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if os.path.exists(path):
                return
            time.sleep(0.02)
        self.err.seek(0)
        say(self.err.read())
        check(False, f"{path} appears while training runs")

    def end(self, rc=0):
        out, _ = self.process.communicate(timeout=240)
        if self.process.returncode != rc:
            self.err.seek(0)
            say(out + self.err.read())
            check(False, f"training ends with {rc}, not {self.process.returncode}")
        return json.loads(out) if out else None


def worker_of(cloud, name):
    return cloud.list()[name]["pid"]


def main():
    top = tempfile.mkdtemp(prefix="meridian-train-")
    os.chmod(top, 0o755)
    cloud = Cloud(top)
    try:
        play(top, cloud)
    finally:
        cloud.stop()
        shutil.rmtree(top, ignore_errors=True)


def play(top, cloud):
    data, model, edge_half, cloud_half = (f"{top}/{n}" for n in ("data.jsonl", "m.gguf", "edge.gguf", "cloud.gguf"))
    samples(data)
    run("model", "init", model, "--text", data, "--vocab", "300", "--width", "64", "--blocks", "4", "--tied")
    run("model", "split", model, "--head", "1", "--tail", "1", "--edge", edge_half, "--cloud", cloud_half)
    plan = ["--data", data, "--steps", "40", "--batch-rows", "128", "--accumulate", "4", "--lr", "3e-3", "--threads", "1",
            "--save-every", "4", "--eval-every", "10"]

    run("train", "--local", model, "--out", f"{top}/alone", *plan)
    alone = digest(f"{top}/alone/model.gguf")

    cloud.start("--threads", "1")
    edge = Edge(cloud, f"{top}/identity")
    edge.join(cloud.invite("hospital-a", top))
    cloud.ready("hospital-a")
    far = ["--edge", edge_half, "--identity", edge.dir, "--cloud-half", cloud_half, *plan]

    def whole(out):
        halves = subprocess.run(["find", cloud.dir, "-name", "*.gguf", "-path", "*halves*"], capture_output=True, text=True)
        for half in halves.stdout.split():
            merged = f"{top}/merged.gguf"
            p = subprocess.run([BIN, "model", "merge", f"{out}/edge.gguf", half, "--out", merged], capture_output=True)
            if p.returncode == 0:
                return digest(merged), half
        check(False, f"the cloud holds the half that belongs to {out}/edge.gguf")

    t = Training(*far, "--out", f"{top}/calm")
    r = t.end()
    check(r["done"] and r["bytes_up"] > 0, f"trained over the wire: {r['bytes_up']} bytes up, {r['bytes_down']} down")
    check(whole(f"{top}/calm")[0] == alone, "the same weights as in one process, bit for bit")

    t = Training(*far, "--out", f"{top}/stormy")
    t.until(f"{top}/stormy/step-8.json")
    os.kill(worker_of(cloud, "hospital-a"), signal.SIGKILL)
    t.until(f"{top}/stormy/step-16.json")
    check(True, "kill -9 of the worker: training went on by itself")
    t.process.kill()
    t.end(-9)
    t = Training(*far, "--out", f"{top}/stormy", "--resume")
    t.until(f"{top}/stormy/step-24.json")
    t.process.send_signal(signal.SIGINT)
    r = t.end()
    check(not r["done"] and r["saved_step"] >= 24, f"kill -9 of the campus, resumed; ^C took checkpoint {r['saved_step']}")
    cloud.stop(signal.SIGKILL)
    cloud.start("--threads", "1")
    cloud.ready("hospital-a")
    r = Training(*far, "--out", f"{top}/stormy", "--resume").end()
    check(r["done"], "everything in the cloud killed and started again, resumed, done")
    merged, half = whole(f"{top}/stormy")
    check(merged == alone, "after all that the same weights, bit for bit")

    out = run("bench", "--model", f"{top}/stormy/edge.gguf", "--identity", edge.dir, "--prompt", "16", "--tokens", "8", "--repeat", "1", "--json")
    check(json.loads(out.splitlines()[-1]) is not None, "the trained halves generate together, the cloud's without installing")

    r = Training("--edge", edge_half, "--identity", edge.dir, "--cloud-half", cloud_half, "--data", data, "--out", f"{top}/lora",
                 "--steps", "12", "--batch-rows", "128", "--lora-rank", "4", "--lr", "1e-2", "--freeze-head").end()
    check(r["done"] and r["best_step"] == 12, "adapters trained over the wire: evaluation went down")
    out = run("bench", "--model", f"{top}/lora/edge.gguf", "--identity", edge.dir, "--prompt", "16", "--tokens", "8", "--repeat", "1", "--json")
    check(json.loads(out.splitlines()[-1]) is not None, "both halves generate with their adapters folded in")
    found = subprocess.run(["grep", "-rl", CANARY, cloud.dir, cloud.log], capture_output=True, text=True).stdout
    check(not found, "no word of the samples in any file or log of the cloud")


if __name__ == "__main__":
    main()
