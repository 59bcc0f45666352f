#!/usr/bin/env python3
"""Who waits must not work. A cloud with one joined hospital and its installed half, and an edge, both after some chat
requests and with a chat page's connection open, use less than 1 % of a core each over five seconds; so does a training
whose cloud is gone.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from cloud_processes import Cloud, Edge, check, wait_for  # noqa: E402

BIN = os.environ.get("MERIDIAN_BIN", "build/main/src/cli/meridian")
TOP = pathlib.Path(__file__).resolve().parents[2]
SECONDS, MOST = 5.0, 0.01


def run(*args):
    subprocess.run(list(map(str, args)), check=True, capture_output=True, text=True, timeout=120)


def family(pid):
    """A process and all that descend from it."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            todo += map(int, (task / "children").read_text().split())
    return found


def used(pids):
    """Seconds of CPU so far: user and system time of all threads."""
    fields = [pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def idle(**who):
    """Each of these processes with its children over the same time."""
    pids = {name: family(pid) for name, pid in who.items()}
    time.sleep(1)  # what the last request left to do
    before = {name: used(p) for name, p in pids.items()}
    check(all(before.values()), "time that was used is seen")
    begin = time.monotonic()
    time.sleep(SECONDS)
    took = time.monotonic() - begin
    for name, p in pids.items():
        share = (used(p) - before[name]) / took
        check(share < MOST, f"{name} ({len(p)} processes) waits with {share:.2%} of a core over {took:.1f} s")


def start(top, name, *args):
    log = open(f"{top}/{name}.log", "ab")
    return subprocess.Popen([BIN, *map(str, args)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def ask(port):
    body = b'{"model":"m","messages":[{"role":"user","content":"What is 1+1?"}],"max_tokens":8}'
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def play(top, cloud, processes):
    with open(f"{top}/data.jsonl", "w") as f:
        for i in range(400):
            f.write('{"messages":[{"role":"user","content":"What is %d+1?"},{"role":"assistant","content":"It is %d."}]}\n' % (i, i + 1))
    run(BIN, "model", "init", f"{top}/m.gguf", "--text", f"{top}/data.jsonl", "--vocab", 300, "--width", 64, "--blocks", 4)
    run(BIN, "model", "split", f"{top}/m.gguf", "--head", 1, "--tail", 1, "--edge", f"{top}/edge.gguf", "--cloud", f"{top}/cloud.gguf")
    cloud.start()
    identity = Edge(cloud, f"{top}/identity")
    identity.join(cloud.invite("hospital-a", top))
    cloud.ready("hospital-a")
    link = ["--edge", f"{top}/edge.gguf", "--cloud-half", f"{top}/cloud.gguf", "--identity", identity.dir]
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    edge = start(top, "edge", "edge", "run", *link, "--listen", f"127.0.0.1:{port}", "--model-id", "m")
    processes.append(edge)
    wait_for(lambda: "serving" in pathlib.Path(f"{top}/edge.log").read_text(), 20, "the edge serves")
    for _ in range(4):
        ask(port)
    with socket.create_connection(("127.0.0.1", port)) as page:  # as a browser keeps it
        page.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        check(page.recv(12) == b"HTTP/1.1 200", "the chat page is open")
        idle(cloud=cloud.process.pid, edge=edge.pid)

    train = start(top, "train", "train", *link, "--data", f"{top}/data.jsonl", "--out", f"{top}/out", "--steps", 100000,
                  "--save-every", 2, "--eval-every", 1000000, "--batch-rows", 128)
    processes.append(train)
    wait_for(lambda: list(pathlib.Path(f"{top}/out").glob("step-*")) or train.poll() is not None, 40, "the training has begun")
    cloud.stop(signal.SIGKILL)
    idle(**{"a training without its cloud": train.pid, "an edge without its cloud": edge.pid})


def main():
    os.chdir(TOP)
    top = tempfile.mkdtemp(prefix="meridian-idle-")
    cloud, processes = Cloud(top), []
    try:
        play(top, cloud, processes)
    finally:
        for p in processes:
            p.kill()
            p.wait()
        if cloud.process and cloud.process.poll() is None:
            cloud.stop(signal.SIGKILL)
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
