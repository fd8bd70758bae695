"""The score of a service is that of systemd-analyze, row by row, for the same unit and drop-ins."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pluto_image import unpacked
from pluto_image.debian import deb
from pluto_image.inputs.store import Store, default_root
from pluto_image.lint import hardening, sandbox, system_calls, unit_files
from pluto_image.lock.lockfile import Lock
from pluto_image.tree import Entry, Kind

ROOT = Path(__file__).resolve().parents[3]
FOLDER = "usr/lib/systemd/system"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
# What systemd-analyze and its libraries lie in, all of them locked for the image.
PACKAGES = (
    "systemd", "libsystemd-shared", "libc6", "libseccomp2", "libpam0g", "libmount1", "libcap2", "libcrypt1", "libacl1",
    "libselinux1", "libaudit1", "libcap-ng0", "libpcre2-8-0", "libblkid1", "libkmod2", "libssl3t64", "libapparmor1",
    "zlib1g", "libzstd1", "liblzma5", "libgcc-s1", "udev",
)  # fmt: skip
# Rows that the tool names in short.
SHORT = {
    "SET(UID|GID|PCAP)": "SETUID SETGID SETPCAP",
    "AUDIT_*": "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE",
    "SYS_(NICE|RESOURCE)": "SYS_NICE SYS_RESOURCE",
    "(CHOWN|FSETID|SETFCAP)": "CHOWN FSETID SETFCAP",
    "(DAC_*|FOWNER|IPC_OWNER)": "DAC_OVERRIDE DAC_READ_SEARCH FOWNER IPC_OWNER",
    "NET_(BIND_SERVICE|BROADCAST|RAW)": "NET_BIND_SERVICE NET_BROADCAST NET_RAW",
    "MAC_*": "MAC_ADMIN MAC_OVERRIDE",
    "(INET|INET6)": "INET INET6",
    "…": "(others)",
}
GOOD = (
    "User=someone", "PrivateNetwork=yes", "PrivateDevices=yes", "PrivateTmp=yes", "ProtectSystem=strict",
    "ProtectHome=tmpfs", "ProtectHome=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=",
    "RestrictAddressFamilies=none", "RestrictAddressFamilies=AF_UNIX", "RestrictNamespaces=yes",
    "RestrictNamespaces=~user", "SystemCallFilter=@system-service", "SystemCallArchitectures=native",
    "ProtectProc=invisible", "UMask=0077", "IPAddressDeny=any", "DevicePolicy=closed", "RemoveIPC=yes",
    "ProtectClock=yes", "MemoryDenyWriteExecute=yes",
)  # fmt: skip


def entry(path: str, text: str) -> Entry:
    return Entry(path, Kind.FILE, 0o644, text.encode(), "package:x")


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.SYMLINK, 0o777, target.encode(), "package:x")


def unit(*lines: str, early: bool = False) -> unit_files.Unit:
    head = "[Unit]\nDefaultDependencies=no\n" if early else ""
    text = "\n".join([f"{head}[Service]", "ExecStart=/bin/x", *lines])
    return unit_files.units([entry(f"{FOLDER}/x.service", text)])["x.service"]


def text_of(*lines: str, early: bool = False) -> str:
    return hardening.score(unit(*lines, early=early)).text


def test_a_service_that_says_nothing_is_as_exposed_as_everybody_knows() -> None:
    score = hardening.score(unit())
    assert (score.text, score.level) == ("9.6", "unsafe")
    assert hardening.score(unit(early=True)).applying == score.applying - 4
    assert text_of(*GOOD) < "2.9"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(GOOD), max_size=8, unique_by=lambda line: line.partition("=")[0]), st.booleans())
def test_no_hardening_setting_raises_a_score(lines: list[str], early: bool) -> None:
    before = hardening.score(unit(*lines[:-1], early=early))
    after = hardening.score(unit(*lines, early=early))
    assert after.tenths <= before.tenths
    assert 0 <= after.tenths <= 100
    assert sum(cost.tenths for cost in after.costs) >= after.tenths, "costs are rounded up, so they do not fall short"
    assert [c.check.weight * c.badness / c.check.range for c in after.costs] == sorted(
        (c.check.weight * c.badness / c.check.range for c in after.costs), reverse=True
    )


@pytest.mark.parametrize(
    ("lines", "name", "rest"),
    [
        (("PrivateNetwork=yes", "PrivateNetwork=no"), "PrivateNetwork=", True),
        (("PrivateNetwork=no", "PrivateNetwork=maybe", "PrivateNetwork=ON"), "PrivateNetwork=", False),
        (("ProtectSystem=strict",), "PrivateMounts=", False),
        (("ProtectSystem=strict", "PrivateMounts=no"), "PrivateMounts=", True),
        (("DynamicUser=yes",), "ProtectSystem=", False),
        (("SupplementaryGroups=a", "SupplementaryGroups="), "SupplementaryGroups=", False),
        (("CapabilityBoundingSet=CAP_BPF", "CapabilityBoundingSet=~CAP_BPF"), "CapabilityBoundingSet=~CAP_BPF", False),
        (("SystemCallFilter=~@reboot", "SystemCallFilter=reboot"), "SystemCallFilter=~@reboot", True),
        (("SystemCallFilter=@system-service", "SystemCallFilter=~@chown"), "SystemCallFilter=~@privileged", True),
        (("ProtectKernelModules=yes",), "CapabilityBoundingSet=~CAP_SYS_MODULE", False),
        (("Type=notify",), "NotifyAccess=", False),
        (("NotifyAccess=all",), "NotifyAccess=", True),
        (("User=0",), "User=/DynamicUser=", True),
    ],
)  # fmt: skip
def test_settings_add_up_as_in_systemd(lines: Sequence[str], name: str, rest: bool) -> None:
    assert (name in {cost.check.setting for cost in hardening.score(unit(*lines)).costs}) == rest


def test_a_unit_is_its_file_and_then_its_drop_ins_by_name() -> None:
    entries = [
        entry(f"{FOLDER}/a-b@.service", "[Service]\nUser=first\nGroup=stays\nUser \\\n # between\n=second\n"),
        entry(f"{FOLDER}/a-b@.service.d/50-x.conf", "[Service]\nUser=far\nTasksMax=1\n"),
        entry("etc/systemd/system/a-b@.service.d/50-x.conf", "[Service]\nUser=near\n"),
        entry(f"{FOLDER}/a-.service.d/10-p.conf", "[Service]\nNice=1\n[Unit]\nUser=nobody\nDescription=D\n"),
        entry(f"{FOLDER}/service.d/90-all.conf", "[Service]\nNice=2\nbroken\n; User=x\n"),
        entry(f"{FOLDER}/service.d/90-all.txt", "[Service]\nNice=3\n"),
        entry(f"{FOLDER}/other.service", "[Service]\nExecStart=/bin/o\n"),
        entry("etc/systemd/system/other.service", "[Service]\nExecStart=/bin/near\n"),
        link("etc/systemd/system/alias.service", "/usr/lib/systemd/system/other.service"),
        link("etc/systemd/system/masked.service", "/dev/null"),
        entry(f"{FOLDER}/masked.service", "[Service]\nExecStart=/bin/m\n"),
    ]
    found = unit_files.units(entries)
    assert list(found) == ["a-b@.service", "other.service"]
    template = found["a-b@.service"]
    assert [path.rsplit("/", 2)[-2:] for path in template.drop_ins] == [
        ["a-.service.d", "10-p.conf"], ["a-b@.service.d", "50-x.conf"], ["service.d", "90-all.conf"],
    ]  # fmt: skip
    assert template.all("Service", "User") == ["first", "second", "near"]
    assert (template.last("Service", "Nice"), template.last("Service", "TasksMax")) == ("2", "")
    assert template.last("Unit", "Description") == "D"
    assert found["other.service"].last("Service", "ExecStart") == "/bin/near"
    assert unit_files.masked(entries) == ["masked.service"]


def test_what_runs_nothing_has_no_score_to_show() -> None:
    socket = unit_files.units([entry(f"{FOLDER}/x.socket", "[Socket]\nExecStartPre=/bin/x\n")])["x.socket"]
    assert not hardening.starts_program(socket)
    assert hardening.starts_program(unit())
    assert not hardening.starts_program(unit_files.units([entry(f"{FOLDER}/x.service", "[Unit]\n")])["x.service"])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["x.service", "x.socket", "a@b.service"]))
def test_any_bytes_are_a_unit_with_a_score(data: bytes, name: str) -> None:
    for found in unit_files.units([Entry(f"{FOLDER}/{name}", Kind.FILE, 0o644, b"[Service]\n" + data, "")]).values():
        assert 0 <= hardening.score(found).tenths <= 100
        assert isinstance(sandbox.sandbox(found).umask, int)


Analyze = Callable[..., str]


@pytest.fixture(scope="module")
def analyze(tmp_path_factory: pytest.TempPathFactory) -> Analyze:
    """systemd-analyze of the systemd that the image has, from the locked packages."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("no peer: Linux on x86-64")
    lock, store = Lock.parse((ROOT / "image/notary/lock.json").read_bytes()), Store(default_root())
    if not all(store.has(lock.package(name).sha256) for name in PACKAGES):
        pytest.skip("no peer: systemd-analyze of the image, whose packages are not in the store")
    folder = tmp_path_factory.mktemp("systemd")
    for name in PACKAGES:
        unpacked.lay(folder, _members(store, lock, name, _program))
    places = f"{folder / LIBRARIES}:{folder / LIBRARIES / 'systemd'}"
    words = [str(folder / LIBRARIES / "ld-linux-x86-64.so.2"), "--library-path", places, str(folder / _TOOL)]
    return lambda *more: subprocess.run([*words, *more], capture_output=True, text=True, timeout=60, check=False).stdout


