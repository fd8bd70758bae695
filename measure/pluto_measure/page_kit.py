"""What pages are made of: the one style of all of them, and escaped text, lists and tables. Pure.

Every text that comes from outside goes through `text` or `code`: the evidence may be an attacker's, and so may its
event log and file name. The page loads nothing and runs nothing; its own policy forbids both, and the style is named
there by its hash (W3C CSP Level 3).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

NOTHING: Final = "–"
_LONGEST: Final = 4096
# These are shown as they are; what else cannot be printed is spelled, so that nothing hides or turns text around.
_SPACES: Final = " \n"

STYLE: Final = """
:root { color-scheme: light dark;
  --paper: #fff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --box: #f6f8fa;
  --good: #116329; --good-box: #e3f6e8; --bad: #a40e26; --bad-box: #ffebe9; --warn: #7d4e00; --warn-box: #fff5d6; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #0d1117; --ink: #e6edf3; --soft: #9ba6b2; --line: #3d444d; --box: #161b22;
  --good: #56d364; --good-box: #10281a; --bad: #ff8f87; --bad-box: #35161a; --warn: #e3b341; --warn-box: #2e2410; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1rem 3rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: clamp(2rem, 8vw, 3.2rem); line-height: 1.1; letter-spacing: -0.02em; }
h2 { margin: 2.5rem 0 0.75rem; padding-bottom: 0.3rem; border-bottom: 1px solid var(--line); font-size: 1.3rem; }
h3 { margin: 1.5rem 0 0.5rem; font-size: 1.05rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: inherit; }
:focus-visible { outline: 3px solid; outline-offset: 2px; }
.skip { position: absolute; left: -100vw; }
.skip:focus { position: static; }
code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 0.85em; }
code.value { display: block; user-select: all; }
pre { margin: 0.5rem 0; padding: 0.75rem 1rem; background: var(--box); border: 1px solid var(--line);
  border-radius: 0.4rem; white-space: pre-wrap; user-select: all; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .soft { color: var(--soft); }
header { padding: 1.5rem; border-radius: 0.6rem; border: 1px solid var(--line); border-left-width: 0.6rem; }
header.good { background: var(--good-box); border-color: var(--good); }
header.warn { background: var(--warn-box); border-color: var(--warn); }
header.bad { background: var(--bad-box); border-color: var(--bad); }
header p, header dd { color: var(--ink); }
header dl { margin-top: 0.75rem; } header dt, header dd { border: 0; padding-block: 0.1rem; }
.why { padding: 0; list-style: none; }
.why li { margin: 0.6rem 0; padding: 0.6rem 1rem; border-left: 0.25rem solid; border-radius: 0.3rem; }
.why li.bad { background: var(--bad-box); } .why li.warn { background: var(--warn-box); }
.why .said { color: var(--ink); }
dl { display: grid; grid-template-columns: minmax(7rem, 13rem) 1fr; margin: 0; }
dt, dd { margin: 0; padding: 0.35rem 0.75rem 0.35rem 0; border-bottom: 1px solid var(--line); }
dt { color: var(--soft); }
dt, thead th, td > .soft { overflow-wrap: break-word; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: 0.45rem 0.75rem 0.45rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { font-weight: 600; }
thead th { color: var(--soft); font-weight: 400; }
td.number, th.number { text-align: right; padding-right: 1.25rem; white-space: nowrap; }
details { margin: 0.75rem 0; border: 1px solid var(--line); border-radius: 0.4rem; }
summary { padding: 0.6rem 1rem; cursor: pointer; font-weight: 600; }
details > div { padding: 0 1rem 0.5rem; }
footer { margin-top: 2.5rem; }
@media screen and (max-width: 44rem) {
  body { padding: 0.6rem 0.75rem 2rem; } header { padding: 1.1rem 1rem; }
  dl { grid-template-columns: 1fr; } dt { border: 0; padding-bottom: 0; } dd { padding-top: 0; }
  header dl { grid-template-columns: 7.5rem 1fr; } header dd { padding-top: 0.1rem; }
  table.stack thead { position: absolute; clip-path: inset(50%); }
  table.stack, table.stack :is(caption, tbody, tr, th, td) { display: block; width: auto; }
  table.stack tr { padding: 0.4rem 0; border-bottom: 1px solid var(--line); }
  table.stack td, table.stack tbody th { border: 0; padding: 0.1rem 0; text-align: left; }
  table.stack td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); }
  table.stack td.number { display: inline-block; margin-right: 1.25rem; } }
