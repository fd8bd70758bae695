"""`pluto-measure release`: whether a release is what its signers say, and whether enough of them do."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.values import time_or_now
from pluto_measure.errors import UsageError
from pluto_measure.evidence import format_time

if TYPE_CHECKING:
    from pluto_measure.publish.judge import Judgement
    from pluto_measure.publish.signature import OpenBundle, Opened, Signature

TRUST_LIMIT: Final = 1024 * 1024
_ROOT_LIMIT: Final = 1024 * 1024
_MOST: Final = 10  # differing files, or registers, that are listed
_MARKS: Final = {"pass": "ok  ", "warning": "warn", "fail": "FAIL"}

DESCRIPTION: Final = """Verify a release: every file against the statement (release.json), the statement's signatures
against the trust file, how lately they were confirmed, its place in its channel, its validity, and its registers
against measurements.json. Whoever disagrees is named, also where enough others signed. Exit code 0 accepted, 3
malformed, 4 not authentic, 5 refused. Files of the release that are not in the folder are not looked at."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser("release", help="verify a release and who signed it", description=DESCRIPTION)
    sub.add_argument("release", metavar="RELEASE", type=Path, help="folder of the release")
    sub.add_argument(
        "--trust", metavar="FILE", type=Path, required=True, help="whose signatures count, and how many (TOML)"
    )
    add_judging_options(sub)
    sub.add_argument("--complete", action="store_true", help="refuse a folder that lacks a released file")
    sub.add_argument("--allow-debug", action="store_true", help="accept the debug flavour")
    sub.add_argument("--at", metavar="TIME", help="judge as of this time, such as 2026-11-20T12:00:00Z (default: now)")
    sub.add_argument("--html", metavar="FILE", type=Path, help="write a page that shows who rebuilt what, too")
    sub.add_argument("--verbose", action="store_true", help="list the checks that pass, too")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def add_judging_options(sub: argparse.ArgumentParser) -> None:
    """--state, --minimum-sequence and --sigstore-root."""
    sub.add_argument(
        "--state", metavar="DIR", type=Path, help="where accepted releases are remembered, so that no older one is"
    )
    sub.add_argument("--minimum-sequence", metavar="N", type=int, help="refuse releases of the channel before this one")
    sub.add_argument(
        "--sigstore-root",
        metavar="FILE",
        type=Path,
        help="Sigstore's trusted root for keyless signatures (default: the one that its library carries)",
    )


def run(arguments: argparse.Namespace) -> Result:
    """Verify; the document is the judgement."""
    # Imported here: `cryptography` takes longer to load than the parser.
    from pluto_measure.publish import folder
    from pluto_measure.publish.judge import Demands, judge_release
    from pluto_measure.publish.trust import Trust

    files.refuse_no_place("--html", arguments.html)
    data = files.read(arguments.trust, what="trust", limit=TRUST_LIMIT)
    with files.naming("trust", arguments.trust):
        trust = Trust.parse(data)
    memory = None if arguments.state is None else folder.ReleaseMemory(arguments.state)
    demands = Demands(
        at=time_or_now("--at", arguments.at),
        trust=trust,
        minimum_sequence=arguments.minimum_sequence,
        allow_debug=arguments.allow_debug,
        complete=arguments.complete,
        memory=None if memory is None else memory.load(),
    )
    judgement = judge_release(folder.read(arguments.release), demands, opener(arguments.sigstore_root))
    if memory is not None and judgement.revoked:
        memory.remember_revoked(judgement.release)
    if memory is not None and judgement.accepted:
        memory.remember(judgement.release, judgement.statement)
    document = {"release": str(arguments.release), **describe(judgement), "at": format_time(demands.at)}
    notes = [f"DISAGREEMENT: {one.file}: {one.text}" for one in judgement.disagreeing]
    code = judgement.exit_code
    if arguments.html is not None:
        try:
            _page(arguments, document, format_time(demands.at))
            notes.append(f"wrote {arguments.html}")
        except UsageError as error:  # which must not lose the verdict
            code = error.exit_code
            notes.append(f"error: {error}")
    return Result(document, text(judgement, verbose=arguments.verbose), code, tuple(notes))


