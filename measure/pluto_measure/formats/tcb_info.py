"""TCB info version 3 for TDX: which SVNs a platform and its TDX module must have, by Intel. Pure; nothing is verified.

Intel PCS API v4, `/tdx/certification/v4/tcb`, member `tcbInfo`; Intel QVL `TcbInfo`, `TcbLevel`, `TdxModuleIdentity`.
Members that we do not know are ignored, as the API allows Intel to add some; JSON is nested at most 32 deep, no key and
no level occurs twice. Levels come in any order and are sorted as QVL sorts them, the highest first: by SGX components,
then PCESVN, then TDX components.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self, TypeVar

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import loads

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
_DEEPEST: Final = 32
_MOST_LEVELS: Final = 1024
_MOST_MEMBERS: Final = 65536  # of 1024 levels with 32 components each; a genuine document has 700
_CONTAINERS: Final = frozenset((dict, list))
_PLAIN: Final = json.JSONDecoder()
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\dZ", re.ASCII)
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


class Taker:
    """Takes members of one JSON object of Intel's, checked. Unknown members stay where they are.

    Hex is upper or lower case there, so `strict_json.Fields`, which is for our own formats, does not fit.
    """

    __slots__ = ("_value", "_what")

    def __init__(self, value: object, what: str) -> None:
        if type(value) is not dict:
            raise FormatError(what, f"must be an object, not {type(value).__name__}")
        self._value: Mapping[str, Any] = value
        self._what = what

    def _of(self, name: str, kind: type) -> Any:
        try:
            value = self._value[name]
        except KeyError as error:
            raise FormatError(self._what, f"{name} is missing") from error
        if type(value) is not kind:
            raise FormatError(self._what, f"{name} must be {kind.__name__}, not {type(value).__name__}")
        return value

    def object(self, name: str) -> Taker:
        return Taker(self._of(name, dict), f"{self._what}.{name}")

    def array(self, name: str) -> list[Any]:
        """An array that is not empty."""
        value: list[Any] = self._of(name, list)
        if not 0 < len(value) <= _MOST_LEVELS:
            raise FormatError(self._what, f"{name} has {len(value)} members, not 1 to {_MOST_LEVELS}")
        return value

    def text(self, name: str) -> str:
        value: str = self._of(name, str)
        return value

    def number(self, name: str, most: int = 0xFFFFFFFF) -> int:
        value: int = self._of(name, int)
        if not 0 <= value <= most:
            raise FormatError(self._what, f"{name} is {value}, not 0 to {most}")
        return value

    def constant(self, name: str, wanted: str | int) -> None:
        if (value := self._of(name, type(wanted))) != wanted:
            raise FormatError(self._what, f"{name} is {value!r}, not {wanted!r}")

    def hex(self, name: str, size: int) -> bytes:
        text = self.text(name)
        try:
            value = bytes.fromhex(text)
        except ValueError as error:
            raise FormatError(self._what, f"{name} is not hex") from error
        if len(value) != size or len(text) != 2 * size:
            raise FormatError(self._what, f"{name} must be {2 * size} hex digits")
        return value

    def date(self, name: str) -> datetime:
        """An ISO 8601 time in this one spelling: 2025-08-13T00:00:00Z."""
        text = self.text(name)
        try:
            if not _DATE.fullmatch(text):
                raise ValueError(text)
            return datetime.fromisoformat(text)
        except ValueError as error:  # of either: there is no 30 February
            raise FormatError(self._what, f"{name} is not a time such as 2025-08-13T00:00:00Z") from error

    def status(self, known: tuple[str, ...]) -> str:
        status = self.text("tcbStatus")
        if status not in known:
            raise FormatError(self._what, f"tcbStatus {status!r} is not one of {', '.join(known)}")
        return status

    def advisories(self) -> tuple[str, ...]:
        """`advisoryIDs`, which a level without any may leave out."""
        if "advisoryIDs" not in self._value:
            return ()
        value = self._of("advisoryIDs", list)
        if not set(map(type, value)) <= {str}:
            raise FormatError(self._what, "advisoryIDs must hold text")
        return tuple(value)


def members(text: bytes, *, what: str, limit: int) -> dict[str, Any]:
    """The object in JSON text of Intel's: no key twice, nested at most 32 deep, no half of a surrogate pair."""
    if text.count(b",") > _MOST_MEMBERS:  # before JSON makes a value of each
        raise FormatError(what, f"has more than {_MOST_MEMBERS} members")
    value = _decoded(text, limit)
    is_counted = value is not None
    if value is None:
        value = loads(text, what=what, limit=limit)
    if type(value) is not dict:
        raise FormatError(what, f"must be an object, not {type(value).__name__}")
    level: list[Any] = [value]
    strings = 0
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for outer in level:
            if type(outer) is dict:
                strings += len(outer)
                inner += outer.values()
            else:
                inner += outer
        kinds = list(map(type, inner))
        strings += kinds.count(str)
        if _CONTAINERS.isdisjoint(kinds):
            break
        level = [item for item, kind in zip(inner, kinds, strict=True) if kind in _CONTAINERS]
    else:
        raise FormatError(what, f"is nested more than {_DEEPEST} deep")
    if is_counted and text.count(b'"') != 2 * strings:
        loads(text, what=what, limit=limit)  # which says what occurs twice
    if b"\\" in text:  # only an escape can spell half of a surrogate pair
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise FormatError(what, "holds half of a surrogate pair, which is no text") from error
    return value


def _decoded(text: bytes, limit: int) -> Any:
    """The value of JSON without escapes, in which keys may occur twice. None: let `loads` look at it, or refuse it.

    Without escapes there are two quotes for each key and each string, and nowhere else. A key that occurs twice is in
    the text twice and in the value once, so the value's strings are too few. That is counted in half the time that
    `loads` takes to look at each object.
    """
    if len(text) > limit or b"\\" in text or b"NaN" in text or b"Infinity" in text:
        return None
    try:
        return _PLAIN.decode(text.decode())
    except (ValueError, RecursionError):
        return None


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
    if "tdxModuleIdentities" not in take._value:
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
