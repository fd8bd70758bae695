"""The commands that others rely on exist, explain themselves, and keep the manners of design: exit codes and JSON."""

from __future__ import annotations

import importlib
import json

import pytest

COMMANDS = {
    "pluto_image": ["lock", "build", "bundle", "fetch", "inspect"],
    "pluto_measure": ["predict", "replay", "diff", "inspect", "verify"],
    "pluto_notary": ["serve"],
    "pluto_deploy": ["local"],
}
ALL = [(package, command) for package, commands in COMMANDS.items() for command in commands]


@pytest.mark.parametrize(("package", "command"), ALL)
def test_help_of_each_command_explains_it(package: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"{package}.cli").main
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    out, _ = capsys.readouterr()
    assert stop.value.code == 0
    assert "--json" in out
    assert len(out.split("\n\n")) >= 3, "usage, description and options are three paragraphs at least"


@pytest.mark.parametrize(("package", "command"), ALL)
def test_a_mistake_in_the_call_is_a_usage_error(package: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"{package}.cli").main
    assert main([command, "--no-such-option", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == "UsageError"
    assert "hint: run" in err


@pytest.mark.parametrize("package", COMMANDS)
def test_no_command_at_all_is_a_usage_error(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module(f"{package}.cli").main([]) == 2
    assert "error:" in capsys.readouterr().err
