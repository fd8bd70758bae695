"""docs/formats/policy.md lists every finding on evidence that any module can report, docs/formats/release.md those on a
release; neither has one that no module reports.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_measure.appraise import (
    Appraisal,
    ChannelExpected,
    Expected,
    KeyExpected,
    SessionExpected,
    SpaceInputs,
    verify_evidence,
    verify_expected,
)
from pluto_measure.digests import Digests
from pluto_measure.formats.strict_json import Fields
from pluto_measure.policy import Policy, TdxPolicy, azure, confidential_space, launch_endorsement
from pluto_measure.policy.strict import STRICT
from pluto_measure.publish import notices
from pluto_measure.publish.judge import NOT_AUTHENTIC, Judgement
from pluto_measure.publish.memory import Memory
from pluto_measure.toml import table
from simulators import azure_evidence, endorsements, policies, releases, tpm_quotes, trust_domains
from simulators import confidential_space as space
from simulators.intel import NOW, SEPT_VE_DISABLE, world
from simulators.notary import evidence
from simulators.trust_domains import TrustDomain, appraised, bare, collateral_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "measure/pluto_measure"
SOURCES = [*PACKAGE.glob("verify/*.py"), *PACKAGE.glob("appraise/*.py"), PACKAGE / "registers/reference.py"]
REGISTER = re.compile(r"((?:register|log\.replay|log\.events)\.(?:pcr|rtmr))\d+")
PARSERS = {"load", "load_crl", "signing_chain", "ca_chain", "FormatError", "_certificates", "_loaded"}
PAGES = {"page.py", "page_facts.py"}  # they show findings and make none


def generic(check: str) -> str:
    """The id as the table has it: one row for all registers of a kind."""
    return f"{match[1]}N" if (match := REGISTER.fullmatch(check)) else check


def stages() -> dict[str, str]:
    """Every id of the table, with its stage."""
    text = (ROOT / "docs/formats/policy.md").read_text().split("## Verdict", 1)[1].split("\n## ", 1)[0]
    found: dict[str, str] = {}
    for check, stage in re.findall(r"^\| `([^|`]+\.[^|`]+)` \| ([^|]+) \|", text, re.MULTILINE):
        assert check not in found, f"{check} stands in two rows"
        found[check] = stage
    return found


def spelled() -> tuple[set[str], list[re.Pattern[str]]]:
    """The ids in the sources: those that stand there, and patterns of those that are put together."""
    groups = "|".join(sorted({check.partition(".")[0] for check in stages()}))
    shape = re.compile(rf"(?:{groups})\.[a-z0-9_.]+")
    whole, patterns = set(), []
    for path in SOURCES:
        if path.name in PAGES:
            continue
        for node in _strings(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                pattern = "".join("[a-zA-Z_]+" if text is None else re.escape(str(text)) for text in texts)
                if re.match(rf"(?:{groups})\.", str(texts[0] or "")) and " " not in pattern:
                    patterns.append(re.compile(pattern))
            elif isinstance(node.value, str) and shape.fullmatch(node.value):
                whole.add(node.value)
    return whole, patterns


def _strings(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Texts and f-strings, but for those that name to a parser what it reads."""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        yield node
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PARSERS:
        return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)


def every_kind_of_run() -> list[Appraisal]:
    """Runs that report whatever can be reported."""
    lax = trust_domains.rules(report_data="any", sept_ve_disable="any", not_before="any")
    odd = TrustDomain(world=world(version=5, platform="OutOfDate", report={"tdattributes": SEPT_VE_DISABLE | 1 << 40}))
    forged = TrustDomain(world=world().with_quote(signature=b"\1" * 64))
    unknown = TrustDomain(world=world(report={"tee_tcb_svn": bytes([7, 9, 5]) + bytes(13)}))
    vtpm = tpm_quotes.Machine()
    picky = releases.judged(
        facts=dataclasses.replace(
            releases.FACTS, tcb=dataclasses.replace(releases.TCB, accepted_statuses=("OutOfDate",))
        ),
        memory=Memory({}),
    )
    vouched = dataclasses.replace(trust_domains.REFERENCE, vouched=picky.vouched())

    def of_tpm(policy: Policy | None, *, altered: bool = False) -> Appraisal:
        text = vtpm.evidence(b"n").to_text()
        text = text.replace('"nonce": "6e"', '"nonce": "00"') if altered else text
        return verify_evidence(text, [tpm_quotes.reference_of()], policy, NOW, b"n", bytes(range(32)))

    return [
        appraised(),
        appraised(early=collateral_of(world())),
        appraised(policy=None),
        appraised(odd, references=()),
        appraised(forged),
        appraised(unknown),
        appraised(collateral=None),
        appraised(references=(vouched,), policy=trust_domains.policy(minimum_sequence=1)),
        bare(),
        bare(policy=lax, log=None, report_data=None, nonce=b"n"),
        of_tpm(policies.POLICY),
        of_tpm(policies.POLICY, altered=True),
        of_tpm(None),
        *of_purposes(),
        *of_google(),
        *of_azure(),
        *of_tokens(),
    ]


