"""`host prepare` on a real systemd with real apt, networkd, nft and sshd: once, again, and after a reboot."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.metal import layout
from pluto_deploy.metal.connection import opened
from pluto_deploy.metal.layout import Slot
from pluto_deploy.metal.login import Login
from pluto_deploy.metal.prepare.record import Record
from pluto_deploy.metal.suite import run as suite
from pluto_image.inputs.store import Store
from simulators.metal import intel, packages, td_releases
from simulators.metal.host import Host
from simulators.metal.network import ip
from simulators.metal.packages import Archive
from simulators.metal.preparing import API_KEY, eventually, listening, outside, prepare, rules, words_of
from simulators.metal.stand_in import StandIn

pytestmark = [pytest.mark.root, pytest.mark.slow]

FIRST_RUN, SECOND_RUN = 60.0, 10.0  # seconds
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
CONNECT_TO = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)"
# EHOSTUNREACH: what "administratively prohibited" becomes, as often as the host says so.
REFUSED = ("OSError 113", "silence")
SOCKET = str(layout.QUOTE_SOCKET)
VICTIM = """
install -d -m 0755 /run/victim
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/victim/socket")'
chmod 0600 /run/victim/socket
"""
FOREIGN = f"""[Service]
Type=simple
Restart=no
ExecStart=
ExecStart=/bin/sh -c 'ln -s /run/victim/socket {SOCKET}; exec sleep 60'
"""


@pytest.fixture(scope="module")
def archive(shared_metal_host: Host) -> Iterator[Archive]:
    with packages.serving(shared_metal_host.wire.gateway, intel.packages()) as found:
        yield found


@pytest.fixture(scope="module")
def words(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return words_of(archive, tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def first(shared_metal_host: Host, words: list[str]) -> dict[str, Any]:
    """What the first run said, with its time as `seconds`."""
    begun = time.monotonic()
    document = prepare(shared_metal_host, *words, "--resolver", "9.9.9.9")
    return {**document, "seconds": time.monotonic() - begun}


@pytest.fixture
def host(shared_metal_host: Host, first: dict[str, Any]) -> Host:
    """A prepared host."""
    return shared_metal_host


@pytest.fixture(scope="module")
def guest(shared_metal_host: Host, first: dict[str, Any]) -> StandIn:
    return StandIn(shared_metal_host, Slot("web", "a", 2)).start()


def changed(document: dict[str, Any]) -> list[str]:
    return [one["name"] for one in document["operations"] if one["changed"]]


def may_ask_for_quotes(host: Host, *identity: str) -> bool:
    argv = ["setpriv", *identity, "python3", "-c", CONNECT, SOCKET]
    return host.run(argv, check=False).returncode == 0


def reached(host: Host, address: str) -> bool:
    """Whether the host finds `address` on its bridge now, whatever it knew of it before."""
    host.run(["ip", "neigh", "flush", "dev", "pluto0"])
    return host.run(["ping", "-c1", "-W1", "-I", "pluto0", address], check=False).returncode == 0


class TestAgain:
    def test_the_first_run(self, host: Host, first: dict[str, Any]) -> None:
        assert first["seconds"] < FIRST_RUN
        assert {"packages", "kernel's command line", "rules for traffic", "record of the preparation"} <= {
            *changed(first)
        }
        assert (first["rebootNeeded"], first["rebooted"], first["notes"]) == (False, False, [])
        assert Record.parse(host.read(str(layout.PREPARED))) == Record("routed", "tdx", resolvers=("9.9.9.9",))

    @pytest.mark.parametrize("user", ["root", "operator"])
    def test_the_second_run_changes_nothing(self, host: Host, words: list[str], user: str) -> None:
        begun = time.monotonic()
        document = prepare(host, *words, "--resolver", "9.9.9.9", user=user)
        assert time.monotonic() - begun < SECOND_RUN
        assert changed(document) == []
        assert len(document["operations"]) > 30

    def test_a_plan_sees_what_somebody_changed_and_a_run_mends_it(self, host: Host, words: list[str]) -> None:
        host.run(["chmod", "0666", "/dev/kvm"])
        host.put("/etc/qgs.conf", b"port = 4050\n")
        host.run(["systemctl", "disable", "--quiet", "pluto-traffic.service"])
        wanted = ["devices", "settings of QGS", "QGS with its settings", "traffic"]
        plan = prepare(host, *words, "--resolver", "9.9.9.9", "--plan")
        assert changed(plan) == wanted
        assert host.read("/etc/qgs.conf") == b"port = 4050\n"
        assert changed(prepare(host, *words, "--resolver", "9.9.9.9")) == wanted
        assert b"port" not in host.read("/etc/qgs.conf").splitlines()[-1]

    def test_the_suite_that_ships_for_hosts_has_no_complaint(self, host: Host) -> None:
        login = Login(host.address, "operator", None, host.key, host.known_hosts)
        with opened(login) as connection:
            outcome = suite.run(connection)
        assert outcome.passed, outcome.text(str(login))

    def test_networkd_and_systemd_have_no_complaint(self, host: Host) -> None:
        said = host.journal("systemd-networkd.service") + host.run(["journalctl", "-b", "--no-pager", "_PID=1"]).stdout
        assert not [line for line in said.splitlines() if "pluto" in line and ("Unknown" in line or "nvalid" in line)]


class TestTools:
    def test_the_tools_of_a_release_are_put_there_once(self, host: Host, words: list[str], tmp_path: Path) -> None:
        store = Store(tmp_path / "store")
        release = td_releases.make(tmp_path / "release", store, sequence=5)
        digest = td_releases.lock(store).tools_digest
        wanted = [*words, "--resolver", "9.9.9.9", "--release", str(release)]
        wanted += ["--store", str(store.root), "--offline"]
        assert changed(prepare(host, *wanted)) == ["record of the preparation"]
        place = layout.tools(digest)
        assert Record.parse(host.read(str(layout.PREPARED))).tools == (digest,)
        shown = host.run(["find", str(place), "-printf", "%P %m %u %g\n"]).stdout.splitlines()
        assert {f"{td_releases.LOADER} 755 root root", "SHA256SUMS 444 root root"} <= set(shown)
        assert host.read(f"{place}/{td_releases.LOADER}") == td_releases.TOOLS[td_releases.LOADER][1]
        again = prepare(host, *wanted)
        assert (changed(again), again["tools"]) == ([], digest)
        host.run(["rm", "-r", str(place)])
        assert changed(prepare(host, *words, "--resolver", "9.9.9.9")) == ["record of the preparation"]


class TestQuotes:
    def test_the_folder_and_the_socket_are_for_one_group(self, host: Host) -> None:
        shown = host.run(["stat", "-L", "-c", "%a %U %G", str(layout.QUOTE_SOCKET.parent), SOCKET]).stdout.split("\n")
        assert shown[:2] == ["710 qgsd pluto-qgs", "660 qgsd pluto-qgs"]

    def test_who_gets_quotes(self, host: Host) -> None:
        assert may_ask_for_quotes(host, "--reuid=pluto-td", "--regid=pluto-td", "--init-groups")
        assert not may_ask_for_quotes(host, "--reuid=operator", "--regid=operator", "--init-groups")
        assert not may_ask_for_quotes(host, "--reuid=nobody", "--regid=nogroup", "--clear-groups")

    @pytest.mark.parametrize("how", ["restart", "kill"])
    def test_it_stays_so_however_the_service_comes_back(self, host: Host, how: str) -> None:
        if how == "kill":
            host.run(["systemctl", "kill", "--signal=KILL", "qgsd"])
        host.run(["systemctl", "restart", "qgsd"])
        self.test_the_folder_and_the_socket_are_for_one_group(host)
        self.test_who_gets_quotes(host)

    def test_a_service_that_is_another_mans_leads_root_nowhere(self, host: Host) -> None:
        """It puts a link to a socket of root's in the place of its own."""
        host.run(["sh", "-ec", VICTIM])
        drop_in = "/run/systemd/system/qgsd.service.d/zzz-test.conf"
        host.put(drop_in, FOREIGN.encode())
        host.run(["systemctl", "daemon-reload"])
        try:
            started = host.run(["systemctl", "restart", "qgsd"], check=False).returncode
            assert host.run(["stat", "-c", "%a %U %G", "/run/victim/socket"]).stdout == "600 root root\n"
            assert started != 0
        finally:
            host.run(["rm", "-r", drop_in, "/run/victim"])
            host.run(["systemctl", "daemon-reload"])
            host.run(["systemctl", "reset-failed", "qgsd"])
            host.run(["systemctl", "restart", "qgsd"])
        self.test_the_folder_and_the_socket_are_for_one_group(host)

    def test_nobody_listens_at_vsock(self, host: Host) -> None:
        assert "vsock" not in host.run(["ss", "-Hxl"]).stdout
        refused = host.run(["systemctl", "show", "-p", "RestrictAddressFamilies", "qgsd"]).stdout
        assert refused.strip() == "RestrictAddressFamilies=~AF_VSOCK"

    def test_the_pccs_serves_this_host_alone_and_its_key_is_nowhere_else(self, host: Host) -> None:
        listening = host.run(["ss", "-Hltn", "sport = :8081"]).stdout.split()
        assert listening[3] == "127.0.0.1:8081"
        path = "/opt/intel/sgx-dcap-pccs/config/default.json"
        assert host.run(["stat", "-c", "%a %U %G", path]).stdout.strip() == "640 pccs pccs"
        settings = json.loads(host.read(path))
        assert (settings["ApiKey"], settings["uri"]) == (API_KEY, intel.PCCS_CONFIG["uri"])
        assert API_KEY not in host.journal()
        found = host.run(["grep", "-rlI", "--", API_KEY, "/etc", "/var", "/tmp", "/run", "/root", "/home"], check=False)
        assert found.stdout == ""

    def test_packages_stay_at_their_version(self, host: Host, archive: Archive) -> None:
        held = host.run(["apt-mark", "showhold"]).stdout.split()
        assert {"tdx-qgs", "sgx-dcap-pccs", "libsgx-dcap-default-qpl", "sgx-ra-service"} <= set(held)
        policy = host.run(["apt-cache", "policy", "tdx-qgs"]).stdout
        assert f" -1 {archive.url}" in policy  # nothing of it
        assert " *** 1.27.100.0-noble1 700" in policy  # but packages for quotes


