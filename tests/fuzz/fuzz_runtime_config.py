"""A configuration disk or payload is either the one spelling of its value or a FormatError."""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_notary import config


def seeds() -> list[bytes]:
    payload = config.encode_payload(deployment="staging-1")
    return [payload, b"", len(payload).to_bytes(4, "big") + payload]


def target(data: bytes) -> None:
    for payload in (data, _from_disk(data)):
        try:
            accepted = config.parse_payload(payload)
        except FormatError:
            continue
        if accepted.deployment is not None:
            assert config.encode_payload(deployment=accepted.deployment) == payload


def _from_disk(data: bytes) -> bytes:
    try:
        return config.decode_config_disk(data.ljust(config.DISK_SIZE, b"\0"))
    except FormatError:
        return b""
