"""Real sockets, and a second opinion: chronyd serves our client, and our simulator serves chronyd."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure.record import replace
from pluto_notary.trusted_time.agree import Rules, Sample
from pluto_notary.trusted_time.certificates import Roots
from pluto_notary.trusted_time.errors import SampleError
from pluto_notary.trusted_time.operators import Operator
from pluto_notary.trusted_time.sockets import SocketNetwork
from pluto_notary.trusted_time.source import Asking, Source
from simulators.notary.time_servers import DAY, Authority, TimeServer, key_pem, serve

AUTHORITY = Authority(time.time() - 30 * DAY, time.time() + 30 * DAY)
RULES = Rules(built_at=1_780_000_000)
HOST = "localhost"


async def loopback(_: str) -> list[str]:
    return ["127.0.0.1"]


def asking() -> Asking:
    roots = Roots.parse(AUTHORITY.pem)
    network = SocketNetwork(loopback)
    return Asking(RULES, roots, network, lambda address: address == "127.0.0.1", time.monotonic, os.urandom)


def source(port: int) -> Source:
    return Source(0, Operator("ours", "XX", HOST, "here", port), asking())


def true_server(**wrong: float) -> TimeServer:
    key, certificate = AUTHORITY.issue(HOST, time.time() - DAY, time.time() + DAY)
    return TimeServer(HOST, key, certificate, **wrong)  # type: ignore[arg-type]


def assert_true(sample: Sample) -> None:
    readings = [(time.monotonic(), time.time(), time.monotonic()) for _ in range(100)]
    before, wall, after = min(readings, key=lambda one: one[2] - one[0])  # between which nobody else had the processor
    assert sample.low <= wall - before
    assert wall - after <= sample.high


def test_over_sockets_of_the_loopback() -> None:
    async def work() -> None:
        async with serve(true_server()) as (port, _):
            ours = source(port)
            for _ in range(3):
                assert_true(await ours.sample())

    asyncio.run(work())


def test_nobody_listens_and_nobody_answers() -> None:
    async def work() -> None:
        with pytest.raises(SampleError, match="connect"):
            await source(free_port(socket.SOCK_STREAM)).sample()
        server = true_server()
        async with serve(server) as (port, _):
            server.ntp_port = free_port(socket.SOCK_DGRAM)
            quick = replace(asking(), answer_seconds=0.2)
            with pytest.raises(SampleError, match="lost"):
                await Source(0, Operator("ours", "XX", HOST, "here", port), quick).sample()

    asyncio.run(work())


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chronyd() -> str:
    found = os.environ.get("CHRONYD") or shutil.which("chronyd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        pytest.skip("no peer: chronyd is absent")
    return found


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """chronyd as a server of NTS whose time is the machine's; it cannot and does not set the clock."""
    key, certificate = AUTHORITY.issue(HOST, time.time() - DAY, time.time() + DAY)
    (folder / "key.pem").write_bytes(key_pem(key))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    ntp, exchange = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    configuration = f"""
        local stratum 2
        port {ntp}
        ntsport {exchange}
        bindaddress 127.0.0.1
        allow 127.0.0.1
        cmdport 0
        bindcmdaddress /
        user {getpass.getuser()}
        pidfile {folder}/pid
        ntsserverkey {folder}/key.pem
        ntsservercert {folder}/certificate.pem
    """
    (folder / "chrony.conf").write_text(configuration)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [chronyd(), "-d", "-x", "-U", "-f", str(folder / "chrony.conf")], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", exchange)) == 0:
                    break
            time.sleep(0.05)
        assert process.poll() is None, log.read_text()
        yield exchange
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.interop
def test_chronyd_as_server_gives_a_sample_that_holds_the_machines_time(tmp_path: Path) -> None:
    async def work(port: int) -> None:
        ours = source(port)
        for _ in range(12):  # more than the cookies that the key exchange gave
            assert_true(await ours.sample())

    with serving(tmp_path) as port:
        asyncio.run(work(port))


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.parametrize("lie", [0.0, 5000.0])
def test_chronyd_as_client_believes_our_simulator(tmp_path: Path, lie: float) -> None:
    (tmp_path / "roots.pem").write_bytes(AUTHORITY.pem)
    server = true_server(lie=lie, hold=1e-5)

    async def work() -> str:
        async with serve(server) as (port, _):
            process = await asyncio.create_subprocess_exec(
                *(chronyd(), "-Q", "-x", "-U", "-t", "15", "-f", "/dev/null"),
                *(f"server {HOST} nts ntsport {port} iburst maxsamples 4", f"ntstrustedcerts {tmp_path}/roots.pem"),
                *(f"user {getpass.getuser()}", f"pidfile {tmp_path}/pid", "cmdport 0", "bindcmdaddress /"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            return output.decode()

    output = asyncio.run(work())
    assert server.exchanges == 1, output
    found = re.search(r"System clock wrong by (-?[0-9.]+) seconds", output)
    assert found, output
    assert float(found[1]) == pytest.approx(lie, abs=0.1)
    assert len(set(server.cookies_used)) == len(server.requests) >= 3
