"""What the tests of `host prepare` share: the command, an operator's files, rules, and who connects."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pluto_deploy.commands import host as commands
from pluto_measure import command
from simulators.metal.host import Host
from simulators.metal.packages import Archive

API_KEY = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


def prepare(host: Host, *words: str, user: str = "root", known_hosts: Path | None = None) -> dict[str, Any]:
    """`pluto-deploy host prepare` on a host: its document. Raises what it raises."""
    top = command.parser("pluto-deploy", "")
    commands.add(top.add_subparsers(required=True))
    login = ["--key", str(host.key), "--known-hosts", str(known_hosts or host.known_hosts)]
    arguments = top.parse_args(["host", "prepare", f"{user}@{host.address}", *login, *words])
    found: dict[str, Any] = arguments.run(arguments).document
    return found


def words_of(archive: Archive, folder: Path) -> list[str]:
    """The options that name an archive and a PCCS of the host's own, with their files in `folder`."""
    (folder / "archive.asc").write_bytes(archive.key)
    lines = [f'uri = "{archive.url}/apt"', f'suite = "{archive.suite}"', 'components = ["main"]', 'key = "archive.asc"']
    (folder / "archive.toml").write_text("\n".join(lines) + "\n")
    (folder / "api-key").write_text(f"{API_KEY}\n")
    return ["--quote-archive", str(folder / "archive.toml"), "--pccs-key-file", str(folder / "api-key")]


def rules(host: Host, name: str, *elements: str) -> None:
    """Give a deployment its traffic, as `apply` does: "MAP { ELEMENT }" each."""
    text = "".join(f"add element inet pluto {element}\n" for element in elements)
    host.put(f"/etc/pluto/traffic/{name}.nft", text.encode())
    host.run(["systemctl", "reload", "pluto-traffic"])


def outside(address: str, port: int, *, seconds: float = 2) -> str:
    """What the tester gets at an address of the host's: words, "silence", or the name of the error."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as client:
            return client.recv(100).decode()
    except TimeoutError:
        return "silence"
    except OSError as error:
        return type(error).__name__


@contextmanager
def listening(address: str) -> Iterator[tuple[int, list[str]]]:
    """A server at the tester's end: its port, and the addresses of those who came."""
    peers: list[str] = []
    with socket.create_server((address, 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, peer = server.accept()
                except OSError:
                    return
                peers.append(peer[0])
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], peers
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def eventually(truth: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + seconds
    while not truth():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
