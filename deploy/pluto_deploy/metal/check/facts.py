"""What `probe.py` saw on a host, as frozen values. Pure. None: it could not be seen, which never means good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Processor:
    """`flags`: those of /proc/cpuinfo that matter here. `threads` and `sockets`: how many."""

    vendor: str | None
    family: int | None
    model: int | None
    stepping: int | None
    name: str | None
    flags: frozenset[str]
    threads: int
    sockets: int


@dataclass(frozen=True, slots=True)
class Registers:
    """Model-specific registers. `state`: read, absent (no device) or denied; in `values` None is one that faults."""

    state: str
    values: Mapping[int, int | None]

    def bits(self, number: int, high: int, low: int) -> int | None:
        """Bits `high` to `low` of register `number`; None where it could not be read."""
        value = self.values.get(number)
        return None if value is None else value >> low & (1 << high - low + 1) - 1


@dataclass(frozen=True, slots=True)
class Kernel:
    """`config`: its options that name TDX, None where the file is not there. `log`: its lines about TDX and SGX."""

    release: str | None
    config: Mapping[str, str] | None
    parameters: tuple[str, ...]
    hibernation: bool | None
    crash_kernel: bool | None
    log: tuple[str, ...] | None
    kvm: bool
    kvm_tdx: bool | None
    kvm_sgx: bool | None
    tdx_module: str | None

    def said(self, *words: str) -> str | None:
        """The last line of its log that has one of `words`."""
        return next((line for line in reversed(self.log or ()) if any(word in line for word in words)), None)


@dataclass(frozen=True, slots=True)
class System:
    """os-release(5), systemd and the board."""

    id: str | None
    release: str | None
    name: str | None
    systemd: int | None
    maker: str | None
    product: str | None
    firmware: str | None


@dataclass(frozen=True, slots=True)
class File:
    """`kind`: character, socket, folder, file or other. `mode`: permission bits."""

    kind: str
    mode: int
    owner: str
    group: str


@dataclass(frozen=True, slots=True)
class Service:
    """States as systemd names them."""

    load: str
    active: str
    enabled: str
    result: str


@dataclass(frozen=True, slots=True)
class Quoting:
    """QGS. `state` of its answer: answered, error (with `code`), absent, refused, silent or malformed."""

    configured: bool
    port: int | None
    threads: int | None
    folder: File | None
    socket: File | None
    state: str
    code: int | None
    platform: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a PCCS. `state`: answered, untrusted, unreachable or no-https; `tls`: verified or unverified."""

    state: str
    status: int | None
    tls: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Provisioning:
    """What qgsd's library is told of the PCCS, and what that answers. `ppid`: as the PCCS says it, in hex."""

    configured: bool
    readable: bool
    url: str | None
    secure: bool | None
    answer: Answer | None
    certificate: Answer | None
    ppid: str | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; `modules`: MiB of every place for one, 0 where it is empty, None where its size is not known."""

    total: int | None
    available: int | None
    swap: int | None
    modules: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of the file system that holds `path`."""

    path: str
    free: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Everything. `devices` by name below /dev; `registration`: what mpa_manage says, None where it is not there."""

    processor: Processor
    registers: Registers
    kernel: Kernel
    system: System
    devices: Mapping[str, File | None]
    services: Mapping[str, Service | None]
    quoting: Quoting
    provisioning: Provisioning
    registration: str | None
    memory: Memory
    disk: Disk
    nft: bool
