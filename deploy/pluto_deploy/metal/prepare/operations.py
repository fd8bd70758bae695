"""pyinfra operations and facts that it does not have: files placed whole and in one look, holds, words of a kernel."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.facts.deb import DebPackages

from pluto_deploy.metal import layout
from pluto_deploy.metal.prepare.preparation import Device, Folder, Placed

# A file is complete and closed to others before it has its name. Its content comes by stdin, so that no argument and
# no log shows it. Names that begin with a dot are read by none of the programs whose folders these are.
_PLACE: Final = (
    'set -eu; umask 077; mkdir -p -m 0755 "$(dirname "$1")"; new=$(mktemp "$(dirname "$1")/.pluto.XXXXXX"); '
    'trap \'rm -f "$new"\' EXIT; base64 -d >"$new"; chown "$2" "$new"; chmod "$3" "$new"; '
    'sync "$new"; mv -f "$new" "$1"'
)
_STATE: Final = 'for path; do stat -c "%F|%a|%U|%G|%n" -- "$path" 2>/dev/null || true; done'
_SUMS: Final = 'for path; do [ ! -f "$path" ] || [ -L "$path" ] || sha256sum -- "$path"; done'
_MARKS: Final = layout.IMAGES.parent / "pending"
_CONFIGURE: Final = "DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --configure -a"
Commands = Generator[StringCommand, None, None]
State = Mapping[str, tuple[str, int, str, str]]  # by path: kind, mode, owner, group


class States(FactBase[State]):
    """Kind, mode, owner and group of paths; what is not there is left out."""

    default = dict

    def command(self, paths: Sequence[str]) -> str:
        return _script(_STATE, paths)

    def process(self, output: Iterable[str]) -> State:
        found = {}
        for line in output:
            kind, mode, owner, group, path = line.split("|", 4)
            found[path] = (kind, int(mode, 8), owner, group)
        return found


class Sums(FactBase[dict[str, str]]):
    """SHA-256 in hex of files; what is not a file is left out."""

    default = dict

    def command(self, paths: Sequence[str]) -> str:
        return _script(_SUMS, paths)

    def process(self, output: Iterable[str]) -> dict[str, str]:
        return {path: digest for digest, _, path in (line.partition("  ") for line in output)}


class Held(FactBase[list[str]]):
    """Packages that apt keeps at their version."""

    default = list

    def command(self) -> str:
        return "apt-mark showhold"

    def process(self, output: Iterable[str]) -> list[str]:
        return [line.strip() for line in output]


class HalfInstalled(FactBase[list[str]]):
    """What dpkg has to say of packages that are neither there nor not there."""

    default = list

    def command(self) -> str:
        return "dpkg --audit"

    def process(self, output: Iterable[str]) -> list[str]:
        return [line for line in output if line.strip()]


class Parameters(FactBase[list[str]]):
    """The words of the running kernel's command line."""

    default = list

    def command(self) -> str:
        return "cat /proc/cmdline"

    def process(self, output: Iterable[str]) -> list[str]:
        return [word for line in output for word in line.split()]


class UfwRules(FactBase[list[str]]):
    """The rules that somebody has given ufw, in its own words."""

    default = list

    def command(self) -> str:
        return "ufw show added 2>/dev/null || true"

    def process(self, output: Iterable[str]) -> list[str]:
        return [line.strip().removeprefix("ufw ") for line in output]


class Json(FactBase[dict[str, Any]]):
    """The object in a JSON file; empty where there is none."""

    default = dict

    def command(self, path: str) -> str:
        return _script('[ ! -f "$1" ] || cat -- "$1"', [path])

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        try:
            found = json.loads("\n".join(output))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@operation()
def place(files: Sequence[Placed], marks: Sequence[str] = ()) -> Commands:
    """Put files in their places, each whole, with owner and mode; only those that differ. Before, leave `marks`."""
    paths = [one.path for one in files]
    states, sums = host.get_fact(States, paths=paths), host.get_fact(Sums, paths=paths)
    marked = False
    for one in files:
        state = states.get(one.path)
        same = sums.get(one.path) == hashlib.sha256(one.content).hexdigest()
        if not same or state is None or state[1:] != (one.mode, one.owner, one.group):
            if not marked:
                yield from _mark(marks)
            marked = True
            yield _placing(one)


