"""Guesses about a digest that nobody expected, each tested by computing it again. Pure.

A guess that holds is proven: the digest is that of what the words name. All of them are cheap, so each is tried
wherever its kind of event differs, and none of them decides anything.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations
from typing import Final

from pluto_measure.compare.explain.scene import Known, strongest
from pluto_measure.digests import digest
from pluto_measure.errors import FormatError
from pluto_measure.event_text import boot_option
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.formats.gpt import SECTOR
from pluto_measure.formats.tdvf import EXTEND, Section, SectionType
from pluto_measure.machine.platform import DISK_BUSES, Disk, Platform
from pluto_measure.predict import hob
from pluto_measure.predict.boot_options import boot_variables
from pluto_measure.predict.events import Banks
from pluto_measure.predict.stub import load_options

Guesses = Iterable[tuple[bytes, str]]  # measured bytes, and what they would mean

_MIB, _GIB = 1 << 20, 1 << 30
# Powers of two, then multiples of 4 GiB, then the rest up to 1 TiB; and what has quarters of a GiB.
_MEMORY: Final = tuple(
    dict.fromkeys(
        [
            *(_GIB << n for n in range(13)),
            *(n * _GIB for n in range(4, 1025, 4)),
            *(n * _GIB for n in range(1, 1025)),
            *(n * 256 * _MIB for n in range(1, 65)),
        ]
    )
)
_BFV, _CFV, _HOB, _TEMP = SectionType.BFV, SectionType.CFV, SectionType.TD_HOB, SectionType.TEMP_MEM
# The published builds whose sections were seen, by the address of their first temporary memory.
_STACK: Final[Mapping[int, str]] = {
    0x811000: "OvmfPkgX64 of edk2 202502",
    0x810000: "IntelTdxX64, or OvmfPkgX64 up to 202402",
    0x812000: "AmdSevX64 of edk2 202502",
}
_SECURE_BOOT: Final = ((b"", "absent from the firmware"), (b"\0", "off"), (b"\1", "on"))
# Variable stores that were seen, by the beginning of their SHA-384: a word for people, nothing more.
_STORES: Final[Mapping[str, str]] = {
    "344bc51c980ba621": "the empty one of 4 MiB builds of OVMF",
    "5a9a6faadec79deb": "the empty one of firmware of 2022 and older",
    "58bed422": "one of Google's",
    "6c1819b2": "one of Google's",
    "7ed4f338": "one of Google's",
    "d10d3102": "one of Google's",
    "16a03d3d": "one of Google's",
    "9cb6bf09": "one of Google's",
}
_STORE_SIZES: Final[Mapping[int, str]] = {
    0x84000: "of a 4 MiB build of OVMF",
    0x40000: "of firmware of 2022 and older",
    0x20000: "of a 2 MiB build, such as Google's",
}
_BOOT_NUMBERS: Final = 6
_PLAIN_MENU: Final = 202502  # the last edk2 whose boot options predict knows
_GPT_HEADER: Final = 92
_BACKUP_SECTORS: Final = 33  # entries and header at the end of a disk


@dataclass(frozen=True, slots=True)
class HandedMemory:
    """What a TD HOB says: whose VMM wrote it (a platform kind), for how much memory, for which build of firmware."""

    writer: str
    memory: int
    layout: str

    @property
    def size(self) -> str:
        """The memory, in words."""
        return size_text(self.memory)


def size_text(memory: int) -> str:
    """Bytes of memory or disk for people."""
    return f"{memory // _GIB} GiB" if memory % _GIB == 0 else f"{memory / _MIB:g} MiB"


def memory_of(wanted: Iterable[bytes], known: Known) -> dict[bytes, HandedMemory]:
    """Which of these SHA-384 digests are those of a TD HOB, of any usual memory and any layout that is known."""
    open_ones, found = set(wanted), {}
    for value, handed in _of_this_firmware(known):
        if value in open_ones:
            open_ones.discard(value)
            found[value] = handed
            if not open_ones:
                break
    usual = {value: _usual().find(value) for value in open_ones}
    return found | {value: known_one for value, known_one in usual.items() if known_one is not None}


def variable_state(name: str, guid: bytes, digests: Banks) -> str | None:
    """What SecureBoot holds, or that another variable is absent."""
    contents = _SECURE_BOOT if name == "SecureBoot" else ((b"", "absent"),)
    return first_that_holds(((uefi.Variable(guid, name, data).encode(), text) for data, text in contents), digests)


def order_of(digests: Banks) -> str | None:
    """BootOrder, if it names a few of the first options."""
    numbers = [number.to_bytes(2, "little") for number in range(_BOOT_NUMBERS)]
    orders = (order for length in range(1, 5) for order in permutations(numbers, length))
    return first_that_holds(((b"".join(order), _order_text(order)) for order in orders), digests)


def option_of(digests: Banks) -> str | None:
    """A Boot#### variable, if it is one that OVMF or Google's firmware makes by itself."""
    return first_that_holds(_options(), digests)


def store_of(digests: Banks, size: int | None) -> str | None:
    """Whose variable store this is, by digest or, as the log says, by size."""
    shown = digests.get("sha384", b"").hex()
    named = next((text for beginning, text in _STORES.items() if shown.startswith(beginning)), None)
    if named is None and size is not None and size in _STORE_SIZES:
        return f"as the log says by its size, one {_STORE_SIZES[size]}"
    return named


