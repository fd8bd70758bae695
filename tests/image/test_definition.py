"""image.toml is read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluto_image.definition import load, parse
from pluto_measure.errors import FormatError, UsageError

GOOD = """
name = "tiny"
version = "1"
architecture = "amd64"
epoch = 1793491200
[[archive]]
id = "main"
suite = "trixie"
components = ["main"]
path = "debian"
fingerprints = ["04b54c3cdca79751b16bc6b5225629df75b188bd"]
[image]
archives = ["main"]
install = ["systemd (<< 258)"]
exclude = [{ name = "perl", reason = "no scripts" }]
[tools]
archives = ["main"]
install = []
[kernel]
anything = 1
"""


def test_a_good_definition_hands_the_recipe_over() -> None:
    found = parse(GOOD.encode())
    assert found.image.install == ("systemd (<< 258)",)
    assert found.image.excluded == {"perl"}
    assert found.recipe == {"kernel": {"anything": 1}}


def test_the_recipe_does_not_change_what_the_lock_belongs_to() -> None:
    one, other = parse(GOOD.encode()), parse(GOOD.replace("anything = 1", "anything = 2").encode())
    assert one.lock_digest == other.lock_digest
    assert one.digest != other.digest
    assert parse(GOOD.replace("258", "259").encode()).lock_digest != one.lock_digest


def test_order_and_comments_do_not_change_the_digest() -> None:
    assert parse(("# note\n" + GOOD).encode()).digest == parse(GOOD.encode()).digest


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "tiny"', 'name = "tiny"\nnmae = "x"', "unknown name nmae"),
        ('name = "tiny"\n', "", "name is missing"),
        ('name = "tiny"', 'name = "Tiny!"', "malformed"),
        ('"amd64"', '"riscv64"', "not one of amd64"),
        ("1793491200", "0", "not between 1980 and 2106"),
        ("1793491200", "true", "epoch must be int"),
        ('"trixie"', '"http://host/"', "malformed"),
        ("04b5", "04B5", "malformed"),
        ('fingerprints = ["04b54c3cdca79751b16bc6b5225629df75b188bd"]', "fingerprints = []", "needs components"),
        ('path = "debian"', 'path = "debian"\nhost = "x"', "unknown member host"),
        ('archives = ["main"]', 'archives = ["other"]', "archive other is not defined"),
        ("systemd (<< 258)", "systemd, udev", "must be one relation"),
        ("systemd (<< 258)", "Systemd", "is not one"),
        ('reason = "no scripts"', 'reason = " "', "gives no reason"),
        (', reason = "no scripts"', "", "reason is missing"),
        ("[{ name", '[{ name = "perl", reason = "twice" }, { name', "excluded twice"),
        ("[kernel]", "[[archive]]", "missing"),
        ("epoch = 1793491200", "epoch = 1793491200.5", "epoch must be int"),
        ("[kernel]", "[kernel", "not TOML"),
        ("anything = 1", "anything = 1.5", "cannot be digested"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, problem: str) -> None:
    assert old in GOOD
    with pytest.raises(FormatError, match=problem):
        parse(GOOD.replace(old, new, 1).encode())


def test_a_wheel_needs_a_reason_and_the_name_of_a_file() -> None:
    wheel = f'[[wheel]]\nname = "x"\nversion = "1"\nfile = "F"\nsize = 1\nsha256 = "{"ab" * 32}"\nreason = "why"\n'
    assert parse((GOOD + wheel.replace('"F"', '"x-1-py3-none-any.whl"')).encode()).wheels[0].name == "x"
    with pytest.raises(FormatError, match="whl"):
        parse((GOOD + wheel.replace('"F"', '"../x.whl"')).encode())


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(FormatError, match="not TOML"):
        parse(b"name = '\xff'")


def test_a_folder_without_a_definition_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no image\.toml"):
        load(tmp_path)
