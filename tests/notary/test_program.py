"""The notary as a program: it waits for a checked configuration, and answers nothing without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluto_notary.errors import ConfigError
from pluto_notary.server.__main__ import await_config, main


def test_the_configuration_is_waited_for(tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 5:
            (tmp_path / "config.json").write_bytes(b"")

    assert await_config(tmp_path / "config.json", clock=lambda: now[0], sleep=sleep) == b""
    assert 5 < now[0] < 6


def test_a_configuration_that_never_comes_ends_the_notary_with_the_code_for_malformed_input(tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(ConfigError) as caught:
        await_config(tmp_path / "config.json", clock=lambda: now[0], sleep=sleep)
    assert (caught.value.reason, caught.value.exit_code) == ("absent", 3)


def test_outside_a_trust_domain_the_program_ends_with_an_error_and_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "os-release").write_text("ID=debian\n")
    monkeypatch.setattr("pluto_notary.systemd.OS_RELEASE", str(tmp_path / "os-release"))
    assert main() == 3
    assert capsys.readouterr().err == "pluto-notary: error: os-release: BUILD_ID is missing\n"
