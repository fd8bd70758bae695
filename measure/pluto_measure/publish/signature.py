"""One signature file of a release: whose it is, and what it is worth under a trust file. Pure.

    counts     a trusted organisation signed these very bytes
    confirms   a trusted organisation says that the release is still good
    revokes    a trusted organisation says that the release must not run any more
    disagrees  a trusted organisation signed other bytes for the same release, or got others when it rebuilt it
    other      a trusted organisation signed something else
    unknown    nobody that the trust file names
    invalid    not a signature, or one that does not hold

A file that is not understood can only lower trust: whoever can add one can also take one away. A revocation is the one
thing whose absence raises it, so a trust file also asks how old a confirmation may be.
Sigstore's bundles are opened by the caller's function, so that nobody loads that library for plain keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError, PlutoError, UsageError, VerificationError
from pluto_measure.event_text import safe
from pluto_measure.evidence import format_time
from pluto_measure.formats.strict_json import loads
from pluto_measure.publish import notices
from pluto_measure.publish.certificate import Claims, fits, is_bundle
from pluto_measure.publish.dissent import Disagreement, between, is_dissent
from pluto_measure.publish.dsse import Envelope
from pluto_measure.publish.keys import key_id, public_key, verifies
from pluto_measure.publish.notices import Confirmation
from pluto_measure.publish.release import PREDICATE_TYPE
from pluto_measure.publish.statement import LIMIT, PAYLOAD_TYPE, Statement
from pluto_measure.publish.trust import Organisation, Trust

Worth = Literal["counts", "confirms", "revokes", "disagrees", "other", "unknown", "invalid"]
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
    """What a file of signatures/ is worth. `signer`: a key's id or a certificate's name, as far as it is known.

    `signed_at`: by a log or a timestamp authority; None with a plain key. `confirmation` and `disagreement` belong to
    the worths of these names.
    """

    file: str
    worth: Worth
    signer: str
    organisation: str | None
    text: str
    signed_at: datetime | None = None
    confirmation: Confirmation | None = None
    disagreement: Disagreement | None = None

    def confirmed_at(self, issued_at: datetime, at: datetime) -> datetime | None:
        """When it says that the release is good, if it still says so at `at`. Signatures over the release say it of
        the day that is written there, or of the day when they were logged or stamped.
        """
        if self.worth == "counts":
            return self.signed_at or issued_at
        if self.confirmation is None or at > self.confirmation.until:
            return None
        said = self.confirmation.confirmed_at
        return said if self.signed_at is None else min(said, self.signed_at)


@dataclass(frozen=True, slots=True)
class _Signer:
    """Who signed a file."""

    file: str
    signer: str
    organisation: str
    at: datetime | None

    def says(self, worth: Worth, text: str, **more: Any) -> Signature:
        return Signature(self.file, worth, self.signer, self.organisation, text, self.at, **more)


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
        return _judged(_Signer(file, envelope.keyid, name, None), envelope.payload, payload)
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
                who = _Signer(file, claims.san, organisation.name, opened.signed_at)
                return _judged(who, opened.payload, payload)
            reasons = list(found) if not reasons or len(found) < len(reasons) else reasons
    why = f": {reasons[0]}" if reasons else ""
    return Signature(file, "unknown", claims.san, None, f"the signer is not in the trust file{why}", opened.signed_at)


def _judged(who: _Signer, signed: bytes, payload: bytes) -> Signature:
    """What a trusted signer's statement says of the release."""
    name = who.organisation
    if signed == payload:
        return who.says("counts", f"{name} signed this release")
    other = who.says("other", f"{name} signed something else, which says nothing of this release")
    try:
        return _said(who, signed, payload) or other
    except PlutoError:  # what is no statement, or a confirmation that is not understood
        return other


def _said(who: _Signer, signed: bytes, payload: bytes) -> Signature | None:
    """The same for other bytes; None where they say nothing of it. FormatError.

    A statement is perhaps of a version that is not known here, and is read loosely where it can only lower trust, so
    that nothing which names this release passes for something else.
    """
    name, digests = who.organisation, Digests.of(payload)
    theirs, ours = loads(signed, what="statement", limit=LIMIT), loads(payload, what="statement", limit=LIMIT)
    if reason := notices.revokes(theirs, digests.sha256.hex()):
        return who.says("revokes", f"{name} revoked this release: {safe(reason)}")
    if is_dissent(theirs, ours, digests.sha256.hex()):
        found = between(theirs, ours)
        what = found.to_text() or "release.json alone"
        return who.says("disagrees", f"{name} rebuilt this release and got other bytes: {what}", disagreement=found)
    if _about(theirs) is not None and _about(theirs) == _about(ours) and (first := first_difference(theirs, ours)):
        text = f"{name} signed other bytes for this release: {first}"
        return who.says("disagrees", text, disagreement=between(theirs, ours))
    if not isinstance(theirs, dict) or theirs.get("predicateType") != notices.CONFIRMATION:
        return None
    statement = Statement.parse(signed)  # strictly, since it raises trust
    confirmation = Confirmation.parse(statement)
    if not notices.confirms(statement, digests):
        return None
    told, until = format_time(confirmation.confirmed_at), format_time(confirmation.until)
    text = f"{name} says that this release was good at {told}, until {until}"
    return who.says("confirms", text, confirmation=confirmation)


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
