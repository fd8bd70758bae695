"""What each event of a boot is, for people who verify: one entry for each role that a prediction can give. Pure.

`pluto-measure events` prints it, docs/measurements.md is made of it, and a test holds it against what is predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of event.

    what     what it is, in a line
    digest   over which bytes
    by       who measures it
    source   where the value is found without the machine
    trust    what it means for the verifier when it differs
    """

    what: str
    digest: str
    by: str
    source: str
    trust: str


# Roles whose name ends with a colon are families: "section:.linux" belongs to "section:".
ENTRIES: Final[Mapping[str, Entry]] = {
    "td-hob": Entry(
        "the memory that the VMM gave the trust domain",
        "the TD HOB up to its end mark",
        "firmware (SEC)",
        "memory size; places of the firmware's sections; the VMM's way to write it",
        "another memory size, another firmware layout or another VMM",
    ),
    "cfv": Entry(
        "the variable store that lies in the firmware's file",
        "the bytes of the CFV section",
        "firmware (SEC)",
        "the firmware's file: this part is not in MRTD",
        "another firmware file, or keys and settings were put into it",
    ),
    "fw-cfg:": Entry(
        "a setting that the VMM hands the firmware",
        "the item's bytes",
        "firmware (from edk2 202505)",
        "the VMM's command line",
        "the host started the machine with other options",
    ),
    "variable:": Entry(
        "a Secure Boot variable: SecureBoot, PK, KEK, db, dbx",
        "UEFI_VARIABLE_DATA: GUID, sizes, name, content; also where the variable is absent",
        "firmware",
        "the platform file's secureBoot",
        "another Secure Boot state or other keys",
    ),
    "separator:secure-boot": Entry(
        "the end of the Secure Boot variables",
        "four zero bytes",
        "firmware",
        "constant",
        "the firmware reported an error, or the log is of another kind of firmware",
    ),
    "acpi:": Entry(
        "ACPI that the VMM makes: loader script, RSDP, tables; with a TPM its log area",
        "the fw_cfg blob as the firmware reads it, before it patches addresses; padding included",
        "firmware",
        "`pluto-measure acpi harvest`, or the log of a machine that was trusted",
        "other vCPUs, devices, VMM or host; it is code that runs in the guest's kernel, and this is its only witness",
    ),
    "smbios": Entry(
        "the SMBIOS table",
        "the structures, without serial numbers and other things that vary",
        "firmware (from edk2 202505)",
        "the log of such a machine: it names the host's processor",
        "another processor model, memory layout or VMM",
    ),
    "smbios:type1": Entry(
        "the machine's name and number from SMBIOS",
        "the structure of type 1, without the wake-up type",
        "systemd-stub (PCR from 261, RTMR from 262)",
        "nowhere: it is the machine's own",
        "nothing by itself; a register with it has no fixed value",
    ),
    "boot-order": Entry(
        "which boot options the firmware tries, in order",
        "the content of BootOrder alone",
        "firmware",
        "computed for our machines; the platform file's bootVariables",
        "a disk or network card more or fewer, or somebody changed the order",
    ),
    "boot-option:": Entry(
        "one boot option",
        "the content of Boot#### alone",
        "firmware",
        "computed for our machines; the platform file's bootVariables",
        "another device in another slot, or an option that somebody added",
    ),
    "authority:": Entry(
        "the entry of db that an image was checked with",
        "UEFI_VARIABLE_DATA with that entry",
        "firmware, with Secure Boot on",
        "the platform file's secureBoot.db",
        "another key vouched for what was started",
    ),
    "calling": Entry(
        "the firmware starts a boot option",
        'the text "Calling EFI Application from Boot Option"',
        "firmware",
        "constant",
        "once more than expected: something was tried, or run, before",
    ),
    "separator:ready": Entry(
        "the firmware is done, what it starts comes now",
        "four zero bytes",
        "firmware",
        "constant; RTMR[0] up to edk2 202408, RTMR[1] from 202411",
        "firmware of another generation",
    ),
    "gpt": Entry(
        "the partition table of the disk that the image came from",
        "GPT header, number of used entries, the used entries",
        "firmware",
        "the disk image; growing a disk changes it",
        "another disk, or it was resized or repartitioned",
    ),
    "image:uki": Entry(
        "the unified kernel image",
        "Authenticode: the file without checksum, certificate table and its directory entry",
        "firmware",
        "launch.json, from the build",
        "another image was started: nothing that follows can be believed",
    ),
    "image:kernel": Entry(
        "the kernel as an image of its own",
        "Authenticode of section .linux, or of the kernel that the VMM was given",
        "firmware, because systemd-stub up to 257 loads the kernel through it; not with Secure Boot on",
        "launch.json, from the build; older QEMU rewrites the header of a bare kernel first",
        "another kernel; missing: Secure Boot is on, or the stub is 258 or newer",
    ),
    "section-name:": Entry(
        "the name of a section of the UKI",
        "ASCII with a NUL",
        "systemd-stub (RTMR from 256)",
        "launch.json, from the build",
        "the UKI has other sections",
    ),
    "section:": Entry(
        "the content of a section of the UKI",
        "VirtualSize bytes",
        "systemd-stub (RTMR from 256)",
        "launch.json, from the build",
        "another build, or its debug flavour",
    ),
    "load-options": Entry(
        "the command line that the kernel got",
        "UTF-16LE with its NUL; not there where it is empty",
        "Linux' EFI stub",
        "launch.json; a bare kernel gets `initrd=initrd` beside it",
        "the host changed the command line",
    ),
    "initrd": Entry(
        "the initrd that the kernel got",
        "its bytes: sections and archives as systemd-stub joins them, or the file of a direct boot",
        "Linux' EFI stub",
        "launch.json, from the build; not from a disk with systemd-stub 261 or newer, which adds a secret",
        "other programs run than those of this build",
    ),
    "exit-invoked": Entry(
        "the kernel asks the firmware to leave",
        'the text "Exit Boot Services Invocation"',
        "firmware",
        "constant",
        "twice, with a failure between: the memory map had changed meanwhile, which is harmless",
    ),
    "exit-done": Entry(
        "the firmware has left",
        'the text "Exit Boot Services Returned with Success"',
        "firmware",
        "constant",
        "missing: the log ends before the kernel took over",
    ),
}


def entry(role: str) -> Entry:
    """The entry of a role, by its own name or its family's. KeyError for a role that no prediction gives."""
    return ENTRIES[role] if role in ENTRIES else ENTRIES[family(role)]


def family(role: str) -> str:
    """The name under which a role stands in ENTRIES: "section:" for "section:.linux"."""
    return role if role in ENTRIES else role.partition(":")[0] + ":"
