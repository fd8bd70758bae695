"""Metadata of a machine: of Confidential Space's, and of one of our own image. Pure.

Our own image is given the run-time configuration, always: the machine refuses to start without.

Confidential Space's launcher ignores keys that it does not know, so a misspelt one is a machine that does not start, or
one that starts otherwise than was meant. Therefore: one whitelist, values checked, the container by digest and never by
tag.

Source: google/go-tpm-tools, launcher/spec/launch_spec.go. Not on the list: what only Google's own tests use, another
verifier than Google's, and whatever an image would have to allow by a label that ours does not carry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from pluto_deploy.google.names import CONFIG_ITEM
from pluto_deploy.google.wanted import RESTARTS
from pluto_measure.errors import FormatError
from pluto_notary.config import decode_config_text, encode_config_text

IMAGE: Final = "tee-image-reference"
RESTART: Final = "tee-restart-policy"
LOG: Final = "tee-container-log-redirect"
MONITORING: Final = "tee-monitoring-enable"

_REFERENCE: Final = re.compile(r"[a-z0-9.-]{1,80}(/[a-z0-9][a-z0-9._-]{0,127}){1,4}@sha256:[0-9a-f]{64}")
_BOOL: Final = ("true", "false")
_SIZE: Final = re.compile(r"[1-9][0-9]{0,8}")
_KEYS: Final[Mapping[str, Callable[[str], bool]]] = {
    IMAGE: lambda value: _REFERENCE.fullmatch(value) is not None,
    RESTART: RESTARTS.__contains__,
    LOG: ("false", "true", "cloud_logging", "serial").__contains__,
    MONITORING: ("none", "memoryOnly", "all").__contains__,
    "tee-dev-shm-size-kb": lambda value: _SIZE.fullmatch(value) is not None,
    "tee-disable-gca-refresh": _BOOL.__contains__,
}


def space(reference: str, *, restart: str) -> dict[str, str]:
    """The items of a machine that runs one container. Logs go to the serial line, where readiness is read."""
    return checked({IMAGE: reference, RESTART: restart, LOG: "serial", MONITORING: "none"})


def domain(payload: bytes) -> dict[str, str]:
    """The items of a machine of our own image, also for an empty configuration. ConfigError for a malformed one."""
    return {CONFIG_ITEM: encode_config_text(payload)}


def payload(items: Mapping[str, str]) -> bytes:
    """What `domain` was given. FormatError where there is none, and for another form."""
    if CONFIG_ITEM not in items:
        raise FormatError("metadata", f"{CONFIG_ITEM} is missing: the machine has no run-time configuration")
    return decode_config_text(items[CONFIG_ITEM].encode())


def checked(items: Mapping[str, str]) -> dict[str, str]:
    """The same items. FormatError for an unknown key, and for a value that cannot be."""
    if IMAGE not in items:
        raise FormatError("metadata", f"{IMAGE} is missing: the launcher starts nothing without it")
    for key, value in items.items():
        if key not in _KEYS:
            raise FormatError("metadata", f"{key[:60]!r} is no key that is set here")
        if not _KEYS[key](value):
            more = ": the container is named by digest" if key == IMAGE else ""
            raise FormatError("metadata", f"{key} cannot be {value[:120]!r}{more}")
    return dict(items)
