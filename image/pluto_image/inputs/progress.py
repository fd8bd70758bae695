"""Progress of downloads on stderr: a bar on a terminal, a line for every tenth part elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from pluto_image.inputs.fetch import Progress, Step

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


def reporter(stream: TextIO = sys.stderr) -> Progress:
    """A function to hand to `fetch.ensure`. `rich` is imported for terminals only, at the first step."""
    return _bar(stream) if stream.isatty() else _lines(stream)


def _lines(stream: TextIO) -> Progress:
    said = -1

    def report(step: Step) -> None:
        nonlocal said
        tenth = step.done * 10 // step.total
        if step.done == step.total or tenth != said:
            said = tenth
            stream.write(f"fetched {step.done} of {step.total}: {step.name} from {step.source}\n")
            stream.flush()

    return report


def _bar(stream: TextIO) -> Progress:
    running: list[tuple[Bar, TaskID]] = []

    def report(step: Step) -> None:
        if not running:
            running.append(_start(stream, step.total))
        bar, task = running[0]
        bar.update(task, completed=step.done, description=f"fetching {step.name}")
        if step.done == step.total:
            bar.stop()
            running.clear()

    return report


def _start(stream: TextIO, total: int) -> tuple[Bar, TaskID]:
    from rich.console import Console
    from rich.progress import Progress as Bar

    bar = Bar(console=Console(file=stream), transient=True)
    task = bar.add_task("fetching", total=total)
    bar.start()
    return bar, task
