"""What keeps a platform from being up to date, by how much, and what its operator has to update. Pure; words and facts.

It explains the evaluation of `verify.tcb` and decides nothing. Two rules of the platform decide what comes after an
update (Intel PCS API v4; TDX module ABI 348551):

- SVNs of SGX components and PCE come from the PCK certificate, which states the TCB that it was issued for. After an
  update it must be fetched again, or the quote still shows the old one. The microcode's SVN is in the TD report, too:
  where that is the newer one, the certificate is old, not the machine.
- SVNs of the TDX module and its components come from the TD report as they were at the launch of the TD. A TD report
  1.5 has the present ones as well: where those are good, the TD has to be launched again and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from pluto_measure.appraise.updates import UPDATES, Svn, advice, in_order, late_microcode, named
from pluto_measure.evidence import format_time
from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.tcb_info import (
    COMPONENT_STATUSES,
    COMPONENTS,
    PLATFORM_STATUSES,
    IsvLevel,
    TcbInfo,
    TcbLevel,
)
from pluto_measure.verify.tcb import NOT_SUPPORTED, evaluate_tcb

Level = TcbLevel | IsvLevel
L = TypeVar("L", TcbLevel, IsvLevel)


@dataclass(frozen=True, slots=True)
class Gap:
    """One SVN that is too low. `id`: sgx0 to sgx15, pceSvn, tdx0 to tdx15, moduleIsvSvn, qeIsvSvn.

    `now` is the SVN that the machine has at present, where that is known apart from `has`; `lowest` what the lowest
    level wants, where the platform, module or enclave has no level.
    """

    id: str
    name: str
    has: int
    now: int | None
    wanted: int
    lowest: int | None
    update: str  # a key of UPDATES

    def to_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("id", "name", "has", "now", "wanted", "lowest", "update")}

    def __str__(self) -> str:
        now = f" (now {self.now})" if self.now is not None and self.now != self.has else ""
        wants = f"wants {self.wanted}"
        if self.lowest is not None and self.lowest > self.has:
            wants = f"needs {self.lowest} for any level" + (f", {wants}" if self.wanted > self.lowest else "")
        return f"{self.name} has {self.has}{now}, {wants}"


@dataclass(frozen=True, slots=True)
class Part:
    """The platform, its TDX module or its quoting enclave.

    `level` is the one that was matched, None where there is none; `wanted` the best to reach, None where Intel knows no
    module of this version, of which `known` are the others' ids. `lowest` is there where `level` is not.
    """

    name: str
    level: Level | None
    wanted: Level | None
    lowest: Level | None
    gaps: tuple[Gap, ...]
    known: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "matched": _level_json(self.level),
            "wanted": _level_json(self.wanted),
            "lowest": _level_json(self.lowest),
            "known": list(self.known),
        }

    def sentence(self) -> str | None:
        """None where nothing falls short."""
        if self.wanted is None:
            known = ", ".join(self.known) or "none"
            return f"{self.name}: Intel's TCB info does not know this version, only {known}"
        if self.level is not None and self.level.status == "UpToDate":
            return None
        gaps = [str(gap) for gap in self.gaps]
        if self.level is None:
            assert self.lowest is not None
            said = f"no level; the lowest is {_dated(self.lowest)}"
        else:
            said = _dated(self.level)
            if not gaps:
                gaps = [f"Intel's TCB info has no better level than {self.wanted.status} for it"]
        return f"{self.name}: {said}; {'; '.join(gaps)}"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why an evaluation is not UpToDate. `half`: whether the SVNs are those at launch or the present ones.

    `advisories_gone` are those that all `updates` together (ids of UPDATES, in order) settle; `advisories_left` stay.
    """

    status: str
    half: Literal["launch", "current"]
    platform: Part
    module: Part | None  # None for version 0, which the platform's level covers
    qe: Part
    advisories_gone: tuple[str, ...]
    advisories_left: tuple[str, ...]
    updates: tuple[str, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Every SVN that is too low."""
        return tuple(gap for part in self._parts() for gap in part.gaps)

    def to_json(self) -> dict[str, object]:
        """The member `tcb` of an appraisal's explanation; docs/verify.md describes it."""
        return {
            "status": self.status,
            "half": self.half,
            "platform": self.platform.to_json(),
            "module": self.module.to_json() if self.module else None,
            "qe": self.qe.to_json(),
            "components": [gap.to_json() for gap in self.gaps],
            "advisoriesGone": list(self.advisories_gone),
            "advisoriesLeft": list(self.advisories_left),
            "updates": [{"id": item, "text": UPDATES[item][1]} for item in self.updates],
        }

    def sentences(self) -> tuple[str, ...]:
        """For people: what falls short, then what to do, then what it is good for."""
        found = [sentence for part in self._parts() if (sentence := part.sentence())]
        if self.half == "current":
            found.insert(0, "this is the present state; the TD was launched in a better one")
        if self.updates:
            found.append(advice(self.updates))
        if self.advisories_gone:
            found.append(f"that settles {', '.join(self.advisories_gone)}")
        if self.advisories_left:
            found.append(f"these stay: {', '.join(self.advisories_left)}")
        return tuple(found)

    def _parts(self) -> tuple[Part, ...]:
        return tuple(part for part in (self.platform, self.module, self.qe) if part)


def explain(
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
    pck: PckExtension,
    qe_isv_svn: int,
    tee_tcb_svn: bytes,
    tee_tcb_svn_2: bytes | None = None,
) -> Shortfall | None:
    """What falls short; None where Intel's evaluation is UpToDate. Arguments as of `evaluate_tcb`.

    The SVNs at launch are explained, or the present ones (`tee_tcb_svn_2`) where those alone have no level.
    """
    tcb = evaluate_tcb(tcb_info, qe_identity, pck, qe_isv_svn, tee_tcb_svn, tee_tcb_svn_2)
    found, svn, now, current = tcb.launch, tee_tcb_svn, tee_tcb_svn_2, tcb.current
    if tee_tcb_svn_2 is not None and current is not None and found.status != NOT_SUPPORTED == current.status:
        found, svn, now, current = current, tee_tcb_svn_2, None, None
    if found.status == "UpToDate":
        return None
    platform = _platform(tcb_info, pck, svn, now, found.platform)
    module = _module(tcb_info, svn, now, found.module, current.module if current else None) if svn[1] else None
    enclave = Svn("qeIsvSvn", "quoting enclave's ISVSVN", "quotingEnclave")
    qe = _isv("quoting enclave", enclave, qe_identity.levels, qe_isv_svn, found.qe)
    parts = [part for part in (platform, module, qe) if part]
    left = {advisory for part in parts if part.wanted for advisory in part.wanted.advisories}
    return Shortfall(
        status=found.status,
        half="launch" if found is tcb.launch else "current",
        platform=platform,
        module=module,
        qe=qe,
        advisories_gone=tuple(sorted(set(found.advisories) - left)),
        advisories_left=tuple(sorted(left)),
        updates=_updates(parts),
    )


def _platform(info: TcbInfo, pck: PckExtension, svn: bytes, now: bytes | None, level: TcbLevel | None) -> Part:
    first = 2 if svn[1] else 0  # below are the module's own, which its identity judges
    names = [
        *(named("SGX", index, component) for index, component in enumerate(info.sgx_components)),
        Svn("pceSvn", "PCESVN", "pce"),
        *(named("TDX", index, component) for index, component in enumerate(info.tdx_components[first:], first)),
    ]
    has = [*pck.components, pck.pce_svn, *svn[first:]]
    present: list[int | None] = [None] * len(has)
    if now is not None:
        present[COMPONENTS + 1 :] = now[first:]
    stated, running = late_microcode(info.sgx_components), late_microcode(info.tdx_components)
    if stated is not None and running is not None:
        present[stated] = (now or svn)[running]

    def wants(level: TcbLevel) -> list[int]:
        return [*level.sgx, level.pce_svn, *level.tdx[first:]]

    def missing(level: TcbLevel) -> int:
        return sum(held < want for held, want in zip(has, wants(level), strict=True))

    wanted = _best(info.levels, PLATFORM_STATUSES, missing)
    lowest = info.levels[-1] if level is None else None
    least: list[int] | list[None] = wants(lowest) if lowest else [None] * len(has)
    gaps = []
    for what, held, at_present, want, low in zip(names, has, present, wants(wanted), least, strict=True):
        if at_present is not None and at_present >= want:
            what = what._replace(update="pckCertificate" if what.id.startswith("sgx") else "relaunch")
        gaps += _gap(what, held, at_present, want, low)
    return Part("platform", level, wanted, lowest, tuple(gaps))


def _module(info: TcbInfo, svn: bytes, now: bytes | None, level: IsvLevel | None, current: IsvLevel | None) -> Part:
    name = f"TDX module TDX_{svn[1]:02X}"
    identity = info.identity(svn[1])
    if identity is None:
        return Part(name, None, None, None, (), tuple(sorted(item.id for item in info.identities)))
    wanted = _best(identity.levels, COMPONENT_STATUSES, lambda item: int(item.isv_svn > svn[0]))
    is_cured = current is not None and current.status == wanted.status
    what = Svn("moduleIsvSvn", "TDX module's ISVSVN", "relaunch" if is_cured else "tdxModule")
    # Of another version the number says nothing.
    return _isv(name, what, identity.levels, svn[0], level, now[0] if now and now[1] == svn[1] else None)


def _isv(
    name: str, what: Svn, levels: Sequence[IsvLevel], has: int, level: IsvLevel | None, now: int | None = None
) -> Part:
    """A part that has one SVN."""
    wanted = _best(levels, COMPONENT_STATUSES, lambda item: int(item.isv_svn > has))
    lowest = levels[-1] if level is None else None
    gaps = _gap(what, has, now, wanted.isv_svn, lowest.isv_svn if lowest else None)
    return Part(name, level, wanted, lowest, tuple(gaps))


def _gap(what: Svn, has: int, now: int | None, wanted: int, lowest: int | None) -> list[Gap]:
    if has >= max(wanted, lowest or 0):
        return []
    return [Gap(what.id, what.name, has, now, wanted, lowest, what.update)]


def _best(levels: Sequence[L], statuses: Sequence[str], missing: Callable[[L], int]) -> L:
    """The level to reach: the best status, then the fewest SVNs that are too low for it, then the newest."""
    return min(levels, key=lambda level: (statuses.index(level.status), missing(level), -level.date.toordinal()))


def _updates(parts: Sequence[Part]) -> tuple[str, ...]:
    gaps = [gap for part in parts for gap in part.gaps]
    wanted = {gap.update for gap in gaps} | {"tdxModule" for part in parts if part.wanted is None}
    return in_order(
        wanted,
        is_certified=any(gap.id.startswith(("sgx", "pce")) for gap in gaps),
        is_launched=any(gap.id.startswith("tdx") for gap in gaps),
        statuses=[level.status for part in parts for level in (part.level, part.wanted) if level],
    )


def _level_json(level: Level | None) -> dict[str, object] | None:
    if level is None:
        return None
    return {"status": level.status, "tcbDate": format_time(level.date), "advisories": list(level.advisories)}


def _dated(level: Level) -> str:
    return f"{level.status} ({tcb_date(level.date)})"


def tcb_date(date: datetime | None) -> str:
    """A TCB date for people."""
    return f"TCB of {date:%Y-%m-%d}" if date else "no TCB date"