_TOOL = "usr/bin/systemd-analyze"


def _program(path: str) -> bool:
    return path == _TOOL or (path.startswith("usr/lib/x86_64") and ".so" in path)


def _members(store: Store, lock: Lock, name: str, wanted: Callable[[str], bool]) -> list[Entry]:
    data = store.get(lock.package(name).sha256)
    assert data is not None
    members = [one for one in deb.read(data, want=wanted).members if wanted(one.path)]
    return [Entry(m.path, m.kind, m.mode, m.data or m.link.encode(), f"package:{name}") for m in members]


def differences(analyze: Analyze, root: Path, entries: Sequence[Entry], name: str) -> list[tuple[str, str | None, str]]:
    """(row, the tool's exposure, ours) where they differ, the total too. Systemd 257 takes a PrivateMounts= that is
    neither set nor implied for a yes (a three-valued number read as a boolean); we do not, and the total follows."""
    score = hardening.score(unit_files.units(entries)[name])
    ours = {cost.check.setting: cost.text for cost in score.costs}
    words = ("security", "--offline=true", f"--root={root}", "--no-pager")
    rows = {_row(row["name"]): row["exposure"] for row in json.loads(analyze(*words, "--json=short", name))}
    assert set(rows) == {check.setting for check in hardening.CHECKS}
    found = [(row, exposure, ours.get(row, "")) for row, exposure in rows.items() if ours.get(row) != exposure]
    if found == [("PrivateMounts=", None, "0.2")]:
        return []
    total = re.search(r"exposure level for \S+ ([0-9.]+) ([A-Z]+)", analyze(*words, name))
    assert total is not None
    if (total[1], total[2].lower()) != (score.text, score.level):
        found.append(("total", total[1], score.text))
    return found


