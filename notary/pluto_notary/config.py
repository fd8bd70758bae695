"""The run-time configuration: a blob from a host that nobody trusts. Pure.

    blob    = u32 length (big-endian, bytes of payload) ‖ payload
    disk    = blob ‖ zeros up to DISK_SIZE
    text    = base64 of blob, as a cloud's metadata carry it
    payload = nothing | canonical JSON {"acme": acme?, "deployment": label?, "version": 1}, with one of both at least
    acme    = {"directory": URL, "domain": name}

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

    from pluto_measure.formats.strict_json import Fields

VERSION: Final = 1
DISK_SIZE: Final = 32 * 1024  # bytes, always: an empty configuration has a disk too, since the disk moves RTMR[0]
LARGEST_PAYLOAD: Final = 16 * 1024  # bytes
_LENGTH_BYTES: Final = 4
LARGEST_TEXT: Final = (_LENGTH_BYTES + LARGEST_PAYLOAD + 2) // 3 * 4  # characters
LONGEST_DIRECTORY: Final = 255  # characters
_LONGEST_NAME: Final = 253  # characters; RFC 1035, 2.3.4, without the root's dot
_DIGITS: Final = frozenset("0123456789")
_LABEL_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz-") | _DIGITS
# RFC 3986, 3.3: what a path consists of.
_PATH_LETTERS: Final = _LABEL_LETTERS | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ._~!$&'()*+,;=:@%/")


@record
class Acme:
    """Whom to ask for the outer certificate, and for which name. It weakens nothing: evidence binds the key."""

    directory: str  # https URL of a certification authority's directory; RFC 8555, 7.1.1
    domain: str  # DNS name in lower case that leads to this machine


@record
class RuntimeConfiguration:
    """What the operator may choose. `deployment` is a label for people (a DNS label); None for what was not given."""

    deployment: str | None
    digest: bytes  # SHA-256 of the payload
    acme: Acme | None = None


def encode_payload(*, deployment: str | None = None, acme: Acme | None = None) -> bytes:
    """The payload that says so; b"" if nothing is given. ConfigError for a value that the notary would refuse."""
    from pluto_measure.formats.strict_json import canonical  # as in parse_payload

    members: dict[str, object] = {}
    if deployment is not None:
        members["deployment"] = deployment
    if acme is not None:
        members["acme"] = {"directory": acme.directory, "domain": acme.domain}
    if not members:
        return b""
    payload = canonical({"version": VERSION, **members})
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
        deployment = fields.get("deployment", None, str)
        asked = fields.get("acme", None, dict)
        fields.end()
        acme = None if asked is None else _acme(Fields(asked, what="acme"))
    except FormatError as error:
        raise ConfigError("schema", error.problem) from error
    if version != VERSION:
        raise ConfigError("schema", f"version {version} is not known")
    if deployment is None and acme is None:
        raise ConfigError("schema", "deployment is missing, and so is acme; the empty configuration has no payload")
    if deployment is not None and not _is_label(deployment):
        raise ConfigError("schema", "deployment must be 1 to 63 of a-z, 0-9 and inner hyphens")
    return RuntimeConfiguration(deployment, digest, acme)


def is_host_name(text: str) -> bool:
    """Whether this is a DNS name of at least two labels, in lower case, that is no spelling of an address."""
    labels = text.split(".")
    return len(text) <= _LONGEST_NAME and len(labels) > 1 and all(map(_is_label, labels)) and labels[-1][0].isalpha()


def is_directory(text: str) -> bool:
    """Whether this is https://host[:port]/path in its one spelling: no user, query or fragment, no port 443."""
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    if len(text) > LONGEST_DIRECTORY or scheme != "https" or not slash or not _PATH_LETTERS.issuperset(path):
        return False
    return host_and_port(authority) is not None


def host_and_port(authority: str) -> tuple[str, int] | None:
    """Host and port of an https URL in their one spelling (no port that is 443, no address), None for another."""
    host, colon, port = authority.partition(":")
    if not is_host_name(host) or (colon and not _is_port(port)):
        return None
    return host, int(port) if colon else 443


def _acme(fields: Fields) -> Acme:
    acme = Acme(fields.take("directory", str), fields.take("domain", str))
    fields.end()
    if not is_directory(acme.directory):
        raise ConfigError("schema", "acme.directory must be https://host[:port]/path, without a port that is 443")
    if not is_host_name(acme.domain):
        raise ConfigError("schema", "acme.domain must be a DNS name in lower case, of at least two labels")
    return acme


def _blob(payload: bytes) -> bytes:
    parse_payload(payload)
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


def _is_label(text: str) -> bool:
    letters = 0 < len(text) <= 63 and _LABEL_LETTERS.issuperset(text)
    return letters and not text.startswith("-") and not text.endswith("-")


def _is_port(text: str) -> bool:
    return 0 < len(text) <= 5 and _DIGITS.issuperset(text) and text[0] != "0" and int(text) < 65536 and text != "443"


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
