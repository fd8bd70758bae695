"""Any bytes are a bundle that gives what was signed, and when, or an error of ours: a FormatError, a VerificationError.

Bytes that are no JSON are put into a good bundle: the first of them says where, in place of what is there.
"""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any

from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.publish import keyless
from pluto_measure.publish.sigstore_bundle import SigstoreBundle
from simulators.sigstore import AT, Checkpointing, PretendSigstore, b64, edited, statement

_HERE = PretendSigstore("fuzz")
_PAYLOAD = statement([("disk.raw", b"disk")], "https://pluto.example/release/v1", {"a": 1})
_OPEN = keyless.opener(_HERE.root())
_WITNESS = Checkpointing(lines=(_HERE.rekor(2).witnessed("one.example", b"note"),))
_GOOD = (
    _HERE.sign(_PAYLOAD, timestamp="good"),
    _HERE.sign(_PAYLOAD, generation=2, checkpoint=_WITNESS),
)
_ENTRY = "verificationMaterial.tlogEntries.0"
_PLACES = (
    "verificationMaterial.certificate.rawBytes",
    "verificationMaterial.timestampVerificationData.rfc3161Timestamps.0.signedTimestamp",
    f"{_ENTRY}.canonicalizedBody",
    f"{_ENTRY}.inclusionProof.hashes.0",
    f"{_ENTRY}.logId.keyId",
    "dsseEnvelope.signatures.0.sig",
    "dsseEnvelope.payload",
)
_NOTE = f"{_ENTRY}.inclusionProof.checkpoint.envelope"


def target(data: bytes) -> None:
    _answer(data)
    if data[:1] and data[:1] != b"{":
        number, content = data[0], data[1:]
        bundle, which = _GOOD[number % 2], number // 2 % (len(_PLACES) + 1)
        if which < len(_PLACES):
            _answer(edited(bundle, _PLACES[which], b64(content)))
        else:
            _answer(edited(bundle, _NOTE, content.decode("utf-8", "replace")))


def _answer(data: bytes) -> None:
    opened, problem = None, ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd serial numbers in certificates
        try:
            opened = _OPEN(data)
        except (FormatError, VerificationError) as error:
            problem = str(error)
    assert len(problem) < 1000
    if opened is None:
        return
    assert (opened.payload, opened.signed_at) == (_PAYLOAD, AT)
    assert opened.certificate == SigstoreBundle.parse(data).certificate


def seeds() -> list[bytes]:
    """Both bundles, and what stands in each place of each."""
    inside = []
    for number, bundle in enumerate(_GOOD):
        for which, where in enumerate((*_PLACES, _NOTE)):
            place: Any = json.loads(bundle)
            for part in where.split("."):
                place = place[int(part) if part.isdigit() else part]
            content = place.encode() if where == _NOTE else base64.b64decode(place)
            inside.append(bytes([2 * which + number]) + content)
    return [*_GOOD, *inside]
