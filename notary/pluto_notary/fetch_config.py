"""`python3 -m pluto_notary.fetch_config`: the run-time configuration from the host, once in a boot.

It is on a raw disk, read as bytes and never mounted; on Google's and Azure's machines it is in the metadata
(`pluto_notary.fetch_metadata`). One place alone is looked at. A configuration that is absent or malformed ends the boot
of the notary: an unread configuration must not look like an empty one.
"""

from __future__ import annotations

import os
import sys
import time

from pluto_notary import __version__, config, places
from pluto_notary.errors import ConfigError
from pluto_notary.serial import EventWriter, standard_output

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    Folder = str | os.PathLike[str]

SERIAL: Final = "pluto-config"  # the serial number of the virtio disk
GOOGLE: Final = "Google"  # DMI's sys_vendor
# DMI's chassis asset tag of every machine of Azure's, by which its own agents know it: other hosts of the same maker's
# have another, or none.
AZURE_TAG: Final = "7783-7084-3265-9085-8269-3286-77"

_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz")
_WAIT_SECONDS: Final = 30.0  # the driver is a module, and loads while we wait
_POLL_SECONDS: Final = 0.05


def main() -> int:
    """Fetch, check and keep the configuration; 0 if there is one, 3 if not."""
    events = standard_output(time.monotonic)
    events.emit("started", component="config", version=__version__)
    return fetch(
        events,
        read=lambda: read_payload(cloud_of(_word(places.VENDOR), _word(places.ASSET_TAG))),
        directory=places.CONFIG_DIRECTORY,
    )


def cloud_of(vendor: str, asset_tag: str) -> str | None:
    """Whose metadata to ask ("google", "azure"), or None: look for the disk.

    The words are the host's, and choose nothing but where to look: what is found there is the host's word as well, and
    its digest shows what was taken.
    """
    if vendor == GOOGLE:
        return "google"
    return "azure" if asset_tag == AZURE_TAG else None


def read_payload(cloud: str | None) -> bytes:
    """The payload from where `cloud` has it. ConfigError."""
    if cloud is None:
        return config.decode_config_disk(read_disk("/sys/block", "/dev", clock=time.monotonic, sleep=time.sleep))
    from pluto_notary import fetch_metadata  # other machines start without an HTTP parser

    service = fetch_metadata.SERVICES[cloud]
    return config.decode_config_text(fetch_metadata.read(service, clock=time.monotonic, sleep=time.sleep))


def fetch(events: EventWriter, *, read: Callable[[], bytes], directory: Folder) -> int:
    """What `main` does, with the payload's source and the directory given."""
    try:
        payload = read()
        accepted = config.parse_payload(payload)
    except ConfigError as error:
        events.emit("config-refused", reason=error.reason)
        sys.stderr.write(f"pluto-config: error: {error}\n")
        return error.exit_code
    _write(directory, places.DIGEST_FILE, f"{accepted.digest.hex()}\n".encode())
    _write(directory, places.CONFIG_FILE, payload)  # last: the notary waits for it
    events.emit("config-accepted", digest=accepted.digest.hex())
    return 0


def read_disk(
    blocks: Folder, devices: Folder, *, clock: Callable[[], float], sleep: Callable[[float], object]
) -> bytes:
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
                return _read_device(os.path.join(devices, names[0]))
            except OSError as error:
                problem = ConfigError("unreadable", f"{names[0]}: {error.strerror}")
        if clock() >= deadline:
            raise problem
        sleep(_POLL_SECONDS)


def find_disks(blocks: Folder) -> list[str]:
    """Names of the virtio disks with our serial number."""
    try:
        entries = sorted(os.listdir(blocks))
    except (FileNotFoundError, NotADirectoryError):  # no block device yet
        return []
    return [entry for entry in entries if _is_disk_name(entry) and _serial(blocks, entry) == SERIAL]


def _is_disk_name(entry: str) -> bool:
    """vda to vdz, vdaa to vdzz, vdaaa to vdzzz."""
    return entry.startswith("vd") and 3 <= len(entry) <= 5 and _LETTERS.issuperset(entry)


def _serial(blocks: Folder, entry: str) -> str | None:
    try:
        with open(os.path.join(blocks, entry, "serial"), encoding="ascii", errors="replace") as file:
            return file.read().strip("\n\0 ")
    except OSError:  # a disk without a serial number, or one that is just going away
        return None


def _read_device(path: str) -> bytes:
    with open(path, "rb", buffering=0) as device:
        data = b""
        while len(data) <= config.DISK_SIZE and (piece := device.read(config.DISK_SIZE + 1 - len(data))):
            data += piece
    return data


def _word(path: str) -> str:
    """A word of DMI; "" where there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return ""


def _write(directory: Folder, place: str, content: bytes) -> None:
    name = os.path.basename(place)
    temporary = os.path.join(directory, f".{name}.new")
    with open(temporary, "wb") as file:
        file.write(content)
    os.chmod(temporary, 0o444)
    os.rename(temporary, os.path.join(directory, name))


if __name__ == "__main__":
    sys.exit(main())
