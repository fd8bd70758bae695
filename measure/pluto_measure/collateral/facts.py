"""What collateral says, for people and programs: numbers, dates, levels, and what the early update changes. Pure.

These are facts of the documents as they stand. Whether Intel signed them is one more fact, `problems`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from pluto_measure.evidence import format_time
from pluto_measure.findings import failures
from pluto_measure.formats.tcb_info import IsvLevel, TcbInfo, TcbLevel
from pluto_measure.verify.collateral import CheckedCollateral
from pluto_measure.verify.intel_crl import Crl
from pluto_measure.wording import counted

_DAY = timedelta(days=1)
_WIDTH = 80  # of a line for people, wherever it can be broken
DOCUMENTS = {"tcbInfo": "TCB info", "qeIdentity": "QE identity", "pckCrl": "PCK CRL", "rootCrl": "root CRL"}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """The collateral of one FMSPC and CA, checked. `early` None: nobody gave it.

    Without `crl_chain` the PCK CRL came without its issuer's chain: a quote has it, and nothing here vouches for it.
    """

    fmspc: bytes
    ca: str
    standard: CheckedCollateral
    early: CheckedCollateral | None
    fetched_at: datetime | None
    crl_chain: bool = True


def family_facts(family: Family, at: datetime) -> Json:
    """Everything that `collateral show` says of one FMSPC and CA, as of the time `at`."""
    early = family.early
    return {
        "fmspc": family.fmspc.hex(),
        "ca": family.ca,
        "fetchedAt": None if family.fetched_at is None else format_time(family.fetched_at),
        "pckCrlChain": family.crl_chain,
        "standard": set_facts(family.standard, at),
        "early": None if early is None else set_facts(early, at),
        "earlyChanges": [] if early is None else list(changes(family.standard, early)),
    }


def set_facts(checked: CheckedCollateral, at: datetime) -> Json:
    """One update: the documents, and why they are not to be believed (`problems`, empty where they are)."""
    info, identity = checked.tcb_info, checked.qe_identity
    return {
        "problems": [finding.text for finding in failures(checked.findings)],
        "tcbInfo": {
            "evaluationNumber": info.evaluation_number,
            **_dates(info.issue_date, info.next_update, at),
            "levels": [_level(level) for level in info.levels],
            "modules": {one.id: [_isv_level(level) for level in one.levels] for one in info.identities},
        },
        "qeIdentity": {
            "evaluationNumber": identity.evaluation_number,
            **_dates(identity.issue_date, identity.next_update, at),
            "levels": [_isv_level(level) for level in identity.levels],
        },
        "pckCrl": _crl(checked.pck_crl, at),
        "rootCrl": _crl(checked.root_crl, at),
    }


def changes(standard: CheckedCollateral, early: CheckedCollateral) -> Iterator[str]:
    """What the early update will change, one sentence each: levels that get another status, come or go."""
    old, new = standard.tcb_info, early.tcb_info
    yield from _renumbered("TCB info", old.evaluation_number, new.evaluation_number)
    yield from _levels(_platform_levels(old), _platform_levels(new))
    before, after = ({one.id: one.levels for one in info.identities} for info in (old, new))
    for name in sorted(before | after):
        yield from _levels(_isv(name, before.get(name, ())), _isv(name, after.get(name, ())))
    old_qe, new_qe = standard.qe_identity, early.qe_identity
    yield from _renumbered("QE identity", old_qe.evaluation_number, new_qe.evaluation_number)
    yield from _levels(_isv("quoting enclave", old_qe.levels), _isv("quoting enclave", new_qe.levels))


def family_text(facts: Json) -> str:
    """The same facts for people."""
    fetched = f", fetched {facts['fetchedAt']}" if facts["fetchedAt"] else ""
    lines = [f"FMSPC {facts['fmspc']}, {facts['ca']} CA{fetched}"]
    for update in ("standard", "early"):
        if facts[update] is not None:
            signed = ", signed by Intel" + (
                "" if facts["pckCrlChain"] else " but for the PCK CRL, which lacks its chain"
            )
            signed = "" if facts[update]["problems"] else signed
            lines += [f"  {update}{signed}", *_set_lines(facts[update])]
    if facts["early"] is not None:
        lines.append("  what the early update changes")
        lines += [line for change in facts["earlyChanges"] or ["nothing"] for line in _wrapped(change, 4)]
    return "\n".join(lines) + "\n"


def _set_lines(facts: Json) -> list[str]:
    lines = [line for problem in facts["problems"] for line in _wrapped(f"NOT AUTHENTIC: {problem}", 4)]
    info, identity = facts["tcbInfo"], facts["qeIdentity"]
    lines += _heading("tcbInfo", info, f"evaluation {info['evaluationNumber']}")
    lines += _level_lines("platform", info["levels"], _svns)
    for name, levels in info["modules"].items():
        lines += _level_lines(f"TDX module {name}", levels, _isv_svn)
    lines += _heading("qeIdentity", identity, f"evaluation {identity['evaluationNumber']}")
    lines += _level_lines("quoting enclave", identity["levels"], _isv_svn)
    for name in ("pckCrl", "rootCrl"):
        crl = facts[name]
        number = "no number" if crl["number"] is None else f"number {crl['number']}"
        lines += _heading(name, crl, f"{number}, {counted(crl['revoked'], 'certificate')} revoked")
    return lines


def _heading(name: str, facts: Json, said: str) -> list[str]:
    """A document: its number and its dates."""
    age = "issued in the future" if facts["ageDays"] < 0 else f"{counted(facts['ageDays'], 'day')} old"
    return [
        f"    {DOCUMENTS[name]}: {said}{', EXPIRED' if facts['expired'] else ''}",
        f"      issued {facts['issueDate']} ({age}), next due {facts['nextUpdate']}",
    ]


def _level_lines(heading: str, levels: Iterable[Json], svns: Callable[[Json], str]) -> list[str]:
    """The levels of one part, from the newest on: date, status and advisories, and from which SVNs on."""
    lines = [f"      {heading}"]
    for level in levels:
        lines += _wrapped(f"{level['tcbDate'][:10]} {svns(level)}: {_status(level)}", 8)
    return lines


def _wrapped(words: str, indent: int) -> list[str]:
    first, more = " " * indent, " " * (indent + 2)
    return textwrap.wrap(
        words, _WIDTH, initial_indent=first, subsequent_indent=more, break_long_words=False, break_on_hyphens=False
    )


def _isv_svn(level: Json) -> str:
    return f"SVN {level['isvSvn']}"


def _svns(level: Json) -> str:
    return f"SGX {_spelled(level['sgx'])}, PCESVN {level['pceSvn']}, TDX {_spelled(level['tdx'])}"


def _spelled(svns: list[int]) -> str:
    """The SVNs up to the last one that is not zero."""
    used = max((place for place, svn in enumerate(svns, 1) if svn), default=1)
    return ".".join(map(str, svns[:used]))


def _status(level: Json) -> str:
    advisories = f" ({', '.join(level['advisories'])})" if level["advisories"] else ""
    return f"{level['status']}{advisories}"


def _dates(issued: datetime, due: datetime, at: datetime) -> Json:
    """The age is in whole days, rounded down; below zero where the issue lies ahead."""
    ages = {"ageDays": (at - issued) // _DAY, "expired": due < at}
    return {"issueDate": format_time(issued), "nextUpdate": format_time(due), **ages}


def _crl(crl: Crl, at: datetime) -> Json:
    number = None if crl.number < 0 else crl.number
    return {
        "number": number,
        "revoked": len(x509.load_der_x509_crl(crl.der)),
        **_dates(crl.this_update, crl.next_update, at),
    }


def _level(level: TcbLevel) -> Json:
    svns = {"sgx": list(level.sgx), "pceSvn": level.pce_svn, "tdx": list(level.tdx)}
    return {**svns, **_rest(level)}


def _isv_level(level: IsvLevel) -> Json:
    return {"isvSvn": level.isv_svn, **_rest(level)}


def _rest(level: TcbLevel | IsvLevel) -> Json:
    return {"status": level.status, "tcbDate": format_time(level.date), "advisories": list(level.advisories)}


def _renumbered(what: str, old: int, new: int) -> Iterator[str]:
    if old != new:
        yield f"{what}: evaluation {old} becomes {new}"


def _platform_levels(info: TcbInfo) -> dict[str, str]:
    return {f"platform at {_svns(_level(level))}": level.status for level in info.levels}


def _isv(name: str, levels: Iterable[IsvLevel]) -> dict[str, str]:
    return {f"{name} from SVN {level.isv_svn} on": level.status for level in levels}


def _levels(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name, status in new.items():
        if name not in old:
            yield f"{name}: {status}, a new level"
        elif old[name] != status:
            yield f"{name}: {old[name]} becomes {status}"
    yield from (f"{name}: {status} so far, the level goes" for name, status in old.items() if name not in new)
