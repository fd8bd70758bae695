"""Any bytes that a trusted organisation signed: a worth and a line for a terminal; they count only as the release."""

from __future__ import annotations

import json

from pluto_measure.digests import Digests
from pluto_measure.publish import notices
from pluto_measure.publish.dissent import dissent
from pluto_measure.publish.notices import CONFIRMATION
from simulators.releases import FILES, NOW, P256, TEXT, THREE, dsse, judged, release, statement

_OTHER = statement({**FILES, "disk.raw": b"mine"}).to_text().encode()


def target(data: bytes) -> None:
    files = dsse(P256, payload=data)
    found = judged(signatures=files, trust=THREE, measurements=None)
    (one,) = found.signatures
    assert one.worth in ("counts", "confirms", "revokes", "disagrees", "other")
    assert (one.worth == "counts") == (data == TEXT)
    assert (one.confirmation is not None) == (one.worth == "confirms")
    assert (one.disagreement is not None) == (one.worth == "disagrees")
    assert one.text.isprintable()
    assert not found.accepted
    if one.disagreement is not None:
        parts = (*one.disagreement.artifacts, *one.disagreement.registers, *one.disagreement.apart)
        assert all((each.what + each.expected + each.actual).isprintable() for each in parts)


def seeds() -> list[bytes]:
    subject = Digests.of(TEXT)
    confirmation = notices.confirmation(release(), NOW, NOW.replace(month=12)).statement(subject)
    revocation = notices.revocation(release(), subject, NOW, "a key was lost")
    texts = (confirmation, revocation, dissent(TEXT, _OTHER))
    return [TEXT, _OTHER, *(one.to_text().encode() for one in texts)]


def _begin() -> None:
    """The seeds are what they are called."""
    worths = [judged(signatures=dsse(P256, payload=one), trust=THREE).signatures[0].worth for one in seeds()]
    assert worths == ["counts", "disagrees", "confirms", "revokes", "disagrees"]
    assert json.loads(seeds()[2])["predicateType"] == CONFIRMATION


_begin()
