"""`pluto-measure collateral`: fetch, carry, keep and show Intel's documents that quotes are judged by."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files, google_keys, services
from pluto_measure.commands.collateral_text import said, shown
from pluto_measure.errors import FormatError, UsageError, VerificationError
from pluto_measure.evidence import parse_time
from pluto_measure.formats.strict_json import unhex

if TYPE_CHECKING:
    from pluto_measure.collateral.client import Client
    from pluto_measure.collateral.facts import Family
    from pluto_measure.collateral.memory import Seen
    from pluto_measure.formats.collateral import Collateral
    from pluto_measure.formats.collateral_bundle import Bundle
    from pluto_measure.verify.collateral import CheckedCollateral
    from pluto_measure.verify.intel_pki import PckChain

_CAS: Final = ("platform", "processor")
_QUOTE_LIMIT: Final = 1024 * 1024
_BUNDLE_LIMIT: Final = 4 * 1024 * 1024

_DESCRIPTION: Final = """Collateral is what Intel says of its processors, TDX modules and quoting enclaves: TCB info,
QE identity and revocation lists. Quotes are judged by it. A state directory keeps it, and remembers the newest that it
saw: older collateral is refused from then on. Tokens of Confidential Space need none, but some need Google's keys."""

_FETCH: Final = """Fetch collateral from Intel's PCS (API v4) or a PCCS, verify it, and keep it (--state) or write it
(--out). Exit code 4: what came is not Intel's; 5: it is older than what was seen; 6: the service failed. Nothing is
written then."""

_IMPORT: Final = """Verify collateral from a file (the common quote-collateral JSON or a bundle of ours) and keep it.
The common JSON says no update: it counts as the standard one, so do not import an early one."""

_EXPORT: Final = """Write the collateral that a state directory has of one FMSPC, as a bundle of ours or, with
--common, as the common quote-collateral JSON."""

_SHOW: Final = """Show what collateral says: numbers, dates, levels of platforms, TDX modules and quoting enclaves,
and what the early update, which becomes the standard one, will change. Whether Intel signed it is said too."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-measure."""
    sub = subparsers.add_parser("collateral", help="fetch, keep and show Intel's collateral", description=_DESCRIPTION)
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_fetch(actions.add_parser("fetch", help="from Intel or a PCCS", description=_FETCH))
    one = actions.add_parser("import", help="from a file", description=_IMPORT)
    one.add_argument("file", metavar="FILE", type=Path, help="the common JSON, or a bundle")
    one.add_argument("--quote", metavar="FILE", type=Path, help="a quote with the CA that the file's PCK CRL lacks")
    _state(one, required=True)
    _json(one, import_)
    one = actions.add_parser("export", help="to a file", description=_EXPORT)
    one.add_argument("--fmspc", metavar="HEX", required=True, help="the platform family, 12 hex digits")
    one.add_argument("--ca", choices=_CAS, help="the PCK CA, where collateral of both is kept")
    _state(one, required=True)
    one.add_argument("--out", metavar="FILE", type=Path, required=True, help="the file to write")
    one.add_argument("--common", action="store_true", help="the common JSON, of the standard update")
    _json(one, export)
    one = actions.add_parser("show", help="what it says", description=_SHOW)
    where = one.add_mutually_exclusive_group(required=True)
    where.add_argument("file", metavar="FILE", type=Path, nargs="?", help="the common JSON, or a bundle")
    where.add_argument("--state", metavar="DIR", type=Path, help="all that a state directory keeps")
    one.add_argument("--at", metavar="TIME", help="as of this time, such as 2026-11-20T12:00:00Z (default: now)")
    _json(one, show)
    google_keys.add(actions)


def _add_fetch(one: argparse.ArgumentParser) -> None:
    wanted = one.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--fmspc", metavar="HEX", help="the platform family, 12 hex digits; needs --ca")
    wanted.add_argument("--quote", metavar="FILE", type=Path, help="a quote, which names FMSPC and CA")
    one.add_argument("--ca", choices=_CAS, help="the CA of the PCK certificate")
    one.add_argument("--update", choices=("standard", "early", "both"), default="both", help="default: %(default)s")
    one.add_argument("--evaluation-number", metavar="N", type=int, help="this TCB evaluation; to a file alone")
    _state(one, required=False)
    one.add_argument("--out", metavar="FILE", type=Path, help="write the bundle to this file")
    services.add(one, "base URL of a PCCS (default: Intel's PCS)")
    _json(one, fetch)


