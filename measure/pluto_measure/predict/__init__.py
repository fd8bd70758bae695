"""Predict the event log of a boot from digests: one expected event after the other, each with its reason. Pure.

Registers follow by replay (`pluto_measure.registers.replay.replay_expected`), MRTD from the firmware (`machine.mrtd`).
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.predict import stub
from pluto_measure.predict.boot import Boot
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.predict.media import MEDIA
from pluto_measure.predict.stub import command_line

__all__ = ["ExpectedEvent", "command_line", "predict"]


def predict(launch: Launch | None, platform: Platform) -> tuple[ExpectedEvent, ...]:
    """Every event that booting `launch` on `platform` must log, in order; without a launch the machine's own events.

    FormatError where the boot cannot be predicted: an unknown stub version, sections chosen at run time, an input of
    the platform that no default can be right for.
    """
    if launch is not None and platform.boot != "direct":
        check(launch)
    if launch is not None and platform.boot == "direct" and (launch.stub or launch.sections):
        hint = "give the kernel with --kernel FILE and --initrd FILE"
        raise FormatError("launch.json", "is of a UKI, and this machine boots a kernel directly", hint=hint)
    events = tuple(Boot(launch, platform).events())
    if launch is not None:
        return events
    own = {MEDIA[platform.kind].of_pcr.get(pcr) for pcr in (1, 7)}
    return tuple(event for event in events if event.register in own)


def check(launch: Launch) -> None:
    """FormatError unless everything that systemd-stub measures of this UKI is known and fixed."""
    names, version = [section.name for section in launch.sections], stub.version(launch.stub)
    if len(set(names)) != len(names):
        raise FormatError("launch.json.sections", "a section occurs twice")
    stub.check_sections({section.name: section.size for section in launch.sections}, version)
    if launch.command_line and ".cmdline" not in names:
        raise FormatError("launch.json", "commandLine is given without a section .cmdline")
    stub.check_command_line(launch.command_line, names, version)
