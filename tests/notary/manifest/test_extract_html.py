"""Values from pages: which element, which text, which type; and pages made to hurt."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_notary.manifest import Violation
from pluto_notary.manifest.extract_html import LARGEST, MOST_MATCHES, check_selectors, page, value_in
from pluto_notary.manifest.extract_json import NotFoundError
from pluto_notary.manifest.model import Extractor
from simulators.notary.manifests import ACCOUNT_PAGE, HTML_HEADERS, SHOP, found

HTML = "text/html; charset=utf-8"


def wanted(*selector: str, type: str = "string", attribute: str | None = None) -> Extractor:  # noqa: A002
    return Extractor("x", None, selector, type, True, (), attribute)


def taken(html: str | bytes, *selector: str, **how: Any) -> Any:
    body = html.encode() if isinstance(html, str) else html
    return value_in(page(body, how.pop("content_type", HTML)), wanted(*selector, **how))


def test_a_page_of_a_shop() -> None:
    assert found(SHOP, ACCOUNT_PAGE, HTML_HEADERS) == {"level": "Gold member", "points": 1250, "orders": ["A-1", "A-2"]}


@pytest.mark.parametrize(
    ("html", "selector", "expected"),
    [
        ("<p>a</p><p>b</p>", ("p",), "a"),
        ("<p>\n  Ada &amp;\t friends\u00a0 </p>", ("p",), "Ada & friends\u00a0"),
        ("<p>a<!-- b --><script>c</script><b>d</b></p>", ("p",), "ad"),
        ("<script>let a = 1</script>", ("script",), "let a = 1"),
        ("<p class='a b'>x</p>", ("p.b",), "x"),
        ("<P ID=Q>x</P>", ("#Q",), "x"),
        ("<div><p>a</p></div><section><p>b</p></section>", ("section", "p"), "b"),
        ("<ul><li>1</li><li>2</li></ul>", ("li:nth-of-type(2)",), "2"),
        ("<div><p>a</p></div>", ("div:has(p)", "p:not(.x)"), "a"),
        ("<a href='/x'>y</a>", ("a[href^='/']",), "y"),
    ],
)
def test_the_text_of_the_first_match(html: str, selector: tuple[str, ...], expected: str) -> None:
    assert taken(html, *selector) == expected


@pytest.mark.parametrize(
    ("html", "attribute", "expected"),
    [
        ("<a href=' /x '>y</a>", "href", " /x "),
        ("<a HREF=1>", "HRef", "1"),
        ("<a class='b  c'>", "class", "b  c"),
        ("<a href='1' href='2'>", "href", "1"),
        ("<a hidden>", "hidden", ""),
        ("<a title='&lt;&eacute;'>", "title", "<é"),
    ],
)
def test_an_attribute_as_it_is(html: str, attribute: str, expected: str) -> None:
    assert taken(html, "a", attribute=attribute) == expected


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (" 12.50\n", "number", 12.5),
        ("-3", "number", -3),
        ("1e3", "number", 1000),
        ("9007199254740993", "number", 2**53 + 1),
        ("1,000", "number", None),
        ("€5", "number", None),
        ("", "number", None),
        ("NaN", "number", None),
        ("0x1", "number", None),
        ("007", "number", None),
        ("١", "number", None),
        ("1e999", "number", None),
        ("true", "boolean", True),
        ("false", "boolean", False),
        ("True", "boolean", None),
        ("1", "boolean", None),
    ],
)
def test_numbers_and_booleans_are_spelt_as_in_json(text: str, kind: str, expected: Any) -> None:
    assert taken(f"<p>{text}</p>", "p", type=kind) == expected


def test_all_matches_each_once_in_the_order_of_the_page() -> None:
    nested = "<div>1<div>2</div></div><div>3</div>"
    assert taken(nested, "div", type="array") == ["12", "2", "3"]
    assert taken(nested, "body, div, div div", type="array") == ["12", "2", "3"]
    assert taken("<div><div><p>a</p></div></div>", "div", "p", type="array") == ["a"]


@pytest.mark.parametrize(
    "how", [{"selector": ("q",)}, {"selector": ("p", "q")}, {"selector": ("p",), "attribute": "title"}]
)
def test_what_is_not_there(how: dict[str, Any]) -> None:
    selector = how.pop("selector")
    for kind in ("string", "array"):
        with pytest.raises(NotFoundError):
            taken("<p>a</p><p title=x>b</p>", *selector, type=kind, **how)


@pytest.mark.parametrize(
    "selector", ["", "[", "p:nope", "p >", "#", "p::before", "a" * 500 + "[", ":is(" * 50, "::", "p{}", "\0["]
)
def test_what_is_no_selector_is_said_before_anybody_is_asked(selector: str) -> None:
    with pytest.raises(FormatError) as raised:
        check_selectors(wanted("p", selector), "extractor")
    assert raised.value.what == "extractor.selector[1]"
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("é".encode(), "text/html", "é"),
        ("é".encode(), "text/html; charset=UTF-8", "é"),
        (b"\xe9", "text/html;charset=iso-8859-1", "é"),
        (b"\x80", 'text/html; charset="windows-1252"', "€"),
    ],
)
def test_the_encoding_is_what_the_answer_says(body: bytes, content_type: str, text: str) -> None:
    assert taken(b"<p>" + body + b"</p>", "p", content_type=content_type) == text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff", "text/html"),
        (b"<meta charset=latin1>\xe9", HTML),
        (b"a", "text/html; charset=utf-7"),
        (b"a", "text/html; charset=utf-16"),
        (b"\x81", "text/html; charset=windows-1252"),
    ],
)
def test_an_encoding_is_never_guessed(body: bytes, content_type: str) -> None:
    with pytest.raises(FormatError):
        page(body, content_type)


def test_a_byte_order_mark_is_no_text() -> None:
    assert page("\ufeffé".encode(), HTML).get_text() == "é"


@pytest.mark.parametrize("body", [b"<div>" * 2000, b"<p>" * 1100, b"x" * (LARGEST + 1)])
def test_size_and_depth_are_bounded(body: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(FormatError):
        page(body, HTML)
    assert time.process_time() - begun < 3


def test_matches_and_text_are_bounded() -> None:
    with pytest.raises(Violation):
        taken("<i></i>" * (MOST_MATCHES + 1), "i", type="array")
    with pytest.raises(Violation):
        taken("<div>" * 100 + "x" * 20_000, "div", type="array")


def test_a_difference_from_browsers_that_the_format_names() -> None:
    """A browser would end the first cell where the second begins."""
    assert taken("<table><tr><td>1<td>2</table>", "td", type="array") == ["12", "2"]


PIECES = "<p> </p> <a href= ' \" > < </ <!-- --> <![CDATA[ <?x &#x &amp <script> x \0 <!DOCTYPE ]]>"
PIECES += " &#99999999; <![if </script <svg/>"
MARKUP = st.lists(st.sampled_from(PIECES.split(" ")), max_size=20).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    MARKUP,
    st.text(st.sampled_from("pa.#[]=:>+~ *()\"'\\|,^$-1"), max_size=12),
    st.sampled_from(["string", "array", "number", "boolean"]),
)
def test_any_page_and_any_selector_give_a_value_or_a_refusal(html: str, selector: str, kind: str) -> None:
    with suppress(FormatError, NotFoundError, Violation):
        taken(html, selector, type=kind)
