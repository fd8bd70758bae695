"""pluto-measure policy: print a strict policy, make one for a release, say what one leaves open."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from pluto_measure.cli import main
from pluto_measure.policy import Policy
from simulators.policies import TDX_TEXT
from simulators.trust_domains import REFERENCE
from simulators.verifier_files import Files

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "docs/examples"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_policy_prints_the_strict_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy"]) == 0
    out = capsys.readouterr().out
    assert Policy.parse(out).platforms == ("qemu-tdx", "gcp-tdx")
    assert main(["policy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"policy": out}


def test_policy_is_made_for_a_release(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["policy", "--reference", str(files.reference), "--unsigned-reference", "--config-digest", "ab" * 32]
    assert main([*words, "--machine", "ppid:" + "01" * 16]) == 0
    policy = Policy.parse(capsys.readouterr().out)
    assert (policy.platforms, policy.allow_unsigned_reference) == (("qemu-tdx",), True)
    assert (policy.machines, policy.config_digest) == (("ppid:" + "01" * 16,), b"\xab" * 32)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--machine", "ppid:00"], 2),
        (["--machine", 'a"] #'], 2),
        (["--config-digest", "00"], 2),
        (["FILE", "--unsigned-reference"], 2),
        (["FILE", "--machine", "ppid:" + "01" * 16], 2),
        (["absent"], 2),
        (["GARBAGE"], 3),
        (["--reference", "GARBAGE"], 3),
        (["--reference", "DEBUG"], 5),
    ],
)
def test_policy_with_a_wrong_argument(
    words: list[str], code: int, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    debug = REFERENCE.to_text().replace('"flavour": "release"', '"flavour": "debug"', 1)
    paths = {"FILE": files.policy, "GARBAGE": files.quote, "DEBUG": files.write("debug.json", debug)}
    assert main(["policy", *(str(paths.get(word, word)) for word in words), "--json"]) == code
    assert "error" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["foo", "ppid:00", "ppid:" + "AB" * 16, "serial:" + "00" * 16, "ab" * 31])
def test_a_machine_that_is_none_is_named_and_what_would_be_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "--machine", "ab" * 32, "--machine", name]) == 2
    said = capsys.readouterr().err
    assert f"error: --machine {name!r}: must be ppid:HEX or platformInstance:HEX with 16 bytes, or a key's" in said


def test_a_file_with_a_mistake_is_named(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    bad = files.write("my.toml", TDX_TEXT.replace("allowDebug", "alowDebug"))
    assert main(["policy", str(bad)]) == 3
    assert f"error: policy {bad}: allowDebug is missing; there is alowDebug\n" in capsys.readouterr().err
    assert main(["policy", "--reference", str(files.write("late.json", "{}"))]) == 3
    assert f"error: reference {files.folder / 'late.json'}: version is missing\n" in capsys.readouterr().err


def test_policy_says_what_a_policy_leaves_open(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", str(files.policy)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "allowUnsignedReference", "outerKeyDigest", "insecure_roots",
    ]  # fmt: skip
    assert main(["policy", str(EXAMPLES / "tdx-policy.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["leftOpen"] == [
        "allowUnsignedReference: reference values count that nobody signed"
    ]


def test_the_example_names_every_field_and_reads() -> None:
    text = (EXAMPLES / "tdx-policy.toml").read_text()
    example, ours = tomllib.loads(text), tomllib.loads(TDX_TEXT)
    assert Policy.parse(text).tdx is not None
    assert (example.keys(), example["td"].keys()) == (ours.keys(), ours["td"].keys())
