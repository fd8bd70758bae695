"""The life of a deployment on Azure: plan, apply, verify, an upgrade that fails, one that passes, destroy."""

from __future__ import annotations

import pytest

from pluto_measure.errors import RefusedError, SourceError
from simulators.azure_cloud.desk import CREATE, UPGRADE, Desk, words

ROUTES = ("disk", "gallery")


@pytest.mark.parametrize("route", ROUTES)
def test_from_plan_to_destroy(desk: Desk, route: str) -> None:
    desk.with_route(route)
    first, bad, third = desk.making(5), desk.making(6, "other-image"), desk.making(7)
    assert desk.plan(first) == CREATE
    assert desk.inventory() == [], "a plan makes nothing"
    assert words(desk.apply(first).steps) == CREATE
    assert desk.serves() == "5 honest"
    assert words(desk.apply(first).steps) == ["confirm a"]

    with pytest.raises(RefusedError) as refused:
        desk.apply(bad)
    assert vars(refused.value)["serving"] == "a"
    assert desk.states() == {"a": "running", "b": "stopped, refused", "serves": "a"}
    assert desk.serves() == "5 honest"

    assert words(desk.rollback().steps) == ["confirm a", "remove b", "tidy"]
    assert desk.states() == {"a": "running", "serves": "a"}

    assert words(desk.apply(third).steps) == UPGRADE
    assert desk.serves() == "7 honest"
    assert desk.states() == {"a": "stopped", "b": "running", "serves": "b"}
    assert any("nobody served" in line for line in desk.told.lines)

    assert words(desk.rollback().steps)[:4] == ["start a", "appraise a", "switch a", "confirm a"]
    assert desk.serves() == "5 honest"

    desk.destroy()
    assert desk.inventory() == []
    assert desk.target().costs() == []


@pytest.mark.parametrize("mode", ["silent", "dies"])
def test_a_machine_that_is_never_ready(desk: Desk, mode: str) -> None:
    desk.apply(desk.making(5))
    with pytest.raises(SourceError, match=r"machine b (was not ready|ended before)"):
        desk.apply(desk.making(6, mode))
    assert desk.states() == {"a": "running", "b": "stopped", "serves": "a"}
    assert desk.serves() == "5 honest"
