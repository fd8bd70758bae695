"""`host prepare` where something is not as it should be: reboots, keys, archives, machines, the provider's network."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from pluto_deploy.metal import layout
from pluto_deploy.metal.layout import Slot
from pluto_deploy.metal.login import Login
from pluto_deploy.metal.prepare import command as prepare_command
from pluto_deploy.metal.prepare import places
from pluto_deploy.metal.worker.process import Job, run
from pluto_measure.errors import RefusedError, SourceError, UsageError
from pluto_measure.progress import Silent
from simulators.debian_mirror import Signer
from simulators.metal import intel, packages, releases
from simulators.metal.host import Host
from simulators.metal.packages import Archive
from simulators.metal.preparing import eventually, outside, prepare, rules, words_of
from simulators.metal.stand_in import StandIn
from simulators.metal.tdx import Tdx

pytestmark = [pytest.mark.root, pytest.mark.more_root, pytest.mark.slow]

REMOTE = ["--pccs", "https://pccs.example/"]
WORKER = """
from pluto_deploy.metal.worker import __main__ as worker, jobs
from pyinfra.operations import server
import os
def slow(steps, parameters):
    steps.add("slow", server.shell, parameters["command"], timeout=parameters["timeout"])
jobs.JOBS = {"slow": slow}
os._exit(worker.main())
"""


@contextmanager
def archive_for(host: Host, folder: Path, *, year: int = 2026) -> Iterator[tuple[Archive, list[str]]]:
    with packages.serving(host.wire.gateway, intel.packages(year=year)) as archive:
        yield archive, words_of(archive, folder)


def changed(document: dict[str, object]) -> list[str]:
    operations = document["operations"]
    assert isinstance(operations, list)
    return [one["name"] for one in operations if one["changed"]]


def command(host: Host, text: str, *, timeout: int = 100, user: str = "root") -> list[str]:
    """Run one command by the worker; returns what changed."""
    login = Login(host.address, user, None, host.key, host.known_hosts)
    job = Job("slow", {"command": text, "timeout": timeout})
    return list(run(job, login, Silent(), program=[sys.executable, "-c", WORKER]).changed)


class TestReboot:
    def test_only_if_it_is_allowed_and_then_all_is_done(
        self, make_metal_host: Callable[..., Host], tmp_path: Path
    ) -> None:
        host = make_metal_host(tdx=Tdx.unset())
        with archive_for(host, tmp_path, year=2025) as (_, words):
            first = prepare(host, *words)
            assert (first["rebootNeeded"], first["rebooted"], host.boots) == (True, False, 1)
            assert "reboot needed" in str(first["notes"])
            second = prepare(host, *words, "--reboot", user="operator")
            assert (second["rebootNeeded"], second["rebooted"], host.boots) == (False, True, 2)
            assert changed(second) == ["reboot"]
            assert b"nohibernate kvm_intel.tdx=1" in host.read("/proc/cmdline")
            third = prepare(host, *words, "--reboot")
            assert (changed(third), host.boots) == ([], 2)

    def test_a_boot_loader_that_does_not_listen_is_found_out(
        self, make_metal_host: Callable[..., Host], tmp_path: Path
    ) -> None:
        host = make_metal_host(tdx=Tdx.unset())
        host.put("/usr/local/bin/update-grub", b"#!/bin/sh\nexit 0\n", 0o755)
        with (
            archive_for(host, tmp_path) as (_, words),
            pytest.raises(SourceError, match="kernel has what it needs: the kernel was started without"),
        ):
            prepare(host, *words, "--reboot")


class TestConnection:
    def test_a_changed_host_key(self, shared_metal_host: Host) -> None:
        with pytest.raises(SourceError, match="not the one that is known for it"):
            prepare(shared_metal_host, *REMOTE, known_hosts=shared_metal_host.wrong_known_hosts())

    @pytest.mark.parametrize("wrong", [True, False])
    def test_the_worker_checks_for_itself(self, shared_metal_host: Host, tmp_path: Path, wrong: bool) -> None:
        known = shared_metal_host.wrong_known_hosts() if wrong else tmp_path / "none"
        login = Login(shared_metal_host.address, "root", None, shared_metal_host.key, known)
        with pytest.raises(SourceError, match="not the one that is known" if wrong else "no key of this host is known"):
            run(Job("prepare"), login, Silent())

    def test_a_command_that_takes_too_long_is_ended(self, shared_metal_host: Host) -> None:
        begun = time.monotonic()
        with pytest.raises(SourceError, match="slow: Command timed out after 1s"):
            command(shared_metal_host, "sleep 60", timeout=1)
        assert time.monotonic() - begun < 10

    def test_sudo_is_used_where_the_login_is_not_roots(self, shared_metal_host: Host) -> None:
        assert command(shared_metal_host, 'test "$(id -u)" = 0', user="operator") == ["slow"]

    @pytest.mark.parametrize("operation", ["packages", "rules for traffic"])
    def test_whoever_is_killed_is_resumed_by_the_next(
        self,
        make_metal_host: Callable[..., Host],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        operation: str,
    ) -> None:
        host = make_metal_host()
        with archive_for(host, tmp_path) as (_, words):
            with monkeypatch.context() as patched:
                patched.setattr(prepare_command, "on_stderr", lambda: nullcontext(Killing(operation)))
                with pytest.raises(SourceError, match="was ended by SIGKILL"):
                    prepare(host, *words)
            assert host.run(["test", "-e", str(layout.PREPARED)], check=False).returncode != 0
            assert "record of the preparation" in changed(prepare(host, *words))
            assert changed(prepare(host, *words)) == []

    def test_a_lost_connection_is_noticed(self, make_metal_host: Callable[..., Host]) -> None:
        host = make_metal_host()
        threading.Timer(2.0, host.cut_network).start()
        begun = time.monotonic()
        with pytest.raises(SourceError, match="slow: the connection was lost"):
            command(host, "sleep 300", timeout=300)
        assert time.monotonic() - begun < 60


class Killing(Silent):
    """Progress that kills pyinfra's process when an operation begins."""

    def __init__(self, operation: str) -> None:
        self.operation = operation

    def doing(self, text: str) -> None:
        if text == self.operation:
            for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                if b"pluto_deploy.metal.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)


