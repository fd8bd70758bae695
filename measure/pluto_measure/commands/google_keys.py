"""`pluto-measure collateral google-keys`: fetch the keys that tokens of Confidential Space without a chain need."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files, services
from pluto_measure.evidence import format_time
from pluto_measure.wording import counted

if TYPE_CHECKING:
    from pluto_measure.formats.jwks import JwksDocument

_DESCRIPTION: Final = """Fetch Google's keys for tokens of Confidential Space that name a key instead of having a chain,
and write them with the time, for 'verify --google-keys'. Nothing signs them: TLS alone says that they are Google's, so
a policy accepts such tokens only where it says so. Exit code 3: what came is no set of keys; 6: the service failed.
Nothing is written then."""


def add(actions: argparse._SubParsersAction[Any]) -> None:
    """Add the action to `pluto-measure collateral`."""
    one = actions.add_parser("google-keys", help="Google's keys for tokens", description=_DESCRIPTION)
    one.add_argument("--out", metavar="FILE", type=Path, required=True, help="the file to write")
    services.add(one, "where else the set is (default: Google's own address)")
    one.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    one.set_defaults(run=fetch)


def fetch(arguments: argparse.Namespace) -> Result:
    """Fetch; the document has `source`, `fetchedAt`, the names of the `keys`, and `wrote`."""
    from pluto_measure.collateral.google_keys import fetch_keys
    from pluto_measure.formats.jwks import GOOGLE_SOURCE

    context = services.tls_context(arguments.tls_ca)
    found = fetch_keys(arguments.url or GOOGLE_SOURCE, insecure_http=arguments.insecure_http, context=context)
    files.write(arguments.out, found.to_text())
    document = {**_facts(found), "wrote": [str(arguments.out)]}
    return Result(document, f"{arguments.out}: {counted(len(found.keys), 'key')} of {found.source}\n")


def _facts(found: JwksDocument) -> dict[str, object]:
    keys = [key.key_id for key in found.keys]
    return {"source": found.source, "fetchedAt": format_time(found.fetched_at), "keys": keys}
