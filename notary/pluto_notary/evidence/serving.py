"""The evidence helper's socket: one connection after the other, each with one request. Thin IO."""

from __future__ import annotations

import socket
import sys
import time

from pluto_measure.errors import PlutoError
from pluto_notary.evidence.messages import LARGEST_REQUEST, LENGTH_BYTES, body_length, frame

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pluto_notary.evidence.helper import Helper

_CONNECTION_SECONDS: Final = 5.0


def serve(
    listener: socket.socket, helper: Helper, *, admit: Callable[[socket.socket], bool] = lambda connection: True
) -> None:
    """Until the listening socket fails. A slow, broken or foreign peer costs only its own connection."""
    while True:
        try:
            connection, _ = listener.accept()
        except (ConnectionError, InterruptedError):
            continue
        except OSError:
            return
        with connection:
            if admit(connection):
                _serve_one(connection, helper)


def _serve_one(connection: socket.socket, helper: Helper) -> None:
    connection.settimeout(_CONNECTION_SECONDS)
    try:
        length = body_length(_receive(connection, LENGTH_BYTES), LARGEST_REQUEST)
        connection.sendall(frame(helper.answer(_receive(connection, length))))
    except (OSError, EOFError, PlutoError) as error:
        sys.stderr.write(f"pluto-evidence: connection ended: {type(error).__name__}\n")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    deadline = time.monotonic() + _CONNECTION_SECONDS
    while len(data) < size:
        if time.monotonic() > deadline:
            raise TimeoutError
        if not (piece := connection.recv(size - len(data))):
            raise EOFError
        data += piece
    return data
