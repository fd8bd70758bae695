"""Any bytes are refused, or are the very tokens that the pretend Google signed, whatever else is made of them.

From text to verdict, with and without a chain, and the key set that the latter is checked with; only FormatError may be
raised. A token has one spelling, so that one accepted is one that was signed.
"""

from __future__ import annotations

import json
from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.evidence import Envelope, TokenEvidence
from pluto_measure.findings import NotAuthentic
from pluto_measure.formats.confidential_space import SpaceClaims
from pluto_measure.formats.jwks import JwksDocument
from pluto_measure.formats.jwt import Jwt
from pluto_measure.formats.strict_json import loads
from pluto_measure.record import replace
from pluto_measure.verify.confidential_space import token_nonce, verify_token
from simulators.confidential_space import ROOTS, Space, keys, payload_of
from simulators.google_pki import NOW

_CLAIMS = Space().node()
_NONCE = token_nonce(_CLAIMS.binding())
_TOKENS = tuple(space.token(_NONCE) for space in (Space(), Space(pem=True), Space(form="oidc")))
_ENVELOPE: Envelope = Space().envelope(token=_TOKENS[0])
_KEYS = keys()


def target(data: bytes) -> None:
    text = data.decode("latin-1")
    with suppress(FormatError):
        Jwt.parse(text)
    with suppress(FormatError):
        assert JwksDocument.parse(JwksDocument.parse(data).to_text()).to_text()
    with suppress(FormatError):
        if isinstance(payload := loads(data, what="x"), dict):
            SpaceClaims.parse(payload)
    with suppress(FormatError, NotAuthentic):
        envelope = replace(_ENVELOPE, evidence=TokenEvidence(text))
        token = verify_token(envelope, at=NOW, keys=_KEYS, roots=ROOTS)
        assert text in _TOKENS
        assert token.claims.nonces == (_NONCE,)


def seeds() -> list[bytes]:
    payload = json.dumps(payload_of(_NONCE)).encode()
    return [*(token.encode() for token in _TOKENS), _KEYS.to_text().encode(), payload]


def _begin() -> None:
    """The tokens are accepted: a target that refuses everything would find nothing."""
    for token in _TOKENS:
        verify_token(replace(_ENVELOPE, evidence=TokenEvidence(token)), at=NOW, keys=_KEYS, roots=ROOTS)
    JwksDocument.parse(seeds()[3])
    SpaceClaims.parse(loads(seeds()[4], what="x"))


_begin()
