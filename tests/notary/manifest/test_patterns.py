"""Patterns: what ECMAScript says of them, by its own engine; and what no pattern can do to us."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.manifest.ecmascript import PatternError, translated
from pluto_notary.manifest.patterns import LONGEST, Pattern
from pluto_notary.manifest.violation import OverworkError, Work

SAID = [
    ("^[A-Za-z0-9_-]{3,20}$", "", "abc_d", True),
    ("^[A-Za-z0-9_-]{3,20}$", "", "abc d", False),
    (r"^\d+\.\d{2}$", "", "12.50", True),
    (r"^\d+$", "", "١٢", False),
    ("^a$", "", "a\n", False),
    ("^a$", "m", "b\na\n", True),
    ("a.b", "", "a\nb", False),
    ("a.b", "", "a\u2028b", False),
    ("a.b", "s", "a\nb", True),
    ("^.$", "", "\U0001f600", True),
    (r"^\s$", "", "\ufeff", True),
    (r"^\S$", "", "\xa0", False),
    (r"^[\s\d]+$", "", "1 \u30002", True),
    ("STRASSE", "i", "strasse", True),
    ("^[^x]$", "i", "X", False),
    (r"\W", "i", "s", False),
    (r"\u{1F600}", "", "\U0001f600", True),
    (r"\ud83d\ude00", "", "\U0001f600", True),
    (r"\x41\u0042\cA\0\t", "", "AB\x01\x00\t", True),
    ("[^]", "", "\n", True),
    ("[]", "", "a", False),
    (r"[\]\-a-]", "", "-", True),
    ("[[a]", "", "[", True),
    ("(?<year>[0-9]{4})|(?:x)+?", "", "2025", True),
    (r"\bfoo\b", "", "a foo b", True),
    (r"[\b]", "", "\b", True),
    (r"\p{Lu}\p{Ll}", "", "Äb", True),
    ("", "", "", None),
    ("a{2}", "", "aa", True),
    (r"\/", "", "/", True),
]
REFUSED = {
    "look ahead": "(?=a)",
    "look behind": "(?<!a)b",
    "reference": r"(a)\1",
    "named reference": r"(?<n>a)\k<n>",
    "flags inside": "(?i)a",
    "RE2's own": r"\Aa\z",
    "RE2's literal": r"\Q.\E",
    "any byte": r"\C",
    "lone brace": "a{,5}",
    "possessive": "a++",
    "nothing to repeat": "*a",
    "repeated assertion": "^*",
    "open group": "(a",
    "closed group": "a)",
    "open class": "[a",
    "range backwards": "[z-a]",
    "range of classes": r"[\d-z]",
    "counts down": "a{3,2}",
    "octal": r"\01",
    "letter": r"\a",
    "half a pair": r"\ud800",
    "beyond Unicode": r"\u{110000}",
    "script": r"\p{Script=Greek}",
    "end": "a\\",
    "case and boundary": ("i", r"\ba"),
    "no boundary": r"\B",
    "too many": "a{1001}",
    "too large": "(?:a{1000}){1000}",
    "too long": "a" * (LONGEST + 1),
    "flag": ("g", "a"),
    "flag twice": ("ii", "a"),
}


def work() -> Work:
    return Work(10_000_000)


@pytest.mark.parametrize(("source", "flags", "text", "expected"), SAID)
def test_a_pattern_means_what_ecmascript_says(source: str, flags: str, text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(PatternError):
            Pattern(source, flags)
        return
    assert Pattern(source, flags).is_in(text, work()) == expected


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_taken_is_refused(given: str | tuple[str, str]) -> None:
    flags, source = given if isinstance(given, tuple) else ("", given)
    with pytest.raises(PatternError):
        Pattern(source, flags)


SPELT = r"a B é ſ . [ab] [^a] [^] \d \D \w \W \s \S [a-fé] [\w-] \x41 - _ \."
ATOMS = st.sampled_from(SPELT.split())
QUANTIFIERS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,2}", "+?", "*?"])
PIECES = st.tuples(ATOMS, QUANTIFIERS).map("".join)
PATTERNS = st.recursive(
    st.lists(PIECES | st.sampled_from(["^", "$"]), min_size=1, max_size=4).map("".join),
    lambda inner: (
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})") | inner.map(lambda one: f"({one})+")
    ),
    max_leaves=3,
)
TEXTS = st.text(st.sampled_from("aAbBéÉsSſkK\u212a1_- .\n\xa0\ufeff\U0001f600"), max_size=6)
NODE = """
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(([p, f, t]) => new RegExp(p, f + "u").test(t))));
"""


@pytest.mark.interop
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(PATTERNS, st.sampled_from(["", "i", "s", "m", "is"]), TEXTS), min_size=10, max_size=60))
def test_patterns_match_where_ecmascripts_own_engine_does(cases: list[tuple[str, str, str]]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no engine for ECMAScript (node) is installed")
    run = subprocess.run([node, "-e", NODE], input=json.dumps(cases), capture_output=True, text=True, check=True)
    ours = [Pattern(source, flags).is_in(text, work()) for source, flags, text in cases]
    different = [case for case, one, other in zip(cases, ours, json.loads(run.stdout), strict=True) if one != other]
    assert not different


@given(st.text(max_size=40), st.sampled_from(["", "i", "ms"]))
def test_any_text_is_a_pattern_or_a_pattern_error(source: str, flags: str) -> None:
    with suppress(PatternError):
        Pattern(source, flags)


@given(st.text("()[]{}|\\^$.*+?abdpuxk<>=!:-,1", max_size=20))
def test_a_translation_is_always_one_that_re2_reads(source: str) -> None:
    re2 = pytest.importorskip("re2")
    try:
        text = translated(source, "")
    except PatternError:
        return
    options = re2.Options()
    options.log_errors = False
    re2.compile(text, options)


@pytest.mark.parametrize("source", ["(x+x+)+y", "(?:a|a)*b", "(?:.*a){20}", "(?:[a-z]{1,30}){1,30}$", "^(?:(?:x)*)*$"])
def test_a_hostile_pattern_takes_no_time(source: str) -> None:
    begun = time.process_time()
    Pattern(source).is_in("x" * 10_000 + "!", work())
    assert time.process_time() - begun < 2


def test_work_is_counted_before_it_is_done() -> None:
    pattern, begun = Pattern("(?:.{0,200}){2}b"), time.process_time()
    with pytest.raises(OverworkError) as raised:
        pattern.is_in("é" * 1_000_000, Work(1_000_000))
    assert time.process_time() - begun < 0.5
    assert "é" not in str(raised.value)


def test_patterns_are_equal_by_what_they_say_and_kept_by_nobody() -> None:
    re2 = pytest.importorskip("re2")
    assert Pattern("a", "i") == Pattern("a", "i") != Pattern("a")
    assert len({Pattern("a"), Pattern("a"), Pattern("b")}) == 2
    assert re2._Regexp._make.cache_info().currsize == 0
