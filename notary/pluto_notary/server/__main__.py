"""`python3 -m pluto_notary.server`: the notary as systemd starts it in the trust domain. It takes no argument.

It is handed listening sockets by name, `https`, reads the run-time configuration that `pluto-config.service` has
checked, and gets evidence from the helper's socket. It may open no device.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # while modules load nothing can be collected, and looking for it would take a twentieth of the start

import os
import socket
import sys
import time

from pluto_measure.errors import PlutoError
from pluto_notary import places, systemd
from pluto_notary.config import parse_payload
from pluto_notary.errors import ConfigError
from pluto_notary.evidence.client import HelperProvider
from pluto_notary.limits import Limits
from pluto_notary.serial import EventWriter, standard_output
from pluto_notary.server.run import Settings, run
from pluto_notary.server.world import World, trustworthy

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pluto_notary.config import Acme
    from pluto_notary.server.run import Beside

_CONFIG_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02


def main() -> int:
    """Serve until the service manager ends it."""
    gc.enable()
    try:
        run(_settings())
    except (PlutoError, OSError) as error:
        sys.stderr.write(f"pluto-notary: error: {error}\n")
        return error.exit_code if isinstance(error, PlutoError) else 6
    return 0


def await_config(
    path: str | os.PathLike[str], *, clock: Callable[[], float], sleep: Callable[[float], object]
) -> bytes:
    """The checked payload, as soon as it is there: this process starts beside the one that fetches it.

    ConfigError if it does not come.
    """
    deadline = clock() + _CONFIG_SECONDS
    while True:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError as error:
            if clock() >= deadline:
                raise ConfigError("absent", "no configuration was accepted") from error
        sleep(_POLL_SECONDS)


def _settings() -> Settings:
    limits, events = Limits(), standard_output(time.monotonic)
    with open(systemd.OS_RELEASE, encoding="utf-8") as file:
        build_id = systemd.build_id(file.read())
    configuration = parse_payload(await_config(places.CONFIG_FILE, clock=time.monotonic, sleep=time.sleep))
    return Settings(
        listeners=_listeners(),
        build_id=bytes.fromhex(build_id),
        provider=HelperProvider(places.EVIDENCE_SOCKET, seconds=limits.evidence_seconds, vendor=_vendor()),
        world=lambda: _world(events),
        events=events,
        limits=limits,
        ready=lambda _port, _key: systemd.notify(os.environ, "READY=1"),
        certified=None if configuration.acme is None else _certified(configuration.acme),
    )


def _certified(acme: Acme) -> Beside:
    from pluto_notary.server.certified import certified_by  # most machines have no authority to ask

    return certified_by(acme)


def _world(events: EventWriter) -> World:
    """The image's own world; in a debug image, which says so in its measurements, the one of its measured file."""
    if not os.path.exists(places.DEBUG_WORLD):
        return trustworthy(events)
    from pluto_notary.debug_world import debug_world  # in debug images alone

    return debug_world(places.DEBUG_WORLD, events)


def _vendor() -> str:
    """What the host calls itself; only a hint, which chooses between names of platforms."""
    try:
        with open(places.VENDOR, encoding="ascii", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return ""


def _listeners() -> tuple[socket.socket, ...]:
    numbers = systemd.descriptors_named(os.environ, os.getpid(), "https")
    if not numbers:
        raise OSError("no listening socket named https was handed over")
    return tuple(socket.socket(fileno=number) for number in numbers)


if __name__ == "__main__":
    sys.exit(main())
