"""`pluto-measure endorsement`: fetch, check and recompute what Google says of its firmware for trust domains."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files, services
from pluto_measure.errors import FormatError, UsageError, VerificationError
from pluto_measure.evidence import format_time, parse_time
from pluto_measure.formats.strict_json import unhex

if TYPE_CHECKING:
    from pluto_measure.collateral.endorsement_client import EndorsementClient
    from pluto_measure.verify.launch_endorsement import VerifiedEndorsement

_PEM_LIMIT: Final = 1024 * 1024

_DESCRIPTION: Final = """A launch endorsement is Google's signed word that a firmware of its own gives a trust domain a
certain MRTD. Quotes of Google's machines are judged by it. A state directory keeps endorsements, and remembers the
newest that it saw: older ones are refused from then on."""

_FETCH: Final = """Fetch the endorsement of an MRTD from Google's public bucket, verify it, and keep it (--state) or
write it (--out). With --firmware fetch the firmware's file as well, and check its digest. Exit code 4: what came is
not Google's, or is for another MRTD; 5: it is older than what was seen; 6: the bucket has none. Nothing is written
then."""

_CHECK: Final = """Verify an endorsement and show what it says. With --firmware trust Google less: the file must be the
one that is endorsed, and MRTD is computed from it. Exit code 4: not genuine, or the firmware gives another MRTD."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser(
        "endorsement", help="fetch and check Google's launch endorsements", description=_DESCRIPTION
    )
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True)
    one = actions.add_parser("fetch", help="from Google's bucket", description=_FETCH)
    one.add_argument("mrtd", metavar="MRTD", help="96 hex digits, as a quote has them")
    one.add_argument("--state", metavar="DIR", type=Path, help="the state directory")
    one.add_argument("--out", metavar="FILE", type=Path, help="write the endorsement to this file")
    one.add_argument("--firmware", metavar="FILE", type=Path, help="fetch the firmware too, to this file")
    services.add(one, "base URL of a mirror of the bucket (default: Google's)")
    _json(one, fetch)
    one = actions.add_parser("check", help="verify a file and show it", description=_CHECK)
    one.add_argument("file", metavar="FILE", type=Path, help="the endorsement")
    one.add_argument("--mrtd", metavar="MRTD", help="it must name this MRTD")
    one.add_argument("--firmware", metavar="FILE", type=Path, help="the firmware's file, to compute MRTD from")
    one.add_argument("--root", metavar="FILE", type=Path, help="Google's root (PEM), for endorsements without it")
    one.add_argument("--at", metavar="TIME", help="as of this time, such as 2026-11-20T12:00:00Z (default: now)")
    _json(one, check)


def _json(one: argparse.ArgumentParser, run: Any) -> None:
    one.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    one.set_defaults(run=run)


def fetch(arguments: argparse.Namespace) -> Result:
    """Fetch; the document has `endorsement` as `check` has it, and `wrote`."""
    if arguments.state is None and arguments.out is None:
        raise UsageError("nowhere to put it", hint="give --state DIR or --out FILE")
    mrtd, client = _mrtd(arguments.mrtd), _client(arguments)
    data = client.endorsement(mrtd)
    verified = _verified(data, datetime.now(UTC))
    _names(verified, mrtd)
    image = None if arguments.firmware is None else client.firmware(verified.firmware_digest)
    if arguments.state is not None:
        from pluto_measure.collateral.endorsement_store import EndorsementStore

        EndorsementStore(arguments.state).keep(verified, mrtd, data)
    for path, content in ((arguments.out, data), (arguments.firmware, image)):
        if path is not None and content is not None:
            files.write(path, content)
    wrote = [str(path) for path in (arguments.state, arguments.out, arguments.firmware) if path is not None]
    shown = facts(data)
    return Result({"endorsement": shown, "wrote": wrote}, text(shown) + "".join(f"wrote {name}\n" for name in wrote))


def check(arguments: argparse.Namespace) -> Result:
    """Check; the document has `endorsement` and, with a firmware, `computed`: its MRTD."""
    from pluto_measure.formats.endorsement import LIMIT

    at = datetime.now(UTC) if arguments.at is None else parse_time(arguments.at, what="--at")
    root = b"" if arguments.root is None else files.read(arguments.root, what="root certificate", limit=_PEM_LIMIT)
    data = files.read(arguments.file, what="launch endorsement", limit=LIMIT)
    with files.naming("launch endorsement", arguments.file):
        verified = _verified(data, at, root)
    if arguments.mrtd is not None:
        _names(verified, _mrtd(arguments.mrtd))
    shown = facts(data)
    if arguments.firmware is None:
        return Result({"endorsement": shown}, text(shown))
    computed = recomputed(verified, files.read(arguments.firmware, what="firmware"))
    line = f"the firmware gives the endorsed MRTD {computed.hex()}\n"
    return Result({"endorsement": shown, "computed": computed.hex()}, text(shown) + line)


