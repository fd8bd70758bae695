"""Any bytes are a statement, which is written and read again as the same one, or a FormatError; so are those in it."""

from __future__ import annotations

import re
from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.publish.provenance import Provenance
from pluto_measure.publish.release import Release
from pluto_measure.publish.statement import Statement
from simulators.releases import TEXT, provenance, statement

_NAME = re.compile(r"(?!.*(^|/)\.)[A-Za-z0-9._+/-]{1,255}")


def target(data: bytes) -> None:
    with suppress(FormatError):
        found = Statement.parse(data)
        names = [subject.name for subject in found.subjects]
        assert names == sorted(set(names)) != []
        for subject in found.subjects:
            assert _NAME.fullmatch(subject.name)
            assert not subject.name.startswith("/")
            assert (len(subject.digests.sha256), len(subject.digests.sha384)) == (32, 48)
        assert Statement.parse(found.to_text()) == found
        with suppress(FormatError):
            release = Release.parse(found)
            place = release.facts.place
            assert 1 <= place.minimum_sequence <= place.sequence
            assert all(one.sequence < place.sequence for one in place.revokes)
            assert not (release.flavour == "release" and release.source.dirty)
            assert "qemu-vtpm" not in [platform["platform"] for platform in release.platforms]
            assert Release.parse(Statement(found.subjects, found.predicate_type, release.to_json())) == release
        with suppress(FormatError):
            told = Provenance.parse(found)
            assert len(told.commit) in (40, 64)
            assert f"{told.builder}{told.ref}{told.invocation}".isprintable()


def seeds() -> list[bytes]:
    small = statement({"a": b"a", "b/c": b"c"}, components=(), platforms=())
    return [TEXT, small.to_text().encode(), provenance().to_text().encode()]


def _begin() -> None:
    """The seeds are read: a target that refuses everything would find nothing."""
    for seed in seeds()[:2]:
        assert Release.parse(Statement.parse(seed))
    assert Provenance.parse(Statement.parse(seeds()[2]))


_begin()
