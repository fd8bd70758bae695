"""`pluto-measure replay`: the registers that an event log extends to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.difference import event_json
from pluto_measure.explain import describe
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventLog, type_name
from pluto_measure.replay import Registers, registers_json, replay

LOG_LIMIT: Final = 16 * 1024 * 1024


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "replay",
        help="the registers that an event log extends to",
        description="Replay a TPM log (binary_bios_measurements) or a CC log (CCEL data): the value of every register, "
        "per bank. A log proves nothing until these values stand in a verified quote.",
    )
    sub.add_argument("log", metavar="LOG", type=Path, help="the log's bytes")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Replay one log."""
    log = eventlog.parse(files.read(arguments.log, what="event log", limit=LOG_LIMIT))
    registers = replay(log)
    return Result(log_document(log, registers), log_text(log, registers))


def log_document(log: EventLog, registers: Registers) -> dict[str, object]:
    """A log and its registers. TDX registers stand flat, since there is one bank; PCRs per bank."""
    in_hex = registers_json(registers)
    return {
        "kind": log.kind,
        "algorithms": list(log.algorithms),
        "registers": in_hex if log.kind == "tpm" else in_hex.get("sha384", {}),
        "events": [event_json(log.register(event), event) for event in log.events],
    }


def log_text(log: EventLog, registers: Registers) -> str:
    """The same for people. An event's words are made of data that a digest seldom covers."""
    lines = [f"{log.kind} log, {len(log.events)} events, {', '.join(log.algorithms)}", "", "events"]
    for index, event in enumerate(log.events):
        lines.append(f"  {index:3} {log.register(event):6} {type_name(event.type):34} {describe(event)}")
    for bank, values in registers.items():
        lines += ["", f"registers ({bank})"]
        lines += [f"  {name:6} {value.hex()}" for name, value in values.items()]
    return "\n".join(lines) + "\n"
