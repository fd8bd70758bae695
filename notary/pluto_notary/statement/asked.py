"""What a verifier asks of a statement beyond that it is genuine, and the findings. Pure.

A member of `Asked` that is None is reported as not checked. The window's width always has a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, judge
from pluto_notary.statement.model import ANYBODY, Statement, spelt
from pluto_notary.statement.proof import Proof

WIDEST_WINDOW: Final = 900  # seconds: a session's own limits with the uncertainty of trusted time


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`manifest`: the digest of the canonical manifest; `host`: its authority. Times in seconds."""

    modes: tuple[str, ...] = ("fetch",)
    manifest: bytes | None = None
    host: str | None = None
    nonce: bytes | None = None
    recipient: bytes | None = None
    chain_id: int | None = None
    contract: bytes | None = None
    max_age: int | None = None
    widest_window: int = WIDEST_WINDOW


NOTHING_ASKED: Final = Asked()


def statement_findings(proof: Proof, asked: Asked, at: datetime, *, skew: int) -> Iterator[Finding]:
    """Every finding about the statement's own words, as of `at` (aware); its clock may be `skew` seconds ahead."""
    statement = proof.statement
    yield _mode(statement, asked)
    yield from _manifest(statement, asked)
    yield _shown(proof)
    yield _nonce(statement, asked)
    yield _recipient(statement, asked)
    yield from _domain(statement, asked)
    yield from _time(statement, asked, at, skew)


def window(statement: Statement) -> str:
    """Its time for people."""
    return f"{_spelt(statement.not_before)} to {_spelt(statement.not_after)}"


def _mode(statement: Statement, asked: Asked) -> Finding:
    check, expected = "statement.mode", " ".join(asked.modes)
    if statement.mode not in asked.modes:
        why = (
            ": whoever has the client's traffic keys and the path can forge what was observed"
            if statement.mode == "observe"
            else ""
        )
        return Finding(check, "fail", f"the mode is not one that was asked for{why}", expected, statement.mode)
    if statement.mode == "observe":
        text = "a client that helps whoever has the path to the site can forge what was observed"
        return Finding(check, "warning", text, expected, statement.mode)
    return Finding(check, "pass", "the notary itself asked the site", expected, statement.mode)


def _manifest(statement: Statement, asked: Asked) -> Iterator[Finding]:
    check, actual = "statement.manifest", spelt(statement.manifest)
    if asked.manifest is None:
        text = "nobody said which manifest it must be (--manifest), so what was demanded of the site is not known"
        yield Finding(check, "warning", f"not checked: {text}", None, actual)
    else:
        yield judge(
            check,
            statement.manifest == asked.manifest,
            "the statement is by the manifest that was asked for",
            otherwise="the statement is by another manifest than was asked for",
            expected=spelt(asked.manifest),
            actual=actual,
        )
    if asked.host is None:
        text = "not checked: nobody said which site it must be (--manifest)"
        yield Finding("statement.host", "warning", text, None, statement.host)
    else:
        yield judge(
            "statement.host",
            statement.host == asked.host,
            "the statement is about the manifest's site",
            otherwise="the statement is about another site than the manifest's",
            expected=asked.host,
            actual=statement.host,
        )


def _shown(proof: Proof) -> Finding:
    shown = {opening.id for opening in proof.openings}
    hidden = [value.id for value in proof.statement.values if value.id not in shown]
    if hidden:
        text = f"not shown, so nothing is known of them: {', '.join(hidden)}"
        return Finding("values.shown", "warning", text, len(proof.statement.values), len(shown))
    return Finding("values.shown", "pass", "every signed value is shown", len(proof.statement.values), len(shown))


def _nonce(statement: Statement, asked: Asked) -> Finding:
    check, actual = "statement.nonce", spelt(statement.nonce)
    if asked.nonce is None:
        text = (
            "not checked: nobody said which nonce it must have (--nonce), so it may be made for somebody else, or old"
        )
        return Finding(check, "warning", text, None, actual)
    return judge(
        check,
        statement.nonce == asked.nonce,
        "the statement was made for this nonce",
        otherwise="the statement was made for another nonce",
        expected=spelt(asked.nonce),
        actual=actual,
    )


def _recipient(statement: Statement, asked: Asked) -> Finding:
    check, actual = "statement.recipient", spelt(statement.recipient)
    if asked.recipient is None:
        whose = "it is anybody's" if statement.recipient == ANYBODY else "it may be somebody else's than who shows it"
        text = f"not checked: nobody said whose it must be (--recipient); {whose}"
        return Finding(check, "warning", text, None, actual)
    return judge(
        check,
        statement.recipient == asked.recipient,
        "the statement is for this recipient",
        otherwise="the statement is for another recipient",
        expected=spelt(asked.recipient),
        actual=actual,
    )


def _domain(statement: Statement, asked: Asked) -> Iterator[Finding]:
    pairs = (
        ("statement.chain", "chain", asked.chain_id, statement.domain.chain_id, 0, "--chain-id"),
        ("statement.contract", "contract", asked.contract, statement.domain.contract, ANYBODY, "--contract"),
    )
    for check, noun, wanted, actual, none, option in pairs:
        if wanted is not None:
            text, otherwise = f"the statement is for this {noun}", f"the statement is for another {noun}"
            yield judge(
                check, actual == wanted, text, otherwise=otherwise, expected=spelt(wanted), actual=spelt(actual)
            )
        elif actual == none:
            yield Finding(check, "pass", f"the statement is for no {noun}", None, spelt(actual))
        else:
            text = f"not checked: nobody said which {noun} it must be for ({option})"
            yield Finding(check, "warning", text, None, spelt(actual))


def _time(statement: Statement, asked: Asked, at: datetime, skew: int) -> Iterator[Finding]:
    begin, end = statement.not_before, statement.not_after
    shown = window(statement)
    text, otherwise = "the window begins before it ends", "the window ends before it begins"
    yield judge("time.order", begin <= end, text, otherwise=otherwise, actual=shown)
    yield judge(
        "time.window",
        end - begin <= asked.widest_window,
        "the window is narrow enough",
        otherwise="the window is too wide to say when it was",
        expected=f"at most {asked.widest_window} seconds",
        actual=f"{end - begin} seconds",
    )
    now = int(at.timestamp())
    yield judge(
        "time.future",
        begin <= now + skew,
        "the statement is not from the future",
        otherwise="the statement is from the future",
        expected=f"not after {format_time(at)}",
        actual=_spelt(begin),
    )
    if asked.max_age is None:
        text = "not checked: nobody said how old a statement may be (--max-age)"
        yield Finding("time.age", "warning", text, None, shown)
    else:
        yield judge(
            "time.age",
            now - begin <= asked.max_age,
            "the statement is recent enough",
            otherwise="the statement is older than was asked for",
            expected=f"at most {asked.max_age} seconds",
            actual=f"{max(now - begin, 0)} seconds",
        )


def _spelt(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))
