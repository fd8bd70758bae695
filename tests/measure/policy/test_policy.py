"""The policy: every field required, "any" written out, unknown keys refused."""

from __future__ import annotations

import re

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.policy import Policy, is_machine, strict
from simulators import policies

TEXT = policies.TEXT.replace("akTrust = []", f'akTrust = ["{"ab" * 32}"]')
LINES = TEXT.splitlines()


def test_a_policy_says_what_its_author_wrote() -> None:
    policy = Policy.parse(TEXT)
    assert policy == Policy(
        platforms=("qemu-vtpm",),
        evidence_types=("tpm",),
        insecure_software_tpm=True,
        ak_trust=(b"\xab" * 32,),
        machines="any",
        allow_debug=False,
        allow_unsigned_reference=True,
        minimum_sequence="any",
        max_evidence_age=600,
        clock_skew=60,
        config_digest="any",
        outer_key_digest="required",
    )
    assert Policy.parse(TEXT.encode()) == policy


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition(" ")[0])
def test_a_missing_field_is_refused(line: str) -> None:
    with pytest.raises(FormatError, match=f"{line.partition(' ')[0]} is missing"):
        Policy.parse(TEXT.replace(line + "\n", ""))


@pytest.mark.parametrize("key", ["allowdebug = true", "insecureSoftwareTpm = true", "[extra]", "platform = []"])
def test_an_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(FormatError, match="unknown member"):
        Policy.parse(TEXT + key + "\n")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("version = 2", "version 2 is not known"),
        ("platforms = []", "platforms is empty"),
        ('platforms = "any"', "must be list"),
        ('platforms = ["qemu"]', "'qemu', which is not one of"),
        ('platforms = ["qemu-vtpm", "qemu-vtpm"]', "twice"),
        ("platforms = [1]", "which is not one of"),
        ('evidenceTypes = ["token"]', "which is not one of"),
        ('evidenceTypes = ["tdx"]', "td is missing"),
        ("insecure_software_tpm = 1", "must be bool"),
        ('insecure_software_tpm = "any"', "must be bool"),
        ('akTrust = "any"', "must be list"),
        ("akTrust = [1]", "must hold text"),
        ('akTrust = ["AB"]', "64 lower-case hex digits"),
        ("machines = []", "not empty"),
        ('machines = "all"', "not empty"),
        ("machines = [1]", "must hold text"),
        ('machines = ["ab"]', "64 lower-case hex digits"),
        ('machines = ["serial:00"]', "whose kind is not one of ppid, platformInstance"),
        (f'machines = ["ppid:{"AB" * 16}"]', "32 lower-case hex digits"),
        (f'machines = ["platformInstance:{"ab" * 15}"]', "32 lower-case hex digits"),
        ("allowDebug = 0", "must be bool"),
        ("maxEvidenceAge = -1", "out of range"),
        (f"maxEvidenceAge = {10**30}", "out of range"),
        ("maxEvidenceAge = true", "must be int or str"),
        ('maxEvidenceAge = "600"', "must be"),
        ('clockSkew = "any"', "must be int"),
        ('configDigest = ""', "64 lower-case hex digits"),
        ('outerKeyDigest = "optional"', "neither"),
    ],
)
def test_a_wrong_value_is_refused_by_name(line: str, problem: str) -> None:
    name = line.partition(" ")[0]
    with pytest.raises(FormatError, match=problem):
        Policy.parse(re.sub(rf"^{name} = .*$", line, TEXT, flags=re.MULTILINE))


@pytest.mark.parametrize("text", [b"\xff", "x =", "a = 1\na = 2", "[" * 60_000])
def test_what_is_not_toml_is_refused(text: bytes | str) -> None:
    with pytest.raises(FormatError, match="not TOML"):
        Policy.parse(text)


def test_any_and_a_value_are_both_spelled_out() -> None:
    text = re.sub(r"^maxEvidenceAge = .*$", 'maxEvidenceAge = "any"', TEXT, flags=re.MULTILINE)
    text = re.sub(r"^machines = .*$", f'machines = ["{"cd" * 32}"]', text, flags=re.MULTILINE)
    text = re.sub(r"^configDigest = .*$", f'configDigest = "{"ef" * 32}"', text, flags=re.MULTILINE)
    text = re.sub(r"^outerKeyDigest = .*$", 'outerKeyDigest = "any"', text, flags=re.MULTILINE)
    policy = Policy.parse(text)
    assert (policy.max_evidence_age, policy.outer_key_digest) == ("any", "any")
    assert (policy.machines, policy.config_digest) == (("cd" * 32,), b"\xef" * 32)


def test_machines_are_named_by_key_ppid_or_platform_instance() -> None:
    names = ("cd" * 32, "ppid:" + "01" * 16, "platformInstance:" + "02" * 16)
    text = re.sub(r"^machines = .*$", f"machines = {list(names)}", TEXT, flags=re.MULTILINE)
    assert Policy.parse(text).machines == names


@pytest.mark.parametrize("table", ["[td]", "[tcb]"])
def test_rules_for_quotes_stand_only_where_quotes_are_accepted(table: str) -> None:
    with pytest.raises(FormatError, match=r"neither of which evidenceTypes names"):
        Policy.parse(TEXT + table + "\n")


@pytest.mark.parametrize(
    ("platform", "kind"), [("azure-tdx", "azure"), ("gcp-confidential-space", "confidential-space")]
)
def test_a_table_stands_where_its_type_of_evidence_is_accepted(platform: str, kind: str) -> None:
    written = strict.text([platform])
    head, begin, own = written.partition({"azure": "[azure]\n"}.get(kind, "[confidentialSpace]\n"))
    part = {"azure": "azure", "confidential-space": "confidential_space"}[kind]
    assert getattr(Policy.parse(written), part) is not None
    with pytest.raises(FormatError, match=f"policy: {begin.strip()[1:-1]} is missing"):
        Policy.parse(head)
    with pytest.raises(FormatError, match=rf'judges evidence of type "{kind}", which evidenceTypes does not name'):
        Policy.parse(TEXT + begin + own)


def test_endorsements_are_judged_where_googles_machines_are_accepted() -> None:
    head, begin, own = strict.text(["gcp-tdx"]).partition("[endorsement]\n")
    assert Policy.parse(head + begin + own).endorsement is not None
    with pytest.raises(FormatError, match="policy: endorsement is missing"):
        Policy.parse(head)
    with pytest.raises(FormatError, match='judges the platform "gcp-tdx", which platforms does not name'):
        Policy.parse(head.replace("gcp-tdx", "qemu-tdx") + begin + own)


@pytest.mark.parametrize("name", ["gceInstance:0", "gceInstance:01", "gceInstance:" + "1" * 21, "gceInstance:a"])
def test_the_number_of_an_instance_is_spelled_one_way(name: str) -> None:
    assert is_machine("gceInstance:6256007950053693934")
    assert not is_machine(name)
    text = re.sub(r"^machines = .*$", f'machines = ["{name}"]', TEXT, flags=re.MULTILINE)
    with pytest.raises(FormatError, match="which is no number of an instance"):
        Policy.parse(text)
