"""pluto-image audit: known vulnerabilities of what is in a build, judged by a policy."""

from __future__ import annotations

import argparse
import hashlib
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.errors import FormatError, UsageError, VerificationError

if TYPE_CHECKING:
    from pluto_image.audit.document import Asked, Subject
    from pluto_image.audit.judge import Audit, Sighting
    from pluto_image.audit.model import Inside
    from pluto_image.audit.policy import AuditPolicy
    from pluto_image.audit.running import Names, Running

REFUSED: Final = 5
_LARGEST: Final = 256 * 1024 * 1024
_READ: Final = ("launch.json", "lock.json", "files.json", "source.tar", "release.json")

_DESCRIPTION = """
Hold the packages of which something is in a build against Debian's security tracker, and against what rebuilders of
these packages found. DIST is the folder of a build or of a release; of it are read SHA256SUMS, launch.json, lock.json,
files.json, source.tar and release.json. The network is used with --fetch alone. With --running also say whether what
runs is this build, and so affected. Exit code 5 by the policy; without --policy a strict one judges. Nothing here says
whether a build is authentic: 'pluto-measure release' does.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("audit", help="say what is known to be vulnerable", description=_DESCRIPTION)
    parser.add_argument("dist", type=Path, metavar="DIST", help="folder of a build, or of a release")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--tracker", type=Path, metavar="FILE", help="the tracker's data, fetched before")
    data.add_argument("--fetch", action="store_true", help="fetch the tracker's data from Debian now")
    parser.add_argument("--out", type=Path, metavar="FILE", help="with --fetch: keep the data here")
    parser.add_argument(
        "--fetched-at", metavar="TIME", help="when --tracker was fetched (default: the file's own time)"
    )
    parser.add_argument(
        "--rebuilders", type=Path, action="append", default=[], metavar="FILE", help="list of a rebuilderd; repeatable"
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="what refuses (default: a strict policy)")
    parser.add_argument(
        "--running", type=Path, metavar="FILE", help="proof, evidence, or what 'pluto-deploy status --json' printed"
    )
    parser.add_argument("--at", metavar="TIME", help="judge as of this time, such as 2026-11-20T12:00:00Z (now)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for people, too")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Read everything, fetch if asked to, judge, tell."""
    from pluto_image.audit import document, policy, running
    from pluto_image.audit.text import text

    began = datetime.now(UTC)
    now = _time(arguments.at, "--at") or began
    _refuse_odd_options(arguments)
    rules = _policy(arguments.policy)
    subject, inside, names = opened(arguments.dist)
    runs = None if arguments.running is None else _running(arguments.running)
    data, seen = _tracker(arguments, began)
    audit = _judged(arguments, inside, rules, data, seen, now)
    if runs is not None:
        audit = replace(audit, findings=(*audit.findings, running.judge(runs, names)))
    asked = document.Asked(
        at=now,
        tracker=_source(arguments),
        sha256=hashlib.sha256(data).hexdigest(),
        seen=seen,
        policy=rules,
        policy_file="" if arguments.policy is None else str(arguments.policy),
        rebuilders=tuple(str(path) for path in arguments.rebuilders),
        running=None if runs is None else (str(arguments.running), runs, audit.findings[-1].verdict == "pass"),
    )
    notes = [] if arguments.policy else [policy.STRICT_WORDS]
    notes += _kept(arguments, data) + _page(arguments, subject, asked, audit)
    found = document.document(subject, asked, audit)
    return Result(found, text(subject, asked, audit), 0 if audit.accepted else REFUSED, tuple(notes))


def opened(root: Path) -> tuple[Subject, Inside, Names]:
    """What is in the build, and what it is called. Only the files that this needs have to be there.

    UsageError if there is no build; VerificationError where a file does not have its digest in SHA256SUMS, FormatError.
    """
    from pluto_image.audit.document import Subject
    from pluto_image.audit.inside import inside
    from pluto_image.audit.running import Names
    from pluto_image.contents import files as listing
    from pluto_image.contents import recipe
    from pluto_image.lock.lockfile import Lock
    from pluto_measure.launch import Launch
    from pluto_measure.publish.digest_list import SUMS, format_sums, parse_sums

    if not (root / SUMS).is_file():
        hint = "name the folder of a build or of a release"
        raise UsageError(f"{root} holds no {SUMS}, so it is no build and no release", hint=hint)
    sums = parse_sums(files.read(root / SUMS, what=SUMS, limit=_LARGEST))
    found = {name: _checked(root, name, sums) for name in _READ}
    launch, lock = Launch.parse(found["launch.json"]), Lock.parse(found["lock.json"])
    document = recipe.document(found["source.tar"])
    if document is None:
        raise FormatError("source.tar", "does not hold one image.toml")
    name, version = (document.get(key) for key in ("name", "version"))
    if not isinstance(name, str) or not isinstance(version, str):
        raise FormatError("image.toml in source.tar", "name or version is missing")
    digests = (hashlib.sha256(found["release.json"]), hashlib.sha256(format_sums(sums).encode()))
    return (
        Subject(str(root), name, version, launch.build_id, launch.flavour),
        inside(lock, listing.parse(found["files.json"]), document),
        Names(launch.build_id, frozenset(one.hexdigest() for one in digests)),
    )


