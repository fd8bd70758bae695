"""Platform inputs that a VMM makes and nobody can compute from a build: ACPI blobs, boot variables, SMBIOS. Pure.

They are addressed by digest. `acpi harvest` finds them for the machines of platforms.toml; a log of a real machine
shows them too. An INPUT in JSON is a SHA-384 in hex, {sha256, sha384}, {file} or {base64}.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields

Read = Callable[[str], bytes]  # a file named in a platform file, relative to it

# The fw_cfg items that firmware measures as "ACPI DATA", in the order of QEMU's loader script.
BLOBS: Final[Mapping[str, str]] = {
    "loader": "etc/table-loader",
    "rsdp": "etc/acpi/rsdp",
    "tpmLog": "etc/tpm/log",  # with a TPM only
    "tables": "etc/acpi/tables",
}


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its digests and, where they were given, its bytes."""

    digests: Digests
    content: bytes | None = None

    @classmethod
    def of(cls, content: bytes) -> Self:
        return cls(Digests.of(content), content)

    @classmethod
    def parse(cls, value: object, read: Read, *, what: str) -> Self:
        """INPUT in any of its spellings. FormatError."""
        if isinstance(value, str) or (isinstance(value, dict) and not {"file", "base64"} & value.keys()):
            return cls(Digests.from_json(value, what=what))
        fields = Fields(value, what=what)
        name, encoded = fields.get("file", None, str), fields.get("base64", None, str)
        fields.end()
        if (name is None) == (encoded is None):
            raise FormatError(what, "has both a file and base64")
        if name is not None:
            return cls.of(read(name))
        try:
            return cls.of(base64.b64decode(encoded, validate=True))
        except ValueError as error:  # binascii.Error is one, and so is what characters beyond ASCII raise
            raise FormatError(what, "is not base64") from error

    def bytes_of(self, what: str) -> bytes:
        """The content. FormatError where only its digest is known."""
        if self.content is None:
            raise FormatError(what, "is given by its digest, and its content is measured here together with more")
        return self.content


@dataclass(frozen=True, slots=True)
class Acpi:
    """The blobs of one machine, named as in BLOBS; `tpmLog` is there on machines with a TPM only."""

    blobs: Mapping[str, Digests]

    @classmethod
    def parse(cls, value: object, read: Read, *, what: str) -> Self:
        """{loader, rsdp, tables} and, with a TPM, tpmLog. FormatError."""
        fields = Fields(value, what=what)
        given = {name: fields.get(name, None, str, dict) for name in BLOBS}
        fields.end()
        if missing := [name for name in ("loader", "rsdp", "tables") if given[name] is None]:
            raise FormatError(what, f"{missing[0]} is missing")
        named = {name: item for name, item in given.items() if item is not None}
        return cls({name: Input.parse(item, read, what=f"{what}.{name}").digests for name, item in named.items()})

    def to_json(self) -> dict[str, object]:
        return {name: digests.to_json() for name, digests in self.blobs.items()}
