"""measurements.json: round trip, rules, and files that are at odds with themselves."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib import resources
from typing import Any

import jsonschema
import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from pluto_measure.registers.replay import ima_boot_aggregate, initial
from pluto_measure.registers.rules import RegisterRule
from simulators.launches import LAUNCH

A = Digests.of(b"a")
MEASUREMENTS = measure(LAUNCH, Platform())
PROFILE = MEASUREMENTS.profiles[0]


def test_what_is_written_is_read() -> None:
    text = MEASUREMENTS.to_text()
    assert Measurements.parse(text) == MEASUREMENTS
    assert Measurements.parse(text).to_text() == text


def test_the_file_follows_its_schema() -> None:
    schema = json.loads((resources.files("pluto_measure") / "schemas/measurements.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(MEASUREMENTS.to_json(), schema)


def test_every_pcr_has_a_rule_and_the_fixed_ones_are_exact_or_zero() -> None:
    matches = {name: rule.match for name, rule in PROFILE.registers.items()}
    assert len(matches) == 24
    exact = {f"pcr{i}" for i in (2, 3, 4, 5, 6, 7, 9, 11, *range(17, 23))}
    assert {name for name, match in matches.items() if match == "exact"} == exact
    assert {name for name, match in matches.items() if match == "replay"} == {"pcr0", "pcr1", "pcr10"}
    assert {name for name, match in matches.items() if match == "zero"} == {
        f"pcr{i}" for i in (8, 12, 13, 14, 15, 16, 23)
    }
    assert PROFILE.registers["pcr17"].values[0]["sha256"] == b"\xff" * 32


def test_the_profile_names_what_decided_it() -> None:
    assert PROFILE.id == "qemu-vtpm-uki-kernel-secureboot-absent"
    assert PROFILE.inputs["commandLine"] == "console=ttyS0"
    assert PROFILE.inputs["stub"] == "257.13-1~deb13u1"
    assert measure(LAUNCH, Platform(), "laptop").profiles[0].id == "laptop"
    assert MEASUREMENTS.profile("qemu-vtpm") == (PROFILE,)
    assert MEASUREMENTS.profile("gcp-tdx") == ()


def test_rules_accept_what_they_say() -> None:
    replayed = {bank: initial("tpm", bank) for bank in ("sha256", "sha384")}
    one, two = {"sha256": b"1" * 32}, {"sha256": b"2" * 32}
    rule: Callable[..., RegisterRule] = lambda match, *values: RegisterRule(match, values, "computed")  # noqa: E731
    assert rule("any").accepted("pcr4", "sha256", {}) is None
    assert rule("zero").accepted("pcr4", "sha384", {}) == (bytes(48),)
    assert rule("exact", one).accepted("pcr4", "sha256", {}) == (b"1" * 32,)
    assert rule("exact", one).accepted("pcr4", "sha384", {}) == ()
    assert rule("oneOf", one, two).accepted("pcr4", "sha256", {}) == (b"1" * 32, b"2" * 32)
    assert rule("replay").accepted("pcr0", "sha256", replayed) == (bytes(32),)
    assert rule("replay").accepted("pcr0", "sha1", replayed) == ()
    assert rule("replay").accepted("pcr10", "sha384", replayed) == (ima_boot_aggregate(replayed["sha256"], "sha384"),)
    assert rule("replay").accepted("pcr10", "sha384", {}) == ()


def broken(change: Callable[[Any], None]) -> str:
    document = copy.deepcopy(MEASUREMENTS.to_json())
    change(document)
    return json.dumps(document)


def event(document: Any, index: int = 0) -> Any:
    return document["profiles"][0]["events"][index]


def registers(document: Any) -> Any:
    return document["profiles"][0]["registers"]


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "another version": (lambda d: d.update(version=2), "version 2"),
    "an unknown member": (lambda d: d.update(extra=1), "unknown member extra"),
    "an unknown flavour": (lambda d: d.update(flavour="test"), "flavour 'test'"),
    "an upper-case build id": (lambda d: d.update(buildId="AB" * 32), "lower-case"),
    "a profile twice": (lambda d: d["profiles"].append(d["profiles"][0]), "occurs twice"),
    "an unknown rule": (lambda d: registers(d)["pcr0"].update(match="maybe"), "match 'maybe'"),
    "an unknown source": (lambda d: registers(d)["pcr0"].update(source="hearsay"), "hearsay"),
    "an exact rule without a value": (lambda d: registers(d)["pcr4"].update(values=[]), "exact does not go with 0"),
    "a zero rule with a value": (
        lambda d: registers(d)["pcr12"].update(values=[{"sha256": "00" * 32}]),
        "zero does not go with 1",
    ),
    "a value of the wrong size": (lambda d: registers(d)["pcr4"].update(values=[{"sha256": "00"}]), "64 lower-case"),
    "a value of no bank": (lambda d: registers(d)["pcr4"].update(values=[{}]), "a digest by algorithm"),
    "an unknown bank": (lambda d: registers(d)["pcr4"].update(values=[{"md5": "00"}]), "'md5'"),
    "an event too few": (lambda d: d["profiles"][0]["events"].pop(), "do not replay"),
    "a register without a rule": (lambda d: registers(d).pop("pcr12"), "register pcr12 is missing"),
    "a rule for no register": (
        lambda d: registers(d).update(pcr24=registers(d)["pcr23"]),
        "register pcr24 is missing or",
    ),
    "an unknown platform": (lambda d: d["profiles"][0].update(platform="vax"), "'vax' is not one of"),
    "an event of no register with a rule": (lambda d: event(d).update(register="pcr99"), "do not replay"),
    "a digest that is shown otherwise": (lambda d: event(d).update(digest="00"), "digest is not the one"),
    "an unknown type": (lambda d: event(d).update(type="EV_NEW"), "type 'EV_NEW'"),
    "a type with two spellings": (lambda d: event(d).update(type="0x80000001"), "is not spelled as"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_is_refused_that_has(name: str) -> None:
    change, problem = CHANGES[name]
    with pytest.raises(FormatError, match=problem):
        Measurements.parse(broken(lambda document: (change(document), None)[1]))
