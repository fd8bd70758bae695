"""The trusted root of a Sigstore: whose certificates, logs and timestamps count, and from when to when. Pure.

protobuf-specs, sigstore_trustroot.proto, as JSON (`trusted_root.json`). `at` gives the root as it was at one instant:
what was not valid then is left out, and what is left is valid always. So a key counts for what was signed in its time
and for nothing else, and no clock is asked. Format: docs/formats/signatures.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.evidence import format_time
from pluto_measure.formats.strict_json import Fields, loads

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
LIMIT: Final = 1024 * 1024  # bytes
WHAT: Final = "sigstore root"
_ALWAYS: Final = {"start": "1970-01-01T00:00:00Z"}


class Dated(NamedTuple):
    """A key or an authority, as JSON that is valid always, and when it really is valid. Both ends belong to it."""

    start: datetime | None
    end: datetime | None
    value: dict[str, Any]

    def holds(self, at: datetime) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at <= self.end)


class Log(NamedTuple):
    """A transparency log. `name`: its address without the scheme, which is what it calls itself."""

    log_id: str
    name: str
    key: Dated


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """A root, read as far as times and names of logs go; the library reads the rest."""

    logs: tuple[Log, ...]
    certificate_logs: tuple[Dated, ...]
    authorities: tuple[Dated, ...]
    timestamp_authorities: tuple[Dated, ...]

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """FormatError for anything unknown, doubled, or without its times."""
        fields = Fields(loads(text, what=WHAT, limit=LIMIT), what=WHAT)
        if (media_type := fields.take("mediaType", str)) != MEDIA_TYPE:
            raise FormatError(WHAT, f"mediaType {media_type[:80]!r} is not {MEDIA_TYPE}")
        root = cls(
            tuple(_log(*one) for one in _objects(fields, "tlogs")),
            tuple(_key(*one) for one in _objects(fields, "ctlogs")),
            tuple(_authority(*one) for one in _objects(fields, "certificateAuthorities")),
            tuple(_authority(*one) for one in _objects(fields, "timestampAuthorities")),
        )
        fields.end()
        return root

    def at(self, log_id: str, instant: datetime) -> tuple[dict[str, Any], str]:
        """The root as it was at one instant, with that one transparency log (base64 id), and the log's name.

        VerificationError if the log is not in it, or if something that every bundle needs was not valid then.
        """
        logs = [log for log in self.logs if log.log_id == log_id]
        valid = [log for log in logs if log.key.holds(instant)]
        if not valid:
            when = f" at {format_time(instant)}" if logs else ""
            raise VerificationError(f"sigstore.log: the root knows no log {log_id[:60]!r}{when}")
        log = valid[0]
        document = {
            "mediaType": MEDIA_TYPE,
            "tlogs": [log.key.value],
            "ctlogs": _valid(self.certificate_logs, instant),
            "certificateAuthorities": _valid(self.authorities, instant),
            "timestampAuthorities": _valid(self.timestamp_authorities, instant),
        }
        for name, step in (("certificateAuthorities", "certificate"), ("ctlogs", "sct")):
            if not document[name]:
                raise VerificationError(f"sigstore.{step}: the root has no {name} at {format_time(instant)}")
        return document, log.name


def _valid(all_of_them: tuple[Dated, ...], instant: datetime) -> list[dict[str, Any]]:
    return [dated.value for dated in all_of_them if dated.holds(instant)]


def _objects(fields: Fields, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    for i, item in enumerate(fields.get(name, [], list)):
        what = f"{WHAT}.{name}[{i}]"
        if not isinstance(item, dict):
            raise FormatError(what, "must be an object")
        yield item, what


def _log(item: dict[str, Any], what: str) -> Log:
    fields = Fields(item, what=what)
    name: str = fields.take("baseUrl", str).partition("://")[2].rstrip("/")
    log_id: str = fields.sub("logId").take("keyId", str)
    if not name or not log_id:
        raise FormatError(what, "has no address or no id")
    return Log(log_id, name, _key(item, what))


def _key(item: dict[str, Any], what: str) -> Dated:
    key = Fields(item, what=what).take("publicKey", dict)
    period = Fields(key, what=f"{what}.publicKey").optional("validFor")
    start, end = (None, None) if period is None else _period(period)
    undated = {name: value for name, value in key.items() if name != "validFor"}
    return Dated(start, end, {**item, "publicKey": undated})


def _authority(item: dict[str, Any], what: str) -> Dated:
    return Dated(*_period(Fields(item, what=what).sub("validFor")), {**item, "validFor": _ALWAYS})


def _period(fields: Fields) -> tuple[datetime, datetime | None]:
    start = _instant(fields.take("start", str), fields.what)
    end = fields.get("end", None, str, type(None))
    fields.end()
    return start, None if end is None else _instant(end, fields.what)


def _instant(text: str, what: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise FormatError(what, f"{text[:40]!r} is no time") from error
    if instant.tzinfo is None:
        raise FormatError(what, f"{text[:40]!r} does not say in which zone")
    return instant
