"""`pluto-notary prove`: get a proof of what a web site says, from a notary that is appraised first."""

from __future__ import annotations

import argparse
import math
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.commands.values import argument
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.formats.strict_json import loads, unhex
from pluto_measure.progress import on_stderr
from pluto_notary.commands.verify_proof import add_judges

if TYPE_CHECKING:
    from pluto_notary.client.wire import Notary
    from pluto_notary.commands.prove_judge import Judge
    from pluto_notary.manifest import Manifest
    from pluto_notary.protocol.messages import Fetch
    from pluto_notary.statement.proof import Proof

_MANIFEST_LIMIT: Final = 256 * 1024
_VARIABLES_LIMIT: Final = 1024 * 1024
_LARGEST_NUMBER: Final = 2**53 - 1
_LONGEST: Final = 24 * 3600.0  # seconds
_NOBODY: Final = "0x" + "00" * 20

DESCRIPTION: Final = """Have a notary see a web site for you, and write its signed statement to a file. The notary's
evidence is appraised first, by --reference and --policy as in 'pluto-measure verify'; nothing but a digest of the
manifest is sent before it was accepted. The notary asks the web site itself; with --mode observe it watches this
computer asking. The file is written only if all went well. Exit code 0 done, 4 the notary is not authentic, 5 it is
refused by the policy, or the web site says something else than the manifest demands, 6 the notary or the web site
failed."""
# Of --mode.
MODES: Final = """how the notary sees the web site. fetch (the default): the notary asks it. observe: this computer asks
it, by TLS of its own that passes through the notary, and tells the notary what opens the recording once the connection
is closed; verifiers have to ask for such a proof ('verify-proof --mode observe'), since a client who helps somebody on
the path to the site can forge one"""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-notary."""
    sub = subparsers.add_parser("prove", help="get a proof from a notary", description=DESCRIPTION)
    _add_session(sub)
    add_judges(sub, collateral="Intel's collateral for the notary's platform", state="")
    sub.add_argument(
        "--collateral-out",
        metavar="FILE",
        type=Path,
        help="write the collateral of --state by which the notary was judged, to be handed on with the proof",
    )
    sub.add_argument("--fresh", action="store_true", help="ask for evidence made for this session alone")
    _add_statement(sub)
    sub.add_argument(
        "--protocol",
        choices=["websocket", "tcp"],
        default="websocket",
        help="what the connection is upgraded to (default: websocket)",
    )
    sub.add_argument("--timeout", metavar="SECONDS", type=float, default=120.0, help="for all of it (default: 120)")
    sub.add_argument(
        "--insecure-skip-appraisal",
        action="store_true",
        help="believe the notary without evidence, for development; secrets are sent to whoever answers",
    )
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    sub.set_defaults(run=run)


def _add_session(sub: argparse.ArgumentParser) -> None:
    """Who is asked for what, and how."""
    sub.add_argument("--notary", metavar="URL", required=True, help="https://HOST[:PORT] of the notary")
    sub.add_argument(
        "--manifest",
        metavar="FILE",
        type=Path,
        required=True,
        help="what is to be asked and shown; 'pluto-notary manifest check' explains one",
    )
    sub.add_argument(
        "--variables",
        metavar="FILE",
        type=Path,
        help="values for the manifest's variables, secrets among them: a JSON object of texts",
    )
    sub.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="where the proof is written, for you alone"
    )
    sub.add_argument("--mode", choices=["fetch", "observe"], default="fetch", help=MODES)
    sub.add_argument(
        "--roots",
        metavar="FILE",
        type=Path,
        help="with --mode observe: whose certificates this computer believes of web sites, in PEM (default: the "
        "system's); the notary judges by its own, too",
    )


def _add_statement(sub: argparse.ArgumentParser) -> None:
    """What the statement says beside what the web site says, and in which form."""
    sub.add_argument("--nonce", metavar="HEX", help="the statement's nonce, 32 bytes (default: random)")
    sub.add_argument("--recipient", metavar="0xADDRESS", default=_NOBODY, help="whose it is (default: nobody's)")
    sub.add_argument("--chain-id", metavar="N", type=int, default=0, help="its chain (default: none)")
    sub.add_argument("--contract", metavar="0xADDRESS", default=_NOBODY, help="its contract (default: none)")
    sub.add_argument(
        "--reveal",
        choices=["values", "commitments"],
        default="values",
        help="whether the statement shows values, or salted digests that are opened one by one (default: values)",
    )
    sub.add_argument("--legacy", action="store_true", help="have the old format's digest signed, too")


def run(arguments: argparse.Namespace) -> Result:
    """One session; the document has the proof's statement and the notary's appraisal."""
    from pluto_notary.client.wire import connected
    from pluto_notary.commands.prove_judge import Judge

    notary, manifest = _notary(arguments.notary), _manifest(arguments.manifest)
    order = _order(arguments, manifest)
    _check(arguments)
    session = _session(arguments, manifest, order)
    with on_stderr() as progress:
        judge = Judge(arguments, progress)
        with connected(notary, protocol=arguments.protocol, random=os.urandom, seconds=arguments.timeout) as (
            wire,
            outer,
        ):
            proof = session(wire, outer, nonce=os.urandom(32), appraise=judge, told=progress.step)
        proof = judge.judged_key(proof)
    if arguments.collateral_out is not None and judge.collateral:
        files.write(arguments.collateral_out, judge.collateral.decode())
    with _private():
        files.write(arguments.out, proof.to_bytes().decode() + "\n")
    return _result(arguments, proof, judge)


def _session(arguments: argparse.Namespace, manifest: Manifest, order: Fetch) -> Callable[..., Proof]:
    """The session of the mode that was asked for. UsageError, FormatError for what would fail later."""
    common = {"manifest_digest": manifest.digest(), "fresh": arguments.fresh}
    if arguments.mode == "fetch":
        from pluto_notary.client.prove import prove

        return partial(prove, order=order, **common)
    from pluto_notary.client.observe import observe
    from pluto_notary.commands.prove_site import site_judge

    site = site_judge(arguments.roots, manifest.host)
    request = manifest.request(dict(order.variables))
    return partial(observe, order=order, request=request, judge=site, random=os.urandom, **common)


def _check(arguments: argparse.Namespace) -> None:
    """UsageError for what would fail only after a secret was sent."""
    if not math.isfinite(arguments.timeout) or not 0 < arguments.timeout <= _LONGEST:
        raise UsageError(f"--timeout: {arguments.timeout} is not between 0 and {_LONGEST:.0f} seconds")
    if arguments.roots is not None and arguments.mode != "observe":
        raise UsageError("--roots is for --mode observe: in the other one the notary judges the web site")
    if arguments.legacy and arguments.mode == "observe":
        raise UsageError("--legacy: the old format says nothing of a mode, so what is observed is not signed in it")
    if arguments.collateral_out is not None and (arguments.state is None or arguments.collateral is not None):
        raise UsageError("--collateral-out is for collateral of --state")
    for option, path in (("--out", arguments.out), ("--collateral-out", arguments.collateral_out)):
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK)):
            raise UsageError(f"{option}: {path} cannot be written")


def _result(arguments: argparse.Namespace, proof: Proof, judge: Judge) -> Result:
    from pluto_notary.commands.verify_proof import facts
    from pluto_notary.statement.model import spelt

    statement, appraisal = proof.statement, judge.appraisal
    domain, shown = statement.domain, {opening.id: opening.text for opening in proof.openings}
    document = {
        "proof": str(arguments.out),
        "signer": spelt(proof.signer),
        "digest": spelt(statement.digest()),
        "statement": spelt({**statement.message(), "chainId": domain.chain_id, "verifyingContract": domain.contract}),
        "values": [{"id": value.id, "json": shown[value.id]} for value in statement.values],
        "appraisal": None if appraisal is None else appraisal.to_json(),
    }
    lines = [*facts(proof, authentic=appraisal is not None), f"written to {arguments.out}"]
    if appraisal is not None:
        lines.append(f"to verify it: {shlex.join(_verifying(arguments, proof))}")
    return Result(document, "".join(f"{line}\n" for line in lines), notes=tuple(judge.notes))


def _verifying(arguments: argparse.Namespace, proof: Proof) -> Iterator[str]:
    """The words that ask for all that this proof was asked for."""
    statement = proof.statement
    yield from ("pluto-notary", "verify-proof", str(arguments.out), "--manifest", str(arguments.manifest))
    yield from ("--nonce", statement.nonce.hex(), "--recipient", f"0x{statement.recipient.hex()}")
    if statement.mode != "fetch":
        yield from ("--mode", statement.mode)
    if statement.domain.chain_id or any(statement.domain.contract):
        yield from ("--chain-id", str(statement.domain.chain_id), "--contract", f"0x{statement.domain.contract.hex()}")
    for path in arguments.reference:
        yield from ("--reference", str(path))
    collateral = arguments.collateral or arguments.collateral_out
    for name in ("trust", "sigstore_root", "policy", "state"):
        if (path := getattr(arguments, name)) is not None:
            yield from (f"--{name.replace('_', '-')}", str(path))
    if collateral is not None:
        yield from ("--collateral", str(collateral))


def _notary(url: str) -> Notary:
    from pluto_notary.client.wire import Notary

    try:
        return Notary.parse(url)
    except UsageError as error:
        raise UsageError(f"--notary: {error}") from error


def _manifest(path: Path) -> Manifest:
    from pluto_notary.manifest import Manifest

    data = files.read(path, what="manifest", limit=_MANIFEST_LIMIT)
    with files.naming("manifest", path):
        return Manifest.parse(data)


def _order(arguments: argparse.Namespace, manifest: Manifest) -> Fetch:
    """What is asked for. What the notary would refuse is not sent. UsageError, FormatError, Violation."""
    from pluto_notary.manifest import Violation
    from pluto_notary.protocol.messages import Fetch
    from pluto_notary.statement.keys import parse_address

    if not 0 <= arguments.chain_id <= _LARGEST_NUMBER:
        raise UsageError(f"--chain-id: {arguments.chain_id} is not between 0 and {_LARGEST_NUMBER}")
    variables = _variables(arguments.variables)
    try:
        manifest.request(dict(variables))
    except Violation as error:
        if arguments.variables is not None:
            raise
        hint = f"--variables FILE; they are listed by '{shlex.join(_explaining(arguments.manifest))}'"
        raise UsageError(str(error), hint=hint) from error
    return Fetch(
        manifest=manifest.canonical(),
        variables=variables,
        recipient=argument("--recipient", parse_address, arguments.recipient),
        chain_id=arguments.chain_id,
        contract=argument("--contract", parse_address, arguments.contract),
        nonce=os.urandom(32) if arguments.nonce is None else argument("--nonce", _nonce, arguments.nonce),
        reveal=arguments.reveal,
        legacy=arguments.legacy,
    )


def _explaining(manifest: Path) -> list[str]:
    return ["pluto-notary", "manifest", "check", str(manifest)]


def _variables(path: Path | None) -> tuple[tuple[str, str], ...]:
    if path is None:
        return ()
    data = files.read(path, what="variables", limit=_VARIABLES_LIMIT)
    with files.naming("variables", path):
        found = loads(data, what="variables")
        if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
            raise FormatError("variables", "must be an object whose members are texts")
    return tuple(found.items())


def _nonce(digits: str) -> bytes:
    nonce = unhex(digits.removeprefix("0x"), 32, what="nonce")
    if not any(nonce):
        raise FormatError("nonce", "must not be all zero")
    return nonce


@contextmanager
def _private() -> Iterator[None]:
    """Files are their owner's alone: a proof opens values, and may hold the salts of all of them."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
