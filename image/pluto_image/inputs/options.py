"""The options about inputs that commands share, and what they name: the store, and the sources."""

from __future__ import annotations

import argparse
from pathlib import Path

from pluto_image.debian import mirrors
from pluto_image.definition import Definition
from pluto_image.inputs.fetch import Sources
from pluto_image.inputs.store import Store, default_root
from pluto_measure.errors import UsageError


def add_options(parser: argparse.ArgumentParser) -> None:
    """--store, --bundle, --mirror and --offline, for every command that needs inputs."""
    parser.add_argument(
        "--store",
        action="append",
        default=[],
        metavar="PATH|URL",
        help="folder of the store (default: the user's cache), or URL of a project store to read from; repeatable",
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE", help="take inputs from this file of 'pluto-image bundle'"
    )
    parser.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URL",
        help="URL that holds debian and debian-security (default: what apt is configured with); repeatable",
    )
    parser.add_argument("--offline", action="store_true", help="use the store and the bundle only, never the network")


def add_relock_option(parser: argparse.ArgumentParser) -> None:
    """--relock, for commands that go on with a new lock where locked files are gone."""
    parser.add_argument(
        "--relock", type=Path, metavar="FOLDER", help="where to put a new lock if locked files are gone"
    )


def store_from(arguments: argparse.Namespace) -> Store:
    """The store that --store names, or the user's. Raises UsageError for two folders."""
    folders = [text for text in arguments.store if not _is_url(text)]
    if len(folders) > 1:
        raise UsageError(f"--store names {len(folders)} folders, but there is one store")
    return Store(Path(folders[0]) if folders else default_root())


def sources_from(arguments: argparse.Namespace, definition: Definition) -> Sources:
    """Where inputs may come from. Raises UsageError for a mirror that is no URL, or a bundle that does not exist."""
    if arguments.bundle is not None and not arguments.bundle.is_file():
        raise UsageError(f"bundle {arguments.bundle} does not exist")
    known = mirrors.from_options(arguments.mirror) if arguments.mirror else mirrors.from_apt()
    return Sources(
        bundle=arguments.bundle,
        projects=tuple(text for text in arguments.store if _is_url(text)),
        mirrors={archive.id: known.get(archive.path, ()) for archive in definition.archives},
    )


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))
