"""Chooses package versions for a list of wanted relations. Pure and deterministic.

1. Wanted relations come first, then the dependencies of what was chosen, in the order in which they were met.
2. An alternative already chosen satisfies its group. Else the alternatives are tried in the order written, real
   packages before providers, newest version first whatever archive it lies in; a locked version, where one is
   preferred, before newer ones.
3. An excluded name ends its group: the package counts as present and is never chosen. Each use is recorded.
4. A choice that another chosen package conflicts with, or breaks, is undone and the next one is tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pluto_image.debian.archive import Candidate, PackageIndex
from pluto_image.debian.relations import Group, Relation, parse_relations, version_key
from pluto_image.errors import UnresolvableError

STEPS: Final = 20_000  # choices and returns; the notary's image takes some 60
PACKAGES: Final = 400  # one level of recursion each


@dataclass(frozen=True, slots=True)
class Waived:
    """A dependency that an excluded package would have satisfied."""

    package: str
    group: str
    excluded: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """Chosen packages by name, and what the exclude list spared."""

    chosen: tuple[Candidate, ...]
    waived: tuple[Waived, ...]


@dataclass(frozen=True, slots=True)
class _Want:
    group: Group
    chain: tuple[str, ...]  # who wants it, innermost first


@dataclass(frozen=True, slots=True)
class _State:
    """What is decided so far: `wants` before `at` are settled."""

    wants: tuple[_Want, ...]
    at: int = 0
    chosen: Mapping[str, Candidate] = field(default_factory=dict)
    waived: tuple[Waived, ...] = ()

    def take(self, candidate: Candidate, chain: tuple[str, ...]) -> _State:
        """This state with one more package, and with what that package wants."""
        inner = (candidate.name, *chain)
        wants = tuple(_Want(group, inner) for group in candidate.depends)
        return _State((*self.wants, *wants), self.at + 1, {**self.chosen, candidate.name: candidate}, self.waived)


@dataclass(slots=True)
class _Search:
    indexes: Sequence[PackageIndex]
    excluded: frozenset[str]
    prefer: Mapping[str, str]
    steps: int = 0
    failure: tuple[int, str, tuple[str, ...]] = (-1, "nothing was wanted", ())
    known: dict[Relation, tuple[Candidate, ...]] = field(default_factory=dict)

    def candidates(self, relation: Relation) -> tuple[Candidate, ...]:
        """What may satisfy one alternative, best first; excluded packages are among them."""
        if relation not in self.known:
            real = [c for index in self.indexes for c in index.named(relation.name) if relation.allows(c.version)]
            real.sort(key=lambda c: version_key(c.version), reverse=True)
            real.sort(key=lambda c: self.prefer.get(c.name) != c.version)
            virtual = [c for index in self.indexes for c in index.providing(relation.name) if _provides(c, relation)]
            virtual.sort(key=lambda c: version_key(c.version), reverse=True)
            virtual.sort(key=lambda c: (c.name, self.prefer.get(c.name) != c.version))
            self.known[relation] = (*real, *virtual)
        return self.known[relation]

    def fail(self, depth: int, problem: str, chain: tuple[str, ...]) -> None:
        """Keep the failure that came furthest: it is nearest to the cause."""
        if depth > self.failure[0]:
            self.failure = (depth, problem, chain)


def resolve(
    wanted: Sequence[str],
    indexes: Sequence[PackageIndex],
    *,
    architecture: str,
    excluded: frozenset[str] = frozenset(),
    prefer: Mapping[str, str] | None = None,
) -> Resolution:
    """Choose packages for `wanted` (each in the syntax of a Depends group). Raises UnresolvableError, FormatError."""
    search = _Search(indexes, excluded, prefer or {})
    wants = [
        _Want(group, ("the definition",))
        for text in wanted
        for group in parse_relations(text, architecture=architecture)
    ]
    found = _solve(search, _State(tuple(wants)))
    if found is None:
        _, problem, chain = search.failure
        raise UnresolvableError(problem, chain)
    return Resolution(tuple(found.chosen[name] for name in sorted(found.chosen)), found.waived)


def _solve(search: _Search, state: _State) -> _State | None:
    """Depth first, one level per chosen package; None when no choice works."""
    search.steps += 1
    if search.steps > STEPS or len(state.chosen) > PACKAGES:
        raise UnresolvableError(f"gave up after {STEPS} steps or {PACKAGES} packages", search.failure[2])
    state = _settle(search, state)
    if state.at == len(state.wants):
        return state
    want = state.wants[state.at]
    candidates = [c for relation in want.group for c in search.candidates(relation)]
    if not candidates:
        search.fail(len(state.chosen), f"no archive offers {_text(want.group)}", want.chain)
    for candidate in candidates:
        if obstacle := _obstacle(candidate, state.chosen):
            search.fail(len(state.chosen), f"{_text(want.group)}: {obstacle}", want.chain)
        elif (found := _solve(search, state.take(candidate, want.chain))) is not None:
            return found
    return None


def _settle(search: _Search, state: _State) -> _State:
    """Skip the wants that chosen or excluded packages satisfy already."""
    while state.at < len(state.wants):
        want = state.wants[state.at]
        spared = () if _satisfied(want.group, state.chosen) else _spared(search, want)
        if not spared and not _satisfied(want.group, state.chosen):
            break
        state = replace(state, at=state.at + 1, waived=(*state.waived, *spared))
    return state


def _satisfied(group: Group, chosen: Mapping[str, Candidate]) -> bool:
    return any(
        (relation.name in chosen and relation.allows(chosen[relation.name].version))
        or any(_provides(candidate, relation) for candidate in chosen.values())
        for relation in group
    )


def _spared(search: _Search, want: _Want) -> tuple[Waived, ...]:
    """The waiver, when an excluded package comes first among those that could be chosen."""
    for relation in want.group:
        names = [relation.name] if relation.name in search.excluded else []
        names += [c.name for c in search.candidates(relation)][:1]
        if names:
            hit = names[0] in search.excluded
            return (Waived(want.chain[0], _text(want.group), names[0]),) if hit else ()
    return ()


def _obstacle(candidate: Candidate, chosen: Mapping[str, Candidate]) -> str:
    """Why the candidate cannot join the chosen packages; empty if it can."""
    if (other := chosen.get(candidate.name)) is not None:
        return f"{candidate.name} {other.version} is chosen already, but {candidate.version} would be needed"
    for one in chosen.values():
        for left, right in ((candidate, one), (one, candidate)):
            for relation in left.conflicts:
                if (right.name == relation.name and relation.allows(right.version)) or _provides(right, relation):
                    return f"{left.name} {left.version} conflicts with {right.name} {right.version}"
    return ""


def _provides(candidate: Candidate, relation: Relation) -> bool:
    """Policy §7.5: a versioned relation is satisfied by a versioned provision only."""
    return any(
        p.name == relation.name and (not relation.operator or (p.operator == "=" and relation.allows(p.version)))
        for p in candidate.provides
    )


def _text(group: Group) -> str:
    return " | ".join(map(str, group))
