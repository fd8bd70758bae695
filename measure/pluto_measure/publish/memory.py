"""What a verifier remembers of releases, so that no older one is accepted after a newer one. Pure.

A JSON object; a channel of a name has one entry: the highest sequence that was accepted, its statement's digest, the
highest minimumSequence, and every sequence that was revoked, by a later release or by a revocation. Where one was
revoked before any was accepted, the first three are zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.findings import Finding
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_measure.publish.release import Release

FILE: Final = "releases.json"
VERSION: Final = 1
_NONE: Final = "00" * 32


@dataclass(frozen=True, slots=True)
class Seen:
    """One channel. `statement`: SHA-256 in hex of the release.json with the highest sequence."""

    sequence: int
    statement: str
    minimum: int
    revoked: frozenset[int]


_NOTHING: Final = Seen(0, _NONE, 0, frozenset())


@dataclass(frozen=True, slots=True)
class Memory:
    """By "name/channel"."""

    channels: Mapping[str, Seen]

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """FormatError for anything that `to_text` does not write."""
        fields = Fields(loads(text, what=FILE), what=FILE)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(FILE, f"version {version} is not known")
        listed = fields.take("channels", dict)
        fields.end()
        return cls({name: _seen(value, f"{FILE}.{name[:80]}") for name, value in listed.items()})

    def to_text(self) -> str:
        channels = {
            name: {
                "sequence": seen.sequence,
                "statement": seen.statement,
                "minimumSequence": seen.minimum,
                "revoked": sorted(seen.revoked),
            }
            for name, seen in sorted(self.channels.items())
        }
        return pretty({"version": VERSION, "channels": channels})

    def finding(self, release: Release, digest: str) -> Finding:
        """Whether this release may follow what was seen. `digest`: SHA-256 of its release.json in hex."""
        sequence, seen = release.facts.place.sequence, self.channels.get(_key(release))
        check = "release.rollback"
        if seen is None or (seen.sequence == 0 and sequence not in seen.revoked):
            return Finding(check, "pass", "no release of this channel was accepted before", None, sequence)
        floor = f"at least {max(seen.sequence, seen.minimum)}"
        if sequence in seen.revoked:
            text = "this release was revoked, by one that was accepted before or by a revocation that was seen"
            return Finding(check, "fail", text, floor, sequence)
        if sequence < seen.sequence:
            return Finding(check, "fail", "a newer release of this channel was accepted before", floor, sequence)
        if sequence == seen.sequence and digest != seen.statement:
            text = "another release with this sequence was accepted before: its publisher signed two"
            return Finding(check, "fail", text, seen.statement, digest)
        return Finding(check, "pass", "no newer release of this channel was accepted before", floor, sequence)

    def forbids(self, release: Release) -> bool:
        """Whether a remembered release revoked this one, or said that only newer ones may run."""
        seen = self.channels.get(_key(release))
        sequence = release.facts.place.sequence
        return seen is not None and (sequence in seen.revoked or sequence < seen.minimum)

    def remembering(self, release: Release, digest: str) -> Memory:
        """With an accepted release."""
        facts, key = release.facts, _key(release)
        old = self.channels.get(key, _NOTHING)
        newest = (
            (facts.place.sequence, digest) if facts.place.sequence >= old.sequence else (old.sequence, old.statement)
        )
        revoked = old.revoked | {one.sequence for one in facts.place.revokes}
        seen = Seen(*newest, max(old.minimum, facts.place.minimum_sequence), revoked)
        return Memory({**self.channels, key: seen})

    def revoking(self, release: Release) -> Memory:
        """With a release that somebody trusted revoked, whether or not it was ever accepted."""
        key = _key(release)
        old = self.channels.get(key, _NOTHING)
        revoked = old.revoked | {release.facts.place.sequence}
        return Memory({**self.channels, key: replace(old, revoked=revoked)})


def _key(release: Release) -> str:
    """A debug build of a release has a sequence of its own: it is another statement, and no equivocation."""
    place = f"{release.name}/{release.facts.place.channel}"
    return place if release.flavour == "release" else f"{place}/{release.flavour}"


def _seen(value: object, what: str) -> Seen:
    fields = Fields(value, what=what)
    sequence, minimum = fields.take("sequence", int), fields.take("minimumSequence", int)
    statement, revoked = fields.hex("statement", 32).hex(), fields.take("revoked", list)
    fields.end()
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in revoked):
        raise FormatError(what, "sequences are numbers from 1 on")
    seen = Seen(sequence, statement, minimum, frozenset(revoked))
    is_empty = seen == replace(_NOTHING, revoked=seen.revoked) and revoked
    if any(one < 1 for one in (*revoked, *(() if is_empty else (sequence, minimum)))):
        raise FormatError(what, "sequences are numbers from 1 on")
    return seen
