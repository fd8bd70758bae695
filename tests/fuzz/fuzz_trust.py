"""Any bytes are a trust file that can be met, where nobody counts twice and no signer is a pattern, or refused."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations

from pluto_measure.errors import FormatError
from pluto_measure.publish.keys import key_id, public_key
from pluto_measure.publish.trust import Trust
from simulators.releases import ED25519, P256, SECP256K1, trust_text

_IDENTITY = '{ issuer = "https://id.example", san = "https://b.example/w.yml@r", repositoryId = "1", ref = "any-tag" }'
_OPEN = '{ issuer = "https://id.example", san = "https://b.example/w.yml", repositoryId = "any", ref = "any-tag" }'


def target(data: bytes) -> None:
    with suppress(FormatError):
        trust = Trust.parse(data)
        names = [one.name for one in trust.organisations]
        assert len(set(names)) == len(names)
        assert 1 <= trust.k <= len(names) <= 64
        assert all(one.keys or one.identities for one in trust.organisations)
        for one, other in combinations(trust.organisations, 2):
            ids = [{key_id(public_key(pem, what="key")) for pem in each.keys} for each in (one, other)]
            assert ids[0].isdisjoint(ids[1])
            assert not set(one.identities) & set(other.identities)
        for identity in (identity for one in trust.organisations for identity in one.identities):
            assert "*" not in identity.issuer + identity.san
            assert identity.san != "any"
            assert identity.may_be(identity)


def seeds() -> list[bytes]:
    texts = (
        trust_text(ED25519, P256, SECP256K1, k=2),
        trust_text(P256, k=2, identities=_IDENTITY),
        trust_text(k=1, identities=f"{_IDENTITY}, {_OPEN}"),
    )
    return [text.encode() for text in texts]


def _begin() -> None:
    """The seeds are trust files."""
    for seed in seeds():
        assert Trust.parse(seed)


_begin()
