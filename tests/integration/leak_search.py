#!/usr/bin/env python3
"""The leak search finds what leaks and nothing else. A hospital trains and chats over TLS while the wire is captured; in
the ordinary build the search finds nothing in packets, decrypted frames, cloud files and cloud memory, and has searched
all of them. The same with a build that leaks on purpose: the search must find it in frames, files and memory, and
not in packets. Then each encoding by itself, processes that cannot be read, and the decryption against tshark's.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from sites import ADDRESS, MERIDIAN, TOP, Failed, Sites  # noqa: E402

LEAKY = str(TOP / "build/leaky/src/cli/meridian")
PORT, API, SAMPLES = 7443, 8080, 300
PLACES = ("packets", "decrypted frames", "cloud files", "cloud memory")
begin = time.monotonic()
ASK = """
import json, sys, urllib.request
for q in json.load(open(sys.argv[1])):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": q}], "max_tokens": 8}).encode()
    r = urllib.request.Request("http://127.0.0.1:%s/v1/chat/completions" % sys.argv[2], body, {"Content-Type": "application/json"})
    json.load(urllib.request.urlopen(r, timeout=60))
"""


def check(ok, text):
    print(("  ok    " if ok else "  WRONG ") + text, flush=True)
    if not ok:
        raise SystemExit(1)


def run(*args, fails=False):
    done = subprocess.run(list(map(str, args)), capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    if (done.returncode != 0) != fails:
        raise Failed(f"{args}: {done.stdout}{done.stderr}")
    return done.stdout


def prepare(top):
    run(TOP / "tools/corpus", "--out", top / "corpus", "--samples", SAMPLES, "--held-out", 20)
    run(MERIDIAN, "model", "init", top / "whole.gguf", "--text", top / "corpus/train.jsonl", "--vocab", 600, "--width",
        64, "--blocks", 4, "--context", 512)
    run(MERIDIAN, "model", "split", top / "whole.gguf", "--head", 1, "--tail", 1, "--edge", top / "edge.gguf", "--cloud",
        top / "cloud.gguf")
    rows = [json.loads(line) for line in open(top / "corpus/held_out.jsonl", encoding="utf-8")]
    (top / "questions").write_text(json.dumps([row["messages"][0]["content"] for row in rows[:6]]))


def search(top, *more):
    done = subprocess.run(list(map(str, (
        TOP / "tools/leak/search", "--canaries", top / "corpus/canaries.txt", "--texts", top / "corpus/train.jsonl",
        "--texts", top / "corpus/held_out.jsonl", "--model", top / "whole.gguf", "--json", *more))),
        capture_output=True, text=True, timeout=100)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def hospital(sites, top, where, program):
    """Trains a little and asks; afterwards edge and cloud still run. The cloud's process."""
    centre = where / "centre"
    run(program, "cloud", "invite", "a", "--dir", centre, "--address", f"{ADDRESS['cloud']}:{PORT}", "--out", where / "kit")
    cloud = sites.start("cloud", "cloud", program, "cloud", "run", "--dir", centre, "--listen", f"{ADDRESS['cloud']}:{PORT}",
                        "--threads", 1)
    sites.wait_for_text(cloud, "listening", 20)
    sites.run("hospital", program, "edge", "join", where / "kit", "--dir", where / "identity")
    dump = sites.start("cloud", "tcpdump", "tcpdump", "-i", "wan", "-s", "0", "-B", "16384", "-U", "-w", where / "pcap",
                       "-Z", "root")
    sites.wait_for_text(dump, "listening on", 10)
    link = ["--cloud-half", top / "cloud.gguf", "--identity", where / "identity", "--unsafe-keylog", where / "keylog",
            "--threads", 1]
    sites.run("hospital", program, "train", "--edge", top / "edge.gguf", *link, "--data", top / "corpus/train.jsonl",
              "--out", where / "trained", "--steps", 3, "--batch-rows", 512, "--accumulate", 2, timeout=60)
    edge = sites.start("hospital", "edge", program, "edge", "run", "--edge", where / "trained/edge.gguf", *link, "--listen",
                       f"127.0.0.1:{API}", "--model-id", "m")
    sites.wait_for_text(edge, "serving", 20)
    sites.run("hospital", sys.executable, "-c", ASK, top / "questions", API, timeout=60)
    time.sleep(0.3)  # tcpdump writes what the kernel still holds for it
    return cloud


