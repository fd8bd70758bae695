"""`python3 -m pluto_notary.fetch_config`: the run-time configuration from the host's disk, once in a boot.

The disk is read as raw bytes and never mounted. A configuration that is absent or malformed ends the boot of the
notary: an unread configuration must not look like an empty one.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pluto_notary import __version__, config
from pluto_notary.errors import ConfigError
from pluto_notary.serial import EventWriter, standard_output

SERIAL: Final = "pluto-config"  # the serial number of the virtio disk
DIRECTORY: Final = Path("/run/pluto/config")  # made by the unit
CONFIG_FILE: Final = DIRECTORY / "config.json"  # the payload, empty if the configuration is empty
DIGEST_FILE: Final = DIRECTORY / "config.digest"  # SHA-256 of the payload in hex, and a line end

_DISK_NAME: Final = re.compile(r"vd[a-z]{1,3}")
_WAIT_SECONDS: Final = 30.0  # the driver is a module, and loads while we wait
_POLL_SECONDS: Final = 0.05


def main() -> int:
    """Fetch, check and keep the configuration; 0 if there is one, 3 if not."""
    events = standard_output(time.monotonic)
    events.emit("started", component="config", version=__version__)
    return fetch(
        events,
        read=lambda: read_disk(Path("/sys/block"), Path("/dev"), clock=time.monotonic, sleep=time.sleep),
        directory=DIRECTORY,
    )


def fetch(events: EventWriter, *, read: Callable[[], bytes], directory: Path) -> int:
    """What `main` does, with the disk and the directory given."""
    try:
        payload = config.decode_config_disk(read())
        accepted = config.parse_payload(payload)
    except ConfigError as error:
        events.emit("config-refused", reason=error.reason)
        sys.stderr.write(f"pluto-config: error: {error}\n")
        return error.exit_code
    _write(directory / DIGEST_FILE.name, f"{accepted.digest.hex()}\n".encode())
    _write(directory / CONFIG_FILE.name, payload)  # last: the notary waits for it
    events.emit("config-accepted", digest=accepted.digest.hex())
    return 0


def read_disk(blocks: Path, devices: Path, *, clock: Callable[[], float], sleep: Callable[[float], object]) -> bytes:
    """The bytes of the one disk with our serial number, waited for. ConfigError: absent, ambiguous, unreadable, size.

    `blocks` is /sys/block, `devices` is /dev. A device node may be closed to us until udev has seen it.
    """
    deadline = clock() + _WAIT_SECONDS
    problem = ConfigError("absent", f"no disk has the serial number {SERIAL}")
    while True:
        names = find_disks(blocks)
        if len(names) > 1:
            raise ConfigError("ambiguous", f"disks {', '.join(names)} all have the serial number {SERIAL}")
        if names:
            try:
                return _read_device(devices / names[0])
            except OSError as error:
                problem = ConfigError("unreadable", f"{names[0]}: {error.strerror}")
        if clock() >= deadline:
            raise problem
        sleep(_POLL_SECONDS)


def find_disks(blocks: Path) -> list[str]:
    """Names of the virtio disks with our serial number."""
    found = []
    for entry in sorted(os.listdir(blocks)) if blocks.is_dir() else []:  # noqa: PTH208  sysfs names are plain text
        if _DISK_NAME.fullmatch(entry) and _serial(blocks / entry) == SERIAL:
            found.append(entry)
    return found


def _serial(entry: Path) -> str | None:
    try:
        return (entry / "serial").read_text("ascii", errors="replace").strip("\n\0 ")
    except OSError:  # a disk without a serial number, or one that is just going away
        return None


def _read_device(path: Path) -> bytes:
    with path.open("rb", buffering=0) as device:
        data = b""
        while len(data) <= config.DISK_SIZE and (piece := device.read(config.DISK_SIZE + 1 - len(data))):
            data += piece
    return data


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.chmod(0o444)
    temporary.rename(path)


if __name__ == "__main__":
    sys.exit(main())
