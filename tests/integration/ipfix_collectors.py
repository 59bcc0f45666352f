#!/usr/bin/env python3
"""What we export is what collectors read. A known set of flows, ports, lanes, marking periods, losses and events
(build/main/tests/ipfix/known_set) goes by UDP to nfcapd (nfdump) and to nfacctd (pmacct), and by UDP and TCP past tshark:
every flow comes out with equal values, nothing else is taken for a flow, every field of every record decodes, nothing is
malformed. (nfcapd 1.7.5 and nfacctd 1.7.8 know IPFIX over UDP only.)

All in a network and process namespace of its own, which ends with this program. Run inside the Debian 13 root from the
repository root. 0 passed, 1 failed."""
import collections
import datetime
import ipaddress
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
KNOWN_SET = TOP / "build/main/tests/ipfix/known_set"
WALL = int(time.time()) - 60
PEN = 32473
ME = "127.0.0.1"

if os.environ.get("IPFIX_COLLECTORS_INSIDE") != "1":
    os.environ["IPFIX_COLLECTORS_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                          sys.executable, __file__])


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def wait_for(what, test, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := test()):
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")


def known_set(most, *what):
    """The messages, and the flows that are in them, by source port (each flow has its own)."""
    done = subprocess.run([KNOWN_SET, str(WALL), str(most), *what], capture_output=True, check=True)
    messages, rest = [], done.stdout
    while rest:
        n = int.from_bytes(rest[2:4], "big")
        check(16 < n <= min(most, len(rest)), "the length of a message")
        messages.append(rest[:n])
        rest = rest[n:]
    return messages, {f["src_port"]: f for f in map(json.loads, done.stderr.splitlines())}


def listens(port):
    """Somebody has bound this UDP port."""
    return any(int(line.split()[1].split(":")[1], 16) == port
               for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:])


