"""What was the newest launch endorsement seen, so that nobody makes us believe an older one. Pure.

Old endorsements stay genuine, and Google revokes none. So two things are remembered. The highest security version
(SVN) of all: no lower one counts from then on, whatever firmware it is for. And of each MRTD when its newest
endorsement was made: no older one of the same MRTD counts. Endorsements of different firmware of one SVN stand side by
side, since machines keep the firmware that they were started with.

The memory as JSON:

    format "pluto-endorsement-memory", version 1,
    svn     the highest that was seen, -1 where none was
    mrtds   {MRTD hex: RFC 3339 time of the newest endorsement}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time, parse_time
from pluto_measure.formats.strict_json import Fields, loads, pretty

if TYPE_CHECKING:
    from pluto_measure.verify.launch_endorsement import VerifiedEndorsement

FORMAT: Final = "pluto-endorsement-memory"
VERSION: Final = 1
LIMIT: Final = 1024 * 1024  # bytes of JSON; one MRTD has 130 bytes
_WHAT: Final = "endorsement memory"
_MRTD: Final = re.compile(r"[0-9a-f]{96}", re.ASCII)


@dataclass(frozen=True, slots=True)
class EndorsementMemory:
    """`svn` is -1 where nothing was seen; `mrtds` has times by MRTD in lower-case hex."""

    svn: int = -1
    mrtds: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """From JSON. FormatError."""
        fields = Fields(loads(text, what=_WHAT, limit=LIMIT), what=_WHAT)
        if (name := fields.take("format", str)) != FORMAT:
            raise FormatError(_WHAT, f"format is {name[:40]!r}, not {FORMAT!r}")
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known; this program reads version {VERSION}")
        svn, listed = fields.take("svn", int), fields.take("mrtds", dict)
        fields.end()
        if not -1 <= svn < 1 << 64:
            raise FormatError(_WHAT, f"svn is {svn}")
        return cls(svn, {name: _time(name, value) for name, value in listed.items()})

    def to_text(self) -> str:
        mrtds = {name: format_time(time) for name, time in sorted(self.mrtds.items())}
        return pretty({"format": FORMAT, "version": VERSION, "svn": self.svn, "mrtds": mrtds})

    def older(self, given: VerifiedEndorsement, mrtd: bytes) -> tuple[str, ...]:
        """In which way an endorsement of this MRTD is older than what was seen, in words; empty: in none."""
        return tuple(self._older(given, mrtd))

    def _older(self, given: VerifiedEndorsement, mrtd: bytes) -> Iterator[str]:
        if given.svn < self.svn:
            yield f"the security version is {given.svn}, seen: {self.svn}"
        newest = self.mrtds.get(mrtd.hex())
        if newest is not None and given.timestamp < newest:
            yield f"it was made at {format_time(given.timestamp)}, seen: {format_time(newest)}"

    def with_seen(self, given: VerifiedEndorsement, mrtd: bytes) -> EndorsementMemory:
        """The memory with what is newer in an endorsement of this MRTD; nothing ever becomes older."""
        name = mrtd.hex()
        newest = max(given.timestamp, self.mrtds.get(name, given.timestamp))
        return EndorsementMemory(max(self.svn, given.svn), {**self.mrtds, name: newest})


def _time(name: str, value: object) -> datetime:
    if not _MRTD.fullmatch(name):
        raise FormatError(_WHAT, f"{name[:40]!r} is no MRTD")
    if not isinstance(value, str):
        raise FormatError(_WHAT, f"the time of {name[:8]} is not text")
    return parse_time(value, what=f"{_WHAT}.{name[:8]}")
