#!/usr/bin/env python3
"""Sessions that drop and processes that die: GoBGP beside our reflector and the other way, kill -9 of either, with and without
graceful restart; our reflector killed between its clients, who must not lose a route; hard resets.

Run inside the Debian 13 root from the repository root. 0 passed, 1 failed, 77 skipped."""
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bgp_lab import Gobgp, Lab, Pe, Reflector, check, stop, until  # noqa: E402

SERVICE = "sid=fcbb:bb00:1:f00a:: rt=65000:1"


def gobgp_dies(lab):
    """A GoBGP that keeps routes over its restart, and one that does not."""
    rr, a, b, c = (lab.host(n) for n in (9, 1, 2, 3))
    reflector = Reflector(rr, a.six, b.six, c.six)
    pe = Pe(a, rr.six)
    keeps = Gobgp(b, rr.six, restart=60, notification=True)
    forgets = Gobgp(c, rr.six)
    pe.up(rr.six), keeps.up(rr.six), forgets.up(rr.six)
    for daemon, prefix in ((keeps, "2001:db8:2::/48"), (keeps, "2001:db8:22::/48"), (forgets, "2001:db8:3::/48")):
        daemon.add("-a", "ipv6", prefix)
        pe.route(prefix)
    since = pe.settle()
    keeps.kill(), forgets.kill()
    pe.route("2001:db8:3::/48", withdrawn=True, since=since)
    check(True, "kill -9 of a GoBGP without graceful restart: its route is withdrawn at once")
    until(lambda: reflector.peers()[b.six]["state"] != "established", "the end of the other's session")
    check({r for r, p in reflector.routes().items() if p["stale"]} == {"2001:db8:2::/48", "2001:db8:22::/48"},
          "kill -9 of one with it: its routes stay, stale")
    keeps.start(restarting=True)
    keeps.add("-a", "ipv6", "2001:db8:2::/48")
    pe.route("2001:db8:22::/48", withdrawn=True, since=since)
    until(lambda: not any(p["stale"] for p in reflector.routes().values()), "nothing is stale any more")
    check(not [e for e in pe.events[since:] if e.get("prefix") == "2001:db8:2::/48"],
          "it comes back and says one again: that one never went, the other is swept")
    keeps.kill()
    pe.close()
    reflector.process.kill()


def ours_die(lab):
    """Our PE and our reflector, killed beside GoBGP and beside each other."""
    rr, a, b, c = (lab.host(n) for n in (19, 11, 12, 13))
    reflector = Reflector(rr, a.six, b.six, c.six)
    one, two = Pe(a, rr.six), Pe(b, rr.six)
    gobgp = Gobgp(c, rr.six, restart=60, notification=True)
    one.up(rr.six), two.up(rr.six), gobgp.up(rr.six)
    one.send("rt5 65000:1 10.1.0.0/16 " + SERVICE, "unicast 2001:db8:11::/48")
    two.send("rt5 65000:1 10.2.0.0/16 " + SERVICE)
    gobgp.add("-a", "ipv6", "2001:db8:13::/48")
    two.route("10.1.0.0/16"), one.route("10.2.0.0/16"), one.route("2001:db8:13::/48")

    def of_gobgp():
        return {str(k) for family in ("evpn", "ipv6") for k in gobgp.rib(family)}

    until(lambda: len(of_gobgp()) == 4, "all four at GoBGP", step=0.2)
    marks = one.settle(), two.settle()
    reflector.process.kill()
    reflector.process.wait()
    one.down(rr.six), two.down(rr.six)
    reflector.control.unlink()
    reflector = Reflector(rr, a.six, b.six, c.six)
    one.up(rr.six, marks[0]), two.up(rr.six, marks[1]), gobgp.up(rr.six)
    until(lambda: len(reflector.routes()) == 4 and not any(p["stale"] for p in one.dump().values()) and
          not any(p["stale"] for p in two.dump().values()), "everything said again", step=0.1)
    check(len(of_gobgp()) == 4, "GoBGP has what it had")
    gone = [e for pe, mark in zip((one, two), marks) for e in pe.events[mark:] if e.get("withdrawn")]
    check(not gone, f"kill -9 of our reflector: nobody lost a route on the way {gone or ''}")

    since = two.settle()
    one.kill()
    until(lambda: any(p["stale"] for p in reflector.routes().values()), "our PE's routes are stale after kill -9")
    one = Pe(a, rr.six)
    one.up(rr.six)
    two.route("10.1.0.0/16", withdrawn=True, since=since)
    check(True, "kill -9 of our PE: it comes back without the routes, which go as soon as it says so (its packets stopped too)")
    one.send("rt5 65000:1 10.1.0.0/16 " + SERVICE)
    two.route("10.1.0.0/16", since=since)
    since = two.settle()
    one.close()
    two.route("10.1.0.0/16", withdrawn=True, since=since)
    check(True, "an orderly end is a hard reset: routes go at once")
    stop(reflector.process, signal.SIGTERM)
    check("hard reset" in two.down(rr.six, since)["why"], "also the reflector's")
    until(lambda: len(of_gobgp()) == 1, "GoBGP keeps none of them either", step=0.2)
    two.close()
    gobgp.kill()


def power(lab):
    """A client whose machine loses power: nobody tells; it comes back before the hold time is over."""
    rr, a = lab.host(29), lab.host(21)
    reflector = Reflector(rr, a.six)
    one = Pe(a, rr.six, hold=90)
    one.up(rr.six)
    one.send("unicast 2001:db8:21::/48")
    until(lambda: reflector.routes(), "its route")
    a.cut()
    one.kill()  # its FIN is lost with the wire
    a.join()
    again = Pe(a, rr.six, hold=90, retry=300)
    again.up(rr.six)
    until(lambda: not reflector.routes(), "what it does not say again is gone")
    check(reflector.peers()[a.six]["state"] == "established", "a new connection replaces the one that nobody ended")
    again.close()
    reflector.process.kill()


with Lab("restart") as net:
    capture = net.capture()
    gobgp_dies(net)
    ours_die(net)
    power(net)
    capture.check(1, 9, 11, 12, 19, 21, 29)
