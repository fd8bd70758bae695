"""The closed schema of what a trust domain says on its serial line. Pure.

    line  = "pluto: " name *(" " key "=" value)

Every name, key and value is of the table below, in its order; nothing a client or a host sent can get into a line,
except numbers and digests. A reader must remember that the host owns the serial line: lines inform, evidence proves.
Format: docs/formats/events.md.
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.errors import CONFIG_REASONS, EVIDENCE_CODES

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final, Self

    Rule = tuple[str, ...] | Callable[[str], bool]  # all that a value can be, or whether it is one

LARGEST_LINE: Final = 200  # bytes
COMPONENTS: Final = ("config", "evidence", "notary")
PURPOSES: Final = ("node", "channel", "session", "key")
_HTTP_CODES: Final = ("http", "path", "method", "mode", "query", "rate", "tls", "time")
# Of channels, docs/protocol.md; those that HTTP has too stand above. A test compares them with the protocol's own list.
_CHANNEL_CODES: Final = (
    *("frame", "version", "order", "size", "json", "nonce", "manifest", "manifest-digest", "target", "fresh"),
    *(
        "evidence",
        "egress",
        "resolve",
        "connect",
        "certificate",
        "redirect",
        "violation",
        "secret",
        "clock",
        "unsupported",
    ),
    "internal",
)
# Why no certificate was had: no exchange with the authority (pluto_notary.fetch.errors), ...
_EXCHANGE_CODES: Final = ("egress", "resolve", "connect", "certificate", "tls", "http", "redirect", "size", "time")
# ... what it said (RFC 8555, 6.7, in its words), ...
CA_PROBLEMS: Final = (
    *("accountDoesNotExist", "badCSR", "badNonce", "badPublicKey", "badSignatureAlgorithm", "caa", "compound"),
    *("connection", "dns", "externalAccountRequired", "incorrectResponse", "malformed", "orderNotReady", "rateLimited"),
    *("rejectedIdentifier", "serverInternal", "tls", "unauthorized", "unsupportedIdentifier", "userActionRequired"),
)
# ... or what we found in it.
_FOUND_CODES: Final = (
    *("answer", "challenge", "identifier", "late", "clock", "chain", "key", "name", "validity"),
    "internal",
)
CERTIFICATE_CODES: Final = (*_EXCHANGE_CODES, *(f"ca-{word}" for word in (*CA_PROBLEMS, "other")), *_FOUND_CODES)
REFUSALS: Final = tuple(dict.fromkeys((*EVIDENCE_CODES, *_HTTP_CODES, *_CHANNEL_CODES)))

_DIGITS: Final = frozenset("0123456789")


# Without regular expressions: loading and compiling them would take a third of a small program's start.


def is_number(value: str) -> bool:
    """0, or 1 to 10 digits of which the first is not 0."""
    return 0 < len(value) <= 10 and _DIGITS.issuperset(value) and (value[0] != "0" or value == "0")


def is_digest(value: str) -> bool:
    """32 bytes in lower-case hex."""
    return len(value) == 64 and frozenset("0123456789abcdef").issuperset(value)


def is_version(value: str) -> bool:
    """2 to 4 numbers of at most 4 digits, with dots between them."""
    parts = value.split(".")
    return 2 <= len(parts) <= 4 and all(0 < len(part) <= 4 and _DIGITS.issuperset(part) for part in parts)


# name -> its keys, in order, each with the rule for its values
SCHEMA: Final[Mapping[str, Mapping[str, Rule]]] = {
    "started": {"component": COMPONENTS, "version": is_version},
    "config-accepted": {"digest": is_digest},
    "config-refused": {"reason": CONFIG_REASONS},
    "ready": {"port": is_number, "buildid": is_digest},
    "evidence": {"purpose": PURPOSES},
    "proof": {},
    "refused": {"code": REFUSALS},
    "time": {"state": ("known", "unknown")},
    "certificate": {"state": ("asked", "shown", "failed"), "code": ("none", *CERTIFICATE_CODES)},
    "dropped": {"count": is_number},
    "stopping": {"component": COMPONENTS},
}
# What clients can cause at will, and so is limited in rate; `dropped` then says how many lines are missing.
LIMITED: Final = frozenset({"evidence", "proof", "refused", "time"})

# The kernel's own prefix of a console line: time, and on some kernels the caller.
_KERNEL_PREFIX: Final = r"\[ *[0-9]{1,10}\.[0-9]{6}\](\[ *[TC][0-9]{1,10}\])? "
_MARK: Final = "pluto: "


@record
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
            rule = schema[key]
            if not (value in rule if isinstance(rule, tuple) else rule(value)):
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
    import re  # readers of consoles are outside of trust domains; a writer's start is not to pay for it

    text = re.sub(_KERNEL_PREFIX, "", line.rstrip("\r\n"), count=1)
    if not text.startswith(_MARK):
        return None
    if len(text) > LARGEST_LINE:
        raise FormatError("event", f"a line of {len(text)} characters is longer than {LARGEST_LINE}")
    name, *words = text[len(_MARK) :].split(" ")
    pairs = [word.partition("=") for word in words]
    return Event(name, tuple((key, value) for key, _, value in pairs))
