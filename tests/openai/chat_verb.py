"""`meridian chat` as a person uses it: one question, a pipe, a conversation on a terminal with ^C. MERIDIAN_URL and
MERIDIAN_KEY name a running edge with the slow tiny model, over HTTPS when MERIDIAN_FINGERPRINT is set."""
import os
import pty
import re
import select
import subprocess
import sys
import time
import urllib.request
import json
import ssl

BIN = os.environ.get("MERIDIAN_BIN", "build/main/src/cli/meridian")
URL, KEY = os.environ["MERIDIAN_URL"], os.environ["MERIDIAN_KEY"]
PRINT = os.environ.get("MERIDIAN_FINGERPRINT", "")
TRUST = ["--fingerprint", PRINT] if PRINT else []
ENV = {**os.environ, "MERIDIAN_API_KEY": KEY}
passed = 0


def ok(what):
    global passed
    passed += 1
    print(f"ok {passed} - {what}", flush=True)


def chat(*words, stdin=None, env=ENV, trust=True):
    return subprocess.run([BIN, "chat", "--url", URL, *(TRUST if trust else []), *words], input=stdin,
                          stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, env=env, timeout=60)


def one_question():
    args = ["--seed", "4", "--max-tokens", "12", "How are you?"]
    first, second = chat(*args), chat(*args)
    assert first.returncode == 0, first.stderr
    assert len(first.stdout) > 4 and first.stdout.endswith(b"\n"), first.stdout
    assert first.stdout == second.stdout
    ok("one question, the same answer for the same seed")
    piped = chat("--seed", "4", "--max-tokens", "12", stdin=b"How are you?")
    assert piped.stdout == first.stdout, (piped.stdout, piped.stderr)
    ok("a question on standard input")
    both = chat("--max-tokens", "4", "Summarise:", "-", stdin=b"a letter")
    assert both.returncode == 0 and both.stdout != first.stdout
    ok("a question and a text below it")


def refusals():
    wrong = chat("hi", env={**ENV, "MERIDIAN_API_KEY": "mk-wrong"})
    assert wrong.returncode == 1 and b"not known" in wrong.stderr, wrong.stderr
    other = chat("--model", "gpt", "hi")
    assert other.returncode == 1 and b"does not exist" in other.stderr
    empty = chat(stdin=b"")
    assert empty.returncode == 2 and b"no question" in empty.stderr, empty.stderr
    ok("refusals are one sentence each")
    if TRUST:
        unknown = chat("hi", trust=False)
        assert unknown.returncode == 1 and b"not trusted" in unknown.stderr, unknown.stderr
        ok("a certificate that is not known is not trusted")


class Terminal:
    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(BIN, [BIN, "chat", "--url", URL, *TRUST, "--max-tokens", "3000"], ENV)
        self.seen = ""

    def until(self, pattern, seconds=20):
        """Reads until the pattern shows behind what was matched before."""
        end = time.monotonic() + seconds
        while not (m := re.search(pattern, self.seen, re.S)):
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], f"no {pattern!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:  # the other side is gone
                assert re.search(pattern, self.seen, re.S), f"ended without {pattern!r}: {self.seen!r}"
        self.seen = self.seen[m.end():]
        return m.group(0)

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        for _ in range(200):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError("it does not end")


def running():
    context = ssl._create_unverified_context() if TRUST else None
    with urllib.request.urlopen(URL + "/health", timeout=5, context=context) as answer:
        return json.load(answer)["running"]


def conversation():
    t = Terminal()
    t.until("> ")
    t.type("Tell me everything.\n")
    t.until(r"everything\.\r\n.{3,}")
    t.type("\x03")
    t.until(r"\(stopped\).*> ")
    for _ in range(100):
        if running() == 0:
            break
        time.sleep(0.05)
    assert running() == 0
    ok("^C stops the answer, not the program, and frees the slot")
    t.type("half a line\x03")
    t.until("> ")
    t.type("/reset\n")
    t.until("forgotten.*> ")
    t.type("/what\n")
    t.until("/quit ends.*> ")
    t.type("/quit\n")
    assert t.end() == 0
    ok("a line is dropped by ^C; /reset, /quit")
    t = Terminal()
    t.until("> ")
    t.type("\x04")
    assert t.end() == 0
    ok("the end of input ends it")


one_question()
refusals()
conversation()
print(f"{passed} passed")
sys.exit(0)
