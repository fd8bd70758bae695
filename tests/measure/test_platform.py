"""Platform files: what is accepted, in its one spelling, and what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.platform import Platform, SecureBoot, parse_digests, parse_size

KEY = {"base64": base64.b64encode(b"key").decode()}


def read(name: str) -> bytes:
    return {"OVMF.fd": b"firmware"}[name]


def parse(**members: Any) -> Platform:
    return Platform.parse(json.dumps({"platform": "qemu-vtpm", **members}), read)


def test_what_is_missing_has_a_default_and_the_default_is_spelled_out() -> None:
    platform = parse()
    assert platform == Platform()
    assert platform.to_json() == {
        "platform": "qemu-vtpm",
        "vmm": "qemu",
        "vmmVersion": "10.1",
        "machineType": "pc-q35-10.1",
        "firmware": None,
        "cpus": 2,
        "memory": 1 << 30,
        "boot": "uki-kernel",
        "secureBoot": {"state": "absent"},
    }


def test_every_member_is_read() -> None:
    platform = parse(
        vmm="qemu",
        vmmVersion="11.1.3",
        machineType="pc-q35-11.1",
        firmware={"file": "OVMF.fd"},
        cpus=4,
        memory="524288M",
        boot="disk",
        secureBoot={"state": "on", "PK": KEY, "KEK": KEY, "db": KEY, "dbx": KEY},
    )
    assert platform.memory == 512 << 30
    assert platform.firmware == Digests.of(b"firmware")
    assert platform.secure_boot == SecureBoot("on", dict.fromkeys(("PK", "KEK", "db", "dbx"), b"key"))
    assert platform.to_json()["secureBoot"] == {
        "state": "on",
        **dict.fromkeys(("PK", "KEK", "db", "dbx"), Digests.of(b"key").to_json()),
    }


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"platform": "gcp-tdx"}, "'gcp-tdx' is not known"),
        ({"boot": "direct"}, "boot 'direct' is not one of"),
        ({"cpus": 0}, "0 vCPUs"),
        ({"cpus": True}, "cpus must be int"),
        ({"memory": 0}, "memory of 0 bytes"),
        ({"memory": "1g"}, "is not digits with K, M, G or T"),
        ({"smbios": {}}, "unknown member smbios"),
        ({"secureBoot": {"state": "maybe"}}, "secureBoot.state 'maybe'"),
        ({"secureBoot": {"state": "on", "PK": KEY, "KEK": KEY}}, "db is missing"),
        ({"secureBoot": {"state": "absent", "PK": KEY}}, "absent, but variables are given"),
        ({"secureBoot": {"state": "off", "MOK": KEY}}, "unknown member MOK"),
        ({"secureBoot": {"state": "off", "db": {"sha256": "00"}}}, "unknown member sha256"),
        ({"secureBoot": {"state": "off", "db": {}}}, "must be {file} or {base64}"),
        ({"secureBoot": {"state": "off", "db": {"base64": "!"}}}, "not base64"),
        ({"secureBoot": {}}, "state is missing"),
        ({"firmware": "OVMF.fd"}, "firmware must be dict"),
    ],
)
def test_what_cannot_be_predicted_or_is_not_known_is_refused(members: dict[str, Any], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        parse(**members)


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("1K", 1024), ("2M", 2 << 20), ("1G", 1 << 30), ("1T", 1 << 40)])
def test_sizes_are_binary(text: str, size: int) -> None:
    assert parse_size(text) == parse_size(size) == size


def test_an_input_may_be_given_by_its_digests_where_only_these_count() -> None:
    digests = Digests.of(b"firmware")
    assert parse_digests(digests.to_json(), read) == parse_digests({"file": "OVMF.fd"}, read) == digests
    with pytest.raises(FormatError, match="must be 64 lower-case hex digits"):
        parse_digests({"sha256": "00", "sha384": "00"}, read)