class TestTraffic:
    def test_the_machine_is_leased_its_address(self, guest: StandIn) -> None:
        assert (guest.address, guest.router, guest.resolver) == ("10.88.0.2", "10.88.0.1", "9.9.9.9")

    def test_a_public_port_leads_to_it_when_a_deployment_says_so(self, host: Host, guest: StandIn) -> None:
        assert outside(host.address, 443) == "ConnectionRefusedError"
        rules(host, "web", "slots { tcp . 443 : 10.88.0.2 . 8443 }")
        assert outside(host.address, 443) == f"td2 {host.wire.gateway}"  # and it sees who its client is
        rules(host, "web", "slots { tcp . 444 : 10.88.0.2 . 8443 }")
        assert (outside(host.address, 443), outside(host.address, 444)) == (
            "ConnectionRefusedError",
            f"td2 {host.wire.gateway}",
        )

    def test_the_host_itself_reaches_it(self, host: Host, guest: StandIn) -> None:
        argv = ["python3", "-c", "import socket; print(socket.create_connection(('10.88.0.2', 8443)).recv(9))"]
        assert "td2 10.88" in host.run(argv).stdout

    def test_it_reaches_none_of_the_hosts_services(self, host: Host, guest: StandIn) -> None:
        for address in ("10.88.0.1", host.address):
            assert guest.connect(address, 22) == "silence"

    def test_it_goes_where_its_deployment_says_and_nowhere_else(self, host: Host, guest: StandIn) -> None:
        with listening(host.wire.gateway) as (port, peers):
            assert guest.connect(host.wire.gateway, port) in REFUSED
            rules(host, "web", f"egress {{ 10.88.0.2 . tcp . 198.18.0.0/15 . {port} }}")
            assert guest.connect(host.wire.gateway, port).startswith("open")
            assert peers == [host.address]  # in the host's own name
            rules(host, "web", f"egress {{ 10.88.0.3 . tcp . 198.18.0.0/15 . {port} }}")
            assert guest.connect(host.wire.gateway, port) in REFUSED

    @pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1"])
    def test_it_never_goes_to_private_networks(self, host: Host, guest: StandIn, address: str) -> None:
        ip("addr", "add", f"{address}/32", "dev", host.wire.bridge)  # goes with the switch
        with listening(address) as (port, _):
            rules(host, "web", f"egress {{ 10.88.0.2 . tcp . 0.0.0.0/0 . {port} }}")
            assert host.run(["python3", "-c", CONNECT_TO, address, str(port)], check=False).returncode == 0
            assert guest.connect(address, port) in REFUSED

    def test_it_cannot_take_anothers_address_or_mac(self, host: Host, guest: StandIn) -> None:
        assert reached(host, "10.88.0.2")
        guest.inside("ip", "addr", "add", "10.88.0.3/24", "dev", "eth0")
        try:
            assert not reached(host, "10.88.0.3")
        finally:
            guest.inside("ip", "addr", "del", "10.88.0.3/24", "dev", "eth0")
        guest.inside("ip", "link", "set", "eth0", "address", "52:54:00:88:00:03")
        try:
            assert not reached(host, "10.88.0.2")
        finally:
            guest.inside("ip", "link", "set", "eth0", "address", guest.slot.mac)
        assert reached(host, "10.88.0.2")

    def test_machines_do_not_reach_each_other(self, host: Host, guest: StandIn) -> None:
        other = StandIn(host, Slot("other", "a", 3)).start()
        try:
            assert other.address == "10.88.0.3"
            assert other.connect("10.88.0.2", 8443) in ("silence", "OSError 113")
        finally:
            other.stop()

    def test_a_file_at_odds_with_another_changes_nothing(self, host: Host, guest: StandIn) -> None:
        rules(host, "web", "slots { tcp . 443 : 10.88.0.2 . 8443 }")
        host.put("/etc/pluto/traffic/thief.nft", b"add element inet pluto slots { tcp . 443 : 10.88.0.9 . 8443 }\n")
        try:
            assert host.run(["systemctl", "reload", "pluto-traffic"], check=False).returncode != 0
            assert outside(host.address, 443).startswith("td2")
            # As at a boot: nothing is led anywhere, and what protects the host is in force.
            host.run(["systemctl", "restart", "pluto-traffic"], check=False)
            assert "slots {" in host.run(["nft", "list", "table", "inet", "pluto"]).stdout
            assert outside(host.address, 443) == "ConnectionRefusedError"
            assert guest.connect("10.88.0.1", 22) == "silence"
        finally:
            host.run(["rm", "/etc/pluto/traffic/thief.nft"])
            host.run(["systemctl", "start", "pluto-traffic", "pluto-forwarding"])
        assert outside(host.address, 443).startswith("td2")

    def test_rules_of_others_stay(self, host: Host, guest: StandIn) -> None:
        host.run(["nft", "add", "table", "inet", "others"])
        rules(host, "web", "slots { tcp . 443 : 10.88.0.2 . 8443 }")
        assert "table inet others" in host.run(["nft", "list", "tables"]).stdout

    @pytest.mark.parametrize("verb", ["start", "reload", "restart", "stop"])
    def test_rules_of_the_hosts_own_that_flush_everything_take_ours_away_for_a_moment_only(
        self, host: Host, guest: StandIn, verb: str
    ) -> None:
        assert b"flush ruleset" in host.read("/etc/nftables.conf")
        rules(host, "web", "slots { tcp . 443 : 10.88.0.2 . 8443 }")
        if verb != "start":
            host.run(["systemctl", "start", "nftables"])
        assert eventually(lambda: outside(host.address, 443).startswith("td2"))
        host.run(["systemctl", verb, "nftables"])
        assert eventually(lambda: outside(host.address, 443).startswith("td2"))
        assert guest.connect("10.88.0.1", 22) == "silence"


class TestReboot:
    """Last in this file's order: the stand-in is gone after it."""

    def test_everything_is_back(self, host: Host, words: list[str]) -> None:
        host.run(["systemctl", "enable", "--quiet", "nftables"])  # which flushes all rules when it starts
        host.reboot()
        host.run(["systemctl", "is-system-running", "--wait"], check=False)
        assert "failed" not in host.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout
        assert host.run(["systemctl", "is-active", "pluto-traffic", "pluto-forwarding", "qgsd", "pccs"]).returncode == 0
        assert "table inet pluto" in host.run(["nft", "list", "tables"]).stdout
        assert "10.88.0.1/24" in host.run(["ip", "-4", "-br", "addr", "show", "pluto0"]).stdout
        assert host.read("/proc/sys/net/ipv4/conf/pluto0/forwarding") == b"1\n"
        TestQuotes().test_the_folder_and_the_socket_are_for_one_group(host)
        assert changed(prepare(host, *words, "--resolver", "9.9.9.9")) == []
