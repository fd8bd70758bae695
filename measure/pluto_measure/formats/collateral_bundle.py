"""Collateral bundles: Intel's documents as a service answered with them, to be kept, carried and judged offline. Pure.

Our own format, JSON, strictly read; members in this order, `format` the first of all, which tells a bundle from the
common quote-collateral JSON (`pluto_measure.formats.collateral`):

    format     "pluto-collateral-bundle"
    version    1
    documents  [{kind      tcbInfo | qeIdentity | pckCrl | rootCrl
                 update    standard | early; tcbInfo and qeIdentity only
                 fmspc     12 lower-case hex digits; tcbInfo only
                 ca        platform | processor; pckCrl only
                 fetchedAt RFC 3339, UTC, whole seconds; left out where nobody knows
                 headers   {name: value}, as the service sent them: the issuer chain, and what else was kept
                 body      base64 of the answer's bytes}]

Bodies and headers are those of Intel's PCS API v4 and of a PCCS (`pluto_measure.formats.answers`). Nothing is verified
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats import answers
from pluto_measure.formats.collateral import Collateral, Signed
from pluto_measure.formats.collateral_document import CHAIN_HEADERS, KINDS, MEMBERS, Document, name_of
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.formats.tcb_info import TcbInfo

FORMAT: Final = "pluto-collateral-bundle"
VERSION: Final = 1
LIMIT: Final = 2 * 1024 * 1024  # bytes of JSON; one FMSPC with both updates has 60 KiB
MOST_DOCUMENTS: Final = 256
_MOST_MEMBERS: Final = 64 * MOST_DOCUMENTS
_WHAT: Final = "collateral bundle"
_OURS: Final = re.compile(rb'\A\s*\{\s*"format"\s*:')


class NotInBundleError(FormatError):
    """A bundle that has not all documents that were asked for; the text names the first one that is missing."""


@dataclass(frozen=True, slots=True)
class Given:
    """Collateral for one quote: today's, what becomes today's (None where nobody gave it), and since when we have it.

    `fetched_at` is the time of the oldest document of `standard`, None where not all times are known.
    """

    standard: Collateral
    early: Collateral | None
    fetched_at: datetime | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Documents of any FMSPCs and CAs, in the order of their keys, each once."""

    documents: tuple[Document, ...]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Self:
        """FormatError where a document occurs twice or is not what it is said to be."""
        found = sorted((document.check() for document in documents), key=lambda document: document.key)
        for first, second in pairwise(found):
            if first.key == second.key:
                raise FormatError(_WHAT, f"has {first.name} twice")
        if len(found) > MOST_DOCUMENTS:
            raise FormatError(_WHAT, f"has {len(found)} documents, more than {MOST_DOCUMENTS}")
        return cls(tuple(found))

    @classmethod
    def of_collateral(cls, collateral: Collateral, *, ca: str, fetched_at: datetime | None = None) -> Self:
        """From the common JSON, which does not say which CA's revocation list it has. FormatError.

        It says no update either: what it has counts as the standard one.
        """
        fmspc = TcbInfo.parse(collateral.tcb_info.body).fmspc
        QeIdentity.parse(collateral.qe_identity.body)  # a whole JSON value, so that wrapping it makes one again
        encoded = answers.percent_encoded(collateral.pck_crl_chain)
        pck_headers = {CHAIN_HEADERS["pckCrl"][0]: encoded} if encoded else {}
        bundle = cls.of(
            (
                _document("tcbInfo", collateral.tcb_info, fmspc, fetched_at),
                _document("qeIdentity", collateral.qe_identity, b"", fetched_at),
                Document("pckCrl", collateral.pck_crl, pck_headers, ca=ca, fetched_at=fetched_at),
                Document("rootCrl", collateral.root_crl, fetched_at=fetched_at),
            )
        )
        if bundle.collateral(fmspc, ca) != collateral:
            raise FormatError(
                _WHAT, "cannot keep this collateral byte for byte: there is something around its documents"
            )
        return bundle

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From our JSON. FormatError."""
        if data.count(b",") > _MOST_MEMBERS:  # before JSON makes a value of each
            raise FormatError(_WHAT, f"has more than {_MOST_MEMBERS} members")
        fields = Fields(loads(data, what=_WHAT, limit=LIMIT), what=_WHAT)
        if (name := fields.take("format", str)) != FORMAT:
            raise FormatError(_WHAT, f"format is {name[:40]!r}, not {FORMAT!r}")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known; this program reads version {VERSION}")
        documents = fields.take("documents", list)
        fields.end()
        return cls.of(Document.parse(one, what=f"{_WHAT}.documents[{place}]") for place, one in enumerate(documents))

    def to_json(self) -> dict[str, object]:
        documents = [document.to_json() for document in self.documents]
        return {"format": FORMAT, "version": VERSION, "documents": documents}

    def to_text(self) -> str:
        return pretty(self.to_json())

    def find(self, kind: str, *, update: str = "", fmspc: bytes = b"", ca: str = "") -> Document | None:
        """The document, if it is there."""
        key = KINDS.index(kind), update, fmspc, ca
        return next((document for document in self.documents if document.key == key), None)

    def collateral(self, fmspc: bytes, ca: str, update: str = "standard") -> Collateral:
        """What a quote of this FMSPC (6 bytes) and CA is judged by. NotInBundleError."""
        tcb_info, qe_identity, pck_crl, root_crl = self._needed(fmspc, ca, update)
        return Collateral(
            tcb_info=tcb_info.signed(),
            qe_identity=qe_identity.signed(),
            root_crl=root_crl.crl(),
            pck_crl=pck_crl.crl(),
            pck_crl_chain=pck_crl.chain(),
        )

    def given(self, fmspc: bytes, ca: str) -> Given:
        """All that it has for this FMSPC and CA. NotInBundleError."""
        times = [document.fetched_at for document in self._needed(fmspc, ca, "standard")]
        known = [time for time in times if time is not None]
        # A set that is not whole cannot foretell anything, and must not spoil the one that counts.
        early = self.find("tcbInfo", update="early", fmspc=fmspc) and self.find("qeIdentity", update="early")
        return Given(
            standard=self.collateral(fmspc, ca),
            early=self.collateral(fmspc, ca, "early") if early else None,
            fetched_at=min(known) if len(known) == len(times) else None,
        )

    def merged(self, newer: Self) -> Self:
        """The documents of both; where both have one, the newer bundle's."""
        return type(self).of({document.key: document for document in (*self.documents, *newer.documents)}.values())

    def part(self, fmspc: bytes, ca: str) -> Self:
        """The documents that matter to one FMSPC and CA."""
        kept = (one for one in self.documents if one.fmspc in (b"", fmspc) and one.ca in ("", ca))
        return type(self).of(kept)

    def families(self) -> tuple[tuple[bytes, str], ...]:
        """Every FMSPC of a standard TCB info, with every CA of a revocation list."""
        fmspcs = [one.fmspc for one in self.documents if one.kind == "tcbInfo" and one.update == "standard"]
        return tuple((fmspc, one.ca) for fmspc in fmspcs for one in self.documents if one.kind == "pckCrl")

    def _needed(self, fmspc: bytes, ca: str, update: str) -> tuple[Document, Document, Document, Document]:
        return (
            self._have("tcbInfo", update=update, fmspc=fmspc),
            self._have("qeIdentity", update=update),
            self._have("pckCrl", ca=ca),
            self._have("rootCrl"),
        )

    def _have(self, kind: str, *, update: str = "", fmspc: bytes = b"", ca: str = "") -> Document:
        found = self.find(kind, update=update, fmspc=fmspc, ca=ca)
        if found is None:
            name = name_of(kind, update, fmspc, ca)
            raise NotInBundleError(_WHAT, f"has no {name}", hint="run 'pluto-measure collateral fetch'")
        return found


def is_bundle(data: bytes) -> bool:
    """Whether the JSON begins as ours does."""
    return _OURS.match(data) is not None


def read_collateral(data: bytes, fmspc: bytes, ca: str) -> Given:
    """Collateral for a quote of this FMSPC (6 bytes) and CA, from the common JSON or from our bundle. FormatError.

    The common JSON says neither whom it is for nor which update it is: it is taken as it is, and as the standard one.
    """
    if is_bundle(data):
        return Bundle.parse(data).given(fmspc, ca)
    return Given(Collateral.parse(data), None, None)


def _document(kind: str, signed: Signed, fmspc: bytes, fetched_at: datetime | None) -> Document:
    body = answers.wrap(signed.body, signed.signature, MEMBERS[kind])
    headers = {CHAIN_HEADERS[kind][0]: answers.percent_encoded(signed.chain)}
    return Document(kind, body, headers, update="standard", fmspc=fmspc, fetched_at=fetched_at)
