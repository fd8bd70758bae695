"""What all tests share: where real data lies, which skips are legal, and what several processors take from each other.

With PLUTO_STRICT_SKIPS=1 (CI) a skip whose reason is not in the table of docs/testing.md fails the run, so that a
tool that `.ci/run` installs cannot go missing unnoticed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
BOOTED = "tests/end_to_end/"


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of real data ($PLUTO_VECTORS, default ../shared/vectors); skips where it is absent."""
    folder = Path(os.environ.get("PLUTO_VECTORS", ROOT.parent / "shared/vectors"))
    if not (folder / "INDEX.md").is_file():
        pytest.skip("real vectors are absent")
    return folder


def legal_skips() -> list[re.Pattern[str]]:
    """The reasons in the first column of the table "Legal skips" of docs/testing.md, as patterns."""
    text = (ROOT / "docs/testing.md").read_text()
    table = text.split("## Legal skips", 1)[1].split("\n## ", 1)[0]
    return [re.compile(reason) for reason in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)]


_illegal: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not (report.skipped and os.environ.get("PLUTO_STRICT_SKIPS") == "1") or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(legal.search(reason) for legal in legal_skips()):
        _illegal.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _illegal and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _illegal:
        terminalreporter.section("skips that are not legal here (docs/testing.md)")
        for line in _illegal:
            terminalreporter.line(line, red=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On several processors, files with long tests come first, so that all processors are done at about one time."""
    if hasattr(config, "workerinput"):
        long = {item.path for item in items if any(item.get_closest_marker(name) for name in ("slow", "boot"))}
        items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A processor takes a whole file; of the tests that boot a whole folder, since they share what was booted."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::", 1)[0]
            return BOOTED if path.startswith(BOOTED) else path

    config.option.loadscopereorder = False  # the order is ours: see above
    return ByFile(config, log)
