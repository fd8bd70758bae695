"""The trust file: whose signatures make reference values count, and how many of them. Pure: TOML in, a value out.

`k` organisations must have signed the same values; an organisation signs by any of its identities (a certificate of
Sigstore's, told by issuer and by the very workflow that it names) or by any of its keys. `k` of them must have said it
again within `maxConfirmationAge`, too. Every field is required, an unknown one is an error: what is not set is never
taken for "not checked". Format: docs/formats/trust.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Literal, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.publish.keys import pem_of, public_key
from pluto_measure.toml import table

VERSION: Final = 2
ANY: Final = "any"
ANY_TAG: Final = "any-tag"
_WHAT: Final = "trust"
_MOST: Final = 64  # organisations, and signers of one
_LONGEST: Final = 10 * 366 * 86400
_AGE: Final = "maxConfirmationAge"
_UNSET: Final = (
    f'set version = {VERSION} and {_AGE}: in seconds, such as 2592000 for 30 days, or "any" for what version 1 meant'
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A signer by certificate. Every member is compared exactly; only `repository_id` and `ref` may be "any".

    A workflow may be named without the ref that follows its "@": it must then be that of the source, and `ref` an exact
    one or "any-tag", so that a publisher's trust file holds for all of its releases.
    """

    issuer: str
    san: str
    repository_id: str
    ref: str

    @classmethod
    def parse(cls, value: object, what: str) -> Self:
        fields = Fields(value, what=what)
        identity = cls(*(_said(fields, name, what) for name in ("issuer", "san", "repositoryId", "ref")))
        fields.end()
        for name, text in (("issuer", identity.issuer), ("san", identity.san)):
            if text == ANY or "*" in text:
                raise FormatError(what, f"{name} must be spelled out: anybody could sign for a pattern")
        if identity.is_without_ref and identity.ref == ANY:
            raise FormatError(what, f'san ends without a ref, so ref must be one, or "{ANY_TAG}"')
        return identity

    @property
    def is_without_ref(self) -> bool:
        """Whether `san` is a workflow without the branch or tag that it was taken from."""
        return "://" in self.san and "@" not in self.san

    def may_be(self, other: Identity) -> bool:
        """Whether one signer may be both."""
        if self.issuer != other.issuer or not (self.san == other.san or _same_workflow(self, other)):
            return False
        free = (ANY, ANY_TAG)
        repositories = self.repository_id == other.repository_id or ANY in (self.repository_id, other.repository_id)
        return repositories and (self.ref == other.ref or self.ref in free or other.ref in free)


@dataclass(frozen=True, slots=True)
class Organisation:
    """Who signs. `keys`: PEM text of public keys (ed25519, or ECDSA on P-256 or secp256k1), in one spelling."""

    name: str
    identities: tuple[Identity, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word is needed: `k` of the organisations. `max_confirmation_age`: how old it may be, in seconds."""

    k: int
    max_confirmation_age: int | Literal["any"]
    organisations: tuple[Organisation, ...]

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """FormatError for anything unknown, missing, of the wrong kind or impossible to meet."""
        fields = Fields(table(text, what=_WHAT), what=_WHAT)
        _known_version(fields)
        k, age, listed = fields.take("k", int), _age(fields), fields.take("organisations", list)
        fields.end()
        if len(listed) > _MOST:
            raise FormatError(_WHAT, f"{len(listed)} organisations are more than {_MOST}")
        organisations = tuple(_organisation(item, f"{_WHAT}.organisations[{i}]") for i, item in enumerate(listed))
        if len({organisation.name for organisation in organisations}) != len(organisations):
            raise FormatError(_WHAT, "an organisation's name occurs twice, so its word would count twice")
        if not 1 <= k <= len(organisations):
            raise FormatError(_WHAT, f"k is {k}, and there are {len(organisations)} organisations")
        for first, second in combinations(organisations, 2):
            if _share_a_signer(first, second):
                raise FormatError(_WHAT, f"{first.name!r} and {second.name!r} share a signer, who would count twice")
        return cls(k, age, organisations)


def _known_version(fields: Fields) -> None:
    """Version 1 left open how old a confirmation may be, and nobody is to find that out by an old release."""
    if (version := fields.take("version", int)) == 1:
        raise FormatError(_WHAT, f"version 1 does not say how old a confirmation may be ({_AGE})", hint=_UNSET)
    if version != VERSION:
        raise FormatError(_WHAT, f"version {version} is not known")


def _age(fields: Fields) -> int | Literal["any"]:
    value = fields.take(_AGE, int, str)
    if value == ANY:
        return "any"
    if isinstance(value, str) or not 1 <= value <= _LONGEST:
        raise FormatError(_WHAT, f'{_AGE} must be "any" or a number of seconds, at most ten years')
    return int(value)


def _same_workflow(one: Identity, other: Identity) -> bool:
    """Whether one of them leaves open what the other says of the workflow's ref."""
    names = {identity.san.partition("@")[0] for identity in (one, other)}
    return len(names) == 1 and (one.is_without_ref or other.is_without_ref)


def _share_a_signer(first: Organisation, second: Organisation) -> bool:
    is_both = any(one.may_be(other) for one in first.identities for other in second.identities)
    return is_both or not set(first.keys).isdisjoint(second.keys)


def _organisation(value: object, what: str) -> Organisation:
    fields = Fields(value, what=what)
    name = _said(fields, "name", what)
    identities, keys = fields.take("identities", list), fields.take("keys", list)
    fields.end()
    if len(identities) + len(keys) > _MOST:
        raise FormatError(what, f"{len(identities) + len(keys)} signers are more than {_MOST}")
    if not identities and not keys:
        raise FormatError(what, f"{name!r} has neither an identity nor a key, so it could never sign")
    return Organisation(
        name,
        tuple(Identity.parse(item, f"{what}.identities[{i}]") for i, item in enumerate(identities)),
        tuple(_key(item, f"{what}.keys[{i}]") for i, item in enumerate(keys)),
    )


def _said(fields: Fields, name: str, what: str) -> str:
    text: str = fields.take(name, str)
    if not text or text != text.strip():
        raise FormatError(what, f"{name} is empty or has spaces around it")
    return text


def _key(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise FormatError(what, f"must be PEM text, not {type(value).__name__}")
    return pem_of(public_key(value, what=what))