class TestArchive:
    def test_a_signature_of_somebody_else(self, make_metal_host: Callable[..., Host], tmp_path: Path) -> None:
        host = make_metal_host()
        with archive_for(host, tmp_path) as (archive, words):
            archive.publish(intel.packages(), signer=Signer())
            with pytest.raises(SourceError, match="what that archive has: "):
                prepare(host, *words)
            assert host.run(["dpkg", "-s", "tdx-qgs"], check=False).returncode != 0
            archive.publish(intel.packages())
            assert "packages" in changed(prepare(host, *words))

    def test_a_package_that_is_not_what_was_signed(self, make_metal_host: Callable[..., Host], tmp_path: Path) -> None:
        host = make_metal_host()
        with archive_for(host, tmp_path) as (archive, words):
            archive.spoil("tdx-qgs")
            with pytest.raises(SourceError, match="packages: "):
                prepare(host, *words)
            assert host.run(["dpkg", "-s", "tdx-qgs"], check=False).returncode != 0
            assert host.run(["test", "-e", str(layout.PREPARED)], check=False).returncode != 0

    def test_no_archive_has_the_packages(self, shared_metal_host: Host) -> None:
        with pytest.raises(SourceError, match="Unable to locate package") as caught:
            prepare(shared_metal_host, *REMOTE)
        assert caught.value.hint is not None
        assert "--quote-archive" in caught.value.hint