def send_udp(messages, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for m in messages:
            s.sendto(m, (ME, port))


def stop(process, sig):
    process.send_signal(sig)
    return process.wait(timeout=30)


def ms(text):
    """A UTC time of some tool as milliseconds since 1970."""
    at = datetime.datetime.fromisoformat(text.replace("T", " ")[:23]).replace(tzinfo=datetime.timezone.utc)
    return round(at.timestamp() * 1000)


def same(name, got, flows):
    check(sorted(got) == sorted(flows), f"{name}: {len(got)} flows of {len(flows)}")
    for port, flow in flows.items():
        for key, value in got[port].items():
            want = flow[key]
            if key in ("src", "dst"):
                want, value = ipaddress.ip_address(want), ipaddress.ip_address(value)
            check(value == want, f"{name}: {key} of flow {port} is {value}, not {want}")


def nfdump(tmp, *what):
    folder = tmp / f"nfcapd{len(what)}"
    folder.mkdir()
    log = open(tmp / f"nfcapd{len(what)}.log", "w+")
    messages, flows = known_set(1400, *what)
    nfcapd = subprocess.Popen(["nfcapd", "-w", folder, "-b", ME, "-p", "9995", "-v"], stdout=log, stderr=log)
    wait_for("nfcapd", lambda: listens(9995))
    send_udp(messages, 9995)
    wait_for("nfcapd to have read all", lambda: not queued(9995))
    time.sleep(0.2)
    stop(nfcapd, signal.SIGTERM)
    out = subprocess.run(["nfdump", "-R", folder, "-o", "json"], capture_output=True, text=True, check=True).stdout
    got = {}
    for r in json.loads(out):
        got[r["src_port"]] = {
            "src": r.get("src4_addr") or r["src6_addr"], "dst": r.get("dst4_addr") or r["dst6_addr"],
            "dst_port": r["dst_port"], "proto": r["proto"], "bytes": r["in_bytes"], "packets": r["in_packets"],
            "vrf": r["ingress_vrf"], "start_ms": ms(r["first"]), "end_ms": ms(r["last"])}
    same("nfdump", got, flows)
    log.seek(0)
    errors = re.search(r"Sequence Errors: (\d+), Bad Packets: (\d+)", log.read())
    check(errors and errors[2] == "0", "nfcapd: bad packets")
    if what: # it does not count records of options, as RFC 7011 wants it: with them it believes that messages are missing
        check(errors[1] == "0", "nfcapd: sequence errors")
    print(f"nfdump: {len(got)} flows equal ({' '.join(what) or 'with all other records'})")


def queued(port):
    """Bytes that wait to be read from this UDP port."""
    for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port:
            return int(fields[4].split(":")[1], 16)
    return 0


def pmacct(tmp):
    messages, flows = known_set(1400)
    out, log = tmp / "pmacct.json", open(tmp / "pmacct.log", "w+")
    (tmp / "primitives").write_text(
        f"name=tenantId field_type={PEN}:1 len=4 semantics=u_int\n"
        f"name=bitRate field_type={PEN}:4 len=8 semantics=u_int\n"
        "name=vrf field_type=234 len=4 semantics=u_int\n")
    (tmp / "pmacct.conf").write_text(
        f"daemonize: false\nnfacctd_ip: {ME}\nnfacctd_port: 9996\nplugins: print\nprint_output: json\n"
        f"print_output_file: {out}\nprint_refresh_time: 1\naggregate_primitives: {tmp}/primitives\n"
        "aggregate: src_host, dst_host, src_port, dst_port, proto, timestamp_start, timestamp_end, vrf, tenantId, bitRate\n"
        "timestamps_utc: true\n")
    nfacctd = subprocess.Popen(["nfacctd", "-f", tmp / "pmacct.conf"], stdout=log, stderr=log)
    wait_for("nfacctd", lambda: listens(9996))
    wait_for("its plugin", lambda: "print/print ): JSON" in (tmp / "pmacct.log").read_text())
    send_udp(messages, 9996)
    wait_for("nfacctd's output", lambda: out.exists() and len(out.read_text().splitlines()) >= len(flows))
    stop(nfacctd, signal.SIGINT)
    got, proto = {}, {"tcp": 6, "udp": 17}
    for r in map(json.loads, out.read_text().splitlines()):
        got[r["port_src"]] = {
            "src": r["ip_src"], "dst": r["ip_dst"], "dst_port": r["port_dst"], "proto": proto[r["ip_proto"]],
            "bytes": r["bytes"], "packets": r["packets"], "vrf": int(r["vrf"]), "tenant": int(r["tenantid"]),
            "rate_bps": int(r["bitrate"]), "start_ms": ms(r["timestamp_start"]), "end_ms": ms(r["timestamp_end"])}
    same("pmacct", got, flows)
    log.seek(0)
    bad = [line for line in log if re.search("unable|malformed|unknown|ERROR|WARN", line)]
    check(not bad, "nfacctd says: " + "".join(bad[:3]))
    print(f"pmacct: {len(got)} flows equal, two elements of ours among their values")


def capture(tmp, name, port, messages, send):
    """What tshark makes of these messages: (template, {field: value}) of each record; elements of ours by number."""
    pcap, log = tmp / f"{name}.pcap", open(tmp / f"{name}.tcpdump", "w+")
    dump = subprocess.Popen(["tcpdump", "-i", "lo", "-U", "-w", pcap, "port", str(port)], stderr=log)
    wait_for("tcpdump", lambda: "listening" in (tmp / f"{name}.tcpdump").read_text())
    send(messages, port)
    total = sum(map(len, messages))
    wait_for("the capture", lambda: pcap.stat().st_size > total)
    time.sleep(0.3)
    stop(dump, signal.SIGINT)
    args = ["tshark", "-r", pcap, "-d", f"{name}.port=={port},cflow"]
    env = dict(os.environ, TZ="UTC")
    bad = subprocess.run(args + ["-Y", "_ws.malformed || (cflow && _ws.expert)"], capture_output=True, text=True, env=env)
    check(not bad.stdout, f"tshark finds faults: {bad.stdout}")
    text = subprocess.run(args + ["-V"], capture_output=True, text=True, check=True, env=env).stdout
    check("alformed" not in text and "No Template" not in text, "tshark decodes all")
    return list(records(text))


def records(text):
    template, fields = None, None
    for line in text.splitlines():
        if m := re.match(r"    Set \d+ \[id=(\d+)\] \(\d+ flows\)", line):
            template = int(m[1])
        elif re.match(r"        Flow \d+", line) and template:
            if fields is not None:
                yield fields
            fields = (template, {})
        elif re.match(r"    Set|\S", line):
            template = None
        elif template and fields and (m := re.match(r"            +(.*?): (.*)", line)):
            if ours := re.match(r"\(.*\) Type (\d+): Value \(hex bytes\): ([0-9a-f ]+)", m[2]):
                fields[1][int(ours[1])] = int(ours[2].replace(" ", ""), 16)
            else:
                fields[1][m[1]] = m[2].replace("  ", " ")
    if fields is not None:
        yield fields


def expected():
    """By template: the other records of known_set.c, in order; elements of ours by their numbers."""
    wall = datetime.datetime.fromtimestamp(WALL, datetime.timezone.utc).strftime("%b %e, %Y %H:%M:%S").replace("  ", " ")
    want = collections.defaultdict(list)
    for i in range(4):
        ns = f"{wall}.{i:09} UTC"
        want[258].append({"InputInt": str(i), "IfName": "north" if i else "south", 13: int(i != 2), 4: 100000000000,
                          "Permanent Packets": str(i + 1), "Permanent Octets": str(1000 * i), 11: 7, 12: 8 * i,
                          "Dropped Total Packets": str(i), 16: i, 14: 100 + i, 15: 1000})
        want[259].append({"InputInt": str(i), "OutputInt": str(i + 1), 2: 1 << 32 | i, 1: i, 3: i, 21: 1, 11: 55, 12: 66,
                          "Dropped Total Packets": "0", 22: 0, 8: 0, 16: 0, 17: 0, 18: 4096, 19: i, 20: 12})
        want[260].append({"Flow Id": str(0x12340 + i), 9: WALL, "Packets": str(1000 - i), "Octets": "1000000",
                          "Observation Time Nanoseconds": ns, "InputInt": "3", 10: i % 3})
        want[261].append({"Flow Id": str(77 + i), 2: 1 << 32 | i, "Observation Time Nanoseconds": ns, 6: 1 + i, 1: i, 3: 2,
                          "InputInt": str((1 << 32) - 1 if i else 2), "OutputInt": str(2 if i else (1 << 32) - 1),
                          "Dropped Packets": "1", 7: i})
        want[262].append({"Observation Domain Id": "4242", 6: 1 + i, "Dropped Total Packets": "1", 8: i})
        want[263].append({"InputInt": str(i), 2: 0, "Observation Time Nanoseconds": ns, 23: i, 24: 9, 25: 0, 26: 123456})
    return want


def tshark(tmp, name, port, most, send):
    messages, flows = known_set(most)
    got, others, described = {}, collections.defaultdict(list), {}
    for template, f in capture(tmp, name, port, messages, send):
        if template in (256, 257):
            got[int(f["SrcPort"])] = {
                "src": f["SrcAddr"], "dst": f["DstAddr"], "dst_port": int(f["DstPort"]),
                "proto": int(re.search(r"\((\d+)\)", f["Protocol"])[1]), "bytes": int(f["Octets"]),
                "packets": int(f["Packets"]), "vrf": int(f["Ingress VRFID"]), "tenant": f[1], "rate_bps": f[4]}
        elif template == 264:
            check(f["Private Enterprise Number"] == str(PEN), "our enterprise number")
            described[int(f["Information Element Id"])] = f["Information Element Name"]
        else:
            others[template].append(f)
    same(f"tshark, {name}", got, flows)
    for template, want in expected().items():
        check(len(others[template]) == len(want), f"{name}: {len(others[template])} records of {template}")
        for w, g in zip(want, others[template]):
            for key, value in w.items():
                check(g.get(key) == value, f"{name}: {template}: {key} is {g.get(key)}, not {value}")
            check({k for k in g if isinstance(k, int)} == {k for k in w if isinstance(k, int)}, f"{name}: {template}")
    used = {k for records_ in others.values() for f in records_ for k in f if isinstance(k, int)} | {1, 3, 4, 5}
    check(used <= set(described), f"{name}: {used - set(described)} are not described")
    print(f"tshark: {len(messages)} messages by {name}: {len(got)} flows and "
          f"{sum(map(len, others.values()))} other records equal, {len(described)} elements described, nothing malformed")


def send_tcp(messages, port):
    with socket.create_server((ME, port)) as server, socket.create_connection((ME, port)) as client:
        peer, _ = server.accept()
        stream = b"".join(messages)
        for at in range(0, len(stream), 1000): # messages do not end where segments do
            client.sendall(stream[at:at + 1000])
        client.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass
        peer.close()


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (TOP / "build").mkdir(exist_ok=True)
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="ipfix-", dir=TOP / "build"))
    try:
        nfdump(tmp)
        nfdump(tmp, "flows")
        pmacct(tmp)
        tshark(tmp, "udp", 4739, 1400, send_udp)
        tshark(tmp, "tcp", 4739, 65535, send_tcp)
        tshark(tmp, "tcp", 4740, 512, send_tcp)
    except (AssertionError, subprocess.SubprocessError) as e:
        print(f"FAILED: {e}")
        for log in sorted(tmp.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-2000:]}")
        return 1
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
