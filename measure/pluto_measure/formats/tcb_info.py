"""TCB info version 3 for TDX: which SVNs a platform and its TDX module must have, by Intel. Pure; nothing is verified.

Intel PCS API v4, `/tdx/certification/v4/tcb`, member `tcbInfo`; Intel QVL `TcbInfo`, `TcbLevel`, `TdxModuleIdentity`.
No level occurs twice. Levels come in any order and are sorted as QVL sorts them, the highest first: by SGX components,
then PCESVN, then TDX components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self, TypeVar

from pluto_measure.errors import FormatError
from pluto_measure.formats.intel_json import Taker, members

LIMIT: Final = 1024 * 1024  # bytes of JSON; a genuine one has 3 to 6 KiB
COMPONENTS: Final = 16
PLATFORM_STATUSES: Final = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
)
COMPONENT_STATUSES: Final = ("UpToDate", "OutOfDate", "Revoked")  # of a TDX module or a quoting enclave
T = TypeVar("T")


class IsvLevel(NamedTuple):
    """One level of a TDX module or quoting enclave: what is said of `isv_svn` and above."""

    isv_svn: int
    status: str  # of COMPONENT_STATUSES
    date: datetime
    advisories: tuple[str, ...]


class TcbLevel(NamedTuple):
    """One level of a platform: what is said where every SVN is at least this one's."""

    sgx: bytes  # 16 SVNs
    pce_svn: int
    tdx: bytes  # 16 SVNs; the first two are the TDX module's
    status: str  # of PLATFORM_STATUSES
    date: datetime
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleIdentity:
    """Who signs a TDX module, and its levels. `id` is TDX_ and the major version in hex; "" for version 0."""

    id: str
    mr_signer: bytes  # 48
    attributes: bytes  # 8
    attributes_mask: bytes  # 8
    levels: tuple[IsvLevel, ...]  # the highest first; none for version 0


class Component(NamedTuple):
    """What an SVN's number is for, as Intel says: category ("BIOS", "OS/VMM") and type. Words, not judged."""

    category: str
    type: str


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """One TCB info. Dates in UTC."""

    issue_date: datetime
    next_update: datetime
    fmspc: bytes  # 6
    pce_id: bytes  # 2
    evaluation_number: int
    module: ModuleIdentity
    identities: tuple[ModuleIdentity, ...]
    levels: tuple[TcbLevel, ...]  # the highest first
    sgx_components: tuple[Component, ...]  # 16 names, from the first level
    tdx_components: tuple[Component, ...]

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """From the signed bytes of the member `tcbInfo`. FormatError."""
        value = members(text, what="TCB info", limit=LIMIT)
        take = Taker(value, "TCB info")
        take.constant("id", "TDX")
        take.constant("version", 3)
        take.constant("tcbType", 0)
        levels = take.array("tcbLevels")
        return cls(
            issue_date=take.date("issueDate"),
            next_update=take.date("nextUpdate"),
            fmspc=take.hex("fmspc", 6),
            pce_id=take.hex("pceId", 2),
            evaluation_number=take.number("tcbEvaluationDataNumber"),
            module=_module(take.object("tdxModule"), versioned=False),
            identities=_identities(take),
            levels=ordered(
                map(_level, levels), key=lambda level: (level.sgx, level.pce_svn, level.tdx), what="TCB info"
            ),
            sgx_components=_names(levels, "sgxtcbcomponents"),
            tdx_components=_names(levels, "tdxtcbcomponents"),
        )

    def identity(self, version: int) -> ModuleIdentity | None:
        """The identity of TDX modules of a major version from 1 on."""
        wanted = f"TDX_{version:02X}"
        return next((identity for identity in self.identities if identity.id == wanted), None)


def isv_levels(values: list[Any], what: str) -> tuple[IsvLevel, ...]:
    """The levels of a TDX module or quoting enclave, the highest first. FormatError."""
    return ordered((_isv_level(value, what) for value in values), key=lambda level: level.isv_svn, what=what)


def ordered(values: Iterable[T], *, key: Callable[[T], Any], what: str) -> tuple[T, ...]:
    """Sorted, the highest first. FormatError where two are equal."""
    found = sorted(values, key=key, reverse=True)
    for first, second in pairwise(found):
        if key(first) == key(second):
            raise FormatError(what, "has the same TCB level twice")
    return tuple(found)


def _isv_level(value: object, what: str) -> IsvLevel:
    take = Taker(value, f"{what}.tcbLevels[]")
    return IsvLevel(
        isv_svn=take.object("tcb").number("isvsvn", 0xFFFF),
        status=take.status(COMPONENT_STATUSES),
        date=take.date("tcbDate"),
        advisories=take.advisories(),
    )


def _level(value: object) -> TcbLevel:
    take = Taker(value, "TCB info.tcbLevels[]")
    tcb = take.object("tcb")
    return TcbLevel(
        sgx=_svns(tcb.array("sgxtcbcomponents")),
        pce_svn=tcb.number("pcesvn", 0xFFFF),
        tdx=_svns(tcb.array("tdxtcbcomponents")),
        status=take.status(PLATFORM_STATUSES),
        date=take.date("tcbDate"),
        advisories=take.advisories(),
    )


def _svns(values: list[Any]) -> bytes:
    try:
        svns = [value["svn"] for value in values]
        if len(svns) != COMPONENTS or set(map(type, svns)) != {int}:
            raise ValueError
        return bytes(svns)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            "TCB info.tcbLevels[].tcb", f"must have {COMPONENTS} components with an svn of 0 to 255"
        ) from error


def _names(levels: list[Any], member: str) -> tuple[Component, ...]:
    """What the first level says of its components; `_level` has checked that they are objects."""
    components: list[dict[str, object]] = levels[0]["tcb"][member]
    return tuple(Component(str(item.get("category", "")), str(item.get("type", ""))) for item in components)


def _identities(take: Taker) -> tuple[ModuleIdentity, ...]:
    if not take.has("tdxModuleIdentities"):
        return ()
    values = take.array("tdxModuleIdentities")
    found = tuple(_module(Taker(value, "TCB info.tdxModuleIdentities[]"), versioned=True) for value in values)
    if len({identity.id for identity in found}) != len(found):
        raise FormatError("TCB info", "has the same TDX module identity twice")
    return found


def _module(take: Taker, *, versioned: bool) -> ModuleIdentity:
    return ModuleIdentity(
        id=take.text("id").upper() if versioned else "",
        mr_signer=take.hex("mrsigner", 48),
        attributes=take.hex("attributes", 8),
        attributes_mask=take.hex("attributesMask", 8),
        levels=isv_levels(take.array("tcbLevels"), "TCB info.tdxModuleIdentities[]") if versioned else (),
    )
