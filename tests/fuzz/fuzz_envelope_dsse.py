"""Any bytes are an envelope in one spelling or a FormatError; none counts but what a trusted key signed."""

from __future__ import annotations

import json

from pluto_measure.errors import FormatError
from pluto_measure.publish.dsse import Envelope
from pluto_measure.publish.signature import appraise
from simulators.releases import ED25519, OTHER, P256, SECP256K1, THREE, dsse, no_bundle, statement

_PAYLOAD = statement({"a": b"a"}, components=(), platforms=()).to_text().encode()
_ELSE = statement({"a": b"a"}, components=(), platforms=(), sequence=9).to_text().encode()
_SIGNED = tuple(data for _, data in dsse(ED25519, P256, SECP256K1, payload=_PAYLOAD))
_CONTENTS = [json.loads(data) for data in _SIGNED]


def target(data: bytes) -> None:
    try:
        found = Envelope.parse(data)
        assert Envelope.parse(found.to_text()) == found
        assert found.to_json() == json.loads(data)
    except FormatError:
        found = None
    if b"mediaType" in data or b"verificationMaterial" in data:
        return  # the bundles of Sigstore have targets of their own
    worth = appraise("signatures/x", data, _PAYLOAD, THREE, no_bundle)
    assert (worth.worth == "counts") == (found is not None and found.to_json() in _CONTENTS)
    assert worth.text.isprintable()


def seeds() -> list[bytes]:
    return [*_SIGNED, *(data for _, data in (*dsse(OTHER, payload=_PAYLOAD), *dsse(P256, payload=_ELSE)))]
