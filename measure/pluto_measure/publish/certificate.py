"""What a signing certificate of Sigstore's authority, Fulcio, says of its signer, and whether a trusted identity fits.

Pure. Nothing is verified here: `pluto_measure.publish.keyless` does that. Fulcio's "Fulcio OIDs" document: extensions
1.3.6.1.4.1.57264.1.N, each from 8 on the DER of one UTF8String. The signer stands in the subject alternative name; the
extensions say on whose behalf the authority believes that. Extension 1, the issuer as raw bytes, is older than 8 and
is not enough on its own. Rules: docs/formats/signatures.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from pluto_measure.errors import FormatError
from pluto_measure.publish.trust import ANY, ANY_TAG, Identity

_WHAT: Final = "signing certificate"
_ARC: Final = "1.3.6.1.4.1.57264.1."
_RAW_ISSUER, _ISSUER = 1, 8
_OPTIONAL: Final = {
    "build_signer_uri": 9,
    "build_signer_digest": 10,
    "runner_environment": 11,
    "source_repository": 12,
    "source_digest": 13,
    "source_ref": 14,
    "repository_id": 15,
    "owner_id": 17,
    "build_config_uri": 18,
    "build_trigger": 20,
    "run_uri": 21,
}
_UTF8_STRING: Final = 0x0C
_TAG: Final = re.compile(r"refs/tags/[A-Za-z0-9][A-Za-z0-9._+-]*", re.ASCII)
_LONGEST: Final = 4096  # bytes of one claim
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def is_bundle(document: object) -> bool:
    """Whether JSON is a Sigstore bundle of whatever version; a plain DSSE envelope has neither of these members."""
    return isinstance(document, dict) and ("mediaType" in document or "verificationMaterial" in document)


@dataclass(frozen=True, slots=True)
class Claims:
    """What one certificate says; None for what it does not say. Text as it stands there, never empty.

    `san` is the signer: the URI of a workflow, or an e-mail address. With a reusable workflow the signer is one
    repository's and the source (`source_repository`, `repository_id`, `source_ref`) another's.
    """

    issuer: str
    san: str
    build_signer_uri: str | None
    build_signer_digest: str | None
    runner_environment: str | None
    source_repository: str | None
    source_digest: str | None
    source_ref: str | None
    repository_id: str | None
    owner_id: str | None
    build_config_uri: str | None
    build_trigger: str | None
    run_uri: str | None

    @classmethod
    def parse(cls, der: bytes) -> Self:
        """From the certificate's DER. FormatError for a doubled, malformed or empty claim, or no signer."""
        try:
            extensions = x509.load_der_x509_certificate(der).extensions
            san = _san(extensions)
        except _UNREADABLE as error:
            raise FormatError(_WHAT, f"cannot be read: {error}") from error
        raw = {extension.oid.dotted_string: extension.value for extension in extensions}
        issuer = _claim(raw, _ISSUER)
        if issuer is None:
            raise FormatError(_WHAT, f"has no issuer (extension {_ARC}{_ISSUER})")
        old = raw.get(f"{_ARC}{_RAW_ISSUER}")
        if isinstance(old, x509.UnrecognizedExtension) and old.value != issuer.encode():
            raise FormatError(_WHAT, "names two issuers")
        return cls(issuer, san, **{name: _claim(raw, number) for name, number in _OPTIONAL.items()})

    @property
    def signer_ref(self) -> str | None:
        """What follows the last @ of a signer that is a URI: the branch, tag or commit of its workflow."""
        path, at, ref = self.san.rpartition("@")
        return ref if at and "://" in path else None

    @property
    def is_foreign_signer(self) -> bool:
        """Whether another repository's workflow signed: whoever may call it gets a certificate in its name."""
        return self.source_repository is not None and not self.san.startswith(f"{self.source_repository}/")