def of_google() -> list[Appraisal]:
    """A machine of Google's, with an endorsement, a forged one, and none."""
    domain = TrustDomain(kind="gcp-tdx")
    endorsed = endorsements.launch_endorsement(mrtds=((0, False, domain.registers()["mrtd"]),))
    rules = dataclasses.replace(launch_endorsement.STRICT_ENDORSEMENT, insecure_roots=(endorsements.ROOT,))
    policy = trust_domains.policy(endorsement=rules)
    strict = trust_domains.policy(endorsement=launch_endorsement.STRICT_ENDORSEMENT)
    return [
        appraised(domain, policy=policy, endorsements=(endorsed,)),
        appraised(domain, policy=strict, endorsements=(endorsed,)),
        appraised(domain, policy=policy),
    ]


def of_azure() -> list[Appraisal]:
    """A machine of Azure's, and one whose claims are another's."""
    lying = azure_evidence.AzureMachine(user_data=bytes(64))
    return [azure_evidence.appraised(), azure_evidence.appraised(lying), azure_evidence.appraised(collateral=None)]


def of_tokens() -> list[Appraisal]:
    """Tokens of both forms, one without keys, and one that was made for another purpose."""
    oidc, keys = space.Space(form="oidc"), SpaceInputs(keys=space.keys())
    rules = dataclasses.replace(space.RULES, forms=("oidc",))
    lying = space.Space().envelope(token=space.Space().token("other"))
    return [
        space.appraised(),
        space.appraised(oidc, rules=rules, inputs=keys),
        space.appraised(oidc),
        space.appraised(lying),
    ]


def of_purposes() -> list[Appraisal]:
    """Evidence of every purpose but `node`, as expected, and once for somebody else."""
    machine, reference = tpm_quotes.Machine(), [tpm_quotes.reference_of()]
    expected: dict[str, Expected] = {
        "channel": ChannelExpected(evidence.CHANNEL_KEY, evidence.EPOCH, trust_domains.OUTER_KEY),
        "session": SessionExpected(evidence.EKM, evidence.NONCE, evidence.CHANNEL_KEY),
        "key": KeyExpected(evidence.STATEMENT_KEY),
    }
    claims = evidence.every_purpose(machine.build_id)
    texts = {purpose: evidence.tpm_envelope(machine, claims[purpose]).to_text() for purpose in expected}
    return [
        *(verify_expected(texts[purpose], expected[purpose], reference, policies.POLICY, NOW) for purpose in expected),
        verify_expected(texts["session"], expected["key"], reference, policies.POLICY, NOW),
    ]


RUNS = every_kind_of_run()
SEEN = {generic(finding.id) for run in RUNS for finding in run.findings}


def test_every_finding_of_a_run_is_in_the_table() -> None:
    assert SEEN - stages().keys() == set()


def test_every_finding_of_the_sources_is_in_the_table() -> None:
    whole, patterns = spelled()
    assert {check for check in whole if check not in stages()} == set()
    assert len(patterns) >= 5
    for pattern in patterns:
        assert any(pattern.fullmatch(check) for check in stages()), pattern


def test_the_table_has_nothing_that_no_module_reports() -> None:
    whole, _ = spelled()
    assert stages().keys() - whole - SEEN == set()
    assert stages().keys() - SEEN == set(), "a run that reports it belongs into these tests"


@pytest.mark.parametrize("run", RUNS, ids=range(len(RUNS)))
def test_stages_are_told_right(run: Appraisal) -> None:
    """Evidence that is not authentic has findings of verification alone; no id stands twice in one run."""
    ids = [finding.id for finding in run.findings]
    assert len(ids) == len(set(ids))
    if run.exit_code == 4:
        assert {stages()[generic(check)] for check in ids} == {"verify"}


def test_stages_are_verify_or_appraise() -> None:
    assert set(stages().values()) == {"verify", "appraise"}
    verified = {generic(one.id) for one in RUNS[0].findings if stages()[generic(one.id)] == "verify"}
    assert {"quote.signature", "binding.report_data", "module.identity"} <= verified


