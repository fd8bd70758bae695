"""Manifests of which members were replaced, taken out or added: most are none any more."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from simulators.notary.manifests import BANK, SHOP, asking, changed, extractor, predicate

JUNK = st.sampled_from(
    [None, True, 0, -1, 2**53, 0.5, "", "x", "<% token %>", "1", "200", [], {}, ["a"], {"a": "b"}, "HTTP/2",
     "array", "regex"]
)  # fmt: skip


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [one for name, item in inner for one in paths(item, (*path, name))]


SHORT = predicate("array", "every", nested_predicate=predicate("length", "lessThan", 9))
CROSS = predicate("regex", "contains", "^x", flags="i", case_sensitive=False)
RICH = asking(
    extractor("a", type="array", predicates=[SHORT]),
    extractor("b", id="y", required=False, predicates=[CROSS]),
    document=changed(BANK, request__body={"n": [1.5, "<% token %>"]}, response__message="OK"),
)  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    """A manifest with up to three members replaced, taken out or added."""
    document: Any = json.loads(json.dumps(draw(st.sampled_from([BANK, SHOP, RICH]))))
    for _ in range(draw(st.integers(0, 3))):
        *parents, last = draw(st.sampled_from(paths(document)))
        inner = document
        for step in parents:
            inner = inner[step]
        how = draw(st.sampled_from(["replace", "remove", "add"]))
        if how == "remove":
            del inner[last]
        elif how == "replace" or not isinstance(inner[last], dict):
            inner[last] = copy.deepcopy(draw(JUNK))
        else:
            inner[last][draw(st.sampled_from(["attribute", "message", "flags", "x", "body", "default"]))] = (
                copy.deepcopy(draw(JUNK))
            )
        if not paths(document):
            break
    return document  # type: ignore[no-any-return]
