"""Any bytes are a UEFI structure or a FormatError; variables and device paths have one spelling."""

from __future__ import annotations

from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats import uefi

_PATH = uefi.encode_path((uefi.PathNode(4, 7, bytes(16)), uefi.PathNode(4, 6, bytes(16))))


def target(data: bytes) -> None:
    with suppress(FormatError):
        assert uefi.parse_variable(data).encode() == data
    with suppress(FormatError):
        nodes = uefi.parse_path(data)
        assert data in (b"", uefi.encode_path(nodes))
        assert isinstance(uefi.path_text(nodes), str)
    for parse in (uefi.parse_load_option, uefi.parse_signatures, uefi.parse_image_load, uefi.parse_tagged):
        with suppress(FormatError):
            parse(data)


def seeds() -> list[bytes]:
    signatures = uefi.X509_SIGNATURE + (28 + 20).to_bytes(4, "little") + bytes(4) + (20).to_bytes(4, "little")
    return [
        uefi.Variable(uefi.GLOBAL_VARIABLE, "SecureBoot", b"\0").encode(),
        _PATH,
        (9).to_bytes(4, "little") + len(_PATH).to_bytes(2, "little") + "UiApp\0".encode("utf-16-le") + _PATH,
        signatures + bytes(20),
        bytes(24) + len(_PATH).to_bytes(8, "little") + _PATH,
        bytes.fromhex("ed223b8f01000000") + b"x",
    ]
