"""The unit of a slot: the platform's machine, in a sandbox, and not one word that somebody else chose."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.engine.policy import mr_config_id
from pluto_deploy.metal import layout, qemu, unit
from pluto_deploy.metal.unit import Limits, quoted
from pluto_image.lint import hardening, unit_files
from pluto_image.tools import ToolsTree
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError
from simulators.metal.profiles import BARE_METAL, EMULATED, profile

IMAGE, TOOLS, CONFIG = "1a" * 32, "2b" * 32, bytes(range(32))
SLOT = layout.Slot("staging", "b", 7)
ROOT = layout.tools(TOOLS)
GIB = 1 << 30


def text(name: str = "bare-metal", **changes: Any) -> str:
    wanted: dict[str, Any] = {
        "platform": profile(name),
        "image_digest": IMAGE,
        "tools_digest": TOOLS,
        "config_digest": CONFIG,
        "tee": "tdx" if name in BARE_METAL else "insecure_none",
        "network": "routed",
    }
    return unit.unit(**{"slot": SLOT, **wanted, **changes})


def settings(rendered: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in rendered.splitlines() if line.startswith(f"{key}=")]


def words(line: str) -> list[str]:
    """A command line as systemd.service(5) and systemd.syntax(7) say that it is read."""
    found, at = [], 0
    while at < len(line):
        if line[at] == " ":
            at += 1
            continue
        word, quote = "", ""
        while at < len(line) and (quote or line[at] != " "):
            mark, at = line[at], at + 1
            if mark == "\\":
                mark, at = line[at], at + 1
                assert mark in '\\"'
                word += mark
            elif quote:
                quote, word = ("", word) if mark == quote else (quote, word + mark)
            elif mark in "\"'" and not word:
                quote = mark
            else:
                assert mark not in "\"'", "a quote in the middle of a word"
                word += mark
        assert word not in (";", ""), "a separator"
        found.append(word.replace("$$", "$").replace("%%", "%"))
    return found


def command(rendered: str) -> list[str]:
    [line] = settings(rendered, "ExecStart")
    return words(line)


@pytest.mark.parametrize("name", [*BARE_METAL, *EMULATED])
def test_the_command_line_is_the_platforms_and_the_tools_trees(name: str) -> None:
    platform = profile(name)
    tdx = platform.kind == "qemu-tdx"
    wiring = qemu.Wiring(
        firmware=layout.image(IMAGE) / "firmware.fd",
        uki=layout.image(IMAGE) / "pluto.efi",
        config=SLOT.config,
        monitor=SLOT.monitor,
        mac=SLOT.mac,
        tpm=None if tdx else SLOT.runtime / "tpm.sock",
    )
    platform = replace(platform, mr_config_id=mr_config_id(CONFIG)) if tdx else platform
    expected = unit.program(ROOT, "usr/bin/qemu-system-x86_64", qemu.arguments(platform, wiring))
    assert command(text(name))[-len(expected) - 1 :] == ["--", *expected]


def test_programs_are_started_as_the_tools_tree_starts_them(tmp_path: Path) -> None:
    for name in ("qemu-system-x86_64", "swtpm"):
        path = tmp_path / "usr/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        theirs = ToolsTree(tmp_path).command(name, "-a", "b")
        assert unit.program(PurePosixPath(tmp_path), f"usr/bin/{name}", ["-a", "b"]) == theirs
    passed_on = ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")
    its = {key: value for key, value in ToolsTree(tmp_path).environment().items() if key not in passed_on}
    assert unit.environment(PurePosixPath(tmp_path)) == its


def test_the_keeper_is_told_what_it_needs() -> None:
    assert command(text())[:11] == [
        "/usr/bin/python3", "-I", "-B", "/usr/local/lib/pluto/keeper.py",
        "--log-limit", "4194304", "--grace", "5", "--tap", "pt7", "--",
    ]  # fmt: skip


def test_an_emulated_machine_has_a_software_tpm_from_the_same_tools() -> None:
    found = command(text("local-uki-kernel"))
    first, second = (number for number, word in enumerate(found) if word == "--")
    assert found[first - 3 : first] == ["--tpm", str(SLOT.folder / "tpm"), str(SLOT.runtime / "tpm")]
    socket = SLOT.runtime / "tpm.sock"
    assert found[first + 1 : second] == unit.program(
        ROOT,
        "usr/bin/swtpm",
        [
            "socket", "--tpm2", "--tpmstate", f"dir={SLOT.runtime / 'tpm'}", "--flags", "startup-clear",
            "--ctrl", f"type=unixio,path={socket}", "--terminate",
        ],
    )  # fmt: skip
    assert f"socket,id=tpm,path={socket}" in found[second:]


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)


@given(st.lists(PRINTABLE, min_size=1, max_size=8))
def test_any_words_are_read_back_as_they_were(given_words: list[str]) -> None:
    assert words(" ".join(map(quoted, given_words))) == given_words


@pytest.mark.parametrize("word", ["a\nExecStart=/bin/sh", "a\0b", "\t", "\x7f", "ä", "\u2028", "a\r"])
def test_a_word_that_could_be_another_line_is_refused(word: str) -> None:
    with pytest.raises(FormatError, match="printable ASCII"):
        quoted(word)


def test_what_means_something_to_systemd_is_taken_for_itself() -> None:
    assert quoted("%n") == "%%n"
    assert quoted("${HOME}") == "$${HOME}"
    assert quoted('{"a":"b\\c"}') == r'"{\"a\":\"b\\c\"}"'
    assert quoted(";") == '";"'
    assert quoted("") == '""'
    assert quoted("a=b,c.d/e:f") == "a=b,c.d/e:f"


SINGLE = ("ExecStartPre", "ExecStopPost", "Environment", "DeviceAllow", "BindPaths", "SystemCallFilter")


@given(st.from_regex(layout._NAME, fullmatch=True).filter(lambda name: len(name) <= 32), st.sampled_from("ab"))
def test_a_unit_has_every_setting_once_and_no_line_of_another_form(name: str, letter: str) -> None:
    for kind in ("bare-metal", "local-uki-kernel"):
        for network in ("routed", "bridge:br0", "macvtap:eno1"):
            rendered = text(kind, slot=layout.Slot(name, letter, 250), network=network)
            lines = [line for line in rendered.splitlines() if line and not line.startswith("#")]
            for line in lines:
                assert re.fullmatch(r"\[(Unit|Service|Install)\]|[A-Z][A-Za-z]+=[ -~]*", line), line
            keys = Counter(line.partition("=")[0] for line in lines if "=" in line)
            assert {key for key, count in keys.items() if count > 1} <= set(SINGLE)
            assert rendered.endswith("\n")
            assert len(lines) == len(set(lines))


@pytest.mark.parametrize("name", ["bare-metal", "local-uki-kernel"])
@pytest.mark.parametrize("network", ["routed", "bridge:br0", "macvtap:eno1"])
def test_little_is_left_open(name: str, network: str) -> None:
    """At most 2.0 of systemd's 10; it is 0.2, and what it consists of is listed here."""
    entry = Entry(
        f"usr/lib/systemd/system/{SLOT.unit}", Kind.FILE, 0o644, text(name, network=network).encode(), "recipe:x"
    )
    found = hardening.score(unit_files.units([entry])[SLOT.unit])
    assert found.tenths <= 4
    assert {cost.check.setting for cost in found.costs} <= {
        "DeviceAllow=",
        "MemoryDenyWriteExecute=",
        "RestrictAddressFamilies=~AF_UNIX",
        "RootDirectory=/RootImage=",
        "SupplementaryGroups=",
    }


