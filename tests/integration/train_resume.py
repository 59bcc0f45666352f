#!/usr/bin/env python3
"""Training that is disturbed ends with the weights of training that is not, bit for bit, on both sides: the worker is killed
in the middle of a step, the trainer is killed and resumed, the whole cloud is killed and started again under a running
trainer, connections are cut. Halves of different steps refuse each other by name. The trained halves serve at once, nothing
is sent again. Prints how long each recovery took.

Run inside the Debian 13 root from the repository root; MERIDIAN_BIN names the program. 0 passed, 1 failed, 77 skipped."""
import glob
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cloud_processes import BIN, Edge, check, say, wait_for  # noqa: E402
from recovery import GREEDY, RELAY, Relay, Server, Stream, World, run, took  # noqa: E402
from train_processes import Training, samples  # noqa: E402

STEPS, EVERY = 40, 5


def digest(path, run_id):
    """SHA-256 of a half without the name of its run, which is random."""
    with open(path, "rb") as f:
        data = f.read()
    for name in (bytes.fromhex(run_id), run_id.encode()):
        data = data.replace(name, bytes(len(name)))
    return hashlib.sha256(data).hexdigest()


class Job:
    """One run of `meridian train` into a folder of its own, and what became of it."""

    def __init__(self, w, far, name):
        self.w, self.far, self.dir, self.training = w, far, f"{w.top}/run-{name}", None

    def start(self, *more):
        self.training = Training(*self.far, "--out", self.dir, *more)
        w_jobs.append(self.training)

    def note(self, step):
        return f"{self.dir}/step-{step}.json"

    def until(self, step):
        self.training.until(self.note(step), 40)
        return time.monotonic()

    def newest(self):
        steps = [int(p.rsplit("-", 1)[1][:-5]) for p in glob.glob(f"{self.dir}/step-*.json")]
        return max(steps, default=0)

    def next_note(self):
        """Seconds until a checkpoint that is not there yet; of steps under way, the one after it tells more."""
        begin, step = time.monotonic(), self.newest()
        wait_for(lambda: self.newest() > step or self.training.process.poll() is not None, 40, "a checkpoint comes")
        return time.monotonic() - begin

    def run_id(self):
        with open(self.note(self.newest())) as f:
            return json.load(f)["run"]

    def far_half(self):
        """The cloud's half of this run's end, in the worker's store, of the same run and step as edge.gguf."""
        for path in glob.glob(f"{self.w.cloud.dir}/**/*.gguf", recursive=True):
            with open(path, "rb") as f:
                head = f.read(65536)
            if self.run_id().encode() in head or bytes.fromhex(self.run_id()) in head:
                return path
        check(False, "the cloud holds the trained half")

    def weights(self):
        return digest(f"{self.dir}/edge.gguf", self.run_id()), digest(self.far_half(), self.run_id())

    def end(self, expected, text):
        r = self.training.end()
        check(r["done"] and r["step"] == STEPS, f"training ended, {r['restarts']} states of the cloud were lost on the way")
        if expected:
            check(self.weights() == expected, f"{text}: both halves are those of the undisturbed run")
        return r


w_jobs = []


def calm(w, far):
    say("undisturbed")
    job = Job(w, far, "calm")
    began = time.monotonic()
    job.start()
    job.until(EVERY)
    first = time.monotonic()
    job.until(STEPS - EVERY)
    took(w, f"training, undisturbed: {EVERY} steps", (time.monotonic() - first) / (STEPS / EVERY - 2))
    job.end(None, "")
    took(w, f"training, undisturbed: all {STEPS} steps", time.monotonic() - began)
    weights = job.weights()
    say(f"        campus {weights[0][:16]}…, cloud {weights[1][:16]}…")
    return job, weights


def worker_killed(w, far, weights):
    say("kill -9 of the worker, twice, in the middle of steps")
    job = Job(w, far, "worker")
    job.start()
    for step in (10, 25):
        job.until(step)
        time.sleep(0.15)
        os.kill(w.worker("hospital-a"), signal.SIGKILL)
        took(w, f"training, worker killed after step {step}: to the next checkpoint", job.next_note())
    job.end(weights, "it went on by itself")


def trainer_killed(w, far, weights):
    say("kill -9 of the trainer, twice, and --resume")
    job = Job(w, far, "trainer")
    job.start()
    for step in (10, 25):
        job.until(step)
        time.sleep(0.15)
        job.training.process.kill()
        job.training.end(-9)
        job.start("--resume")
        took(w, f"training, trainer killed after step {step}, resumed: to the next checkpoint", job.next_note())
    job.end(weights, "resumed")


def cloud_killed(w, far, weights):
    say("kill -9 of the whole cloud under a running trainer; started again after 1.5 s")
    job = Job(w, far, "restarted")
    job.start()
    job.until(15)
    time.sleep(0.15)
    w.cloud.stop(signal.SIGKILL)
    time.sleep(1.5)
    check(job.training.process.poll() is None, "the trainer waits")
    w.cloud.start("--threads", "1")
    took(w, "training, cloud killed: from listening again to the next checkpoint", job.next_note())
    job.end(weights, "it went on by itself")


