"""Which convention a run-time event follows: what products extend RTMR[3] with after the firmware's log. Pure.

Nothing in firmware, systemd-stub or kernel extends RTMR[3], so its events are each product's own. A convention is told
by recomputing the digest from the event's data, never by the data alone: what is recognised is as good as the register.

    dstack, dstack-v2       type 0x08000001, digest of type ‖ ":" ‖ name ‖ ":" ‖ payload, or of canonical JSON
    coco-aael               EV_EVENT_TAG "AAEL": "domain operation content", digest of the whole data
    google-cel              canonical record of type 80 (Confidential Space), digest of the whole content TLV
    oak                     encoded event of Oak Containers, in RTMR[2], digest of the whole data
    confidential-os-builder "sha256:" and 64 hex digits of a container image, digest of that text
    secretvm                a SHA-256 with 16 zeros behind it instead of a SHA-384; of the data, or the data itself

Sources: Dstack-TEE/dstack `cc-eventlog`, confidential-containers/guest-components `eventlog`, google/go-tpm-tools
`cel/cos_tlv.go`, project-oak/oak, confidential-dot-ai/confidential-os-builder `tdx-measure`, scrtlabs/secretvm-verify
`rtmr.ts`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.event_text import safe
from pluto_measure.formats import cel, dstack, oak, uefi
from pluto_measure.formats.eventlog import CEL_CONTENT, EventType, LogEvent

_AAEL: Final = b"LEAA"  # the tag "AAEL", little-endian
_PADDING: Final = bytes(16)
_IMAGE: Final = re.compile(rb"(?:[\x21-\x7e]+@)?(sha256:[0-9a-f]{64})")
_COS: Final = (
    "image reference",
    "image digest",
    "restart policy",
    "image identifier",
    "argument",
    "environment variable",
    "overridden argument",
    "overridden environment variable",
    "launch separator",
    "memory monitor",
)


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """An event of a known convention. `name` and `content` are what was measured, without the convention's frame."""

    convention: str
    name: str
    content: bytes

    @property
    def description(self) -> str:
        """One line for people, escaped and shortened."""
        return safe(self.name) + (f" = {_content(self.content)}" if self.content else "")


def describe_runtime(event: LogEvent) -> RuntimeEvent | None:
    """The event by its convention; None where it follows none, or its digest is not what the convention makes of it."""
    if event.type == EventType.EV_NO_ACTION:
        return None
    try:
        return next((found for recognise in _CONVENTIONS if (found := recognise(event))), None)
    except FormatError:
        return None


def _dstack(event: LogEvent) -> RuntimeEvent | None:
    found = dstack.parse_hashed(event.data) if event.type == dstack.RUNTIME_EVENT else None
    if found is None or not event.covers(event.data):
        return None
    name, payload, version = found
    return RuntimeEvent("dstack" if version == 1 else f"dstack-v{version}", name, payload)


def _aael(event: LogEvent) -> RuntimeEvent | None:
    if event.type != EventType.EV_EVENT_TAG or not event.data.startswith(_AAEL) or not event.covers(event.data):
        return None
    words = uefi.parse_tagged(event.data)[1].split(b" ", 2)
    if len(words) != 3:
        return None
    domain, operation, content = words
    return RuntimeEvent("coco-aael", f"{_text(domain)} {_text(operation)}", content)


def _google(event: LogEvent) -> RuntimeEvent | None:
    if event.type != CEL_CONTENT + cel.COS or not event.covers(event.data):
        return None
    _, content = cel.parse_tlv(event.data, what="content")
    kind, text = cel.parse_tlv(content, what="COS content")
    return RuntimeEvent("google-cel", _COS[kind] if kind < len(_COS) else f"type {kind}", text)


def _oak(event: LogEvent) -> RuntimeEvent | None:
    if event.type != oak.OAK_EVENT or not event.covers(event.data):
        return None
    tag, url = oak.parse_event(event.data)
    return RuntimeEvent("oak", tag, url.encode())


def _image(event: LogEvent) -> RuntimeEvent | None:
    found = _IMAGE.fullmatch(event.data)
    if found is None or not event.covers(found[1]):
        return None
    return RuntimeEvent("confidential-os-builder", "container image", found[1])


def _secretvm(event: LogEvent) -> RuntimeEvent | None:
    digest = event.digests.get("sha384", b"")
    if not digest.endswith(_PADDING) or not any(digest):
        return None
    value = digest[: -len(_PADDING)]
    if value not in (event.data, hashlib.sha256(event.data).digest()):
        return None
    return RuntimeEvent("secretvm", "sha256", value)


_CONVENTIONS: Final[tuple[Callable[[LogEvent], RuntimeEvent | None], ...]] = (
    _dstack,
    _aael,
    _google,
    _oak,
    _image,
    _secretvm,
)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _content(content: bytes) -> str:
    """As text where it is printable, else in hex."""
    text = _text(content)
    return safe(text if text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text else content.hex())
