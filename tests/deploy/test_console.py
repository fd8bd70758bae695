from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_deploy.local.console import Console, Malformed, decode, tail
from pluto_notary.events import Event

READY = b"[    9.120001] pluto: ready port=8443 buildid=" + b"b1" * 32


def test_an_event_is_found_behind_the_kernels_prefix() -> None:
    assert decode(READY + b"\r\n") == Event.of("ready", port=8443, buildid="b1" * 32)


def test_what_only_looks_like_an_event_is_told_apart() -> None:
    assert isinstance(decode(b"pluto: ready port=x buildid=y"), Malformed)
    assert decode(b"[    1.0] something else") is None


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_any_line_is_decoded_to_something_or_nothing(line: bytes) -> None:
    decode(line)


@given(st.lists(st.integers(0, 200), max_size=6))
@settings(deadline=None, max_examples=50)
def test_lines_are_the_same_however_the_log_grows(cuts: list[int]) -> None:
    data = b"EFI stub: x\r\n" + READY + b"\r\nEFI stub: again\nLinux version\npluto: bad\nunfinished pluto: ready"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        console, said = Console(log), []
        for begin, end in pairwise([0, *sorted(cuts), len(data)]):
            with log.open("ab") as file:
                file.write(data[begin:end])
            said += list(console.poll())
    assert said[0] == "firmware done, kernel starts"
    assert isinstance(said[1], Event)
    assert said[2] == "kernel runs"
    assert isinstance(said[3], Malformed)
    assert len(said) == 4


def test_a_log_that_does_not_exist_says_nothing(tmp_path: Path) -> None:
    assert list(Console(tmp_path / "none").poll()) == []
    assert tail(tmp_path / "none", 3) == []


def test_the_tail_is_printable_and_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n\n\x1b[2Jtwo\x00\n" + b"x" * 5000 + b"\n")
    assert tail(log, 2) == ["·[2Jtwo·", "x" * 200]
