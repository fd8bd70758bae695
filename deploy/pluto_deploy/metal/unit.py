"""The systemd unit of a slot, and what else the host must know to run it. Pure.

One unit is one machine: the keeper (`keeper.py`) and QEMU below it. How it behaves, and why:

- Restart: a trust domain that resets itself ends, so the unit starts it again, whatever its exit code; after
  `systemctl stop` it stays stopped. The pause grows from 2 to 30 seconds, and there is no limit of tries: whoever can
  make a guest crash could otherwise keep it away for ever.
- Watchdog: systemd's own, fed by the keeper while QEMU answers that the machine runs. A guest that hangs inside a
  running machine is for those to notice who ask it for evidence: `pluto-deploy watch`.
- Serial line: to the slot's `serial.log`, opened by systemd and bounded by the keeper, so that QEMU can write no file.
- Memory: see `overhead`.
- Network: the card is made before the start by root, opened by systemd, and handed over. QEMU itself is in an empty
  network namespace. On a bridge the port is isolated: trust domains reach the host's side and never each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath
from typing import Final

import jinja2

from pluto_deploy.engine.policy import mr_config_id
from pluto_deploy.metal import layout, qemu
from pluto_deploy.metal.qemu import INSECURE_NONE, KINDS, TDX, Wiring
from pluto_measure.errors import FormatError
from pluto_measure.machine.platform import Platform

KEEPER: Final = PurePosixPath("/usr/local/lib/pluto/keeper.py")
ROUTED: Final = "routed"
TPM_STATE: Final = "tpm"  # in the slot's folder: a software TPM as it is before its first start
_CONFIG_DIGEST: Final = 32  # bytes

_PYTHON: Final = ("/usr/bin/python3", "-I", "-B")
_NETWORK: Final = re.compile(r"(bridge|macvtap):([a-zA-Z0-9][a-zA-Z0-9_.-]{0,14})")
# Commands that are run with all privileges are still in the unit's network namespace.
_HOST_NETWORK: Final = "nsenter --net=/proc/1/ns/net"
_MIB: Final = 1 << 20
_MORE_TASKS: Final = 128  # threads beside the vCPUs': QEMU has up to 64 for its disks, and a few of its own
_ENDING: Final = 15  # seconds from the end of the grace to the end of patience

# How programs of a tools tree are started: as `pluto_image.tools.ToolsTree` does, but on the host.
_LOADER: Final = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
_LIBRARIES: Final = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/swtpm")
_QEMU_DATA: Final = ("usr/share/qemu", "usr/share/seabios", "usr/share/ovmf")
_QEMU: Final = "usr/bin/qemu-system-x86_64"
_SWTPM: Final = "usr/bin/swtpm"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a machine may use of its host, beside its memory.

    cpu_quota  percent of one CPU's time, so that 400 is four CPUs; None: no limit
    cpus       the host's CPUs that it may run on; empty: all
    log        bytes of serial.log
    grace      seconds between asking a machine to end and ending it
    vhost      whether the host's kernel moves the packets
    """

    cpu_quota: int | None = None
    cpus: tuple[int, ...] = ()
    log: int = 4 * _MIB
    grace: int = 5
    vhost: bool = False

    def __post_init__(self) -> None:
        if self.cpu_quota is not None and not 1 <= self.cpu_quota <= 1_000_000:
            raise FormatError("limits", f"a CPU quota of {self.cpu_quota} %")
        if any(not 0 <= cpu < 8192 for cpu in self.cpus):
            raise FormatError("limits", f"CPUs {self.cpus} are not numbers from 0 to 8191")
        if not 64 << 10 <= self.log <= 1 << 30 or not 0 <= self.grace <= 3600:
            raise FormatError("limits", "a log has 64 KiB to 1 GiB, a grace 0 to 3600 seconds")


