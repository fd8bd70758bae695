"""What a verifier remembers of releases: no older one after a newer one, no two with one number, and no lost memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError, RefusedError, UsageError
from pluto_measure.publish.facts import Revoked
from pluto_measure.publish.folder import ReleaseMemory
from pluto_measure.publish.memory import Memory, Seen
from pluto_measure.publish.release import Release
from simulators.releases import release, statement

EMPTY = Memory({})
A, B = "aa" * 32, "bb" * 32
SEEN = EMPTY.remembering(release(), A)


def number(sequence: int, **changes: Any) -> Release:
    values = {"sequence": sequence, "minimum_sequence": 1, "supersedes": None, **changes}
    return release(**values)


def verdict(memory: Memory, of: Release, digest: str = A) -> tuple[str, str]:
    found = memory.finding(of, digest)
    assert found.id == "release.rollback"
    return found.verdict, found.text


def document(**changes: Any) -> dict[str, Any]:
    seen = {"sequence": 5, "statement": A, "minimumSequence": 3, "revoked": [1, 2], **changes}
    return {"version": 1, "channels": {"notary/stable": seen}}


class TestWhatMayFollow:
    def test_the_first_one_of_a_channel(self) -> None:
        assert verdict(EMPTY, number(1)) == ("pass", "no release of this channel was accepted before")

    def test_the_same_one_again_and_a_newer_one(self) -> None:
        for following, digest in ((number(5), A), (number(6), B), (number(5000), B)):
            assert verdict(SEEN, following, digest)[0] == "pass"

    @pytest.mark.parametrize("sequence", [1, 3, 4])
    def test_no_older_one(self, sequence: int) -> None:
        assert verdict(SEEN, number(sequence)) == ("fail", "a newer release of this channel was accepted before")
        found = SEEN.finding(number(sequence), A)
        assert (found.expected, found.actual) == ("at least 5", sequence)

    def test_no_other_one_with_the_same_number(self) -> None:
        text = "another release with this sequence was accepted before: its publisher signed two"
        assert verdict(SEEN, number(5), B) == ("fail", text)
        found = SEEN.finding(number(5), B)
        assert (found.expected, found.actual) == (A, B)

    def test_none_that_was_revoked(self) -> None:
        memory = SEEN.remembering(number(6, revokes=(Revoked(5, "a key was lost"), Revoked(2, "x"))), B)
        text = "this release was revoked, by one that was accepted before or by a revocation that was seen"
        assert verdict(memory, number(5)) == ("fail", text)
        assert verdict(memory, number(2)) == ("fail", text)
        assert verdict(memory, number(4)) == ("fail", "a newer release of this channel was accepted before")

    def test_none_below_the_minimum_of_a_later_one(self) -> None:
        """A later one stands above its own minimum, so what was accepted last is the stronger floor."""
        memory = EMPTY.remembering(number(9, minimum_sequence=7), A)
        assert memory.channels["notary/stable"].minimum == 7
        for sequence in (6, 7, 8):
            assert verdict(memory, number(sequence))[0] == "fail"

    @pytest.mark.parametrize("change", [{"name": "other"}, {"channel": "beta"}])
    def test_other_names_and_channels_are_other_sequences(self, change: dict[str, str]) -> None:
        assert verdict(SEEN, number(1, **change), B)[0] == "pass"
        both = SEEN.remembering(number(1, **change), B)
        assert both.channels["notary/stable"] == SEEN.channels["notary/stable"]
        assert verdict(both, number(4))[0] == "fail"

    def test_a_name_cannot_reach_into_another_channel(self) -> None:
        """Neither a name nor a channel may hold the slash between them."""
        changes: list[dict[str, Any]] = [{"name": "a/b"}, {"channel": "a/b"}]
        for change in changes:
            with pytest.raises(FormatError, match="'a/b' is malformed"):
                Release.parse(statement(**change))


steps = st.tuples(st.integers(1, 9), st.sampled_from([A, B]), st.lists(st.integers(1, 9), max_size=2))


@given(st.lists(steps, max_size=8))
def test_what_was_accepted_only_grows(path: list[tuple[int, str, list[int]]]) -> None:
    memory, best = EMPTY, 0
    for sequence, digest, revoked in path:
        following = number(sequence, revokes=tuple(Revoked(one, "x") for one in revoked if one < sequence))
        if memory.finding(following, digest).verdict == "fail":
            assert sequence <= best
            continue
        before, memory = memory, memory.remembering(following, digest)
        assert sequence >= best
        best = sequence
        seen = memory.channels["notary/stable"]
        assert (seen.sequence, seen.statement) == (sequence, digest)
        assert before.channels.get("notary/stable", Seen(0, "", 0, frozenset())).revoked <= seen.revoked
        assert memory.finding(following, digest).verdict == "pass", "what was accepted is accepted again"
        assert Memory.parse(memory.to_text()) == memory
        assert memory.remembering(following, digest) == memory


@given(st.lists(steps, max_size=6))
def test_remembering_never_forgets_whatever_it_is_given(path: list[tuple[int, str, list[int]]]) -> None:
    """Another process may have seen a newer one meanwhile."""
    memory = EMPTY
    for sequence, digest, _ in path:
        memory = memory.remembering(number(sequence, minimum_sequence=sequence), digest)
    if path:
        seen, highest = memory.channels["notary/stable"], max(sequence for sequence, _, _ in path)
        assert (seen.sequence, seen.minimum) == (highest, highest)


class TestFile:
    def test_what_is_written_is_read(self) -> None:
        assert json.loads(Memory.parse(json.dumps(document())).to_text()) == document()
        assert Memory.parse(EMPTY.to_text()) == EMPTY

    @pytest.mark.parametrize(
        "bad",
        [
            {},
            {"version": 2, "channels": {}},
            {"version": 1},
            {"version": 1, "channels": []},
            {"version": 1, "channels": {}, "added": 1},
            {"version": 1, "channels": {"a/b": []}},
            document(sequence="5"),
            document(sequence=True),
            document(sequence=0),
            document(minimumSequence=-1),
            document(statement="aa"),
            document(statement=None),
            document(revoked=None),
            document(revoked=["1"]),
            document(revoked=[True]),
            document(revoked=[0]),
            document(added=1),
        ],
        ids=range(17),
    )
    def test_anything_else_is_damage(self, bad: dict[str, Any]) -> None:
        with pytest.raises(FormatError, match=r"releases\.json"):
            Memory.parse(json.dumps(bad))

    def test_a_channel_that_occurs_twice(self) -> None:
        text = json.dumps(document()).replace('"channels": {', '"channels": {"notary/stable": {}, ')
        with pytest.raises(FormatError, match="key occurs twice"):
            Memory.parse(text)


class TestStateDirectory:
    def test_a_new_one_is_empty_and_stays_so_when_read(self, tmp_path: Path) -> None:
        state = tmp_path / "state"
        assert ReleaseMemory(state).load() == EMPTY
        assert not state.exists()

    def test_what_is_remembered_comes_back_and_is_its_owners_alone(self, tmp_path: Path) -> None:
        memory = ReleaseMemory(tmp_path / "state")
        memory.remember(release(), A)
        assert ReleaseMemory(tmp_path / "state").load() == SEEN
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (memory.folder, *memory.folder.iterdir())}
        assert modes == {"releases": "0o700", "releases.json": "0o600", "lock": "0o600"}

    def test_it_is_added_to_what_others_saw_meanwhile(self, tmp_path: Path) -> None:
        one, other = (ReleaseMemory(tmp_path / "state") for _ in range(2))
        one.remember(number(7), A)
        other.remember(number(1, channel="beta"), B)
        with pytest.raises(RefusedError, match=r"release\.rollback: meanwhile, a newer release"):
            one.remember(number(6), B)
        found = one.load()
        assert set(found.channels) == {"notary/stable", "notary/beta"}
        assert found.channels["notary/stable"].sequence == 7

    def test_what_is_known_is_not_written_again(self, tmp_path: Path) -> None:
        memory = ReleaseMemory(tmp_path / "state")
        memory.remember(release(), A)
        before = memory.memory_path.stat()
        memory.remember(release(), A)
        after = memory.memory_path.stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)

    @pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"version": 1, "channels": {}'])
    def test_a_damaged_one_is_an_error_and_is_not_replaced(self, tmp_path: Path, damage: bytes) -> None:
        memory = ReleaseMemory(tmp_path / "state")
        memory.remember(release(), A)
        memory.memory_path.write_bytes(damage)
        with pytest.raises(FormatError, match=r"releases\.json is damaged") as caught:
            memory.load()
        assert f"rm -r {memory.folder}" in str(caught.value.hint)
        with pytest.raises(FormatError, match="is damaged"):
            memory.remember(number(6), B)
        assert memory.memory_path.read_bytes() == damage

    def test_one_that_is_gone_is_not_an_empty_one(self, tmp_path: Path) -> None:
        memory = ReleaseMemory(tmp_path / "state")
        memory.remember(release(), A)
        memory.memory_path.unlink()
        with pytest.raises(FormatError, match="is gone, though there was one"):
            memory.load()
        with pytest.raises(FormatError, match="is gone, though there was one"):
            memory.remember(number(1), B)

    @pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
    def test_a_folder_that_others_may_write_to_is_refused(self, tmp_path: Path, mode: int) -> None:
        memory = ReleaseMemory(tmp_path / "state")
        memory.remember(release(), A)
        for folder in (memory.folder, memory.folder.parent):
            kept = folder.stat().st_mode & 0o777
            folder.chmod(mode)
            with pytest.raises(UsageError, match="others may write to it"):
                memory.load()
            folder.chmod(kept)
        assert memory.load() == SEEN
