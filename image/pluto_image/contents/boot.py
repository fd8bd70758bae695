"""The boot chain of a build: what starts what, what is measured of it, and where. Pure.

Which register an event goes to: `pluto_measure.predict`, docs/measurements.md. RTMRs are those of a trust domain, PCRs
those of a TPM; MRTD is what the TDX module computes while it builds the trust domain. A test holds this page's places
against the predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pluto_measure.digests import Digests
from pluto_measure.errors import VerificationError
from pluto_measure.launch import Launch
from pluto_measure.predict import stub


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is measured. `role` as in measurements.json, "" where there are several or none.

    Sizes in bytes, None where it is no file; `digests` None where they depend on the machine, or nothing is measured.
    """

    stage: str
    title: str
    what: str
    td: tuple[str, ...]
    tpm: tuple[str, ...]
    role: str = ""
    size: int | None = None
    digests: Digests | None = None


def chain(launch: Launch, firmware_size: int) -> tuple[Step, ...]:
    """The steps in the order of a boot. FormatError for a stub whose behaviour is not known."""
    known = stub.version(launch.stub)
    return (
        *_firmware(launch, firmware_size),
        Step(
            "UKI", "pluto.efi", "The whole image, by its Authenticode digest. The firmware starts it.",
            ("RTMR[1]",), ("PCR 4",), "image:uki", launch.uki_size, launch.uki_authenticode,
        ),
        *_sections(launch, known),
        *_kernel(launch, known),
        Step(
            "Userspace", "systemd, then the units below",
            "All of it lies in the initrd, so it is measured already. Nothing measures after this.",
            ("RTMR[3] stays zero",), (),
        ),
    )  # fmt: skip


def check(launch: Launch, sections: Mapping[str, bytes]) -> None:
    """VerificationError unless launch.json has the digests of the sections that it names."""
    for section in launch.sections:
        if section.name not in sections or Digests.of(sections[section.name]) != section.digests:
            raise VerificationError(f"launch.json does not have the digest of {section.name} in pluto.efi")


def _firmware(launch: Launch, size: int) -> Iterator[Step]:
    yield Step(
        "Firmware", "firmware.fd",
        "The TDX module measures it while it builds the trust domain; a cloud brings firmware of its own.",
        ("MRTD",), ("PCR 0",), "", size,
    )  # fmt: skip
    yield Step(
        "Firmware", "the machine and its settings",
        "Memory, ACPI tables, Secure Boot variables, boot options: what the host chose.",
        ("RTMR[0]",), ("PCR 1", "PCR 7"),
    )  # fmt: skip
    if launch.gpt_event is not None:
        yield Step(
            "Firmware", "partition table of the disk", "Where the machine boots from disk.raw, and nowhere else.",
            ("RTMR[1]",), ("PCR 5",), "gpt", None, launch.gpt_event,
        )  # fmt: skip


def _sections(launch: Launch, known: stub.StubVersion) -> Iterator[Step]:
    """In the order in which the stub measures them."""
    by_name = {section.name: section for section in launch.sections}
    where = ("RTMR[2]",) if known.measures_sections_to_cc else ()
    for name in known.measured_sections:
        if (section := by_name.get(name)) is not None:
            yield Step(
                "UKI", f"section {name}", _SECTIONS.get(name, ""), where, ("PCR 11",), f"section:{name}",
                section.size, section.digests,
            )  # fmt: skip


def _kernel(launch: Launch, known: stub.StubVersion) -> Iterator[Step]:
    if known.kernel_is_measured_as_image:
        yield Step(
            "Kernel", "kernel", "As an image of its own, by its Authenticode digest; not with Secure Boot on.",
            ("RTMR[1]",), ("PCR 4",), "image:kernel", launch.kernel_size, launch.kernel_authenticode,
        )  # fmt: skip
    if launch.command_line:
        options = launch.command_line.encode("utf-16-le") + bytes(2)
        yield Step(
            "Kernel", "command line", "As the kernel got it, in UTF-16 with its end.", ("RTMR[2]",), ("PCR 9",),
            "load-options", len(options), Digests.of(options),
        )  # fmt: skip
    yield Step(
        "Kernel", "initrd", "As the kernel got it: section .initrd and what the stub puts beside it.",
        ("RTMR[2]",), ("PCR 9",), "initrd", launch.handed_initrd_size, launch.handed_initrd,
    )  # fmt: skip


_SECTIONS = {
    ".linux": "The kernel as a file.",
    ".osrel": "What this image is called, with its build id.",
    ".cmdline": "The kernel's command line.",
    ".initrd": "The whole root file system, compressed.",
    ".uname": "The kernel's release.",
    ".sbat": "Generation numbers for revocation.",
}
