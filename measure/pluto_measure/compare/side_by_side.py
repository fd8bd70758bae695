"""A comparison as a table for people: expected and actual events side by side, register by register. Pure.

Plain ASCII, so that it reads the same on every terminal and in every log.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pluto_measure.compare.difference import Comparison, Difference
from pluto_measure.compare.explain.scene import strongest
from pluto_measure.compare.rows import Row
from pluto_measure.event_text import IMAGE_TYPES, describe, image_path
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.predict.events import Banks, ExpectedEvent

DEFAULT_WIDTH: Final = 100
_NARROWEST: Final = 60
_CONTEXT: Final = 3  # equal events shown before and after one that differs
_MOST_ROWS: Final = 60  # of one register
_DIGITS: Final = 8
_INDEX: Final = 6
_LEGEND: Final = "= equal  ~ any digest is accepted  ! differs  - missing  + nobody expects it"
_TEXTS: Final[Mapping[str, str]] = {
    "td-hob": "memory (TD HOB)",
    "cfv": "variable store (CFV)",
    "smbios": "SMBIOS table",
    "boot-order": "BootOrder",
    "calling": "boot option starts",
    "returning": "boot option returned",
    "gpt": "partition table",
    "separator:secure-boot": "end of Secure Boot variables",
    "separator:ready": "end of the firmware phase",
    "image:uki": "image to boot (UKI)",
    "image:kernel": "kernel",
    "image:firmware": "program of the firmware",
    "image:addon": "addon of the UKI",
    "load-options": "kernel command line",
    "initrd": "initrd",
    "exit-invoked": "ExitBootServices called",
    "exit-done": "ExitBootServices worked",
    "exit-failed": "ExitBootServices failed",
    "override": "command line from outside",
    "credentials": "credentials from outside",
    "extension": "extension from outside",
    "driver:option-rom": "option ROM of a device",
}
_TEXT_OF_HEAD: Final[Mapping[str, str]] = {
    "acpi": "ACPI {}",
    "smbios": "SMBIOS {}",
    "fw-cfg": "VMM setting {}",
    "variable": "variable {}",
    "boot-option": "Boot{}",
    "authority": "checked by {}",
    "image": "image ({})",
    "section-name": "name of {}",
    "section": "section {}",
    "shim": "shim: {}",
    "grub": "GRUB: {}",
    "driver": "driver ({})",
    "event": "{}",
    "config": "{}",
}


def table(comparison: Comparison, equal: Mapping[str, bool | None], width: int = DEFAULT_WIDTH) -> str:
    """All compared registers; those with equal events in one line each. No line is longer than `width`, or 60.

    `equal`: whether a register's value is the expected one, None where a log cannot say.
    """
    width = max(width, _NARROWEST)
    lines: list[str] = []
    for name, rows in comparison.rows.items():
        lines += _register(name, rows, comparison.by_row, equal.get(name), width)
    if any(line.startswith(" ") for line in lines):
        lines += [*([""] if lines[-1] else []), *wrapped(_LEGEND, width)]
    return "\n".join(lines) + "\n" if lines else ""


def wrapped(text: str, width: int, first: str = "", rest: str = "") -> Iterator[str]:
    """Text in lines of at most `width` characters, in ASCII; `first` and `rest` are put before its lines."""
    for line in textwrap.wrap(_plain(text), width, initial_indent=first, subsequent_indent=rest):
        yield line.rstrip()


def _register(
    name: str, rows: Sequence[Row], words: Mapping[tuple[str, int], Difference], equal: bool | None, width: int
) -> Iterator[str]:
    wrong, accepted = sum(not row.equal for row in rows), sum(map(_is_open, rows))
    head = f"{name:7} "
    if not rows and equal is not False:
        return
    if not wrong and not accepted:
        verdict = "its value is not the expected one, its events are" if equal is False else "equal"
        yield f"{head}{verdict}, {_counted(len(rows), 'event')}"
        return
    events = _counted(len(rows), "event")
    verdict = f"{wrong} of {events} {'differs' if wrong == 1 else 'differ'}" if wrong else f"equal, {events}"
    yield head + verdict + (f", {accepted} of any digest" if accepted else "")
    yield _columns("", "", "event", "expected", "log", width)
    said: set[str] = set()
    for at, row in _shown(rows):
        if row is None:
            yield f"{'':{_INDEX}}     ... {_counted(at, 'more event')}"
            continue
        yield _line(row, width)
        difference = words.get((name, at))
        cause = "" if difference is None else difference.why.cause or difference.meaning
        if difference is not None and cause not in said:
            said.add(cause)
            yield from _words(difference, width)
    yield ""


def _shown(rows: Sequence[Row]) -> Iterator[tuple[int, Row | None]]:
    """Rows with their positions; (n, None) where n equal ones, or more than are shown, are left out."""
    near: set[int] = set()
    for at, row in enumerate(rows):
        if not row.equal:
            near.update(range(at - _CONTEXT, at + _CONTEXT + 1))
    kept = [at for at, row in enumerate(rows) if at in near or _is_open(row)][:_MOST_ROWS]
    before = -1
    for at in [*kept, len(rows)]:
        left_out = at - before - 1
        if left_out == 1:
            yield before + 1, rows[before + 1]
        elif left_out:
            yield left_out, None
        if at < len(rows):
            yield at, rows[at]
        before = at


def _is_open(row: Row) -> bool:
    return row.equal and row.expected is not None and row.expected.is_open


def _line(row: Row, width: int) -> str:
    if row.equal:
        mark = "~" if _is_open(row) else "="
    else:
        mark = "+" if row.expected is None else "-" if row.actual is None else "!"
    index = "" if row.actual is None else str(row.index)
    theirs = None if row.actual is None else row.actual.digests
    expected = _expected(row.expected, theirs, quiet=row.equal)
    actual = _actual(row.actual, None if row.expected is None else row.expected.digests, quiet=row.equal)
    return _columns(index, mark, role_text(row.role), expected, actual, width)


def _columns(index: str, mark: str, what: str, expected: str, actual: str, width: int) -> str:
    room = width - _INDEX - 6
    name = min(max(room * 3 // 10, 18), 40)
    cell = (room - name - 4) // 2
    fields = (
        f"{index:>{_INDEX}} {mark:1}  {_cut(what, name):{name}}",
        f"{_cut(expected, cell):{cell}}",
        _cut(actual, cell),
    )
    return "  ".join(fields).rstrip()


def _expected(event: ExpectedEvent | None, other: Banks | None, *, quiet: bool) -> str:
    if event is None:
        return "nothing"
    if event.is_open:
        return "any digest"
    if event.allowed:
        return f"one of {len(event.allowed)}"
    return _cell(event.digests, other, "" if quiet else event.description.partition(": ")[2])


def _actual(event: LogEvent | None, other: Banks | None, *, quiet: bool) -> str:
    if event is None:
        return "nothing"
    if quiet:
        return _cell(event.digests, other, "")
    if event.type in IMAGE_TYPES:
        path = image_path(event)
        return _cell(event.digests, other, uefi.path_text(path[-1:]) if path else "")
    return _cell(event.digests, other, describe(event).partition(": ")[2])


def _cell(digests: Banks, other: Banks | None, words: str) -> str:
    """A digest in a bank that both sides have, so that equal ones look equal."""
    common = {bank: digests[bank] for bank in digests if other and bank in other}
    chosen = strongest(common or digests)
    shown = f"{chosen[1].hex()[:_DIGITS]}.." if chosen else ".."
    return f"{shown} {words}".rstrip()


def _words(difference: Difference, width: int) -> Iterator[str]:
    attack = f" [attack: {difference.attack}]" if difference.attack else ""
    indent = " " * (_INDEX + 4)
    return wrapped(difference.meaning + attack, width, f"{indent}> ", f"{indent}  ")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cut(text: str, room: int) -> str:
    shown = _plain(text)
    return shown if len(shown) <= room else shown[: room - 2] + ".."


def _plain(text: str) -> str:
    """Without what not every terminal can show, and what would take two columns."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def role_text(role: str) -> str:
    """A role for people."""
    head, _, name = role.partition(":")
    if role in _TEXTS:
        return _TEXTS[role]
    return _TEXT_OF_HEAD[head].replace("{}", name) if name and head in _TEXT_OF_HEAD else role