def _checked(root: Path, name: str, sums: dict[str, str]) -> bytes:
    if name not in sums:
        raise VerificationError(f"{name} is not in SHA256SUMS")
    data = files.read(root / name, what=name, limit=_LARGEST)
    if hashlib.sha256(data).hexdigest() != sums[name]:
        raise VerificationError(f"{name} does not have the digest in SHA256SUMS")
    return data


def _refuse_odd_options(arguments: argparse.Namespace) -> None:
    """What cannot work is said before anything is fetched."""
    if arguments.out is not None and not arguments.fetch:
        raise UsageError("--out keeps what --fetch brings, and there is no --fetch")
    if arguments.fetched_at is not None and arguments.fetch:
        raise UsageError("--fetched-at is about --tracker: with --fetch the data is of now")
    for option, path in (("--html", arguments.html), ("--out", arguments.out)):
        if path is not None and path.is_dir():
            raise UsageError(f"{option} {path}: is a directory")
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}")


def _policy(path: Path | None) -> AuditPolicy:
    from pluto_image.audit.policy import STRICT, AuditPolicy

    if path is None:
        return STRICT
    with files.naming("audit policy", path):
        return AuditPolicy.parse(files.read(path, what="audit policy", limit=1024 * 1024))


def _running(path: Path) -> Running:
    from pluto_image.audit import running

    with files.naming("what runs", path):
        return running.parse(files.read(path, what="what runs", limit=running.LIMIT))


def _tracker(arguments: argparse.Namespace, began: datetime) -> tuple[bytes, Sighting]:
    """The tracker's data, and when it was fetched."""
    from pluto_image.audit import tracker
    from pluto_image.audit.fetch import fetch
    from pluto_image.audit.judge import Sighting

    if arguments.fetch:
        return fetch(), Sighting(began, "fetch")
    path: Path = arguments.tracker
    data = files.read(path, what="security tracker", limit=tracker.LIMIT)
    if (told := _time(arguments.fetched_at, "--fetched-at")) is not None:
        return data, Sighting(told, "option")
    return data, Sighting(datetime.fromtimestamp(int(path.stat().st_mtime), UTC), "file")


def _judged(
    arguments: argparse.Namespace, inside: Inside, rules: AuditPolicy, data: bytes, seen: Sighting, now: datetime
) -> Audit:
    from pluto_image.audit import judge, rebuilders, tracker

    wanted = {(one.name, one.release) for one in inside.sources}
    components = [part for one in inside.sources for part in one.components]
    lists = [files.read(path, what="rebuilders' list", limit=rebuilders.LIMIT) for path in arguments.rebuilders]
    rebuilds = rebuilders.parse(lists, components) if lists else None
    return judge.judge(inside, tracker.parse(data, wanted), rebuilds, rules, seen, now)


def _kept(arguments: argparse.Namespace, data: bytes) -> list[str]:
    """Written once it was read: a file that was good is not replaced by one that is not."""
    if arguments.out is None:
        return []
    files.write(arguments.out, data)
    return [f"wrote {arguments.out}"]


def _page(arguments: argparse.Namespace, subject: Subject, asked: Asked, audit: Audit) -> list[str]:
    if arguments.html is None:
        return []
    from pluto_image.audit.page import page

    files.write(arguments.html, page(subject, asked, audit, command=_command(arguments)))
    return [f"wrote {arguments.html}"]


def _source(arguments: argparse.Namespace) -> str:
    from pluto_image.audit.fetch import URL

    return URL if arguments.fetch else str(arguments.tracker)


def _command(arguments: argparse.Namespace) -> str:
    """What was typed, without --json."""
    words = ["pluto-image", "audit", str(arguments.dist)]
    options = (
        ("--tracker", arguments.tracker),
        ("--out", arguments.out),
        ("--fetched-at", arguments.fetched_at),
        *(("--rebuilders", path) for path in arguments.rebuilders),
        ("--policy", arguments.policy),
        ("--running", arguments.running),
        ("--at", arguments.at),
        ("--html", arguments.html),
    )
    words += ["--fetch"] if arguments.fetch else []
    words += [word for option, value in options if value is not None for word in (option, str(value))]
    return shlex.join(words)


def _time(text: str | None, option: str) -> datetime | None:
    from pluto_measure.evidence import parse_time

    try:
        return None if text is None else parse_time(text, what=option)
    except FormatError as error:
        raise UsageError(str(error)) from error
