"""What the room must not touch, and the pinned list."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pluto_notary.trusted_time as room
from pluto_notary.trusted_time.agree import Rules
from pluto_notary.trusted_time.key_exchange import KeyExchange, encode
from pluto_notary.trusted_time.operators import OPERATORS
from pluto_notary.trusted_time.run import Pace, Turns

FILES = sorted(Path(room.__file__).parent.glob("*.py"))
PURE = {"agree", "clock", "siv", "packet", "nts", "key_exchange", "operators", "errors", "certificates"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_module_reads_a_clock_or_a_source_of_randomness_of_its_own(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    } | {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"time", "random", "secrets", "os", "subprocess"}
    if path.stem in PURE:
        assert not imported & {"asyncio", "socket", "ssl", "OpenSSL", "pathlib"}
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"now", "utcnow", "today"}


def test_the_pinned_operators_are_of_many_organisations_and_jurisdictions() -> None:
    rules = Rules(built_at=0)
    assert len(OPERATORS) >= rules.answers
    for of in ("organisation", "jurisdiction", "host"):
        assert len({getattr(operator, of) for operator in OPERATORS}) == len(OPERATORS)
    domains = {".".join(operator.host.split(".")[-2:]) for operator in OPERATORS}
    assert len(domains) == len(OPERATORS)
    assert all(operator.source.startswith("https://") and operator.port == 4460 for operator in OPERATORS)


def test_turns_grow_on_failure_return_on_success_and_spread() -> None:
    turns = Turns(2, Pace(), 0.0)
    assert turns.due(0.0) == [0, 1]
    waits = []
    for _ in range(30):
        turns.asked(0, "lost", 0.0, 0.5)
        turns.asked(1, "ok", 0.0, 0.999)
        waits.append(turns.wait(0.0))
    assert waits[:3] == pytest.approx([10.0, 15.0, 22.5])
    assert turns.due(1800.0) == [0, 1]
    turns.asked(0, "ok", 0.0, 0.0)
    assert turns.wait(0.0) == pytest.approx(810.0)
    turns.asked(0, "lost", 0.0, 0.5)
    assert turns.wait(0.0) == pytest.approx(10.0)
    turns.asked(0, "kiss", 0.0, 0.5)
    turns.asked(1, "kiss", 0.0, 0.5)
    assert turns.wait(0.0) == pytest.approx(1800.0)


def test_after_a_contradiction_all_but_those_who_failed_are_asked_soon() -> None:
    turns = Turns(2, Pace(), 0.0)
    turns.asked(0, "kiss", 0.0, 0.5)
    turns.asked(1, "ok", 0.0, 0.5)
    turns.again(5.0)
    assert turns.due(15.0) == [1]
    assert turns.due(1800.0) == [0, 1]


def test_a_key_exchange_without_end_is_cut_off_before_it_is_stored() -> None:
    exchange = KeyExchange()
    with pytest.raises(Exception, match="larger"):
        for _ in range(100):
            exchange.feed(encode(1024, bytes(1000), critical=False))
