"""The expressions of workflows, as GitHub's documentation of them says."""

from __future__ import annotations

from typing import Any

import pytest

from workflows import expressions

NAMES: dict[str, Any] = {
    "inputs": {"tag": "", "deep": {"er": "x"}, "no": False},
    "needs": {"rebuild": {"result": "failure"}},
    "steps": {"kept": {"outcome": "success"}},
}


def functions(**said: bool) -> dict[str, Any]:
    known = {"success": True, "failure": False, "cancelled": False, **said}
    return {**{name: (lambda found=found: found) for name, found in known.items()}, "double": lambda text: text * 2}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("inputs.tag || 'latest'", "latest"),
        ("inputs.deep.er && 'yes' || ''", "yes"),
        ("steps.kept.outcome == 'success' && 'yes' || ''", "yes"),
        ("steps.lost.outcome == 'success' && 'yes' || ''", ""),
        ("inputs.no.such.thing || 'it''s nothing'", "it's nothing"),
        ("!inputs.tag", True),
        ("(inputs.tag || 'a') == 'a'", True),
        ("double('ab') != 'abab'", False),
    ],
)
def test_values(source: str, wanted: object) -> None:
    assert expressions.value(source, NAMES, functions()) == wanted


def test_text_around_expressions_stays() -> None:
    assert expressions.text("a ${{ 'b' }} ${{ true }}", NAMES, functions()) == "a b true"


@pytest.mark.parametrize(
    ("source", "success", "wanted"),
    [
        ("", True, True),
        ("", False, False),
        ("steps.kept.outcome == 'success'", True, True),
        ("steps.kept.outcome == 'success'", False, False),
        ("${{ !cancelled() && needs.rebuild.result == 'failure' }}", False, True),
        ("failure()", True, False),
    ],
)
def test_conditions_ask_for_success_unless_they_ask_themselves(source: str, success: bool, wanted: bool) -> None:
    assert expressions.condition(source, NAMES, functions(success=success)) is wanted


@pytest.mark.parametrize("source", ["inputs.tag ||", "inputs.tag 'x'", "a ? b", "('x'"])
def test_what_is_no_expression_is_refused(source: str) -> None:
    with pytest.raises((SyntaxError, LookupError)):
        expressions.value(source, NAMES, functions())


def test_an_unknown_context_is_refused() -> None:
    with pytest.raises(LookupError):
        expressions.value("secrets.KEY", NAMES, functions())
