"""TDX quotes by the kernel's configfs-tsm: one entry, written and read under its generation counter. Thin IO.

Kernel: Documentation/ABI/testing/configfs-tsm, drivers/virt/coco (6.7 and later), fs/configfs/file.c.

    provider     "tdx_guest"                      inblob    REPORTDATA, 64 bytes; taken when the file is closed
    generation   counts the writes to the entry   outblob   the quote for the last inblob, made when it is read

configfs drops what a failed write of `inblob` returned, since that happens as the file is closed: only the counter
tells that it was taken, and that nobody else wrote before the quote was read. The host makes the quote, and kernels
before 7.0 hand over whatever the host's buffer says, so size and REPORTDATA are looked at here.
"""

from __future__ import annotations

import errno
import os

from pluto_notary.errors import EvidenceError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Protocol

    class Files(Protocol):
        """Operations on files, each with a file opened and closed for itself. OSError."""

        def read(self, path: str, limit: int, /) -> bytes: ...

        def write(self, path: str, data: bytes, /) -> None: ...


REPORTS: Final = "/sys/kernel/config/tsm/report"
ENTRY: Final = f"{REPORTS}/pluto"  # made, and given to the helper's user, by `pluto_notary.evidence.prepare`
PROVIDER: Final = b"tdx_guest"
REPORT_DATA_BYTES: Final = 64
LARGEST_QUOTE: Final = 64 * 1024  # bytes; a genuine one has 5 to 8 KiB
SMALLEST_QUOTE: Final = 1020  # header, TD report, length, and the fixed parts of the signature data
_SMALL: Final = 4096  # bytes of an attribute that is text
_COUNTER: Final = 2**64
_REPORT_DATA_AT: Final = {b"\4\0": 48 + 520, b"\5\0": 48 + 6 + 520}  # Intel's quote format, by version

# Another request is in flight at the host; a signal; no data yet.
AGAIN: Final = frozenset({errno.EBUSY, errno.EINTR, errno.EAGAIN})
_ATTEMPTS: Final = 7
_FIRST_WAIT: Final = 0.05  # seconds; doubles: 3.2 in all


class OsFiles:
    """The operating system's files."""

    def read(self, path: str, limit: int, /) -> bytes:
        """All of it; OSError(EFBIG) beyond `limit` bytes."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = b""
            while piece := os.read(descriptor, min(65536, limit + 1 - len(data))):
                data += piece
                if len(data) > limit:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return data
        finally:
            os.close(descriptor)

    def write(self, path: str, data: bytes, /) -> None:
        """All of it by one call, as attributes want it."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.EIO, "a part of an attribute was taken")
        finally:
            os.close(descriptor)


class Tsm:
    """Quotes of this trust domain by one entry of configfs-tsm. `sleep` waits between attempts."""

    def __init__(self, files: Files, *, sleep: Callable[[float], object], entry: str = ENTRY) -> None:
        self._files, self._sleep, self._entry = files, sleep, entry

    def quote(self, report_data: bytes) -> bytes:
        """A quote that carries `report_data` (64 bytes).

        OSError from the kernel; EvidenceError for another provider, a quote that is none or carries something else,
        and an entry that others do not leave alone.
        """
        if len(report_data) != REPORT_DATA_BYTES:
            raise ValueError(f"REPORTDATA has {REPORT_DATA_BYTES} bytes, not {len(report_data)}")
        if (provider := self._files.read(f"{self._entry}/provider", _SMALL).strip()) != PROVIDER:
            raise EvidenceError("device", f"reports are made by {provider[:32]!r}, not by {PROVIDER!r}")
        wait = _FIRST_WAIT
        for left in reversed(range(_ATTEMPTS)):
            try:
                quote = self._attempt(report_data)
            except OSError as error:
                if error.errno not in AGAIN or not left:
                    raise
            else:
                if quote is not None:
                    return _checked(quote, report_data)
            if left:
                self._sleep(wait)
                wait *= 2
        raise EvidenceError("device", "somebody else writes to this entry of configfs-tsm")

    def _attempt(self, report_data: bytes) -> bytes | None:
        """None if the write was not taken, or another one came between it and the end of the reading."""
        before = self._generation()
        self._files.write(f"{self._entry}/inblob", report_data)
        written = self._generation()
        if written != (before + 1) % _COUNTER:
            return None
        quote = self._files.read(f"{self._entry}/outblob", LARGEST_QUOTE)
        return quote if self._generation() == written else None

    def _generation(self) -> int:
        text = self._files.read(f"{self._entry}/generation", _SMALL).removesuffix(b"\n")
        if not (text.isdigit() and len(text) <= 20):
            raise EvidenceError("device", "the generation of an entry of configfs-tsm is no number")
        return int(text)


def _checked(quote: bytes, report_data: bytes) -> bytes:
    at = _REPORT_DATA_AT.get(quote[:2])
    if len(quote) < SMALLEST_QUOTE or at is None:
        raise EvidenceError("device", f"{len(quote)} bytes that are no quote of version 4 or 5 came from the host")
    if quote[at : at + REPORT_DATA_BYTES] != report_data:
        raise EvidenceError("device", "the quote that came from the host carries another REPORTDATA")
    return quote
