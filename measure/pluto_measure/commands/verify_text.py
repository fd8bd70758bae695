"""What `pluto-measure verify` prints for people: facts of a quote, what falls short, findings, the verdict. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pluto_measure.appraise import Appraisal

_WIDTH: Final = 80
_MARKS: Final = {"pass": "ok     ", "warning": "WARNING", "fail": "REFUSED"}
_OF_MODULE, _OF_QE = "moduleIsvSvn", "qeIsvSvn"
_ANOTHER_PLATFORM: Final = ("collateral.fmspc", "collateral.pceid")


def text(appraisal: Appraisal, *, verbose: bool) -> str:
    """The whole of it; findings that pass only if `verbose`."""
    lines = _facts(appraisal)
    for finding in appraisal.findings:
        if finding.verdict == "pass" and not verbose:
            continue
        lines.append(f"{_MARKS[finding.verdict]}  {finding.id}: {finding.text}")
        if finding.verdict == "fail":
            lines += [
                f"           {name} {value}"
                for name, value in (("expected", finding.expected), ("actual", finding.actual))
                if value is not None
            ]
    refused = len(appraisal.failures)
    lines.append(f"{_verdict(appraisal)}: {len(appraisal.findings)} checks, {refused} refused")
    return "\n".join(lines) + "\n"


def _verdict(appraisal: Appraisal) -> str:
    against = f" against {appraisal.profile}" if appraisal.profile else ""
    failed = [finding.id for finding in appraisal.failures]
    if appraisal.verdict != "not authentic" or not all(name.startswith("collateral.") for name in failed):
        return f"{appraisal.verdict}{against}"
    # The quote may well be genuine: what was brought to judge it by is at fault.
    of_another = all(name in _ANOTHER_PLATFORM for name in failed)
    why = "is of another platform" if of_another else "Intel does not vouch for"
    return f"not authentic by this collateral, which {why}"


def _facts(appraisal: Appraisal) -> list[str]:
    """What a TDX quote or a token says of itself, in a few lines; nothing for other evidence."""
    if isinstance(token := appraisal.explanation.get("token"), dict):
        return list(_token(token))
    if appraisal.quote is None:
        return []
    quote, pck = appraisal.quote, appraisal.quote["pck"]
    assert isinstance(pck, dict)
    lines = [
        f"TDX quote {quote['version']}, TD report {quote['tdReport']}, "
        f"FMSPC {pck['fmspc']}, PPID {pck['ppid']}, {pck['ca'] or 'unknown'} CA"
    ]
    if isinstance(azure := appraisal.explanation.get("azure"), dict):
        machine = azure["vmConfiguration"]["vmId"] or "unknown"
        lines.append(f"Azure's paravisor {azure['paravisor']}")
        lines.append(f"virtual machine {machine}, its TPM's key {azure['akDigest']}")
    if (tcb := appraisal.tcb) is not None:
        said = tcb.to_json()
        halves = [f"{name} {said[name]}" for name in ("platform", "module", "qe", "launch", "current") if said[name]]
        date = f", TCB date {said['tcbDate']}" if said["tcbDate"] else ""
        lines.append(f"TCB {tcb.status}" + (f" ({', '.join(halves)})" if halves else "") + date)
        if tcb.advisories:
            lines += _wrapped(f"advisories {' '.join(tcb.advisories)}", "", "  ")
        if isinstance(short := appraisal.explanation.get("tcb"), dict):
            lines += shortfall_lines(short, tcb.advisories)
    return lines if appraisal.authentic else [f"{line} (not verified)" for line in lines]


def _token(token: Mapping[str, Any]) -> Iterator[str]:
    """What is said in a token, and in whose word one trusts."""
    instance = token["instance"] or {}
    place = "/".join(instance[name] for name in ("projectId", "zone", "instanceName") if instance.get(name))
    versions = " ".join(token["swversion"]) or "unknown"
    yield f"token: {token['hwmodel']}, TCB {token['tcbStatus']}, image {versions}, {place or 'unknown machine'}"
    who = "Google's word alone" if token["vouchedBy"] == "Google" else "the word of who holds an insecure root"
    yield f"this is {who}: there is no TDX quote in it"


def shortfall_lines(short: Mapping[str, Any], advisories: tuple[str, ...]) -> Iterator[str]:
    """The member `tcb` of an explanation, a component in a line. `advisories`: all that Intel's verdict names."""
    if short["half"] == "current":
        yield "  this is the present state; the TD was launched in a better one"
    for part in ("platform", "module", "qe"):
        if short[part] is not None:
            yield from _part(short[part], [gap for gap in short["components"] if _part_of(gap["id"]) == part])
    updates = [item["text"] for item in short["updates"]]
    if updates:
        # A certificate that comes first is older than the machine, so the new one shows what is really too low.
        is_old = short["updates"][0]["id"] == "pckCertificate" and len(updates) > 1
        yield "  to do, in this order" + ("; after the first only what is still too low" if is_old else "")
    for number, item in enumerate(updates, 1):
        yield from _wrapped(item, f"    {number} ", "      ")
    gone, left = short["advisoriesGone"], short["advisoriesLeft"]
    if gone:
        is_all = not left and set(gone) == set(advisories)
        yield from _wrapped("that settles all of them" if is_all else f"that settles {', '.join(gone)}", "  ", "    ")
    if left:
        yield from _wrapped(f"these stay: {', '.join(left)}", "  ", "    ")


def _part_of(gap: str) -> str:
    return {_OF_MODULE: "module", _OF_QE: "qe"}.get(gap, "platform")


def _part(part: Mapping[str, Any], gaps: list[Mapping[str, Any]]) -> Iterator[str]:
    """A part that falls short: its level, then every SVN that is too low."""
    name, matched, wanted = part["name"], part["matched"], part["wanted"]
    if wanted is None:
        known = ", ".join(part["known"]) or "none"
        yield from _wrapped(f"{name}: Intel's TCB info does not know this version, only {known}", "  ", "    ")
        return
    if matched is None:
        yield f"  {name}: no level; the lowest is {_level(part['lowest'])}"
    elif matched["status"] == "UpToDate":
        return
    else:
        yield f"  {name}: {_level(matched)}"
        if not gaps:
            yield f"    Intel's TCB info has no better level than {wanted['status']} for it"
    width = max((len(gap["name"]) for gap in gaps), default=0)
    yield from (f"    {gap['name']:{width}}  {_gap(gap)}" for gap in gaps)


def _gap(gap: Mapping[str, Any]) -> str:
    has, now, wanted, lowest = gap["has"], gap["now"], gap["wanted"], gap["lowest"]
    wants = f"wants {wanted}"
    if lowest is not None and lowest > has:
        wants = f"needs {lowest} for any level" + (f", {wants}" if wanted > lowest else "")
    return f"has {has}{f' (now {now})' if now not in (None, has) else ''}, {wants}"


def _level(level: Mapping[str, Any]) -> str:
    return f"{level['status']} (TCB of {level['tcbDate'][:10]})"


def _wrapped(words: str, first: str, more: str) -> list[str]:
    return textwrap.wrap(
        words, _WIDTH, initial_indent=first, subsequent_indent=more, break_long_words=False, break_on_hyphens=False
    )
