#!/usr/bin/env python3
"""Files sent up to a real edge: by `meridian upload` while the edge is killed with -9 and comes back, after ^C, by curl, and by the
tus project's own client (tus-js-client), which goes on with its own upload. Two keys do not see each other's."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("MERIDIAN_BIN") or str(TOP / "build/main/src/cli/meridian")
work = pathlib.Path(tempfile.mkdtemp(prefix="uploads-"))
store = work / "store"
bad, running = 0, []


def check(good, what):
    global bad
    print(("ok    " if good else "FAIL  ") + what, flush=True)
    bad += not good


def run(*args, rc=0, **kw):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=120, **kw)
    if rc is not None and done.returncode != rc:
        raise RuntimeError(f"{' '.join(map(str, args))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise RuntimeError("waited in vain")
        time.sleep(0.01)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def arrived(key, source, name=None):
    path = store / key / (name or source.name)
    return path.exists() and digest(path) == digest(source)


class Edge:
    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        log = open(work / "edge.log", "ab")
        self.process = subprocess.Popen([BIN, "edge", "run", "--edge", work / "m.gguf", "--listen", f"127.0.0.1:{self.port}", "--keys",
                                         work / "keys", "--uploads", store], stdout=log, stderr=log)
        running.append(self.process)
        until(self.answers)

    def answers(self):
        return run("curl", "-sf", "-o", "/dev/null", f"{self.url}/health", rc=None).returncode == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


def sample(name, size):
    path = work / name
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def parts():
    return sum(p.stat().st_size for p in (store / "incoming").glob("*.part"))


def upload(edge, key, *files, **kw):
    p = subprocess.Popen([BIN, "upload", "--url", edge.url, "--piece", "64k", "--patience", "60", *map(str, files)],
                         env=dict(os.environ, MERIDIAN_API_KEY=key), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    running.append(p)
    return p


def ours(edge, key):
    big = sample("study.dcm", 24 << 20)
    p = upload(edge, key, big)
    until(lambda: parts() > 2 << 20)
    edge.kill()
    check(p.poll() is None, f"the edge is killed after {parts() >> 20} of 24 MiB; the upload waits")
    edge.start()
    out, err = p.communicate(timeout=120)
    check(p.returncode == 0 and arrived("branch", big), f"and goes on by itself: {out.strip()}{err[-200:] if p.returncode else ''}")
    other = sample("second.dcm", 24 << 20)
    p = upload(edge, key, other)
    until(lambda: parts() > 2 << 20)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=30)
    check(p.returncode != 0 and "goes on" in err, f"^C: {err.strip().splitlines()[-1]}")
    before = parts()
    done = run(BIN, "upload", "--json", "--url", edge.url, other, env=dict(os.environ, MERIDIAN_API_KEY=key))
    seen = json.loads(done.stdout)
    check(seen["resumed_from"] >= before > 0 and arrived("branch", other), f"the same command goes on at {seen['resumed_from']}")
    wrong = run(BIN, "upload", "--url", edge.url, big, rc=None, env=dict(os.environ, MERIDIAN_API_KEY="nobody"))
    check(wrong.returncode == 1 and "401" in wrong.stderr, f"a wrong key: {wrong.stderr.strip().splitlines()[-1]}")
    wrong = run(BIN, "upload", "--url", edge.url, work / "none.dcm", rc=None, env=dict(os.environ, MERIDIAN_API_KEY=key))
    check(wrong.returncode == 1 and "none.dcm" in wrong.stderr, f"a missing file: {wrong.stderr.strip().splitlines()[-1]}")


def by_hand(edge, key, stranger):
    head = run("curl", "-si", "-X", "POST", f"{edge.url}/v1/uploads", "-H", f"Authorization: Bearer {key}", "-H", "Tus-Resumable: 1.0.0",
               "-H", "Upload-Length: 8", "-H", "Upload-Metadata: filename YS50eHQ=").stdout
    place = next(line.split(":", 1)[1].strip() for line in head.splitlines() if line.lower().startswith("location"))
    for who, want in (key, "200"), (stranger, "404"):
        seen = run("curl", "-s", "-I", "-o", "/dev/null", "-w", "%{http_code}", edge.url + place, "-H", f"Authorization: Bearer {who}").stdout
        check(seen == want, f"HEAD of {'its own' if who == key else 'a stranger'} key: {seen}")
    run("curl", "-sf", "-X", "DELETE", edge.url + place, "-H", f"Authorization: Bearer {key}")


def theirs(edge, key):
    shell = f". {TOP}/tests/lib/npm.sh; npm_packages {TOP}/tests/uploads"
    ready = run("bash", "-c", shell, rc=None)
    if ready.returncode:
        print(f"skipped: {ready.stdout.strip()}: tus-js-client was not tried")
        return
    big = sample("tus.dcm", 3 << 20)
    args = ["node", TOP / "tests/uploads/tus.js", f"{edge.url}/v1/uploads", key, big]
    place = run(*args, 1 << 20).stdout.strip().splitlines()[-1]
    check(place.startswith(edge.url), f"tus-js-client stops in the middle of {place}")
    edge.kill()
    edge.start()
    run(*args, env=dict(os.environ, TUS_URL=place))
    check(arrived("branch", big), "and goes on there after the edge was killed: whole")


try:
    (work / "data.jsonl").write_text("".join(json.dumps({"text": f"sample {i}: pulse {60 + i}"}) + "\n" for i in range(200)))
    run(BIN, "model", "init", work / "m.gguf", "--text", work / "data.jsonl", "--vocab", 300, "--width", 64, "--blocks", 2)
    keys = {n: run(BIN, "edge", "key", "add", "--keys", work / "keys", n).stdout.split()[-1] for n in ("branch", "other")}
    here = Edge()
    ours(here, keys["branch"])
    by_hand(here, keys["branch"], keys["other"])
    theirs(here, keys["branch"])
    check(not list((store / "incoming").iterdir()), "nothing unfinished is left")
finally:
    for p in running:
        if p.poll() is None:
            p.kill()
            p.wait()
    if bad:
        print((work / "edge.log").read_text()[-2000:])
    shutil.rmtree(work, ignore_errors=True)
sys.exit(1 if bad else 0)
