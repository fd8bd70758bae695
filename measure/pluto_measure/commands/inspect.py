"""`pluto-measure inspect`: what a file is and what is in it, for every format that we read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from pluto_measure.binding import TpmQuote
from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.replay import log_document, log_text
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import ccel, cel, gpt, logs, oak, pe, tdvf
from pluto_measure.formats.strict_json import loads, pretty
from pluto_measure.launch import Launch
from pluto_measure.machine.mrtd import DEFAULT_ORDER
from pluto_measure.measurements import Measurements
from pluto_measure.registers.replay import replay

_FIRST_TYPES: Final = (b"\x03\0\0\0", b"\x08\0\0\0")  # what a binary log's first record is
_HEAD: Final = 2 * 1024 * 1024  # holds any partition table that we accept


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "inspect",
        help="what a file is and what is in it",
        description="Tell a file by its content and show what is in it: a UKI or other PE image, a disk with a GPT, "
        "TDVF firmware, an event log of any form that replay reads, a CCEL table, launch.json, measurements.json, "
        "harvested inputs, an evidence envelope, a TDX quote (raw, hex or JSON array), collateral, a launch "
        "endorsement, a statement (release.json, provenance, confirmation, revocation, dissent) alone, in an envelope "
        "or in a Sigstore bundle, a digest list, a trust file. Nothing is judged.",
    )
    sub.add_argument("file", metavar="FILE", type=Path, help="the file")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Inspect one file."""
    head = files.read_head(arguments.file, _HEAD, what="file")
    if head[gpt.SECTOR : gpt.SECTOR + 8] == b"EFI PART":
        return _disk(head)
    if head.startswith(b"CCEL"):
        return _table(head)
    data = files.read(arguments.file, what="file")
    if data.startswith(b"MZ"):
        return _image(data)
    if tdvf.begins(data):
        return _firmware(data)
    if (found := _bare_quote(data)) is not None:
        return found
    if data.lstrip()[:1] == b"{" and (b'"tcb_info"' in data or b'"pluto-collateral-bundle"' in data[:200]):
        return _collateral(arguments.file)
    document = _json(data) if data.lstrip()[:1] == b"{" else _text(data)
    if document is not None:
        return document
    if data[4:8] in _FIRST_TYPES or oak.begins(data) or cel.begins(data) or b'"event_log"' in data or b'"imr"' in data:
        log = logs.parse(data)
        registers = replay(log)
        return Result({"format": "event log", **log_document(log, registers)}, log_text(log, registers))
    if data[:1] == b"\n" and (endorsed := _endorsement(data)) is not None:
        return endorsed
    raise FormatError(str(arguments.file), "is of no format that is known here")


def _table(head: bytes) -> Result:
    table = ccel.parse(head)
    document: dict[str, object] = {
        "format": "CCEL table",
        "type": table.type_name,
        "logSize": table.log_size,
        "logAddress": table.log_address,
    }
    return Result(document, pretty(document))


def _firmware(data: bytes) -> Result:
    # Imported here: the other formats need neither MRTD nor volumes.
    from pluto_measure.commands.mrtd import document, text

    found = document(data, DEFAULT_ORDER)
    return Result({"format": "TDVF firmware", **found}, text(found))


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


def _bare_quote(data: bytes) -> Result | None:
    """A TDX quote in any of its forms; None for what is none."""
    from pluto_measure.formats import quote

    # Some event logs are JSON arrays too, but of objects.
    is_array = data.lstrip()[:1] == b"[" and b"{" not in data
    raw = quote.unwrap(data) if is_array or quote.is_hex(data) else data
    if not quote.begins(raw):
        return None
    document = {"format": "TDX quote", **_quote(raw)}
    return Result(document, pretty(document))


def _quote(raw: bytes) -> dict[str, object]:
    # Imported here: certificates take longer to load than the other formats to read.
    from pluto_measure.appraise.facts import quote_facts
    from pluto_measure.formats.quote import Quote
    from pluto_measure.verify.intel_pki import INTEL_ROOTS, pck_chain

    parsed = Quote.parse(raw)
    facts = quote_facts(parsed, pck_chain(parsed.certificates, INTEL_ROOTS))
    return {"size": parsed.extent, "bytesAfter": len(raw) - parsed.extent, **facts}


def _envelope(data: bytes) -> dict[str, object]:
    """An envelope's members, with sizes in place of blobs, and its quote as a bare one is shown."""
    from pluto_measure.evidence import AzureEvidence, Envelope, TdxEvidence, TokenEvidence

    envelope = Envelope.parse(data)
    held, shown = envelope.evidence, envelope.to_json()
    if isinstance(held, TdxEvidence):
        sizes: dict[str, object] = {"tdQuote": _size(held.quote)}
        return {**shown, "evidence": sizes, "logs": {"ccel": _size(held.log)}, "quote": _quote(held.quote)}
    if isinstance(held, TokenEvidence):
        return {**shown, "evidence": {"token": _size(held.token.encode())}, "logs": {}}
    certificates = [_size(one) for one in held.ak_certificates]
    evidence: dict[str, object] = {"tpmQuote": _tpm_quote(held.quote), "akCertificates": certificates}
    logs = {"tpm": _size(held.log)}
    if isinstance(held, AzureEvidence):
        evidence |= {"hclReport": _size(held.hcl_report), "tdQuote": _size(held.td_quote)}
        return {**shown, "evidence": evidence, "logs": logs, "quote": _quote(held.td_quote)}
    return {**shown, "evidence": {**evidence, "akPublic": _size(held.ak_public)}, "logs": logs}


def _tpm_quote(quote: TpmQuote) -> object:
    registers = {bank: {name: value.hex() for name, value in of.items()} for bank, of in quote.registers.items()}
    return {"attest": _size(quote.attest), "signature": _size(quote.signature), "registers": registers}


def _size(blob: bytes) -> dict[str, int]:
    """What stands in place of bytes that nobody reads as base64."""
    return {"size": len(blob)}


def _collateral(path: Path) -> Result:
    # Imported here: certificates take longer to load than the other formats to read.
    from pluto_measure.commands import collateral

    shown = collateral.show(argparse.Namespace(file=path, state=None, at=None))
    return Result({"format": "collateral", **shown.document}, shown.text)


def _endorsement(data: bytes) -> Result | None:
    # Imported here: certificates take longer to load than the other formats to read.
    from pluto_measure.commands import endorsement

    return endorsement.inspected(data)


def _text(data: bytes) -> Result | None:
    from pluto_measure.commands import inspect_signed

    document = inspect_signed.text(data)
    return None if document is None else Result(document, pretty(document))


def _json(data: bytes) -> Result | None:
    """One of our own documents; None for an object that is none of them, which may be a log."""
    parsed = loads(data, what="file")
    if "handedInitrd" in parsed or {"kernel", "sections"} <= parsed.keys():
        document: dict[str, object] = {"format": "launch.json", **Launch.parse(data).to_json()}
    elif "profiles" in parsed:
        document = {"format": "measurements.json", **Measurements.parse(data).to_json()}
    elif "entries" in parsed:
        # Imported here, as below: the other formats need none of it.
        from pluto_measure.harvest.table import Table

        document = {"format": "platform-inputs.json", **loads(Table.parse(data).to_text(), what="file")}
    elif "evidence" in parsed and "claims" in parsed:
        document = {"format": "evidence envelope", **_envelope(data)}
    else:
        from pluto_measure.commands import inspect_signed

        if (signed := inspect_signed.document(parsed, data)) is None:
            return None
        document = signed
    return Result(document, pretty(document))