@operation()
def follow_up(mark: str, commands: Sequence[str]) -> Commands:
    """Run commands if the mark is there, then take it away.

    A mark is left before files are changed, so that what must come after a change comes also where the run that made
    the change was killed.
    """
    path = str(_MARKS / mark)
    if path in host.get_fact(States, paths=[path]):
        for command in commands:
            yield StringCommand(command)
        yield StringCommand("rm", "-f", QuoteString(path))


@operation()
def mend_packages() -> Commands:
    """Finish what an interrupted dpkg has left."""
    half: list[str] = host.get_fact(HalfInstalled)
    if half:
        yield StringCommand(_CONFIGURE)


@operation()
def merge_json(files: Sequence[Placed], marks: Sequence[str] = ()) -> Commands:
    """Give members of JSON files their values; other members stay. Before, leave `marks`."""
    states = host.get_fact(States, paths=[one.path for one in files])
    for one in files:
        there, ours = host.get_fact(Json, path=one.path), json.loads(one.content)
        state = states.get(one.path)
        if {**there, **ours} != there or state is None or state[1:] != (one.mode, one.owner, one.group):
            text = json.dumps({**there, **ours}, indent=4) + "\n"
            yield from _mark(marks)
            yield _placing(replace(one, content=text.encode()))


@operation()
def folders(wanted: Sequence[Folder]) -> Commands:
    """Folders with owner and mode; what lies in them is left alone."""
    states = host.get_fact(States, paths=[one.path for one in wanted])
    for one in wanted:
        if states.get(one.path) != ("directory", one.mode, one.owner, one.group):
            words = ["install", "-d", "-o", one.owner, "-g", one.group, "-m", f"{one.mode:04o}", one.path]
            yield StringCommand(*map(QuoteString, words))


@operation()
def devices(wanted: Sequence[Device]) -> Commands:
    """Devices there are, each for its group; modules of those that are not there. udev does the same at every boot."""
    states = host.get_fact(States, paths=[f"/dev/{one.name}" for one in wanted])
    for one in wanted:
        path = f"/dev/{one.name}"
        state = states.get(path)
        if state is None and one.module is not None:
            yield StringCommand("modprobe", QuoteString(one.module))
        elif state is not None and one.group is not None and (state[1] != 0o660 or state[3] != one.group):
            yield StringCommand("chgrp", QuoteString(one.group), QuoteString(path), "&&", "chmod", "0660", path)


@operation()
def refresh(command: str, packages: Sequence[str]) -> Commands:
    """Look what an archive has, where a package is not installed yet."""
    if set(packages) - set(host.get_fact(DebPackages)):
        yield StringCommand(command)


@operation()
def hold(packages: Sequence[str]) -> Commands:
    """Keep packages at their version."""
    held: list[str] = host.get_fact(Held)
    missing = sorted(set(packages) - set(held))
    if missing:
        yield StringCommand("apt-mark", "hold", *map(QuoteString, missing))


@operation()
def require_words(words: Sequence[str]) -> Commands:
    """Fail where the running kernel lacks words; for after a reboot."""
    there: list[str] = host.get_fact(Parameters)
    missing = sorted(set(words) - set(there))
    if missing:
        text = f"the kernel was started without {' and '.join(missing)}, although GRUB was told"
        yield StringCommand("sh", "-c", QuoteString('echo "$1" >&2; exit 1'), "sh", QuoteString(text))


@operation()
def ufw(rules: Sequence[str]) -> Commands:
    """Rules of ufw's that are not there yet."""
    there = host.get_fact(UfwRules)
    for rule in rules:
        if rule not in there:
            yield StringCommand("ufw", *map(QuoteString, rule.split()))


@operation()
def unless_there(path: str, command: Sequence[str]) -> Commands:
    """Run a command that makes `path`, where it is not there."""
    if path not in host.get_fact(States, paths=[path]):
        yield StringCommand(*map(QuoteString, command))


def _mark(marks: Sequence[str]) -> Commands:
    if marks:
        yield StringCommand("mkdir", "-p", str(_MARKS), "&&", "touch", *(str(_MARKS / mark) for mark in marks))


def _placing(file: Placed) -> StringCommand:
    words = ["sh", "-c", _PLACE, "sh", file.path, f"{file.owner}:{file.group}", f"{file.mode:04o}"]
    return StringCommand(*map(QuoteString, words), _stdin=base64.b64encode(file.content).decode())


def _script(script: str, words: Sequence[str]) -> str:
    return shlex.join(["sh", "-c", script, "sh", *words])
