"""Whatever a site answers, and whatever selects it, there are values or a Violation, which quotes nothing."""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_notary.manifest import Violation
from simulators.notary.manifests import (
    ACCOUNT_PAGE,
    ACCOUNTS,
    BANK,
    HTML_HEADERS,
    JSON_HEADERS,
    SHOP,
    asking,
    extractor,
    judged,
    predicate,
)

_EVERY = predicate("array", "every", nested_predicate=predicate("value", "contains", "e", case_sensitive=False))
_ANY = asking(*[extractor("a", id=kind, type=kind, required=False) for kind in ("string", "number", "array", "object")])
_CASES = ((BANK, JSON_HEADERS), (_ANY, JSON_HEADERS), (SHOP, HTML_HEADERS))


def seeds() -> list[bytes]:
    return [ACCOUNTS, ACCOUNT_PAGE, b'{"a":["x",{"b":1e-7}]}', b'p > a[href^="/"]:not(.x)\n<p><a href="/y">z</a>']


def target(data: bytes) -> None:
    selector, _, page = data.partition(b"\n")
    chosen = asking(
        extractor(selector.decode(errors="replace") or "p", type="array", predicates=[_EVERY]), document=SHOP
    )
    for document, headers, body in (*((*case, data) for case in _CASES), (chosen, HTML_HEADERS, page)):
        try:
            values = judged(document, body, headers)
        except (FormatError, Violation) as error:  # a FormatError: the selector is too long
            _check(str(error))
            continue
        assert all(value.json for value in values)


def _check(text: str) -> None:
    """An error fits into an error frame, and a terminal obeys none of it."""
    assert text.isprintable()
    assert len(text) < 900