def cut(w, relay, far, weights):
    say("connections are cut, five times")
    job = Job(w, far, "cut")
    job.start()
    for step in (5, 10, 15, 20, 25):
        job.until(step)
        time.sleep(0.1)
        relay.signal(signal.SIGUSR2)
    r = job.end(weights, "it went on by itself")
    check(r["restarts"] == 0, "no state was lost by that")


def refusals(w, job, edge, relay):
    say("halves of different steps")
    p = subprocess.run([BIN, "model", "merge", f"{job.dir}/edge.gguf", f"{w.top}/cloud.gguf", "--out", f"{w.top}/no.gguf"],
                       capture_output=True, text=True)
    check(p.returncode != 0 and f"/{STEPS}" in p.stderr and "/0" in p.stderr, f"merge: {p.stderr.strip()}")
    relay_b = w.add(Relay(w.top, "relay-b", w.cloud.port, 1))
    other = Edge(w.cloud, f"{w.top}/hospital-b")
    other.join(w.cloud.invite("hospital-b", w.top, relay_b.port))
    w.cloud.ready("hospital-b")
    first = w.add(Server(w.top, "untrained", f"{w.top}/edge.gguf", "--cloud-half", f"{w.top}/cloud.gguf", "--identity", other.dir,
                         "--model-id", "m"))
    check(Stream(first, GREEDY).end().done, "hospital-b serves the untrained halves")
    first.stop()
    for name, more in (("nothing to install", ()), ("the untrained half to install", ("--cloud-half", f"{w.top}/cloud.gguf"))):
        server = w.add(Server(w.top, "mixed-" + name[:3], f"{job.dir}/edge.gguf", "--identity", other.dir, "--model-id", "m", *more))
        s = Stream(server, GREEDY).end(20)
        check(len(s.errors) == 1 and f"/{STEPS}" in s.errors[0] and "/0" in s.errors[0],
              f"trained edge, untrained cloud, {name}: {s.errors}")
        check("installing" not in server.text(), "nothing was sent")
        check(f"/{STEPS}" in server.text() and f"/{STEPS}" in server.health()[1].get("reason", ""), "the log and /health say so, too")
        server.stop()


def serving(w, job, edge):
    say("the trained halves serve")
    run("model", "merge", f"{job.dir}/edge.gguf", job.far_half(), "--out", f"{w.top}/trained.gguf")
    whole = w.add(Server(w.top, "whole", f"{w.top}/trained.gguf", "--model-id", "m"))
    on = {"logit_bias": {i: -100 for i in range(266, 271)}}  # a model that learnt so little ends at once: not here
    asked = [(how | on, prompt) for how in (GREEDY, {"temperature": 1, "seed": 5}) for prompt in ("What", "It is")]
    references = [Stream(whole, how, prompt).end() for how, prompt in asked]
    whole.stop()
    check(sum(len(r.tokens) for r in references) > 50, f"the merged model answers: {[r.text()[:40] for r in references]}")
    installed = w.cloud.text().count("is installed")
    began = time.monotonic()
    server = w.add(Server(w.top, "served", f"{job.dir}/edge.gguf", "--identity", edge.dir, "--model-id", "m", "--codec", "f32"))
    answers = [Stream(server, how, prompt).end() for how, prompt in asked]
    took(w, "trained halves: from starting edge run to the first token", answers[0].times[0] - began)
    for s, reference in zip(answers, references):
        s.same(reference, f"edge run without a cloud's half answers the same, {len(s.tokens)} tokens")
    check(w.cloud.text().count("is installed") == installed and "installing" not in server.text(), "nothing was installed for that")


def play(w):
    data = f"{w.top}/data.jsonl"
    samples(data)
    run("model", "init", f"{w.top}/whole.gguf", "--text", data, "--vocab", 300, "--width", 64, "--blocks", 4)
    run("model", "split", f"{w.top}/whole.gguf", "--head", 1, "--tail", 1, "--edge", f"{w.top}/edge.gguf", "--cloud",
        f"{w.top}/cloud.gguf")
    w.cloud.start("--threads", "1")
    relay = w.add(Relay(w.top, "relay", w.cloud.port, 5))
    edge = Edge(w.cloud, f"{w.top}/hospital-a")
    edge.join(w.cloud.invite("hospital-a", w.top, relay.port))
    w.cloud.ready("hospital-a")
    far = ["--edge", f"{w.top}/edge.gguf", "--identity", edge.dir, "--cloud-half", f"{w.top}/cloud.gguf", "--data", data,
           "--steps", str(STEPS), "--save-every", str(EVERY), "--batch-rows", "128", "--accumulate", "4", "--lr", "3e-3",
           "--threads", "1", "--seed", "1", "--eval-every", "20"]
    job, weights = calm(w, far)
    worker_killed(w, far, weights)
    trainer_killed(w, far, weights)
    cloud_killed(w, far, weights)
    cut(w, relay, far, weights)
    serving(w, job, edge)
    refusals(w, job, edge, relay)


def main():
    for program in (BIN, RELAY):
        if not os.path.exists(program):
            say(f"skipped: {program} is not built")
            return 77
    w, good = World(), False
    try:
        play(w)
        good = True
    finally:
        for t in w_jobs:
            if t.process.poll() is None:
                t.process.kill()
                t.process.wait()
        w.close(show=not good)
    say("all as it should be\n" + "\n".join(f"{seconds:7.2f} s  {what}" for what, seconds in w.took.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
