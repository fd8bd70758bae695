"""`host test` and `host check` on a host that `host prepare` made: all passes, and what is undone is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pluto_deploy.metal import layout, unit
from pluto_measure import command
from simulators.intel import world
from simulators.metal import intel, packages, tdx
from simulators.metal.host import Host
from simulators.metal.packages import Archive
from simulators.metal.preparing import prepare, words_of
from simulators.metal.profiles import profile

pytestmark = [pytest.mark.root, pytest.mark.slow]

PCK = world().pck
SECONDS = 60.0
# What a pretended host cannot have, and what nobody has put there yet.
LEFT_OUT = {
    "domains.unit_files",
    "domains.units_are_hardened",
    "folders.tools_are_as_copied",
    "folders.images_are_as_copied",
}
TREE = f"{layout.TOOLS}/{'ab' * 32}"
IMAGE = f"{layout.IMAGES}/{'cd' * 32}"
UNIT = "/etc/systemd/system/pluto-td-web-a.service"
SLOT = "/var/lib/pluto/td/web/a"
QCNL = "/etc/sgx_default_qcnl.conf"
FORWARDING = "/proc/sys/net/ipv4/conf/pluto0/forwarding"
LEARN = "ip link set dev pluto0 type bridge no_linklocal_learn"
RELOAD = "systemctl daemon-reload"
NETWORKD = "systemd-networkd.service"
PROVISION = "/dev/sgx_provision"
STRAY = "/var/lib/pluto/td/x"
SOFT = f"printf '[Service]\\nExecStart=/bin/true\\n' >{UNIT}"
ALTERED = f"mkdir {TREE}; cd {TREE}; echo x >x; sha256sum x >SHA256SUMS; echo y >x"
SOCKET = "/run/pluto/web-a/qmp.sock"
BIND = "import os, socket, sys; os.makedirs(os.path.dirname(sys.argv[1]), 0o755); socket.socket(1).bind(sys.argv[1])"


@pytest.fixture(scope="module")
def archive(shared_metal_host: Host) -> Iterator[Archive]:
    with packages.serving(shared_metal_host.wire.gateway, intel.packages()) as found:
        yield found


@pytest.fixture(scope="module")
def host(shared_metal_host: Host, archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A prepared host whose machine is registered."""
    prepare(shared_metal_host, *words_of(archive, tmp_path_factory.mktemp("operator")))
    shared_metal_host.put("/opt/intel/sgx-dcap-pccs/pckcert.pem", PCK.chain_pem.encode())
    return shared_metal_host


def called(host: Host, action: str, capsys: pytest.CaptureFixture[str], user: str = "root") -> tuple[int, Any]:
    """The command with --json: exit code and document."""
    from pluto_deploy.commands import host as host_command

    top = command.parser("pluto-deploy", "")
    host_command.add(top.add_subparsers(required=True))
    login = [f"{user}@{host.address}", "--key", str(host.key), "--known-hosts", str(host.known_hosts)]
    capsys.readouterr()
    code = command.run(top, ["host", action, *login, "--json"])
    return code, json.loads(capsys.readouterr().out)


def outcomes(document: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["outcome"] for one in document["checks"]}


def not_passed(document: dict[str, Any]) -> dict[str, str | None]:
    return {one["id"]: one["message"] for one in document["checks"] if one["outcome"] in ("failed", "error")}


@pytest.mark.parametrize("user", ["root", "operator"])
def test_a_prepared_host_passes(host: Host, capsys: pytest.CaptureFixture[str], user: str) -> None:
    begun = time.monotonic()
    code, document = called(host, "test", capsys, user)
    assert time.monotonic() - begun < SECONDS
    assert not_passed(document) == {}
    assert (code, document["passed"]) == (0, True)
    assert {name for name, outcome in outcomes(document).items() if outcome == "skipped"} == LEFT_OUT


@pytest.mark.parametrize("user", ["root", "operator"])
def test_a_prepared_host_is_ready(host: Host, capsys: pytest.CaptureFixture[str], user: str) -> None:
    registers = {**(host.tdx.registers if host.tdx and host.tdx.registers else {}), tdx.SEAMRR: 0b11 << 10}
    host.pretend(replace(host.tdx or tdx.Tdx(), registers={**registers, tdx.TME_ACTIVATE: 1 << 48 | 0b11}))
    host.run(["chgrp", "sgx_prv", "/dev/sgx_provision"])
    host.run(["chgrp", "kvm", "/dev/kvm", "/dev/vhost-net"])
    code, document = called(host, "check", capsys, user)
    found = {one["id"]: one for one in document["findings"]}
    assert {name for name, one in found.items() if one["verdict"] == "fail"} == set()
    assert (code, document["readiness"]) == (0, "ready")
    assert found["quotes.answer"]["text"].endswith(f"(platform {bytes(range(16)).hex()})")
    assert found["registration.certificate"]["actual"] == PCK.machine.ppid.hex()
    warned = {name for name, one in found.items() if one["verdict"] == "warning"}
    assert warned <= {"memory.modules", "disk.free"}


