"""The resolver: alternatives, provisions, versions across archives, conflicts, excludes."""

from __future__ import annotations

import pytest

from pluto_image.debian.archive import PackageIndex
from pluto_image.debian.resolve import Resolution, resolve
from pluto_image.errors import UnresolvableError
from simulators.debian_mirror import FakeDeb, packages_index


def package(name: str, version: str = "1", **fields: str) -> FakeDeb:
    return FakeDeb(name, version, {key.replace("_", "-"): value for key, value in fields.items()})


def solve(wanted: str, *archives: list[FakeDeb], without: str = "", prefer: dict[str, str] | None = None) -> Resolution:
    indexes = [
        PackageIndex(packages_index(debs).encode(), archive=f"a{number}", architecture="amd64")
        for number, debs in enumerate(archives)
    ]
    excluded = frozenset(without.split())
    return resolve(wanted.split(", "), indexes, architecture="amd64", excluded=excluded, prefer=prefer)


def chosen(found: Resolution) -> list[str]:
    return [f"{one.name} {one.version}" for one in found.chosen]


def test_dependencies_of_dependencies_are_chosen_once() -> None:
    debs = [package("aa", Depends="bb, cc"), package("bb", Pre_Depends="cc"), package("cc", Depends="aa")]
    assert chosen(solve("aa", debs)) == ["aa 1", "bb 1", "cc 1"]


def test_the_newest_version_wins_whatever_archive_it_lies_in() -> None:
    assert chosen(solve("aa", [package("aa", "2")], [package("aa", "3"), package("aa", "1")])) == ["aa 3"]
    assert chosen(solve("aa", [package("aa", "1:1")], [package("aa", "3")])) == ["aa 1:1"]


def test_a_versioned_constraint_takes_an_older_version_from_another_archive() -> None:
    assert chosen(solve("aa (<< 3)", [package("aa", "2")], [package("aa", "3")])) == ["aa 2"]


def test_a_constraint_met_late_takes_an_early_choice_back() -> None:
    first = [package("aa", "1"), package("bb", "1", Depends="aa (= 1)")]
    found = solve("aa, bb", first, [package("aa", "2")])
    assert chosen(found) == ["aa 1", "bb 1"]


def test_a_package_that_fits_none_gives_way_to_its_older_version() -> None:
    old = [package("aa", "1"), package("bb", "1")]
    assert chosen(solve("aa, bb", old, [package("aa", "2", Depends="gone")])) == ["aa 1", "bb 1"]


def test_the_first_alternative_is_taken_unless_another_is_there_already() -> None:
    debs = [package("aa", Depends="bb | cc"), package("bb"), package("cc")]
    assert chosen(solve("aa", debs)) == ["aa 1", "bb 1"]
    assert chosen(solve("cc, aa", debs)) == ["aa 1", "cc 1"]


def test_a_virtual_name_is_satisfied_by_a_provider() -> None:
    debs = [package("aa", Depends="mail"), package("yy", Provides="mail"), package("xx", Provides="mail (= 2)")]
    assert chosen(solve("aa", debs)) == ["aa 1", "xx 1"]
    assert chosen(solve("yy, aa", debs)) == ["aa 1", "yy 1"]


def test_only_a_versioned_provision_satisfies_a_versioned_relation() -> None:
    debs = [package("aa", Depends="mail (>= 2)"), package("xx", Provides="mail"), package("yy", Provides="mail (= 2)")]
    assert chosen(solve("aa", debs)) == ["aa 1", "yy 1"]


def test_conflicting_and_breaking_packages_are_never_chosen_together() -> None:
    debs = [package("aa", Depends="bb | cc"), package("bb", Conflicts="dd"), package("cc"), package("dd")]
    assert chosen(solve("dd, aa", debs)) == ["aa 1", "cc 1", "dd 1"]
    debs = [package("aa", "2", Breaks="bb (<< 2)"), package("bb", "1"), package("bb", "2")]
    assert chosen(solve("bb (= 2), aa", debs)) == ["aa 2", "bb 2"]
    with pytest.raises(UnresolvableError, match="aa 2 conflicts with bb 1"):
        solve("bb (= 1), aa", debs)


def test_a_conflict_with_a_virtual_name_that_one_provides_oneself_is_none() -> None:
    debs = [package("aa", Provides="mail", Conflicts="mail"), package("bb", Provides="mail")]
    assert chosen(solve("aa", debs)) == ["aa 1"]
    with pytest.raises(UnresolvableError, match="conflicts"):
        solve("aa, bb", debs)


def test_an_excluded_package_counts_as_present_and_its_use_is_recorded() -> None:
    debs = [package("aa", Depends="shell (>= 3) | other"), package("shell", "4", Depends="much"), package("other")]
    found = solve("aa", debs, without="shell")
    assert chosen(found) == ["aa 1"]
    assert [(one.package, one.group, one.excluded) for one in found.waived] == [("aa", "shell (>= 3) | other", "shell")]


def test_an_excluded_virtual_name_and_an_excluded_provider_end_their_group() -> None:
    debs = [package("aa", Depends="awk"), package("mawk", Provides="awk")]
    assert chosen(solve("aa", debs, without="awk")) == chosen(solve("aa", debs, without="mawk")) == ["aa 1"]


def test_an_exclude_behind_a_possible_alternative_is_not_used() -> None:
    found = solve("aa", [package("aa", Depends="bb | cc"), package("bb"), package("cc")], without="cc")
    assert chosen(found) == ["aa 1", "bb 1"]
    assert found.waived == ()


def test_a_preferred_version_is_kept_while_it_fits() -> None:
    debs = [package("aa", "1"), package("aa", "2"), package("bb", "1", Depends="aa (>= 2)")]
    assert chosen(solve("aa", debs, prefer={"aa": "1"})) == ["aa 1"]
    assert chosen(solve("aa, bb", debs, prefer={"aa": "1"})) == ["aa 2", "bb 1"]
    assert chosen(solve("aa", debs, prefer={"aa": "9"})) == ["aa 2"]


def test_what_cannot_be_had_is_named_with_who_wants_it() -> None:
    debs = [package("aa", Depends="bb"), package("bb", Depends="nowhere (>= 2)")]
    with pytest.raises(UnresolvableError) as refused:
        solve("aa", debs)
    assert str(refused.value) == "no archive offers nowhere (>= 2) (wanted by bb < aa < the definition)"
    assert refused.value.exit_code == 5


def test_an_unsolvable_maze_ends() -> None:
    debs = [package("end", "1", Conflicts="top")]
    for level in range(12):
        below = f"l{level + 1:02}" if level < 11 else "end"
        debs += [package(f"l{level:02}", version, Depends=below) for version in "12345"]
    debs.append(package("top", Depends="l00"))
    with pytest.raises(UnresolvableError):
        solve("top", debs)
