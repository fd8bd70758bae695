"""Predict the event log of a boot from digests: one expected event after the other, each with its reason. Pure.

Registers follow by replay (`pluto_measure.replay.replay_expected`).
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.launch import Launch
from pluto_measure.platform import Platform
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.predict.stub import check_sections, check_version, command_line
from pluto_measure.predict.vtpm import predict_vtpm

__all__ = ["ExpectedEvent", "command_line", "predict"]


def predict(launch: Launch, platform: Platform) -> tuple[ExpectedEvent, ...]:
    """Every event that booting `launch` on `platform` must log, in order.

    FormatError where the boot cannot be predicted: another stub version, sections chosen at run time, an unknown
    platform, a signature database with several entries.
    """
    check_version(launch.stub)
    names = [section.name for section in launch.sections]
    if len(set(names)) != len(names):
        raise FormatError("launch.json.sections", "a section occurs twice")
    check_sections({section.name: section.size for section in launch.sections})
    if launch.command_line and ".cmdline" not in names:
        raise FormatError("launch.json", "commandLine is given without a section .cmdline")
    return tuple(predict_vtpm(launch, platform))
