"""The result of a verification as one HTML page, for people. Pure.

It shows what `Appraisal.to_json` says and decides nothing. The verdict comes first, then why, then what was seen. One
file, without scripts and without anything loaded; `page_kit` escapes every text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pluto_measure.appraise.page_facts import (
    cloud_sections,
    collateral_section,
    evidence_sections,
    not_proven_section,
)
from pluto_measure.appraise.updates import UPDATES
from pluto_measure.page_kit import (
    NOTHING,
    bank,
    code,
    day,
    digests,
    document,
    items,
    lines,
    members,
    pairs,
    section,
    table,
    text,
)

Json = Mapping[str, Any]
_MARKS: Final = {"fail": ("bad", "✗", "refused"), "warning": ("warn", "!", "warning"), "pass": ("good", "✓", "passed")}
_KINDS: Final = {
    "tdx": "TDX quote",
    "tpm": "TPM quote",
    "azure": "TDX quote of Azure's paravisor, and the quote of its TPM",
    "confidential-space": "Google's word: a token of Confidential Space",
}
# What authenticity needs that is not in the evidence.
_BESIDE: Final = {"confidential-space": "Google's keys"}
# Intel's statuses, for people who meet them for the first time.
_MEANINGS: Final = {
    "UpToDate": "Intel knows of nothing that is missing.",
    "SWHardeningNeeded": "The platform is patched; software has to have mitigations of its own.",
    "ConfigurationNeeded": "The platform is patched; its settings leave something open.",
    "ConfigurationAndSWHardeningNeeded": "The platform is patched; its settings and software leave something open.",
    "OutOfDate": "Updates are missing that close known holes.",
    "OutOfDateConfigurationNeeded": "Updates are missing that close known holes, and settings leave something open.",
    "TDRelaunchAdvised": "The platform was updated since the trust domain was launched: launch it again.",
    "TDRelaunchAdvisedConfigurationNeeded": "The trust domain has to be launched again, and settings changed.",
    "Revoked": "Intel has revoked this state of the platform: do not trust it.",
    "TCB_NOT_SUPPORTED": "Intel has no level for this platform: it is older than all that Intel supports.",
}


def page(appraisal_json: Json, *, command: str, evidence_name: str, at: str) -> str:
    """The page. `appraisal_json` as of `Appraisal.to_json`; members that are null or absent are not shown.

    `command` is what made the page, `evidence_name` what was verified, `at` the time that it was judged by.
    """
    findings = [_finding(members(finding)) for finding in items(appraisal_json.get("findings"))]
    explanation = members(appraisal_json.get("explanation"))
    body = (
        _verdict(appraisal_json, findings, evidence_name, at),
        "<main>",
        _why(findings, explanation),
        *cloud_sections(explanation),
        _intel(appraisal_json, explanation),
        _shortfall(members(explanation.get("tcb"))),
        _registers(appraisal_json, findings),
        _difference(members(explanation.get("log"))),
        collateral_section(members(appraisal_json.get("collateral"))),
        evidence_sections(appraisal_json),
        _checks(findings),
        not_proven_section(appraisal_json) if _title(appraisal_json) != "Not authentic" else "",
        "</main>",
        f"<footer><h2>The command</h2><pre><code>{text(command)}</code></pre>",
        f'<p class="soft">Made by pluto-measure verify; judged as of {text(at)}.</p></footer>\n',
    )
    return document(f"{_title(appraisal_json)}: {evidence_name}", "\n".join(part for part in body if part))


def _finding(finding: Json) -> Json:
    """A verdict that is not known refuses."""
    verdict = finding.get("verdict")
    return finding if isinstance(verdict, str) and verdict in _MARKS else {**finding, "verdict": "fail"}


def _title(appraisal: Json) -> str:
    return {"accepted": "Accepted", "refused": "Refused"}.get(str(appraisal.get("verdict")), "Not authentic")


def _verdict(appraisal: Json, findings: Sequence[Json], name: str, at: str) -> str:
    title = _title(appraisal)
    kind, mark = ("good", "✓") if title == "Accepted" else ("bad", "✗")
    failed, warned = (sum(finding["verdict"] == it for finding in findings) for it in ("fail", "warning"))
    words = {
        "Accepted": "The evidence is authentic, and no check refuses it.",
        "Refused": "The evidence is authentic, but checks refuse it.",
        "Not authentic": "The evidence does not prove what it says. Nothing else in it counts.",
    }[title]
    if title == "Refused" and appraisal.get("authentic") is not True:
        needed = _BESIDE.get(str(appraisal.get("evidenceType")), "collateral")
        words = f"Without {needed} nobody can say whether the evidence is authentic."
    kind_of = appraisal.get("evidenceType")
    facts = pairs(
        (
            ("Evidence", text(name)),
            ("Kind", text(_KINDS.get(str(kind_of), kind_of))),
            ("Platform", text(appraisal.get("platform"))),
            ("Compared with", text(appraisal.get("profile"))),
            ("Judged as of", text(at)),
            ("Checks", f"{len(findings)}: {failed} refused, {warned} with a warning"),
        )
    )
    head = f'<h1><span aria-hidden="true">{mark}</span> {title}</h1><p>{words}</p>'
    return f'<header class="{kind}">{head}{facts}</header>'


def _why(findings: Sequence[Json], explanation: Json) -> str:
    """The failing findings, then the warnings; each leads to its row."""
    shown = {"fail": "", "warning": ""}
    for index, finding in enumerate(findings):
        if (verdict := finding["verdict"]) in shown:
            said = str(finding.get("text") or "")
            if finding.get("id") == "tcb.status" and explanation.get("tcb"):
                said = f"{said.partition('; ')[0]}; what falls short is below"
            link = f'<a href="#check-{index}"><code>{text(finding.get("id"))}</code></a>'
            body = f'<span class="said">{text(said)}</span><br>{link}'
            shown[verdict] += f'<li class="{_MARKS[verdict][0]}">{body}</li>'
    refused = section("Why", f'<ul class="why">{shown["fail"]}</ul>') if shown["fail"] else ""
    return refused + (section("Warnings", f'<ul class="why">{shown["warning"]}</ul>') if shown["warning"] else "")


def _intel(appraisal: Json, explanation: Json) -> str:
    tcb, early = members(appraisal.get("tcb")), members(explanation.get("early"))
    if not tcb:
        return ""
    status = str(tcb.get("status"))
    shown = f"<strong>{text(status)}</strong>"
    rows = [
        ("Verdict", f"{shown}<br>{text(_MEANINGS[status])}" if status in _MEANINGS else shown),
        ("At launch of the TD", text(tcb.get("launch"))),
        ("At present", text(tcb.get("current"))),
        ("Platform", text(tcb.get("platform"))),
        ("TDX module", text(tcb.get("module"))),
        ("Quoting enclave", text(tcb.get("qe"))),
        ("TCB date", text(day(tcb.get("tcbDate")))),
        ("Advisories", _advisories(tcb.get("advisories"))),
    ]
    if early:
        rows.append(
            ("Intel's early set says", f"{text(early.get('status'))} (TCB of {text(day(early.get('tcbDate')))})")
        )
    return section("Intel's verdict on the platform", pairs(rows))


def _shortfall(short: Json) -> str:
    rows = []
    for component in map(members, items(short.get("components"))):
        has, now, lowest = component.get("has"), component.get("now"), component.get("lowest")
        held = text(has) if now in (None, has) else f"{text(has)} (now {text(now)})"
        wants = (
            text(component.get("wanted"))
            if lowest is None
            else f"{text(component.get('wanted'))} (min. {text(lowest)})"
        )
        update = UPDATES.get(str(component.get("update")), (component.get("update"),))[0]
        rows.append((text(component.get("name")), held, wants, text(update)))
    unknown = [
        f"<p>{text(part.get('name'))}: Intel's TCB info does not know this version, only {text(part.get('known'))}.</p>"
        for part in (members(short.get(name)) for name in ("platform", "module", "qe"))
        if part and part.get("wanted") is None
    ]
    updates = "".join(f"<li>{text(members(item).get('text'))}</li>" for item in items(short.get("updates")))
    settled = (
        ("That settles", _advisories(short.get("advisoriesGone"))),
        ("These stay", _advisories(short.get("advisoriesLeft"))),
    )
    return section(
        "What falls short",
        table(("Component", "Has", "Wants", "Update"), rows, numbers=(1, 2)),
        *unknown,
        f"<h3>What the operator has to do, in this order</h3><ol>{updates}</ol>" if updates else "",
        pairs(settled),
    )


def _registers(appraisal: Json, findings: Sequence[Json]) -> str:
    """Expected and actual of every register that was compared, then those that were not."""
    seen, rows = set(), []
    for finding in findings:
        check = str(finding.get("id"))
        if check.startswith("register."):
            name = check.removeprefix("register.")
            seen.add(name)
            expected, actual = finding.get("expected"), finding.get("actual")
            values = [("expected", digests(expected)), ("actual", digests(actual))]
            if expected == actual:
                values = [("as expected", digests(actual))]
            head = f"<strong>{text(name)}</strong>{bank(actual)}<br>{_mark(finding['verdict'])}"
            rows.append((head, pairs(values)))
    for name, value in _flat(members(appraisal.get("registers"))):
        if name not in seen:
            rows.append((f'<strong>{text(name)}</strong><br><span class="soft">not compared</span>', digests(value)))
    return section("Registers", table(("Register", "Value"), rows))


def _flat(registers: Json) -> Iterable[tuple[str, Any]]:
    """A trust domain has one bank and its registers stand alone; of a TPM each bank has its own. Names once."""
    found: dict[str, Any] = {}
    for name, value in registers.items():
        for inner, digest in members(value).items() or ((name, value),):
            shown = digest if inner == name else f"{name}:{digest}"
            found[inner] = shown if inner not in found else f"{found[inner]} | {shown}"
    return found.items()


def _difference(difference: Json) -> str:
    if not difference:
        return ""
    rows = [
        ("Register", text(difference.get("register"))),
        ("Record of the log", text(difference.get("index"))),
        ("Event of the register", text(difference.get("eventOfRegister"))),
        ("Kind", text(difference.get("kind"))),
        ("Meaning", text(difference.get("meaning"))),
        ("Known attack", text(difference.get("attack"))),
        ("Expected", _event(members(difference.get("expected")))),
        ("Actual", _event(members(difference.get("actual")))),
    ]
    return section("First event that differs", pairs(rows))


def _event(event: Json) -> str:
    if not event:
        return "no event here"
    digests = "".join(code(f"{name}:{value}") for name, value in members(event.get("digests")).items())
    return f"{text(event.get('type'))}: {text(event.get('description'))}{digests}"


def _checks(findings: Sequence[Json]) -> str:
    """All findings by verdict, each group to be opened and closed; what refuses is open."""
    groups = []
    for verdict, (kind, mark, word) in _MARKS.items():
        rows = [(index, it) for index, it in enumerate(findings) if it["verdict"] == verdict]
        if rows:
            body = "".join(_check(index, finding) for index, finding in rows)
            head = '<thead><tr><th scope="col">Check</th><th scope="col">What it says</th></tr></thead>'
            summary = (
                f'<summary class="{kind}"><span aria-hidden="true">{mark}</span> {_count(len(rows), word)}</summary>'
            )
            is_open = "" if verdict == "pass" else " open"
            rest = f'<div><table class="stack">{head}<tbody>{body}</tbody></table></div>'
            groups.append(f"<details{is_open}>{summary}{rest}</details>")
    return section("All checks", *groups)


def _count(number: int, word: str) -> str:
    return f"{number} {word}s" if word == "warning" and number != 1 else f"{number} {word}"


def _check(index: int, finding: Json) -> str:
    values = pairs((name, lines(finding.get(name))) for name in ("expected", "actual"))
    check = f'<td class="check"><code>{text(finding.get("id"))}</code></td>'
    return f'<tr id="check-{index}">{check}<td>{text(finding.get("text"))}{values}</td></tr>'


def _mark(verdict: str) -> str:
    kind, mark, word = _MARKS[verdict]
    return f'<span class="{kind}"><span aria-hidden="true">{mark}</span> {word}</span>'


def _advisories(value: object) -> str:
    return " ".join(f'<span class="tag">{text(item)}</span>' for item in items(value)) or NOTHING
