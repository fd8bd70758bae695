"""Debian versions and relations."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.debian.relations import Relation, compare, parse_relations, version_key
from pluto_measure.errors import FormatError

VECTORS = tomllib.loads((Path(__file__).parents[2] / "vectors/debian-versions/order.toml").read_text())
VERSIONS = st.from_regex(r"\A(?:[0-9]:)?[0-9][0-9a-z.+~]{0,6}(?:-[0-9a-z.+~]{1,4})?\Z")


@pytest.mark.parametrize(("older", "newer"), VECTORS["older"])
def test_older_versions_sort_before_newer_ones(older: str, newer: str) -> None:
    assert (compare(older, newer), compare(newer, older)) == (-1, 1)


@pytest.mark.parametrize(("left", "right"), VECTORS["equal"])
def test_two_spellings_of_a_version_are_equal(left: str, right: str) -> None:
    assert compare(left, right) == compare(right, left) == 0


@pytest.mark.parametrize("text", VECTORS["malformed"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="Debian version"):
        compare(text, "1")


@settings(max_examples=200, deadline=None)
@given(st.lists(VERSIONS, min_size=3, max_size=3))
def test_the_order_is_total(versions: list[str]) -> None:
    a, b, c = sorted(versions, key=version_key)
    assert compare(a, b) <= 0
    assert compare(b, c) <= 0
    assert compare(a, c) <= 0
    assert compare(a, b) == -compare(b, a)


@pytest.mark.interop
@settings(max_examples=40, deadline=None)
@given(VERSIONS, VERSIONS)
def test_dpkg_agrees_about_the_order(left: str, right: str) -> None:
    if shutil.which("dpkg") is None:
        pytest.skip("dpkg is absent")
    operator = {-1: "lt", 0: "eq", 1: "gt"}[compare(left, right)]
    assert subprocess.run(["dpkg", "--compare-versions", left, operator, right], check=False).returncode == 0


@pytest.mark.parametrize(
    ("operator", "allowed"),
    [("<<", "1"), ("<=", "1 2"), ("=", "2"), (">=", "2 3"), (">>", "3"), ("", "1 2 3")],
)
def test_operators_allow_what_policy_says(operator: str, allowed: str) -> None:
    relation = Relation("a", operator, "2" if operator else "")
    assert [version for version in "123" if relation.allows(version)] == allowed.split()


def test_groups_keep_order_alternatives_and_versions() -> None:
    found = parse_relations("libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0, python3:any", architecture="amd64")
    assert [" | ".join(map(str, group)) for group in found] == [
        "libc6 (>= 2.38)",
        "debconf (>= 0.5) | debconf-2.0",
        "python3",
    ]


def test_alternatives_for_other_architectures_are_left_out() -> None:
    text = "aa [arm64], bb [!arm64], cc [amd64 i386], dd:arm64 | ee, ff [linux-any any]"
    assert [[one.name for one in group] for group in parse_relations(text, architecture="amd64")] == [
        ["bb"],
        ["cc"],
        ["ee"],
        ["ff"],
    ]


@pytest.mark.parametrize("text", ["A", "a (1)", "a (== 1)", "a (>= )", "a b", "a (>= 1", "a | ", "-a"])
def test_what_is_no_relation_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"package relation|Debian version"):
        parse_relations(text, architecture="amd64")