def _row(name: str) -> str:
    """A row's name with everything that it stands for."""
    head, tilde, rest = name.partition("=~")
    for prefix in ("CAP_", "AF_", ""):
        if rest.startswith(prefix) and (short := rest.removeprefix(prefix)):
            return f"{head}=~{' '.join(prefix + word for word in SHORT.get(short, short).split(' '))}"
    return head + tilde + rest


@pytest.mark.slow
@pytest.mark.interop
def test_debians_own_units_have_the_scores_that_systemd_gives_them(analyze: Analyze, tmp_path: Path) -> None:
    lock, store = Lock.parse((ROOT / "image/notary/lock.json").read_bytes()), Store(default_root())
    entries = [
        one for name in ("systemd", "udev") for one in _members(store, lock, name, lambda p: p.startswith(FOLDER))
    ]
    own = ROOT / "image/notary/rootfs"
    entries += [
        entry(path.relative_to(own).as_posix(), path.read_text()) for path in sorted(own.rglob("*")) if path.is_file()
    ]
    unpacked.lay(tmp_path, entries)
    services = [name for name, one in unit_files.units(entries).items() if one.kind == "service" and "@" not in name]
    assert len(services) > 40
    assert "pluto-notary.service" in services
    assert {name: found for name in services if (found := differences(analyze, tmp_path, entries, name))} == {}


