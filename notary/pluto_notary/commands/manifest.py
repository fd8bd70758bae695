"""`pluto-notary manifest check`: say what a manifest means, or what is wrong with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.wording import printable

if TYPE_CHECKING:
    from pluto_notary.manifest import Manifest

_LIMIT: Final = 1024 * 1024
DESCRIPTION: Final = """Check a manifest as a notary would, and explain it: what will be asked of which web site, what
must hold before anything is signed, what the statement shows, which variables a client must bring, and the digest that
stands for the manifest in each statement. Exit code 3 if a notary would not take it."""


def add(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to pluto-notary."""
    top = subparsers.add_parser("manifest", help="check and explain a manifest")
    actions = top.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser("check", help="say what a manifest means, or what is wrong", description=DESCRIPTION)
    check.add_argument("file", metavar="FILE", type=Path, help="a manifest (JSON, docs/formats/manifest.md)")
    check.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Read, check and explain. UsageError, FormatError."""
    # Imported here: the library for HTML takes longer to load than the parser.
    from pluto_notary.manifest import Manifest
    from pluto_notary.manifest.worker import check

    data = files.read(arguments.file, what="manifest", limit=_LIMIT)
    with files.naming("manifest", arguments.file):
        manifest = Manifest.parse(data)
        check(manifest)
    return _explained(manifest)


def _explained(manifest: Manifest) -> Result:
    from pluto_notary.manifest.explain import explain

    said = explain(manifest)
    document: dict[str, object] = {
        "version": manifest.version,
        "id": manifest.id,
        "title": manifest.title,
        "digest": manifest.digest().hex(),
        "host": manifest.host,
        "port": manifest.port,
        "asked": list(said.asked),
        "enforced": list(said.enforced),
        "shown": list(said.shown),
        "variables": [
            {"name": variable.name, "required": variable.required, "text": text}
            for variable, text in zip(manifest.asked.variables, said.variables, strict=True)
        ],
        "notes": list(said.notes),
    }
    named = " ".join(part for part in (manifest.title or manifest.id, f"(version {manifest.version})") if part)
    lines = [f"manifest {named}", f"digest {manifest.digest().hex()}"]
    for heading, sentences, none in (
        ("What is asked", said.asked, ""),
        ("What must hold, or nothing is signed", said.enforced, ""),
        ("What the statement shows, or commits to", said.shown, "nothing of the answer's body"),
        ("What a client must bring", said.variables, "nothing: there are no variables"),
        ("To be noted", said.notes, ""),
    ):
        if sentences or none:
            lines += ["", f"{heading}:", *(f"  {sentence}" for sentence in sentences or (none,))]
    return Result(document, printable("\n".join(lines)) + "\n")
