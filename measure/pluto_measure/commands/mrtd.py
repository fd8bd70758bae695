"""`pluto-measure mrtd`: what the TDX module measures of a firmware image, in both page orders."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.digests import Digests
from pluto_measure.formats import tdvf
from pluto_measure.machine.mrtd import DEFAULT_ORDER, ORDERS, mrtd

FIRMWARE_LIMIT = 64 * 1024 * 1024
_HOW = {
    0: "added",
    tdvf.EXTEND: "added, content measured",
    tdvf.AUGMENT: "not measured",
    tdvf.EXTEND | tdvf.AUGMENT: "content measured",
}


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "mrtd",
        help="MRTD of a firmware image",
        description="Compute MRTD of a TDVF firmware image, such as OVMF.fd: what the TDX module measures while a VMM "
        "builds the trust domain. It depends on the image and on the order in which the VMM adds pages: "
        + "; ".join(f"{name}: {who}" for name, who in ORDERS.items())
        + ".",
    )
    sub.add_argument("firmware", metavar="FIRMWARE", type=Path, help="the combined image (not OVMF_CODE.fd)")
    sub.add_argument("--order", choices=ORDERS, default=DEFAULT_ORDER, help=f"page order (default: {DEFAULT_ORDER})")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """MRTD in the order that was asked for, the other one beside it, and what the image is made of."""
    data = files.read(arguments.firmware, what="firmware", limit=FIRMWARE_LIMIT)
    found = document(data, arguments.order)
    return Result(found, text(found))


def document(data: bytes, order: str) -> dict[str, Any]:
    """The JSON document of a firmware image. FormatError."""
    sections = tdvf.parse(data)
    values = {one: mrtd(data, sections, one).hex() for one in ORDERS}
    volumes = tdvf.find(sections, tdvf.SectionType.CFV)
    return {
        "mrtd": values[order],
        "order": order,
        "orders": values,
        "firmware": {"size": len(data), **Digests.of(data).to_json()},
        "cfv": [Digests.of(tdvf.content(data, volume)).sha384.hex() for volume in volumes],
        "sections": [section.to_json() for section in sections],
    }


def text(document: Mapping[str, Any]) -> str:
    """The same for people."""
    order, lines = document["order"], []
    for one in sorted(ORDERS, key=lambda name: name != order):
        lines.append(f"{'mrtd' if one == order else '    '}  {document['orders'][one]}")
        words = f"{one}: {ORDERS[one]}"
        lines.append(textwrap.fill(words, 98, initial_indent=" " * 6, subsequent_indent=" " * 8))
    lines += ["", "sections             file                 memory"]
    for section in document["sections"]:
        place = (
            f"{section['offset']:#9x}+{section['rawSize']:#9x} {section['address']:#11x}+{section['memorySize']:#9x}"
        )
        lines.append(f"  {section['type']:13} {place}  {_HOW[section['attributes']]}")
    return "\n".join(lines) + "\n"
