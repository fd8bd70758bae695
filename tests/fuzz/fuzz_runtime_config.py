"""A configuration disk, text or payload is either the one spelling of its value or a FormatError."""

from __future__ import annotations

import base64

from pluto_measure.errors import FormatError
from pluto_notary import config


def seeds() -> list[bytes]:
    payload = config.encode_payload(deployment="staging-1")
    acme = config.Acme("https://ca.example/directory", "notary.example")
    text = config.encode_config_text(payload).encode()
    return [
        payload,
        config.encode_payload(deployment="a", acme=acme),
        b"",
        len(payload).to_bytes(4, "big") + payload,
        text,
        b"AAAAAA==",
    ]


def target(data: bytes) -> None:
    for payload in (data, _from_disk(data), _from_text(data)):
        try:
            accepted = config.parse_payload(payload)
        except FormatError:
            continue
        assert config.encode_payload(deployment=accepted.deployment, acme=accepted.acme) == payload


def _from_disk(data: bytes) -> bytes:
    try:
        return config.decode_config_disk(data.ljust(config.DISK_SIZE, b"\0"))
    except FormatError:
        return b""


def _from_text(data: bytes) -> bytes:
    try:
        payload = config.decode_config_text(data)
    except FormatError:
        return b""
    assert base64.b64encode(len(payload).to_bytes(4, "big") + payload) == data
    return payload
