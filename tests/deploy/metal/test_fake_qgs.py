"""The quote generation service of the tests speaks Intel's protocol, and answers nothing but what is asked rightly."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from simulators.metal import qgs
from simulators.metal.qgs import Answers, Configuration

REPORT = bytes(range(256)) * 4


def request(report: bytes = REPORT, *, size: int | None = None, ids: bytes = b"") -> bytes:
    return struct.pack("<II", len(report) if size is None else size, len(ids)) + report + ids


@pytest.mark.parametrize("ids", [b"", bytes(16)])
def test_a_report_becomes_a_quote(tmp_path: Path, ids: bytes) -> None:
    with qgs.serving(tmp_path / "s", Answers(quote=lambda report: b"quote of " + report[:2])) as answers:
        assert qgs.ask(tmp_path / "s", qgs.GET_QUOTE, request(ids=ids)) == (
            1, 0, struct.pack("<II", 0, 11) + b"quote of \x00\x01",
        )  # fmt: skip
    assert len(answers.asked) == 1


def test_a_bare_report_becomes_a_bare_quote(tmp_path: Path) -> None:
    with qgs.serving(tmp_path / "s", Answers()), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        client.sendall(REPORT)
        with client.makefile("rb") as stream:
            assert stream.read() == b"not a quote:" + REPORT


def test_what_the_platform_is(tmp_path: Path) -> None:
    answers = Answers(tdqe_svn=6, pce_svn=15, platform=b"p" * 16, cpu_svn=b"c" * 16)
    with qgs.serving(tmp_path / "s", answers):
        kind, error, body = qgs.ask(tmp_path / "s", qgs.GET_PLATFORM_INFO)
    assert (kind, error, body) == (5, 0, struct.pack("<HHII", 6, 15, 16, 16) + b"p" * 16 + b"c" * 16)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (qgs.GET_QUOTE, b""),
        (qgs.GET_QUOTE, request(size=1023)),
        (qgs.GET_QUOTE, request(b"short")),
        (qgs.GET_QUOTE, request() + b"more"),
        (qgs.GET_PLATFORM_INFO, b"body"),
        (qgs.GET_COLLATERAL, b""),
    ],
)
def test_what_is_asked_wrongly_is_an_error(tmp_path: Path, kind: int, body: bytes) -> None:
    with qgs.serving(tmp_path / "s", Answers()):
        answered, error, rest = qgs.ask(tmp_path / "s", kind, body)
    assert (answered, error) == (kind + 1, qgs.UNEXPECTED)
    assert not any(rest)


def test_the_error_a_test_wants(tmp_path: Path) -> None:
    with qgs.serving(tmp_path / "s", Answers(error=0x12002)):
        assert qgs.ask(tmp_path / "s", qgs.GET_PLATFORM_INFO)[:2] == (5, 0x12002)


def test_an_unknown_type_is_hung_up_on(tmp_path: Path) -> None:
    with qgs.serving(tmp_path / "s", Answers()), pytest.raises(EOFError):
        qgs.ask(tmp_path / "s", 9)


def test_a_silent_service(tmp_path: Path) -> None:
    with qgs.serving(tmp_path / "s", Answers(silent=True)), pytest.raises(TimeoutError):
        qgs.ask(tmp_path / "s", qgs.GET_PLATFORM_INFO, timeout=0.2)


@pytest.mark.parametrize(
    ("text", "year", "expected"),
    [
        ("", 2026, Configuration()),
        ("# port = 1\nnumber_threads = 4\n", 2026, Configuration()),
        (" port = 4050 \n", 2026, Configuration(4050)),
        ("port=0", 2025, Configuration(0)),
        ("socket_mode = 660", 2025, Configuration(None, 0o660)),
        ("socket_mode = 660", 2026, Configuration()),
        ("anything else\nunknown = 1\n", 2025, Configuration()),
    ],
)
def test_the_configuration_file(text: str, year: int, expected: Configuration) -> None:
    assert Configuration.read(text, year=year) == expected


@pytest.mark.parametrize("text", ["port = 65536", "port =", "port = x", "number_threads = 256"])
def test_a_configuration_that_ends_the_daemon(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Configuration.read(text, year=2026)
    assert "Please input valid" in capsys.readouterr().out
