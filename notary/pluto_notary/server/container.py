"""`python3 -m pluto_notary.server.container`: the notary in a container. It takes no argument.

On Confidential Space the launcher starts it as root: there is no service manager, no run-time configuration and no
device. It becomes two processes (`pluto_notary.evidence.space`): one stays root and may ask the launcher for tokens,
the notary becomes its own user. Nothing that an operator can set is read; the port is the one that the image exposes
(docs/formats/container.md).
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
from pluto_notary.evidence import space
from pluto_notary.evidence.prepare import account
from pluto_notary.limits import Limits
from pluto_notary.serial import standard_output

PORT: Final = 8443
USER: Final = "pluto-notary"
ACCOUNTS: Final = "/etc/passwd"
_STDERR: Final = 2


def main() -> int:
    """Serve until the engine ends it."""
    try:
        user, group = account(Path(ACCOUNTS).read_text(encoding="utf-8"), USER)
        return space.run(serve, user=user, group=group)
    except (PlutoError, OSError) as error:
        sys.stderr.write(f"pluto-notary: error: {error}\n")
        return error.exit_code if isinstance(error, PlutoError) else 6


def serve(helper: str) -> int:
    """The notary's process; evidence comes from the helper at this address."""
    # Imported here: the process that stays root has none of it.
    from pluto_notary.evidence.client import HelperProvider
    from pluto_notary.server.run import Settings, run
    from pluto_notary.server.world import trustworthy

    limits, events = Limits(), standard_output(time.monotonic)
    provider = HelperProvider(helper, seconds=limits.evidence_seconds)

    async def token(ekm: bytes) -> bytes:
        return (await provider.legacy(ekm)).encode("ascii")

    with listener(PORT) as listening:
        run(
            Settings(
                listeners=(listening,),
                build_id=bytes.fromhex(systemd.build_id(Path(systemd.OS_RELEASE).read_text(encoding="utf-8"))),
                provider=provider,
                world=lambda: trustworthy(events),
                events=events,
                limits=limits,
                ready=lambda _port, _key: _close_stderr(),
                token=token,
            )
        )
    return 0


def listener(port: int) -> socket.socket:
    """A socket on every address, of both families where the kernel has both. OSError."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _close_stderr() -> None:
    """From the first request on, only events leave: they have a closed schema, and an exception may quote a client."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _STDERR)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
