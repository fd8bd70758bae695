"""configfs-tsm in memory, with the kernel's semantics: generations, what is dropped, what is busy. For tests alone.

As of Linux 6.12: drivers/virt/coco/tsm.c, drivers/virt/coco/tdx-guest/tdx-guest.c, fs/configfs/file.c:

- an entry counts its writes; a report is made when `outblob` is read and the last one is of an older generation
- `inblob` is taken when the file is closed, and what that returned is dropped: a failed write looks like a good one
- more than 64 bytes are refused by the write itself (EFBIG), a REPORTDATA of another size by the reading (EINVAL)
- while a quote is in flight at the host there is EBUSY; a signal gives EINTR and leaves it in flight
- one write less than a whole turn of the counter ahead of the last reading, writes are refused (EBUSY, dropped too)
- what the host puts into its buffer is handed over as it is
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

REPORTS: Final = "/sys/kernel/config/tsm/report"
_TURN: Final = 2**64
_INBLOB_MAX, _TDX_REPORT_DATA = 64, 64
_ATTRIBUTES: Final = ("generation", "provider", "inblob", "outblob", "auxblob")


def quote_of(report_data: bytes, version: int = 4, size: int = 5000) -> bytes:
    """What looks like a quote to who does not verify it: its version, and REPORTDATA in its place."""
    at = {4: 48, 5: 54}[version] + 520
    body = version.to_bytes(2, "little") + bytes(at - 2) + report_data
    return body.ljust(size, b"\x51")


@dataclass
class _Item:
    write_generation: int = 0
    read_generation: int = 0
    inblob: bytes = b""
    outblob: bytes | None = None
    owner: tuple[int, int] = (0, 0)


@dataclass
class ConfigFs:
    """File operations over one `report` directory. Change its fields to make it misbehave.

    `after` is called with operation and attribute once each is done: where other processes come in between.
    `failures`: errno that the making of a report gives instead of working, in order; EINTR leaves the quote in flight
    for `in_flight` further attempts.
    """

    provider: str | None = "tdx_guest"
    make: Callable[[bytes], bytes] = quote_of
    after: Callable[[str, str], object] = lambda operation, attribute: None
    failures: list[int] = field(default_factory=list)
    in_flight: int = 0
    items: dict[str, _Item] = field(default_factory=dict)
    made: int = 0  # reports
    seen: list[str] = field(default_factory=list)
    user: int = 0  # who calls

    def make_directory(self, path: str, /) -> None:
        """mkdir in the report directory: a new entry, of generation 0."""
        if self.provider is None:
            raise _error(errno.ENXIO)
        if self.user != 0:
            raise _error(errno.EACCES)
        name = self._name(path)
        if name in self.items:
            raise _error(errno.EEXIST)
        self.items[name] = _Item()

    def give(self, path: str, user: int, group: int, /) -> None:
        """chown of an entry's attribute."""
        if self.user != 0:
            raise _error(errno.EPERM)
        self._item(path)[0].owner = (user, group)

    def read(self, path: str, limit: int, /) -> bytes:
        item, attribute = self._item(path)
        self.seen.append(f"read {attribute}")
        if attribute == "inblob":
            raise _error(errno.EACCES)
        if self.provider is None and attribute != "generation":
            raise _error(errno.ENXIO)
        if attribute == "generation":
            data = b"%d\n" % item.write_generation
        elif attribute == "provider":
            data = f"{self.provider}\n".encode()
        elif attribute == "auxblob":
            raise _error(errno.ENOENT)  # not visible on TDX
        else:
            data = self._report(item)
        self.after("read", attribute)
        if len(data) > limit:
            raise _error(errno.EFBIG)
        return data

    def write(self, path: str, data: bytes, /) -> None:
        item, attribute = self._item(path)
        self.seen.append(f"write {attribute}")
        if attribute != "inblob" or self.user not in (0, item.owner[0]):
            raise _error(errno.EACCES)
        if len(data) > _INBLOB_MAX:
            raise _error(errno.EFBIG)
        # On closing; the result is dropped.
        if item.write_generation != (item.read_generation - 1) % _TURN:
            item.write_generation = (item.write_generation + 1) % _TURN
            item.inblob = data
        self.after("write", attribute)

    def _report(self, item: _Item) -> bytes:
        if not item.inblob:
            raise _error(errno.EINVAL)
        if item.outblob is None or item.read_generation != item.write_generation:
            item.outblob = None
            item.outblob = self._new(item.inblob)
            item.read_generation = item.write_generation
        return item.outblob

    def _new(self, inblob: bytes) -> bytes:
        if self.in_flight:
            self.in_flight -= 1
            raise _error(errno.EBUSY)
        if len(inblob) != _TDX_REPORT_DATA:
            raise _error(errno.EINVAL)
        if self.failures:
            raise _error(self.failures.pop(0))
        self.made += 1
        return self.make(inblob)

    def _item(self, path: str) -> tuple[_Item, str]:
        entry, _, attribute = path.rpartition("/")
        name = self._name(entry)
        if name not in self.items or attribute not in _ATTRIBUTES:
            raise _error(errno.ENOENT)
        return self.items[name], attribute

    def _name(self, path: str) -> str:
        parent, _, name = path.rpartition("/")
        if parent != REPORTS or not name:
            raise _error(errno.ENOENT)
        return name


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