PCCS = "/opt/intel/sgx-dcap-pccs/config/default.json"
OUT, BACK = f"sed -i s/127.0.0.1/0.0.0.0/ {PCCS}", f"sed -i s/0.0.0.0/127.0.0.1/ {PCCS}"
ANEW = "systemctl restart pccs; sleep 1"
# What is undone at once, and mended: which checks tell of it, and how.
UNDONE: list[list[tuple[str, str, str]]] = [
    [
        ("accounts.user", "usermod -s /bin/bash pluto-td", "usermod -s /usr/sbin/nologin pluto-td"),
        ("accounts.password", "usermod -p x pluto-td", "usermod -p '!' pluto-td"),
        ("accounts.quotes_are_for_few", "gpasswd -a operator pluto-qgs", "gpasswd -d operator pluto-qgs"),
        ("kernel.device[/dev/kvm, kvm]", "chmod 0666 /dev/kvm", "chmod 0660 /dev/kvm"),
        ("kernel.held[tdx-qgs]", "apt-mark unhold tdx-qgs", "apt-mark hold tdx-qgs"),
        ("quotes.service", "systemctl disable qgsd", "systemctl enable qgsd"),
        ("quotes.no_port", "echo 'port = 4050' >>/etc/qgs.conf", "sed -i /^port/d /etc/qgs.conf"),
        ("quotes.folder", "chmod 0711 /run/tdx-qgs", "chmod 0710 /run/tdx-qgs"),
        ("quotes.socket_is_closed", "chmod 0666 /run/tdx-qgs/qgs.socket", "chmod 0660 /run/tdx-qgs/qgs.socket"),
        ("quotes.certificates_are_configured", f"chmod 0666 {QCNL}", f"chmod 0644 {QCNL}"),
        ("quotes.registration", "systemctl disable mpa_registration_tool", "systemctl enable mpa_registration_tool"),
        ("quotes.pccs_is_local", f"{OUT}; {ANEW}", f"{BACK}; {ANEW}"),
        ("network.rules_are_in_force", "systemctl disable pluto-traffic", "systemctl enable pluto-traffic"),
        (f"network.service[{NETWORKD}]", f"systemctl disable {NETWORKD}", f"systemctl enable {NETWORKD}"),
        ("network.bridge", "ip address del 10.88.0.1/24 dev pluto0", "ip address add 10.88.0.1/24 dev pluto0"),
        ("network.forwarding", f"echo 0 >{FORWARDING}", f"echo 1 >{FORWARDING}"),
        ("network.nothing_passes_unasked", "nft add rule inet pluto to_host accept", "systemctl reload pluto-traffic"),
        ("network.rules_are_roots", "chmod 0666 /etc/pluto/base.nft", "chmod 0644 /etc/pluto/base.nft"),
        ("folders.folder[/run/lock/pluto]", "chown nobody /run/lock/pluto", "chown root /run/lock/pluto"),
        ("folders.locks", ":", ":"),
        ("folders.traffic", "chmod 0775 /etc/pluto/traffic", "chmod 0755 /etc/pluto/traffic"),
        ("folders.nothing_is_open", f"touch {STRAY}; chmod 0666 {STRAY}", f"rm {STRAY}"),
        ("folders.measured_files_are_roots", f"mkdir -p {IMAGE}; chown pluto-td {IMAGE}", f"rm -r {IMAGE}"),
        ("folders.images_are_as_copied", f"mkdir -p {IMAGE}; echo x >{IMAGE}/release.json", f"rm -rf {IMAGE}"),
        ("folders.tools_are_as_copied", f"mkdir {TREE}; echo x >{TREE}/x; : >{TREE}/SHA256SUMS", f"rm -r {TREE}"),
        ("folders.prepared", "chmod 0666 /etc/pluto/host.json", "chmod 0644 /etc/pluto/host.json"),
        ("domains.units_are_hardened", f"{SOFT}; {RELOAD}", f"rm {UNIT}; {RELOAD}"),
        ("domains.sockets", f'python3 -c "{BIND}" {SOCKET}', "rm -r /run/pluto/web-a"),
        ("domains.slots", f"mkdir -p {SLOT}; touch {SLOT}/config.disk", f"rm -r {SLOT}"),
    ],
    [
        ("accounts.quotes_are_for_few", "usermod -a -G pluto-qgs nobody", "gpasswd -d nobody pluto-qgs"),
        ("kernel.pccs_is_held", "apt-mark unhold sgx-dcap-pccs", "apt-mark hold sgx-dcap-pccs"),
        (f"kernel.device[{PROVISION}, sgx_prv]", f"chgrp root {PROVISION}", f"chgrp sgx_prv {PROVISION}"),
        ("quotes.folder", "chmod 0700 /run/tdx-qgs", "chmod 0710 /run/tdx-qgs"),
        ("quotes.socket_is_reached", ":", ":"),
        ("quotes.pccs", "systemctl stop pccs", f"systemctl start pccs; {ANEW}"),
        ("quotes.pccs_is_local", ":", ":"),
        ("quotes.secret", f"chmod 0644 {PCCS}", f"chmod 0640 {PCCS}"),
        ("network.nothing_passes_unasked", "nft flush chain inet pluto forward", "systemctl reload pluto-traffic"),
        ("folders.locks", "chmod 0755 /run/lock/pluto", "chmod 0700 /run/lock/pluto"),
        ("network.senders", f"{LEARN} 0", f"{LEARN} 1"),
        ("folders.folder[/opt/pluto/tools]", "chmod 0777 /opt/pluto/tools", "chmod 0755 /opt/pluto/tools"),
        ("folders.nothing_is_open", ":", ":"),
        ("folders.measured_files_are_roots", ":", ":"),
        ("folders.tools_are_as_copied", ALTERED, f"rm -r {TREE}"),
        ("domains.units_are_hardened", f"{SOFT}; chmod 0664 {UNIT}", f"rm {UNIT}; {RELOAD}"),
        ("domains.unit_files", ":", ":"),
    ],
]  # fmt: skip