class TestMachines:
    def test_a_plan_of_a_fresh_host_changes_nothing(self, metal_host: Host, tmp_path: Path) -> None:
        with archive_for(metal_host, tmp_path) as (_, words):
            document = prepare(metal_host, *words, "--plan")
        assert {"packages", "user pluto-td", "rules for traffic"} <= set(changed(document))
        for path in ("/etc/pluto", "/opt/pluto", "/etc/apt/keyrings/pluto-quotes.asc"):
            assert metal_host.run(["test", "-e", path], check=False).returncode != 0

    def test_another_system(self, make_metal_host: Callable[..., Host]) -> None:
        host = make_metal_host(release=releases.UBUNTU_24_04)
        with pytest.raises(RefusedError, match=r"24\.04"):
            prepare(host, *REMOTE)
        with pytest.raises(RefusedError, match=r"Ubuntu 26\.04 and Ubuntu 25\.10"):
            prepare(host, "--insecure-no-tdx")

    def test_a_machine_without_tdx_unless_it_is_for_tests(self, make_metal_host: Callable[..., Host]) -> None:
        host = make_metal_host(tdx=Tdx.absent(), release=releases.UBUNTU_25_10)
        with pytest.raises(RefusedError, match="cannot run trust domains") as caught:
            prepare(host, *REMOTE)
        assert caught.value.hint is not None
        document = prepare(host, "--insecure-no-tdx")
        assert "insecure: this host runs no trust domains" in str(document["notes"])
        assert json.loads(host.read(str(layout.PREPARED)))["tee"] == "insecure_none"
        assert changed(prepare(host, "--insecure-no-tdx")) == []
        assert host.run(["systemctl", "is-active", "pluto-traffic", "pluto-forwarding"]).returncode == 0

    def test_options_that_contradict_each_other_reach_no_host(self, shared_metal_host: Host) -> None:
        with pytest.raises(UsageError):
            prepare(shared_metal_host)
        with pytest.raises(UsageError):
            prepare(shared_metal_host, *REMOTE, "--network", "bridge:eth0", "--ipv6")


class TestHetzner:
    """Behind a switch that drops frames of any MAC address but the server's, with a routed /32 and /64."""

    def test_machines_are_reached_through_the_hosts_own_mac(
        self, make_metal_host: Callable[..., Host], tmp_path: Path
    ) -> None:
        host = make_metal_host(filter_macs=True)
        wire = host.wire
        further6 = wire.address6.removesuffix("2") + "7"
        extra = ["--profile", "hetzner", "--address", wire.routed, "--address", further6, "--ipv6"]
        with archive_for(host, tmp_path) as (_, words):
            with pytest.raises(RefusedError, match="drops frames"):
                prepare(host, *words, "--profile", "hetzner", "--network", "macvtap:eth0")
            prepare(host, *words, *extra)
            assert changed(prepare(host, *words, *extra)) == []
        StandIn(host, Slot("web", "a", 2)).start()
        other = StandIn(host, Slot("web", "b", 3)).start()
        six = f"{places.address6(3)} . 8443"
        rules(
            host,
            "web",
            "slots { tcp . 443 : 10.88.0.2 . 8443 }",
            f"slots_at {{ {wire.routed} . tcp . 443 : 10.88.0.3 . 8443 }}",
            f"slots6_at {{ {further6} . tcp . 443 : {six} }}",
        )
        assert outside(host.address, 443) == f"td2 {wire.gateway}"
        assert outside(wire.routed, 443) == f"td3 {wire.gateway}"
        own = ["ip", "-6", "-br", "addr", "show", "eth0", "scope", "global"]
        assert eventually(lambda: f"{places.address6(3)}/64" in other.inside(*own).split())  # by the host's own word
        # An address is of use when nobody else was found to have it (RFC 4862), a second later.
        assert eventually(lambda: outside(further6, 443).startswith("td3 2001:db8:"))
        assert outside(host.address, 444) == "ConnectionRefusedError"
        assert host.dropped_frames() == 0

    def test_the_switch_does_drop_others(self, make_metal_host: Callable[..., Host]) -> None:
        host = make_metal_host(filter_macs=True)
        host.run(["ip", "link", "add", "link", "eth0", "name", "mv0", "type", "macvlan", "mode", "private"])
        host.run(["ip", "link", "set", "mv0", "up"])
        assert eventually(lambda: host.dropped_frames() > 0)
