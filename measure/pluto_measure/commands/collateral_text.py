"""What `pluto-measure collateral` says: sets of collateral for programs and people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pluto_measure.command import Result
from pluto_measure.wording import counted

if TYPE_CHECKING:
    from pluto_measure.collateral.facts import Family


def said(families: Sequence[Family], wrote: list[str]) -> Result:
    """What fetch and import did, in short."""
    from pluto_measure.collateral.facts import family_facts

    now = datetime.now(UTC)
    facts = [family_facts(family, now) for family in families]
    lines = []
    for one in facts:
        info = one["standard"]["tcbInfo"]
        lines.append(f"FMSPC {one['fmspc']}, {one['ca']} CA: evaluation {info['evaluationNumber']}")
        lines += [f"  early update: {change}" for change in one["earlyChanges"]]
    lines += [f"wrote {name}" for name in wrote]
    return Result(
        {"families": facts, "wrote": wrote}, "".join(f"{line}\n" for line in lines), notes=(*_expired(facts),)
    )


def _expired(facts: Sequence[dict[str, Any]]) -> Iterator[str]:
    from pluto_measure.collateral.facts import DOCUMENTS

    for one in facts:
        for name, words in DOCUMENTS.items():
            if one["standard"][name]["expired"]:
                due = one["standard"][name]["nextUpdate"]
                yield f"warning: {words} of FMSPC {one['fmspc']} was due for an update on {due}"


def shown(families: Sequence[Family], at: datetime, memory: dict[str, object] | None = None) -> Result:
    from pluto_measure.collateral.facts import family_facts, family_text

    facts = [family_facts(family, at) for family in families]
    text = "".join(map(family_text, facts)) + f"{counted(len(facts), 'set')} of collateral\n"
    return Result({"families": facts, **({} if memory is None else {"memory": memory})}, text)
