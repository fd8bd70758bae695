"""The closed schema of what a trust domain says on its serial line. Pure.

    line  = "pluto: " name *(" " key "=" value)

Every name, key and value is of the table below, in its order; nothing a client or a host sent can get into a line,
except numbers and digests. A reader must remember that the host owns the serial line: lines inform, evidence proves.
Format: docs/formats/events.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_notary.errors import CONFIG_REASONS, EVIDENCE_CODES

LARGEST_LINE: Final = 200  # bytes
COMPONENTS: Final = ("config", "evidence", "notary")
PURPOSES: Final = ("node",)
REFUSALS: Final = (*EVIDENCE_CODES, "http", "path", "method", "query", "rate", "tls", "time")

_NUMBER = r"0|[1-9][0-9]{0,9}"
_HEX64 = r"[0-9a-f]{64}"
_VERSION = r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}"

# name -> its keys, in order, each with the pattern of its values
SCHEMA: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "started": {"component": "|".join(COMPONENTS), "version": _VERSION},
        "config-accepted": {"digest": _HEX64},
        "config-refused": {"reason": "|".join(CONFIG_REASONS)},
        "ready": {"port": _NUMBER, "buildid": _HEX64},
        "evidence": {"purpose": "|".join(PURPOSES)},
        "refused": {"code": "|".join(REFUSALS)},
        "dropped": {"count": _NUMBER},
        "stopping": {"component": "|".join(COMPONENTS)},
    }
)
# What clients can cause at will, and so is limited in rate; `dropped` then says how many lines are missing.
LIMITED: Final = frozenset({"evidence", "refused"})

# The kernel's own prefix of a console line: time, and on some kernels the caller.
_KERNEL_PREFIX: Final = re.compile(r"\[ *[0-9]{1,10}\.[0-9]{6}\](\[ *[TC][0-9]{1,10}\])? ")
_MARK: Final = "pluto: "


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `values` in the order of the schema. Raises FormatError when made of what the schema does not have."""

    name: str
    values: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, name: str, **values: str | int) -> Self:
        """An event by name and values."""
        return cls(name, tuple((key, str(value)) for key, value in values.items()))

    def __post_init__(self) -> None:
        if (schema := SCHEMA.get(self.name)) is None:
            raise FormatError("event", "name is not known")
        if [key for key, _ in self.values] != list(schema):
            raise FormatError(f"event {self.name}", f"keys must be {', '.join(schema)}")
        for key, value in self.values:
            if not re.fullmatch(schema[key], value, re.ASCII):
                raise FormatError(f"event {self.name}", f"value of {key} is not one that it can have")

    def __getitem__(self, key: str) -> str:
        return dict(self.values)[key]

    def to_line(self) -> str:
        """The line, without its end."""
        return _MARK + " ".join([self.name, *(f"{key}={value}" for key, value in self.values)])

    def to_json(self) -> dict[str, object]:
        return {"event": self.name, **dict(self.values)}


def parse(line: str) -> Event | None:
    """The event of one serial line, None if the line is something else. FormatError if it only claims to be one."""
    text = _KERNEL_PREFIX.sub("", line.rstrip("\r\n"), count=1)
    if not text.startswith(_MARK):
        return None
    if len(text) > LARGEST_LINE:
        raise FormatError("event", f"a line of {len(text)} characters is longer than {LARGEST_LINE}")
    name, *words = text[len(_MARK) :].split(" ")
    pairs = [word.partition("=") for word in words]
    return Event(name, tuple((key, value) for key, _, value in pairs))
