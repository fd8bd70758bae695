"""A whole coherent set: an Intel, a machine, its quote, the collateral that belongs to it. For tests alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from . import documents
from .authority import Authority, Ca, Pck
from .certificates import NOW
from .der import Machine
from .documents import MODULE, PLATFORM, QE
from .quotes import TD10, TD15, EnclaveReport, Quote, TdReport, tee_tcb_svn


@dataclass(frozen=True)
class World:
    """What a verifier gets (`quote`, `collateral`, `now`, the root of `authority`) and what it was made of."""

    authority: Authority
    pck: Pck
    parts: Quote
    collateral: dict[str, Any]
    now: datetime = NOW

    @functools.cached_property
    def quote(self) -> bytes:
        return self.parts.encode()

    @property
    def report(self) -> TdReport:
        assert isinstance(self.parts.report, TdReport)
        return self.parts.report

    def with_quote(self, **changes: Any) -> World:
        """Fields of `Quote` changed; the rest, signatures included, follows."""
        return replace(self, parts=replace(self.parts, **changes))

    def with_report(self, **changes: Any) -> World:
        """Fields of `TdReport` changed."""
        return self.with_quote(report=replace(self.report, **changes))

    def with_qe(self, **changes: Any) -> World:
        """Fields of the QE's `EnclaveReport` changed."""
        return self.with_quote(qe_report=replace(self.parts.qe_report, **changes))

    def with_pck(self, pck: Pck) -> World:
        """Another certificate in the quote, whose key signs the QE report."""
        return replace(self, pck=pck, parts=replace(self.parts, pck=pck))

    def with_collateral(self, **changes: Any) -> World:
        """The collateral made anew; `changes` are arguments of `collateral` (info=, identity=, revoked=, ...)."""
        return replace(self, collateral=documents.collateral(self.authority, self.pck.ca, **changes))

    def with_members(self, **members: Any) -> World:
        """Finished members of the collateral changed, signatures kept; ABSENT removes one."""
        return replace(self, collateral=documents.changed(self.collateral, members))


def world(
    *,
    authority: Authority | None = None,
    ca: Ca = "platform",
    platform: str = "UpToDate",
    module: str = "UpToDate",
    module_now: str | None = None,
    qe: str = "UpToDate",
    version: int = 4,
    kind: int | None = None,
    machine: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
    collateral: Mapping[str, Any] | None = None,
) -> World:
    """A world by its statuses: `platform` out of PLATFORM, `module` (at launch) and `module_now` out of MODULE, `qe`.

    `kind` is TD10 or, in version 5 and with `module_now`, TD15. `machine`, `report` and `collateral` change fields of
    `Machine`, `TdReport` and arguments of `collateral`.
    """
    authority = authority or Authority.make()
    components = (PLATFORM[platform], *Machine.components[1:])
    pck = authority.pck(ca, **{"components": components, **(machine or {})})
    if module_now is not None:
        version = 5
    kind = kind or (TD15 if version == 5 else TD10)
    current = None if module_now is None else tee_tcb_svn(MODULE[module_now])
    td = TdReport(kind, tee_tcb_svn(MODULE[module]), tee_tcb_svn2=current)
    parts = Quote(pck, replace(td, **(report or {})), version, qe_report=EnclaveReport(isvsvn=QE[qe]))
    return World(authority, pck, parts, documents.collateral(authority, ca, **(collateral or {})), authority.now)


@functools.cache
def healthy() -> World:
    """Everything UpToDate: version 4, TD report 1.0, Platform CA."""
    return world()
