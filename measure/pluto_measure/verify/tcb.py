"""The TCB status of a platform, its TDX module and its quoting enclave, as Intel's QVL evaluates it. Pure.

Intel QVL (`EvaluateTcb`, `TDRelaunchCheck`), 4.1.2.5.18 to 4.1.2.5.20; facts in, status out, no policy:

1. Platform: the first level, the highest first, of which no SVN is above the platform's: 16 SGX components and PCESVN
   of the PCK certificate, TDX components of the TD report. A module of version 1 or above is judged by its own
   identity, so its two components are skipped then.
2. Module of version 1 or above: the first level of its identity whose ISVSVN is not above the module's SVN.
3. Quoting enclave: the first level of the QE identity whose ISVSVN is not above the enclave's.
4. Any of them without a level: TCB_NOT_SUPPORTED, which is an error of Intel's and no status of a level.
5. Merge: anything Revoked is Revoked. An OutOfDate module or enclave takes UpToDate and SWHardeningNeeded to OutOfDate,
   ConfigurationNeeded and ConfigurationAndSWHardeningNeeded to OutOfDateConfigurationNeeded.
6. The date is the earliest of the three, the advisories are those of all three.
7. TD report 1.5 and above: 1 to 6 with the SVNs at launch and with the present ones. Where the launch is out of date
   and the present is not, the TD should be launched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import ge
from typing import Final

from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.tcb_info import IsvLevel, TcbInfo, TcbLevel

NOT_SUPPORTED: Final = "TCB_NOT_SUPPORTED"
_OUT_OF_DATE: Final = ("OutOfDate", "OutOfDateConfigurationNeeded")
_FINE_BUT_FOR_CONFIGURATION: Final = ("ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded")
_FINE: Final = ("UpToDate", "SWHardeningNeeded")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation, with the levels that were matched. `module` is None for version 0, which has no identity."""

    status: str
    platform: TcbLevel | None
    module: IsvLevel | None
    qe: IsvLevel | None

    @property
    def date(self) -> datetime | None:
        """The earliest date of the matched levels; None where a level is missing."""
        return min(level.date for level in self._levels()) if self.status != NOT_SUPPORTED else None

    @property
    def advisories(self) -> tuple[str, ...]:
        """Intel's advisories for all three, sorted."""
        return tuple(sorted({advisory for level in self._levels() for advisory in level.advisories}))

    def _levels(self) -> Iterable[TcbLevel | IsvLevel]:
        return [level for level in (self.platform, self.module, self.qe) if level is not None]


@dataclass(frozen=True, slots=True)
class Tcb:
    """Intel's verdict. `current` is None for a TD report 1.0, which has one set of SVNs."""

    status: str
    launch: Evaluation
    current: Evaluation | None

    @property
    def date(self) -> datetime | None:
        return self.launch.date

    @property
    def advisories(self) -> tuple[str, ...]:
        return self.launch.advisories

    def to_json(self) -> dict[str, object]:
        launch, current, date = self.launch, self.current, self.date
        return {
            "status": self.status,
            "platform": launch.platform.status if launch.platform else None,
            "module": launch.module.status if launch.module else None,
            "qe": launch.qe.status if launch.qe else None,
            "launch": launch.status if current else None,
            "current": current.status if current else None,
            "tcbDate": f"{date:%Y-%m-%dT%H:%M:%SZ}" if date else None,
            "advisories": list(self.advisories),
        }


def evaluate_tcb(
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
    pck: PckExtension,
    qe_isv_svn: int,
    tee_tcb_svn: bytes,
    tee_tcb_svn_2: bytes | None,
) -> Tcb:
    """Intel's verdict on one quote. The collateral must be of this platform (FMSPC and PCEID)."""
    qe = match_isv(qe_identity.levels, qe_isv_svn)
    launch = _evaluate(tcb_info, pck, tee_tcb_svn, qe)
    if tee_tcb_svn_2 is None:
        return Tcb(launch.status, launch, None)
    current = _evaluate(tcb_info, pck, tee_tcb_svn_2, qe)
    if NOT_SUPPORTED in (launch.status, current.status):
        return Tcb(NOT_SUPPORTED, launch, current)
    return Tcb(relaunch(launch.status, current.status), launch, current)


def match_platform(tcb_info: TcbInfo, pck: PckExtension, tee_tcb_svn: bytes) -> TcbLevel | None:
    """The platform's level (step 1)."""
    first = 2 if tee_tcb_svn[1] > 0 else 0
    for level in tcb_info.levels:
        if (
            _reaches(pck.components, level.sgx)
            and pck.pce_svn >= level.pce_svn
            and _reaches(tee_tcb_svn[first:], level.tdx[first:])
        ):
            return level
    return None


def _reaches(have: Sequence[int], want: Sequence[int]) -> bool:
    """Whether every SVN is at least what is wanted, and none is missing."""
    return len(have) == len(want) and all(map(ge, have, want))


def match_isv(levels: Iterable[IsvLevel], svn: int) -> IsvLevel | None:
    """The level of a module or enclave (steps 2 and 3)."""
    return next((level for level in levels if level.isv_svn <= svn), None)


def merge(platform: str, components: Iterable[str]) -> str:
    """One status for the platform's and those of its module and enclave (step 5)."""
    found = tuple(components)
    if "Revoked" in (platform, *found):
        return "Revoked"
    if "OutOfDate" in found and platform in _FINE:
        return "OutOfDate"
    if "OutOfDate" in found and platform in _FINE_BUT_FOR_CONFIGURATION:
        return "OutOfDateConfigurationNeeded"
    return platform


def relaunch(launch: str, current: str) -> str:
    """The verdict from both evaluations (step 7).

    A launch that needs configuration says so whatever the present state is: `TDRelaunchCheck` of Intel's library.
    """
    if launch not in _OUT_OF_DATE or current not in (*_FINE, *_FINE_BUT_FOR_CONFIGURATION):
        return launch
    if launch == "OutOfDateConfigurationNeeded" or current in _FINE_BUT_FOR_CONFIGURATION:
        return "TDRelaunchAdvisedConfigurationNeeded"
    return "TDRelaunchAdvised"


def _evaluate(tcb_info: TcbInfo, pck: PckExtension, tee_tcb_svn: bytes, qe: IsvLevel | None) -> Evaluation:
    platform = match_platform(tcb_info, pck, tee_tcb_svn)
    svn, version = tee_tcb_svn[0], tee_tcb_svn[1]
    module = None
    if version > 0:
        identity = tcb_info.identity(version)
        module = match_isv(identity.levels, svn) if identity else None
    if platform is None or qe is None or (version > 0 and module is None):
        return Evaluation(NOT_SUPPORTED, platform, module, qe)
    status = merge(platform.status, [qe.status, *([module.status] if module else [])])
    return Evaluation(status, platform, module, qe)
