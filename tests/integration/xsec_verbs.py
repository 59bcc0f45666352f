#!/usr/bin/env python3
"""The operator's verbs of xSEC: a CA, members enrolled with one command each (CA at hand, or by request), revoked, shown; and what
each mistake is called. Nothing half-done: after a refusal every file is as it was.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed."""
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from routers import BIN, check, finish  # noqa: E402

CONFIG = """name: {name}
id: {id}
loopback: fd00:6d65::{id}
locator: fcbb:bb00:{id}::/48
identity: {dir}/{name}.key
punt: {{device: mer0}}
bgp: {{as: 65000}}
xsec:
  kit: {dir}/{name}.kit
  state: {dir}/{name}.xsec
"""


def meridian(*args, rc=0):
    p = subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, timeout=60)
    if p.returncode != rc:
        check(False, f"{' '.join(map(str, args))}: {p.returncode} instead of {rc}: {p.stdout}{p.stderr}")
    return p.stdout if rc == 0 else p.stderr


def shown(file, *more):
    return json.loads(meridian("xsec", "show", file, "--json", *more))


def snapshot(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def site(folder, name, number):
    path = folder / f"{name}.yaml"
    path.write_text(CONFIG.format(name=name, id=number, dir=folder))
    return path


def run(folder):
    ca = folder / "ca"
    public = meridian("xsec", "ca", "init", ca).split()[0]
    check(len(public) == 64 and (ca / "ca.key").stat().st_mode & 0o777 == 0o600, "ca init: a key that only its owner reads")
    before = snapshot(folder)
    check("never replaced" in meridian("xsec", "ca", "init", ca, rc=1) and snapshot(folder) == before,
          "a second init refuses and changes nothing")

    # One command, at the new site, with the CA at hand: key, kit and all.
    pe1 = site(folder, "pe1", 1)
    said = meridian("xsec", "enrol", pe1, "--ca", ca)
    key = meridian("router", "key", folder / "pe1.key").strip()
    kit = shown(folder / "pe1.kit")
    check(key in said and kit["key"] == key and kit["ca"] == public and kit["state"] == "good" and kit["vpns"] == [],
          "enrol CONFIG: one command makes the router's key and its kit")
    check(kit["loopback"] == "fd00:6d65::1" and "every one" in meridian("xsec", "show", folder / "pe1.kit"), "show, in words")

    # The CA elsewhere: request there, kit here.
    pe2 = site(folder, "pe2", 2)
    meridian("xsec", "request", pe2, "--out", folder / "pe2.request")
    asked = shown(folder / "pe2.request")
    check(asked["kind"] == "request" and asked["state"] == "good" and asked["name"] == "pe2", "request")
    seed = (folder / "pe2.key").read_text().strip()
    meridian("xsec", "enrol", folder / "pe2.request", "--ca", ca, "--vpns", "65000:10,4200000000:7", "--days", 30, "--out",
             folder / "pe2.kit")
    kit2 = shown(folder / "pe2.kit")
    check(kit2["vpns"] == ["65000:10", "4200000000:7"] and kit2["state"] == "good", "enrol REQUEST, for two VPNs")
    check(all(seed.encode() not in b for n, b in snapshot(folder).items() if n != "pe2.key"),
          "the private key is in no other file")
    check(kit2["serial"] > kit["serial"], "serial numbers rise")

    # What is refused.
    (folder / "elsewhere").mkdir()
    twin = site(folder / "elsewhere", "pe1", 1)
    before = snapshot(folder)
    check("revoke pe1" in meridian("xsec", "enrol", twin, "--ca", ca, rc=1), "another router of the same name")
    check("--ca" in meridian("xsec", "enrol", pe1, rc=2), "without --ca")
    check("no route target" in meridian("xsec", "enrol", pe1, "--ca", ca, "--vpns", "red", rc=2), "a VPN that is none")
    check("is a kit" in meridian("xsec", "enrol", folder / "pe1.kit", "--ca", ca, rc=1), "a kit instead of a request")
    text = (folder / "pe2.request").read_text()
    (folder / "cut.request").write_text(text[:-20])
    (folder / "changed.request").write_text(text[:40] + ("1" if text[40] != "1" else "2") + text[41:])
    check("cut or changed" in meridian("xsec", "enrol", folder / "cut.request", "--ca", ca, rc=1), "a request that was cut")
    check("changed" in meridian("xsec", "enrol", folder / "changed.request", "--ca", ca, rc=1), "one that was changed")
    check("ca init" in meridian("xsec", "enrol", pe1, "--ca", folder / "none", rc=1), "a CA that is none")
    check("nobody" in meridian("xsec", "revoke", "pe9", "--ca", ca, rc=1), "revoking a stranger")
    after = {n: b for n, b in snapshot(folder).items() if not n.endswith(".request") and n != "pe1.key"}
    check(after == {n: b for n, b in before.items() if not n.endswith(".request") and n != "pe1.key"},
          "and every file is as it was")

    # Revoked: a signed, numbered list; kits carry it from then on.
    out = meridian("xsec", "revoke", "pe2", "--ca", ca, "--out", folder / "revoked")
    check("1 certificate" in out and "any one router" in out, "revoke says what to do: one router, nothing at the others")
    lst = shown(folder / "revoked", "--kit", folder / "pe1.kit")
    check(lst["state"] == "good" and lst["revoked"] == [kit2["serial"]], "the list, checked beside a kit")
    check("not checked" in shown(folder / "revoked")["state"], "alone it cannot be")
    check("already" in meridian("xsec", "revoke", "pe2", "--ca", ca, rc=1), "twice")
    pe3 = site(folder, "pe3", 3)
    meridian("xsec", "enrol", pe3, "--ca", ca)
    check(shown(folder / "pe3.kit")["list_number"] == lst["list_number"], "a kit brings the newest list")
    meridian("xsec", "enrol", pe1, "--ca", ca, "--days", 700)
    check(shown(folder / "pe1.kit")["serial"] > kit2["serial"], "renewed with the same command")

    # Another operator's CA.
    meridian("xsec", "ca", "init", folder / "other")
    meridian("xsec", "enrol", pe3, "--ca", folder / "other", "--out", folder / "other.kit")
    check("not signed" in shown(folder / "revoked", "--kit", folder / "other.kit")["state"], "a list of another CA is not ours")

    man = meridian("help", "--man")
    check(all(f".Ss meridian xsec {v}" in man for v in ("ca init", "enrol", "request", "revoke", "show")), "in the man page")


with tempfile.TemporaryDirectory(dir="build") as name:
    run(pathlib.Path(name).resolve())
finish()
