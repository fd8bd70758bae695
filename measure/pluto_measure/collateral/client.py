"""Fetches collateral: from Intel's Provisioning Certification Service (PCS, API v4) or a PCCS, its cache.

    <base>/tdx/certification/v4/tcb?fmspc=&update=             TCB info
    <base>/tdx/certification/v4/qe/identity?update=            QE identity
    <base>/sgx/certification/v4/pckcrl?ca=&encoding=der        PCK CRL
    <certificates host>/IntelSGXRootCA.der                     root CRL at Intel's
    <base>/sgx/certification/v4/rootcacrl                      root CRL at a PCCS

Nothing is verified here but the form of an answer: who asks checks signatures. Even so TLS is verified, since an
attacker in between could keep newer collateral from us. A redirect is an error; so is an answer that is too large. Each
document has a deadline for all its attempts together.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from email.message import Message
from typing import Final
from urllib.parse import urlencode, urlsplit

from pluto_measure.collateral.attempts import NoAnswerError, fetch
from pluto_measure.collateral.transport import Clock, Limits, Transport
from pluto_measure.errors import FormatError
from pluto_measure.formats.collateral_bundle import Bundle
from pluto_measure.formats.collateral_document import CHAIN_HEADERS, Document

INTEL: Final = "https://api.trustedservices.intel.com"
INTEL_CERTIFICATES: Final = "https://certificates.trustedservices.intel.com"
__all__ = ["INTEL", "INTEL_CERTIFICATES", "Client", "NoAnswerError"]

_PATHS: Final = {
    "tcbInfo": "/tdx/certification/v4/tcb",
    "qeIdentity": "/tdx/certification/v4/qe/identity",
    "pckCrl": "/sgx/certification/v4/pckcrl",
    "rootCrl": "/sgx/certification/v4/rootcacrl",
}
_API: Final = re.compile(r"(?:/(?:sgx|tdx)/certification/v4)?/*\Z")
_KEPT: Final = ("Request-ID", "Warning")  # beside issuer chains
_LONGEST_HEADER: Final = 32 * 1024


class Client:
    """A service at a base URL. UsageError for a URL that is not https, unless its host is this machine.

    The base may be given with `/sgx/certification/v4` at its end, as Intel's own configuration files have it. `context`
    says which certificates of services count (default: the system's); it must verify.
    """

    def __init__(
        self,
        url: str = INTEL,
        *,
        insecure_http: bool = False,
        context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        base = _API.sub("", url)
        self._base, self._limits, self._clock = base, limits or Limits(), clock or Clock()
        self._transport = Transport(
            base, insecure_http=insecure_http, context=context, limits=self._limits, clock=self._clock
        )

    def bundle(
        self,
        fmspc: bytes,
        ca: str,
        *,
        updates: Sequence[str] = ("standard",),
        evaluation_number: int | None = None,
    ) -> Bundle:
        """All documents for an FMSPC (6 bytes) and a CA ("platform", "processor"). NoAnswerError.

        `evaluation_number` asks for that TCB evaluation instead of an update; it is kept as the standard one.
        """
        documents = [self.pck_crl(ca), self.root_crl()]
        for update in updates:
            documents.append(self.tcb_info(fmspc, update, evaluation_number))
            documents.append(self.qe_identity(update, evaluation_number))
        return Bundle.of(documents)

    def tcb_info(self, fmspc: bytes, update: str = "standard", evaluation_number: int | None = None) -> Document:
        query = {"fmspc": fmspc.hex().upper(), **_which(update, evaluation_number)}
        return self._document(Document("tcbInfo", b"", update=update, fmspc=fmspc), query)

    def qe_identity(self, update: str = "standard", evaluation_number: int | None = None) -> Document:
        return self._document(Document("qeIdentity", b"", update=update), _which(update, evaluation_number))

    def pck_crl(self, ca: str) -> Document:
        return self._document(Document("pckCrl", b"", ca=ca), {"ca": ca, "encoding": "der"})

    def root_crl(self) -> Document:
        return self._document(Document("rootCrl", b""), {})

    def _document(self, wanted: Document, query: dict[str, str]) -> Document:
        """`wanted` with what the service answered."""
        url = self._base + _PATHS[wanted.kind]
        if wanted.kind == "rootCrl" and urlsplit(self._base).hostname == urlsplit(INTEL).hostname:
            url = f"{INTEL_CERTIFICATES}/IntelSGXRootCA.der"
        url += f"?{urlencode(query)}" if query else ""
        answer = fetch(self._transport, wanted.name, url, self._limits, self._clock)
        try:
            document = Document(
                wanted.kind,
                answer.body,
                _kept(answer.headers, (*CHAIN_HEADERS[wanted.kind], *_KEPT), wanted.name),
                update=wanted.update,
                fmspc=wanted.fmspc,
                ca=wanted.ca,
                fetched_at=self._clock.now().replace(microsecond=0),
            ).check()
            if wanted.kind == "pckCrl" and not document.chain():
                raise FormatError(wanted.name, f"has no header {CHAIN_HEADERS['pckCrl'][0]}")
        except FormatError as error:
            raise NoAnswerError(wanted.name, url, f"answered with something else: {error}", answer.status) from error
        return document


def _which(update: str, evaluation_number: int | None) -> dict[str, str]:
    """The two ways to choose exclude each other; the standard update is what a service gives unasked."""
    if evaluation_number is not None:
        return {"tcbEvaluationDataNumber": str(evaluation_number)}
    return {} if update == "standard" else {"update": update}


def _kept(headers: Message, names: Sequence[str], what: str) -> dict[str, str]:
    kept = {}
    for name in names:
        values = headers.get_all(name, [])
        if len(set(values)) > 1:
            raise FormatError(what, f"has header {name} twice")
        if values:
            if len(values[0]) > _LONGEST_HEADER or not values[0].isascii():
                raise FormatError(what, f"header {name} is not ASCII text of at most {_LONGEST_HEADER} characters")
            kept[name] = values[0]
    return kept
