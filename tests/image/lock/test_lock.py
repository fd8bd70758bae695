"""Locking against archives that the test signs, from a mirror on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pluto_image.errors import SignatureRefusedError, UnacknowledgedError, UnavailableError, UnresolvableError
from pluto_image.inputs.store import Store
from pluto_image.lock import making
from pluto_image.lock.lockfile import Derived, Lock, with_derived
from pluto_measure.errors import FormatError, SourceError
from simulators.debian_mirror import FakeDeb, Misbehaviour, Signer
from simulators.debian_world import NOW, World, app, lib, tool, world

DAY = timedelta(days=1)


@pytest.fixture
def tiny(tmp_path: Path, signer: Signer) -> Iterator[World]:
    with world(tmp_path, signer) as made:
        yield made


def versions(lock: Lock) -> dict[str, str]:
    return {one.name: one.version for one in (*lock.image, *lock.tools)}


def test_a_lock_holds_hashes_sizes_sources_and_script_digests(tiny: World) -> None:
    tiny.main[0] = app(scripts={"postinst": b"#!/bin/sh\n"})
    tiny.publish()
    found = tiny.lock()
    package = found.lock.package("app")
    data = tiny.main[0].data()
    assert (package.size, package.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert package.sha1 == hashlib.sha1(data).hexdigest()
    assert package.scripts == {"postinst": hashlib.sha256(b"#!/bin/sh\n").hexdigest()}
    assert (found.lock.package("tool").source, found.lock.package("tool").source_version) == ("tools", "0.9")
    assert [one.name for one in found.lock.image] == ["app", "lib"]
    assert [one.excluded for one in found.waived] == ["shell"]
    assert {one.signed_by for one in found.lock.archives} == {(tiny.signer.fingerprint,)}
    assert Lock.parse(found.lock.to_text()) == found.lock


def test_the_same_archives_give_the_same_lock(tiny: World, tmp_path: Path) -> None:
    first = tiny.lock()
    tiny.store = Store(tmp_path / "another")
    assert tiny.lock(at=NOW + DAY).lock.to_text() == first.lock.to_text()


def test_versions_are_compared_across_archives(tiny: World) -> None:
    tiny.security = [lib("1.1")]
    tiny.main.append(tool("0.9"))
    tiny.publish()
    assert versions(tiny.lock().lock) == {"app": "1.0", "lib": "1.1", "tool": "1.0"}
    assert tiny.lock().lock.package("lib").archive == "security"


def test_without_update_locked_versions_are_kept_while_they_are_offered(tiny: World) -> None:
    old = tiny.lock().lock
    tiny.security = [lib("1.1")]
    tiny.publish()
    assert versions(tiny.lock(old=old, update=False).lock)["lib"] == "1.0"
    assert versions(tiny.lock(old=old).lock)["lib"] == "1.1"
    tiny.main[1] = lib("1.2")
    tiny.publish()
    assert versions(tiny.lock(old=old, update=False).lock)["lib"] == "1.2"


def test_changed_scripts_must_be_acknowledged_by_name(tiny: World) -> None:
    old = tiny.lock().lock
    tiny.main[0] = app("1.1", scripts={"postinst": b"new"})
    tiny.main[1] = lib("1.1", scripts={"prerm": b"new"})
    tiny.publish()
    with pytest.raises(UnacknowledgedError) as refused:
        tiny.lock(old=old, acknowledged=["lib"])
    assert refused.value.changes == ["app postinst"]
    assert refused.value.exit_code == 5
    assert tiny.lock(old=old, acknowledged=["lib", "app"]).script_changes == (("app", "postinst"), ("lib", "prerm"))
    assert versions(tiny.lock(old=old, acknowledged=["all"]).lock)["app"] == "1.1"


def test_scripts_of_tools_need_no_acknowledgement_since_none_runs(tiny: World) -> None:
    old = tiny.lock().lock
    tiny.main[2] = replace(tool("1.1"), scripts={"postinst": b"new"})
    tiny.publish()
    assert tiny.lock(old=old).script_changes == ()


def test_derived_inputs_stay_only_while_the_image_does(tiny: World) -> None:
    old = with_derived(tiny.lock().lock, [Derived("code", 1, "ab" * 32, "cd" * 32)])
    tiny.main[2] = tool("1.1")
    tiny.publish()
    assert tiny.lock(old=old).lock.derived == old.derived
    tiny.main[1] = lib("1.1")
    tiny.publish()
    assert tiny.lock(old=old).lock.derived == ()


def test_a_stale_exclude_is_noted(tiny: World) -> None:
    tiny.main[0] = FakeDeb("app", "1.0", {"Depends": "lib"})
    tiny.publish()
    assert tiny.lock().notes == ("image: nothing asks for the excluded shell",)


def test_an_archive_signed_by_a_stranger_is_refused(tiny: World) -> None:
    tiny.signer = Signer()
    tiny.publish()
    with pytest.raises(SignatureRefusedError, match="archive main: not signed"):
        tiny.lock()


def test_an_unsigned_archive_is_refused(tiny: World) -> None:
    path = "debian-security/dists/trixie-security/InRelease"
    tiny.mirror.files[path] = b"Suite: trixie-security\n"
    with pytest.raises(SignatureRefusedError, match="archive security"):
        tiny.lock()


def test_expired_future_and_rolled_back_archives_are_refused(tiny: World) -> None:
    with pytest.raises(SignatureRefusedError, match="expired"):
        tiny.lock(at=NOW + 10 * DAY)
    with pytest.raises(SignatureRefusedError, match="future"):
        tiny.lock(at=NOW - 10 * DAY)
    old = tiny.lock().lock
    tiny.publish(NOW - 2 * DAY)
    with pytest.raises(SignatureRefusedError, match="older than the locked"):
        tiny.lock(old=old)


def test_one_suite_in_the_place_of_another_is_refused(tiny: World) -> None:
    files = tiny.mirror.files
    files["debian/dists/trixie/InRelease"] = files["debian-security/dists/trixie-security/InRelease"]
    with pytest.raises(FormatError, match="is of suite 'trixie-security'"):
        tiny.lock()


def test_an_index_that_the_release_does_not_list_is_refused(tiny: World) -> None:
    path = next(path for path in tiny.mirror.files if "debian/dists" in path and "by-hash" in path)
    tiny.mirror.bad[path] = Misbehaviour.GARBAGE
    with pytest.raises(UnavailableError, match="wrong content"):
        tiny.lock()


def test_a_package_that_the_index_does_not_describe_is_refused(tiny: World) -> None:
    tiny.mirror.bad[f"debian/{lib().path}"] = Misbehaviour.GARBAGE
    with pytest.raises(UnavailableError, match="wrong content"):
        tiny.lock()


def test_a_package_that_names_itself_otherwise_is_refused(tiny: World) -> None:
    honest = lib()

    class Liar(FakeDeb):
        def data(self) -> bytes:
            return FakeDeb("bil", "1.0").data()

    tiny.main[1] = Liar(honest.name, honest.version, honest.fields, honest.files)
    tiny.publish()
    with pytest.raises(FormatError, match=r"says that it is bil 1\.0 amd64"):
        tiny.lock()


def test_a_wish_that_no_archive_grants_is_named(tiny: World) -> None:
    tiny.main[0] = FakeDeb("app", "1.0", {"Depends": "lib (>= 7)"})
    tiny.publish()
    with pytest.raises(UnresolvableError, match=r"lib \(>= 7\) \(wanted by app < the definition\)"):
        tiny.lock()


def test_no_known_mirror_is_said_with_what_helps(tiny: World) -> None:
    with pytest.raises(SourceError, match="no mirror is known") as failed:
        making.make(tiny.definition, tiny.folder / "keys", tiny.store, replace(tiny.sources, mirrors={}), at=NOW)
    assert failed.value.hint is not None
    assert "--mirror" in failed.value.hint


class TestEvidence:
    """A lock is proven again from its evidence, whatever the date."""

    @staticmethod
    def check(tiny: World, lock: Lock, evidence: dict[str, bytes]) -> int:
        return making.check_evidence(tiny.definition, lock, tiny.folder / "keys", evidence, tiny.store)

    def test_a_good_lock_is_proven_after_its_release_files_expired(self, tiny: World) -> None:
        made = tiny.lock()
        assert self.check(tiny, made.lock, dict(made.evidence)) == 3

    def test_a_forged_entry_is_found(self, tiny: World) -> None:
        made = tiny.lock()
        forged = replace(made.lock.image[0], sha256="ab" * 32)
        with pytest.raises(FormatError, match=r"app 1\.0 is not in the index of main"):
            self.check(tiny, replace(made.lock, image=(forged, *made.lock.image[1:])), dict(made.evidence))

    @pytest.mark.parametrize("forged", [{"sha1": "ab" * 20}, {"scripts": {}}, {"scripts": {"postinst": "ab" * 32}}])
    def test_a_forged_snapshot_address_or_script_digest_is_found(self, tiny: World, forged: dict[str, Any]) -> None:
        tiny.main[0] = app("1.0", scripts={"postinst": b"echo"})
        tiny.publish()
        made = tiny.lock()
        packages = (replace(made.lock.image[0], **forged), *made.lock.image[1:])
        with pytest.raises(FormatError, match="SHA-1 or scripts of app"):
            self.check(tiny, replace(made.lock, image=packages), dict(made.evidence))

    def test_other_evidence_than_was_locked_is_found(self, tiny: World) -> None:
        made = tiny.lock()
        with pytest.raises(FormatError, match="not the file that was locked"):
            self.check(tiny, made.lock, {**made.evidence, "main": made.evidence["security"]})
        with pytest.raises(FormatError, match="not the file that was locked"):
            self.check(tiny, made.lock, {})

    def test_an_index_that_the_evidence_does_not_list_is_found(self, tiny: World) -> None:
        made = tiny.lock()
        entry = made.lock.archives[0]
        wrong = replace(entry, indexes=(replace(entry.indexes[0], sha256="ab" * 32),))
        with pytest.raises(FormatError, match="does not list"):
            self.check(tiny, replace(made.lock, archives=(wrong, *made.lock.archives[1:])), dict(made.evidence))

    def test_evidence_signed_by_a_stranger_is_refused(self, tiny: World) -> None:
        made = tiny.lock()
        tiny.signer = Signer()
        tiny.publish()
        data = tiny.mirror.files["debian/dists/trixie/InRelease"]
        entry = replace(made.lock.archives[0], release_sha256=hashlib.sha256(data).hexdigest())
        with pytest.raises(SignatureRefusedError):
            self.check(
                tiny,
                replace(made.lock, archives=(entry, *made.lock.archives[1:])),
                {**made.evidence, "main": data},
            )
