"""The programs that machines run with, QEMU and swtpm: the tools tree of a lock, fetched where it is not there yet."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from pluto_image.debian import mirrors
from pluto_image.inputs import options
from pluto_image.inputs.fetch import Sources, Step
from pluto_image.lock.lockfile import Lock
from pluto_image.tools import ToolsTree, ensure_tools
from pluto_measure.progress import Progress


def trees_by(arguments: argparse.Namespace, progress: Progress) -> Callable[[Lock], ToolsTree]:
    """The tools tree of a lock, fetched and unpacked on this computer if it is not there."""

    def ensure(lock: Lock) -> ToolsTree:
        progress.doing("looking for QEMU and swtpm")
        return tree_of(lock, arguments, progress)

    return ensure


def tree_of(lock: Lock, arguments: argparse.Namespace, progress: Progress) -> ToolsTree:
    """The tools tree of a lock, by the options of `pluto_image.inputs.options.add_options`."""
    return ensure_tools(
        lock,
        options.store_from(arguments),
        _sources(arguments, lock),
        offline=arguments.offline,
        progress=_fetching(progress),
    )


def _fetching(progress: Progress) -> Callable[[Step], None]:
    """Tells of every file on a terminal, of every quarter elsewhere."""

    def report(step: Step) -> None:
        progress.doing(f"fetching tools: {step.done} of {step.total}, {step.name}")
        if step.done == step.total or step.done % max(step.total // 4, 1) == 0:
            progress.step(f"fetched {step.done} of {step.total} tools")

    return report


def _sources(arguments: argparse.Namespace, lock: Lock) -> Sources:
    known = mirrors.from_options(arguments.mirror) if arguments.mirror else mirrors.from_apt()
    return Sources(
        bundle=arguments.bundle,
        projects=tuple(text for text in arguments.store if "://" in text),
        mirrors={archive.id: known.get(archive.path, ()) for archive in lock.archives},
    )
