"""The page of `pluto-deploy status --html`: what is said, in which order, and that nothing of it can act."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.commands.status_page import page
from pluto_deploy.engine.scene import Generation, Machine, Scene
from simulators.pages import WIDTHS, check, drawn

GENERATION = Generation("a" * 64, "b" * 64, "", "bare-metal", 2, 1 << 30, "tdx", "routed")
SCENE = Scene(
    machines=(
        Machine("a", GENERATION, "running", since="2026-11-20T12:00:00Z"),
        Machine("b", GENERATION, "stopped", refused=True),
    ),
    serving="a",
    notes=("a file of nobody's lies in slot b",),
)
FACTS: dict[str, Any] = {
    "deployment": "notary",
    "kind": "bare-metal",
    "target": SCENE.to_json(),
    "journal": {"at": "2026-11-20T11:00:00Z", "state": "failed", "reason": "machine b was refused"},
    "lastEvent": {"event": "ready", "port": 8443},
    "address": "192.0.2.7",
    "costs": [{"what": "a disk of 1 GiB", "where": "zone", "why": "it is there", "until": "destroy"}],
}
COMMAND = "pluto-deploy status 'a b.toml' --html page.html"


def made(**changes: Any) -> str:
    return page({**FACTS, **changes}, place="notary on host.example", command=COMMAND, at="2026-11-20T12:01:00Z")


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.partition("<body>")[2]))


def test_the_page_keeps_the_rules_of_all_pages() -> None:
    check(made(), command=COMMAND)
    check(made(target=Scene().to_json(), journal=None, lastEvent=None, address=None, costs=None), command=COMMAND)


def test_what_serves_stands_first_and_what_it_proves() -> None:
    said = words(made())
    assert (
        said.index("Machine a serves") < said.index("It proves nothing") < said.index("refused when it was appraised")
    )
    for part in ("machine b was refused", "192.0.2.7", "a disk of 1 GiB", "lies in slot b", "a" * 64, "2 processors"):
        assert part in said


@pytest.mark.parametrize(
    ("scene", "kind", "title"),
    [
        (SCENE, "good", "Machine a serves"),
        (Scene(), "warn", "Nothing serves"),
        (Scene(machines=(Machine("a", GENERATION, "broken"),), serving="a"), "warn", "Machine a serves"),
        (Scene(machines=SCENE.machines, serving="a", led=False), "warn", "Machine a serves"),
    ],
)
def test_only_a_machine_that_runs_and_is_led_to_looks_good(scene: Scene, kind: str, title: str) -> None:
    html = made(target=scene.to_json())
    assert f'<header class="{kind}"><h1>{title}' in html
    assert ("apply does that" in html) == (not scene.led)


def test_words_of_a_target_are_text() -> None:
    hostile = "</dd><script src=//x.example>\u202e\x1b[2J"
    html = made(address=hostile, journal={"reason": hostile, "state": hostile}, lastEvent={hostile: hostile})
    check(html, command=COMMAND)
    assert "<script" not in html
    assert "\u202e" not in html


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("width", WIDTHS)
def test_chromium_draws_the_page(tmp_path: Path, width: int) -> None:
    drawn(made(), tmp_path, width)