def of_releases() -> dict[str, int]:
    """Every id of the table of release.md, with its exit code."""
    text = (ROOT / "docs/formats/release.md").read_text().split("## Verdict", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(release\.[a-z_]+)` \| ([45]) \|", text, re.MULTILINE)
    assert len({check for check, _ in rows}) == len(rows)
    return {check: int(code) for check, code in rows}


def every_kind_of_judgement() -> list[Judgement]:
    """Judgements that report whatever can be reported, failed."""
    other = releases.statement(build_id="ab" * 32).to_text().encode()
    few = {"disk.raw": Digests.of(b"other"), "extra": Digests.of(b"")}
    seen = Memory({}).remembering(releases.release(sequence=6), "aa" * 32)
    subject = Digests.of(releases.TEXT)
    revoked = notices.revocation(releases.release(), subject, releases.NOW, "x").to_text().encode()
    old = {"at": releases.FACTS.validity.not_after.replace(year=2100), "minimum_sequence": 6, "memory": seen}
    signatures = (*releases.dsse(releases.ED25519, payload=other), ("signatures/x", b""))
    return [
        releases.judged(digests=few, sums={}, measurements=b"", provenance=b"", signatures=signatures, complete=True),
        releases.judged(flavour="debug"),
        releases.judged(**old),
        releases.judged(at=releases.NOW.replace(year=2000)),
        releases.judged(trust=replace(releases.TRUST, max_confirmation_age=1)),
        releases.judged(
            signatures=(*releases.dsse(releases.ED25519), *releases.dsse(releases.ED25519, payload=revoked))
        ),
    ]


def test_every_finding_on_a_release_is_in_its_table_and_can_refuse() -> None:
    spelled_there = set()
    for name in ("judge", "memory", "signers"):
        for node in _strings(ast.parse((PACKAGE / f"publish/{name}.py").read_text())):
            if isinstance(node, ast.Constant) and re.fullmatch(r"release\.[a-z_]+", str(node.value)):
                spelled_there.add(str(node.value))
    spelled_there -= {"release.json"}
    judgements = [*every_kind_of_judgement(), releases.judged()]
    assert of_releases().keys() == spelled_there
    assert {one.id for judgement in judgements for one in judgement.findings} == spelled_there
    assert {check for judgement in judgements for check in releases.failed(judgement)} == spelled_there


def test_the_exit_codes_of_the_table_are_those_of_a_judgement() -> None:
    assert {check for check, code in of_releases().items() if code == 4} == NOT_AUTHENTIC


def test_every_field_of_a_policy_is_described() -> None:
    text = (ROOT / "docs/formats/policy.md").read_text()
    fields = re.findall(r"^(\w+) = ", policies.TDX_TEXT, re.MULTILINE)
    # `version` is no field of the value, its four parts none of the text.
    assert len(fields) - 1 == len(dataclasses.fields(Policy)) - 4 + len(dataclasses.fields(TdxPolicy))
    for name in fields:
        assert re.search(rf"^\| [^|]*`{name}`", text, re.MULTILINE), name
    for example in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        assert Policy.parse(example) == STRICT


@pytest.mark.parametrize(
    ("page", "name", "text", "strict"),
    [
        ("azure-evidence", azure.TABLE, azure.TEXT, azure.STRICT_AZURE),
        ("confidential-space", confidential_space.TABLE, confidential_space.TEXT, None),
        ("launch-endorsement", "endorsement", launch_endorsement.STRICT_ENDORSEMENT_TEXT, STRICT.endorsement),
    ],
)
def test_every_field_of_a_table_is_described_on_its_page(page: str, name: str, text: str, strict: object) -> None:
    wanted = strict or confidential_space.STRICT_CONFIDENTIAL_SPACE
    described = (ROOT / f"docs/formats/{page}.md").read_text()
    fields = re.findall(r"^(\w+) = ", text, re.MULTILINE)
    assert len(fields) == len(dataclasses.fields(wanted))  # type: ignore[arg-type]  # one of three data classes
    for field in fields:
        assert re.search(rf"^\| [^|]*`{field}`", described, re.MULTILINE), field
    (example,) = re.findall(rf"```toml\n(\[{name}\].*?)```", described, re.DOTALL)
    parsed = Fields(table(example, what="policy"), what="policy").sub(name)
    assert type(wanted).parse(parsed) == wanted  # type: ignore[attr-defined]  # as each of them has it


def test_pages_of_formats_name_the_findings_that_the_policys_page_lists() -> None:
    """A page of a format tells of its own findings in other words; it knows no other ids, and leaves none out."""
    for page, group in (("azure-evidence", "azure"), ("confidential-space", "token|space|container"),
                        ("launch-endorsement", "endorsement")):  # fmt: skip
        text = (ROOT / f"docs/formats/{page}.md").read_text()
        rows = "\n".join(re.findall(r"^\| (`[a-z_.]+`[^|]*) \|", text, re.MULTILINE))
        named = set(re.findall(rf"`((?:{group})\.[a-z_]+)`", rows))
        assert named == {check for check in stages() if re.match(rf"(?:{group})\.", check)}, page