def unit(
    slot: layout.Slot,
    platform: Platform,
    *,
    image_digest: str,
    tools_digest: str,
    config_digest: bytes,
    tee: str,
    network: str,
    mac: str | None = None,
    limits: Limits | None = None,
) -> str:
    """The unit file of a slot. Digests: of release.json and of the tools in hex, of the configuration as 32 bytes.

    `tee`: "tdx" or "insecure_none"; `network`: "routed", "bridge:INTERFACE" or "macvtap:INTERFACE"; `mac`: other than
    the lease's own, where a provider gave one. FormatError.
    """
    limits, tdx = limits or Limits(), tee == TDX
    platform = _for_tee(platform, tee, config_digest)
    mode, interface = _mode(network)
    tools = layout.tools(tools_digest)
    wiring = _wiring(slot, layout.image(image_digest), mac or slot.mac, vhost=limits.vhost, tpm=not tdx)
    machine = program(tools, _QEMU, qemu.arguments(platform, wiring))
    start = [*_keeper(slot, limits, mode, tpm=not tdx), "--", *(() if tdx else (*_tpm(slot, tools), "--")), *machine]
    before, after = _cards(slot, mode, interface, wiring.mac)
    return _template("unit.service.j2").render(
        slot=slot,
        tdx=tdx,
        mode=mode,
        before=before,
        start=" ".join(map(quoted, start)),
        after=after,
        environment=environment(tools),
        card=_card_path(slot) if mode == "macvtap" else "/dev/net/tun",
        stop_seconds=limits.grace + _ENDING,
        memory_max=platform.memory + overhead(platform),
        tasks_max=platform.cpus + _MORE_TASKS,
        limits=limits,
        layout=layout,
        tpm_state=slot.folder / TPM_STATE,
    )


def lease(slot: layout.Slot) -> str:
    """A drop-in for the bridge's network file, systemd.network(5): which address this slot's MAC address is given."""
    return _template("unit-lease.conf.j2").render(slot=slot)


def overhead(platform: Platform) -> int:
    """Bytes that a machine needs beside its own memory: `MemoryMax` is both.

    - 1/64 of the memory: page tables of KVM and, once more, of the TDX module (1/512 each, for pages of 4 KiB), what
      the TDX module notes of every page (1/256, where the kernel gives it page by page), and as much to spare.
    - 256 MiB for QEMU and the keeper, which hold 60 before a guest runs; 4 MiB for each vCPU's stacks and state.
    - Under emulation 1 GiB more, in which QEMU keeps translated code.
    """
    emulated = 0 if platform.kind == "qemu-tdx" else 1024 * _MIB
    return platform.memory // 64 + 256 * _MIB + 4 * _MIB * platform.cpus + emulated


def program(tools: PurePosixPath, path: str, words: Sequence[str]) -> list[str]:
    """The argument vector for a program of a tools tree: its own loader and libraries, nothing of the host's."""
    libraries = ":".join(str(tools / folder) for folder in _LIBRARIES)
    name = PurePosixPath(path).name
    data = [word for folder in _QEMU_DATA for word in ("-L", str(tools / folder))] if path == _QEMU else []
    return [str(tools / _LOADER), "--library-path", libraries, "--argv0", name, str(tools / path), *data, *words]


def environment(tools: PurePosixPath) -> dict[str, str]:
    """The whole environment for programs of a tools tree, but for what systemd adds."""
    return {
        "PATH": "/bin:/usr/bin",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "QEMU_MODULE_DIR": str(tools / "usr/lib/x86_64-linux-gnu/qemu"),
        "OPENSSL_CONF": "/dev/null",
    }


def quoted(word: str) -> str:
    """A word of a command line in a unit file, so that it is that word: systemd.service(5), section "Command lines".

    FormatError for what is not printable ASCII.
    """
    if not word.isascii() or not word.isprintable():
        raise FormatError("unit", f"{word[:80]!r} is not printable ASCII")
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = word and not re.search(r"[\s\"'\\;#]", word)
    return text if plain else f'"{text}"'


