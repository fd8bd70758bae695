"""What is remembered of launch endorsements, and where it is kept: nothing older than once seen, whole files."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.collateral.endorsement_memory import LIMIT, EndorsementMemory
from pluto_measure.collateral.endorsement_store import EndorsementStore, OlderEndorsementError
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.policy.launch_endorsement import (
    STRICT_ENDORSEMENT,
    STRICT_ENDORSEMENT_TEXT,
    EndorsementPolicy,
)
from pluto_measure.toml import table
from pluto_measure.verify.launch_endorsement import VerifiedEndorsement, verify_endorsement
from simulators import kill_points
from simulators.endorsements import MADE, MRTD, NOW, ROOT, ROOTS, launch_endorsement

OTHER = b"\x99" * 48
BOTH = ((0, False, MRTD), (0, False, OTHER))


def made(**changes: Any) -> tuple[VerifiedEndorsement, bytes]:
    data = launch_endorsement(**changes)
    return verify_endorsement(data, at=NOW, roots=ROOTS), data


GENUINE, DATA = made(mrtds=BOTH)
HIGHER, HIGHER_DATA = made(mrtds=BOTH, svn=3)
NEWER, NEWER_DATA = made(mrtds=BOTH, made=MADE + timedelta(days=1))


@pytest.fixture
def store(tmp_path: Path) -> EndorsementStore:
    return EndorsementStore(tmp_path / "state")


class TestMemory:
    def test_it_begins_empty_and_forbids_nothing(self) -> None:
        assert EndorsementMemory().older(GENUINE, MRTD) == ()

    def test_a_lower_svn_is_older_for_any_mrtd(self) -> None:
        memory = EndorsementMemory().with_seen(HIGHER, MRTD)
        for mrtd in (MRTD, OTHER):
            assert memory.older(GENUINE, mrtd) == ("the security version is 2, seen: 3",)
        assert memory.older(HIGHER, OTHER) == ()

    def test_an_earlier_time_is_older_for_the_same_mrtd(self) -> None:
        memory = EndorsementMemory().with_seen(NEWER, MRTD)
        assert memory.older(GENUINE, MRTD) == ("it was made at 2026-03-12T09:30:00Z, seen: 2026-03-13T09:30:00Z",)
        assert memory.older(GENUINE, OTHER) == ()
        assert memory.older(NEWER, MRTD) == ()

    def test_nothing_becomes_older(self) -> None:
        memory = EndorsementMemory().with_seen(HIGHER, MRTD).with_seen(NEWER, MRTD).with_seen(GENUINE, MRTD)
        assert memory == EndorsementMemory(3, {MRTD.hex(): NEWER.timestamp})

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.sampled_from([GENUINE, HIGHER, NEWER]), max_size=6), st.sampled_from([MRTD, OTHER]))
    def test_what_was_remembered_last_is_never_older_than_itself(
        self, seen: list[VerifiedEndorsement], mrtd: bytes
    ) -> None:
        memory = EndorsementMemory()
        for one in seen:
            if not memory.older(one, mrtd):
                memory = memory.with_seen(one, mrtd)
                assert memory.older(one, mrtd) == ()
        assert EndorsementMemory.parse(memory.to_text().encode()) == memory

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"format": "other"}, "format is 'other'"),
            ({"version": 2}, "version 2 is not known"),
            ({"svn": -2}, "svn is -2"),
            ({"svn": 1 << 64}, "svn is"),
            ({"svn": "1"}, "svn"),
            ({"mrtds": {"00": "2026-01-01T00:00:00Z"}}, "'00' is no MRTD"),
            ({"mrtds": {MRTD.hex().upper(): "2026-01-01T00:00:00Z"}}, "is no MRTD"),
            ({"mrtds": {MRTD.hex(): 1}}, "the time of 4d4d4d4d is not text"),
            ({"mrtds": {MRTD.hex(): "2026-01-01"}}, "not a time"),
            ({"more": 1}, "more"),
        ],
    )
    def test_what_is_no_memory_is_malformed(self, change: dict[str, Any], problem: str) -> None:
        document = json.loads(EndorsementMemory(2, {MRTD.hex(): MADE}).to_text())
        with pytest.raises(FormatError, match=problem):
            EndorsementMemory.parse(json.dumps({**document, **change}).encode())

    def test_it_has_a_largest_size(self) -> None:
        with pytest.raises(FormatError):
            EndorsementMemory.parse(b" " * (LIMIT + 1))


class TestStore:
    def test_what_is_kept_is_read_back_and_remembered(self, store: EndorsementStore) -> None:
        assert (store.mrtds(), store.endorsement(MRTD), store.memory()) == ((), None, EndorsementMemory())
        store.keep(GENUINE, MRTD, DATA)
        assert store.endorsement(MRTD) == DATA
        assert store.mrtds() == (MRTD,)
        assert store.memory() == EndorsementMemory(2, {MRTD.hex(): MADE})
        assert sorted(path.name for path in store.folder.iterdir()) == [f"{MRTD.hex()}.base64", "lock", "memory.json"]
        assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}

    def test_the_newest_takes_the_place_and_an_older_one_does_not(self, store: EndorsementStore) -> None:
        store.keep(GENUINE, MRTD, DATA)
        store.keep(NEWER, MRTD, NEWER_DATA)
        with pytest.raises(OlderEndorsementError) as caught:
            store.keep(GENUINE, MRTD, DATA)
        assert caught.value.exit_code == 5
        assert caught.value.fields()["older"] == ["it was made at 2026-03-12T09:30:00Z, seen: 2026-03-13T09:30:00Z"]
        assert store.endorsement(MRTD) == NEWER_DATA
        store.keep(HIGHER, OTHER, HIGHER_DATA)
        with pytest.raises(OlderEndorsementError, match="security version is 2, seen: 3"):
            store.keep(NEWER, MRTD, NEWER_DATA)
        assert store.mrtds() == (MRTD, OTHER)

    def test_what_came_from_elsewhere_is_remembered_and_not_kept(self, store: EndorsementStore) -> None:
        store.remember(HIGHER, MRTD)
        store.remember(GENUINE, MRTD)
        assert store.memory() == EndorsementMemory(3, {MRTD.hex(): MADE})
        assert store.mrtds() == ()

    @pytest.mark.parametrize("damage", ["gone", "gone and nothing kept", "cut", "kept"])
    def test_damage_is_noticed(self, store: EndorsementStore, damage: str) -> None:
        store.keep(GENUINE, MRTD, DATA)
        kept = store.folder / f"{MRTD.hex()}.base64"
        if damage == "kept":
            kept.write_text("*")
            with pytest.raises(FormatError, match="is damaged") as caught:
                store.endorsement(MRTD)
            assert "endorsement fetch" in str(caught.value.hint)
            return
        if damage == "cut":
            store.memory_path.write_text("{")
        else:
            store.memory_path.unlink()
        if damage == "gone and nothing kept":
            kept.unlink()
        with pytest.raises(FormatError, match="is damaged" if damage == "cut" else "is gone, though there was one"):
            store.memory()
        with pytest.raises(FormatError):
            store.keep(NEWER, MRTD, NEWER_DATA)

    def test_killed_anywhere_what_is_kept_is_whole_and_known(self, tmp_path: Path) -> None:
        state, path = tmp_path / "state", tmp_path / "e"
        store = EndorsementStore(state)
        store.keep(GENUINE, MRTD, DATA)
        path.write_bytes(NEWER_DATA)
        seen = set()
        for _ in kill_points.of("endorsement_keeper", [str(state), str(path), ROOT.hex(), MRTD.hex()]):
            kept, newest = store.endorsement(MRTD), store.memory().mrtds[MRTD.hex()]
            assert (kept, newest) in [(DATA, MADE), (DATA, NEWER.timestamp), (NEWER_DATA, NEWER.timestamp)]
            seen.add(kept)
        assert store.endorsement(MRTD) == NEWER_DATA
        assert seen == {DATA, NEWER_DATA} or seen == {DATA}
        assert sorted(path.name for path in store.folder.iterdir()) == [f"{MRTD.hex()}.base64", "lock", "memory.json"]

    def test_a_folder_that_others_write_to_is_refused(self, store: EndorsementStore) -> None:
        store.keep(GENUINE, MRTD, DATA)
        store.folder.chmod(0o777)
        with pytest.raises(UsageError, match="others may write to it"):
            store.memory()

    def test_what_is_no_folder_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "endorsements").write_text("")
        with pytest.raises(UsageError, match="cannot be read"):
            EndorsementStore(tmp_path).mrtds()


def policy(text: str) -> EndorsementPolicy:
    top = Fields(table(text, what="policy"), what="policy")
    return EndorsementPolicy.parse(top.sub("endorsement"))


def changed(name: str, value: str) -> str:
    lines = STRICT_ENDORSEMENT_TEXT.splitlines()
    (at,) = (index for index, line in enumerate(lines) if line.startswith(f"{name} = "))
    lines[at] = f"{name} = {value}"
    return "\n".join(lines)


class TestPolicy:
    def test_the_strict_text_is_the_strict_policy(self) -> None:
        assert policy(STRICT_ENDORSEMENT_TEXT) == STRICT_ENDORSEMENT

    @pytest.mark.parametrize(
        ("name", "value", "attribute", "expected"),
        [
            ("insecure_roots", f'["{"ab" * 32}"]', "insecure_roots", (b"\xab" * 32,)),
            ("launchEndorsement", '"any"', "launch_endorsement", "any"),
            ("minimumSvn", "7", "minimum_svn", 7),
            ("minimumTimestamp", "2026-01-01T01:00:00+01:00", "minimum_timestamp", datetime(2026, 1, 1, tzinfo=UTC)),
            ("maxEndorsementAge", "86400", "max_endorsement_age", 86400),
            ("earlyAccept", "false", "early_accept", False),
            ("firmware", f'["{"cd" * 48}"]', "firmware", (b"\xcd" * 48,)),
            ("endorsementMemory", '"required"', "endorsement_memory", "required"),
        ],
    )
    def test_each_field(self, name: str, value: str, attribute: str, expected: Any) -> None:
        change: dict[str, Any] = {attribute: expected}
        assert policy(changed(name, value)) == replace(STRICT_ENDORSEMENT, **change)

    @pytest.mark.parametrize(
        ("name", "value", "problem"),
        [
            ("insecure_roots", '["ab"]', "insecure_roots"),
            ("launchEndorsement", '"maybe"', "neither"),
            ("launchEndorsement", "true", "launchEndorsement"),
            ("minimumSvn", "-1", "out of range"),
            ("minimumSvn", "4294967296", "out of range"),
            ("minimumSvn", '"any"', "minimumSvn"),
            ("minimumTimestamp", "2026-01-01T00:00:00", "a time with a zone"),
            ("minimumTimestamp", '"never"', "a time with a zone"),
            ("minimumTimestamp", "0001-01-01T00:00:00+14:00", "out of range"),
            ("maxEndorsementAge", "-1", "out of range"),
            ("maxEndorsementAge", '"old"', "number of seconds"),
            ("earlyAccept", '"no"', "neither true, false"),
            ("firmware", "[]", "not empty"),
            ("firmware", '"zero"', "not empty"),
            ("firmware", '["ab"]', "firmware"),
            ("endorsementMemory", '"no"', "neither"),
        ],
    )
    def test_what_is_out_of_form_is_refused(self, name: str, value: str, problem: str) -> None:
        with pytest.raises(FormatError, match=problem):
            policy(changed(name, value))

    @pytest.mark.parametrize("line", range(2, len(STRICT_ENDORSEMENT_TEXT.strip().splitlines()) + 1))
    def test_every_field_is_required(self, line: int) -> None:
        lines = STRICT_ENDORSEMENT_TEXT.strip().splitlines()
        del lines[line - 1]
        with pytest.raises(FormatError, match="is missing"):
            policy("\n".join(lines))

    def test_an_unknown_field_is_refused(self) -> None:
        with pytest.raises(FormatError, match="minimumSVN"):
            policy(STRICT_ENDORSEMENT_TEXT + "minimumSVN = 1\n")
