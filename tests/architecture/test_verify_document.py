"""docs/verify.md: every command that it shows works, with the exit code and the output that it shows.

A pretend Intel stands in for the real one: `pluto-measure` trusts its root, `collateral fetch` asks a service of its on
loopback, and `curl` is answered by a trust domain in memory. The rest is as a reader would type it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from documents.shown import pattern
from documents.typed import Outcome, Page, check, typed
from pluto_measure.evidence import format_time
from simulators import programs
from simulators.intel import Authority, collateral, qe_identity, tcb_info
from simulators.pcs_server import serving
from simulators.pretend_curl import domain_at
from simulators.trust_domains import REFERENCE

PAGE = Page("verify")
PLUTO_MEASURE = """\
from pluto_measure.cli import main
more = ["--url", {url!r}] if sys.argv[1:3] == ["collateral", "fetch"] else []
sys.exit(main(sys.argv[1:] + more))
"""
CURL = "from simulators.pretend_curl import main\nsys.exit(main([{now!r}, *sys.argv[1:]]))"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder = tmp_path_factory.mktemp("verify")
    (work := folder / "work").mkdir()
    now = datetime.now(UTC).replace(microsecond=0)
    domain, late = domain_at(now), domain_at(now, platform="OutOfDate")
    report_data = bytes(range(64))
    contents: dict[str, bytes] = {
        "quote.bin": domain.quoted(report_data).quote,
        "late.bin": late.quoted(report_data).quote,
        "ccel.bin": domain.log_bytes(),
        "measurements.json": REFERENCE.to_text().encode(),
        "reportdata.hex": report_data.hex().encode(),
    }
    for name, content in contents.items():
        (work / name).write_bytes(content)
    authority = Authority.make(now=now)
    day_old = now.replace(hour=0, minute=0, second=0)
    early = collateral(
        authority, info=tcb_info(issued=day_old, evaluation=21), identity=qe_identity(issued=day_old, evaluation=21)
    )
    with serving(domain.world.collateral, early) as service:
        measure = programs.trusting(authority.root_der) + PLUTO_MEASURE.format(url=service.url)
        programs.program(folder / "bin", "pluto-measure", measure)
        programs.program(folder / "bin", "curl", CURL.format(now=format_time(now)))
        return typed(PAGE, work, bin_folder=folder / "bin")


@PAGE.each
def test_a_command_of_the_page_does_what_the_page_says(place: int, outcomes: list[Outcome]) -> None:
    check(PAGE.commands[place], outcomes[place])


def test_the_page_shows_what_it_is_for() -> None:
    words = "\n".join(one.command for one in PAGE.commands)
    for command in ("inspect", "collateral fetch", "collateral import", "policy --reference", "verify evidence.json"):
        assert f"pluto-measure {command}" in words
    assert {one.code for one in PAGE.commands} == {0, 5}


def test_a_line_that_is_not_printed_would_be_noticed() -> None:
    assert pattern(("a …", "…", "z")).fullmatch("a b\nc\nd\nz\n")
    assert pattern(("a …", "…", "z")).fullmatch("a b\nz\n")
    assert not pattern(("a …", "z")).fullmatch("a b\nc\nz\n")
