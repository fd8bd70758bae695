"""One signature file of a release: whose it is, and what it is worth under a trust file. Pure.

    counts     a trusted organisation signed these very bytes
    disagrees  a trusted organisation signed other bytes for the same release
    other      a trusted organisation signed something else
    unknown    nobody that the trust file names
    invalid    not a signature, or one that does not hold

A file that is not understood can only lower trust: whoever can add one can also take one away.
Sigstore's bundles are opened by the caller's function, so that nobody loads that library for plain keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from pluto_measure.errors import FormatError, PlutoError, UsageError, VerificationError
from pluto_measure.event_text import safe
from pluto_measure.formats.strict_json import loads
from pluto_measure.publish.certificate import Claims, fits, is_bundle
from pluto_measure.publish.dsse import Envelope
from pluto_measure.publish.keys import key_id, public_key, verifies
from pluto_measure.publish.release import PREDICATE_TYPE
from pluto_measure.publish.statement import LIMIT, PAYLOAD_TYPE
from pluto_measure.trust import Organisation, Trust

Worth = Literal["counts", "disagrees", "other", "unknown", "invalid"]
FOLDER: Final = "signatures"


class Opened(Protocol):
    """A Sigstore bundle whose signature, certificate and log entry hold; nothing is said of who signed."""

    @property
    def payload_type(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def certificate(self) -> bytes: ...
    @property
    def signed_at(self) -> datetime | None: ...


OpenBundle = Callable[[bytes], Opened]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a file of signatures/ is worth. `signer`: a key's id or a certificate's name, as far as it is known."""

    file: str
    worth: Worth
    signer: str
    organisation: str | None
    text: str
    signed_at: datetime | None = None


def appraise(file: str, data: bytes, payload: bytes, trust: Trust, open_bundle: OpenBundle) -> Signature:
    """Judge one file. `payload`: the bytes of release.json."""
    try:
        document = loads(data, what=file, limit=2 * LIMIT)
        if is_bundle(document):
            return _by_certificate(file, data, payload, trust, open_bundle)
        return _by_key(file, Envelope.from_json(document, what=file), payload, trust)
    except (FormatError, VerificationError) as error:
        return Signature(file, "invalid", "", None, safe(str(error)))
    except UsageError as error:  # the library that opens bundles is not installed: nobody knows who signed
        more = f" ({error.hint})" if error.hint else ""
        return Signature(file, "unknown", "", None, f"cannot be looked at: {error}{more}")


def _by_key(file: str, envelope: Envelope, payload: bytes, trust: Trust) -> Signature:
    for organisation, pem in _keys(trust):
        key = public_key(pem, what="trust")
        if key_id(key) != envelope.keyid:
            continue
        name = organisation.name
        if not verifies(key, envelope.signature, envelope.message):
            return Signature(file, "invalid", envelope.keyid, name, f"is no signature of {name}'s key over its payload")
        return _judged(file, envelope.payload, payload, envelope.keyid, name, None)
    return Signature(file, "unknown", envelope.keyid, None, "the key is not in the trust file")


def _by_certificate(file: str, data: bytes, payload: bytes, trust: Trust, open_bundle: OpenBundle) -> Signature:
    opened = open_bundle(data)
    if opened.payload_type != PAYLOAD_TYPE:
        raise FormatError(file, f"payload type {opened.payload_type[:80]!r} is not {PAYLOAD_TYPE}")
    claims = Claims.parse(opened.certificate)
    reasons: list[str] = []
    for organisation in trust.organisations:
        for identity in organisation.identities:
            if not (found := fits(identity, claims)):
                return _judged(file, opened.payload, payload, claims.san, organisation.name, opened.signed_at)
            reasons = list(found) if not reasons or len(found) < len(reasons) else reasons
    why = f": {reasons[0]}" if reasons else ""
    return Signature(file, "unknown", claims.san, None, f"the signer is not in the trust file{why}", opened.signed_at)


def _judged(file: str, signed: bytes, payload: bytes, signer: str, organisation: str, at: datetime | None) -> Signature:
    if signed == payload:
        return Signature(file, "counts", signer, organisation, f"{organisation} signed this release", at)
    if difference := _disagreement(signed, payload):
        text = f"{organisation} signed other bytes for this release: {difference}"
        return Signature(file, "disagrees", signer, organisation, text, at)
    text = f"{organisation} signed something else, which says nothing of this release"
    return Signature(file, "other", signer, organisation, text, at)


def _disagreement(signed: bytes, payload: bytes) -> str:
    """What another statement says of the same release; empty if it is about something else.

    The statement is somebody's who is trusted, and perhaps of a version that is not known here: it is read loosely, so
    that nothing which names this release passes for something else.
    """
    try:
        theirs, ours = loads(signed, what="statement", limit=LIMIT), loads(payload, what="statement", limit=LIMIT)
    except PlutoError:
        return ""
    if _about(theirs) is None or _about(theirs) != _about(ours):
        return ""
    return first_difference(theirs, ours)


def _about(statement: Any) -> tuple[object, ...] | None:
    """Name, channel and sequence of the release that a statement is about; None where it names none."""
    predicate = statement.get("predicate") if isinstance(statement, dict) else None
    if not isinstance(predicate, dict) or statement.get("predicateType") != PREDICATE_TYPE:
        return None
    return tuple(predicate.get(name) for name in ("name", "channel", "sequence"))


def first_difference(theirs: Any, ours: Any) -> str:
    """Where two JSON values differ first, as a pointer; empty if nowhere. Fit for a terminal, whoever wrote them."""
    try:
        return safe(_first(theirs, ours, ""))
    except RecursionError:
        return "they are nested too deeply to be compared"


def _first(theirs: Any, ours: Any, at: str) -> str:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted({*theirs, *ours}):
            if name not in theirs or name not in ours:
                return f"{at}/{name} is in one of them only"
            if found := _first(theirs[name], ours[name], f"{at}/{name}"):
                return found
        return ""
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return next((found for i, pair in pairs if (found := _first(*pair, f"{at}/{_named(pair[1], i)}"))), "")
    return "" if theirs == ours and type(theirs) is type(ours) else f"{at} differs"


def _named(value: Any, index: int) -> str:
    """A list's member by its own name, which tells more than its place."""
    name = value.get("name", value.get("id")) if isinstance(value, dict) else None
    return name if isinstance(name, str) else str(index)


def _keys(trust: Trust) -> Iterator[tuple[Organisation, str]]:
    for organisation in trust.organisations:
        for pem in organisation.keys:
            yield organisation, pem