def test_a_trust_domain_may_open_kvm_and_ask_for_quotes_and_an_emulated_machine_neither() -> None:
    td, emulated = text(), text("local-uki-kernel")
    assert settings(td, "DeviceAllow") == ["/dev/kvm rw", "/dev/net/tun rw"]
    assert settings(td, "SupplementaryGroups") == ["kvm pluto-qgs"]
    assert settings(td, "MemoryDenyWriteExecute") == ["yes"]
    assert "qgsd.service" in settings(td, "After")[0]
    assert settings(emulated, "DeviceAllow") == ["/dev/net/tun rw"]
    assert settings(emulated, "SupplementaryGroups") == []
    assert settings(emulated, "MemoryDenyWriteExecute") == ["no"]  # emulation writes code
    assert "qgsd" not in emulated


def test_vhost_costs_a_device_that_is_not_there_otherwise() -> None:
    assert "vhost-net" not in text()
    with_it = text(limits=Limits(vhost=True))
    assert "/dev/vhost-net rw" in settings(with_it, "DeviceAllow")
    assert any(word.endswith("vhost=on") for word in command(with_it))


def test_a_routed_tap_is_isolated_before_it_is_up_and_taken_away_at_the_end() -> None:
    rendered = text()
    host = "+nsenter --net=/proc/1/ns/net"
    assert settings(rendered, "ExecStartPre") == [
        f"{host} ip tuntap add dev pt7 mode tap user pluto-td",
        f"{host} ip link set dev pt7 addrgenmode none master pluto0",
        f"{host} ip link set dev pt7 type bridge_slave isolated on learning off",
        f"{host} /usr/sbin/bridge fdb replace 52:54:00:88:00:07 dev pt7 master static",
        f"{host} ip link set dev pt7 up",
    ]
    assert settings(rendered, "ExecStopPost") == [f"-{host} ip link delete dev pt7"]
    assert settings(rendered, "OpenFile") == ["/dev/net/tun:card"]


