"""A target in memory that insists on the order of steps, and can be killed or fail before, in or after each. For tests.

    target = PretendTarget(wanted=NEW, slots={"a": Slot(OLD, "running", appraised=True)}, serving="a")
    run(target, plan(NEW, target.look(), strategy="blue-green"))
    target.fault = Fault(3, "middle", Killed())     the fourth change is cut in half

What a step may rely on is asserted here; what must hold at any time is asserted after every change: clients reach a
machine that was appraised since it was started, or none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from pluto_deploy.engine.apply import Done, carry_out
from pluto_deploy.engine.journal import Journal
from pluto_deploy.engine.plan import Plan
from pluto_deploy.engine.scene import Generation, Machine, Scene, State
from pluto_deploy.engine.target import Address, Belongings
from pluto_measure.appraise import Appraisal
from pluto_measure.errors import SourceError
from pluto_measure.progress import Silent

When = Literal["before", "middle", "after"]
Judge = Callable[[Generation, str], object]  # of a machine's generation, at "appraise" or "confirm"
OLD = Generation("a" * 64, "0" * 64, "c" * 64, "local", 2, 1 << 30, "insecure_none", "local")
NEW = replace(OLD, release="b" * 64)
BIG = replace(OLD, cpus=4, tools="d" * 64)
STRATEGIES = ("blue-green", "replace")
ACCEPTED = Appraisal(True, True, "tpm", "qemu-vtpm", "local", None, {}, ())


class Killed(BaseException):
    """The process is gone: nothing of ours runs after that."""


@dataclass(frozen=True)
class Fault:
    """At change number `at`, counted from 0."""

    at: int
    when: When
    error: BaseException


@dataclass
class Slot:
    """A machine. `generation` None: its making was interrupted. `appraised`: and accepted, since it was started."""

    generation: Generation | None
    state: State = "stopped"
    appraised: bool = False
    refused: bool = False
    made: int = 0


@dataclass
class PretendTarget:
    """One deployment. `room`: how many machines can run at once. `said`: every change, in order."""

    wanted: Generation
    slots: dict[str, Slot] = field(default_factory=dict)
    serving: str | None = None
    led: bool = True
    releases: set[str] = field(default_factory=set)
    tools: set[str] = field(default_factory=set)
    room: int = 2
    fault: Fault | None = None
    said: list[str] = field(default_factory=list)
    served: list[bool] = field(default_factory=list)  # after each change: whether clients reach a good machine
    held: bool = False
    clock: int = 100

    @property
    def serves(self) -> bool:
        """Whether clients reach a machine that was accepted."""
        slot = self.slots.get(self.serving or "")
        return self.led and slot is not None and slot.state == "running" and slot.appraised

    def look(self) -> Scene:
        machines = tuple(
            Machine(name, one.generation, one.state if one.generation else "incomplete", one.refused, "", one.made)
            for name, one in sorted(self.slots.items())
        )
        return Scene(frozenset(self.releases), frozenset(self.tools), machines, self.serving, led=self.led)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        assert not self.held, "two at once"
        self.held = True
        try:
            yield
        finally:
            self.held = False

    def put_tools(self) -> None:
        with self._change("put-tools"):
            self.tools.add(self.wanted.tools)

    def put_release(self) -> None:
        with self._change("put-release"):
            self.releases.add(self.wanted.release)

    def create(self, slot: str) -> None:
        assert slot not in self.slots, f"machine {slot} would be made where there is one"
        assert self.wanted.release in self.releases, "its release is not here"
        assert not self.wanted.tools or self.wanted.tools in self.tools, "its tools are not here"

        def half() -> None:
            self.slots[slot] = Slot(None)

        with self._change(f"create {slot}", half):
            self.clock += 1
            self.slots[slot] = Slot(self.wanted, made=self.clock)

    def start(self, slot: str) -> None:
        one = self._complete(slot)
        assert one.generation is not None
        if one.generation.release not in self.releases:
            raise SourceError("the release is gone")
        if one.state != "running":
            running = [name for name, other in self.slots.items() if other.state == "running"]
            assert len(running) < self.room, f"machine {slot} is started beside {running}, and there is no room"

        def half() -> None:
            if one.state != "running":
                one.appraised = False
                self.led = self.led and self.serving != slot
            one.state, one.refused = "running", False

        with self._change(f"start {slot}", half):
            half()

    @contextlib.contextmanager
    def reach(self, slot: str) -> Iterator[Address]:
        assert self._complete(slot).state == "running", f"machine {slot} does not run"
        yield Address(slot, 1)

    def public(self) -> Address:
        return Address("public", 8443)

    def switch(self, slot: str) -> None:
        one = self._complete(slot)
        assert one.state == "running", f"clients would be led to machine {slot}, which is {one.state}"
        assert one.appraised, f"clients would be led to machine {slot}, which was not appraised"

        def half() -> None:
            self.led = False

        with self._change(f"switch {slot}", half):
            self.serving, self.led = slot, True

    def stop(self, slot: str, *, refused: bool = False) -> None:
        one = self._complete(slot)

        def half() -> None:
            one.refused = one.refused or refused

        with self._change(f"stop {slot}", half):
            half()
            one.state, one.appraised = "stopped", False

    def remove(self, slot: str) -> None:
        one = self.slots.get(slot)
        assert one is None or one.state != "running" or one.generation is None, f"machine {slot} runs"

        def half() -> None:
            if one is not None:
                one.generation, one.state, one.appraised = None, "stopped", False

        with self._change(f"remove {slot}", half):
            self.slots.pop(slot, None)

    def close(self) -> None:
        def half() -> None:
            self.led = False

        with self._change("close", half):
            self.serving, self.led = None, True

    def tidy(self, *, all_of_it: bool = False) -> None:
        del all_of_it
        with self._change("tidy"):
            kept = [one.generation for one in self.slots.values() if one.generation is not None]
            self.releases &= {one.release for one in kept}
            self.tools &= {one.tools for one in kept}

    def serial(self, slot: str) -> bytes:
        return f"machine {slot}".encode()

    def belongings(self, generation: Generation, slot: str) -> Belongings:
        raise SourceError(f"nobody asks for what is kept beside {slot} ({generation.short})")

    def _complete(self, slot: str) -> Slot:
        assert slot in self.slots, f"there is no machine {slot}"
        assert self.slots[slot].generation is not None, f"machine {slot} is not complete"
        return self.slots[slot]

    @contextlib.contextmanager
    def _change(self, what: str, half: Callable[[], None] = lambda: None) -> Iterator[None]:
        assert self.held, f"{what!r} without the lock"
        fault = self.fault if self.fault is not None and self.fault.at == len(self.said) else None
        self.said.append(what)
        if fault is not None:
            self.fault = None
            if fault.when == "middle":
                half()
                self._hold_true()
            if fault.when != "after":
                raise fault.error
        yield
        self._hold_true()
        if fault is not None:
            raise fault.error

    def _hold_true(self) -> None:
        one = self.slots.get(self.serving or "")
        if self.led and one is not None and one.state == "running":
            assert one.appraised, f"clients reach machine {self.serving}, which was not appraised: {self.said}"
        self.served.append(self.serves)


def accept(generation: Generation, purpose: str) -> None:
    """Accepts every machine."""
    del generation, purpose


def gate_of(target: PretendTarget, judge: Judge = accept) -> Callable[[Address], Appraisal]:
    """A gate that accepts every machine that `judge` does not raise for."""

    def gate(address: Address) -> Appraisal:
        public = address.host == "public"
        slot = target.slots.get((target.serving if public and target.led else None) or address.host)
        if slot is None or slot.state != "running":
            raise SourceError("no evidence")
        assert slot.generation is not None
        judge(slot.generation, "confirm" if public else "appraise")
        slot.appraised = True
        return ACCEPTED

    return gate


def run(
    target: PretendTarget,
    planned: Plan,
    judge: Judge = accept,
    old: Judge = accept,
    certify: Callable[[Callable[[], Address]], None] | None = None,
) -> Done:
    """Carry a plan out; `judge` is asked about the new machine, `old` about the plan's fallback."""
    with target.lock():
        gate, old_gate = gate_of(target, judge), gate_of(target, old)
        journal, progress = Journal(None, "test"), Silent()
        return carry_out(planned, target, gate, journal, progress, old_gate=old_gate, certify=certify)


def with_room(target: PretendTarget, strategy: str) -> PretendTarget:
    """Where two machines run already there is room for them, until one was stopped."""
    target.room = 1 if strategy == "replace" else 2
    return target


def assert_at_the_goal(target: PretendTarget, wanted: Generation) -> None:
    """It serves, it was appraised, and nothing else runs or is half made."""
    server = target.slots[target.serving or ""]
    assert (server.generation, server.state, server.appraised, target.led) == (wanted, "running", True, True)
    others = [one for one in target.slots.values() if one is not server]
    assert all(one.generation is not None and one.state == "stopped" for one in others)
