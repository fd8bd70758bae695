"""The facts of a quote and its collateral on the page of a verification. Pure.

Members as of `appraise.facts`; names as Intel's and TDX's documents spell them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pluto_measure.appraise.page_kit import NOTHING, code, day, members, pairs, section, table, text

Json = Mapping[str, Any]
_TRUST_DOMAIN: Final = (
    ("MRSEAM (TDX module)", "mrSeam"),
    ("MRSIGNERSEAM", "mrSignerSeam"),
    ("SEAMATTRIBUTES", "seamAttributes"),
    ("XFAM", "xfam"),
    ("MRCONFIGID", "mrConfigId"),
    ("MROWNER", "mrOwner"),
    ("MROWNERCONFIG", "mrOwnerConfig"),
    ("MRSERVICETD", "mrServiceTd"),
    ("REPORTDATA", "reportData"),
    ("TEE_TCB_SVN at launch", "teeTcbSvn"),
    ("TEE_TCB_SVN now", "teeTcbSvn2"),
)
_PCK: Final = (
    ("PPID", "ppid"),
    ("Platform instance", "platformInstance"),
    ("FMSPC", "fmspc"),
    ("PCEID", "pceId"),
    ("CPUSVN", "cpuSvn"),
    ("SGX components", "components"),
    ("PCESVN", "pceSvn"),
    ("SGX type", "sgxType"),
    ("CA", "ca"),
    ("Packages can be added", "dynamicPlatform"),
    ("Intel keeps its keys", "cachedKeys"),
    ("Multithreading (SMT)", "smt"),
)
_QE: Final = (("QE ISVSVN", "isvSvn"), ("QE MRSIGNER", "mrSigner"), ("QE MRENCLAVE", "mrEnclave"))
_CLAIMS: Final = (
    ("Purpose", "purpose"),
    ("Nonce", "nonce"),
    ("Session (digest of its EKM)", "ekmDigest"),
    ("Channel key", "channelKey"),
    ("Epoch", "epoch"),
    ("Statement key", "statementKey"),
    ("Build id", "buildId"),
    ("Configuration digest", "configDigest"),
    ("TLS key digest", "outerKeyDigest"),
)
_DOCUMENTS: Final = (
    ("TCB info", "tcbInfo", "evaluationNumber"),
    ("QE identity", "qeIdentity", "evaluationNumber"),
    ("Root CRL", "rootCrl", "number"),
    ("PCK CRL", "pckCrl", "number"),
)
_UNVERIFIED: Final = '<p class="warn">Nobody vouches for what follows: the evidence was not verified.</p>'


def collateral_section(facts: Json) -> str:
    """By which documents the quote was judged."""
    rows = []
    for title, name, number in _DOCUMENTS:
        if found := members(facts.get(name)):
            dates = (text(day(found.get(date))) for date in ("issueDate", "nextUpdate"))
            rows.append((text(title), text(found.get(number)), *dates))
    expires = members(facts.get("expires"))
    note = f"<p>First to expire: {text(expires.get('what'))}, at {text(expires.get('at'))}.</p>" if expires else ""
    return section("Collateral", table(("Document", "Number", "Issued", "Next update"), rows, numbers=(1,)), note)


def evidence_sections(appraisal: Json) -> str:
    """Trust domain, machine and claims, as the evidence says them."""
    quote, claims = members(appraisal.get("quote")), members(appraisal.get("claims"))
    attributes, pck, qe = members(quote.get("tdAttributes")), members(quote.get("pck")), members(quote.get("qe"))
    note = "" if appraisal.get("authentic") is True else _UNVERIFIED
    version = f"version {text(quote.get('version'))}, TD report {text(quote.get('tdReport'))}"
    names = f"{text(attributes.get('names') or 'none')}{code(attributes.get('value'))}"
    domain = [
        ("Quote", version if quote else NOTHING),
        ("TD attributes", names if attributes else NOTHING),
        *_codes(_TRUST_DOMAIN, quote),
    ]
    machine = [*_codes(_PCK, pck), *_codes(_QE, qe)]
    said = pairs(_codes([row for row in _CLAIMS if row[1] in claims], claims))
    parts = (("Trust domain", pairs(domain)), ("Machine", pairs(machine)), ("Claims", said))
    return "".join(section(title, note, body) for title, body in parts if body)


def not_proven_section(appraisal: Json) -> str:
    """What no evidence of this kind can prove, for who sees nothing but the page: docs/verify.md."""
    newest = "That the collateral is the newest, beyond what the verifier remembers and how old its policy lets it be."
    limits = [
        "Where the machine is, and whose. Who can open its case may extract keys from genuine hardware.",
        *([newest] if members(appraisal.get("collateral")) else []),
        "What runs after the boot. The registers say what was booted.",
        "That the program which was measured has no faults.",
    ]
    return section("Not proven by this", f"<ul>{''.join(f'<li>{text(limit)}</li>' for limit in limits)}</ul>")


def _codes(names: Iterable[tuple[str, str]], values: Json) -> list[tuple[str, str]]:
    return [(name, code(values.get(member))) for name, member in names]