def _state(one: argparse.ArgumentParser, *, required: bool) -> None:
    one.add_argument("--state", metavar="DIR", type=Path, required=required, help="the state directory")


def _json(one: argparse.ArgumentParser, run: Any) -> None:
    one.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    one.set_defaults(run=run)


def fetch(arguments: argparse.Namespace) -> Result:
    """Fetch; the document has `families` as `show` has them, and `wrote`."""
    if arguments.state is None and arguments.out is None:
        raise UsageError("nowhere to put it", hint="give --state DIR or --out FILE")
    if arguments.state is not None and (arguments.update == "early" or arguments.evaluation_number is not None):
        raise UsageError("a state directory keeps the standard update, with or without the early one")
    if arguments.evaluation_number is not None and not 0 <= arguments.evaluation_number < 1 << 32:
        raise UsageError("--evaluation-number must be 0 to 4294967295")
    fmspc, ca = _asked_for(arguments)
    client = _client(arguments)
    updates = ("standard", "early") if arguments.update == "both" else (arguments.update,)
    if arguments.evaluation_number is not None:
        updates = ("standard",)
    bundle = client.bundle(fmspc, ca, updates=updates, evaluation_number=arguments.evaluation_number)
    checked = {update: _verified(bundle.collateral(fmspc, ca, update)) for update in updates}
    seen = _seen(checked[updates[0]], fmspc, ca)
    if arguments.state is not None:
        _keep(arguments.state, [(seen, bundle)])
    if arguments.out is not None:
        files.write(arguments.out, bundle.to_text())
    families = [_family(bundle, fmspc, ca, _verified)] if "standard" in updates else []
    return said(families, [str(path) for path in (arguments.state, arguments.out) if path is not None])


def import_(arguments: argparse.Namespace) -> Result:
    """Import; the document is that of `fetch`."""
    bundle = _read_bundle(arguments.file, arguments.quote)
    found = bundle.families()
    if not found:
        raise FormatError("collateral bundle", "has no standard TCB info with a PCK CRL, so there is nothing to keep")
    families, items = [], []
    for fmspc, ca in found:
        family = _family(bundle, fmspc, ca, _verified)
        families.append(family)
        items.append((_seen(family.standard, fmspc, ca), bundle))
    _keep(arguments.state, items)
    return said(families, [str(arguments.state)])


def export(arguments: argparse.Namespace) -> Result:
    """Export; the document has `wrote`, `fmspc` and `ca`."""
    from pluto_measure.collateral.store import Store

    fmspc, store = _fmspc(arguments.fmspc), Store(arguments.state)
    kept = [ca for known, ca in store.families() if known == fmspc and arguments.ca in (None, ca)]
    if len(kept) > 1:
        raise UsageError(f"{arguments.state} has both CAs of FMSPC {fmspc.hex()}", hint="give --ca")
    bundle = store.bundle(fmspc, kept[0]) if kept else None
    if bundle is None:
        words = ["collateral", "fetch", "--fmspc", fmspc.hex(), "--ca", arguments.ca or "platform"]
        hint = f"run 'pluto-measure {shlex.join([*words, '--state', str(arguments.state)])}', or with --quote FILE"
        raise UsageError(f"{arguments.state} has no such collateral of FMSPC {fmspc.hex()}", hint=hint)
    text = bundle.collateral(fmspc, kept[0]).to_text() if arguments.common else bundle.to_text()
    files.write(arguments.out, text)
    document: dict[str, object] = {"wrote": [str(arguments.out)], "fmspc": fmspc.hex(), "ca": kept[0]}
    return Result(document, f"{arguments.out}: FMSPC {fmspc.hex()}, {kept[0]} CA\n")


def show(arguments: argparse.Namespace) -> Result:
    """Show; the document has `families` and, of a state directory, `memory`."""
    at = datetime.now(UTC) if arguments.at is None else parse_time(arguments.at, what="--at")
    if arguments.state is None:
        bundle = _read_bundle(arguments.file)
        return shown([_family(bundle, fmspc, ca, _checked) for fmspc, ca in bundle.families()], at)
    from pluto_measure.collateral.store import Store

    store = Store(arguments.state)
    kept = [(fmspc, ca, store.bundle(fmspc, ca)) for fmspc, ca in store.families()]
    families = [_family(bundle, fmspc, ca, _checked) for fmspc, ca, bundle in kept if bundle is not None]
    return shown(families, at, store.memory().to_json())


