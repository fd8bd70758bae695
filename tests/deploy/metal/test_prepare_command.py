"""`host prepare` and `host install-config` as far as no host is asked: options, files, what is said and where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pluto_deploy.commands import host as commands
from pluto_deploy.metal.prepare.command import options_of
from pluto_deploy.metal.prepare.options import LocalPccs, Network, Options, RemotePccs
from pluto_measure import command
from pluto_measure.errors import UsageError

KEY = "0123456789abcdef0123456789abcdef"
PCCS = ["--pccs", "https://pccs.example/"]
INSTALL = ["install-config", "--profile", "hetzner", "--image", "Ubuntu-2604-resolute-amd64-base.tar.gz"]


def called(*words: str) -> int:
    """The exit code."""
    top = command.parser("pluto-deploy", "")
    commands.add(top.add_subparsers(required=True))
    return command.run(top, ["host", *words])


def options(*words: str) -> Options:
    """What `host prepare` makes of its options."""
    top = command.parser("pluto-deploy", "")
    commands.add(top.add_subparsers(required=True))
    return options_of(top.parse_args(["host", "prepare", "root@host.example", *words]))


def test_safe_by_default() -> None:
    assert options(*PCCS) == Options(network=Network("routed"), pccs=RemotePccs("https://pccs.example/"))
    with pytest.raises(UsageError, match="--pccs"):
        options()


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "archive.asc").write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    (tmp_path / "a.toml").write_text(
        'uri = "https://a.example/"\nsuite = "s"\ncomponents = ["m"]\nkey = "archive.asc"\n'
    )
    found = options(
        *(
            "--quote-archive",
            str(tmp_path / "a.toml"),
            "--pccs-key-file",
            str(tmp_path / "key"),
            "--profile",
            "hetzner",
        ),
        *("--address", "198.51.100.7", "--address", "2001:DB8::7", "--resolver", "9.9.9.9", "--ipv6", "--reboot"),
        *("--uplink", "enp1s0"),
    )
    assert found.archive is not None
    assert (found.archive.origin, found.archive.armoured) == ("a.example", True)
    assert found.pccs == LocalPccs(KEY)
    assert (found.addresses, found.resolvers) == (("198.51.100.7", "2001:db8::7"), ("9.9.9.9",))
    assert (found.ipv6, found.reboot, found.uplink, found.profile) == (True, True, "enp1s0", "hetzner")


@pytest.mark.parametrize(
    "words",
    [
        ["--network", "nat"],
        ["--address", "host"],
        ["--resolver", "169.254.169.254"],
        ["--uplink", "a b"],
        ["--quote-archive", "/nowhere/a.toml"],
        ["--insecure-no-tdx"],
        ["--pccs-key-file", "/nowhere/key"],
        ["--profile", "unknown"],
    ],
)
def test_what_makes_no_sense_is_refused_before_a_host_is_asked(words: list[str]) -> None:
    with pytest.raises(UsageError):
        options(*PCCS, *words)


def test_a_key_that_is_wrong_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_text(f"{KEY} and more")
    code = called("prepare", "h", "--pccs-key-file", str(tmp_path / "key"), "--json")
    said = capsys.readouterr()
    assert code == UsageError.exit_code
    assert KEY not in said.out + said.err
    assert json.loads(said.out)["error"]["kind"] == "UsageError"


def test_a_release_that_is_none(tmp_path: Path) -> None:
    assert called("prepare", "h", *PCCS, "--release", str(tmp_path)) == UsageError.exit_code


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        options("--pccs-key-file", str(tmp_path / "key"))


class TestInstall:
    def test_to_stdout(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert called(*INSTALL, "--hostname", "metal", "--drive", "/dev/sda", "--drive", "sdb") == 0
        said = capsys.readouterr().out
        assert "DRIVE1 /dev/sda\nDRIVE2 /dev/sdb\nSWRAID 1\n" in said

    def test_to_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "install.conf"
        words = [*INSTALL, "--hostname", "metal", "--drive", "sda", "--raid", "none", "--out", str(out), "--json"]
        assert called(*words) == 0
        found = json.loads(capsys.readouterr().out)
        assert found == {"configuration": out.read_text(), "out": str(out)}
        assert [path.name for path in tmp_path.iterdir()] == ["install.conf"]

    def test_a_file_that_is_there_stays(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "install.conf"
        words = [*INSTALL, "--hostname", "metal", "--drive", "sda", "--raid", "none", "--out", str(out)]
        assert called(*words) == called(*words) == 0  # the same again
        out.write_text("mine\n")
        assert called(*words) == UsageError.exit_code
        assert f"{out} is there already" in capsys.readouterr().err
        assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(out, "mine\n")]
        out.unlink()
        out.symlink_to(tmp_path / "absent")
        assert called(*words) == UsageError.exit_code
        assert [path.name for path in tmp_path.iterdir()] == ["install.conf"]

    @pytest.mark.parametrize("more", [["--drive", "sda"], ["--drive", "sd a", "--raid", "none"], []])
    def test_what_makes_no_sense(self, more: list[str]) -> None:
        assert called(*INSTALL, "--hostname", "metal", *more) == UsageError.exit_code

    def test_where_nothing_can_be_written(self) -> None:
        words = [*INSTALL, "--hostname", "metal", "--drive", "sda", "--raid", "none", "--out", "/nowhere/x"]
        assert called(*words) == UsageError.exit_code


def test_help_needs_neither_pyinfra_nor_gevent() -> None:
    script = (
        "import sys\nfrom pluto_deploy.commands import host\nfrom pluto_measure import command\n"
        "host.add(command.parser('x', '').add_subparsers())\n"
        "sys.exit(bool({'pyinfra', 'gevent', 'paramiko'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