@media print {
  :root { color-scheme: light; }
  body { max-width: none; font-size: 10pt; } header, .why li, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; } }
"""
# The same, and what pages made by this module have beside it.
KIT_STYLE: Final = f"""{STYLE}
.tag {{ display: inline-block; white-space: nowrap; margin-right: 0.5rem; }}
td dl {{ grid-template-columns: 6rem 1fr; }}
td dl dt {{ font-size: 0.9em; }}
td dl dt, td dl dd {{ border: 0; padding: 0 0.5rem 0.15rem 0; }}
td.check {{ width: 15rem; }}
@media screen and (max-width: 44rem) {{
  td dl {{ grid-template-columns: 5.4rem 1fr; }} td dl dd {{ padding-top: 0.2rem; }} }}
"""


def policy(style: str) -> str:
    """A page's own policy: it loads nothing, runs nothing, and has this one style, named by its hash."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def text(value: object) -> str:
    """Any JSON value as text of the page. Long text is cut, and says so."""
    if value is None or value == "" or value == []:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return text(" ".join(str(item) for item in value))
    shown = str(value)
    left = len(shown) - _LONGEST
    spelled = "".join(c if c.isprintable() or c in _SPACES else f"\\u{{{ord(c):x}}}" for c in shown[: max(_LONGEST, 0)])
    return escape(spelled) + (f" … ({left} more characters)" if left > 0 else "")


def code(value: object) -> str:
    """A value that one click selects whole, in fixed width."""
    shown = text(value)
    return shown if shown == NOTHING else f'<code class="value">{shown}</code>'


def bank(value: object) -> str:
    """The one bank of `sha384:00ff | sha384:11ff`, small; nothing for several."""
    names = {name if colon else "" for name, colon, _ in (item.partition(":") for item in str(value).split(" | "))}
    return f' <span class="soft">{text(*names)}</span>' if len(names) == 1 and "" not in names else ""


def digests(value: object) -> str:
    """`sha384:00ff | sha384:11ff`: one line for each, ready to be copied where there is one bank."""
    if value is None:
        return NOTHING
    shown = str(value).split(" | ")
    if bank(value):
        shown = [item.partition(":")[2] for item in shown]
    return "".join(code(item) for item in shown)


def lines(value: object) -> str:
    """Alternatives, one line for each."""
    return NOTHING if value is None else "".join(code(item) for item in str(value).split(" | "))


def day(value: object) -> object:
    """The day of a time: nobody needs the minutes of a TCB date."""
    return value[:10] if isinstance(value, str) else value


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Names and HTML; rows without anything to show are left out."""
    shown = "".join(f"<dt>{text(name)}</dt><dd>{html}</dd>" for name, html in rows if html != NOTHING)
    return f"<dl>{shown}</dl>" if shown else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """HTML cells; on a narrow screen a row becomes a block. `numbers` are the columns of numbers."""
    if not rows:
        return ""

    number = ' class="number"'

    def cell(index: int, html: str) -> str:
        label = f' data-label="{text(columns[index])}"' if index and len(columns) > 2 else ""
        kind = number if index in numbers else ""
        return f"<td{kind}{label}>{html}</td>"

    head = "".join(
        f'<th scope="col"{number if index in numbers else ""}>{text(name)}</th>' for index, name in enumerate(columns)
    )
    body = "".join(f"<tr>{''.join(cell(index, html) for index, html in enumerate(row))}</tr>" for row in rows)
    return f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def section(title: str, *parts: str) -> str:
    """Nothing where no part has anything."""
    body = "".join(parts)
    return f"<section><h2>{text(title)}</h2>{body}</section>" if body else ""


def document(title: str, body: str) -> str:
    """One self-contained file."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy(KIT_STYLE))}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{KIT_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def members(value: object) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> Sequence[Any]:
    """A JSON array; an empty one for anything else."""
    return value if isinstance(value, (list, tuple)) else ()
