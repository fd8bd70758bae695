"""The facts of a quote and its collateral on the page of a verification. Pure.

Members as of `appraise.facts`; names as Intel's and TDX's documents spell them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pluto_measure.page_kit import NOTHING, code, day, members, pairs, section, table, text

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
_TOKEN: Final = (
    ("Vouched for by", "vouchedBy"),
    ("Issued", "issuedAt"),
    ("Expires", "expiresAt"),
    ("Hardware", "hwmodel"),
    ("Platform's TCB", "tcbStatus"),
    ("TCB date", "tcbDate"),
    ("Google's image", "swversion"),
    ("Its support", "supportAttributes"),
    ("Debugging", "dbgstat"),
    ("Service accounts", "serviceAccounts"),
    ("Container from", "imageReference"),
    ("Claims not looked at", "unknownClaims"),
)
_INSTANCE: Final = (
    ("Project", "projectId"),
    ("Zone", "zone"),
    ("Virtual machine", "instanceName"),
    ("Its number", "instanceId"),
)
_PARAVISOR: Final = (("Paravisor (MRTD)", "paravisor"), ("TPM's key (digest)", "akDigest"), ("Its root", "akRoot"))
_TOLD: Final = (
    ("Secure Boot", "secureBoot"),
    ("TPM", "tpmEnabled"),
    ("The TPM keeps its state", "tpmPersisted"),
    ("Serial console", "console"),
    ("The console takes input", "interactiveConsole"),
    ("Host devices are let through", "filteredVpciDevices"),
    ("Virtual machine", "vmId"),
    ("Other settings", "otherSettings"),
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


def cloud_sections(explanation: Json) -> Iterator[str]:
    """In whose word one trusts, and what it says: of a token Google's, of an Azure machine its paravisor's."""
    if token := members(explanation.get("token")):
        who = "Google's word" if token.get("vouchedBy") == "Google" else "said in Google's name, under an insecure root"
        note = f"<p>All of this is {who}. There is no TDX quote in it that anybody else could check.</p>"
        said = [(name, text(token.get(member))) for name, member in _TOKEN]
        digests = _codes((("Container (digest)", "imageDigest"), ("Signed below the root", "root")), token)
        instance = members(token.get("instance"))
        where = [(name, text(instance.get(member))) for name, member in _INSTANCE]
        yield section("What Google says", note, pairs([*said, *where, *digests]))
    if azure := members(explanation.get("azure")):
        note = "<p>Nobody outside Microsoft can compute the paravisor's MRTD; a policy names observed values.</p>"
        told = members(azure.get("vmConfiguration"))
        settings = [(name, text(told.get(member))) for name, member in _TOLD]
        yield section("Azure's paravisor", note, pairs([*_codes(_PARAVISOR, azure), *settings]))


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
    explanation = members(appraisal.get("explanation"))
    google = "Anything beyond Google's word: a token holds no quote that others could check."
    paravisor = "What Microsoft's paravisor does, which owns the machine's memory and its TPM."
    limits = [
        *([google] if members(explanation.get("token")) else []),
        *([paravisor] if members(explanation.get("azure")) else []),
        "Where the machine is, and whose. Who can open its case may extract keys from genuine hardware.",
        *([newest] if members(appraisal.get("collateral")) else []),
        "What runs after the boot. What is measured says what was booted.",
        "That the program which was measured has no faults.",
    ]
    return section("Not proven by this", f"<ul>{''.join(f'<li>{text(limit)}</li>' for limit in limits)}</ul>")


def _codes(names: Iterable[tuple[str, str]], values: Json) -> list[tuple[str, str]]:
    return [(name, code(values.get(member))) for name, member in names]