SWITCHES = st.sampled_from(["yes", "no", "TRUE", "0", "maybe", ""])
VALUES: dict[str, st.SearchStrategy[str]] = {
    **dict.fromkeys(
        (
            "LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "PrivateDevices", "PrivateIPC",
            "PrivateMounts", "PrivateNetwork", "PrivatePIDs", "ProtectClock", "ProtectHostname", "ProtectKernelLogs",
            "ProtectKernelModules", "ProtectKernelTunables", "RemoveIPC", "RestrictRealtime", "RestrictSUIDSGID",
        ),
        SWITCHES,
    ),
    **{
        name: st.sampled_from(words.split("|"))
        for name, words in {
            "DynamicUser": "yes|no", "PrivateTmp": "yes|no|disconnected|x", "PrivateUsers": "yes|self|identity|full|no",
            "ProtectControlGroups": "yes|private|strict|no|x", "ProtectHome": "yes|no|tmpfs|read-only|x|",
            "ProtectSystem": "yes|no|full|strict|x|", "KeyringMode": "private|shared|inherit|x",
            "ProcSubset": "all|pid|x",
            "ProtectProc": "noaccess|invisible|ptraceable|default|x", "DevicePolicy": "auto|closed|strict|x",
            "NotifyAccess": "none|main|exec|all|x", "Type": "notify|simple|exec|oneshot|notify-reload",
            "WatchdogSec": "0|3|1min", "User": "root|0|nobody|someone|1000|", "SupplementaryGroups": "|a b|adm",
            "UMask": "0077|022|0027|0|7777|0026|x|077777|00000077", "Delegate": "yes|no||pids|cpu io",
            "RootDirectory": "/|/x|", "RootImage": "/x|", "ReadOnlyPaths": "|/x", "TemporaryFileSystem": "|/x",
            "RestrictNamespaces": "yes|no||user|~user|mnt ipc|~pid net|user bogus|~|uts cgroup|bogus",
            "RestrictAddressFamilies": "none||AF_UNIX|~AF_UNIX|AF_INET AF_INET6|~AF_INET|AF_PACKET AF_VSOCK|~AF_CAN",
            "SystemCallArchitectures": "native|x86|x86-64 native||bogus|native bogus",
            "SystemCallFilter": "@system-service|~@privileged @resources||@known|~@mount|@default|@basic-io bpf|"
            "~ptrace|@clock reboot:EPERM|~@clock:EPERM|swapon swapoff|~@swap|@obsolete|bogus|@bogus|~keyctl|chroot|"
            "@setuid @chown|~@debug @cpu-emulation|@system-service @mount @module|nfsservctl|~@known|~@raw-io:kill|"
            "~init_module:12345",
            "IPAddressDeny": "any||0.0.0.0/0|::/0|10.0.0.0/8|bogus|any 1.2.3.4",
            "IPIngressFilterPath": "|/sys/fs/bpf/x",
            "IPAddressAllow": "localhost|any||127.0.0.1|127.1.2.3/16|10.0.0.1|::1|link-local|bogus|multicast",
            "DeviceAllow": "|/dev/kmsg w|char-rtc r|bogus|/dev/null",
            "AmbientCapabilities": "|CAP_KILL|~|~CAP_KILL|bogus",
            "CapabilityBoundingSet": "|CAP_KILL|~CAP_KILL|~|CAP_SYS_ADMIN CAP_SETUID|~CAP_NET_RAW|bogus|cap_bpf|~bogus",
        }.items()
    },
}  # fmt: skip
LINES = st.sampled_from(sorted(VALUES)).flatmap(lambda name: VALUES[name].map(lambda value: f"{name}={value}"))


