"""How a deployment stands, as one HTML page. Pure: the facts of `pluto-deploy status --json` in, text out.

It shows what a target says of itself and proves nothing; the page says so first. One file, without scripts and without
anything loaded; `page_kit` escapes every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pluto_measure.page_kit import NOTHING, code, document, items, members, pairs, section, table, text

Json = Mapping[str, Any]
_STATES: Final = {
    "running": ("good", "✓", "runs"),
    "stopped": ("soft", "–", "stopped"),
    "incomplete": ("warn", "!", "was not made whole"),
    "broken": ("bad", "✗", "ended, and does not come back"),
}


def page(facts: Json, *, place: str, command: str, at: str) -> str:
    """The page. `place`: the deployment in words, `command` what made it, `at` when it was looked."""
    target = members(facts.get("target"))
    body = (
        _verdict(target, place),
        "<main>",
        _machines(target),
        _address(facts),
        _journal(members(facts.get("journal"))),
        _notes(target, facts),
        _costs(facts),
        "</main>",
        f"<footer><h2>The command</h2><pre><code>{text(command)}</code></pre>",
        f'<p class="soft">Made by pluto-deploy status at {text(at)}.</p></footer>\n',
    )
    return document(f"{_title(target)}: {place}", "\n".join(part for part in body if part))


def _title(target: Json) -> str:
    return "Nothing serves" if target.get("serving") is None else f"Machine {target.get('serving')} serves"


def _verdict(target: Json, place: str) -> str:
    serves = _machine(target, target.get("serving"))
    kind = "good" if serves.get("state") == "running" and target.get("led") is True else "warn"
    led = "" if target.get("led") is True else "<p>Clients are not led to it as the file asks: apply does that.</p>"
    return (
        f'<header class="{kind}"><h1>{text(_title(target))}</h1><p>{text(place)}</p>{led}'
        "<p>This is what the target says of itself. It proves nothing: pluto-deploy verify asks for evidence.</p>"
        "</header>"
    )


def _machine(target: Json, slot: object) -> Json:
    return next((one for one in map(members, items(target.get("machines"))) if one.get("slot") == slot), {})


def _machines(target: Json) -> str:
    rows = []
    for one in map(members, items(target.get("machines"))):
        kind, mark, words = _STATES.get(str(one.get("state")), ("warn", "!", str(one.get("state"))))
        refused = ' <strong class="bad">✗ refused when it was appraised last</strong>' if one.get("refused") else ""
        serves = "serves" if one.get("slot") == target.get("serving") else "beside it"
        made = members(one.get("generation"))
        facts = pairs(
            (
                ("Release", code(made.get("release"))),
                ("Configuration", code(made.get("config"))),
                ("Machine", text(f"{made.get('profile')}, {made.get('cpus')} processors"))
                if made
                else ("Machine", NOTHING),
                ("Protected by", text(made.get("tee"))),
            )
        )
        state = f'<span class="{kind}">{mark} {text(words)}</span>{refused}'
        rows.append((text(one.get("slot")), text(serves), state, text(one.get("since")), facts))
    if not rows:
        return section("Machines", "<p>There is none.</p>")
    return section("Machines", table(("Machine", "What it is to clients", "State", "Since", "Made of"), rows))


def _address(facts: Json) -> str:
    last = members(facts.get("lastEvent"))
    said = ", ".join(f"{name} {value}" for name, value in last.items())
    found = pairs((("Address", code(facts.get("address"))), ("It said last", text(said))))
    return section("What clients reach", found) if facts.get("address") or last else ""


def _journal(journal: Json) -> str:
    words = {
        "at work": "It did not end: pluto-deploy apply goes on where it was.",
        "failed": "It failed.",
        "done": "It was done.",
    }
    if not journal:
        return ""
    rows = (
        ("When", text(journal.get("at"))),
        ("How it ended", text(words.get(str(journal.get("state")), journal.get("state")))),
        ("Why", text(journal.get("reason"))),
    )
    return section("The last command", pairs(rows))


def _notes(target: Json, facts: Json) -> str:
    found = [text(note) for note in items(target.get("notes"))]
    certificate = members(facts.get("certificate"))
    if certificate:
        found.append(text(", ".join(f"{name}: {value}" for name, value in certificate.items() if value is not None)))
    return section("To be noted", f"<ul>{''.join(f'<li>{one}</li>' for one in found)}</ul>") if found else ""


def _costs(facts: Json) -> str:
    rows = [
        tuple(text(one.get(name)) for name in ("what", "where", "why", "until"))
        for one in map(members, items(facts.get("costs")))
    ]
    return section("What is billed", table(("What", "Where", "Why", "Until"), rows)) if rows else ""
