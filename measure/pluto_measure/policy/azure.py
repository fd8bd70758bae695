"""The part of a policy for Azure TDX machines: [azure] judges the paravisor and how it runs the machine. Pure.

[td] and [tcb] judge the trust domain and its platform, as for any TDX quote. A policy that accepts evidence of type
`azure` has this table, and no other. Every field is required and "any" is written out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.policy.fields import ANY, Any_, Choice, choice, registers_or_any, required
from pluto_measure.toml import table

TABLE: Final = "azure"
TEXT: Final = """\
[azure]
paravisors = "any" # or a list of MRTDs that were observed; nobody outside Microsoft can compute them
akCertificate = "required" # Microsoft vouches for the TPM's key; "any" only where paravisors are listed
secureBoot = "any" # the image is measured either way
tpmEnabled = true
tpmPersisted = "any" # whether the TPM keeps its state while the machine is off
console = "any" # a serial console; our images give nobody a login there
interactiveConsole = "any"
filteredVpciDevices = "any" # whether some devices of the host's are let through; what is measured tells of them
vmIds = "any" # or a list of UUIDs: which virtual machine it is
otherSettings = [] # names of settings that are not known here and are accepted
"""
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AzurePolicy:
    """What is accepted of a paravisor and of what it was told."""

    paravisors: tuple[bytes, ...] | Any_  # MRTD, 48 bytes each
    ak_certificate: Literal["required", "any"]  # whether a pinned root must vouch for the TPM's key
    secure_boot: Choice
    tpm_enabled: Choice
    tpm_persisted: Choice
    console: Choice
    interactive_console: Choice
    filtered_vpci_devices: Choice
    vm_ids: tuple[str, ...] | Any_  # lower case
    other_settings: tuple[str, ...] | Any_  # names

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From the table [azure]. FormatError, also for a policy by which whoever has TDX hardware is believed."""
        policy = cls(
            paravisors=registers_or_any(fields, "paravisors", zero=False),
            ak_certificate=required(fields, "akCertificate"),
            secure_boot=choice(fields, "secureBoot"),
            tpm_enabled=choice(fields, "tpmEnabled"),
            tpm_persisted=choice(fields, "tpmPersisted"),
            console=choice(fields, "console"),
            interactive_console=choice(fields, "interactiveConsole"),
            filtered_vpci_devices=choice(fields, "filteredVpciDevices"),
            vm_ids=_texts(fields, "vmIds", _UUID, empty=False),
            other_settings=_texts(fields, "otherSettings", _NAME, empty=True),
        )
        fields.end()
        if policy.paravisors == ANY == policy.ak_certificate:
            text = 'paravisors and akCertificate are both "any", so whoever has a TDX machine could make this evidence'
            raise FormatError(fields.what, text)
        return policy


def _texts(fields: Fields, name: str, form: re.Pattern[str], *, empty: bool) -> tuple[str, ...] | Any_:
    value = fields.take(name, list, str)
    if value == ANY:
        return "any"
    if isinstance(value, str) or not (value or empty):
        raise FormatError(fields.what, f'{name} must be "any" or a list' + ("" if empty else " that is not empty"))
    found = tuple(_text(item, fields.what, name, form.fullmatch) for item in value)
    if len(set(found)) != len(found):
        raise FormatError(fields.what, f"{name} names something twice")
    return found


def _text(value: Any, what: str, name: str, fits: Callable[[str], object]) -> str:
    if not isinstance(value, str) or not fits(value):
        raise FormatError(what, f"{name} has {str(value)[:80]!r}, which is none")
    return value


STRICT_AZURE: Final = AzurePolicy.parse(Fields(table(TEXT, what="policy"), what="policy").sub(TABLE))
