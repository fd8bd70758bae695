"""The run-time configuration: a blob from a host that nobody trusts. Pure.

    blob    = u32 length (big-endian, bytes of payload) ‖ payload
    disk    = blob ‖ zeros up to DISK_SIZE
    text    = base64 of blob, as a cloud's metadata carry it
    payload = nothing | canonical JSON {"deployment": label, "version": 1}

No setting in it can weaken anything; its digest (SHA-256 of the payload) stands in the evidence. Whatever is not
spelled exactly so is refused: one configuration has one digest. Format: docs/formats/runtime-config.md.
"""

from __future__ import annotations

import binascii
import hashlib

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_measure.record import record
from pluto_notary.errors import ConfigError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

VERSION: Final = 1
DISK_SIZE: Final = 32 * 1024  # bytes, always: an empty configuration has a disk too, since the disk moves RTMR[0]
LARGEST_PAYLOAD: Final = 16 * 1024  # bytes
_LENGTH_BYTES: Final = 4
LARGEST_TEXT: Final = (_LENGTH_BYTES + LARGEST_PAYLOAD + 2) // 3 * 4  # characters
_LABEL_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


@record
class RuntimeConfiguration:
    """What the operator may choose. `deployment` is a label for people (a DNS label); None when nothing was given."""

    deployment: str | None
    digest: bytes  # SHA-256 of the payload


def encode_payload(*, deployment: str) -> bytes:
    """The payload that says so. ConfigError for a label that the notary would refuse."""
    from pluto_measure.formats.strict_json import canonical  # as in parse_payload

    payload = canonical({"version": VERSION, "deployment": deployment})
    parse_payload(payload)
    return payload


def encode_config_disk(payload: bytes) -> bytes:
    """The disk that carries `payload` (b"" = no configuration): DISK_SIZE bytes. ConfigError if it is malformed."""
    return _blob(payload).ljust(DISK_SIZE, b"\0")


def encode_config_text(payload: bytes) -> str:
    """The text that carries `payload` (b"" = no configuration) in a cloud's metadata. ConfigError if malformed."""
    return binascii.b2a_base64(_blob(payload), newline=False).decode("ascii")


def decode_config_disk(disk: bytes) -> bytes:
    """The payload of a disk. ConfigError for a wrong size, a wrong length, or anything behind the payload."""
    if len(disk) != DISK_SIZE:
        raise ConfigError("size", f"the disk holds {len(disk)} bytes, not {DISK_SIZE}")
    reader = Reader(disk, what="run-time configuration", order="big")
    length = reader.uint(_LENGTH_BYTES, "length")
    if length > LARGEST_PAYLOAD:
        raise ConfigError("length", f"a payload of {length} bytes is larger than {LARGEST_PAYLOAD}")
    payload = reader.take(length, "payload")
    if any(reader.rest()):
        raise ConfigError("padding", "bytes behind the payload are not zero")
    return payload


def decode_config_text(text: bytes) -> bytes:
    """The payload of a text. ConfigError for another spelling of base64, a wrong length, or anything behind."""
    if len(text) > LARGEST_TEXT:
        raise ConfigError("length", f"a text of {len(text)} characters is longer than {LARGEST_TEXT}")
    try:
        blob = binascii.a2b_base64(text)
    except binascii.Error as error:
        raise ConfigError("encoding", "not base64") from error
    if binascii.b2a_base64(blob, newline=False) != text:  # the decoder skips what is no base64
        raise ConfigError("encoding", "not base64: another spelling of the same bytes is expected")
    length = int.from_bytes(blob[:_LENGTH_BYTES], "big")
    if len(blob) < _LENGTH_BYTES or len(blob) != _LENGTH_BYTES + length:
        raise ConfigError("size", f"{len(blob)} bytes are not a length and {length} bytes of payload")
    return blob[_LENGTH_BYTES:]


def parse_payload(payload: bytes) -> RuntimeConfiguration:
    """The configuration that a payload states. ConfigError for anything unknown, missing or spelled otherwise."""
    if len(payload) > LARGEST_PAYLOAD:
        raise ConfigError("length", f"a payload of {len(payload)} bytes is larger than {LARGEST_PAYLOAD}")
    digest = hashlib.sha256(payload).digest()
    if not payload:
        return RuntimeConfiguration(None, digest)
    # Loaded here, because most machines have an empty configuration, and start without a JSON parser.
    from pluto_measure.formats.strict_json import Fields

    value = _canonical_value(payload)
    try:
        fields = Fields(value, what="run-time configuration")
        version = fields.take("version", int)
        deployment = fields.take("deployment", str)
        fields.end()
    except FormatError as error:
        raise ConfigError("schema", error.problem) from error
    if version != VERSION:
        raise ConfigError("schema", f"version {version} is not known")
    if not _is_label(deployment):
        raise ConfigError("schema", "deployment must be 1 to 63 of a-z, 0-9 and inner hyphens")
    return RuntimeConfiguration(deployment, digest)


def _blob(payload: bytes) -> bytes:
    parse_payload(payload)
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


def _is_label(text: str) -> bool:
    letters = 0 < len(text) <= 63 and _LABEL_LETTERS.issuperset(text)
    return letters and not text.startswith("-") and not text.endswith("-")


def _canonical_value(payload: bytes) -> object:
    from pluto_measure.formats.strict_json import canonical, loads  # as in parse_payload

    try:
        value: object = loads(payload, what="run-time configuration", limit=LARGEST_PAYLOAD)
        spelled = canonical(value)
    except (FormatError, TypeError, ValueError) as error:  # ValueError: lone surrogates cannot be written as UTF-8
        raise ConfigError("spelling", f"not canonical JSON: {error}") from error
    if spelled != payload:
        raise ConfigError("spelling", "not canonical JSON: another spelling of the same value is expected")
    return value
