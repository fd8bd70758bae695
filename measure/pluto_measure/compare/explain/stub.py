"""What differences in a UKI's sections and in what the kernel is given mean: RTMR[2], PCR 9, 11, 12 and 13. Pure."""

from __future__ import annotations

from typing import Final

from pluto_measure.compare.explain import hypotheses
from pluto_measure.compare.explain.scene import (
    ESP_ADDON,
    ESP_CREDENTIAL,
    ESP_EXTENSION,
    LOAD_OPTIONS,
    SMBIOS_COMMAND_LINE,
    Meaning,
    Place,
    Scene,
    plain,
)
from pluto_measure.event_text import INITRD_TAG, LOAD_OPTIONS_TAG, TAGS, describe, label, safe, tag_of
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.predict.stub import load_options

_NO_SECTIONS: Final = "the log has no section of a UKI: its stub is older than 256, or no UKI was started"
_OTHER_SECTIONS: Final = "the UKI has other sections, or its stub is of another version"


def section(place: Place, scene: Scene) -> Meaning:
    """Sections of the UKI."""
    wanted, actual = place.expected, place.actual
    if wanted is not None and actual is not None:
        text = f"{wanted.description} differs: this is another build, or its debug flavour"
        return Meaning(text, cause=f"the UKI is not the one of {scene.ours}", weight=2)
    if actual is not None:
        text = f"the UKI has a section that this build has not, or systemd measured more later: {describe(actual)}"
        return Meaning(text, cause=_OTHER_SECTIONS)
    meaning = plain(place)
    if not scene.with_role("section", "section-name"):
        return Meaning(f"{meaning.text}: {_NO_SECTIONS}", cause=_NO_SECTIONS)
    return Meaning(meaning.text, cause=_OTHER_SECTIONS)


def kernel_input(place: Place, scene: Scene) -> Meaning:
    """LoadOptions and initrd, as Linux measures them."""
    actual, tag = place.actual, tag_of(place.actual)
    if scene.from_outside:
        because = _from_outside(scene.from_outside[0], scene)
        what = TAGS.get(tag, "input") if tag is not None else "input"
        text = f"the kernel got another {what}, because {because.text}"
        return Meaning(text, because.attack, cause=because.text, weight=because.weight)
    if actual is None:
        return plain(place)
    if tag == LOAD_OPTIONS_TAG or place.role == "load-options":
        return _command_line(place, scene)
    if tag == INITRD_TAG or place.role == "initrd":
        cause = f"the initrd is not the one of {scene.ours}"
        if place.expected is None:
            return plain(place)
        of_uki = not scene.is_direct and scene.ours == "this release"
        how = ": the kernel got another initrd than the one that the stub makes of this UKI" if of_uki else ""
        return Meaning(cause + how, cause=cause, weight=2)
    return plain(place)


def _command_line(place: Place, scene: Scene) -> Meaning:
    line, actual = scene.known.command_line, place.actual
    form = None if line is None or actual is None else hypotheses.line_of(line, actual.digests)
    if form is not None and "initrd=initrd" in form and not scene.is_direct:
        text = f"the kernel got initrd=initrd with its command line: it was started without the stub ({form})"
        return Meaning(text, recomputed=True, cause="the kernel was started without the stub", weight=2)
    if form is not None:
        cause = "the command line is the expected one in another form"
        return Meaning(f"{cause}: {form}", recomputed=True, cause=cause, hint="predict with --edk2-generation TAG")
    cause = f"the kernel command line is not the one of {scene.ours}"
    if place.expected is None:
        return Meaning("the kernel got a command line, and none is expected", cause=cause)
    if scene.is_direct or scene.ours != "this release":
        return Meaning(cause, cause=cause, weight=2)
    return Meaning("the kernel got another command line than the one inside the UKI", cause=cause, weight=2)


def override(place: Place, scene: Scene) -> Meaning:
    """PCR 12, and its like in RTMR[2]: what the stub took from outside the UKI."""
    return plain(place) if place.actual is None else _from_outside(place.actual, scene)


def _from_outside(actual: LogEvent, scene: Scene) -> Meaning:
    """Who gave the kernel something that does not come out of the UKI."""
    text = label(actual.data)
    if not actual.data_is_measured:
        if "redentials initrd" in text:
            words = "a credential file lies beside the UKI on the ESP, and the stub loaded it"
            return Meaning(words, ESP_CREDENTIAL, weight=0)
        words = f"the stub loaded something from outside the UKI; the log names {describe(actual)}"
        return Meaning(words, weight=1)
    options = [event for _, event in scene.with_role("load-options")]
    shown = f'"{safe(text)}"'
    if any(role == "image:addon" for role, _ in scene.with_role("image")):
        return Meaning(f"an addon on the ESP added {shown} to the kernel command line", ESP_ADDON, weight=0)
    if any(event.covers(load_options(text.strip())) for event in options):
        words = f"load options given by the host replaced the kernel command line: {shown}"
        return Meaning(words, LOAD_OPTIONS, weight=0)
    line = scene.known.command_line
    added = "" if line is None else f"{line} {text}".strip()
    certain = any(event.covers(load_options(added)) for event in options)
    how = " added" if certain else ", as it seems, added"
    words = f"the host{how} {shown} to the kernel command line (SMBIOS string io.systemd.stub.kernel-cmdline-extra)"
    return Meaning(words, SMBIOS_COMMAND_LINE, weight=0)


def extension(place: Place, scene: Scene) -> Meaning:
    """PCR 13, and its like in RTMR[2]."""
    if place.actual is None:
        return plain(place)
    text = "a system or configuration extension lies beside the UKI on the ESP, and the stub loaded it"
    return Meaning(text, ESP_EXTENSION, weight=0)