@pytest.mark.parametrize("undone", UNDONE, ids=["once", "again"])
def test_what_is_undone_is_told_and_nothing_else(
    host: Host, capsys: pytest.CaptureFixture[str], undone: list[tuple[str, str, str]]
) -> None:
    try:
        for _, undo, _ in undone:
            host.run(["sh", "-ec", undo])
        code, document = called(host, "test", capsys)
    finally:
        for _, _, mend in undone:
            host.run(["sh", "-c", mend])
    assert (code, document["passed"]) == (5, False)
    told = not_passed(document)
    assert told.keys() == {check for check, *_ in undone}
    assert "error" not in outcomes(document).values()
    assert all(told.values())
    assert called(host, "test", capsys)[0] == 0


@pytest.mark.parametrize("tee", ["tdx", "insecure_none"])
def test_a_slot_as_apply_makes_it_passes(host: Host, capsys: pytest.CaptureFixture[str], tee: str) -> None:
    """The unit of a slot, its tools, its image and its files: nothing is left out, and nothing fails."""
    slot = layout.Slot("web", "a", 2)
    text = unit.unit(
        slot,
        profile("bare-metal" if tee == "tdx" else "local-uki-kernel"),
        image_digest="cd" * 32,
        tools_digest="ab" * 32,
        config_digest=bytes(32),
        tee=tee,
        network="routed",
    )
    made = (
        f"install -d {TREE} {IMAGE} {SLOT}; cd {TREE}; echo x >x; sha256sum x >SHA256SUMS;"
        f"echo 1 >{IMAGE}/release.json;"
        f"echo {{}} >{SLOT}/slot.json; : >{SLOT}/config.disk; chmod 0444 {SLOT}/*; install -d -m 0700 /run/pluto/web-a;"
        f"mv {IMAGE} {layout.IMAGES}/$(sha256sum {IMAGE}/release.json | cut -c-64); {RELOAD}"
    )
    host.put(UNIT, text.encode())
    try:
        host.run(["sh", "-ec", made])
        code, document = called(host, "test", capsys)
    finally:
        host.run(["sh", "-c", f"rm -r {UNIT} {TREE} {layout.IMAGES}/* {SLOT} /run/pluto/web-a; {RELOAD}"])
    assert not_passed(document) == {}
    assert (code, set(outcomes(document).values())) == (0, {"passed"})


def test_every_check_can_fail(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """All but those whose fault a host in namespaces cannot have, or that would cut the connection."""
    _, document = called(host, "test", capsys)
    bare = {name.partition("[")[0] for name in outcomes(document)}
    undone = {check.partition("[")[0] for once in UNDONE for check, *_ in once}
    assert bare - undone == {"accounts.groups", "accounts.no_privilege", "kernel.parameter", "quotes.no_vsock"}


def test_a_host_that_is_lost_on_the_way_is_no_finding(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    timer = threading.Timer(2.0, host.cut_network)
    timer.start()
    try:
        code, document = called(host, "test", capsys)
    finally:
        timer.join()
        host.restore_network()
    assert code == 6
    assert document["error"]["kind"] == "SourceError"
