"""One document of a collateral bundle: what a service answered, and what it was asked for. Pure; nothing is verified.

As JSON it is one of the `documents` of `pluto_measure.formats.collateral_bundle`, whose docstring has the grammar.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time, parse_time
from pluto_measure.formats import answers
from pluto_measure.formats.collateral import Signed
from pluto_measure.formats.strict_json import Fields, unhex

KINDS: Final = ("tcbInfo", "qeIdentity", "pckCrl", "rootCrl")
UPDATES: Final = ("standard", "early")
CAS: Final = ("platform", "processor")
MEMBERS: Final = {"tcbInfo": "tcbInfo", "qeIdentity": "enclaveIdentity"}  # of the answer: what is signed
CHAIN_HEADERS: Final = {
    "tcbInfo": ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"),  # the second one by older services
    "qeIdentity": ("SGX-Enclave-Identity-Issuer-Chain",),
    "pckCrl": ("SGX-PCK-CRL-Issuer-Chain",),
    "rootCrl": (),
}
_MOST_HEADERS: Final = 16
_WORDS: Final = {"tcbInfo": "TCB info", "qeIdentity": "QE identity", "pckCrl": "PCK CRL", "rootCrl": "root CRL"}


@dataclass(frozen=True, slots=True)
class Document:
    """One answer of a collateral service. What does not apply to its kind is empty."""

    kind: str  # of KINDS
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    update: str = ""  # of UPDATES
    fmspc: bytes = b""  # 6
    ca: str = ""  # of CAS
    fetched_at: datetime | None = None

    @classmethod
    def parse(cls, value: Any, *, what: str) -> Self:
        """From its JSON value. FormatError; whether the body is what it is said to be, `check` says."""
        fields = Fields(value, what=what)
        kind = _one_of(fields, "kind", KINDS, what)
        fetched_at = fields.get("fetchedAt", None, str)
        document = cls(
            kind=kind,
            body=_unbase64(fields.take("body", str), what),
            headers=_headers(fields.take("headers", dict), what),
            update=_one_of(fields, "update", UPDATES, what) if kind in MEMBERS else "",
            fmspc=unhex(fields.take("fmspc", str), 6, what=f"{what}.fmspc") if kind == "tcbInfo" else b"",
            ca=_one_of(fields, "ca", CAS, what) if kind == "pckCrl" else "",
            fetched_at=None if fetched_at is None else parse_time(fetched_at, what=f"{what}.fetchedAt"),
        )
        fields.end()
        return document

    @property
    def key(self) -> tuple[int, str, bytes, str]:
        """What it is; a bundle has one document of each."""
        return KINDS.index(self.kind), self.update, self.fmspc, self.ca

    @property
    def name(self) -> str:
        """ "TCB info (early) of FMSPC 90c06f000000": what people call it."""
        return name_of(self.kind, self.update, self.fmspc, self.ca)

    def signed(self) -> Signed:
        """TCB info or QE identity, with signature and chain. FormatError."""
        text, signature, _ = answers.wrapped(self.body, MEMBERS[self.kind], what=self.name)
        return Signed(text, signature, self.chain())

    def crl(self) -> bytes:
        """A revocation list's DER. FormatError."""
        return answers.crl(self.body, what=self.name)

    def chain(self) -> bytes:
        """The issuer chain as PEM text; nothing for a revocation list that came without one. FormatError."""
        names = {name.lower() for name in CHAIN_HEADERS[self.kind]}
        found = {value for name, value in self.headers.items() if name.lower() in names}
        if len(found) > 1:
            raise FormatError(self.name, "has two issuer chains that differ")
        if not found:
            if self.kind in MEMBERS:
                raise FormatError(self.name, f"has no header {CHAIN_HEADERS[self.kind][0]}")
            return b""
        return answers.percent_decoded(found.pop(), what=f"{self.name}, issuer chain")

    def check(self) -> Self:
        """Itself, if the body is what it is said to be. FormatError otherwise."""
        if self.kind not in MEMBERS:
            self.crl()
            self.chain()
            return self
        self.signed()
        if self.kind == "tcbInfo":
            _, _, value = answers.wrapped(self.body, "tcbInfo", what=self.name)
            if (said := str(value.get("fmspc", "")).lower()) != self.fmspc.hex():
                raise FormatError(self.name, f"is for FMSPC {said[:24]!r}")
        return self

    def to_json(self) -> dict[str, object]:
        marks = {"kind": self.kind, "update": self.update, "fmspc": self.fmspc.hex(), "ca": self.ca}
        document: dict[str, object] = {name: value for name, value in marks.items() if value}
        if self.fetched_at is not None:
            document["fetchedAt"] = format_time(self.fetched_at)
        return {**document, "headers": dict(self.headers), "body": base64.b64encode(self.body).decode()}


def name_of(kind: str, update: str, fmspc: bytes, ca: str) -> str:
    """The name of a document by its key."""
    named = f"{_WORDS[kind]} ({update})" if update else _WORDS[kind]
    named += f" of FMSPC {fmspc.hex()}" if fmspc else ""
    return named + (f" of the {ca} CA" if ca else "")


def _one_of(fields: Fields, name: str, known: tuple[str, ...], what: str) -> str:
    value: str = fields.take(name, str)
    if value not in known:
        raise FormatError(what, f"{name} {value[:40]!r} is not one of {', '.join(known)}")
    return value


def _headers(value: Mapping[str, Any], what: str) -> dict[str, str]:
    if len(value) > _MOST_HEADERS or not all(isinstance(item, str) for item in value.values()):
        raise FormatError(what, f"headers must be at most {_MOST_HEADERS} members that hold text")
    if not all(text.isascii() and text.isprintable() for pair in value.items() for text in pair):
        raise FormatError(what, "headers must be printable ASCII")
    if len({name.lower() for name in value}) != len(value):
        raise FormatError(what, "a header occurs twice")
    return dict(value)


def _unbase64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(what, "body is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise FormatError(what, "body is not the one spelling of its base64")
    return data
