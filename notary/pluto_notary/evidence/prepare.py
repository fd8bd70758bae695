"""`python3 -m pluto_notary.evidence.prepare`: make the entry of configfs-tsm and give it to the evidence helper's user.

Only root may make an entry. This runs before the helper and ends, so that the helper itself never has a privilege. In a
trust domain the driver is waited for, as udev loads it beside the rest of the boot; elsewhere there is nothing to do.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path

from pluto_notary.evidence.tsm import ENTRY

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Protocol

    class Making(Protocol):
        """OSError."""

        def make_directory(self, path: str, /) -> None: ...

        def give(self, path: str, user: int, group: int, /) -> None: ...


USER: Final = "pluto-evidence"
_SECONDS, _POLL_SECONDS = 20.0, 0.02
# The module tsm is not loaded, or configfs not mounted; no driver makes reports yet.
_NOT_YET: Final = frozenset({errno.ENOENT, errno.ENXIO})
_GIVEN: Final = ("inblob", "outblob", "generation", "provider")


class OsMaking:
    """The operating system's calls."""

    def make_directory(self, path: str, /) -> None:
        Path(path).mkdir(mode=0o755)

    def give(self, path: str, user: int, group: int, /) -> None:
        os.chown(path, user, group, follow_symlinks=False)


def make_entry(files: Making, user: int, group: int, entry: str = ENTRY) -> None:
    """The entry, made now or found, with its attributes owned by `user`. OSError."""
    with contextlib.suppress(FileExistsError):  # the helper was started again
        files.make_directory(entry)
    for attribute in _GIVEN:
        files.give(f"{entry}/{attribute}", user, group)


def account(passwd: str, name: str) -> tuple[int, int]:
    """User and group number of `name`, from passwd(5). KeyError if it is not there."""
    for line in passwd.splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]), int(fields[3])
    raise KeyError(name)


def is_trust_domain(cpuinfo: str) -> bool:
    """Whether the kernel says so, by the flags in /proc/cpuinfo."""
    flags = next((line.partition(":")[2] for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return "tdx_guest" in flags.split()


def wait_and_make(make: Callable[[], None], *, clock: Callable[[], float], sleep: Callable[[float], object]) -> None:
    """`make`, as soon as the interface and its driver are there. OSError if they do not come, or for anything else."""
    deadline = clock() + _SECONDS
    while True:
        try:
            make()
            return
        except OSError as error:
            if error.errno not in _NOT_YET or clock() >= deadline:
                raise
        sleep(_POLL_SECONDS)


def main() -> int:
    """0 if the entry is there, or this is no trust domain."""
    try:
        if not is_trust_domain(Path("/proc/cpuinfo").read_text(encoding="utf-8")):
            return 0
        user, group = account(Path("/etc/passwd").read_text(encoding="utf-8"), USER)
        wait_and_make(lambda: make_entry(OsMaking(), user, group), clock=time.monotonic, sleep=time.sleep)
    except OSError as error:
        sys.stderr.write(f"pluto-evidence: error: no entry of configfs-tsm: {error}\n")
        return 6
    return 0


if __name__ == "__main__":
    sys.exit(main())
