#!/usr/bin/env python3
"""Packets of encrypted VPNs that forwarding cores put on the wire, in tshark's eyes. With the keys: every ICV is right on every link of
the way (AES-GCM with 16 octets, extended sequence numbers: with 32 bits none is), the IV is the number, padding counts up, and
inside is what the host sent, before and after a change of keys. Without them: nothing of the inside shows, and one lane has one
flow label. With a wrong key: no ICV is right.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import os
import pathlib
import subprocess
import sys
import tempfile
from collections import defaultdict

BUILD = pathlib.Path(os.environ.get("MERIDIAN_BUILD", "build/main"))
FIELDS = ["frame.protocols", "ipv6.src", "ipv6.flow", "ipv6.tclass.dscp", "ipv6.tclass.ecn", "ip.dsfield.ecn", "ipv6.routing.segleft",
          "ipv6.hopopts.len_oct", "esp.spi", "esp.sequence", "esp.iv", "esp.icv_good", "esp.icv_bad", "esp.pad_len", "esp.pad.bogus",
          "esp.protocol", "udp.srcport", "udp.length", "udp.checksum.status", "ip.checksum.status", "_ws.malformed"]
NETWORKS = {"container": 3, "containers": 9, "full": 4}
PACKETS = 60

failures = []


def expect(is_, should, what):
    if is_ != should:
        failures.append(f"{what}: {is_!r}, expected {should!r}")


def decode(path, keys, bits="64-bit"):
    """Frames with ESP as tshark sees them."""
    sas = []
    for spi, source, key in keys:
        sas += ["-o", f'uat:esp_sa:"IPv6","{source}","*","0x{spi}","AES-GCM with 16 octet ICV [RFC4106]","0x{key}","NULL","","{bits}","0"']
    shown = subprocess.run(["tshark", "-r", path, "-Y", "esp", "-o", "esp.enable_encryption_decode:TRUE", "-o",
                            "esp.enable_authentication_check:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
                            *sas, "-Tfields", "-Eseparator=/t", "-Eoccurrence=a", *sum((["-e", f] for f in FIELDS), [])],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    return [dict(zip(FIELDS, line.split("\t"))) for line in shown]


def first(text):
    return text.split(",")[0]


def sent(i):
    """Protocol inside, UDP length, ECN of packet i, and its class' DSCP outside (esp_pcap.c)."""
    payload = i if i < 40 else 33 * i
    return "0x04" if i % 2 else "0x29", str(8 + payload), str(i % 4), {0: "0", 34: "34", 46: "46"}[(0, 34, 46)[i % 3]]


def with_keys(name, routers, frames):
    seen = defaultdict(int)
    for i, f in enumerate(frames, 1):
        what = f"{name} frame {i}"
        expect((f["esp.icv_good"], f["esp.icv_bad"]), ("True", "False"), what + " ICV")
        expect(f["_ws.malformed"], "", what + " malformed")
        expect(f["esp.pad.bogus"], "", what + " padding")
        expect(int(f["esp.iv"].replace(":", ""), 16), int(f["esp.sequence"]), what + " IV")
        if not f["udp.srcport"]:
            failures.append(f"{what}: no UDP inside: {f['frame.protocols']}")
            continue
        number = int(f["udp.srcport"]) - 50000
        proto, length, ecn, dscp = sent(number)
        expect(f["esp.protocol"], proto, what + " next header")
        expect(f["udp.length"], length, what + " UDP length")
        expect(f["udp.checksum.status"], "1", what + " UDP checksum")
        expect(first(f["ipv6.tclass.dscp"]), dscp, what + " DSCP")
        inner_ecn = f["ip.dsfield.ecn"] if number % 2 else f["ipv6.tclass.ecn"].split(",")[-1]
        expect((first(f["ipv6.tclass.ecn"]), inner_ecn), (ecn, ecn), what + " ECN outside and inside")
        seen[first(f["ipv6.src"]), number] += 1
    expect(len(seen), 2 * PACKETS, f"{name} packets of both hosts")
    expect(set(seen.values()), {routers - 1}, f"{name} links of each")
    spis = {f["esp.spi"] for f in frames}
    expect({int(s, 16) >> 16 for s in spis}, {1, 2}, f"{name} generations of keys")
    expect(len(spis), 2 * 2 * 2 * 3, f"{name} SAs: keys, directions, VPNs, classes")


def without_keys(name, frames):
    labels = defaultdict(set)
    for i, f in enumerate(frames, 1):
        what = f"{name} frame {i} without keys"
        expect(f["frame.protocols"].split(":")[-1], "esp", what)
        expect(f["udp.srcport"], "", what + " ports")
        labels[first(f["ipv6.src"]), f["esp.spi"]].add(f["ipv6.flow"])
    expect({len(v) for v in labels.values()}, {1}, f"{name} flow labels of a lane")


def with_wrong_keys(name, path, keys, frames):
    for what, wrong, bits in (("a wrong key", [(s, a, k[:-1] + "0123456789abcdef"[15 - int(k[-1], 16)]) for s, a, k in keys], "64-bit"),
                              ("32 bits of number", keys, "32-bit")):
        got = decode(path, wrong, bits)
        expect(len(got), len(frames), f"{name} frames with {what}")
        good = {f["esp.icv_good"] for f in got}  # garbage inside may end tshark's reading before it says anything
        expect((good <= {"False", ""}, "False" in good), (True, True), f"{name} ICVs with {what}")


def main():
    total = 0
    with tempfile.TemporaryDirectory(dir="build") as folder:
        subprocess.run([BUILD / "tests/forward/esp_pcap", folder], check=True)
        for name, routers in NETWORKS.items():
            path = pathlib.Path(folder) / f"{name}.pcap"
            keys = [line.split() for line in path.with_suffix(".keys").read_text().splitlines()]
            frames = decode(path, keys)
            total += len(frames)
            with_keys(name, routers, frames)
            without_keys(name, decode(path, []))
            with_wrong_keys(name, path, keys, frames)
            expect({f["ipv6.hopopts.len_oct"] for f in frames} >= ({"32"} if name == "containers" else {"24"}), True, f"{name} options")
            expect(any(f["ipv6.routing.segleft"] for f in frames), name != "container", f"{name} SRH")
    print("\n".join(failures[:40]) or f"{total} frames: tshark decrypts them as they were meant, and finds every ICV right")
    return bool(failures)


sys.exit(main())
