"""What the guest of a harvest said on the debug port. Pure.

    transcript  noise, "pluto-harvest 1" LF, item..., "end " count LF, anything
    item        "item " name " " size " " content LF    content: base64 of a zlib stream (RFC 1950)
    failed      "failed " text LF                       in place of what follows

The firmware may have written to the same port before (noise). Names: "fw_cfg:" and the item's name, "efi:" and the
variable's, "smbios", "tpm-log". Sizes in decimal digits, of the content as it is meant.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

from pluto_measure.errors import FormatError, SourceError

HEADER: Final = b"pluto-harvest 1"
LIMIT: Final = 16 * 1024 * 1024  # bytes of a transcript, and of one item's content
_WHAT: Final = "harvest"


def parse(said: bytes) -> dict[str, bytes]:
    """Contents by name, in the order said. FormatError; SourceError where the guest says that it failed."""
    if len(said) > LIMIT:
        raise FormatError(_WHAT, f"the guest said {len(said)} bytes, more than {LIMIT}")
    lines = said.split(b"\n")
    if HEADER not in lines:
        raise FormatError(_WHAT, "the guest never began to speak")
    items: dict[str, bytes] = {}
    for line in lines[lines.index(HEADER) + 1 : -1]:
        word, _, rest = line.partition(b" ")
        if word == b"failed":
            raise SourceError(f"the guest failed: {rest[:300].decode(errors='replace')}")
        if word == b"end":
            if rest != b"%d" % len(items):
                raise FormatError(_WHAT, f"the guest counted {rest[:20]!r} items, {len(items)} arrived")
            return items
        if word != b"item":
            raise FormatError(_WHAT, f"a line of the guest begins with {word[:20]!r}")
        name, content = _item(rest)
        if name in items:
            raise FormatError(_WHAT, f"the guest said {name} twice")
        items[name] = content
    raise FormatError(_WHAT, "the guest did not come to an end")


def _item(rest: bytes) -> tuple[str, bytes]:
    parts = rest.split(b" ")
    if len(parts) != 3 or not parts[0].isascii() or not parts[1].isdigit() or len(parts[1]) > 9:
        raise FormatError(_WHAT, f"an item of the guest reads {rest[:40]!r}")
    name, size = parts[0].decode(), int(parts[1])
    if size > LIMIT:
        raise FormatError(_WHAT, f"{name} has {size} bytes, more than {LIMIT}")
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(base64.b64decode(parts[2], validate=True), size + 1)
    except (binascii.Error, zlib.error) as error:
        raise FormatError(_WHAT, f"{name} arrived damaged: {error}") from error
    if len(content) != size or not unpacker.eof or unpacker.unused_data:
        raise FormatError(_WHAT, f"{name} is not {size} bytes, as the guest said")
    return name, content