def line_of(line: str, digests: Banks) -> str | None:
    """How LoadOptions differ from the command line, where they are made of it alone."""
    forms = {
        line: "the command line alone",
        f"{line} initrd=initrd": "the command line with initrd=initrd behind it, as firmware up to edk2 202505 adds it",
        f"initrd=initrd {line}": "the command line with initrd=initrd before it, as firmware from edk2 202508 adds it",
        f"{line}\n": "the command line with a line feed at its end",
        f"{line} ": "the command line with a blank at its end",
    }
    for stripped in (line.removesuffix(" initrd=initrd"), line.removeprefix("initrd=initrd ")):
        forms.setdefault(stripped, "the command line without initrd=initrd")
    guesses = [(load_options(form, has_section=True), text) for form, text in forms.items()]
    guesses += [(form.encode("utf-16-le"), f"{text}, without its NUL") for form, text in forms.items()]
    return first_that_holds(guesses, digests)


def disk_size_of(event: LogEvent, digests: Banks) -> tuple[int, int] | None:
    """Size of the disk in the log, and that of the expected one if only the size differs. In bytes."""
    data = event.measured_part
    if data is None or len(data) < _GPT_HEADER + 8:
        return None
    # Offsets: UEFI 2.10, table 5.5.
    alternate, last = int.from_bytes(data[32:40], "little"), int.from_bytes(data[48:56], "little")
    tail = alternate - last
    for size in _DISKS:
        for last_usable in {last, max(size // SECTOR - 1 - tail, 0), max(size // SECTOR - 1 - _BACKUP_SECTORS, 0)}:
            header = bytearray(data[:_GPT_HEADER])
            header[32:40] = (size // SECTOR - 1).to_bytes(8, "little")
            header[48:56] = last_usable.to_bytes(8, "little")
            header[16:20] = bytes(4)
            header[16:20] = zlib.crc32(header).to_bytes(4, "little")
            if holds(bytes(header) + data[_GPT_HEADER:], digests):
                return (alternate + 1) * SECTOR, size
    return None


_DISKS: Final = tuple(
    dict.fromkeys(
        [*(n * _GIB for n in range(1, 257)), *(_GIB << n for n in range(14)), *(n * 64 * _MIB for n in range(1, 129))]
    )
)


def first_that_holds(guesses: Guesses, digests: Banks) -> str | None:
    """The meaning of the first guess whose bytes have these digests."""
    chosen = strongest(digests)
    if chosen is None:
        return None
    name, value = chosen
    return next((text for data, text in guesses if digest(name, data) == value), None)


def holds(data: bytes, digests: Banks) -> bool:
    """Whether these are the digests of `data`."""
    chosen = strongest(digests)
    return chosen is not None and digest(chosen[0], data) == chosen[1]


def _of_this_firmware(known: Known) -> Iterator[tuple[bytes, HandedMemory]]:
    if not known.sections:
        return
    sizes = dict.fromkeys([known.memory, *_MEMORY]) if known.memory else dict.fromkeys(_MEMORY)
    for writer in sorted(hob.WRITERS, key=lambda kind: kind != known.platform):
        for memory in sizes:
            with suppress(FormatError):  # a size or a layout that no TD HOB is written for
                yield _one(known.sections, writer, "this firmware", memory)


@dataclass(slots=True)
class _Memo:
    """TD HOBs in the order in which they are likely, each computed once and only when asked for."""

    rest: Iterator[tuple[bytes, HandedMemory]]
    seen: dict[bytes, HandedMemory] = field(default_factory=dict)

    def find(self, wanted: bytes) -> HandedMemory | None:
        while wanted not in self.seen:
            value, handed = next(self.rest, (b"", None))
            if handed is None:
                return None
            self.seen.setdefault(value, handed)
        return self.seen[wanted]


@cache
def _usual() -> _Memo:
    """Every usual memory in every known layout: a few thousand."""
    layouts = [(_layout(stack, google=False), "qemu-tdx", text) for stack, text in _STACK.items()]
    layouts.append((_layout(0x810000, google=True), "gcp-tdx", "Google's"))
    return _Memo(_one(sections, writer, text, memory) for memory in _MEMORY for sections, writer, text in layouts)


def _one(sections: tuple[Section, ...], writer: str, layout: str, memory: int) -> tuple[bytes, HandedMemory]:
    return digest("sha384", hob.WRITERS[writer](sections, memory)), HandedMemory(writer, memory, layout)


@cache
def _options() -> tuple[tuple[bytes, str], ...]:
    """What firmware makes of itself and of a disk in any slot; not of NVMe, whose entry has a serial number."""
    buses = [bus for bus in DISK_BUSES if bus != "nvme"]
    machines = [
        Platform(boot="disk", edk2_generation=_PLAIN_MENU, disk=Disk(bus, n)) for bus in buses for n in range(32)
    ]
    contents = dict.fromkeys(
        item.content
        for machine in (*machines, Platform.default("gcp-tdx"))
        for name, item in boot_variables(machine).items()
        if name != "BootOrder"
    )
    return tuple((content, boot_option(content)) for content in contents if content is not None)


def _layout(stack: int, *, google: bool) -> tuple[Section, ...]:
    code, store = (0x1E0000, 0x20000) if google else (0x37C000, 0x84000)
    volumes = (
        (_BFV, store, code, (1 << 32) - code, code, EXTEND),
        (_CFV, 0, store, (1 << 32) - code - store, store, 0),
    )
    memory = (
        (_TEMP, stack, 0x820000 - stack),
        (_TEMP, 0x80B000, 0x2000),
        (_HOB, 0x809000, 0x2000),
        (_TEMP, 0x800000, 0x6000),
    )
    return (
        *(
            Section(offset, raw, address, size, kind, attributes)
            for kind, offset, raw, address, size, attributes in volumes
        ),
        *(Section(0, 0, address, size, kind, 0) for kind, address, size in memory),
    )


def _order_text(order: Iterable[bytes]) -> str:
    return " ".join(f"{int.from_bytes(number, 'little'):04X}" for number in order)
