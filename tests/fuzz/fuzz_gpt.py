"""Any bytes are a disk whose partition table holds together, or a FormatError; what is measured is a part of them."""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.formats import gpt
from simulators import disks


def target(data: bytes) -> None:
    try:
        event = gpt.event_data(data)
    except FormatError:
        return
    table = gpt.parse(data)
    assert event.startswith(data[512 : 512 + 92])
    assert all(partition.raw in data for partition in table.partitions)


def seeds() -> list[bytes]:
    two = [disks.partition(), disks.partition(2, 5000, 6000, "data")]
    return [disks.head(), disks.head(two, count=4), disks.head([], count=4), disks.head(entry_size=256, count=4)]
