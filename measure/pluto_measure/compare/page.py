"""What two logs differ in, as one HTML page: the verdict, the likely cause, each difference, and every event. Pure.

It shows what `pluto-measure diff --json` says, and beside it all events of the compared registers. One file, without
scripts and without anything loaded; `page_kit` escapes every text: a log may be an attacker's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pluto_measure.compare.explain.scene import strongest
from pluto_measure.compare.rows import Row
from pluto_measure.compare.side_by_side import role_text
from pluto_measure.page_kit import NOTHING, code, document, items, members, pairs, section, table, text
from pluto_measure.wording import counted

Json = Mapping[str, Any]
_MOST_ROWS: Final = 400  # of one register
_KINDS: Final = {
    "changed": "another one than expected",
    "missing": "missing",
    "unexpected": "nobody expects it",
}


def page(found: Json, rows: Mapping[str, Sequence[Row]], *, command: str, names: tuple[str, str]) -> str:
    """The page. `found`: the JSON document; `rows`: events by register; `names`: of the expected log and of the log."""
    title = "The same" if found.get("equal") is True else "Different"
    body = (
        _verdict(found, title, names),
        "<main>",
        _cause(members(found.get("cause"))),
        _differences([members(one) for one in items(found.get("differences"))]),
        _registers(members(found.get("registers"))),
        _events(rows),
        "</main>",
        f"<footer><h2>The command</h2><pre><code>{text(command)}</code></pre>",
        '<p class="soft">Made by pluto-measure diff.</p></footer>\n',
    )
    return document(f"{title}: {names[1]}", "\n".join(part for part in body if part))


def _verdict(found: Json, title: str, names: tuple[str, str]) -> str:
    kind, mark = ("good", "✓") if title == "The same" else ("bad", "✗")
    many = len(items(found.get("differences")))
    words = "Every compared register has the events that it should have."
    if title != "The same":
        words = f"{counted(many, 'event')} other than expected."
    facts = pairs(
        (
            ("Expected", text(names[0])),
            ("The log", text(names[1])),
            ("Machine", text(found.get("profile"))),
            ("Not compared", text(items(found.get("notCompared")))),
        )
    )
    return (
        f'<header class="{kind}"><h1><span class="{kind}">{mark}</span> {text(title)}</h1><p>{text(words)}</p>'
        f"{facts}</header>"
    )


def _cause(cause: Json) -> str:
    return section("The likely cause", *(f"<p>{text(cause[name])}</p>" for name in ("text", "hint") if cause.get(name)))


def _differences(found: Sequence[Json]) -> str:
    parts = []
    for one in found:
        attack = (
            f'<p class="bad"><strong>A known attack: {text(one["attack"])}</strong></p>' if one.get("attack") else ""
        )
        where = f"{one.get('register')}, event {one.get('index')}: {role_text(str(one.get('role')))}"
        facts = pairs(
            (
                ("How", text(_KINDS.get(str(one.get("kind")), one.get("kind")))),
                ("Expected", _event(members(one.get("expected")))),
                ("In the log", _event(members(one.get("actual")))),
            )
        )
        parts.append(f"<h3>{text(where)}</h3><p>{text(one.get('meaning'))}</p>{attack}{facts}")
    return section("What differs", *parts)


def _event(event: Json) -> str:
    if not event:
        return NOTHING
    digests = members(event.get("digests"))
    soft = '<span class="soft">{}</span>'
    shown = "".join(f"{soft.format(text(bank))}{code(value)}" for bank, value in digests.items())
    return f"{text(event.get('description'))} {shown or code(event.get('digest'))}"


def _registers(found: Json) -> str:
    marks: dict[object, str] = {
        True: '<span class="good">✓ as expected</span>',
        False: '<span class="bad">✗ another value</span>',
    }
    rows = [
        (
            text(name),
            marks.get(members(one).get("equal"), '<span class="soft">a log alone cannot say</span>'),
            text(members(one).get("differences")),
        )
        for name, one in found.items()
    ]
    return section("Registers", table(("Register", "Value", "Events that differ"), rows, numbers=(2,)))


def _events(rows: Mapping[str, Sequence[Row]]) -> str:
    parts = []
    for name, of_register in rows.items():
        if not of_register:
            continue
        wrong = sum(not row.equal for row in of_register)
        cells = [_row(row) for row in of_register[:_MOST_ROWS]]
        left = len(of_register) - _MOST_ROWS
        more = f"<p>{left} more are not shown.</p>" if left > 0 else ""
        said = f"{counted(wrong, 'difference')} in " if wrong else "equal, "
        shown = " open" if wrong else ""
        head = f"<summary>{text(name)}: {text(said + counted(len(of_register), 'event'))}</summary>"
        listed = table(("Event", "What it is for", "Expected", "In the log"), cells)
        parts.append(f"<details{shown}>{head}<div>{listed}{more}</div></details>")
    return section("Event by event", *parts)


def _row(row: Row) -> tuple[str, str, str, str]:
    kind, mark = ("soft", "=") if row.equal else ("bad", "✗")
    expected = NOTHING
    if row.expected is not None:
        expected = "any digest" if row.expected.is_open else _short(row.expected.digests)
    actual = NOTHING if row.actual is None else _short(row.actual.digests)
    index = "" if row.actual is None else str(row.index)
    return f'<span class="{kind}">{mark}</span> {text(index)}', text(role_text(row.role)), expected, actual


def _short(digests: Mapping[str, bytes]) -> str:
    chosen = strongest(digests)
    return NOTHING if chosen is None else code(chosen[1].hex()[:24] + "…")
