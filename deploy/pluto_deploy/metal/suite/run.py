"""Runs the suite on a host: pytest and testinfra in a process of their own, over the connection that is open."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Final

from pluto_deploy.metal import layout
from pluto_deploy.metal.connection import Connection
from pluto_deploy.metal.suite import sshconfig
from pluto_deploy.metal.suite.outcome import Outcome
from pluto_measure.errors import RefusedError, SourceError, UsageError

_SECONDS: Final = 600.0
_NEEDED: Final = ("pytest", "testinfra")
_RAN: Final = (0, 1)  # pytest's exit codes: all passed, some failed
SETTINGS: Final = "[pytest]\npython_files = check_*.py\n"


def run(connection: Connection) -> Outcome:
    """Run every check. RefusedError where nothing was prepared, SourceError if the host is lost on the way.

    UsageError without pytest or testinfra.
    """
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"the tests need {name}", hint="pip install 'pluto-tee[deploy]'")
    if connection.run(["test", "-e", str(layout.PREPARED)]).code == 1:
        hint = f"run 'pluto-deploy host prepare {connection.login}'"
        raise RefusedError(f"{connection.login} was not prepared, so there is nothing to test", hint=hint)
    with resources.as_file(resources.files("pluto_deploy.metal.suite")) as suite:
        outcome = run_files(suite, connection)
    if not outcome.passed:
        connection.run(["true"], root=False)  # a lost connection is no finding
    return outcome


def run_files(suite: Path, connection: Connection) -> Outcome:
    """Run the check_*.py in the folder `suite`."""
    with tempfile.TemporaryDirectory(prefix="pluto-suite-") as name:
        folder = Path(name)
        (folder / "ssh_config").write_text(sshconfig.render(connection.login, connection.folder / "master"))
        (folder / "pytest.ini").write_text(SETTINGS)
        results = folder / "results.json"
        argv = [
            sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-p", "testinfra.plugin",
            "-p", "pluto_deploy.metal.suite.plugin", "-c", str(folder / "pytest.ini"), "--rootdir", name,
            "--import-mode=importlib", "--noconftest", "--quiet", "--results", str(results),
            "--hosts", f"ssh://{sshconfig.ALIAS}", "--ssh-config", str(folder / "ssh_config"),
            "--ssh-extra-args=-o ControlMaster=no", *(("--sudo",) if connection.sudo else ()), str(suite),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                argv, cwd=folder, env=_environment(), capture_output=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"{connection.login}: the tests did not end within {_SECONDS:.0f} s") from error
        if done.returncode not in _RAN or not results.exists():
            said = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise RuntimeError(f"pytest ended with {done.returncode}: {said[-2000:]}")
        return Outcome.parse(results.read_bytes())


def _environment() -> dict[str, str]:
    """This one's, without what the operator tells a pytest of his own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
