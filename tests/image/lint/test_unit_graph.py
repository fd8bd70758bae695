"""Every route by which systemd starts a unit is followed, and the result is compared with a list."""

from __future__ import annotations

import pytest

from pluto_image.lint import unit_graph, units
from pluto_image.tree import Entry, Kind

LIB, ETC = "usr/lib/systemd/system", "etc/systemd/system"


def file(path: str, text: str = "[Unit]\n") -> Entry:
    return Entry(path, Kind.FILE, 0o644, text.encode(), "recipe:x")


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.SYMLINK, 0o777, target.encode(), "recipe:x")


BASE = (
    link(f"{ETC}/default.target", f"/{LIB}/multi-user.target"),
    file(f"{LIB}/multi-user.target", "[Unit]\nRequires=basic.target\n"),
    file(f"{LIB}/basic.target", "[Unit]\nWants=absent.target\n"),
    file(f"{LIB}/x.service", "[Unit]\nDefaultDependencies=no\n"),
)


def started(*entries: Entry) -> set[str]:
    found = {entry.path: entry for entry in (*BASE, *entries)}
    return unit_graph.Graph(list(found.values())).started() - {"multi-user.target", "basic.target"}


def test_the_default_target_and_what_it_requires_are_started_and_nothing_else() -> None:
    assert started() == set()
    assert list(unit_graph.check(BASE, expected=["multi-user.target", "basic.target"])) == []


def test_a_unit_too_many_and_a_unit_too_few_are_named() -> None:
    pulled = link(f"{LIB}/basic.target.wants/x.service", "../x.service")
    assert list(unit_graph.check([*BASE, pulled], expected=["multi-user.target", "basic.target", "y.service"])) == [
        "unit x.service will be started, which the recipe's [lint] units does not list",
        "unit y.service is in the recipe's [lint] units, but nothing starts it",
    ]


@pytest.mark.parametrize("folder", units.FOLDERS)
@pytest.mark.parametrize("kind", ["wants", "requires", "upholds"])
def test_links_in_every_folder_start_a_unit(folder: str, kind: str) -> None:
    assert started(link(f"{folder}/multi-user.target.{kind}/x.service", "anything")) == {"x.service"}


@pytest.mark.parametrize("owner", ["target", "multi-.target"])
def test_links_of_a_type_or_a_prefix_count(owner: str) -> None:
    assert started(link(f"{ETC}/{owner}.wants/x.service", "x")) == {"x.service"}


def test_links_beside_an_alias_count_for_the_unit() -> None:
    assert started(link(f"{LIB}/default.target.wants/x.service", "../x.service")) == {"x.service"}


@pytest.mark.parametrize(
    "setting", ["Wants", "Requires", "BindsTo", "Upholds", "OnFailure", "OnSuccess", "Sockets", "Service", "Unit"]
)
def test_a_setting_of_a_unit_starts_another(setting: str) -> None:
    assert started(file(f"{LIB}/basic.target", f'[Unit]\n  {setting} = none.target "x.service"\n')) == {"x.service"}


@pytest.mark.parametrize("setting", ["After", "Before", "Conflicts", "PartOf", "Requisite"])
def test_an_order_or_a_condition_starts_nothing(setting: str) -> None:
    assert started(file(f"{LIB}/basic.target", f"[Unit]\n{setting}=x.service\n")) == set()


@pytest.mark.parametrize(
    "text",
    ["Wants=a \\\n x.service\n", "Wants=\\\n# a comment\n; another\n x.service\n", "Wants=a\nWants=x.service\\"],
)
def test_continued_lines_hide_nothing(text: str) -> None:
    assert started(file(f"{LIB}/basic.target", f"[Unit]\n{text}")) == {"x.service"}


def test_a_comment_starts_nothing() -> None:
    assert started(file(f"{LIB}/basic.target", "[Unit]\n# Wants=x.service\n ;Wants=x.service\n")) == set()


@pytest.mark.parametrize("owner", ["basic.target", "target", "default.target", "multi-user.target", "multi-.target"])
def test_a_drop_in_of_unit_alias_type_or_prefix_counts(owner: str) -> None:
    assert started(file(f"{ETC}/{owner}.d/50.conf", "[Unit]\nWants=x.service\n")) == {"x.service"}


@pytest.mark.parametrize(("kind", "other"), [("socket", "service"), ("timer", "service"), ("path", "service")])
def test_what_waits_starts_the_unit_of_its_name(kind: str, other: str) -> None:
    waiting = file(f"{LIB}/w.{kind}", "[Unit]\nDefaultDependencies=false\n")
    pulled = link(f"{ETC}/basic.target.wants/w.{kind}", f"/{LIB}/w.{kind}")
    assert started(waiting, pulled, file(f"{LIB}/w.{other}", "[Unit]\nDefaultDependencies=no\n")) == {
        f"w.{kind}",
        f"w.{other}",
    }
    assert len(started(waiting, pulled, file(f"{LIB}/w@.{other}"))) == 2, "a socket that starts one per connection"