def _for_tee(platform: Platform, tee: str, config_digest: bytes) -> Platform:
    """The platform with this configuration's MRCONFIGID. FormatError where it is not for this kind of machine."""
    if tee not in (TDX, INSECURE_NONE):
        raise FormatError("tee", f"{tee[:40]!r} is not one of {TDX}, {INSECURE_NONE}")
    if KINDS.get(platform.kind) != tee:
        raise FormatError("platform", f"{platform.kind} is not a machine with tee {tee}")
    if len(config_digest) != _CONFIG_DIGEST:
        raise FormatError("configuration", f"its digest has {len(config_digest)} bytes, not {_CONFIG_DIGEST}")
    if tee != TDX:
        return platform
    wanted = mr_config_id(config_digest)
    if platform.mr_config_id not in (None, wanted):
        raise FormatError("platform", "MRCONFIGID is not that of this configuration")
    return replace(platform, mr_config_id=wanted)


def _mode(network: str) -> tuple[str, str]:
    """How the card is made, and on which interface of the host's."""
    if network == ROUTED:
        return "bridge", layout.BRIDGE
    found = _NETWORK.fullmatch(network)
    if not found:
        raise FormatError("network", f'{network[:40]!r} is not "routed", "bridge:INTERFACE" or "macvtap:INTERFACE"')
    return found[1], found[2]


def _wiring(slot: layout.Slot, image: PurePosixPath, mac: str, *, vhost: bool, tpm: bool) -> Wiring:
    return Wiring(
        firmware=image / "firmware.fd",
        uki=image / "pluto.efi",
        config=slot.config,
        monitor=slot.monitor,
        mac=mac,
        vhost=vhost,
        tpm=slot.runtime / "tpm.sock" if tpm else None,
    )


def _keeper(slot: layout.Slot, limits: Limits, mode: str, *, tpm: bool) -> list[str]:
    words = [*_PYTHON, str(KEEPER), "--log-limit", str(limits.log), "--grace", str(limits.grace)]
    if mode == "bridge":
        words += ["--tap", slot.tap]
    if tpm:
        words += ["--tpm", str(slot.folder / TPM_STATE), str(slot.runtime / "tpm")]
    return words


def _tpm(slot: layout.Slot, tools: PurePosixPath) -> list[str]:
    # fmt: off
    return program(tools, _SWTPM, [
        "socket", "--tpm2",
        "--tpmstate", f"dir={slot.runtime / 'tpm'}",
        "--flags", "startup-clear",
        "--ctrl", f"type=unixio,path={slot.runtime / 'tpm.sock'}",
        "--terminate",
    ])
    # fmt: on


def _card_path(slot: layout.Slot) -> PurePosixPath:
    """A link to the macvtap's device, whose number is known only when it is made.

    It is in a folder of root's, since systemd opens what it leads to, and not below the one that the unit hides.
    """
    return PurePosixPath("/run") / f"{slot.unit.removesuffix('.service')}.card"


def _cards(slot: layout.Slot, mode: str, interface: str, mac: str) -> tuple[list[str], list[str]]:
    """The commands, as root, that make the network card before a start, and that remove it after an end."""
    remove = f"-+{_HOST_NETWORK} ip link delete dev {slot.tap}"
    if mode == "bridge":
        make = (
            f"ip tuntap add dev {slot.tap} mode tap user {layout.USER}",
            f"ip link set dev {slot.tap} addrgenmode none master {interface}",
            # The bridge believes no frame about who is where, also not those that no rule of nftables sees.
            f"ip link set dev {slot.tap} type bridge_slave isolated on learning off",
            f"/usr/sbin/bridge fdb replace {mac} dev {slot.tap} master static",
            f"ip link set dev {slot.tap} up",
        )
        return [f"+{_HOST_NETWORK} {line}" for line in make], [remove]
    # Private: machines on one uplink do not reach each other. The device is named by the interface's number.
    add = f"ip link add link {interface} name {slot.tap} address {mac} type macvtap mode private"
    link = f"+sh -c 'ln -sfn \"/dev/tap$$(cat /sys/class/net/{slot.tap}/ifindex)\" {_card_path(slot)}'"
    up = f"ip link set dev {slot.tap} up"
    return [f"+{_HOST_NETWORK} {add}", f"+{_HOST_NETWORK} {up}", link], [remove, f"-+rm -f {_card_path(slot)}"]


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(  # noqa: S701 - no HTML; whatever goes in is quoted or validated
        loader=jinja2.PackageLoader("pluto_deploy.metal"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