def _asked_for(arguments: argparse.Namespace) -> tuple[bytes, str]:
    """FMSPC and CA, from the options or from a quote, whose PCK chain must be Intel's."""
    if arguments.quote is None:
        if arguments.ca is None:
            raise UsageError("--fmspc needs --ca", hint="servers of several sockets have 'platform'")
        return _fmspc(arguments.fmspc), arguments.ca
    found = _pck_chain(arguments.quote)
    if arguments.ca not in (None, found.ca):
        raise UsageError(f"the quote's PCK certificate is of the {found.ca} CA, not of the {arguments.ca} CA")
    return found.extension.fmspc, found.ca


def _pck_chain(path: Path) -> PckChain:
    """The PCK chain of a quote. VerificationError where it is not Intel's."""
    from pluto_measure.formats.quote import Quote, unwrap
    from pluto_measure.verify import intel_pki

    quote = Quote.parse(unwrap(files.read(path, what="quote", limit=_QUOTE_LIMIT)))
    found = intel_pki.pck_chain(quote.certificates, intel_pki.INTEL_ROOTS)
    if found.chain.problem is not None:
        raise VerificationError(f"{path}: its PCK certificate is not Intel's: {found.chain.problem}")
    return found


def _fmspc(text: str) -> bytes:
    try:
        return unhex(text.lower(), 6, what="--fmspc")
    except FormatError as error:
        raise UsageError("--fmspc must be 12 hex digits") from error


def _client(arguments: argparse.Namespace) -> Client:
    from pluto_measure.collateral.client import INTEL, Client

    context = services.tls_context(arguments.tls_ca)
    return Client(arguments.url or INTEL, insecure_http=arguments.insecure_http, context=context)


def _read_bundle(path: Path, quote: Path | None = None) -> Bundle:
    """A bundle from a file, which may be the common JSON; that takes a missing chain of its PCK CRL from the quote."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from pluto_measure.collateral.memory import issuing_ca
    from pluto_measure.formats.collateral import Collateral
    from pluto_measure.formats.collateral_bundle import Bundle, is_bundle

    data = files.read(path, what="collateral", limit=_BUNDLE_LIMIT)
    if is_bundle(data):
        return Bundle.parse(data)
    collateral = Collateral.parse(data)
    if quote is not None and not collateral.pck_crl_chain.strip():
        issuers = _pck_chain(quote).chain.certificates[1:]
        pem = b"".join(issuer.public_bytes(Encoding.PEM) for issuer in issuers)
        collateral = replace(collateral, pck_crl_chain=pem)
    return Bundle.of_collateral(collateral, ca=issuing_ca(collateral.pck_crl))


def _checked(given: Collateral) -> CheckedCollateral:
    from pluto_measure.verify import collateral, intel_pki

    return collateral.check_collateral(given, intel_pki.INTEL_ROOTS)


def _verified(given: Collateral) -> CheckedCollateral:
    """NotAuthentic where a check failed, VerificationError where one could not be made."""
    from pluto_measure.findings import NotAuthentic, failures

    if not given.pck_crl_chain.strip():
        problem = "the PCK CRL came without its issuer chain, so nothing vouches for it"
        raise VerificationError(problem, hint="run 'pluto-measure collateral import' with --quote: a quote has its CA")
    checked = _checked(given)
    if failures(checked.findings):
        raise NotAuthentic(checked.findings)
    return checked


def _seen(checked: CheckedCollateral, fmspc: bytes, ca: str) -> Seen:
    """What to remember. VerificationError where the signed documents are for another FMSPC or CA than they came for."""
    from pluto_measure.collateral.memory import Seen

    seen = Seen.of(checked)
    if (seen.fmspc, seen.ca) != (fmspc, ca):
        raise VerificationError(
            f"collateral: is for FMSPC {seen.fmspc.hex()} and the {seen.ca} CA, not for {fmspc.hex()} and {ca}"
        )
    return seen


def _keep(state: Path, items: Sequence[tuple[Seen, Bundle]]) -> None:
    from pluto_measure.collateral.store import Store

    Store(state).keep(items)


def _family(bundle: Bundle, fmspc: bytes, ca: str, check: Callable[[Collateral], CheckedCollateral]) -> Family:
    from pluto_measure.collateral.facts import Family

    given = bundle.given(fmspc, ca)
    early = None if given.early is None else check(given.early)
    has_chain = bool(given.standard.pck_crl_chain.strip())
    return Family(fmspc, ca, check(given.standard), early, given.fetched_at, has_chain)
