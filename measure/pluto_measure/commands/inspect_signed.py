"""`pluto-measure inspect` on statements, envelopes, bundles, trust files. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from pluto_measure.evidence import format_time
from pluto_measure.publish import certificate, digest_list, dsse, notices, provenance, release
from pluto_measure.publish.certificate import Claims
from pluto_measure.publish.dissent import DISSENT
from pluto_measure.publish.sigstore_bundle import SigstoreBundle
from pluto_measure.publish.statement import Statement
from pluto_measure.publish.trust import Trust

_LISTED: Final = re.compile(rb"[0-9a-f]{64}  \S")
_ORGANISATION: Final = re.compile(rb"^\[\[organisations\]\]", re.MULTILINE)
# Name of each kind of statement, and what reads its predicate strictly where something does.
_KINDS: Final[Mapping[str, tuple[str, Callable[[Statement], object]]]] = {
    release.PREDICATE_TYPE: ("release statement", release.Release.parse),
    provenance.PREDICATE_TYPE: ("provenance", provenance.Provenance.parse),
    notices.CONFIRMATION: ("confirmation", notices.Confirmation.parse),
    notices.REVOCATION: ("revocation", lambda _: None),
    DISSENT: ("dissent", lambda _: None),
}


def document(parsed: Mapping[str, Any], data: bytes) -> dict[str, object] | None:
    """What a JSON document is and says; None where it is none of these. FormatError for one that is malformed."""
    if "_type" in parsed and "predicateType" in parsed:
        return _statement(data)
    if "payloadType" in parsed and "signatures" in parsed:
        envelope = dsse.Envelope.parse(data)
        return {"format": "DSSE envelope", "keyid": envelope.keyid, "payload": _statement(envelope.payload)}
    if certificate.is_bundle(parsed):
        return _bundle(data)
    return None


def text(data: bytes) -> dict[str, object] | None:
    """What a text is and says: a digest list or a trust file; None where it is neither. FormatError."""
    if _LISTED.match(data):
        return {"format": "digest list", "files": digest_list.parse_sums(data)}
    if _ORGANISATION.search(data):
        return _trust(Trust.parse(data))
    return None


def _statement(data: bytes) -> dict[str, object]:
    statement = Statement.parse(data)
    name, read = _KINDS.get(statement.predicate_type, ("in-toto statement", lambda _: None))
    read(statement)
    return {"format": name, **statement.to_json()}


def _bundle(data: bytes) -> dict[str, object]:
    bundle = SigstoreBundle.parse(data)
    payload = dsse.unbase64(bundle.document["dsseEnvelope"]["payload"], "payload")
    at, point = bundle.entry.integrated_at, bundle.entry.checkpoint
    return {
        "format": "Sigstore bundle",
        "certificate": asdict(Claims.parse(bundle.certificate)),
        "log": {
            "rekor": bundle.entry.rekor,
            "id": bundle.entry.log_id.hex(),
            "integratedAt": None if at is None else format_time(at),
            "origin": point.origin,
            "size": point.size,
        },
        "timestamp": bundle.has_timestamp,
        "payload": _statement(payload),
    }


def _trust(trust: Trust) -> dict[str, object]:
    organisations = [
        {"name": one.name, "keys": list(one.keys), "identities": [asdict(each) for each in one.identities]}
        for one in trust.organisations
    ]
    return {
        "format": "trust file",
        "k": trust.k,
        "maxConfirmationAge": trust.max_confirmation_age,
        "organisations": organisations,
    }
