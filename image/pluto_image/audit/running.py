"""Which build a file says that something runs: a proof, what `pluto-deploy status` printed, any other document. Pure.

Nothing here is proved. `pluto-notary verify-proof` and `pluto-deploy verify` prove.

    proof       statement.message.build, and claims.buildId of the key's evidence: both have to be of one build
    deployment  the release of the machine that serves, by the digest of its release.json
    document    every member `buildId` in it: evidence, launch.json, /health of a notary, a verdict of `verify`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pluto_measure.errors import FormatError
from pluto_measure.findings import Finding
from pluto_measure.formats.strict_json import loads

LIMIT: Final = 64 * 1024 * 1024
_WHAT: Final = "what runs"
_DIGEST: Final = re.compile(r"(?:0x)?([0-9a-f]{64})", re.ASCII)
_MOST: Final = 1_000_000  # members looked at
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Running:
    """`builds`: build ids, `releases`: digests of release.json, all in hex, sorted. A deployment may serve nothing."""

    kind: Literal["proof", "deployment", "document"]
    builds: tuple[str, ...]
    releases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """By which names a release is known: its build id, and the digests by which a deployment calls it."""

    build_id: str
    releases: frozenset[str]


def parse(data: bytes) -> Running:
    """What the file names. FormatError where it names no build."""
    document = loads(data, what=_WHAT, limit=LIMIT)
    if isinstance(document, dict) and {"statement", "keyEvidence"} <= document.keys():
        named = _member(document, "statement", "message", "build")
        builds = {_digest(named, "statement.message.build"), *_build_ids(document)}
        return Running("proof", tuple(sorted(builds)))
    if isinstance(document, dict) and {"deployment", "target"} <= document.keys():
        return Running("deployment", (), _served(document))
    if builds := set(_build_ids(document)):
        return Running("document", tuple(sorted(builds)))
    raise FormatError(
        _WHAT, "names no build", hint="give a proof, evidence, or what 'pluto-deploy status --json' printed"
    )


def judge(running: Running, names: Names) -> Finding:
    """Whether what runs is the release that was audited, and nothing else."""
    wanted = {names.build_id} if running.kind != "deployment" else names.releases
    found = set(running.builds or running.releases)
    what = "build" if running.kind != "deployment" else "release"
    if not found:
        return Finding("running.build", "fail", "nothing serves, so nothing that runs was audited")
    if others := sorted(found - wanted):
        shown = ", ".join(one[:_SHOWN] for one in others[:3])
        text = f"what runs is not what was audited, but {what} {shown}: audit the release that it is of"
        if found & wanted:
            text = f"what was audited is named, but {what} {shown} as well: it cannot be both"
        return Finding("running.build", "fail", text, expected=names.build_id, actual=others[0])
    return Finding("running.build", "pass", f"what runs is this {what}, by its own word")


def _served(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The digest of the release that serves. FormatError for what `pluto-deploy status` does not print."""
    serving, machines = _member(document, "target", "serving"), _member(document, "target", "machines")
    if serving is None:
        return ()
    if not isinstance(machines, list):
        raise FormatError(_WHAT, "target.machines is not a list")
    for machine in machines:
        if isinstance(machine, dict) and machine.get("slot") == serving:
            return (_digest(_member(machine, "generation", "release"), "generation.release"),)
    raise FormatError(_WHAT, "no machine is in the slot that serves")


def _build_ids(document: object) -> Iterator[str]:
    """Every member of that name, wherever it is; null is none."""
    left, seen = [document], 0
    while left:
        value = left.pop()
        if (seen := seen + 1) > _MOST:
            raise FormatError(_WHAT, f"more than {_MOST} values")
        if isinstance(value, dict):
            if (named := value.get("buildId")) is not None:
                yield _digest(named, "buildId")
            left += value.values()
        elif isinstance(value, list):
            left += value


def _member(value: object, *path: str) -> Any:
    for name in path:
        if not isinstance(value, dict) or name not in value:
            raise FormatError(_WHAT, f"{'.'.join(path)} is missing")
        value = value[name]
    return value


def _digest(value: object, name: str) -> str:
    match = _DIGEST.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise FormatError(_WHAT, f"{name} is not 32 bytes in lower-case hex")
    return match[1]
