"""A plugin of pytest: the checks' names and words, and their outcomes written as JSON to the file of --results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from pluto_deploy.metal.connection import LOST

LONGEST: Final = 600  # characters of a message
_HOST: Final = "_testinfra_host"
_RANK: Final = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}


class Results:
    """Collects the outcome of every check; what fails before or after a check is an error."""

    def __init__(self) -> None:
        self.checks: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.checks[item.nodeid] = {
                "id": name_of(item),
                "text": text_of(item),
                "outcome": "error",
                "seconds": 0.0,
                "message": "did not run",
            }

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """End the run where ssh itself failed: every further command would wait for a host that is gone."""
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, RuntimeError) and getattr(next(iter(error.args), None), "rc", None) == LOST:
            item.session.shouldfail = "the host is lost"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        check = self.checks[report.nodeid]
        check["seconds"] += report.duration
        outcome: str = report.outcome
        if outcome == "failed" and report.when != "call":
            outcome = "error"
        first = report.when == "setup"
        if first or _RANK[outcome] > _RANK[check["outcome"]]:
            check["outcome"], check["message"] = outcome, message_of(report)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", metavar="FILE", help="write the outcomes there, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Results(), "pluto-results")


def pytest_unconfigure(config: pytest.Config) -> None:
    results, path = config.pluginmanager.get_plugin("pluto-results"), config.getoption("--results")
    if isinstance(results, Results) and path:
        Path(path).write_text(json.dumps(list(results.checks.values())))


def name_of(item: pytest.Item) -> str:
    """check_quotes.py::test_folder[…] is `quotes.folder`, with its own parameters."""
    name = getattr(item, "originalname", item.name).removeprefix("test_")
    callspec = getattr(item, "callspec", None)
    given = [str(value) for key, value in (callspec.params if callspec else {}).items() if key != _HOST]
    return f"{item.path.stem.removeprefix('check_')}.{name}" + (f"[{', '.join(given)}]" if given else "")


def text_of(item: pytest.Item) -> str:
    """The first line of what the check says of itself."""
    doc = (getattr(getattr(item, "function", None), "__doc__", None) or item.name).strip()
    return doc.splitlines()[0].rstrip(".")


def message_of(report: pytest.TestReport) -> str | None:
    """Why, in one line."""
    if report.outcome == "passed":
        return None
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")[:LONGEST]
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr)
    first = next((line for line in text.splitlines() if line.strip()), "no reason")
    return "".join(sign if sign.isprintable() else "?" for sign in first.removeprefix("AssertionError: "))[:LONGEST]