def test_a_bridge_of_the_hosts_takes_the_tap_and_a_providers_mac() -> None:
    rendered = text(network="bridge:br-lan", mac="02:00:00:12:34:56")
    assert any(line.endswith("master br-lan") for line in settings(rendered, "ExecStartPre"))
    assert "virtio-net-pci,romfile=,netdev=net,mac=02:00:00:12:34:56" in command(rendered)


def test_a_macvtap_is_private_and_its_device_is_found_by_a_link_of_roots() -> None:
    rendered = text(network="macvtap:eno1", mac="02:00:00:12:34:56")
    made = settings(rendered, "ExecStartPre")
    assert made[0].endswith("link add link eno1 name pt7 address 02:00:00:12:34:56 type macvtap mode private")
    assert made[2] == ("+sh -c 'ln -sfn \"/dev/tap$$(cat /sys/class/net/pt7/ifindex)\" /run/pluto-td-staging-b.card'")
    assert settings(rendered, "OpenFile") == ["/run/pluto-td-staging-b.card:card"]
    assert settings(rendered, "DeviceAllow") == ["/dev/kvm rw", "char-macvtap rw"]
    assert "--tap" not in command(rendered)


@pytest.mark.parametrize("name", ["bare-metal", "bare-metal-32"])
@pytest.mark.parametrize("memory", [3 * GIB, 64 * GIB, 512 * GIB])
def test_memory_has_a_limit_with_room_for_what_a_machine_costs(name: str, memory: int) -> None:
    platform = profile(name, memory=memory)
    rendered = text(platform=platform)
    [limit] = settings(rendered, "MemoryMax")
    spare = int(limit) - memory
    tables = 2 * memory // 512 + memory // 256
    assert tables + 100 * (1 << 20) <= spare <= memory // 50 + (1 << 30)
    assert settings(rendered, "MemorySwapMax") == ["0"]
    assert settings(rendered, "TasksMax") == [str(platform.cpus + 128)]


def test_limits_are_as_asked_for() -> None:
    rendered = text(limits=Limits(cpu_quota=350, cpus=(2, 3), log=1 << 20, grace=30))
    assert settings(rendered, "CPUQuota") == ["350%"]
    assert settings(rendered, "AllowedCPUs") == ["2 3"]
    assert settings(rendered, "TimeoutStopSec") == ["45"]
    assert command(rendered)[4:8] == ["--log-limit", "1048576", "--grace", "30"]
    assert not settings(text(), "CPUQuota")
    assert not settings(text(), "AllowedCPUs")


@pytest.mark.parametrize(
    "change", [{"cpu_quota": 0}, {"cpus": (-1,)}, {"log": 1}, {"log": 1 << 31}, {"grace": -1}, {"grace": 86400}]
)
def test_limits_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        Limits(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_digest": "1a"}, "digest"),
        ({"tools_digest": f"{'2b' * 31}\n2"}, "digest"),
        ({"tools_digest": "../../../etc"}, "digest"),
        ({"config_digest": b"short"}, "32"),
        ({"tee": "none"}, "not one of tdx, insecure_none"),
        ({"tee": "insecure_none"}, "qemu-tdx is not a machine with tee insecure_none"),
        ({"network": "bridge:"}, "network"),
        ({"network": "bridge:br0\nUser=root"}, "network"),
        ({"network": "bridge:a-very-long-interface"}, "network"),
        ({"network": "macvtap:-f"}, "network"),
        ({"network": "user"}, "network"),
        ({"mac": "02:00:00:12:34:56 type veth"}, "mac"),
        ({"platform": profile("bare-metal", mr_config_id=bytes(48))}, "MRCONFIGID"),
        ({"platform": profile("bare-metal", devices=("virtio-net-pci,romfile=",))}, "devices"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        text(**change)


def test_mrconfigid_follows_from_the_configuration() -> None:
    stated = profile("bare-metal", mr_config_id=mr_config_id(CONFIG))
    assert text(platform=stated) == text()
    assert text(config_digest=bytes(32)) != text()


def test_a_lease_names_the_slots_own_addresses() -> None:
    lease = unit.lease(SLOT)
    assert settings(lease, "MACAddress") == ["52:54:00:88:00:07"]
    assert settings(lease, "Address") == ["10.88.0.7"]
    assert "[DHCPServerStaticLease]" in lease.splitlines()