def _page(arguments: argparse.Namespace, document: Mapping[str, Any], at: str) -> None:
    from pluto_measure.publish.page import page

    words = ["pluto-measure", "release", str(arguments.release)]
    for name in ("trust", "state", "minimum_sequence", "sigstore_root"):
        value = getattr(arguments, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    words += [f"--{name.replace('_', '-')}" for name in ("complete", "allow_debug") if getattr(arguments, name)]
    command = shlex.join([*words, "--at", at, "--html", str(arguments.html)])
    files.write(arguments.html, page(document, command=command))


def opener(root: Path | None) -> OpenBundle:
    """What opens Sigstore's bundles; its library is loaded when the first one comes."""
    if root is not None:
        from pluto_measure.publish import keyless

        data = files.read(root, what="Sigstore root", limit=_ROOT_LIMIT)
        with files.naming("Sigstore root", root, "sigstore root"):
            return keyless.opener(data)
    return _by_carried_root


def _by_carried_root(bundle: bytes) -> Opened:
    """By the root that Sigstore's library carries, which is loaded when the first bundle comes."""
    from pluto_measure.publish import keyless

    return keyless.verify(bundle, root=None)


def describe(judgement: Judgement) -> dict[str, object]:
    """The JSON document."""
    from pluto_measure.publish.dissent import sources

    release = judgement.release
    place, validity = release.facts.place, release.facts.validity
    return {
        "accepted": judgement.accepted,
        "name": release.name,
        "version": release.version,
        "flavour": release.flavour,
        "buildId": release.build_id,
        **place.to_json(),
        **validity.to_json(),
        "statement": judgement.statement,
        "signers": {
            "wanted": judgement.wanted,
            "organisations": list(judgement.organisations),
            "trusted": [one.name for one in judgement.trust.organisations],
        },
        "confirmation": {
            "maxAge": judgement.trust.max_confirmation_age,
            "organisations": {name: format_time(at) for name, at in sorted(judgement.confirmed.items())},
        },
        "disagreements": [_disagreement(one) for one in judgement.disagreeing],
        "signatures": [
            {
                "file": one.file,
                "worth": one.worth,
                "signer": one.signer or None,
                "organisation": one.organisation,
                "signedAt": None if one.signed_at is None else format_time(one.signed_at),
                "text": one.text,
            }
            for one in judgement.signatures
        ],
        "artifacts": {name: digests.to_json() for name, digests in judgement.artifacts.items()},
        "registers": sources(release.platforms),
        "findings": [finding.to_json() for finding in judgement.findings],
    }


def _disagreement(one: Signature) -> dict[str, object]:
    found = one.disagreement
    parts = ((), (), ()) if found is None else (found.artifacts, found.registers, found.apart)
    named = zip(("artifacts", "registers", "apart"), parts, strict=True)
    differing = {name: [each.to_json() for each in part] for name, part in named}
    return {"organisation": one.organisation, "file": one.file, "text": one.text, **differing}


def _differing(one: Signature) -> Iterator[str]:
    """What somebody who disagrees has in its place, each in a line."""
    if one.disagreement is not None:
        found = one.disagreement
        for word, part in (("file", found.artifacts), ("register", found.registers), ("not rebuilt", found.apart)):
            for each in part[:_MOST]:
                yield f"         {word:11} {each.what}: {each.expected or 'nothing'}, theirs {each.actual or 'nothing'}"
            if len(part) > _MOST:
                yield f"         {word:11} and {len(part) - _MOST} more"


def text(judgement: Judgement, *, verbose: bool) -> str:
    """The same for people: the verdict, then what is not in order, then the rest if asked for."""
    release, place = judgement.release, judgement.release.facts.place
    verdict = "accepted" if judgement.accepted else "REFUSED"
    lines = [
        f"{verdict}: {release.name} {release.version} ({release.flavour}), {place.channel} release {place.sequence}",
        f"  build id   {release.build_id}",
        f"  statement  {judgement.statement}",
        f"  signed by  {', '.join(judgement.organisations) or 'nobody'} ({judgement.wanted} wanted)",
    ]
    if judgement.trust.max_confirmation_age != "any":
        said = [f"{name} {format_time(at)}" for name, at in sorted(judgement.confirmed.items())]
        lines.append(f"  confirmed  {', '.join(said) or 'by nobody'}")
    for one in judgement.disagreeing:
        lines += [f"  DISAGREES  {one.organisation}, in {one.file}", *_differing(one)]
    for finding in judgement.findings:
        if finding.verdict == "pass" and not verbose:
            continue
        lines.append(f"  {_MARKS[finding.verdict]} {finding.id}: {finding.text}")
        if finding.verdict == "fail":
            both = (("expected", finding.expected), ("actual", finding.actual))
            lines += [f"         {name:8} {value}" for name, value in both if value is not None]
    return "\n".join(lines) + "\n"
