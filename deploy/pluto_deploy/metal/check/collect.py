"""Runs the probe on a host: the one module of the check that touches the connection."""

from __future__ import annotations

from importlib import resources
from typing import Final

from pluto_deploy.metal.check.document import parse_facts
from pluto_deploy.metal.check.facts import HostFacts
from pluto_deploy.metal.connection import Connection
from pluto_measure.errors import SourceError

_SECONDS: Final = 100.0  # the probe ends itself before
_NO_COMMAND: Final = 127


def look(connection: Connection) -> HostFacts:
    """What the host is, as seen by root on it. SourceError, FormatError."""
    script = resources.files("pluto_deploy.metal.check").joinpath("probe.py").read_bytes()
    answer = connection.run(["python3", "-I", "-"], data=script, timeout=_SECONDS)
    if answer.code == _NO_COMMAND:
        raise SourceError(f"{connection.login}: there is no python3 on the host", hint="install python3 there")
    lines = answer.output.splitlines()
    if answer.code or not lines:
        said = answer.errors.splitlines()[-1] if answer.errors else f"exit code {answer.code}"
        raise SourceError(f"{connection.login}: looking at the host failed: {said[:200]}")
    return parse_facts(lines[-1])  # before it stands what the login's shell may have to say
