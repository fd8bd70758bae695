"""Platform inputs: every spelling of INPUT, ACPI blobs, and what is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.machine.inputs import BLOBS, Acpi, Input

FILES = {"tables.bin": b"tables", "empty": b""}
KNOWN = Digests.of(b"known")
SHA384 = KNOWN.sha384.hex()


def read(name: str) -> bytes:
    return FILES[name]


def parse(value: object) -> Input:
    return Input.parse(value, read, what="acpi.loader")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SHA384, Input(Digests(b"", KNOWN.sha384))),
        ({"sha384": SHA384}, Input(Digests(b"", KNOWN.sha384))),
        ({"sha256": KNOWN.sha256.hex()}, Input(Digests(KNOWN.sha256, b""))),
        (KNOWN.to_json(), Input(KNOWN)),
        ({"file": "tables.bin"}, Input(Digests.of(b"tables"), b"tables")),
        ({"file": "empty"}, Input(Digests.of(b""), b"")),
        ({"base64": "a25vd24="}, Input(KNOWN, b"known")),
        ({"base64": ""}, Input(Digests.of(b""), b"")),
    ],
)
def test_each_spelling_of_an_input(value: object, expected: Input) -> None:
    assert parse(value) == expected


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_content_is_kept_with_its_digests(content: bytes) -> None:
    found = parse({"base64": base64.b64encode(content).decode()})
    assert found == Input.of(content)
    assert found.bytes_of("blob") == content
    assert found.digests == Digests.of(content)


def test_an_input_that_is_known_by_digest_has_no_content() -> None:
    with pytest.raises(FormatError, match="smbios: is given by its digest"):
        parse(SHA384).bytes_of("smbios")
    assert parse({"file": "empty"}).bytes_of("empty") == b""


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "must be 96 lower-case hex digits"),
        (SHA384[:-2], "must be 96 lower-case hex digits"),
        (SHA384.upper(), "must be 96 lower-case hex digits"),
        (KNOWN.sha256.hex(), "must be 96 lower-case hex digits"),
        ("x" * 96, "not hex"),
        (None, "must be an object, not NoneType"),
        (5, "must be an object, not int"),
        (True, "must be an object, not bool"),
        ([], "must be an object, not list"),
        ({}, "has neither sha256 nor sha384"),
        ({"sha384": SHA384[1:]}, "not hex"),
        ({"sha256": SHA384}, "acpi.loader.sha256: must be 64 lower-case hex digits"),
        ({"sha1": "00" * 20}, "unknown member sha1"),
        ({"sha384": SHA384, "size": 5}, "unknown member size"),
        ({"sha384": 5}, "sha384 must be str, not int"),
        ({"file": "tables.bin", "base64": ""}, "has both a file and base64"),
        ({"file": "tables.bin", "sha384": SHA384}, "unknown member sha384"),
        ({"base64": "", "sha384": SHA384}, "unknown member sha384"),
        ({"file": 5}, "file must be str, not int"),
        ({"file": None}, "file must be str, not NoneType"),
        ({"base64": b""}, "base64 must be str, not bytes"),
        ({"base64": "a25vd24"}, "is not base64"),
        ({"base64": "a25v\nd24="}, "is not base64"),
        ({"base64": "a25v d24="}, "is not base64"),
        ({"base64": "a25vd24é"}, "is not base64"),
        ({"base64": "\ud800"}, "is not base64"),
    ],
)
def test_what_is_no_input_is_refused(value: object, problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        parse(value)
    assert str(caught.value).startswith("acpi.loader")


def test_the_blobs_are_those_of_the_loader_script_in_its_order() -> None:
    assert list(BLOBS.items()) == [
        ("loader", "etc/table-loader"),
        ("rsdp", "etc/acpi/rsdp"),
        ("tpmLog", "etc/tpm/log"),
        ("tables", "etc/acpi/tables"),
    ]


def test_blobs_come_in_the_order_of_the_events_whatever_the_file_says() -> None:
    value = {"tables": {"file": "tables.bin"}, "tpmLog": SHA384, "rsdp": {"base64": "a25vd24="}, "loader": SHA384}
    acpi = Acpi.parse(value, read, what="acpi")
    assert list(acpi.blobs.items()) == [
        ("loader", Digests(b"", KNOWN.sha384)),
        ("rsdp", KNOWN),
        ("tpmLog", Digests(b"", KNOWN.sha384)),
        ("tables", Digests.of(b"tables")),
    ]
    assert Acpi.parse(acpi.to_json(), read, what="acpi") == acpi
    assert acpi.to_json()["rsdp"] == KNOWN.to_json()


def test_a_machine_without_a_tpm_has_three_blobs() -> None:
    acpi = Acpi.parse(dict.fromkeys(("loader", "rsdp", "tables"), SHA384), read, what="acpi")
    assert list(acpi.blobs) == ["loader", "rsdp", "tables"]


@pytest.mark.parametrize("missing", ["loader", "rsdp", "tables"])
def test_a_blob_that_is_not_there_is_named(missing: str) -> None:
    value = {name: SHA384 for name in BLOBS if name != missing}
    with pytest.raises(FormatError, match=f"acpi: {missing} is missing"):
        Acpi.parse(value, read, what="acpi")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dsdt": SHA384}, "acpi: unknown member dsdt"),
        ({"loader": 5}, "acpi: loader must be str or dict, not int"),
        ({"loader": None}, "acpi: loader must be str or dict, not NoneType"),
        ({"rsdp": "00"}, "acpi.rsdp: must be 96 lower-case hex digits"),
        ({"tables": {"file": "tables.bin", "base64": ""}}, "acpi.tables: has both"),
    ],
)
def test_what_are_no_blobs_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Acpi.parse(dict.fromkeys(("loader", "rsdp", "tables"), SHA384) | change, read, what="acpi")
    with pytest.raises(FormatError, match="acpi: must be an object, not list"):
        Acpi.parse([], read, what="acpi")