def recomputed(verified: VerifiedEndorsement, firmware: bytes) -> bytes:
    """The MRTD that the firmware itself gives. VerificationError where it is not the endorsed file or MRTD.

    FormatError where it starts no trust domain. MRTDs for one size of memory cover a list of memory that is not in the
    file, a mistake of old hypervisors, and cannot be computed.
    """
    from pluto_measure.digests import digest
    from pluto_measure.formats import tdvf
    from pluto_measure.machine.mrtd import mrtd

    if (found := digest("sha384", firmware)) != verified.firmware_digest:
        raise VerificationError(
            f"firmware: its SHA-384 is {found.hex()}, and endorsed is {verified.firmware_digest.hex()}"
        )
    value = mrtd(firmware, tdvf.parse(firmware), "interleaved")
    if not verified.named(value):
        sizes = sorted({entry.ram_gib for entry in verified.mrtds})
        other = "for single sizes of memory, which no file can give" if 0 not in sizes else "others"
        raise VerificationError(f"firmware: it gives MRTD {value.hex()}, and those endorsed are {other}")
    return value


def inspected(data: bytes) -> Result | None:
    """What `inspect` says of an endorsement, genuine or not; None for bytes that are none."""
    from pluto_measure.findings import NotAuthentic, failures
    from pluto_measure.formats import endorsement

    try:
        endorsement.parse(data)
    except FormatError:
        return None
    problems: list[str] = []
    try:
        _verified(data, datetime.now(UTC))
    except NotAuthentic as error:
        problems = [finding.text for finding in failures(error.findings)]
    except FormatError as error:  # of the certificates beside it
        problems = [str(error)]
    shown = facts(data, problems)
    return Result({"format": "launch endorsement", **shown}, text(shown))


def _verified(data: bytes, at: datetime, root: bytes = b"") -> VerifiedEndorsement:
    from pluto_measure.verify import launch_endorsement as google

    return google.verify_endorsement(data, at=at, roots=google.GOOGLE_TCB_ROOTS, ca_bundle=root)


def facts(data: bytes, problems: Sequence[str] = ()) -> dict[str, Any]:
    """What an endorsement says, for programs. `problems`: why it is not to be believed."""
    from pluto_measure.formats import endorsement

    parsed = endorsement.parse(data)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "problems": list(problems),
        "made": None if parsed.timestamp is None else format_time(parsed.timestamp),
        "svn": parsed.svn,
        "firmware": parsed.firmware_digest.hex(),
        "clSpec": parsed.cl_spec,
        "mrtds": [
            {"mrtd": entry.mrtd.hex(), "ramGib": entry.ram_gib, "earlyAccept": entry.early_accept}
            for entry in parsed.mrtds
        ],
    }


def text(shown: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"launch endorsement of {shown['made'] or 'no date'}, security version {shown['svn']}"]
    lines += [f"  NOT GENUINE: {problem}" for problem in shown["problems"]] or ["  signed by Google"]
    lines.append(f"  firmware {shown['firmware']}")
    for one in shown["mrtds"]:
        memory = f"{one['ramGib']} GiB" if one["ramGib"] else "any memory"
        early = ", all memory accepted by the firmware" if one["earlyAccept"] else ""
        lines.append(f"  MRTD {one['mrtd']} ({memory}{early})")
    return "\n".join(lines) + "\n"


def _names(verified: VerifiedEndorsement, mrtd: bytes) -> None:
    if not verified.named(mrtd):
        raise VerificationError(f"launch endorsement: is for another firmware, it does not name MRTD {mrtd.hex()}")


def _mrtd(value: str) -> bytes:
    try:
        return unhex(value.lower(), 48, what="MRTD")
    except FormatError as error:
        raise UsageError("MRTD must be 96 hex digits", hint="run 'pluto-measure inspect QUOTE'") from error


def _client(arguments: argparse.Namespace) -> EndorsementClient:
    from pluto_measure.collateral.endorsement_client import BUCKET, EndorsementClient

    context = services.tls_context(arguments.tls_ca)
    return EndorsementClient(arguments.url or BUCKET, insecure_http=arguments.insecure_http, context=context)
