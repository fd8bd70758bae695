"""Any bytes in any file of a release: a FormatError or a verdict, accepted only if they say what was released."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from pluto_measure.errors import FormatError
from pluto_measure.evidence import format_time
from pluto_measure.measurements import Measurements
from pluto_measure.publish.digest_list import parse_sums
from pluto_measure.publish.facts import Facts
from pluto_measure.publish.memory import Memory
from pluto_measure.publish.platforms import described
from simulators.releases import ED25519, FACTS, FILES, TEXT, dsse, judged, provenance, release

_TOML = """\
version = 1
channel = "stable"
sequence = 5
minimumSequence = 3
supersedes = 4
revokes = [{ sequence = 2, reason = "x" }]
issuedAt = 2026-11-01T00:00:00Z
notAfter = 2027-11-01T00:00:00Z
source = { repository = "https://git.example/notary", repositoryId = "42" }
td.attributes = { value = "0x10000000", mask = "0x7fffffffbfffffff" }
td.xfam = { value = "0x3", mask = "0xfffffffffff9241b" }
td.mrSeam = "any-signed-by-intel"
td.mrServiceTd = "zero"
[tcbPolicy]
acceptedStatuses = ["UpToDate"]
acceptedAdvisories = []
minimumEvaluationNumber = 20
graceDays = 0
maxCollateralAgeDays = 7
"""
_SUMS = "".join(f"{digest}  {name}\n" for name, digest in sorted({"disk.raw": "00" * 32, "oci/a": "11" * 32}.items()))
_MEMORY = Memory({}).remembering(release(), "aa" * 32).to_text()
_ENVELOPE = dsse(ED25519)


def target(data: bytes) -> None:
    _is_accepted_as(data, {"statement": data, "signatures": _ENVELOPE, "sums": None, "measurements": None})
    if (accepted := _accepted(measurements=data)) is not None:
        # What people read may be another: the digest of the file, which is given here, decides on that.
        assert not accepted or tuple(map(described, Measurements.parse(data).profiles)) == release().platforms
    if (accepted := _accepted(provenance=data)) is not None:
        assert not accepted or json.loads(data)["subject"] == json.loads(provenance().to_text())["subject"]
    with suppress(FormatError):
        facts = Facts.parse(data)
        assert 1 <= facts.place.minimum_sequence <= facts.place.sequence
        assert format_time(facts.validity.issued_at) < format_time(facts.validity.not_after)
        assert facts.tcb.accepted_statuses
    with suppress(FormatError):
        sums = parse_sums(data)
        assert all(len(digest) == 64 and name.isascii() and name.isprintable() for name, digest in sums.items())
    with suppress(FormatError):
        memory = Memory.parse(data)
        assert Memory.parse(memory.to_text()) == memory
        remembered = memory.remembering(release(), "bb" * 32)
        assert remembered.finding(release(sequence=4, minimum_sequence=1, supersedes=None), "cc" * 32).verdict == "fail"


def _accepted(**files: Any) -> bool | None:
    """Whether these files are accepted; None for a FormatError."""
    try:
        found = judged(**files)
    except FormatError:
        return None
    assert found.exit_code in (0, 4, 5)
    assert all(finding.text.isprintable() for finding in found.findings)
    return found.accepted


def _is_accepted_as(data: bytes, files: dict[str, Any]) -> None:
    assert _accepted(**files) in (None, data == TEXT)


def seeds() -> list[bytes]:
    texts = (provenance().to_text(), _TOML, _SUMS, _MEMORY)
    return [TEXT, FILES["measurements.json"], *(text.encode() for text in texts)]


def _begin() -> None:
    """Each seed is what it is meant to be."""
    assert judged(statement=TEXT, sums=None).accepted
    assert judged(measurements=seeds()[1], provenance=seeds()[2]).accepted
    assert Facts.parse(_TOML).validity == FACTS.validity
    assert len(parse_sums(_SUMS.encode())) == 2
    assert Memory.parse(_MEMORY).channels


_begin()
