"""Launch values from files: the digests of what a boot measures, taken from a UKI or from a kernel and initrd. Pure.

Every large hash runs in a thread of its own: hashing gives up the interpreter's lock, and a UKI is hashed repeatedly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pluto_measure.digests import Digests, digest
from pluto_measure.errors import FormatError
from pluto_measure.formats import gpt, pe
from pluto_measure.launch import Launch, SectionDigest
from pluto_measure.predict import stub as stubs
from pluto_measure.predict.events import BANKS

_WORKERS: Final = 2
NOT_A_BUILD: Final = "0" * 64
_BUILD_ID: Final = re.compile(rb'^BUILD_ID="?([0-9a-f]{64})"?$', re.MULTILINE)
_VARIANT: Final = re.compile(rb'^VARIANT_ID="?(release|debug)"?$', re.MULTILINE)
_MAGIC: Final = re.compile(rb"#### LoaderInfo: systemd-stub ([^ \0#]{1,64}) ####")


def of_uki(
    uki: bytes,
    gpt_event: Digests | None,
    *,
    stub: str,
    disk_size: int = 0,
    build_id: str = "",
    flavour: str = "",
    banks: Sequence[str] = BANKS,
) -> Launch:
    """What a boot of this UKI measures. `gpt_event`: `gpt_event_of` its disk, None where there is none.

    `stub` is systemd-stub's version (`stub_version` finds it). Build id and flavour, where they are not given, are what
    the image's os-release says; NOT_A_BUILD where it says none. With fewer `banks` the digests of the others are not
    known, and so is the file's own, which no boot measures. FormatError for an image whose boot cannot be predicted.
    """
    version = stubs.version(stub)
    parsed = pe.parse(uki)
    data = {section.name: pe.section_data(uki, section) for section in parsed.sections}
    measured = [section for section in parsed.sections if section.name in version.measured_sections]
    if ".linux" not in data:
        raise FormatError("UKI", "has no section .linux, so it is a PE image of another kind")
    parts: dict[str, list[bytes | memoryview]] = {
        "image": [*pe.hashed_parts(uki)],
        "kernel": [*pe.hashed_parts(data[".linux"])],
        "initrd": [*stubs.handed_initrd(data, version)],
        **{section.name: [data[section.name]] for section in measured},
    }
    if set(banks) == set(BANKS):
        parts["whole"] = [uki]
    digests = _hash(parts, banks)
    release = data.get(".osrel", b"")
    return Launch(
        build_id=build_id or _of_release(_BUILD_ID, release) or NOT_A_BUILD,
        flavour=flavour or _of_release(_VARIANT, release) or "release",
        stub=stub,
        uki_size=len(uki),
        uki_digests=digests.get("whole"),
        uki_authenticode=digests["image"],
        kernel_size=len(data[".linux"]),
        kernel_authenticode=digests["kernel"],
        sections=tuple(SectionDigest(s.name, s.virtual_size, digests[s.name]) for s in measured),
        handed_initrd_size=sum(map(len, parts["initrd"])),
        handed_initrd=digests["initrd"] if parts["initrd"] else None,
        command_line=stubs.command_line(data.get(".cmdline", b""), version),
        disk_size=disk_size,
        gpt_event=gpt_event,
    )


def of_kernel(kernel: bytes, initrd: bytes | None, command_line: str) -> Launch:
    """What a direct boot measures: the kernel as a PE image, the initrd, and the command line that the VMM is given."""
    if pe.parse(kernel).section(".linux") is not None:
        raise FormatError("kernel", "is a UKI", hint="name it with --uki FILE")
    digests = _hash({"kernel": [*pe.hashed_parts(kernel)], "initrd": [initrd or b""]}, BANKS)
    return Launch(
        build_id=NOT_A_BUILD,
        flavour="release",
        stub="",
        uki_size=0,
        uki_digests=None,
        uki_authenticode=None,
        kernel_size=len(kernel),
        kernel_authenticode=digests["kernel"],
        sections=(),
        handed_initrd_size=len(initrd or b""),
        handed_initrd=None if initrd is None else digests["initrd"],
        command_line=command_line,
        disk_size=0,
        gpt_event=None,
        kernel_file=kernel,
    )


def gpt_event_of(disk_head: bytes) -> Digests:
    """Digests of what EV_EFI_GPT_EVENT covers, from the first bytes of a disk. FormatError."""
    return Digests.of(gpt.event_data(disk_head))


def stub_version(uki: bytes) -> str:
    """The version that systemd-stub writes into its section .sdmagic. FormatError where there is none."""
    section = pe.parse(uki).section(".sdmagic")
    found = None if section is None else _MAGIC.search(pe.section_data(uki, section))
    if found is None:
        raise FormatError("UKI", "does not say which systemd-stub it was made with", hint="add --stub VERSION")
    return found[1].decode("ascii", "replace")


def _of_release(wanted: re.Pattern[bytes], release: bytes) -> str:
    found = wanted.search(release)
    return found[1].decode() if found else ""


def _hash(parts: Mapping[str, Sequence[bytes | memoryview]], banks: Sequence[str]) -> dict[str, Digests]:
    """Digests of each content in each bank, the largest first so that no long one is left over at the end."""
    # Imported here: only who describes files needs threads.
    from concurrent.futures import ThreadPoolExecutor

    jobs = [(name, bank) for name in sorted(parts, key=lambda name: -sum(map(len, parts[name]))) for bank in banks]
    with ThreadPoolExecutor(_WORKERS) as pool:
        done = dict(zip(jobs, pool.map(lambda job: digest(job[1], *parts[job[0]]), jobs), strict=True))
    return {name: Digests(done.get((name, "sha256"), b""), done.get((name, "sha384"), b"")) for name in parts}
