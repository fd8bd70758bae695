"""The predicate of release.json: one predicate type, every member, and nothing that nobody here understands."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.machine.platform import KINDS, Platform
from pluto_measure.measurements import measure
from pluto_measure.publish.facts import Place, Revoked
from pluto_measure.publish.platforms import PROVIDERS, described
from pluto_measure.publish.release import PREDICATE_TYPE, Component, Release, Source
from pluto_measure.publish.statement import Statement
from simulators import machines
from simulators.launches import LAUNCH
from simulators.releases import FACTS, TEXT, one_change_each, release, schema, statement
from simulators.trust_domains import GOOGLE, REFERENCE

DOCUMENT = json.loads(TEXT)
HONEST = release()


def read(predicate: dict[str, Any]) -> Release:
    return Release.parse(Statement.parse(json.dumps({**DOCUMENT, "predicate": predicate})))


def changed(**members: Any) -> dict[str, Any]:
    return {**DOCUMENT["predicate"], **members}


def platform(**members: Any) -> dict[str, Any]:
    return changed(platforms=[{**DOCUMENT["predicate"]["platforms"][0], **members}])


words = st.from_regex(r"[a-z0-9][a-z0-9.+~-]{0,20}", fullmatch=True)
lines = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@st.composite
def releases(draw: st.DrawFn) -> Release:
    sequence = draw(st.integers(1, 2**53 - 1))
    earlier = st.integers(1, sequence - 1) if sequence > 1 else st.nothing()
    revoked = st.lists(st.builds(Revoked, earlier, lines.filter(bool)), max_size=3)
    place = Place(
        draw(words),
        sequence,
        draw(st.integers(1, sequence)),
        draw(st.none() | earlier),
        tuple(draw(revoked)) if sequence > 1 else (),
    )
    measured = st.tuples(st.just("rtmr1")) | st.just(())
    component = st.builds(Component, lines, lines, st.binary().map(Digests.of), measured)
    flavour = draw(st.sampled_from(["release", "debug"]))
    return replace(
        HONEST,
        name=draw(words),
        version=draw(words),
        flavour=flavour,
        facts=replace(FACTS, place=place, repository=draw(lines), repository_id=draw(lines)),
        source=Source(draw(st.binary(min_size=32, max_size=32)), dirty=flavour == "debug" and draw(st.booleans())),
        components=tuple(draw(st.lists(component, max_size=3))),
        platforms=draw(st.sampled_from([HONEST.platforms, ()])),
    )


@given(releases())
def test_what_is_written_is_read_and_follows_the_schema(value: Release) -> None:
    made = replace(statement(), predicate=value.to_json())
    assert Release.parse(Statement.parse(made.to_text())) == value
    schema("release").validate(json.loads(made.to_text()))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("release").schema)


def test_any_change_of_a_member_is_refused_or_is_another_release() -> None:
    """And the schema is as strict as the reader: what is left over is told below."""
    registers = DOCUMENT["predicate"]["platforms"][0]["registers"]
    honest = platform(registers={"rtmr3": registers["rtmr3"]})
    count, value = 0, read(honest)
    # What two members say together is not the schema's to know.
    together = {"/supersedes is 7", "/minimumSequence is 7", "/source/dirty is True"}
    # measurements.json decides what a platform is, and its reader what a register.
    elsewhere = re.compile("/platforms/0/(shape|firmware|registers)|/components/0/(measuredInto|digest)")
    for where, predicate in one_change_each(honest):
        count += 1
        problem = None
        try:
            assert read(predicate) != value, where
        except FormatError as error:
            problem = str(error)
        assert problem is None or problem.startswith("release.json"), where
        agree = schema_accepts(predicate) is (problem is None)
        assert agree or where in together or elsewhere.match(where), where
    assert count > 1000


VALIDATOR = schema("release")


def schema_accepts(predicate: dict[str, Any]) -> bool:
    return VALIDATOR.is_valid({**DOCUMENT, "predicate": predicate})


@pytest.mark.parametrize("name", DOCUMENT["predicate"])
def test_a_member_that_occurs_twice_is_refused(name: str) -> None:
    again = f'"predicate": {{{json.dumps(name)}: {json.dumps(DOCUMENT["predicate"][name])}, '
    with pytest.raises(FormatError, match=f"key occurs twice: '{name}'"):
        Statement.parse(json.dumps(DOCUMENT).replace('"predicate": {', again))


@pytest.mark.parametrize(
    "kind",
    [
        f"{PREDICATE_TYPE}/",
        PREDICATE_TYPE.replace("/release/", "/Release/"),
        PREDICATE_TYPE.replace("https://pluto", "HTTPS://pluto"),
        PREDICATE_TYPE.replace("https", "http"),
        PREDICATE_TYPE.replace("v1", "v2"),
        f"{PREDICATE_TYPE}#",
        f" {PREDICATE_TYPE}",
        f"{PREDICATE_TYPE}\n",
        PREDICATE_TYPE.replace("pluto-tee", "pluto-tee.org.example"),
        "https://slsa.dev/provenance/v1",
        "",
    ],
)
def test_another_predicate_type_is_another_predicate(kind: str) -> None:
    with pytest.raises(FormatError, match=r"release\.json: predicateType .* is not https://pluto-tee\.org/release/v1"):
        Release.parse(replace(statement(), predicate_type=kind))


@pytest.mark.parametrize("version", [0, 2, -1])
def test_another_version(version: int) -> None:
    with pytest.raises(FormatError, match=f"version {version} is not known"):
        read(changed(version=version))


def test_the_first_release_says_that_it_supersedes_none() -> None:
    assert read(changed(supersedes=None)).facts.place.supersedes is None
    with pytest.raises(FormatError, match="supersedes is missing"):
        read({name: value for name, value in changed().items() if name != "supersedes"})


@pytest.mark.parametrize("flavour", ["Release", "prod", "", "release "])
def test_an_unknown_flavour(flavour: str) -> None:
    with pytest.raises(FormatError, match=r"flavour .* is not one of release, debug"):
        read(changed(flavour=flavour))


def test_a_release_of_files_that_nobody_committed() -> None:
    source = {**DOCUMENT["predicate"]["source"], "dirty": True}
    assert read(changed(source=source, flavour="debug")).source.dirty
    with pytest.raises(FormatError, match="made of committed files only"):
        read(changed(source=source))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eventLog", {"file": "other.json"}),
        ("reportData", {"scheme": "pluto-tee/v1", "purposes": ["channel", "session", "key", "node"]}),
        ("reportData", {"scheme": "pluto-tee/v2", "purposes": ["channel"]}),
        ("contract", {"sha256": "00" * 32}),
        ("contract", 0),
        ("contract", False),
    ],
    ids=str,
)
def test_what_has_one_value_has_it(name: str, value: object) -> None:
    with pytest.raises(FormatError, match=rf"release\.json: {name} is not"):
        read(changed(**{name: value}))


class TestPlatforms:
    def test_a_software_tpm_is_never_in_a_release(self) -> None:
        software = measure(LAUNCH, Platform()).profiles[0]
        assert software.platform == "qemu-vtpm"
        with pytest.raises(FormatError, match="is a qemu-vtpm, which no release vouches for"):
            described(software)
        for provider in (*PROVIDERS.values(), "qemu-vtpm"):
            with pytest.raises(FormatError, match=f"a qemu-vtpm of {provider}, which no release vouches for"):
                read(platform(platform="qemu-vtpm", provider=provider))

    def test_every_other_platform_may_be(self) -> None:
        assert {*PROVIDERS, "qemu-vtpm"} == set(KINDS)
        for kind, provider in PROVIDERS.items():
            assert read(platform(platform=kind, provider=provider))

    @pytest.mark.parametrize(("kind", "provider"), [("gcp-tdx", "azure"), ("qemu-tdx", "gcp"), ("sev-snp", "aws")])
    def test_a_platform_of_somebody_elses(self, kind: str, provider: str) -> None:
        with pytest.raises(FormatError, match=f"a {kind} of {provider}, which no release vouches for"):
            read(platform(platform=kind, provider=provider))

    @pytest.mark.parametrize("tee", ["sev-snp", "TDX", ""])
    def test_another_tee(self, tee: str) -> None:
        with pytest.raises(FormatError, match=r"platforms\[\]\.tee is not tdx"):
            read(platform(tee=tee))

    @pytest.mark.parametrize("machine", [machines.bare_metal(), GOOGLE], ids=["bare metal", "Google"])
    def test_what_is_described_follows_the_schema(self, machine: Platform) -> None:
        profile = measure(LAUNCH, machine).profiles[0]
        found = described(profile)
        assert found["registers"] == {name: rule.to_json() for name, rule in profile.registers.items()}
        assert schema_accepts(changed(platforms=[found]))
        assert read(changed(platforms=[found])).platforms == (found,)

    def test_firmware_that_is_known_by_one_digest(self) -> None:
        (profile,) = REFERENCE.profiles
        for firmware in ({"sha384": "00" * 48}, None):
            found = described(replace(profile, inputs={**profile.inputs, "firmware": firmware}))
            assert found["firmware"] == firmware
            assert schema_accepts(changed(platforms=[found]))
        odd_ones: list[object] = [{}, "text", ["sha256"]]
        for odd in odd_ones:
            assert described(replace(profile, inputs={**profile.inputs, "firmware": odd}))["firmware"] is None
