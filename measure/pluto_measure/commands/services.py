"""What commands that ask a service share: options for its address and TLS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.commands import files
from pluto_measure.errors import UsageError

if TYPE_CHECKING:
    import ssl

_PEM_LIMIT: Final = 1024 * 1024


def add(one: argparse.ArgumentParser, url: str) -> None:
    """Add the options; `url` says what --url is for."""
    one.add_argument("--url", metavar="URL", help=url)
    one.add_argument("--tls-ca", metavar="FILE", type=Path, help="trust these certificates for TLS (PEM)")
    one.add_argument("--insecure-http", action="store_true", help="do without TLS, also to other machines")


def tls_context(path: Path | None) -> ssl.SSLContext | None:
    """By whose certificates a service proves itself; None: by those that the system trusts. UsageError."""
    import ssl

    if path is None:
        return None
    pem = files.read(path, what="TLS certificates", limit=_PEM_LIMIT)
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(f"{path} holds no certificates in PEM") from error
    return context