@pytest.mark.slow
@pytest.mark.interop
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=40), st.lists(LINES, max_size=5), st.booleans())
def test_units_of_any_settings_have_the_scores_that_systemd_gives_them(
    analyze: Analyze, tmp_path: Path, lines: list[str], more: list[str], early: bool
) -> None:
    head = "[Unit]\nDefaultDependencies=no\n" if early else "[Unit]\n"
    entries = [
        entry(f"{FOLDER}/x.service", "\n".join([f"{head}[Service]", "ExecStart=/bin/x", *lines, ""])),
        entry(f"{FOLDER}/x.service.d/a.conf", "\n".join(["[Service]", *more, ""])),
    ]
    shutil.rmtree(tmp_path / "root", ignore_errors=True)
    unpacked.lay(tmp_path / "root", entries)
    assert differences(analyze, tmp_path / "root", entries, "x.service") == []


@pytest.mark.slow
@pytest.mark.interop
def test_groups_of_system_calls_are_those_of_systemd(analyze: Analyze) -> None:
    text = analyze("syscall-filter", "--no-pager")
    groups = {
        name: set(calls.split()) for name, calls in re.findall(r"^(@[a-z-]+)\n    # .*\n((?:    .+\n)+)", text, re.M)
    }

    def calls(name: str) -> set[str]:
        return {inner for call in groups[name] for inner in (calls(call) if call.startswith("@") else {call})}

    assert set(groups) == set(system_calls.GROUPS)
    every = set().union(*(calls(name) for name in system_calls.SCORED))
    scored = {name: calls(name) & every for name in groups}
    for name, ours in system_calls.GROUPS.items():
        assert ours <= scored[name], name
        foreign = scored[name] - ours  # calls of other machines, which x86-64 does not have
        assert not foreign & system_calls.GROUPS["@known"], name


@pytest.mark.interop
def test_the_order_is_that_of_any_systemd_analyze(tmp_path: Path) -> None:
    """Whatever version the machine has: its rows and weights differ in little."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no peer: systemd-analyze")
    steps = [(), GOOD[:2], GOOD[:6], GOOD[:12], GOOD]
    ours, theirs = [], []
    for count, lines in enumerate(steps):
        text = "\n".join(["[Service]", "ExecStart=/bin/x", *lines, ""])
        one = [entry(f"{FOLDER}/x{count}.service", text)]
        unpacked.lay(tmp_path, one)
        ours.append(hardening.score(unit_files.units(one)[f"x{count}.service"]).tenths / 10)
        words = [tool, "security", "--offline=true", f"--root={tmp_path}", "--no-pager", f"x{count}.service"]
        said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout
        if (found := re.search(r"exposure level for \S+ ([0-9.]+)", said)) is None:
            pytest.skip("no peer: systemd-analyze that reads unit files")
        theirs.append(float(found[1]))
    assert ours == sorted(ours, reverse=True)
    assert theirs == sorted(theirs, reverse=True)
    assert ours == pytest.approx(theirs, abs=0.4)
