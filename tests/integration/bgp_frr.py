#!/usr/bin/env python3
"""FRR as a PE beside ours (VPNv4 and VPNv6 over SRv6, a VRF that is a namespace), as reflector of VPN routes and plain RT-5, and as
what it is to RT-5 over SRv6: a reflector that strips Prefix-SID and resolves SIDs. The beacon gets through.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bgp_lab import Frr, Lab, Pe, attributes_of, check, ip, until  # noqa: E402

LOCATOR = """segment-routing
 srv6
  locators
   locator MAIN
    prefix fcbb:bb00:9::/48 block-len 32 node-len 16 func-bits 16
   exit
  exit
 exit
exit
"""
VRF = """router bgp 65000 vrf red
 bgp router-id 10.0.0.99
 sid vpn per-vrf export auto
""" + "".join(f""" address-family {family} unicast
  redistribute connected
  rd vpn export 65000:50
  rt vpn both 65000:50
  export vpn
  import vpn
 exit-address-family
""" for family in ("ipv4", "ipv6")) + "exit\n"


def as_pe(lab):
    host, ours = lab.host(9), lab.host(1)
    red = lab.namespace("red")
    ip("-n", red, "link", "set", "lo", "up")
    for address in ("10.50.0.1/24", "2001:db8:50::1/64"):
        ip("-n", red, "addr", "add", address, "dev", "lo")
    ip("-n", host.namespace, "route", "add", "fcbb:bb00:1::/48", "via", ours.six)
    frr = Frr(host, ours.six, families=("ipv4 vpn", "ipv6 vpn"), vrf=red, zebra=LOCATOR, more=VRF,
              bgp=" segment-routing srv6\n  locator MAIN\n exit")
    pe = Pe(ours, host.six, retry=200)
    pe.up(host.six), frr.up(ours.six)
    v4 = pe.route("10.50.0.0/24", family="vpnv4", rd="0000fde800000032")
    v6 = pe.route("2001:db8:50::/64", family="vpnv6")
    check(v4["sid"] == v6["sid"] == "fcbb:bb00:9:1::" and v4["behaviour"] == 20, "FRR's VRF at ours: the SID whose function lies in the label")
    check(len(v6["next_hop"]) == 96, "VPNv6 with a next hop of 48 octets")
    pe.send("vpn 65000:1 10.4.0.0/16 rt=65000:50 sid=fcbb:bb00:1:f00a::", "vpn 65000:1 2001:db8:4::/48 rt=65000:50 sid=fcbb:bb00:1:f00a::")
    for family, prefix in (("ipv4", "10.4.0.0/16"), ("ipv6", "2001:db8:4::/48")):
        until(lambda: f"*>  {prefix}" in frr.vtysh(f"show bgp vrf red {family} unicast"), f"{prefix} in FRR's VRF", step=0.2)
    check("sid=fcbb:bb00:1:f00a::" in frr.vtysh("show bgp ipv4 vpn"), "our VRF at FRR, best and with our SID")
    since = pe.settle()
    frr.host.run("ip", "netns", "exec", red, "ip", "addr", "del", "10.50.0.1/24", "dev", "lo")
    pe.route("10.50.0.0/24", withdrawn=True, since=since)
    pe.send("withdraw vpn 65000:1 10.4.0.0/16")
    until(lambda: "10.4.0.0/16" not in frr.vtysh("show bgp vrf red ipv4 unicast"), "and withdraws, both ways", step=0.2)
    check(pe.peers()[host.six]["dropped"] == 0, "in one session")
    pe.close()
    for process in frr.processes:
        process.kill()


def as_reflector(lab):
    rr, a, b = lab.host(19), lab.host(11), lab.host(12)
    ip("-n", rr.namespace, "route", "add", "fcbb:bb00:1::/48", "via", a.six)
    frr = Frr(rr, a.six, b.six, reflector=True)
    one, two = Pe(a, rr.six, retry=200), Pe(b, rr.six, retry=200)
    one.up(rr.six), two.up(rr.six), frr.up(a.six), frr.up(b.six)
    service, plain = "rt=65000:1 sid=fcbb:bb00:1:f00a::", "rt=65000:1 label=1000 mac=020000000001"
    one.send(f"vpn 65000:1 10.4.0.0/16 {service}", f"vpn 65000:1 2001:db8:4::/48 {service}",
             f"rt5 65000:1 10.1.0.0/16 {plain}", f"rt5 65000:1 10.2.0.0/16 {plain} beacon={'5a' * 1500} sid=fcbb:bb00:1:f00a::",
             f"rt5 65000:1 10.3.0.0/16 {plain} sid=fcbb:bb00:77:1::", f"rt5 65000:1 10.5.0.0/16 {plain} fill=f7:3800",
             "unicast 2001:db8:11::/48 beacon=0102", f"rt5 65000:1 10.6.0.0/16 {plain} fill=f7:1500")
    check(two.route("10.4.0.0/16", family="vpnv4")["sid"] == "fcbb:bb00:1:f00a::", "VPNv4 through FRR: the SID is there")
    check(two.route("10.4.0.0/16")["next_hop"][16:20] == "fd00", "and our IPv6 next hop (RFC 8950 agreed)")
    check(two.route("2001:db8:4::/48")["sid"] == "fcbb:bb00:1:f00a::", "VPNv6 too")
    check("sid" not in two.route("10.1.0.0/16", family="evpn"), "plain RT-5 through FRR")
    stripped = two.route("10.2.0.0/16", family="evpn")
    check("sid" not in stripped and stripped["beacon"] == "5a" * 1500, "RT-5 over SRv6: FRR strips Prefix-SID, the beacon of 1500 octets arrives")
    check(two.route("2001:db8:11::/48"), "IPv6 unicast")
    two.route("10.6.0.0/16"), two.route("10.5.0.0/16")
    got = two.dump()
    flags = {k: f for f, k, _ in attributes_of(bytes.fromhex(got["RT-5 65000:1 10.2.0.0/16"]["attributes"]))}
    check(flags[245] & 0x20 and 40 not in flags, "with Partial set, as by one who does not know it")
    check("RT-5 65000:1 10.3.0.0/16" not in got, "RT-5 whose SID FRR has no route to is not reflected")
    check("RT-5 65000:1 10.5.0.0/16" in got, "one with an attribute of 3800 octets is: long messages were agreed (RFC 8654)")
    check(two.peers()[rr.six]["faulty_updates"] == 0 and one.peers()[rr.six]["dropped"] == 0, "nothing wrong, nobody reset")
    since = two.settle()
    one.send("withdraw rt5 65000:1 10.2.0.0/16", "withdraw vpn 65000:1 10.4.0.0/16")
    two.route("10.2.0.0/16", withdrawn=True, since=since), two.route("10.4.0.0/16", withdrawn=True, since=since)
    check(True, "withdraws pass")
    frr.vtysh("clear bgp * soft out")
    since = two.settle()
    frr.processes[1].kill()
    two.down(rr.six, since)
    one.close(), two.close()


with Lab("frr") as net:
    capture = net.capture()
    as_pe(net)
    as_reflector(net)
    capture.check(1, 11, 12)
