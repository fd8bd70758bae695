"""The commands that others rely on exist, explain themselves, and keep the manners of design: exit codes and JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import re

import pytest

from pluto_measure.command import Result, parser, run
from pluto_measure.errors import SourceError

COMMANDS = {
    "pluto_image": [
        *("lock", "derive", "fetch", "build", "bundle", "release", "reproduce", "attest", "inspect", "tools"),
        *("diff", "audit"),
    ],
    "pluto_measure": [
        "predict",
        "mrtd",
        "replay",
        "diff",
        "events",
        "acpi",
        *("collateral", "endorsement"),
        "inspect",
        "policy",
        "reattest",
        "release",
        "revoke",
        "sign",
        "trust",
        "verify",
    ],
    "pluto_notary": [
        *("appraise", "manifest check", "prove", "serve", "verify-proof"),
        *("register sign", "register revoke", "register rotate", "register collect", "register account"),
    ],
    "pluto_deploy": [
        *("plan", "apply", "verify", "watch", "status", "logs", "rollback", "destroy", "render", "local"),
        *("host check", "host prepare", "host install-config", "host test"),
    ],
}
ALL = [(package, command) for package, commands in COMMANDS.items() for command in commands]


@pytest.mark.parametrize(("package", "command"), ALL)
def test_help_of_each_command_explains_it(package: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"{package}.cli").main
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    out, _ = capsys.readouterr()
    assert stop.value.code == 0
    assert "--json" in out
    assert len(out.split("\n\n")) >= 3, "usage, description and options are three paragraphs at least"


@pytest.mark.parametrize(("package", "command"), ALL)
def test_a_mistake_in_the_call_is_a_usage_error(package: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"{package}.cli").main
    assert main([*command.split(), "--no-such-option", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == "UsageError"
    assert "hint: run" in err


@pytest.mark.parametrize("package", COMMANDS)
def test_no_command_at_all_is_a_usage_error(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module(f"{package}.cli").main([]) == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("package", COMMANDS)
def test_no_command_is_missing_in_these_tests(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(f"{package}.cli").main(["--help"])
    names = re.findall(r"^    ([\w-]+)(?: |$)", capsys.readouterr().out, re.MULTILINE)
    assert sorted(names) == sorted({command.partition(" ")[0] for command in COMMANDS[package]})


def program(end: BaseException) -> argparse.ArgumentParser:
    def work(_: argparse.Namespace) -> Result:
        raise end

    top = parser("program", "A program.")
    sub = top.add_subparsers(required=True).add_parser("work")
    sub.add_argument("--json", action="store_true")
    sub.set_defaults(run=work)
    return top


@pytest.mark.parametrize(("end", "code"), [(ZeroDivisionError("by zero"), 1), (KeyboardInterrupt(), 130)])
def test_json_is_written_even_at_a_bug_of_ours_and_when_interrupted(
    end: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(program(end), ["work", "--json"]) == code
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["message"]
    assert ("Traceback" in err) == (code == 1), "a bug is reported with its place"
    assert run(program(end), ["work"]) == code
    assert capsys.readouterr().out == ""


def test_an_abbreviated_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(program(ZeroDivisionError()), ["work", "--js"]) == 2
    assert "unrecognized arguments: --js" in capsys.readouterr().err


def test_words_of_others_are_shown_without_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(program(SourceError("host: \x1b[2Jaccepted\r", hint="\x9b1m")), ["work"]) == 6
    assert capsys.readouterr().err == "program: error: host: ·[2Jaccepted·\nprogram: hint: ·1m\n"
