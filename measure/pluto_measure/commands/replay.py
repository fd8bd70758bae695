"""`pluto-measure replay`: the registers that an event log extends to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.errors import FormatError
from pluto_measure.event_text import describe, event_json
from pluto_measure.formats import ccel, logs
from pluto_measure.formats.eventlog import EventLog, LogEvent, type_name
from pluto_measure.registers.replay import Registers, registers_json, replay
from pluto_measure.registers.runtime import describe_runtime

LOG_LIMIT: Final = 16 * 1024 * 1024


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "replay",
        help="the registers that an event log extends to",
        description="Replay a TPM log (binary_bios_measurements), a CC log (CCEL data), a canonical log (TLV), or the "
        "log of dstack or Oak: the value of every register, per bank. A log proves nothing until these values stand "
        "in a verified quote.",
    )
    sub.add_argument("log", metavar="LOG", type=Path, help="the log's bytes")
    sub.add_argument(
        "--table", metavar="FILE", type=Path, help="the ACPI table CCEL: refuse a log that it is too small for"
    )
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Replay one log."""
    data = files.read(arguments.log, what="event log", limit=LOG_LIMIT)
    log = logs.parse(data)
    notes = () if arguments.table is None else (_check(arguments.table, log, data),)
    registers = replay(log)
    return Result(log_document(log, registers), log_text(log, registers), notes=notes)


def log_document(log: EventLog, registers: Registers) -> dict[str, object]:
    """A log and its registers. TDX registers stand flat, since there is one bank; PCRs per bank."""
    in_hex = registers_json(registers)
    return {
        "kind": log.kind,
        "algorithms": list(log.algorithms),
        "registers": in_hex if log.kind == "tpm" else in_hex.get("sha384", {}),
        "events": [_event_document(log, event) for event in log.events],
    }


def log_text(log: EventLog, registers: Registers) -> str:
    """The same for people. An event's words are made of data that a digest seldom covers."""
    lines = [f"{log.kind} log, {len(log.events)} events, {', '.join(log.algorithms)}", "", "events"]
    for index, event in enumerate(log.events):
        lines.append(f"  {index:3} {log.register(event):6} {type_name(event.type):34} {_words(event)}")
    for bank, values in registers.items():
        lines += ["", f"registers ({bank})"]
        lines += [f"  {name:6} {value.hex()}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _check(path: Path, log: EventLog, data: bytes) -> str:
    """A line on the log area that the table names. FormatError where the log cannot be its content."""
    table = ccel.parse(files.read(path, what="CCEL table", limit=ccel.SIZE))
    if log.kind != "cc" or logs.form(data) != "binary":
        raise FormatError("CCEL table", "names the area of a binary CC log, and the log is no such one")
    ccel.check_size(table, len(data))
    return f"CCEL table: {table.type_name}, log area of {table.log_size} bytes at {table.log_address:#x}"


def _event_document(log: EventLog, event: LogEvent) -> dict[str, object]:
    """A recorded event; `convention` where its digest is made by a known convention of run-time events."""
    document, found = event_json(log.register(event), event), describe_runtime(event)
    return {**document, "description": found.description, "convention": found.convention} if found else document


def _words(event: LogEvent) -> str:
    found = describe_runtime(event)
    return f"{found.convention}: {found.description}" if found else describe(event)
