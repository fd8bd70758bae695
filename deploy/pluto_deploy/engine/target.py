"""What the engine asks of a target: to be looked at, and one method for each kind of step. Names only.

Every method may be called again after it was done, or half done, by somebody who was killed: it brings about a state
and does not repeat an act. None decides; each raises SourceError where the target failed, and UsageError where it can
never do what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pluto_deploy.cloud.costs import Cost
from pluto_deploy.engine.scene import Generation, Scene


@dataclass(frozen=True, slots=True)
class Address:
    """Where a machine answers: a host and a port, or a socket of this computer that leads there."""

    host: str
    port: int
    socket: Path | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a target keeps beside a release's machine, so that anybody can appraise it again: names to content."""

    files: Mapping[str, bytes]
    payload: bytes  # the run-time configuration


class Target(Protocol):
    """One deployment on one target."""

    def look(self) -> Scene:
        """What is there. Changes nothing."""

    def lock(self) -> AbstractContextManager[None]:
        """Keeps every other command that would change this deployment out. UsageError if one is at work."""

    def put_tools(self) -> None:
        """The tools tree, whole or not at all."""

    def put_release(self) -> None:
        """The release's files, whole or not at all."""

    def create(self, slot: str) -> None:
        """A stopped machine of the wanted generation in an empty slot; it names its generation last."""

    def start(self, slot: str) -> None:
        """Start it, and return when it says that it is ready. It is reached by no client."""

    def reach(self, slot: str) -> AbstractContextManager[Address]:
        """A way to the machine that no client has."""

    def public(self) -> Address:
        """Where clients come."""

    def switch(self, slot: str) -> None:
        """Lead clients to this machine, and have it start with its host. One act: before it the old one serves."""

    def stop(self, slot: str, *, refused: bool = False) -> None:
        """Stop it, and return when its process is gone. `refused`: mark it so."""

    def remove(self, slot: str) -> None:
        """Everything of a stopped machine away."""

    def close(self) -> None:
        """No client reaches anything any more."""

    def tidy(self, *, all_of_it: bool = False) -> None:
        """Releases and tools away that no machine of anybody refers to; `all_of_it`: this deployment's places, too."""

    def serial(self, slot: str) -> bytes:
        """The end of what the machine said on its serial line."""

    def belongings(self, generation: Generation, slot: str) -> Belongings:
        """Of a machine that is there: the release's small files and the configuration. SourceError where they are gone.

        They come from a host that nobody trusts; signatures and evidence decide what they are worth.
        """


@dataclass(frozen=True, slots=True)
class Identity:
    """Which machine of all of a cloud's: what evidence has to say of itself."""

    project: str
    zone: str
    instance_id: str
    name: str


@runtime_checkable
class Billed(Protocol):
    """A target in a cloud."""

    def costs(self) -> list[Cost]:
        """What is there of the deployment and is paid for, by listing. Changes nothing."""


@runtime_checkable
class Telling(Protocol):
    """A target that knows which machine it made."""

    def who(self, address: Address) -> Identity:
        """The machine that has this address now. SourceError where none has."""
