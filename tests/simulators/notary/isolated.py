"""A world of its own for a release: a network namespace with public addresses, names, sites, time, and evidence.

    with entered():                                    this thread, and what it starts, sees a loopback and nothing more
        add_addresses("93.184.215.14")
        with names({...}), PublicSite(...), operators(...) as time, helper(...), started(...) as release: ...

Nothing in the release knows of it: it asks the resolver of its image, real ports of addresses that are public by their
numbers, and the socket of its evidence helper, which is the product's own but for the quote. What systemd's unit puts
around the process, the filter of addresses among it, is not here: boots of the image show that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pluto_notary import places
from pluto_notary.evidence.helper import Helper, TdxSources
from pluto_notary.evidence.serving import serve as serve_evidence
from pluto_notary.limits import TokenBucket
from simulators.containers import tool, wait_until
from simulators.notary.certificates import Authority, Identity
from simulators.notary.sites import Site, Visit
from simulators.notary.time_servers import TimeServer
from simulators.notary.time_servers import serve as serve_time
from simulators.trust_domains import TrustDomain

PORT: Final = 8443  # of pluto-notary.socket
RESOLVER: Final = "127.0.0.53"  # of the image's resolv.conf
NTS_KE, NTP = 4460, 123
USER: Final = 990  # pluto-notary, and its group
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET
# What the service manager does: mounts, the listening socket as descriptor 3, the unit's environment, its user. The
# root is $1, and gone with the process are all mounts.
_START: Final = f"""
set -e
exec 3<&0 </dev/null
mount -t proc proc "$1/proc"
for device in null urandom; do mount --bind /dev/$device "$1/dev/$device"; done
exec env -i CRYPTOGRAPHY_OPENSSL_NO_LEGACY=1 LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=https "$2" \\
    --userspec={USER}:{USER} --groups= "$1" /usr/bin/python3 -I -B -m pluto_notary.server
"""


@contextlib.contextmanager
def entered() -> Iterator[None]:
    """A new network namespace for this thread, and for threads and processes that it starts. Needs root. OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(_NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            _ip("link", "set", "lo", "up")
            yield
        finally:
            if libc.setns(before.fileno(), _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")


def add_addresses(*addresses: str) -> None:
    """Give the loopback these IPv4 addresses, one by one."""
    for address in addresses:
        _ip("address", "add", f"{address}/32", "dev", "lo")


def _ip(*words: str) -> None:
    subprocess.run([tool("ip"), *words], check=True, capture_output=True)


@contextlib.contextmanager
def names(addresses: Mapping[str, str]) -> Iterator[None]:
    """A DNS server where the image's resolver would be; it knows these names, each with one IPv4 address."""
    known = {f"{name}.": address for name, address in addresses.items()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((RESOLVER, 53))
        with _thread(_answer_names, server, known):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # there is nobody at the other end; the waiting ends nevertheless
                    server.shutdown(socket.SHUT_RDWR)


def _answer_names(server: socket.socket, known: Mapping[str, str]) -> None:
    while True:
        data, peer = server.recvfrom(4096)
        if not data:
            return
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query, recursion_available=True)
        [question] = query.question
        if (address := known.get(question.name.to_text().lower())) is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", address))
        server.sendto(answer.to_wire(), peer)


class PublicSite(Site):
    """A site on port 443 of an address. `at`: Unix times of its visits."""

    def __init__(self, address: str, identity: Identity, act: Callable[[Visit], None]) -> None:
        def noted(visit: Visit) -> None:
            self.at.append(time.time())
            act(visit)

        super().__init__(identity, noted)
        self.identity, self.address = identity, address
        self.at: list[float] = []
        self._listener.close()
        self._listener = socket.create_server((address, 443))
        self.port = 443

    def __exit__(self, *_: object) -> None:
        self.over.set()
        socket.create_connection((self.address, 443), timeout=1).close()
        super().__exit__()


class Operators(threading.Thread):
    """Operators of time, by address. They take connections, and answer once they are told to."""

    def __init__(self, servers: Mapping[str, TimeServer]) -> None:
        super().__init__(daemon=True)
        self._servers = servers
        self.ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._awake, self._over = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            for address, server in self._servers.items():
                await stack.enter_async_context(serve_time(server, address, (NTS_KE, NTP), self._awake))
            self.ready.set()
            await self._over.wait()

    def answer(self) -> None:
        self._loop.call_soon_threadsafe(self._awake.set)

    def end(self) -> None:
        self.answer()
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(10)


@contextlib.contextmanager
def operators(authority: Authority, hosts: Mapping[str, str]) -> Iterator[Operators]:
    """Honest ones: host names and their addresses."""
    found = Operators({address: _time_server(host, authority.issue(host)) for host, address in hosts.items()})
    found.start()
    assert found.ready.wait(10)
    try:
        yield found
    finally:
        found.end()


def _time_server(host: str, identity: Identity) -> TimeServer:
    key = load_pem_private_key(identity.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return TimeServer(host, key, x509.load_der_x509_certificate(identity.der))


@contextlib.contextmanager
def helper(root: Path, domain: TrustDomain) -> Iterator[None]:
    """The evidence helper at its socket in the root, which only the notary's group may connect to.

    All of it is the product's, but for who makes the quote: the trust domain is pretended.
    """
    sources = TdxSources(
        quote=lambda bound: domain.quoted(bound).quote,
        log=domain.log_bytes,
        config_digest=lambda: domain.config_digest,
    )
    answering = Helper(sources, bucket=TokenBucket(rate=100, burst=100, now=0), clock=time.monotonic)
    path = root / places.EVIDENCE_SOCKET.lstrip("/")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        try:
            path.chmod(0o660)
            os.chown(path, 0, USER)
            listener.listen(16)
            with _thread(serve_evidence, listener, answering):
                try:
                    yield
                finally:
                    listener.shutdown(socket.SHUT_RDWR)
        finally:
            path.unlink()


@contextlib.contextmanager
def _thread(work: Callable[..., object], *arguments: object) -> Iterator[None]:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(10)
        assert not thread.is_alive()


@dataclass(frozen=True)
class Release:
    """The notary's process. `said`: the files of its standard output and error."""

    process: subprocess.Popen[bytes]
    said: tuple[Path, Path]

    @property
    def lines(self) -> list[str]:
        """Its events."""
        return self.said[0].read_text().splitlines()

    def soon(self, line: str, seconds: float = 60) -> None:
        """Wait until an event begins so."""
        found = wait_until(lambda: any(one.startswith(line) for one in self.lines), self.process, seconds)
        assert found, (line, self.lines, self.said[1].read_text())

    def status(self) -> dict[str, str]:
        """What the kernel says of it, by proc(5)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}

    def end(self) -> int:
        """Stop it as the service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@contextlib.contextmanager
def started(root: Path, place: Path, port: int = PORT) -> Iterator[Release]:
    """The program of pluto-notary.service in that root, as its user; `place` is for what it says."""
    for name in ("proc", "dev"):
        (root / name).mkdir(exist_ok=True)
    for name in ("null", "urandom"):
        (root / "dev" / name).touch()
    argv = [tool("unshare"), "--mount", "--", shutil.which("sh") or "sh", "-c", _START, "sh", str(root), tool("chroot")]
    said = place / "stdout", place / "stderr"
    with said[0].open("wb") as out, said[1].open("wb") as err, socket.create_server(("0.0.0.0", port)) as listener:
        process = subprocess.Popen(argv, stdin=listener.fileno(), stdout=out, stderr=err)
    try:
        release = Release(process, said)
        release.soon("pluto: ready ")
        yield release
    finally:
        process.kill()
        process.wait(10)
