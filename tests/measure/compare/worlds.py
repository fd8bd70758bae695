"""Logs and predictions of `simulators.boot_logs` as files, and `pluto-measure diff` of two of them."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_measure.cli import main
from pluto_measure.commands.predict import document as prediction
from pluto_measure.formats.eventlog import EventLog
from pluto_measure.measurements import profile_for
from simulators import boot_logs
from simulators.boot_logs import MACHINES
from simulators.event_logs import encode


def written(path: Path, log: EventLog) -> Path:
    """The log as a file, padding included."""
    path.write_bytes(encode(log.events[1:], log.algorithms, cc=log.kind == "cc") + b"\xff" * 64)
    return path


def predicted(path: Path, name: str) -> Path:
    """The output of predict --json for one of MACHINES."""
    launch, platform = MACHINES[name]
    path.write_text(json.dumps(prediction(launch, profile_for(launch, platform))))
    return path


def edited(name: str, *edits: Any) -> EventLog:
    log = boot_logs.machine(name)[1]
    events = list(log.events)
    for edit in edits:
        edit(events)
    return replace(log, events=tuple(events))


def diff(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """Exit code and document, which follows its schema."""
    code = main(["diff", *map(str, arguments), "--json"])
    document = json.loads(capsys.readouterr().out)
    if "error" not in document:
        schema = json.loads((resources.files("pluto_measure") / "schemas/diff.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(document, schema)
    return code, document
