"""Any bytes are a certificate that names one signer, in words that can be printed, or a FormatError."""

from __future__ import annotations

import warnings
from dataclasses import astuple

from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure.errors import FormatError
from pluto_measure.publish.certificate import Claims, fits
from pluto_measure.publish.trust import ANY, Identity
from simulators.intel import key_of
from simulators.sigstore import AT, GITHUB, Fulcio, Signer, person, workflow


def target(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of serial numbers that RFC 5280 does not allow
        try:
            claims = Claims.parse(data)
        except FormatError:
            return
    said = [text for text in astuple(claims) if text is not None]
    assert all(text and text == text.strip() and text.isprintable() for text in said)
    own = fits(Identity(claims.issuer, claims.san, ANY, ANY), claims)
    assert all(one.startswith(("signer: ", "repositoryId: ", "san: ")) for one in own)
    assert fits(Identity(f"{claims.issuer}x", claims.san, ANY, ANY), claims)
    assert fits(Identity(claims.issuer, f"{claims.san}x", ANY, ANY), claims)


def seeds() -> list[bytes]:
    signers = (
        workflow(), person(), workflow(signer="pluto/builder/.github/workflows/build.yml@refs/tags/v7"),
        Signer("https://a.example/b", GITHUB, {21: "r" * 300}), Signer("https://a.example/b", GITHUB, {8: b"\x0c\0"}),
    )  # fmt: skip
    fulcio, public = Fulcio.of("fuzz", AT), key_of("leaf").public_key()
    return [fulcio.issue(one, public, AT, sct=fulcio.log_key).public_bytes(Encoding.DER) for one in signers]
