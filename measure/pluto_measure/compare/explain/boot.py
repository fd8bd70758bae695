"""What differences in the boot chain mean: images, partition table, leaving the firmware, shim and GRUB. Pure.

These are RTMR[1] of a trust domain, and PCR 4 and 5 of a TPM; of another boot chain also RTMR[2], PCR 8, 9 and 14.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pluto_measure.compare.explain import hypotheses
from pluto_measure.compare.explain.firmware import application_name
from pluto_measure.compare.explain.hypotheses import size_text
from pluto_measure.compare.explain.scene import (
    APPLICATION,
    ESP_ADDON,
    FOREIGN_APPLICATION,
    OTHER_CHAIN,
    Meaning,
    Place,
    Scene,
    plain,
)
from pluto_measure.event_text import describe, listed
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.predict import events
from pluto_measure.predict.events import ExpectedEvent

_MOST_LOOKED_AT: Final = 64  # of images that an attacker may have made many of
_FROM_DISK: Final = "the image was started from a disk, not by -kernel"
_BY_KERNEL: Final = "the image was started by -kernel, not from a disk"
_RETRY: Final = re.compile(r"(IF)+ID")
_LETTERS: Final = {"exit-invoked": "I", "exit-failed": "F", "exit-done": "D"}


def image(place: Place, scene: Scene) -> Meaning:
    """Applications, and the boot options that start them."""
    actual, register = place.actual, place.register
    first, at, strangers = scene.started_before(register)
    if first is not None and at is None:
        return _not_started(first, scene.actual.get(register, ()), scene)
    if strangers:
        images_first = sorted(strangers, key=lambda event: event.type != APPLICATION)
        names = listed(images_first, _name)
        text = (
            f"something was started before the UKI ({names}): who controls it can have changed memory, so the genuine "
            "image that followed proves nothing"
        )
        shell = any(application_name(event) is not None for event in images_first[:_MOST_LOOKED_AT])
        cause = "the host entered the firmware's shell or menu" if shell else "something was started before the UKI"
        return Meaning(text, FOREIGN_APPLICATION, cause=cause, weight=0)
    if actual is not None and place.role == "image:addon":
        text = "the stub loaded an addon that lies on the ESP: " + describe(actual)
        return Meaning(text, ESP_ADDON, cause="an addon lies on the ESP", weight=0)
    if place.moved == register:
        return _other_order(scene.actual[register], at or 0)
    return _kernel(place, scene) if place.role == "image:kernel" else _stranger(place, scene)


def _not_started(first: ExpectedEvent, log: Sequence[LogEvent], scene: Scene) -> Meaning:
    started = listed([event for event in log if event.type == APPLICATION], describe)
    if scene.is_direct:
        text = f"the kernel is not the one of {scene.ours}; the log names {started}"
        if scene.has_other_chain:
            return Meaning(text, cause=OTHER_CHAIN, weight=1)
        note, hint = _rewriting(scene)
        return Meaning(text + note, cause=f"the kernel is not the one of {scene.ours}", weight=2, hint=hint)
    what = "the UKI of this build" if scene.ours == "this release" else f"the image of {scene.ours}"
    cause = OTHER_CHAIN if scene.has_other_chain else f"{what} was not started"
    return Meaning(f"{what} was not started; the log names {started}", cause=cause, weight=1)


def _rewriting(scene: Scene) -> tuple[str, str | None]:
    """What older QEMU and firmware do to a kernel: nobody can compute it from a digest."""
    generation, version = scene.known.generation, scene.known.vmm_version or ""
    new = re.match(r"([0-9]{1,4})\.", version)
    if generation is not None and generation >= 202502 and new is not None and int(new[1]) >= 10:
        return "", None
    return "; or QEMU rewrote its header, as it does without edk2 202502 and QEMU 10.0", "predict with --kernel FILE"


def _other_order(log: Sequence[LogEvent], at: int) -> Meaning:
    calling = next((i for i, event in enumerate(log) if event.covers(events.CALLING)), len(log))
    cause = _FROM_DISK if calling < at else _BY_KERNEL
    return Meaning(f"the same images in another order: {cause}", recomputed=True, cause=cause)


def _kernel(place: Place, scene: Scene) -> Meaning:
    state = _secure_boot(scene)
    if place.actual is None:
        text = "the kernel inside the UKI was not measured: Secure Boot is on, or the stub is 258 or newer"
        cause = "Secure Boot is on" if state == "on" else text
        return Meaning(text, cause=cause, recomputed=state == "on")
    if place.expected is None:
        text = "the kernel inside the UKI was measured: Secure Boot is off, and the stub is 257 or older"
        return Meaning(text, cause="Secure Boot is off, or the stub is an older one")
    cause = f"the kernel is not the one of {scene.ours}"
    return Meaning(f"{cause}: the log names {describe(place.actual)}", cause=cause, weight=2)


def _secure_boot(scene: Scene) -> str | None:
    """What the log says of Secure Boot, where its digest proves it."""
    for role, event in scene.with_role("variable"):
        if role == "variable:SecureBoot":
            return hypotheses.variable_state("SecureBoot", uefi.GLOBAL_VARIABLE, event.digests)
    return None


def _stranger(place: Place, scene: Scene) -> Meaning:
    meaning = plain(place)
    if place.actual is not None and scene.has_other_chain:
        return Meaning(meaning.text, cause=OTHER_CHAIN, weight=1)
    return meaning


def _name(event: LogEvent) -> str:
    named = application_name(event)
    if named is not None:
        return f"the log names {named}"
    if event.covers(events.RETURNING):
        return "a boot option that ran and returned"
    return "a further boot option" if event.covers(events.CALLING) else describe(event)


def partitions(place: Place, scene: Scene) -> Meaning:
    """The partition table of the disk that something was loaded from."""
    if place.expected is None:
        text = "the firmware loaded an image from a disk, which this profile does not do"
        return Meaning(text, cause=_FROM_DISK)
    if place.actual is None:
        return Meaning("no image was loaded from a partitioned disk, as this profile does", cause=_BY_KERNEL)
    sizes = hypotheses.disk_size_of(place.actual, place.expected.digests)
    if sizes is not None:
        cause = f"the disk is {size_text(sizes[0])} large, not {size_text(sizes[1])}"
        text = f"{cause}: the partition table is the expected one otherwise, so the disk was resized or imported so"
        return Meaning(text, recomputed=True, cause=cause, hint="build the disk with the size that it is to have")
    cause = "the boot disk's partition table differs"
    return Meaning(f"{cause}: another disk, resized or repartitioned", cause=cause)


def leaving(place: Place, scene: Scene) -> Meaning:
    """ExitBootServices: how often it was called, and whether it worked."""
    logged = zip(scene.roles.get(place.register, ()), scene.actual.get(place.register, ()), strict=True)
    letters = "".join(_LETTERS.get(role, " ") for role, _ in logged).strip()
    if place.expected is None and _RETRY.fullmatch(letters):
        text = "exit-boot-services was retried: harmless (the memory map changed meanwhile; newer firmware does so)"
        return Meaning(text, harmless=True, cause="exit-boot-services was retried, which is harmless", weight=9)
    if place.actual is None:
        text = f"{plain(place).text}: the log ends before the firmware was left, or something else was started"
        return Meaning(text, cause="the firmware was not left as it should")
    if place.role == "exit-failed":
        return Meaning("leaving the firmware failed", cause="the firmware was not left as it should")
    return plain(place)


def other_chain(place: Place, scene: Scene) -> Meaning:
    """What shim and GRUB measure."""
    meaning = plain(place)
    if place.actual is None:
        return Meaning(meaning.text, cause="the expected boot chain, shim and GRUB, was not started", weight=1)
    who = "shim" if place.role.startswith("shim") else "GRUB"
    return Meaning(f"{meaning.text} ({who}: another boot chain than a UKI's)", cause=OTHER_CHAIN, weight=1)


def run_time(place: Place, scene: Scene) -> Meaning:
    """What software in the guest measures after the boot."""
    text = f"{plain(place).text}: software in the guest measured it after the boot"
    return Meaning(text, cause="software in the guest measured more after the boot")
