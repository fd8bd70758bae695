"""`pluto-measure inspect`: what a file is and what is in it, for every format that we read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.replay import log_document, log_text
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog, gpt, pe
from pluto_measure.formats.strict_json import loads, pretty
from pluto_measure.launch import Launch
from pluto_measure.measurements import Measurements
from pluto_measure.replay import replay

_HEAD: Final = 2 * 1024 * 1024  # holds any partition table that we accept


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "inspect",
        help="what a file is and what is in it",
        description="Tell a file by its content and show what is in it: a UKI or other PE image, a disk with a GPT, "
        "a TPM or CC event log, launch.json, measurements.json, an evidence envelope. Nothing is judged.",
    )
    sub.add_argument("file", metavar="FILE", type=Path, help="the file")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Inspect one file."""
    head = files.read_head(arguments.file, _HEAD, what="file")
    if head[gpt.SECTOR : gpt.SECTOR + 8] == b"EFI PART":
        return _disk(head)
    data = files.read(arguments.file, what="file")
    if data.startswith(b"MZ"):
        return _image(data)
    if data.lstrip()[:1] == b"{":
        return _json(data)
    if data[4:8] in (b"\x03\0\0\0", b"\x08\0\0\0"):
        log = eventlog.parse(data)
        registers = replay(log)
        return Result({"format": "event log", **log_document(log, registers)}, log_text(log, registers))
    raise FormatError("file", "is of no format that is known here")


def _disk(head: bytes) -> Result:
    table = gpt.parse(head)
    digests = Digests.of(gpt.event_data(head))
    partitions = [
        {
            "name": partition.name,
            "type": partition.type_guid.hex(),
            "id": partition.unique_guid.hex(),
            "firstLba": partition.first_lba,
            "lastLba": partition.last_lba,
        }
        for partition in table.partitions
    ]
    document: dict[str, object] = {
        "format": "disk",
        "alternateLba": table.alternate_lba,
        "gptEvent": digests.to_json(),
        "partitions": partitions,
    }
    return Result(document, pretty(document))


def _image(data: bytes) -> Result:
    image = pe.parse(data)
    sections = [
        {
            "name": section.name,
            "size": section.virtual_size,
            "address": section.virtual_address,
            "offset": section.raw_offset,
            "sha256": Digests.of(pe.section_data(data, section)).sha256.hex(),
        }
        for section in image.sections
    ]
    document: dict[str, object] = {
        "format": "PE image",
        "size": len(data),
        "authenticode": pe.authenticode(data).to_json(),
        "signed": image.certificate_size > 0,
        "sections": sections,
    }
    lines = [f"PE image, {len(data)} bytes, Authenticode (sha256) {pe.authenticode(data).sha256.hex()}"]
    lines += [f"  {item['name']!s:10} {item['size']!s:>10}  {item['sha256']}" for item in sections]
    return Result(document, "\n".join(lines) + "\n")


def _json(data: bytes) -> Result:
    parsed = loads(data, what="file")
    if not isinstance(parsed, dict):
        raise FormatError("file", "is of no format that is known here")
    if "handedInitrd" in parsed:
        document: dict[str, object] = {"format": "launch.json", **Launch.parse(data).to_json()}
    elif "profiles" in parsed:
        document = {"format": "measurements.json", **Measurements.parse(data).to_json()}
    elif "evidence" in parsed and "claims" in parsed:
        # Imported here: `cryptography` takes longer to load than the rest of this command takes to run.
        from pluto_measure.evidence import Envelope

        document = {"format": "evidence envelope", **Envelope.parse(data).to_json()}
    else:
        raise FormatError("file", "is JSON of no format that is known here")
    return Result(document, pretty(document))