def everywhere(where, cloud):
    return ["--pcap", where / "pcap", "--keylog", where / "keylog", "--port", PORT, "--files", where / "centre",
            *(x for pid in cloud.children() for x in ("--pid", pid))]


def worker_of(cloud):
    for pid in cloud.children():
        if b"worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise Failed("the cloud has no worker")


def tshark_streams(where, n):
    """The SHA-256 of both directions' plaintext of each connection, by tshark (which does not say who is the client)."""
    for number in range(n):
        out = run("tshark", "-r", where / "pcap", "-o", f"tls.keylog_file:{where / 'keylog'}", "-d", f"tcp.port=={PORT},tls",
                  "-o", "tcp.desegment_tcp_streams:TRUE", "-q", "-z", f"follow,tls,raw,{number}")
        sums = hashlib.sha256(), hashlib.sha256()
        for line in out.splitlines():
            if re.fullmatch(r"\t?([0-9a-f]{2})+", line):
                sums[line[0] == "\t"].update(bytes.fromhex(line.strip()))
        yield {s.hexdigest() for s in sums}


def decryption(where):
    plain = where / "plain"
    plain.mkdir()
    counts = json.loads(run(TOP / "build/main/tools/leak/decrypt", where / "pcap", where / "keylog", PORT, plain))
    same = [{hashlib.sha256((plain / f"{i}-{way}").read_bytes()).hexdigest() for way in ("up", "down")} == both
            for i, both in enumerate(tshark_streams(where, counts["connections"]))]
    check(same and all(same), f"tshark opens the same bytes in each of {len(same)} connections")
    lines = (where / "keylog").read_text().splitlines(keepends=True)
    (where / "short").write_text("".join(lines[:len(lines) // 2]))
    run(TOP / "build/main/tools/leak/decrypt", where / "pcap", where / "short", PORT, plain, fails=True)
    check(True, "with half of the keys the decryption says that it is not complete")


def honest(top):
    where = top / "honest"
    with Sites(where) as sites:
        cloud = hospital(sites, top, where, MERIDIAN)
        rc, found = search(top, *everywhere(where, cloud))
        check(rc == 0, f"ordinary build: nothing found of {found['patterns']} patterns" + (f" {found}" if rc else ""))
        row = found["searched"]
        check(tuple(row) == PLACES and all(row[p]["complete"] and row[p]["bytes"] > 0 for p in PLACES),
              "searched: " + ", ".join(f"{row[p]['bytes'] / 1e6:.1f} MB of {p}" for p in PLACES))
        tls = row["decrypted frames"]["tls"]
        check(tls["plain"] >= 0.9 * tls["payload"] and tls["sealed"] == 0 and tls["plain"] > 1e6,
              f"{tls['plain'] / tls['payload']:.1%} of {tls['payload'] / 1e6:.1f} MB in TCP are opened plaintext, none is left sealed")
        rc, _ = search(top, "--only", "canary:", "--files", top / "corpus")
        check(rc == 1, "and it does find the names in the hospital's own samples")
        for process in [p for p in sites.processes if p.name in ("edge", "tcpdump")]:
            sites.stop(process, signal.SIGINT)  # the capture must not grow while two programs read it
        decryption(where)

        worker = worker_of(cloud)
        os.kill(worker, signal.SIGKILL)
        sites.wait_for("worker started again", 20, lambda: any(
            p != worker and b"worker" in pathlib.Path(f"/proc/{p}/cmdline").read_bytes() for p in cloud.children()))
        rc, found = search(top, "--pid", worker_of(cloud))
        check(rc == 0 and found["complete"], "a worker that was started again is searched")
        rc, found = search(top, "--pid", worker, "--pid", cloud.pid)
        check(rc == 2 and not found["complete"], "a process that cannot be read: exit 2, not complete")
        rc, found = search(top, "--files", where / "nothing")
        check(rc == 2, "nothing to search: exit 2")


def leaky(top):
    where = top / "leaky"
    with Sites(where) as sites:
        cloud = hospital(sites, top, where, LEAKY)
        logs = [(where / f"{name}.log").read_text() for name in ("cloud", "edge")]
        check(logs[0].count("LEAKY TEST BUILD") >= 3 and "LEAKY TEST BUILD" in logs[1],
              "each process of the leaky build says so: supervisor, enrol process, worker, edge")
        for kind, what in (("canary:", "names"), ("text:", "lines of questions"), ("ids:", "token ids")):
            rc, found = search(top, "--only", kind, *everywhere(where, cloud))
            hits = {p: found["searched"][p]["hits"] for p in PLACES}
            check(rc == 1 and found["complete"] and all(hits[p] for p in PLACES[1:]),
                  f"leaky build: {what} found in frames {hits[PLACES[1]]}, files {hits[PLACES[2]]}, memory {hits[PLACES[3]]}")
            check(hits["packets"] == 0, "and not in the packets: TLS hides it")


def encodings(top):
    """A file for each form of one name and one chat, made here without the search's own code."""
    name = (top / "corpus/canaries.txt").read_text(encoding="utf-8").splitlines()[0]
    row = (top / "corpus/train.jsonl").read_text(encoding="utf-8").splitlines()[0]
    (top / "row").write_text(row + "\n", encoding="utf-8")
    with open(top / "row") as f:
        out = subprocess.run([MERIDIAN, "tokenize", "--model", top / "whole.gguf", "--ids", "--chat"], stdin=f,
                             capture_output=True, text=True, check=True).stdout
    ids = [int(x) for x in out.split()][5:29]
    made = {"utf-8": name.encode(), "utf-16-le": name.encode("utf-16-le"), "utf-16-be": name.encode("utf-16-be"),
            "hex": name.encode().hex().encode(), "HEX": name.encode().hex().upper().encode(), "swapcase": name.swapcase().encode(),
            "u16": struct.pack(f"<{len(ids)}H", *ids), "i32": struct.pack(f"<{len(ids)}i", *ids),
            "i32-be": struct.pack(f">{len(ids)}i", *ids), "i64": struct.pack(f"<{len(ids)}q", *ids),
            "f32": struct.pack(f"<{len(ids)}f", *ids), "decimal": ", ".join(map(str, ids)).encode()}
    for shift in range(3):
        made[f"base64-{shift}"] = base64.b64encode(b"x" * shift + name.encode() + b"tail")
    folder = top / "encodings"
    folder.mkdir()
    for form, raw in made.items():
        (folder / form).write_bytes(os.urandom(4999) + raw + os.urandom(5000))
    (folder / "nothing").write_bytes(os.urandom(1 << 20))
    rc, found = search(top, "--files", folder)
    seen = {pathlib.Path(p).name for p in found["searched"]["cloud files"]["found"]}
    check(rc == 1 and seen == set(made), f"each of {len(made)} forms is found by itself, random bytes are not"
          if seen == set(made) else f"forms missed: {set(made) - seen}, too many: {seen - set(made)}")


def nothing_left_in():
    for program, want in ((MERIDIAN, False), (LEAKY, True)):
        text = run("strings", "-d", program) + run("nm", program)
        check(bool(re.search("leaky", text, re.I)) == want, f"{'the leaky' if want else 'no leaky'} code in {program[len(str(TOP)) + 1:]}")


def main():
    os.environ.setdefault("GOMP_SPINCOUNT", "100")
    run(TOP / "tools/build", "leaky")
    global begin
    begin = time.monotonic()
    (TOP / "build").mkdir(exist_ok=True)
    top = pathlib.Path(tempfile.mkdtemp(prefix="leak-search-", dir=TOP / "build"))
    try:
        nothing_left_in()
        prepare(top)
        encodings(top)
        honest(top)
        leaky(top)
        print(f"took {time.monotonic() - begin:.0f} s beside the build")
    except Failed as e:
        check(False, str(e))
    finally:
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
