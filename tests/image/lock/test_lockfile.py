"""lock.json: one text per lock, strictly read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pluto_image.definition import load
from pluto_image.lock.lockfile import Derived, Index, Lock, LockedArchive, Package, Wheel, script_changes, with_derived
from pluto_measure.errors import FormatError

DEFINITION = Path(__file__).parents[3] / "image/notary"
HEX = "ab" * 32


def package(name: str, **changes: Any) -> Package:
    plain = Package(name, "1.0-1", "amd64", 3, HEX, "cd" * 20, "pool/a.deb", "main", name, "1.0-1", {"postinst": HEX})
    return replace(plain, **changes)


def lock() -> Lock:
    return Lock(
        version=1,
        definition_digest=HEX,
        archives=(
            LockedArchive(
                "main", "trixie", "debian", "2026-09-01T00:00:00Z", 9, HEX, (HEX,), (Index("main/x", 1, HEX),)
            ),
        ),
        image=(package("aa"), package("bb", scripts={})),
        tools=(package("cc"),),
        wheels=(Wheel("w", "1", "w-1-py3-none-any.whl", 5, HEX),),
        derived=(Derived("code", 7, HEX, HEX),),
    )


def test_a_lock_survives_its_text_and_has_one_text() -> None:
    text = lock().to_text()
    assert Lock.parse(text) == lock()
    assert Lock.parse(text.encode()).to_text() == text


def test_the_digest_does_not_depend_on_white_space_or_order_of_members() -> None:
    document = json.loads(lock().to_text())
    shuffled = json.dumps({key: document[key] for key in sorted(document, reverse=True)})
    assert Lock.parse(shuffled).digest == lock().digest


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d.update(version=2), "version 2 is not known"),
        (lambda d: d.update(more=1), "unknown member more"),
        (lambda d: d.pop("tools"), "tools is missing"),
        (lambda d: d["image"].reverse(), "not sorted"),
        (lambda d: d["image"].append(d["image"][1]), "holds a name twice"),
        (lambda d: d["image"][0].update(sha256=HEX.upper()), "lower-case hex"),
        (lambda d: d["image"][0].update(sha256=HEX[2:]), "lower-case hex"),
        (lambda d: d["image"][0].update(size=-1), "out of range"),
        (lambda d: d["image"][0].update(size=True), "size must be int"),
        (lambda d: d["image"][0].update(path="../x"), "malformed"),
        (lambda d: d["image"][0].update(path="http://host/x y"), "malformed"),
        (lambda d: d["image"][0].update(version="1 2"), "Debian version"),
        (lambda d: d["image"][0].update(scripts={"evil": HEX}), "unknown maintainer script"),
        (lambda d: d["image"][0].update(scripts={"postinst": 1}), "hex"),
        (lambda d: d["image"][0].update(archive="nowhere"), "not locked"),
        (lambda d: d["image"][0].update(note=""), "unknown member note"),
        (lambda d: d["archives"][0].update(signedBy=[1]), "fingerprints"),
        (lambda d: d["archives"][0].update(releaseSha256=""), "hex"),
        (lambda d: d["archives"][0].update(date="yesterday"), "date 'yesterday' is malformed"),
        (lambda d: d.update(image={}), "must be list"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[Any], Any], problem: str) -> None:
    document = json.loads(lock().to_text())
    change(document)
    with pytest.raises(FormatError, match=problem):
        Lock.parse(json.dumps(document))


def test_a_derived_input_replaces_that_of_its_name() -> None:
    found = with_derived(lock(), [Derived("code", 8, HEX, HEX), Derived("a", 1, HEX, HEX)])
    assert [(one.name, one.size) for one in found.derived] == [("a", 1), ("code", 8)]


def test_changed_new_and_vanished_scripts_are_listed() -> None:
    old = [package("aa"), package("bb", scripts={"prerm": HEX}), package("same")]
    new = [package("aa", scripts={"postinst": "cd" * 32}), package("bb", scripts={}), package("same"), package("zz")]
    assert script_changes(old, new) == (("aa", "postinst"), ("bb", "prerm"), ("zz", "postinst"))


def test_the_tools_digest_depends_on_the_tools_alone() -> None:
    assert replace(lock(), image=()).tools_digest == lock().tools_digest
    assert replace(lock(), tools=()).tools_digest != lock().tools_digest


def test_the_lock_in_the_repository_fits_the_definition_and_its_limits() -> None:
    found = Lock.parse((DEFINITION / "lock.json").read_bytes())
    assert found.definition_digest == load(DEFINITION).lock_digest.hex()
    assert found.to_text() == (DEFINITION / "lock.json").read_text()
    assert len(found.image) <= 80
    assert not {"bash", "dash", "perl-base", "dbus", "kmod", "coreutils", "openssl"} & {one.name for one in found.image}
    assert found.package("systemd").version.startswith("257.")