def fits(identity: Identity, claims: Claims) -> tuple[str, ...]:
    """Why a certificate is not that of a trusted identity, sentence by sentence; nothing if it is.

    Each begins with the member of the identity that is at odds (issuer, san, repositoryId, ref), or with signer for
    a certificate that is at odds with itself.
    """
    compared = (
        ("issuer", identity.issuer, claims.issuer),
        ("san", _signer(identity, claims), claims.san),
        ("repositoryId", identity.repository_id, claims.repository_id),
        ("ref", identity.ref, claims.source_ref),
    )
    free = {"repositoryId", "ref"}
    differing = [
        f"{name}: {_shown(found)}, not {wanted!r}"
        for name, wanted, found in compared
        if found != wanted
        and not (name in free and wanted == ANY)
        and not (name == "ref" and _is_any_tag(wanted, found))
    ]
    return (*differing, *_contradictions(identity, claims))


def _signer(identity: Identity, claims: Claims) -> str:
    """The whole name that the signer must have: a workflow that is named without a ref has that of the source."""
    has_ref = identity.is_without_ref and claims.source_ref is not None
    return f"{identity.san}@{claims.source_ref}" if has_ref else identity.san


def _is_any_tag(wanted: str, found: str | None) -> bool:
    return wanted == ANY_TAG and found is not None and _TAG.fullmatch(found) is not None


def _contradictions(identity: Identity, claims: Claims) -> list[str]:
    problems = []
    if claims.build_signer_uri is not None and claims.build_signer_uri != claims.san:
        problems.append(f"signer: {claims.san!r} was built by {claims.build_signer_uri!r}")
    if claims.source_repository is None and "://" in claims.san and identity.repository_id == ANY:
        problems.append("repositoryId: the certificate does not say which repository ran the signer")
    if claims.is_foreign_signer:
        if identity.repository_id == ANY:
            problems.append(
                f"repositoryId: the signer is a workflow that {claims.source_repository!r} calls from elsewhere, as "
                f"anybody could, and {ANY!r} repository would do"
            )
    elif not _is_from_its_source(claims):
        problems.append(f"signer: its workflow is of {claims.signer_ref!r}, the source of {claims.source_ref!r}")
    return problems


def _is_from_its_source(claims: Claims) -> bool:
    """Of a repository's own workflow: whether it was taken from the ref, or the commit, that the source is at."""
    signer = claims.signer_ref
    if signer is None or claims.source_ref is None:
        return True
    return signer in (claims.source_ref, claims.source_digest)


def _shown(value: str | None) -> str:
    return "not stated" if value is None else repr(value)


def _san(extensions: x509.Extensions) -> str:
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        raise FormatError(_WHAT, "has no subject alternative name") from None
    if len(names) != 1:
        raise FormatError(_WHAT, f"has {len(names)} subject alternative names, not one")
    name = names[0]
    if not isinstance(name, x509.UniformResourceIdentifier | x509.RFC822Name):
        raise FormatError(_WHAT, f"its subject alternative name is a {type(name).__name__}, not a URI or an e-mail")
    return _clean(name.value, "subject alternative name")


def _claim(raw: dict[str, x509.ExtensionType], number: int) -> str | None:
    value = raw.get(f"{_ARC}{number}")
    if value is None:
        return None
    if not isinstance(value, x509.UnrecognizedExtension):
        raise FormatError(_WHAT, f"extension {_ARC}{number} is a {type(value).__name__}")
    name = f"extension {_ARC}{number}"
    return _clean(_utf8_string(value.value, name), name)


def _utf8_string(der: bytes, name: str) -> str:
    """The text of one UTF8String in DER: definite length in its shortest form, nothing behind it (X.690, 10.1)."""
    size, begin = (der[1], 2) if len(der) >= 2 else (0, 0)
    if size > 0x80:
        begin += size - 0x80
        size = int.from_bytes(der[2:begin], "big")
    shortest = bytes([size]) if size < 0x80 else _long_form(size)
    if not der or der[0] != _UTF8_STRING or der[1:begin] != shortest or len(der) != begin + size:
        raise FormatError(_WHAT, f"{name} is not the DER of one UTF8String")
    try:
        return der[begin:].decode()
    except UnicodeDecodeError as error:
        raise FormatError(_WHAT, f"{name} is not UTF-8") from error


def _long_form(size: int) -> bytes:
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(length)]) + length


def _clean(text: str, name: str) -> str:
    if not text or len(text) > _LONGEST or not text.isprintable() or text != text.strip():
        raise FormatError(_WHAT, f"{name} is empty, too long, or holds what cannot be printed")
    return text
