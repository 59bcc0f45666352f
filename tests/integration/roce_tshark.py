#!/usr/bin/env python3
"""RoCEv2 packets as our code writes them, in the eyes of others: tshark decodes each one without a malformed field and
sees the values that were meant; every ICRC is what a second implementation (zlib's CRC, masks written down from the
InfiniBand Architecture's annex A17) makes of the bytes. tshark shows the ICRC but does not check it.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

BUILD = pathlib.Path(os.environ.get("MERIDIAN_BUILD", "build/main"))
FIELDS = ["ip.version", "ipv6.version", "udp.dstport", "infiniband.bth.opcode", "infiniband.bth.destqp", "infiniband.bth.psn",
          "infiniband.bth.padcnt", "infiniband.reth.dmalen", "infiniband.aeth.syndrome", "infiniband.aeth.msn",
          "infiniband.invariant.crc", "_ws.malformed", "_ws.expert.message"]
# opcode, pad, DMA length, syndrome of the packets in each family's half of the file
KINDS = [(6, 0, 3070, None), (7, 0, None, None), (8, 2, None, None), (10, 3, 1, None), (10, 0, 4096, None),
         (17, 0, None, 0x1f), (17, 0, None, 0x60), (17, 0, None, 0x61), (0x81, 0, None, None)]
# Annex A17.4.5.3 wants no UDP checksum, and RFC 6936 lets a protocol with a check of its own do so over IPv6.
ZERO_SUM = "Illegal checksum value (0)"


def frames(path):
    data, at = path.read_bytes(), 24
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + 16:at + 16 + size]
        at += 16 + size


def icrc(ip):
    """Over an IP packet without its last four bytes."""
    b = bytearray(ip[:-4])
    if b[0] >> 4 == 4:
        udp, ones = 20, [1, 8, 10, 11]
    else:
        udp, ones = 40, [1, 2, 3, 7]
        b[0] |= 0x0f
    for at in ones + [udp + 6, udp + 7, udp + 8 + 4]:
        b[at] = 0xff
    return zlib.crc32(b"\xff" * 8 + bytes(b))


def number(text):
    return int(text, 0) if text else None


def main():
    failures = []

    def expect(is_, should, what):
        if is_ != should:
            failures.append(f"{what}: {is_!r}, expected {should!r}")

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "roce.pcap"
        subprocess.run([BUILD / "tests/roce/roce_pcap", path], check=True)
        packets = [f[14:] for f in frames(path)]
        shown = subprocess.run(["tshark", "-r", path, "-Tfields", "-Eseparator=/t", *sum((["-e", f] for f in FIELDS), [])],
                               check=True, capture_output=True, text=True).stdout.splitlines()
    expect(len(packets), 2 * len(KINDS), "packets in the file")
    expect(len(shown), len(packets), "packets that tshark shows")
    for i, (ip, line) in enumerate(zip(packets, shown)):
        got = dict(zip(FIELDS, line.split("\t")))
        opcode, pad, dma, syndrome = KINDS[i % len(KINDS)]
        what = f"packet {i + 1}"
        expect(number(got["udp.dstport"]), 4791, what)
        expect(number(got["infiniband.bth.opcode"]), opcode, what + " opcode")
        expect(number(got["infiniband.bth.destqp"]), 0xa1b2, what + " queue pair")
        expect(number(got["infiniband.bth.psn"]), (0xfffffe + i % len(KINDS)) & 0xffffff, what + " PSN")
        expect(number(got["infiniband.bth.padcnt"]), pad, what + " pad")
        expect(number(got["infiniband.reth.dmalen"]), dma, what + " DMA length")
        expect(number(got["infiniband.aeth.syndrome"]), syndrome, what + " syndrome")
        expect(number(got["infiniband.aeth.msn"]), 77 if syndrome is not None else None, what + " MSN")
        expect(got["_ws.malformed"] + got["_ws.expert.message"], ZERO_SUM if ip[0] >> 4 == 6 else "", what + " complaints")
        expect(struct.unpack("<I", ip[-4:])[0], icrc(ip), what + " ICRC")
        if opcode != 0x81:  # a reader that does not know the opcode looks for no ICRC
            expect(number(got["infiniband.invariant.crc"]), struct.unpack(">I", ip[-4:])[0], what + " ICRC's place")
        expect(icrc(ip[:-5] + bytes([ip[-5] ^ 1]) + ip[-4:]) != icrc(ip), True, what + " ICRC of another packet")
    print("\n".join(failures) or f"{len(packets)} packets: tshark decodes them, every ICRC is right")
    return bool(failures)


sys.exit(main())
