"""What follows: which version has what, what a policy refuses, what cannot be trusted to be the whole truth."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.audit import rebuilders, tracker
from pluto_image.audit.inside import inside
from pluto_image.audit.judge import Audit, Sighting, judge, state_of
from pluto_image.audit.model import Component, Inside, Source
from pluto_image.audit.policy import STRICT, AuditPolicy
from pluto_image.contents import files
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError
from pluto_measure.toml import table
from simulators import audited_builds as builds

NOTARY = Path(__file__).resolve().parents[3] / "image/notary"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
FRESH = Sighting(NOW - timedelta(hours=1), "fetch")
POLICY = AuditPolicy.parse(builds.POLICY)
VERSIONS = st.from_regex(r"\A(?:[0-9]:)?[0-9][0-9a-z.+~]{0,6}(?:-[0-9a-z.+~]{1,4})?\Z")
LISTED = [
    {"path": path, "kind": "file", "mode": "0644", "uid": 0, "gid": 0, "origin": origin, "size": 1, "sha256": "1" * 64}
    for path, origin in builds.FILES
]
INSIDE: Inside = inside(builds.lock(), files.parse(json.dumps(LISTED).encode()), table(builds.RECIPE, what="recipe"))


def audit(
    more: dict[str, Any] | None = None,
    *,
    policy: AuditPolicy = POLICY,
    lists: tuple[bytes, ...] = (),
    seen: Sighting = FRESH,
    data: bytes | None = None,
    now: datetime = NOW,
) -> Audit:
    wanted = {(one.name, one.release) for one in INSIDE.sources}
    components = [part for one in INSIDE.sources for part in one.components]
    said = tracker.parse(builds.tracker(more) if data is None else data, wanted)
    rebuilds = rebuilders.parse(lists, components) if lists else None
    return judge(INSIDE, said, rebuilds, policy, seen, now)


def verdicts(found: Audit) -> dict[str, str]:
    return {one.id: one.verdict for one in found.findings}


def one(issue: dict[str, Any], source: str = "tool", policy: AuditPolicy = POLICY) -> tuple[str, str] | None:
    """State and verdict of a single vulnerability."""
    found = audit({source: {"CVE-2026-0001": issue}}, policy=policy)
    assert len(found.hits) <= 1
    return (found.hits[0].state, found.hits[0].verdict) if found.hits else None


class TestInside:
    def test_each_source_has_the_packages_that_left_something_in_the_image(self) -> None:
        found = {(one.name, one.version): one for one in INSIDE.sources}
        tool = found["tool", builds.TOOL]
        assert [(part.name, part.paths) for part in tool.components] == [
            ("libtool1", ("usr/lib/libtool.so.1",)), ("tool", ("usr/bin/tool",)),
        ]  # fmt: skip
        assert found["quiet", "5"].components[0].paths == ("usr/lib/quiet.py", "usr/lib/quiet.pyc")
        assert INSIDE.outside == ("unused",)

    def test_the_kernel_counts_by_the_source_of_its_code_and_stub_and_firmware_count(self) -> None:
        found = {one.name: one for one in INSIDE.sources}
        assert (found["linux"].version, found["linux"].components[0].paths) == ("6.1.27-1", ("pluto.efi",))
        assert found["linux-signed-amd64"].version == "6.1.27+1"
        assert (found["systemd"].release, found["systemd"].components[0].paths) == ("trixie", ("pluto.efi",))
        assert found["edk2"].components[0].paths == ("firmware.fd",)
        assert "qemu" not in found, "the rest of the tools is in no image"

    def test_a_backport_is_a_version_of_unstable(self) -> None:
        (fresh,) = [one for one in INSIDE.sources if one.name == "fresh"]
        assert (fresh.version, fresh.release, fresh.compared) == ("3.0-1~bpo13+1", "sid", "3.0-1")

    def test_of_the_notary_s_own_lock_kernel_stub_and_firmware_are_found_and_all_else_by_its_files(self) -> None:
        lock = Lock.parse((NOTARY / "lock.json").read_bytes())
        recipe = table((NOTARY / "image.toml").read_bytes(), what="recipe")
        found = inside(lock, (), recipe)
        carried = {one.name: {part.paths for part in one.components} for one in found.sources}
        assert {"edk2", "linux", "linux-signed-amd64", "systemd"} == set(carried)
        assert carried["edk2"] == {("firmware.fd",)}
        assert carried["linux"] == carried["systemd"] == {("pluto.efi",)}
        assert len(found.outside) == len(lock.image) - 2

    def test_what_no_tracker_has_is_named(self) -> None:
        assert INSIDE.uncovered == ("coin 21.0 (Python wheel)", "the project's own files")

    @pytest.mark.parametrize("gone", ["kernel", "stub", "firmware"])
    def test_a_recipe_that_names_no_kernel_stub_or_firmware_is_an_error(self, gone: str) -> None:
        recipe = table(builds.RECIPE, what="recipe")
        del recipe[gone]
        with pytest.raises(FormatError, match=rf"\[{gone}\] names no package"):
            inside(builds.lock(), (), recipe)

    def test_a_firmware_that_is_not_locked_is_an_error(self) -> None:
        lock = builds.lock()
        without = Lock(1, "0" * 64, lock.archives, lock.image, (), (), ())
        with pytest.raises(FormatError, match="no package ovmf"):
            inside(without, (), table(builds.RECIPE, what="recipe"))


class TestStates:
    @pytest.mark.parametrize(
        ("issue", "expected"),
        [
            (builds.fixed("1:1.0-1+deb13u3"), ("fixable", "fail")),
            (builds.fixed("1:1.0-1+deb13u3", urgency="unimportant"), ("fixable", "fail")),
            (builds.fixed("1:1.0-1+deb13u10"), ("fixable", "fail")),
            (builds.fixed(builds.TOOL), None),
            (builds.fixed("1:1.0-1+deb13u1"), None),
            (builds.fixed("2.0"), None),  # an epoch is worth more
            (builds.fixed("0"), None),
            (builds.fixed("1:1.0-1+deb13u3", repositories={"trixie": builds.TOOL}), ("open", "fail")),
            (builds.issue(), ("open", "fail")),
            (builds.issue(urgency="medium**"), ("open", "fail")),
            (builds.issue(urgency="low"), ("open", "warning")),
            (builds.issue(urgency="not yet assigned"), ("open", "warning")),
            (builds.issue(nodsa="Minor issue", nodsa_reason=""), ("noDsa", "fail")),
            (builds.issue(nodsa="Minor issue"), ("noDsa", "fail")),
            (builds.issue(nodsa="Minor issue", urgency="medium"), ("noDsa", "warning")),
            (builds.issue(nodsa="", nodsa_reason="postponed"), ("postponed", "warning")),
            (builds.issue(nodsa="Not built", nodsa_reason="ignored"), ("ignored", "warning")),
            (builds.issue(status="undetermined"), ("undetermined", "fail")),
            (builds.issue(status="undetermined", urgency="low"), ("undetermined", "warning")),
            (builds.issue(status="resolved"), None),
            (builds.issue(status="resolved", repositories={"trixie": "1:1.0-1+deb13u3"}), ("undetermined", "fail")),
            (builds.issue("bookworm"), None),
        ],
    )
    def test_of_a_vulnerability(self, issue: dict[str, Any], expected: tuple[str, str] | None) -> None:
        assert one(issue) == expected

    def test_only_what_is_in_the_image_matters(self) -> None:
        found = audit({name: {"CVE-2026-0001": builds.issue()} for name in ("unused", "qemu", "elsewhere")})
        assert found.hits == ()
        assert found.accepted

    def test_a_backport_is_compared_with_unstable_and_no_lock_is_promised(self) -> None:
        assert one(builds.issue("sid", status="resolved", fixed_version="3.0-1"), "fresh") is None
        newer = builds.issue("sid", status="resolved", fixed_version="3.0-2", repositories={"sid": "3.0-2"})
        assert one(newer, "fresh") == ("open", "fail")
        stable = audit({"fresh": {"CVE-2000-0001": builds.issue("sid", fixed_version="0"),
                                  "CVE-2026-0001": builds.issue("trixie")}})  # fmt: skip
        assert stable.hits == (), "the release's own version is another one"

    def test_the_kernel_s_vulnerabilities_are_those_of_linux(self) -> None:
        assert one(builds.fixed("6.1.28-1"), "linux") == ("fixable", "fail")

    def test_a_policy_that_is_strict_lets_nothing_through_but_the_unimportant(self) -> None:
        assert one(builds.issue(urgency="low", nodsa="", nodsa_reason="ignored"), policy=STRICT) == ("ignored", "fail")
        assert one(builds.issue(urgency="unimportant"), policy=STRICT) == ("open", "warning")
        assert one(builds.fixed("1:2", urgency="unimportant"), policy=STRICT) == ("fixable", "fail")

    @pytest.mark.interop
    @settings(max_examples=40, deadline=None)
    @given(VERSIONS, VERSIONS)
    def test_dpkg_agrees_which_version_has_the_fix(self, installed: str, fixed: str) -> None:
        if shutil.which("dpkg") is None:
            pytest.skip("no peer: dpkg")
        source = Source("tool", installed, "trixie", installed, (Component("tool", installed, "all", ("x",)),))
        data = json.dumps({"tool": {"CVE-2026-0001": builds.fixed(fixed)}}).encode()
        (issue,) = tracker.parse(data, [("tool", "trixie")])["tool"]
        older = subprocess.run(["dpkg", "--compare-versions", installed, "lt", fixed], check=False).returncode == 0
        assert (state_of(source, issue) is not None) == (older and fixed != "0")


class TestFindings:
    def test_an_image_without_known_vulnerabilities_is_accepted(self) -> None:
        found = audit(lists=(builds.rebuilds(("tool", builds.TOOL, "GOOD")),))
        assert found.accepted
        assert verdicts(found) == {
            "tracker.age": "pass", "tracker.release": "pass", "cve.refused": "pass", "rebuild.bad": "pass",
            "rebuild.unknown": "warning",
        }  # fmt: skip

    def test_the_refused_ones_come_first_and_are_counted(self) -> None:
        found = audit({
            "edk2": {"CVE-2026-0009": builds.issue(urgency="low")},
            "tool": {"CVE-2026-0002": builds.issue(), "CVE-2026-0001": builds.fixed("1:2")},
        })  # fmt: skip
        assert [hit.issue.id for hit in found.hits] == ["CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0009"]
        (finding,) = [one for one in found.findings if one.id == "cve.refused"]
        assert (finding.verdict, finding.actual) == ("fail", 2)
        assert "in tool; a newer lock would fix 1" in finding.text

    @pytest.mark.parametrize(
        ("ago", "verdict"),
        [
            (timedelta(0), "pass"),
            (timedelta(days=2), "pass"),
            (timedelta(days=2, seconds=1), "fail"),
            (timedelta(seconds=-300), "pass"),
            (timedelta(seconds=-301), "fail"),
        ],
    )
    def test_old_data_and_data_of_the_future_are_refused(self, ago: timedelta, verdict: str) -> None:
        for known_by in ("fetch", "option", "file"):
            by: Literal["fetch", "option", "file"] = known_by
            assert verdicts(audit(seen=Sighting(NOW - ago, by)))["tracker.age"] == verdict

    def test_an_age_that_does_not_matter_is_spelled(self) -> None:
        policy = AuditPolicy.parse(builds.POLICY.replace("maxTrackerAge = 172800", 'maxTrackerAge = "any"'))
        assert audit(seen=Sighting(NOW - timedelta(days=900), "file"), policy=policy).accepted

    @pytest.mark.parametrize(
        "data", [b"{}", b'{"tool": {}}', builds.tracker({"systemd": {}}), builds.tracker({"fresh": {}})]
    )
    def test_data_that_never_speaks_of_the_release_is_refused(self, data: bytes) -> None:
        found = audit(data=data)
        assert verdicts(found)["tracker.release"] == "fail"
        assert not found.accepted

    def test_data_that_is_older_than_the_lock_is_noted(self) -> None:
        behind = builds.issue(
            status="resolved", fixed_version="1", repositories={"trixie": "1:0.9", "trixie-security": "1:0.9"}
        )
        found = audit({"tool": {"CVE-2026-0001": behind}})
        assert verdicts(found)["tracker.behind"] == "warning"
        assert "tool" in next(one.text for one in found.findings if one.id == "tracker.behind")


class TestAcceptances:
    def policy(self, until: str, cve: str = "CVE-2026-0001", source: str = "tool") -> AuditPolicy:
        line = f'accepted = [{{ cve = "{cve}", source = "{source}", reason = "not reachable", until = {until} }}]'
        return AuditPolicy.parse(builds.POLICY.replace("accepted = []", line))

    def test_one_that_was_looked_at_is_let_through_with_its_reason(self) -> None:
        found = audit({"tool": {"CVE-2026-0001": builds.issue()}}, policy=self.policy("2026-11-26T12:00:01Z"))
        assert (found.hits[0].verdict, found.hits[0].why) == ("accepted", "not reachable")
        assert found.accepted
        assert "accepted.expired" not in verdicts(found)

    def test_it_ends_at_the_very_second_and_says_so(self) -> None:
        found = audit({"tool": {"CVE-2026-0001": builds.issue()}}, policy=self.policy("2026-11-26T12:00:00Z"))
        assert (found.hits[0].verdict, found.hits[0].why) == ("fail", "its acceptance ended at 2026-11-26T12:00:00Z")
        assert verdicts(found)["accepted.expired"] == "warning"
        assert not found.accepted

    @pytest.mark.parametrize(("cve", "source"), [("CVE-2026-0002", "tool"), ("CVE-2026-0001", "edk2")])
    def test_it_is_for_one_vulnerability_of_one_source(self, cve: str, source: str) -> None:
        policy = self.policy("2027-01-01T00:00:00Z", cve, source)
        found = audit({"tool": {"CVE-2026-0001": builds.issue()}}, policy=policy)
        assert found.hits[0].verdict == "fail"
        assert verdicts(found)["accepted.unused"] == "warning"


class TestRebuilders:
    def test_a_package_that_could_not_be_made_again_refuses_by_policy(self) -> None:
        lists = (builds.rebuilds(("tool", builds.TOOL, "BAD")),)
        found = audit(lists=lists)
        assert verdicts(found)["rebuild.bad"] == "fail"
        assert [one.component.name for one in found.rebuilds if one.refused] == ["tool"]
        lenient = AuditPolicy.parse(builds.POLICY.replace('bad = "refuse"', 'bad = "accept"'))
        assert audit(lists=lists, policy=lenient).accepted

    def test_one_good_word_does_not_outweigh_a_bad_one(self) -> None:
        lists = (
            builds.rebuilds(("tool", builds.TOOL, "GOOD")),
            builds.rebuilds(("tool", builds.TOOL, "BAD"), suite="sid"),
        )
        found = audit(lists=lists)
        assert [(one.word, one.disputed) for one in found.rebuilds if one.component.name == "tool"] == [("bad", True)]
        assert "tool (disputed)" in next(one.text for one in found.findings if one.id == "rebuild.bad")

    def test_another_version_or_architecture_says_nothing(self) -> None:
        lists = (
            builds.rebuilds(("tool", "1:9", "BAD")),
            builds.rebuilds(("tool", builds.TOOL, "BAD"), architecture="all"),
        )
        assert {one.word for one in audit(lists=lists).rebuilds} == {"unknown"}

    def test_not_asking_is_not_knowing(self) -> None:
        strict = AuditPolicy.parse(builds.POLICY.replace('unknown = "accept"', 'unknown = "refuse"'))
        assert verdicts(audit(policy=strict))["rebuild.unknown"] == "fail"
        assert verdicts(audit())["rebuild.unknown"] == "warning"
        lists = (builds.rebuilds(("tool", builds.TOOL, "UNKWN")),)
        assert verdicts(audit(lists=lists, policy=strict))["rebuild.unknown"] == "fail"

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"BAD"', '"bad"'),
            ('"debian"', '"archlinux"'),
            ('"status"', '"state"'),
            ('"version": "', '"version": 1, "x": "'),
            ("[", "{"),
            ("[{", "[[], {"),
        ],
    )
    def test_a_list_of_another_form_is_an_error(self, old: str, new: str) -> None:
        text = builds.rebuilds(("tool", builds.TOOL, "BAD")).decode()
        assert old in text
        with pytest.raises(FormatError):
            rebuilders.parse([text.replace(old, new).encode()], [])
