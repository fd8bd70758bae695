"""Words that all commands share."""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from pluto_measure.cli import main
from pluto_measure.command import Command, Result, parser, run, write
from pluto_measure.wording import counted

PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 uncommitted files"), (1, "1 uncommitted file"), (2, "2 uncommitted files")]
)
def test_one_thing_is_named_in_the_singular(number: int, text: str) -> None:
    assert counted(number, "uncommitted file") == text


def test_a_terminal_that_cannot_show_a_character_gets_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["events", "acpi:tables"]) == 0
    shown.seek(0)
    assert shown.read().startswith("acpi:?\n")


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_output_that_nobody_takes_is_somebody_elses_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["events"]) == 6
    assert "cannot write to stdout: No space left on device" in capsys.readouterr().err


def calling(command: Command, *words: str) -> int:
    """A program whose one command is this."""
    top = parser("program", "A program.")
    top.add_argument("--json", action="store_true")
    top.set_defaults(run=command)
    return run(top, list(words))


@pytest.mark.parametrize(("kind", "code"), [(KeyboardInterrupt, 130), (ZeroDivisionError, 1)])
def test_where_somebody_stopped_and_what_serves_is_told_whatever_stopped_him(
    kind: type[BaseException], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(_: object) -> Result:
        error = kind()
        vars(error).update(step={"action": "switch"}, serving="a", other=object())
        raise error

    assert calling(command, "--json") == code
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["step"], error["serving"], "other" in error) == ({"action": "switch"}, "a", False)


def test_what_a_command_wrote_itself_is_not_written_again(capsys: pytest.CaptureFixture[str]) -> None:
    def command(_: object) -> Result:
        write("one\n")
        return Result({"two": 2}, "two\n", 5, written=True)

    assert (calling(command), calling(command, "--json")) == (5, 5)
    assert capsys.readouterr().out == "one\none\n"


PROGRAM = "import sys; from pluto_measure.cli import main; sys.exit(main())"


def shell(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """pluto-measure by a shell, with its streams closed or led elsewhere."""
    script = f'"$@" {redirection}'
    argv = ["sh", "-c", script, "sh", sys.executable, "-c", PROGRAM, *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment, check=False)


@pytest.mark.parametrize("words", [("events",), ("events", "--json")])
def test_a_closed_stdout_is_told_in_a_line(words: tuple[str, ...]) -> None:
    done = shell(">&-", *words)
    assert (done.returncode, done.stderr) == (6, "pluto-measure: error: cannot write to stdout: it is closed\n")


def test_an_error_keeps_its_exit_code_where_stdout_is_closed() -> None:
    done = shell(">&-", "events", "--json", "--none")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 2


def test_a_full_disk_is_told_in_a_line_and_is_the_exit_code() -> None:
    done = shell(">/dev/full", "events")
    assert done.returncode == 6
    assert done.stderr == "pluto-measure: error: cannot write to stdout: No space left on device\n"


def test_a_closed_stderr_leaves_stdout_to_what_belongs_there() -> None:
    done = shell("2>&-", "events", "--none")
    assert (done.returncode, done.stdout) == (2, "")
    done = shell("2>&-", "events", "--none", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["kind"]) == (2, "UsageError")


@pytest.mark.parametrize("program", ["pluto-image", "pluto-measure", "pluto-notary", "pluto-deploy"])
def test_every_program_tells_its_version(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    version = tomllib.loads(PROJECT.read_text())["project"]["version"]
    top = importlib.import_module(f"{program.replace('-', '_')}.cli").build_parser()
    assert run(top, ["--version"]) == 0
    assert capsys.readouterr().out == f"{program} {version}\n"
    for words in (["--version", "--json"], ["--json", "--version"]):
        assert run(top, words) == 0
        assert json.loads(capsys.readouterr().out) == {"program": program, "version": version}


def test_sources_that_are_not_installed_have_no_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert main(["--version"]) == 6
    assert "does not know its version" in capsys.readouterr().err


def test_a_command_that_is_ended_takes_away_what_it_began(tmp_path: Path) -> None:
    """SIGTERM, as a service manager or a canceled job sends it: the same as Ctrl-C, with the code that shells give."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pluto_measure.command import Result, parser, run\n"
        "def act(_):\n"
        "    begun = Path(sys.argv[1])\n"
        "    begun.touch()\n"
        "    try:\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        begun.unlink()\n"
        "top = parser('here', '')\n"
        "top.add_argument('--json', action='store_true')\n"
        "top.set_defaults(run=act)\n"
        "sys.exit(run(top, ['--json']))\n"
    )
    begun = tmp_path / "begun"
    process = subprocess.Popen([sys.executable, "-c", program, str(begun)], stdout=subprocess.PIPE, text=True)
    limit = time.monotonic() + 30
    while not begun.exists():
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert json.loads(out)["error"] == {"kind": "Interrupted", "message": "ended by SIGTERM", "hint": None}
    assert not begun.exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_answer_to_sigterm_that_is_there_stays() -> None:
    def answer(*_: object) -> None:
        raise AssertionError

    def act(_: object) -> Result:
        assert signal.getsignal(signal.SIGTERM) is answer
        return Result({})

    top = parser("here", "")
    top.set_defaults(run=act)
    before = signal.signal(signal.SIGTERM, answer)
    try:
        assert run(top, []) == 0
        assert signal.getsignal(signal.SIGTERM) is answer
    finally:
        signal.signal(signal.SIGTERM, before)
