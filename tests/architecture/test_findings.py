"""docs/formats/policy.md lists every finding on evidence that any module can report, docs/formats/release.md those on a
release; neither has one that no module reports.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluto_measure.appraise import (
    Appraisal,
    ChannelExpected,
    Expected,
    KeyExpected,
    SessionExpected,
    verify_evidence,
    verify_expected,
)
from pluto_measure.digests import Digests
from pluto_measure.policy import Policy, TdxPolicy
from pluto_measure.policy.strict import STRICT
from pluto_measure.publish.judge import NOT_AUTHENTIC, Judgement
from pluto_measure.publish.memory import Memory
from simulators import policies, releases, tpm_quotes, trust_domains
from simulators.intel import NOW, SEPT_VE_DISABLE, world
from simulators.notary import evidence
from simulators.trust_domains import TrustDomain, appraised, bare, collateral_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "measure/pluto_measure"
SOURCES = [*PACKAGE.glob("verify/*.py"), *PACKAGE.glob("appraise/*.py"), PACKAGE / "reference.py"]
REGISTER = re.compile(r"((?:register|log\.replay|log\.events)\.(?:pcr|rtmr))\d+")
PARSERS = {"load", "load_crl", "signing_chain", "ca_chain", "FormatError", "_certificates", "_loaded"}
PAGES = {"page.py", "page_kit.py", "page_facts.py"}  # they show findings and make none


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
    old = {"at": releases.FACTS.validity.not_after.replace(year=2100), "minimum_sequence": 6, "memory": seen}
    signatures = (*releases.dsse(releases.ED25519, payload=other), ("signatures/x", b""))
    return [
        releases.judged(digests=few, sums={}, measurements=b"", provenance=b"", signatures=signatures, complete=True),
        releases.judged(flavour="debug"),
        releases.judged(**old),
        releases.judged(at=releases.NOW.replace(year=2000)),
    ]


def test_every_finding_on_a_release_is_in_its_table_and_can_refuse() -> None:
    spelled_there = set()
    for name in ("judge", "memory"):
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
    # `version` is no field of the value, `tdx` none of the text.
    assert len(fields) == len(dataclasses.fields(Policy)) + len(dataclasses.fields(TdxPolicy))
    for name in fields:
        assert re.search(rf"^\| [^|]*`{name}`", text, re.MULTILINE), name
    for example in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        assert Policy.parse(example) == STRICT
