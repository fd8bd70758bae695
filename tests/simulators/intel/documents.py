"""TCB info, QE identity and the collateral around a quote, in the shapes of Intel's PCS API v4. For tests alone.

Texts are what Intel signs: compact JSON, members in Intel's order. TCB info is version 3 (id TDX), QE identity
version 2 (id TD_QE). A member set to ABSENT is left out; every other value is written as it is, sane or not.

The default documents hold one level for each status. So one collateral serves the whole status matrix: the machine
chooses its status by its SVNs (PLATFORM, MODULE, QE), as real ones do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from .authority import Authority, Ca
from .certificates import NOW
from .der import Machine

Absent = Enum("Absent", "ABSENT")
ABSENT: Final = Absent.ABSENT
Members = Mapping[str, Any]  # JSON members that replace, add or (ABSENT) remove

MONTH = timedelta(days=30)
AGE, QE_AGE = timedelta(days=2), timedelta(days=2, minutes=-40)  # Intel issues the two minutes or hours apart
QE_MRSIGNER = bytes(range(0x50, 0x70))
EVALUATION = 20

# What a component is, by its index.
SGX_COMPONENTS = {
    0: {"category": "BIOS", "type": "Early Microcode Update"},
    1: {"category": "OS/VMM", "type": "SGX Late Microcode Update"},
    2: {"category": "OS/VMM", "type": "TXT SINIT"},
    3: {"category": "BIOS"},
    4: {"category": "BIOS"},
    5: {"category": "BIOS"},
    7: {"category": "OS/VMM", "type": "SEAMLDR ACM"},
}
TDX_COMPONENTS = {
    0: {"category": "OS/VMM", "type": "TDX Module"},
    1: {"category": "OS/VMM", "type": "TDX Module"},
    2: {"category": "OS/VMM", "type": "TDX Late Microcode Update"},
}

# Status -> the SVN that has it in the default documents: SGX component 0, ISVSVN of the module, ISVSVN of the QE.
PLATFORM = {
    "UpToDate": 9,
    "SWHardeningNeeded": 8,
    "ConfigurationNeeded": 7,
    "ConfigurationAndSWHardeningNeeded": 6,
    "OutOfDate": 5,
    "OutOfDateConfigurationNeeded": 4,
    "Revoked": 3,
}
MODULE = {"UpToDate": 7, "OutOfDate": 5, "Revoked": 3}
QE = {"UpToDate": 8, "OutOfDate": 6, "Revoked": 4}
TDX_MICROCODE = 5  # component 2 of TEE_TCB_SVN that the best four platform levels want; one less below


def instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(year: int, month: int) -> str:
    return f"{year}-{month:02}-15T00:00:00Z"


def changed(document: Members, members: Members) -> dict[str, Any]:
    return {name: value for name, value in {**document, **members}.items() if value is not ABSENT}


def compact(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def components(svns: Sequence[Any], kinds: Mapping[int, Members]) -> list[dict[str, Any]]:
    return [{"svn": svn, **kinds.get(index, {})} for index, svn in enumerate(svns)]


@dataclass(frozen=True)
class TcbLevel:
    """A level of a platform. `members` changes the level, `tcb` the object of its SVNs."""

    sgx: tuple[Any, ...] = (9, 9, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
    pcesvn: int = 13
    tdx: tuple[Any, ...] = (5, 0, TDX_MICROCODE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    status: str = "UpToDate"
    date: str = day(2026, 5)
    advisories: tuple[str, ...] = ()
    members: Members = field(default_factory=dict)
    tcb: Members = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        tcb = {
            "sgxtcbcomponents": components(self.sgx, SGX_COMPONENTS),
            "pcesvn": self.pcesvn,
            "tdxtcbcomponents": components(self.tdx, TDX_COMPONENTS),
        }
        level = {"tcb": changed(tcb, self.tcb), "tcbDate": self.date, "tcbStatus": self.status}
        return changed(level | ({"advisoryIDs": list(self.advisories)} if self.advisories else {}), self.members)


@dataclass(frozen=True)
class SvnLevel:
    """A level of a module or of the QE: ISVSVN alone."""

    isvsvn: Any
    status: str = "UpToDate"
    date: str = day(2026, 5)
    advisories: tuple[str, ...] = ()
    members: Members = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        level = {"tcb": {"isvsvn": self.isvsvn}, "tcbDate": self.date, "tcbStatus": self.status}
        return changed(level | ({"advisoryIDs": list(self.advisories)} if self.advisories else {}), self.members)


PLATFORM_LEVELS = tuple(
    TcbLevel(
        sgx=(svn, *TcbLevel.sgx[1:]),
        tdx=(5, 0, TDX_MICROCODE - (svn < PLATFORM["ConfigurationAndSWHardeningNeeded"]), *TcbLevel.tdx[3:]),
        status=status,
        date=day(2026 - place, 5),
        advisories=(f"INTEL-SA-0910{place}",) if place else (),
    )
    for place, (status, svn) in enumerate(PLATFORM.items())
)
# The next recovery, published early: what is UpToDate today falls behind.
EARLY_LEVELS = (
    replace(PLATFORM_LEVELS[0], sgx=(PLATFORM["UpToDate"] + 1, *TcbLevel.sgx[1:]), date=day(2026, 10)),
    replace(PLATFORM_LEVELS[0], status="OutOfDate", advisories=("INTEL-SA-09110",)),
    *PLATFORM_LEVELS[1:],
)
MODULE_LEVELS = (
    SvnLevel(MODULE["UpToDate"], "UpToDate", day(2026, 4)),
    SvnLevel(MODULE["OutOfDate"], "OutOfDate", day(2024, 3), ("INTEL-SA-09201",)),
    SvnLevel(MODULE["Revoked"], "Revoked", day(2022, 3), ("INTEL-SA-09201", "INTEL-SA-09202")),
)
QE_LEVELS = (
    SvnLevel(QE["UpToDate"], "UpToDate", day(2026, 3)),
    SvnLevel(QE["OutOfDate"], "OutOfDate", day(2023, 2), ("INTEL-SA-09301",)),
    SvnLevel(QE["Revoked"], "Revoked", day(2021, 2), ("INTEL-SA-09301", "INTEL-SA-09302")),
)


@dataclass(frozen=True)
class ModuleIdentity:
    """A TDX module's identity: its major version stands in its id."""

    version: int = 1
    levels: tuple[SvnLevel, ...] = MODULE_LEVELS
    mrsigner: bytes = bytes(48)
    attributes: bytes = bytes(8)
    attributes_mask: bytes = b"\xff" * 8
    members: Members = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        identity = {
            "id": f"TDX_{self.version:02X}",
            "mrsigner": self.mrsigner.hex().upper(),
            "attributes": self.attributes.hex().upper(),
            "attributesMask": self.attributes_mask.hex().upper(),
            "tcbLevels": [level.document() for level in self.levels],
        }
        return changed(identity, self.members)


