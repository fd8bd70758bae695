"""`pluto-notary serve` as a program, and the codes of its wrong calls."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pluto_notary import __version__, cli

ROOT = Path(__file__).resolve().parents[2]


def test_serve_answers_until_a_signal_comes_and_says_so() -> None:
    command = [sys.executable, "-m", "pluto_notary.cli", "serve", "--insecure-evidence", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "answering on port" in line:
                break
        port = int(said[-1].split("port ")[1].split(",")[0])
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
        process.send_signal(signal.SIGTERM)
        output, rest = process.communicate(timeout=30)
    assert process.returncode == 0, rest
    assert json.loads(output) == {"stopped": True, "port": port}
    assert said[0] == f"pluto: started component=notary version={__version__}\n"
    assert "pluto: stopping component=notary" in rest


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["serve"], 2),
        (["serve", "--insecure-evidence", "--evidence-socket", "x"], 2),
        (["serve", "--insecure-evidence", "--port", "70000"], 2),
        (["serve", "--insecure-evidence", "--build-id", "zz"], 2),
        (["serve", "--insecure-evidence", "--address", "192.0.2.1", "--port", "0"], 6),
        (["serve", "--insecure-evidence", "--config", "/nonexistent"], 2),
    ],
)
def test_a_wrong_call_ends_with_the_documented_code(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--json"] if arguments else arguments) == code
    assert "error" in capsys.readouterr().err


def test_a_configuration_that_the_notary_would_refuse_is_refused_here_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"version": 1}')
    assert cli.main(["serve", "--insecure-evidence", "--config", str(tmp_path / "config.json")]) == 3


def test_the_version_is_that_of_the_distribution() -> None:
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
