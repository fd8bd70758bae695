from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pluto_deploy.local.processes import Process
from pluto_deploy.local.state import Record, StateFolder
from pluto_measure.errors import FormatError, SourceError, UsageError
from pluto_measure.formats.strict_json import loads, pretty

RECORD = Record(
    state="running",
    dist="/d",
    build_id="b1" * 32,
    flavour="release",
    boot="disk",
    cpus=2,
    memory=1 << 30,
    accelerator="tcg",
    port=8443,
    started_at="2026-11-20T12:00:00Z",
    qemu=Process(10, 20),
    swtpm=Process(11, 21),
)


def test_a_record_survives_the_disk(folder: StateFolder) -> None:
    folder.create()
    assert folder.record() is None
    folder.write(RECORD)
    assert folder.record() == RECORD
    folder.write(replace(RECORD, state="stopped"))
    assert folder.record() == replace(RECORD, state="stopped")


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"state": "dreaming"}, {"more": 1}, {"qemu": {"pid": 1}}, {"port": "8443"}]
)
def test_a_damaged_record_is_malformed(change: dict[str, object]) -> None:
    value = loads(pretty(RECORD.to_json()), what="test")
    assert isinstance(value, dict)
    with pytest.raises(FormatError):
        Record.parse(pretty({**value, **change}).encode())


def test_the_lock_has_one_holder(folder: StateFolder) -> None:
    assert not folder.locked()
    with folder.lock():
        assert folder.locked()
        with pytest.raises(UsageError, match="already"), folder.lock():
            pass
        assert not folder.wait_unlocked(0.1)
    assert folder.wait_unlocked(0.1)


def test_the_folder_is_for_its_user_alone(folder: StateFolder) -> None:
    folder.root.mkdir(mode=0o755)
    folder.create()
    assert folder.root.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="file"):
        StateFolder(tmp_path / "file" / "state").create()
