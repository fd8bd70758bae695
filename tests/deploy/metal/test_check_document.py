"""The probe's document: one that is right is read whole, and nothing else than a FormatError comes of another."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_deploy.metal import profiles
from pluto_deploy.metal.check import findings, report
from pluto_deploy.metal.check.document import LIMIT, parse_facts
from pluto_measure.errors import FormatError
from simulators.host_trees import GOOD, PPID, REGISTERS, changed

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANY = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))
HETZNER = profiles.by_name("hetzner")


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value within a document."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, one in value.items():
            yield from places(one, (*path, name))
    if isinstance(value, list):
        for at, one in enumerate(value):
            yield from places(one, (*path, at))


PLACES = list(places(GOOD))


def judged_or_refused(text: str) -> None:
    """Whatever is read is judged and shown; whatever is not is a FormatError."""
    try:
        facts = parse_facts(text)
    except FormatError:
        return
    found = findings.judge(facts, HETZNER)
    assert found
    assert findings.readiness(found) in ("ready", "preparable", "refused")
    shown = report.text("metal", found)
    assert all(line.isprintable() for line in shown.splitlines())
    json.dumps(report.document("metal", "hetzner", found))


def test_a_good_document_is_read_whole() -> None:
    facts = parse_facts(json.dumps(GOOD).encode())
    assert facts.processor.flags == frozenset(GOOD["processor"]["flags"])
    assert facts.registers.values == REGISTERS
    assert facts.registers.bits(0x87, 63, 32) == 63
    assert facts.registers.bits(0x982, 63, 48) == 1
    assert facts.registers.bits(0x10, 1, 0) is None
    assert facts.kernel.parameters == ("nohibernate", "kvm_intel.tdx=1")
    assert facts.devices["net/tun"] is not None
    assert facts.quoting.platform == "aa" * 16
    assert facts.provisioning.ppid == PPID
    assert facts.memory.modules == (65536,) * 16


@given(place=st.sampled_from(PLACES), value=ANY)
def test_anything_in_any_place_is_judged_or_refused(place: tuple[str | int, ...], value: Any) -> None:
    document: Any = copy.deepcopy(GOOD)
    target = document
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    judged_or_refused(json.dumps(document))


@given(value=ANY)
def test_any_json_is_judged_or_refused(value: Any) -> None:
    judged_or_refused(json.dumps(value))


@given(data=st.binary(max_size=200))
@settings(max_examples=50)
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_facts(data)


@pytest.mark.parametrize("place", [place for place in PLACES if isinstance(place[-1], str)])
def test_a_missing_member_is_refused(place: tuple[str, ...]) -> None:
    document: Any = copy.deepcopy(GOOD)
    target = document
    for step in place[:-1]:
        target = target[step]
    del target[place[-1]]
    free = place[0] in ("devices", "services") and len(place) == 2
    free |= place[:2] in (("kernel", "config"), ("registers", "values")) and len(place) == 3
    if free:  # names of the host's: one that is not there was not seen
        parse_facts(json.dumps(document))
    else:
        with pytest.raises(FormatError):
            parse_facts(json.dumps(document))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 2),
        ("version", True),
        ("processor.model", -1),
        ("processor.model", 1 << 70),
        ("processor.name", "x" * 401),
        ("processor.flags", ["x"] * 513),
        ("processor.flags", [1]),
        ("registers.state", "odd"),
        ("registers.values", {"0x87": "00"}),
        ("registers.values", {"0x87": "g" * 16}),
        ("registers.values", {"0x87": 7}),
        ("registers.values", {"-0x87": "0" * 16}),
        ("registers.values", {"0x" + "9" * 5000: "0" * 16}),
        ("registers.values", {f"{number:#x}": None for number in range(600)}),
        ("kernel.config", {"INTEL_TDX_HOST": 1}),
        ("kernel.hibernation", 0),
        ("devices.kvm", {"kind": "door", "mode": 0, "owner": "", "group": ""}),
        ("quotes.answer", {"state": "answered"}),
        ("quotes.answer", {"state": "absent", "code": 1}),
        ("provisioning.certificate.ppid", "0F" * 16),
        ("provisioning.answer.tls", "perhaps"),
        ("memory.modules", [-1]),
        ("memory.modules", [True]),
        ("nft", None),
    ],
)
def test_wrong_values_are_refused(path: str, value: object) -> None:
    with pytest.raises(FormatError):
        parse_facts(json.dumps(changed((path, value))))


def test_unknown_members_and_too_much_are_refused() -> None:
    with pytest.raises(FormatError, match="unknown member more"):
        parse_facts(json.dumps({**GOOD, "more": 1}))
    with pytest.raises(FormatError, match="more than"):
        parse_facts(json.dumps(GOOD) + " " * LIMIT)


def test_what_does_not_print_is_replaced() -> None:
    facts = parse_facts(json.dumps(changed(("system.product", "a\x1b[2Jb\nc"))))
    assert facts.system.product == "a?[2Jb?c"
