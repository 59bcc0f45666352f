#!/usr/bin/env python3
"""Losing the cloud loses nothing, with real processes: while an answer streams over the OpenAI API, the hospital's worker is
killed, the line is dead for ten seconds, connections are cut, the whole cloud is killed and started again. The same HTTP
stream goes on, and its tokens and probabilities are those of the whole model in one process. Another hospital's stream does
not notice. A revoked hospital's stream ends with one clear error. Prints how long each recovery took.

Run inside the Debian 13 root from the repository root; MERIDIAN_BIN names the program. 0 passed, 1 failed, 77 skipped."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cloud_processes import BIN, Cloud, Edge, check, say, wait_for  # noqa: E402

RELAY = os.path.abspath(os.environ.get("MERIDIAN_RELAY", "build/main/bench/relay"))
TOKENS, DEAD_S = 240, 10
GREEDY = {"temperature": 0}
os.environ.setdefault("GOMP_SPINCOUNT", "100")


def check_quietly(ok, text):
    if not ok:
        check(ok, text)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Daemon:
    """A process with its log, stopped by its pid."""

    def __init__(self, top, name, *args):
        self.log = f"{top}/{name}.log"
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(list(map(str, args)), stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait_text(self, pattern, seconds):
        found = wait_for(lambda: re.search(pattern, self.text()) or self.process.poll() is not None, seconds,
                         f"{self.log} says {pattern}")
        if not hasattr(found, "group"):
            say(self.text())
            check(False, f"{self.log} goes on until it says {pattern}")
        return found

    def signal(self, sig):
        self.process.send_signal(sig)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Relay(Daemon):
    def __init__(self, top, name, to, rtt_ms):
        self.port = free_port()
        super().__init__(top, name, RELAY, self.port, "127.0.0.1", to, rtt_ms, 1000)
        self.wait_text("ready", 5)


class Server(Daemon):
    """`meridian edge run`."""

    def __init__(self, top, name, edge, *more):
        super().__init__(top, name, BIN, "edge", "run", "--edge", edge, "--listen", "127.0.0.1:0", "--threads", 1, *more)
        self.port = int(self.wait_text(r"serving .* at http://[^:]+:(\d+)", 20).group(1))

    def get(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def health(self):
        status, text = self.get("/health")
        return status, json.loads(text)


class Stream(threading.Thread):
    """A streamed completion; tokens with their log-probabilities and the times at which they came."""

    def __init__(self, server, how, prompt="What is 3+4?"):
        super().__init__(daemon=True)
        self.port, self.prompt, self.how = server.port, prompt, how
        self.tokens, self.times, self.errors, self.finish, self.done = [], [], [], None, False
        self.start()

    def run(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = {"model": "m", "prompt": self.prompt, "max_tokens": TOKENS, "stream": True, "logprobs": 0} | self.how
        try:
            c.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            r = c.getresponse()
            if r.status != 200:
                self.errors.append(r.read().decode())
                return
            for line in r:
                if line.startswith(b"data: "):
                    self.take(line[6:].strip())
        except (OSError, http.client.HTTPException) as e:
            self.errors.append(repr(e))
        finally:
            c.close()

    def take(self, data):
        if data == b"[DONE]":
            self.done = True
            return
        event = json.loads(data)
        if "error" in event:
            self.errors.append(event["error"]["message"])
            return
        for choice in event["choices"]:
            lp = choice.get("logprobs") or {"tokens": [], "token_logprobs": []}
            self.tokens += zip(lp["tokens"], lp["token_logprobs"])
            self.times += [time.monotonic()] * len(lp["tokens"])
            self.finish = choice.get("finish_reason") or self.finish

    def until(self, n, seconds=30):
        wait_for(lambda: len(self.tokens) >= n or not self.is_alive(), seconds, f"{n} tokens have come")
        check(len(self.tokens) >= n and self.is_alive(), f"an answer is under way, {len(self.tokens)} tokens have come")

    def end(self, seconds=60):
        self.join(seconds)
        check_quietly(not self.is_alive(), f"the stream ends within {seconds} s")
        return self

    def same(self, reference, text):
        if self.errors or not self.done or self.tokens != reference.tokens:
            n = next((i for i, (a, b) in enumerate(zip(self.tokens, reference.tokens)) if a != b), len(self.tokens))
            say(f"  errors {self.errors}, done {self.done}, {len(self.tokens)} of {len(reference.tokens)} tokens, first "
                f"difference at {n}: {self.tokens[n:n + 2]} for {reference.tokens[n:n + 2]}")
        check(not self.errors and self.done and self.tokens == reference.tokens and self.finish == reference.finish, text)

    def text(self):
        return "".join(t for t, _ in self.tokens)

    def longest_gap(self, since=0.0):
        """Between neighbouring tokens, of which the later one came after `since`."""
        return max((b - a for a, b in zip(self.times, self.times[1:]) if b > since), default=0.0)

    def first_after(self, when):
        return next(t for t in self.times if t > when) - when


class World:
    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="meridian-recovery-")
        os.chmod(self.top, 0o755)
        self.cloud, self.daemons, self.took = Cloud(self.top), [], {}

    def add(self, daemon):
        self.daemons.append(daemon)
        return daemon

    def close(self, show):
        for d in reversed(self.daemons):
            if show:
                say(f"--- {d.log}\n{d.text()[-3000:]}")
            d.stop()
        if self.cloud.process:
            if show:
                say(f"--- {self.cloud.log}\n{self.cloud.text()[-3000:]}")
            self.cloud.stop(signal.SIGKILL)
        shutil.rmtree(self.top, ignore_errors=True)

    def worker(self, name):
        return self.cloud.list()[name]["pid"]


def run(*args):
    p = subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, timeout=60)
    if p.returncode:
        say(p.stdout + p.stderr)
        check(False, f"meridian {' '.join(map(str, args))} works")
    return p.stdout


def make_model(w):
    """Random weights, the halves of them, and long and varied answers of the whole: greedy and sampled."""
    text, whole = f"{w.top}/text.txt", f"{w.top}/whole.gguf"
    with open(text, "w") as f:
        f.write("\n".join(f"What is {a}+{b}? It is {a + b}. A {a} and a {b} are here." for a in range(20) for b in range(20)))
    run("model", "init", whole, "--text", text, "--vocab", 400, "--width", 64, "--blocks", 4, "--seed", 3)
    run("model", "split", whole, "--head", 1, "--tail", 1, "--edge", f"{w.top}/edge.gguf", "--cloud", f"{w.top}/cloud.gguf")
    server = w.add(Server(w.top, "whole", whole, "--model-id", "m"))
    answers = []
    for how in [GREEDY] + [{"temperature": 0.8, "seed": seed} for seed in range(40)]:
        s = Stream(server, how).end()
        check_quietly(not s.errors and s.done, f"the whole model answers: {s.errors}")
        if len(s.tokens) == TOKENS and len({t for t, _ in s.tokens}) >= 20:
            answers.append(s)
        if len(answers) == 2 or (how is GREEDY and not answers):
            break
    server.stop()
    check(len(answers) == 2, f"the whole model answers greedily and {answers[-1].how} with {TOKENS} tokens")
    return answers


def campus(w, name):
    """A hospital behind a relay of its own, and its server; one token a trip over 20 ms, so that answers take seconds."""
    relay = w.add(Relay(w.top, f"relay-{name}", w.cloud.port, 20))
    edge = Edge(w.cloud, f"{w.top}/{name}")
    edge.join(w.cloud.invite(name, w.top, relay.port))
    w.cloud.ready(name)
    server = w.add(Server(w.top, f"edge-{name}", f"{w.top}/edge.gguf", "--cloud-half", f"{w.top}/cloud.gguf", "--identity",
                          edge.dir, "--model-id", "m", "--plain", "--codec", "f32"))
    return relay, edge, server


def took(w, what, seconds):
    w.took[what] = seconds
    say(f"        {what}: {seconds:.2f} s")


def quiet(w, a, b, greedy, sampled):
    say("undisturbed")
    streams = Stream(a, GREEDY), Stream(a, sampled.how), Stream(b, GREEDY)
    for s, reference, text in zip(streams, (greedy, sampled, greedy), ("greedy", "temperature 0.8, seeded", "the other hospital's")):
        s.end().same(reference, f"{text}: tokens and probabilities of the whole model")
    took(w, "longest pause between tokens undisturbed", streams[0].longest_gap())


def worker_killed(w, a, b, greedy, sampled):
    say("kill -9 of the hospital's worker")
    streams, other = (Stream(a, GREEDY), Stream(a, sampled.how)), Stream(b, GREEDY)
    streams[0].until(60)
    old, others = w.worker("hospital-a"), w.worker("hospital-b")
    killed = time.monotonic()
    os.kill(old, signal.SIGKILL)
    for s, reference in zip(streams, (greedy, sampled)):
        s.end().same(reference, "the stream went on, token for token")
    other.end().same(greedy, "the other hospital's stream went on")
    check(w.worker("hospital-a") != old and w.worker("hospital-b") == others, "one worker was replaced, the other not")
    took(w, "worker killed: longest pause", streams[0].longest_gap(killed))
    took(w, "worker killed: the other hospital's longest pause", other.longest_gap(killed))
    check(streams[0].longest_gap(killed) < 5 and other.longest_gap(killed) < 0.5 * streams[0].longest_gap(killed) + 0.5,
          "the pause was short, and the other hospital's was its usual one")


def line_dead(w, relay, a, greedy):
    say(f"the line is dead for {DEAD_S} s")
    s = Stream(a, GREEDY)
    s.until(60)
    relay.signal(signal.SIGUSR1)
    begin = time.monotonic()
    wait_for(lambda: a.health()[0] == 503, DEAD_S, "/health says so")
    took(w, "line dead: /health degraded after", time.monotonic() - begin)
    n = len(s.tokens)
    time.sleep(max(0.0, DEAD_S - (time.monotonic() - begin)))
    check(len(s.tokens) == n and s.is_alive(), "the stream waits")
    relay.signal(signal.SIGUSR1)
    back = time.monotonic()
    s.end().same(greedy, "the stream went on, token for token")
    took(w, "line dead: next token after it is back", s.first_after(back))
    check(s.first_after(back) < 5, "soon after the line was back")
    check(a.health()[0] == 200, "/health is well again")


def line_blinks(w, relay, a, greedy):
    say("the line is dead for 2 s: less than a connection's patience")
    s = Stream(a, GREEDY)
    s.until(60)
    relay.signal(signal.SIGUSR1)
    time.sleep(2)
    relay.signal(signal.SIGUSR1)
    back = time.monotonic()
    s.end().same(greedy, "the stream went on, token for token")
    took(w, "line dead for 2 s: next token after it is back", s.first_after(back))


def cut(w, relay, a, greedy):
    say("connections are cut, three times")
    s = Stream(a, GREEDY)
    times = []
    for n in (40, 90, 140):
        s.until(n)
        relay.signal(signal.SIGUSR2)
        times.append(time.monotonic())
    s.end().same(greedy, "the stream went on, token for token")
    took(w, "connections cut: longest pause", s.longest_gap(times[0]))
    check(s.longest_gap(times[0]) < 3, "the pauses were short")


def cloud_killed(w, a, b, greedy):
    say("the whole cloud is killed and started again")
    s, other = Stream(a, GREEDY), Stream(b, GREEDY)
    s.until(60)
    w.cloud.stop(signal.SIGKILL)
    killed = time.monotonic()
    time.sleep(1.5)
    w.cloud.start("--threads", "1")
    listening = time.monotonic()
    s.end().same(greedy, "the stream went on, token for token")
    other.end().same(greedy, "the other hospital's, too")
    took(w, "cloud killed: pause of which 1.5 s nobody started it", s.longest_gap(killed))
    took(w, "cloud killed: next token after it listens", s.first_after(listening))
    check(s.first_after(listening) < 8, "soon after the cloud was back")


def said_once(w, a, s):
    check(len(s.errors) == 1 and not s.done and "revoked" in s.errors[0], f"the stream ends with one error: {s.errors}")
    check("revoked" in a.text(), "the edge's log says that it was revoked")
    status, health = a.health()
    check(status == 503 and health["status"] == "degraded" and "revoked" in health.get("reason", ""), f"/health: {health}")
    late = Stream(a, GREEDY).end(10)
    check(len(late.errors) == 1 and "revoked" in late.errors[0], f"later requests are refused at once: {late.errors}")


def revoked(w, a, b, greedy):
    say("the hospital is revoked while an answer streams")
    s, other = Stream(a, GREEDY), Stream(b, GREEDY)
    s.until(60)
    began = time.monotonic()
    w.cloud.run("cloud", "revoke", "hospital-a", "--dir", w.cloud.dir)
    s.end(20)
    took(w, "revoked: the stream ended after", time.monotonic() - began)
    said_once(w, a, s)
    other.end().same(greedy, "the other hospital's stream went on")


def revoked_unseen(w, relay, b):
    say("the other hospital is revoked while its line is dead")
    s = Stream(b, GREEDY)
    s.until(60)
    relay.signal(signal.SIGUSR1)
    w.cloud.run("cloud", "revoke", "hospital-b", "--dir", w.cloud.dir)
    time.sleep(1)
    relay.signal(signal.SIGUSR2)  # what the worker said at its end is lost
    time.sleep(1)
    check(s.is_alive() and not s.errors, "the stream waits, not knowing")
    relay.signal(signal.SIGUSR1)
    began = time.monotonic()
    s.end(20)
    took(w, "revoked unseen: the stream ended after the line was back", time.monotonic() - began)
    said_once(w, b, s)


def play(w):
    greedy, sampled = make_model(w)
    w.cloud.start("--threads", "1")
    relay, edge_a, a = campus(w, "hospital-a")
    relay_b, edge_b, b = campus(w, "hospital-b")
    quiet(w, a, b, greedy, sampled)
    worker_killed(w, a, b, greedy, sampled)
    cut(w, relay, a, greedy)
    line_blinks(w, relay, a, greedy)
    line_dead(w, relay, a, greedy)
    cloud_killed(w, a, b, greedy)
    revoked(w, a, b, greedy)
    revoked_unseen(w, relay_b, b)


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
        w.close(show=not good)
    say("all as it should be\n" + "\n".join(f"{seconds:7.2f} s  {what}" for what, seconds in w.took.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
