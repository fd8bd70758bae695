"""What was the newest collateral seen, so that nobody makes us believe older collateral. Pure.

Old collateral is genuine and may still be within its 30 days, but thresholds are lower in it and revocations are
missing. So the newest edition of each document is remembered: TCB info and QE identity per FMSPC, the list of revoked
PCK certificates per CA, the root's list. Of two editions the one with the higher number (evaluation number, CRL number)
is newer; of one number, the one of the later date (issueDate, thisUpdate). The number counts first, since Intel issues
several evaluation numbers side by side, each with its own dates. Only the standard update is remembered: the early one
is ahead of it for months.

The memory as JSON:

    format "pluto-collateral-memory", version 1,
    fmspcs  {fmspc hex: {tcbInfo: Edition, qeIdentity: Edition}}
    pckCrls {platform | processor: Edition}
    rootCrl Edition | null
    Edition {number, date: RFC 3339}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time, parse_time
from pluto_measure.formats.strict_json import Fields, loads, pretty

if TYPE_CHECKING:
    from pluto_measure.verify.collateral import CheckedCollateral

FORMAT: Final = "pluto-collateral-memory"
VERSION: Final = 1
LIMIT: Final = 1024 * 1024  # bytes of JSON; one FMSPC has 300 bytes
_WHAT: Final = "collateral memory"
_FMSPC: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
_CAS: Final = ("platform", "processor")
_CA_NAMES: Final = {"Intel SGX PCK Platform CA": "platform", "Intel SGX PCK Processor CA": "processor"}


@dataclass(frozen=True, slots=True, order=True)
class Edition:
    """Which edition of a document: the greater one is newer. `number` is -1 for a revocation list without one."""

    number: int
    date: datetime

    def spell(self, *, whole: bool) -> str:
        """ "19 of 2026-06-29", the date alone where there is no number. `whole`: with the time of the day."""
        date = format_time(self.date) if whole else f"{self.date:%Y-%m-%d}"
        return f"{self.number} of {date}" if self.number >= 0 else date

    def to_json(self) -> dict[str, object]:
        return {"number": self.number, "date": format_time(self.date)}


@dataclass(frozen=True, slots=True)
class Seen:
    """The editions of one set of collateral (standard update). Only verified collateral may be remembered."""

    fmspc: bytes  # 6
    ca: str  # "platform" or "processor"
    tcb_info: Edition
    qe_identity: Edition
    pck_crl: Edition
    root_crl: Edition

    @classmethod
    def of(cls, checked: CheckedCollateral) -> Self:
        """FormatError where neither PCK CA issued the list of revoked PCK certificates."""
        ca = issuing_ca(checked.pck_crl.der)
        return cls(
            fmspc=checked.tcb_info.fmspc,
            ca=ca,
            tcb_info=Edition(checked.tcb_info.evaluation_number, checked.tcb_info.issue_date),
            qe_identity=Edition(checked.qe_identity.evaluation_number, checked.qe_identity.issue_date),
            pck_crl=Edition(checked.pck_crl.number, checked.pck_crl.this_update),
            root_crl=Edition(checked.root_crl.number, checked.root_crl.this_update),
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """The newest edition seen of each document. FMSPCs in lower-case hex."""

    tcb_infos: Mapping[str, Edition] = field(default_factory=dict)
    qe_identities: Mapping[str, Edition] = field(default_factory=dict)  # by FMSPC too; the same keys as `tcb_infos`
    pck_crls: Mapping[str, Edition] = field(default_factory=dict)
    root_crl: Edition | None = None

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """From JSON. FormatError."""
        fields = Fields(loads(text, what=_WHAT, limit=LIMIT), what=_WHAT)
        if (name := fields.take("format", str)) != FORMAT:
            raise FormatError(_WHAT, f"format is {name[:40]!r}, not {FORMAT!r}")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known; this program reads version {VERSION}")
        fmspcs, cas = fields.take("fmspcs", dict), fields.take("pckCrls", dict)
        root = fields.optional("rootCrl")
        fields.end()
        if bad := [name for name in fmspcs if not _FMSPC.fullmatch(name)] or [name for name in cas if name not in _CAS]:
            raise FormatError(_WHAT, f"{bad[0][:40]!r} is no FMSPC and no CA")
        infos, identities = {}, {}
        for name, value in fmspcs.items():
            both = Fields(value, what=f"{_WHAT}.fmspcs.{name}")
            infos[name] = _edition(both.sub("tcbInfo"), f"{name}.tcbInfo")
            identities[name] = _edition(both.sub("qeIdentity"), f"{name}.qeIdentity")
            both.end()
        crls = {name: _edition(Fields(value, what=f"{_WHAT}.pckCrls"), name) for name, value in cas.items()}
        return cls(infos, identities, crls, None if root is None else _edition(root, "rootCrl"))

    def to_json(self) -> dict[str, object]:
        fmspcs = {
            name: {"tcbInfo": edition.to_json(), "qeIdentity": self.qe_identities[name].to_json()}
            for name, edition in sorted(self.tcb_infos.items())
        }
        crls = {name: edition.to_json() for name, edition in sorted(self.pck_crls.items())}
        root = None if self.root_crl is None else self.root_crl.to_json()
        return {"format": FORMAT, "version": VERSION, "fmspcs": fmspcs, "pckCrls": crls, "rootCrl": root}

    def to_text(self) -> str:
        return pretty(self.to_json())


@dataclass(frozen=True, slots=True)
class Rollback:
    """A document that is older than one seen before."""

    document: str  # "TCB info", "QE identity", "PCK CRL", "root CRL"
    newest: Edition
    given: Edition

    def __str__(self) -> str:
        """ "TCB info is number 19 of 2026-06-29, seen: 20 of 2026-08-13"; whole times where the days are one."""
        whole = self.given.date.date() == self.newest.date.date()
        given, newest = (edition.spell(whole=whole) for edition in (self.given, self.newest))
        return f"{self.document} is {'number ' if self.given.number >= 0 else 'of '}{given}, seen: {newest}"

    def to_json(self) -> dict[str, object]:
        return {"document": self.document, "newest": self.newest.to_json(), "given": self.given.to_json()}


def issuing_ca(pck_crl: bytes) -> str:
    """ "platform" or "processor": who issued a list of revoked PCK certificates (DER), by its own word. FormatError."""
    from cryptography import x509  # what only compares needs it not
    from cryptography.x509.oid import NameOID

    try:
        names = x509.load_der_x509_crl(pck_crl).issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError as error:
        raise FormatError("PCK CRL", f"is no revocation list: {error}") from error
    found = [str(name.value) for name in names]
    if len(found) != 1 or found[0] not in _CA_NAMES:
        raise FormatError("PCK CRL", f"was issued by {found}, not by {' or '.join(_CA_NAMES)}")
    return _CA_NAMES[found[0]]


def compare(memory: Memory, seen: Seen) -> tuple[Rollback, ...]:
    """The documents of `seen` that are older than what the memory has."""
    return tuple(
        Rollback(document, newest, given)
        for document, newest, given in _pairs(memory, seen)
        if newest is not None and given < newest
    )


def remember(memory: Memory, seen: Seen) -> Memory:
    """The memory with what `seen` has newer; no edition ever becomes an older one."""
    tcb_info, qe_identity, pck_crl, root_crl = (
        given if newest is None else max(newest, given) for _, newest, given in _pairs(memory, seen)
    )
    name = seen.fmspc.hex()
    return Memory(
        {**memory.tcb_infos, name: tcb_info},
        {**memory.qe_identities, name: qe_identity},
        {**memory.pck_crls, seen.ca: pck_crl},
        root_crl,
    )


def _pairs(memory: Memory, seen: Seen) -> tuple[tuple[str, Edition | None, Edition], ...]:
    name = seen.fmspc.hex()
    return (
        ("TCB info", memory.tcb_infos.get(name), seen.tcb_info),
        ("QE identity", memory.qe_identities.get(name), seen.qe_identity),
        ("PCK CRL", memory.pck_crls.get(seen.ca), seen.pck_crl),
        ("root CRL", memory.root_crl, seen.root_crl),
    )


def _edition(fields: Fields, name: str) -> Edition:
    number, date = fields.take("number", int), fields.take("date", str)
    fields.end()
    if number < -1:
        raise FormatError(_WHAT, f"{name}.number is {number}")
    return Edition(number, parse_time(date, what=f"{_WHAT}.{name}.date"))
