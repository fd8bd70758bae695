"""`python3 -m pluto_notary.server.container`: the notary as the only process of a container. It takes no argument.

On Confidential Space the launcher starts it: there is no service manager, no run-time configuration and no device.
Nothing that an operator can set is read; the port is the one that the image exposes (docs/formats/container.md).
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Final

from pluto_measure.errors import PlutoError
from pluto_notary import systemd
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence.messages import NodeRequest
from pluto_notary.evidence.provider import Issue
from pluto_notary.limits import Limits
from pluto_notary.serial import standard_output
from pluto_notary.server.run import Settings, run

PORT: Final = 8443
_STDERR: Final = 2


class NoProvider:
    """Stands where a provider of evidence will: whoever asks is told that there is none."""

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        """Raises EvidenceError, always."""
        raise EvidenceError("unavailable", "this container has no provider of evidence")


def main() -> int:
    """Serve until the engine ends it."""
    try:
        with listener(PORT) as socket_:
            run(_settings(socket_))
    except (PlutoError, OSError) as error:
        sys.stderr.write(f"pluto-notary: error: {error}\n")
        return error.exit_code if isinstance(error, PlutoError) else 6
    return 0


def listener(port: int) -> socket.socket:
    """A socket on every address, of both families where the kernel has both. OSError."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _settings(listening: socket.socket) -> Settings:
    return Settings(
        listener=listening,
        build_id=bytes.fromhex(systemd.build_id(Path(systemd.OS_RELEASE).read_text(encoding="utf-8"))),
        provider=NoProvider(),
        events=standard_output(time.monotonic),
        limits=Limits(),
        ready=lambda _port, _key: _close_stderr(),
    )


def _close_stderr() -> None:
    """From the first request on, only events leave: they have a closed schema, and an exception may quote a client."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _STDERR)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
