"""Any bytes end in an appraisal or a format error, in little memory and time."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.appraise import Appraisal, verify_evidence
from pluto_measure.errors import FormatError
from pluto_measure.evidence import ENVELOPE_LIMIT
from pluto_measure.formats import logs
from simulators import event_logs
from simulators.intel import NOW, TD15EX, world
from simulators.trust_domains import NONCE, OUTER_KEY, POLICY, REFERENCE, TrustDomain, bare, collateral_of, failed
from simulators.verdicts import flipped

MIB = 1 << 20
MOST_MEMORY = 64 * MIB
HONEST = TrustDomain()
QUOTE, ENVELOPE, LOG = HONEST.quote(), HONEST.envelope().to_text().encode(), HONEST.log_bytes()
NEWER = TrustDomain(world=world(version=5, kind=TD15EX)).quote()


def appraised(raw: bytes, log: bytes | None = LOG) -> Appraisal | None:
    """None for a format error; anything else that is raised is a bug and comes through."""
    inputs = HONEST.inputs(log=log, report_data=HONEST.claims().binding())
    try:
        return verify_evidence(raw, [REFERENCE], POLICY, NOW, NONCE, OUTER_KEY, inputs)
    except FormatError:
        return None


def judged(appraisal: Appraisal | None) -> None:
    if appraisal is None:
        return
    assert (appraisal.exit_code == 0) is appraisal.accepted
    assert appraisal.exit_code in (0, 4, 5)
    assert appraisal.authentic or appraisal.tcb is None or failed(appraisal) == ["binding.report_data"]
    json.dumps(appraisal.to_json())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=4096))
def test_any_bytes(raw: bytes) -> None:
    judged(appraised(raw))
    judged(appraised(QUOTE, raw))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([QUOTE, NEWER, ENVELOPE]), st.data())
def test_genuine_evidence_with_bytes_changed(seed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(seed) - 1))
    new = data.draw(st.binary(max_size=8))
    judged(appraised(seed[:at] + new + seed[at + len(new) :]))
    judged(appraised(seed[:at]))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(LOG) - 1), st.binary(max_size=8))
def test_a_log_with_bytes_changed_is_accepted_only_where_no_digest_changed(at: int, new: bytes) -> None:
    changed = LOG[:at] + new + LOG[at + len(new) :]
    try:
        appraisal = bare(log=changed)
    except FormatError:
        return
    judged(appraisal)
    assert appraisal.registers == {"sha384": HONEST.registers()}
    if appraisal.accepted:
        assert measured(changed) == measured(LOG)


def measured(log: bytes) -> list[tuple[int, int, bytes]]:
    return [(event.index, event.type, event.digests["sha384"]) for event in logs.parse(log).events if event.type != 3]


def test_every_bit_of_the_signed_part_of_a_quote_counts() -> None:
    """The quote in the envelope, each eighth bit: header and TD report."""
    envelope = json.loads(ENVELOPE)
    for bit in range(3, (48 + 584) * 8, 8):
        envelope["evidence"]["tdQuote"] = base64.b64encode(flipped(QUOTE, bit)).decode()
        appraisal = appraised(json.dumps(envelope).encode())
        assert appraisal is None or appraisal.exit_code == 4, bit


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return opening * depth + closing * depth


def with_member(name: str, value: str) -> bytes:
    """The envelope with a member of its evidence in place of the quote."""
    return ENVELOPE.replace(b'"tdQuote":', f'"{name}": {value}, "tdQuote":'.encode(), 1)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "an array of numbers": lambda: b"[" + b"1," * (MIB // 2) + b"1]",
    "an array of long numbers": lambda: b"[" + b"1" * MIB + b"]",
    "an array of arrays": lambda: b"[" + b"[]," * (MIB // 3) + b"[]]",
    "an array of objects": lambda: b"[" + b"{}," * (MIB // 3) + b"{}]",
    "nested arrays": lambda: nested(MIB // 2, b"[", b"]"),
    "nested objects": lambda: nested(MIB // 6, b'{"a":', b"}"),
    "an object of many members": lambda: b"{" + b",".join(b'"%d":0' % i for i in range(MIB // 10)) + b"}",
    "an envelope with an array of objects": lambda: with_member("x", "[" + "{}," * (MIB // 3) + "{}]"),
    "an envelope with nested arrays": lambda: with_member("x", "[" * 100_000 + "]" * 100_000),
    "an envelope of the largest size": lambda: with_member("x", "[" + "0," * ((ENVELOPE_LIMIT - 200_000) // 2) + "0]"),
    "too large an envelope": lambda: b'{"a": "' + b"a" * ENVELOPE_LIMIT + b'"}',
    "hex digits": lambda: b"0" * (4 * MIB),
    "a quote with much behind it": lambda: QUOTE + bytes(4 * MIB),
    "a quote whose length is a lie": lambda: QUOTE[:632] + b"\xff\xff\xff\x7f" + QUOTE[636:],
    "white space": lambda: b" " * (4 * MIB),
    "zeros": lambda: bytes(4 * MIB),
    "a quote of certificates": lambda: world().with_quote(inner_data=b"-----BEGIN CERTIFICATE-----\n" * 30_000).quote,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_evidence_takes_little_memory_and_time(name: str) -> None:
    raw = HOSTILE[name]()
    bounded(lambda: appraised(raw))


LOGS: dict[str, Callable[[], bytes]] = {
    "many events": lambda: event_logs.encode(HONEST.events()[1:] * 150, ("sha384",), cc=True),
    "much padding": lambda: LOG + b"\xff" * (8 * MIB),
    "an array of objects": HOSTILE["an array of objects"],
    "nested arrays": HOSTILE["nested arrays"],
}


@pytest.mark.parametrize("name", LOGS)
def test_a_hostile_log_takes_little_memory_and_time(name: str) -> None:
    raw = LOGS[name]()
    bounded(lambda: appraised(QUOTE, raw))


def test_hostile_collateral_is_a_format_error() -> None:
    deep = collateral_of(HONEST.world.with_collateral(info="[" * 100_000))
    with pytest.raises(FormatError):
        bare(collateral=deep)


def bounded(run: Callable[[], Any]) -> None:
    run()  # what is loaded and remembered on the way is not counted
    tracemalloc.start()
    begin = time.process_time()
    try:
        judged(run())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY, f"{peak >> 20} MiB"
    assert time.process_time() - begin < 20
