"""Choices of an operator on Google Cloud: an image of Confidential Space, an address that was reserved before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pluto_deploy.google.wanted import SPACE_KIND, TDX_KIND
from pluto_measure.errors import SourceError, UsageError
from simulators.google.compute import ready
from simulators.google.state import PROJECT, labelled
from simulators.google.worlds import SPACE, world


def test_a_machine_that_ends_by_itself_says_why(tmp_path: Path) -> None:
    with world(tmp_path, SPACE_KIND) as one:
        one.release("one")
        one.cloud.compute.boot = lambda _: b"[ 1.0] the launch policy does not allow it\r\noff\r\n"
        with pytest.raises(SourceError, match=r"ended before it was ready.*launch policy"):
            one.apply()
        assert one.server() is None
        one.cloud.compute.boot = ready
        one.apply()
        assert one.serving() == "one"


def test_an_address_of_the_operators_stays(tmp_path: Path) -> None:
    with world(tmp_path, TDX_KIND) as one:
        one.release("one")
        one.platform = replace(one.platform, place=replace(one.platform.place, address="reserved"))
        with pytest.raises(UsageError, match="there is no address reserved") as caught:
            one.apply()
        assert "gcloud compute addresses create reserved" in str(caught.value.hint)
        made = one.cloud.state.add(f"{PROJECT}/regions/europe-west4/addresses", {"name": "reserved"}, "address")
        made |= {"address": "203.0.113.5", "status": "RESERVED", "labelFingerprint": "x", "labels": {"team": "x"}}
        made["region"] = "https://x/regions/europe-west4"
        labelled(made)
        one.apply()
        assert made["status"] == "IN_USE"
        one.destroy()
        assert one.left() == [f"{PROJECT}/regions/europe-west4/addresses/reserved"]
        assert (made["status"], made["labels"]) == ("RESERVED", {"team": "x"})


def test_a_newer_image_of_the_family_is_told_and_changes_nothing(tmp_path: Path) -> None:
    with world(tmp_path, SPACE_KIND) as one:
        one.release("one")
        one.apply()
        machine = one.machine("a")
        assert machine is not None
        assert machine["labels"]["pluto-host-image"] == "confidential-space-260800"
        one.cloud.compute.space_image("confidential-space-261000", "confidential-space")
        assert one.look().notes == (
            "machine a has confidential-space-260800; a new machine would have confidential-space-261000",
        )
        assert [step.action for step in one.apply().steps] == ["confirm"]


def test_an_image_of_the_family_without_tdx_is_refused(tmp_path: Path) -> None:
    with world(tmp_path, SPACE_KIND) as one:
        one.release("one")
        one.cloud.compute.space_image("confidential-space-250100", "confidential-space", features=("GVNIC",))
        with pytest.raises(SourceError, match="not ready for TDX"):
            one.apply()


def test_a_release_without_a_container_and_an_image_that_is_gone(tmp_path: Path) -> None:
    with world(tmp_path, SPACE_KIND) as one:
        made = one.release("one")
        one.wish = replace(made, launch=replace(made.launch, container=None))
        with pytest.raises(UsageError, match="has no container"):
            one.apply()
        one.wish = made
        one.platform = replace(SPACE, image="confidential-space-250900")
        with pytest.raises(UsageError, match="has no image confidential-space-250900"):
            one.apply()
        one.cloud.compute.space_image("confidential-space-250900", "confidential-space")
        one.apply()
        machine = one.machine("a")
        assert machine is not None
        assert machine["labels"]["pluto-host-image"] == "confidential-space-250900"


def test_a_container_that_is_gone_is_pushed_again(tmp_path: Path) -> None:
    with world(tmp_path, SPACE_KIND) as one:
        one.release("one")
        one.apply()
        one.containers.held.clear()
        assert one.look().releases == frozenset()
        assert one.apply().steps[0].action == "put-release"
        assert len(one.look().releases) == 1
