"""The life of a deployment on Google Cloud, both kinds: made, verified, upgraded, gone back from, destroyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluto_deploy.google.wanted import SPACE_KIND, TDX_KIND
from pluto_measure.errors import RefusedError, UsageError
from simulators.google.worlds import World, refusing, world

KINDS = (SPACE_KIND, TDX_KIND)


@pytest.mark.parametrize("strategy", ["blue-green", "replace"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_life(tmp_path: Path, kind: str, strategy: str) -> None:
    with world(tmp_path, kind, strategy=strategy) as one:
        one.release("one")
        assert one.look().machines == ()
        one.apply()
        assert one.serving() == "one"
        assert_at_rest(one, "a")
        assert one.apply().steps[0].action == "confirm", "a second time changes nothing"

        one.release("two")
        one.judge = refusing("two")
        with pytest.raises(RefusedError) as caught:
            one.apply()
        assert vars(caught.value)["serving"] == "a"
        assert one.serving() == "one"
        refused = one.look().machine("b")
        assert refused is not None
        assert (refused.state, refused.refused) == ("stopped", True)

        one.rollback()
        assert one.serving() == "one"
        assert one.look().machine("b") is None, "the refused one is cleared away"

        one.judge = refusing()
        one.apply()
        assert one.serving() == "two"
        assert_at_rest(one, "b")
        one.rollback()
        assert one.serving() == "one"
        one.rollback()
        assert one.serving() == "one", "back is back, however often it is asked for"
        one.apply()
        assert one.serving() == "two"

        one.destroy()
        assert one.left() == []
        with one.target() as target:
            assert target.costs() == []


def assert_at_rest(one: World, slot: str) -> None:
    """One runs, led to as it should be; nobody else does."""
    scene = one.look()
    assert (scene.serving, scene.led) == (slot, True)
    assert [machine.slot for machine in scene.machines if machine.state == "running"] == [slot]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_at_the_public_address_leads_clients_back(tmp_path: Path, kind: str) -> None:
    with world(tmp_path, kind) as one:
        one.release("one")
        one.apply()
        one.release("two")
        one.judge = refusing("two", at=("confirm",))
        with pytest.raises(RefusedError):
            one.apply()
        assert one.serving() == "one"
        assert_at_rest(one, "a")


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_machine_that_is_refused_serves_nobody(tmp_path: Path, kind: str) -> None:
    with world(tmp_path, kind) as one:
        one.release("one")
        one.judge = refusing("one")
        with pytest.raises(RefusedError):
            one.apply()
        assert one.server() is None
        assert one.served.count(True) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_serves_only_while_the_address_moves(tmp_path: Path, kind: str) -> None:
    with world(tmp_path, kind) as one:
        one.release("one")
        one.apply()
        one.release("two")
        one.served.clear()
        one.apply()
        assert one.served.count(False) == 1, "between taking the address and giving it"


def test_a_second_command_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with world(tmp_path, TDX_KIND) as one:
        with (
            one.target() as target,
            target.lock(),
            one.target() as other,
            pytest.raises(UsageError, match="another command"),
            other.lock(),
        ):
            pass
        assert one.left() == []


def test_what_a_machine_was_made_from_is_kept_for_whoever_appraises_it(tmp_path: Path) -> None:
    with world(tmp_path, TDX_KIND, payload=b'{"deployment":"x","version":1}') as one:
        wish = one.release("one")
        one.apply()
        with one.target() as target:
            kept = target.belongings(wish.generation, "a")
        assert kept.payload == b'{"deployment":"x","version":1}'
        assert kept.files == {**wish.small, "firmware.fd": b"firmware"}
        assert not [name for name in one.cloud.state.objects if name.endswith("gcp.tar.gz")], (
            "the image has its own copy"
        )
