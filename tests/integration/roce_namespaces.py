#!/usr/bin/env python3
"""`meridian roce` between two network namespaces joined by a veth pair: everything arrives once and in order, over IPv4 and
IPv6; thrown-away packets are made good by going back, and the result says so; PFC frames stop the sender; ^C ends both in
order; hosts of their own, with a VLAN, need nothing of the kernel's stack.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import json
import os
import signal
import subprocess
import sys
import time

BIN = os.environ.get("MERIDIAN_BIN", "build/main/src/cli/meridian")
TAG = f"mr{os.getpid()}"
A, B = TAG + "a", TAG + "b"


def check(good, what):
    if not good:
        raise SystemExit(f"FAILED: {what}")
    print("ok:", what)


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True, timeout=20)


def start(namespace, *args):
    return subprocess.Popen(["ip", "netns", "exec", namespace, BIN, "roce", *args, "--json"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process, stop=False, expect=0):
    if stop:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode != expect:
        raise SystemExit(f"FAILED: status {process.returncode}, expected {expect}: {out}\n{err}")
    return json.loads(out) if out else err


def listening(process):
    """It says so on stderr as soon as packets are taken."""
    line = process.stderr.readline()
    check('"receiving"' in line, "the receiver is ready")


def receive(*args):
    process = start(B, "receive", *args)
    listening(process)
    return process


def transfer(peer, send=(), rx=()):
    receiver = receive(*rx)
    sent = result(start(A, "send", peer, *send))
    return sent, result(receiver, stop=True)


def pause(priority, quanta, seconds):
    """PFC frames into the wire at the receiver's end, as a router would send them."""
    code = f"""
import socket, struct, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("v1", 0))
frame = bytes.fromhex("0180c2000001" "020000000002" "8808" "0101") + struct.pack(">H8H", 1 << {priority},
    *[{quanta} if i == {priority} else 0 for i in range(8)])
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    s.send(frame.ljust(60, b"\\0")); time.sleep(0.001)
"""
    subprocess.run(["ip", "netns", "exec", B, sys.executable, "-c", code], check=True, timeout=30)


def transfers():
    for peer in ("10.9.0.2", "fd09::2"):
        tx, rx = transfer(peer, ("--qps", "3", "--bytes", "30MB", "--message", "100kB"))
        check(tx["payload_bytes"] == rx["payload_bytes"] >= 30e6 and tx["messages"] == rx["messages"] == 300,
              f"{peer}: all messages arrived once")
        check(tx["retransmitted_packets"] == rx["out_of_order"] == rx["corrupted"] == rx["malformed"] == 0,
              f"{peer}: nothing was sent again")
        check(tx["mtu"] == 1024 and tx["latency"]["count"] == 300 and rx["sources"][0]["one_way"]["count"] == rx["packets"],
              f"{peer}: times were taken")


def loss():
    tx, rx = transfer("10.9.0.2", ("--bytes", "20MB", "--message", "64KiB", "--retries", "0"), ("--lose", "1%"))
    check(tx["payload_bytes"] == rx["payload_bytes"] >= 20e6, "with 1 % thrown away everything arrived")
    check(rx["lost_on_purpose"] > 50 and tx["naks"] == rx["naks"] > 20, "by going back when told")
    check(tx["packets"] - tx["retransmitted_packets"] == tx["messages"] * 64, "and the price is told")
    check(tx["retransmitted_packets"] >= rx["lost_on_purpose"], "which is more than what was lost")


def pauses():
    for priority, stops in ((3, True), (5, False)):
        receiver = receive()
        sender = start(A, "send", "10.9.0.2", "--rate", "100Mbit/s", "--duration", "2500ms", "--line", "1Gbit/s")
        time.sleep(0.5)
        pause(priority, 65535, 1.2)
        tx, rx = result(sender), result(receiver, stop=True)
        check(tx["pauses"] >= 1 and tx["paused_ms"] > 1000, f"frames for priority {priority} were heeded")
        check((rx["silence_ms"] > 1000) == stops, f"and {'stopped' if stops else 'did not stop'} the flow of priority 3")
        check(tx["payload_bytes"] == rx["payload_bytes"], "then everything arrived")
    receiver = receive()
    sender = start(A, "send", "10.9.0.2", "--rate", "100Mbit/s", "--duration", "1500ms", "--ignore-pfc")
    pause(3, 65535, 1)
    check(result(sender)["pauses"] == 0, "a host that obeys no PFC goes on")
    result(receiver, stop=True)


def stall():
    receiver = receive()
    sender = start(A, "send", "10.9.0.2", "--rate", "100Mbit/s", "--duration", "2500ms")
    time.sleep(0.7)
    receiver.send_signal(signal.SIGUSR1)
    time.sleep(1)
    receiver.send_signal(signal.SIGUSR2)
    tx, rx = result(sender), result(receiver, stop=True)
    check(tx["pauses"] >= 1 and tx["paused_ms"] > 700 and rx["silence_ms"] > 700, "a host that stalls pauses its peer")
    check(tx["payload_bytes"] == rx["payload_bytes"] and rx["missed"] == 0, "and misses nothing")


def interrupts():
    receiver = receive()
    sender = start(A, "send", "10.9.0.2", "--rate", "10Mbit/s")
    time.sleep(0.5)
    tx, rx = result(sender, stop=True), result(receiver, stop=True)
    check(tx["payload_bytes"] == rx["payload_bytes"] > 0, "^C ends the sender when what it began has arrived")


def hosts_of_their_own():
    ip("-n", A, "addr", "flush", "dev", "v0")
    ip("-n", B, "addr", "flush", "dev", "v1")
    for family, near, far in ((4, "10.8.0.1/24", "10.8.0.2"), (6, "fd08::1/64", "fd08::2")):
        length = near.split("/")[1]
        receiver = receive("--interface", "v1", "--address", f"{far}/{length}", "--vlan", "77")
        sender = start(A, "send", far, "--interface", "v0", "--address", near, "--vlan", "77", "--bytes", "3MB")
        tx, rx = result(sender), result(receiver, stop=True)
        check(tx["payload_bytes"] == rx["payload_bytes"] >= 3e6, f"IPv{family} in a VLAN without the kernel's help")
    receiver = receive("--interface", "v1", "--address", "10.8.0.2/24", "--vlan", "78")
    error = result(start(A, "send", "10.8.0.2", "--interface", "v0", "--address", "10.8.0.1/24", "--vlan", "77"), expect=1)
    check("10.8.0.2 does not answer on v0" in error, "another VLAN is another world")
    result(receiver, stop=True)


def main():
    if os.geteuid():
        print("skipped: needs root")
        return 77
    for namespace in (A, B):
        ip("netns", "add", namespace)
    ip("-n", A, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", B)
    for namespace, device, number in ((A, "v0", 1), (B, "v1", 2)):
        ip("-n", namespace, "addr", "add", f"10.9.0.{number}/24", "dev", device)
        ip("-n", namespace, "addr", "add", f"fd09::{number}/64", "dev", device, "nodad")
        ip("-n", namespace, "link", "set", device, "up")
    transfers()
    loss()
    pauses()
    stall()
    interrupts()
    hosts_of_their_own()
    return 0


try:
    status = main()
finally:
    for name in (A, B):
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
sys.exit(status)