def test_services_ask_for_the_start_of_the_system_unless_they_say_no() -> None:
    pulled = link(f"{ETC}/basic.target.wants/s.service", "x")
    system = file(f"{LIB}/sysinit.target", "[Unit]\nWants=x.service\n")
    assert started(pulled, system, file(f"{LIB}/s.service")) == {"s.service", "sysinit.target", "x.service"}
    told = file(f"{LIB}/s.service", "[Unit]\nDefaultDependencies=yes\nDefaultDependencies=no\n")
    assert started(pulled, system, told) == {"s.service"}


def test_instances_come_from_their_template_and_fill_in_their_name() -> None:
    template = file(f"{LIB}/t@.service", "[Unit]\nDefaultDependencies=no\nWants=%i.service\n")
    assert started(template, link(f"{ETC}/basic.target.wants/t@x.service", "x")) == {"t@x.service", "x.service"}
    assert started(
        template, link(f"{ETC}/a@.service", "t@.service"), file(f"{LIB}/basic.target", "Wants=a@x.service")
    ) == {
        "t@x.service",
        "x.service",
    }


def test_masks_and_empty_files_are_not_started_and_etc_wins() -> None:
    pulled = link(f"{LIB}/basic.target.wants/x.service", "../x.service")
    assert started(pulled, link(f"{ETC}/x.service", "/dev/null")) == set()
    assert started(pulled, file(f"{ETC}/x.service", "")) == set()
    other = file(f"{LIB}/y.service", "[Unit]\nDefaultDependencies=no\n")
    replaced = file(f"{ETC}/x.service", "[Unit]\nDefaultDependencies=no\nWants=y.service\n")
    assert started(pulled, other, replaced) == {"x.service", "y.service"}


def test_a_unit_file_that_lies_elsewhere_is_read() -> None:
    elsewhere = file("opt/x.service", "[Unit]\nDefaultDependencies=no\nWants=y.service\n")
    other = file(f"{LIB}/y.service", "[Unit]\nDefaultDependencies=no\n")
    pulled = link(f"{ETC}/basic.target.wants/x.service", "../x.service")
    assert started(pulled, elsewhere, other, link(f"{ETC}/x.service", "/opt/x.service")) == {"x.service", "y.service"}


def test_a_drop_in_that_is_a_link_is_read() -> None:
    drop_in = link(f"{ETC}/basic.target.d/50.conf", "../../../../opt/a.conf")
    assert started(drop_in, file("opt/a.conf", "[Unit]\nWants=x.service\n")) == {"x.service"}


def test_a_mount_that_a_path_needs_is_started() -> None:
    wanted = file(f"{LIB}/basic.target", "[Unit]\nRequiresMountsFor=/srv/a-b/deep\n")
    assert started(wanted, file(f"{LIB}/srv-a\\x2db.mount"), file(f"{LIB}/srv-a.mount")) == {"srv-a\\x2db.mount"}


@pytest.mark.parametrize("rule", ['ENV{SYSTEMD_WANTS}+="x.service"', 'ENV{SYSTEMD_WANTS} = "a.service x.service"'])
def test_a_udev_rule_starts_a_unit(rule: str) -> None:
    assert started(file("usr/lib/udev/rules.d/99-a.rules", f'SUBSYSTEM=="tpm", {rule}\n')) == {"x.service"}


@pytest.mark.parametrize(
    ("entry", "finding"),
    [
        (file("usr/lib/systemd/system-generators/a"), "could make units at boot"),
        (file("etc/systemd/system-generators/a"), "could make units at boot"),
        (link(f"{ETC}/basic.target.wants", "/opt/wants"), "is a link where systemd expects a folder"),
        (link("usr/local/lib/systemd", "/opt"), "is a link where systemd expects a folder"),
        (file(f"{LIB}/basic.target", "[Unit]\nWants=x-%m.service\n"), "names x-%m.service in Wants="),
    ],
)
def test_what_cannot_be_followed_is_a_finding(entry: Entry, finding: str) -> None:
    entries = {one.path: one for one in (*BASE, entry)}
    found = list(unit_graph.check(list(entries.values()), expected=["multi-user.target", "basic.target"]))
    assert [sentence for sentence in found if finding in sentence]


def test_circles_of_aliases_and_of_wishes_end() -> None:
    circle = (link(f"{ETC}/a.service", "b.service"), link(f"{ETC}/b.service", "a.service"))
    wishes = file(f"{LIB}/basic.target", "[Unit]\nWants=a.service multi-user.target\n")
    assert started(*circle, wishes) == set()
