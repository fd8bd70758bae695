"""Values of an audit: what is in the image, what is known of it, and what that means. Pure.

States of a vulnerability in the version that is in the image, worst first:

fixable       the archives have a version without it: a newer lock would fix it
open          there is no such version yet
noDsa         the same, and Debian plans no advisory of its own for it: a point release may fix it
postponed     the same, to be fixed with something else
ignored       the same, and nobody will
undetermined  nobody has looked yet
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["fixable", "open", "noDsa", "postponed", "ignored", "undetermined"]
Rebuilt = Literal["good", "bad", "unknown"]
Verdict = Literal["fail", "warning", "accepted"]
STATES: Final[tuple[State, ...]] = ("fixable", "open", "noDsa", "postponed", "ignored", "undetermined")
URGENCIES: Final = ("high", "medium", "not yet assigned", "low", "end-of-life", "unimportant")


@dataclass(frozen=True, slots=True)
class Component:
    """A binary package of which something is in the image: `paths` in the root, or files of the build ("pluto.efi")."""

    name: str
    version: str
    architecture: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A source package of which something is in the image.

    `release` is the line of the tracker that speaks of it, `compared` the version to compare with what stands there: a
    backport is a version of unstable, built again.
    """

    name: str
    version: str
    release: str
    compared: str
    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True)
class Inside:
    """What is in an image. `outside`: locked packages of which nothing is; `uncovered`: what the tracker never has."""

    sources: tuple[Source, ...]
    outside: tuple[str, ...]
    uncovered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """What the tracker says of one vulnerability in one release. `fixed`: "" not known, "0" never affected.

    `nodsa` is null where Debian decided nothing; `repositories`: newest version by suite.
    """

    status: Literal["open", "resolved", "undetermined"]
    fixed: str
    urgency: str
    nodsa: str | None
    reason: Literal["", "postponed", "ignored"]
    repositories: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Issue:
    """A vulnerability of one source package, with its status by release. `bug`: number in Debian's bug tracker."""

    id: str
    description: str
    scope: str
    bug: int | None
    releases: Mapping[str, Status]


@dataclass(frozen=True, slots=True)
class Hit:
    """A vulnerability that the image has, and what the policy says of it. `why`: of an acceptance, or its end."""

    source: Source
    issue: Issue
    state: State
    urgency: str
    fixed: str
    nodsa: str
    verdict: Verdict
    why: str = ""

    @property
    def is_fixed_by_a_newer_lock(self) -> bool:
        return self.state == "fixable"