def tcb_info(
    *,
    levels: Sequence[TcbLevel] = PLATFORM_LEVELS,
    modules: Sequence[ModuleIdentity] = (ModuleIdentity(3), ModuleIdentity(1)),
    fmspc: bytes = Machine.fmspc,
    pceid: bytes = Machine.pceid,
    issued: datetime = NOW - AGE,
    next_update: datetime | None = None,
    evaluation: int = EVALUATION,
    mrsignerseam: bytes = bytes(48),
    seam_attributes_mask: bytes = b"\xff" * 8,
    members: Members | None = None,
) -> str:
    """The text of TCB info. `next_update` None: 30 days after `issued`; `members` changes the outermost object."""
    document = {
        "id": "TDX",
        "version": 3,
        "issueDate": instant(issued),
        "nextUpdate": instant(next_update or issued + MONTH),
        "fmspc": fmspc.hex().upper(),
        "pceId": pceid.hex().upper(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": evaluation,
        "tdxModule": {
            "mrsigner": mrsignerseam.hex().upper(),
            "attributes": bytes(8).hex(),
            "attributesMask": seam_attributes_mask.hex().upper(),
        },
        "tdxModuleIdentities": [module.document() for module in modules],
        "tcbLevels": [level.document() for level in levels],
    }
    return compact(changed(document, members or {}))


def qe_identity(
    *,
    levels: Sequence[SvnLevel] = QE_LEVELS,
    issued: datetime = NOW - QE_AGE,
    next_update: datetime | None = None,
    evaluation: int = EVALUATION,
    miscselect: bytes = bytes(4),
    miscselect_mask: bytes = b"\xff" * 4,
    attributes: bytes = b"\x11" + bytes(15),
    attributes_mask: bytes = b"\xfb" + b"\xff" * 7 + bytes(8),
    mrsigner: bytes = QE_MRSIGNER,
    isvprodid: int = 2,
    members: Members | None = None,
) -> str:
    """The text of the QE identity."""
    document = {
        "id": "TD_QE",
        "version": 2,
        "issueDate": instant(issued),
        "nextUpdate": instant(next_update or issued + MONTH),
        "tcbEvaluationDataNumber": evaluation,
        "miscselect": miscselect.hex().upper(),
        "miscselectMask": miscselect_mask.hex().upper(),
        "attributes": attributes.hex().upper(),
        "attributesMask": attributes_mask.hex().upper(),
        "mrsigner": mrsigner.hex().upper(),
        "isvprodid": isvprodid,
        "tcbLevels": [level.document() for level in levels],
    }
    return compact(changed(document, members or {}))


def collateral(
    authority: Authority,
    ca: Ca = "platform",
    *,
    info: str | None = None,
    identity: str | None = None,
    revoked: Sequence[int] = (),
    revoked_by_root: Sequence[int] = (),
    override: Members | None = None,
) -> dict[str, Any]:
    """The common JSON of quote collateral, signed by `authority`.

    `info` and `identity` are texts to sign (None: `tcb_info()`, `qe_identity()`, issued shortly before the `now` of
    `authority`). `revoked` are serials on the PCK
    CRL, `revoked_by_root` on the root's. `override` changes finished members: a text changed there keeps the old
    signature.
    """
    info = tcb_info(issued=authority.now - AGE) if info is None else info
    identity = qe_identity(issued=authority.now - QE_AGE) if identity is None else identity
    document = {
        "pck_crl_issuer_chain": authority.chain_pem(ca),
        "root_ca_crl": authority.crl("root", revoked_by_root).hex(),
        "pck_crl": authority.crl(ca, revoked).hex(),
        "tcb_info_issuer_chain": authority.chain_pem("tcb_signing"),
        "tcb_info": info,
        "tcb_info_signature": authority.sign(info),
        "qe_identity_issuer_chain": authority.chain_pem("tcb_signing"),
        "qe_identity": identity,
        "qe_identity_signature": authority.sign(identity),
    }
    return changed(document, override or {})
