"""The evidence helper as a program, with a real TPM emulator behind the descriptor that systemd would hand over."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pluto_measure.evidence import Claims, Envelope
from pluto_measure.formats import tpm
from pluto_measure.verify.tpm import verify_tpm
from pluto_notary import __version__, events
from pluto_notary.errors import EvidenceError, TpmError
from pluto_notary.evidence import tpm_commands
from pluto_notary.evidence.client import HelperProvider
from pluto_notary.evidence.messages import NodeRequest
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.tpm_device import DescriptorTransport, Tpm
from simulators.tpm_quotes import BOOT, log_of

pytestmark = pytest.mark.interop

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REQUEST = NodeRequest(b"\1\2\3", b"\5" * 32)
# What systemd does before it starts a service: descriptors from 3 on, their names, and the process they are meant for.
STARTER = """
import os, sys
sources = [int(word) for word in sys.argv[1].split(",")]
high = [os.dup2(source, 100 + i) for i, source in enumerate(sources)]
for i, descriptor in enumerate(high):
    os.dup2(descriptor, 3 + i)
os.closerange(100, 100 + len(high))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=sys.argv[2])
code = f"import pluto_notary.places as places; places.DIGEST_FILE = {sys.argv[3]!r}; " \\
    "import sys; from pluto_notary.evidence.__main__ import main; sys.exit(main())"
os.execv(sys.argv[4], [sys.argv[4], "-B", "-c", code])
"""


def test_a_quote_of_the_emulator_covers_its_registers_and_the_key_can_be_unloaded(emulator: socket.socket) -> None:
    machine = Tpm(DescriptorTransport(emulator.fileno()), sleep=time.sleep)
    quote = machine.quote(b"\x11" * 32)
    attest = tpm.Attest.parse(quote.attest)
    assert attest.extra_data == b"\x11" * 32
    assert attest.selections == tpm_commands.ALL_REGISTERS
    assert quote.registers["sha256"]["pcr17"] == b"\xff" * 32
    assert quote.registers["sha384"]["pcr4"] == bytes(48)
    public = tpm.parse_public(machine.public())
    assert attest.qualified_signer == tpm.qualified_name(tpm.RH_OWNER, public)
    machine.close()
    handle = 0x8000_0000
    with pytest.raises(TpmError):
        tpm_commands.flushed(DescriptorTransport(emulator.fileno())(tpm_commands.flush_context(handle)))


def test_a_key_that_was_flushed_behind_our_back_is_made_again(emulator: socket.socket) -> None:
    transport = DescriptorTransport(emulator.fileno())
    machine = Tpm(transport, sleep=time.sleep)
    public = machine.public()
    tpm_commands.flushed(transport(tpm_commands.flush_context(0x8000_0000)))
    machine.quote(bytes(32))
    assert machine.public() == public  # a primary key: the same seed and template give the same key


@pytest.fixture
def helper(emulator: socket.socket, tmp_path: Path) -> Iterator[Path]:
    """The helper's folder, with `evidence.sock`, `config.digest` and `output`."""
    (tmp_path / "log").write_bytes(log_of(BOOT))
    (tmp_path / "config.digest").write_text(hashlib.sha256(b"").hexdigest() + "\n")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'notary'}{os.pathsep}{ROOT / 'measure'}"}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        (tmp_path / "log").open("rb") as log,
        (tmp_path / "output").open("wb") as output,
    ):
        listener.bind(str(tmp_path / "evidence.sock"))
        listener.listen()
        handed = [listener.fileno(), emulator.fileno(), log.fileno()]
        words = [",".join(map(str, handed)), "evidence:tpm:log", str(tmp_path / "config.digest"), sys.executable]
        command = [sys.executable, "-B", "-c", STARTER, *words]
        with subprocess.Popen(command, pass_fds=handed, env=environment, stdout=output) as process:
            yield tmp_path
            process.terminate()
            assert process.wait(20) == 0


def evidence(folder: Path) -> Envelope:
    provider = HelperProvider(str(folder / "evidence.sock"), seconds=20)
    document = asyncio.run(provider.node(REQUEST, Issue(0, NOW, b"\xb1" * 32)))
    return Envelope.parse(json.dumps(document))


def test_evidence_of_the_helper_process_verifies(helper: Path) -> None:
    for _ in range(2):
        verified = verify_tpm(evidence(helper), at=NOW)
        assert isinstance(verified.claims, Claims)
        assert verified.claims.nonce == REQUEST.nonce
        assert verified.claims.outer_key_digest == REQUEST.outer_key_digest
        assert verified.claims.config_digest == hashlib.sha256(b"").digest()
        assert verified.untrusted_log == log_of(BOOT)
    said = events.parse((helper / "output").read_text())
    assert said == events.Event.of("started", component="evidence", version=__version__)


def test_the_helper_process_survives_hostile_peers(helper: Path) -> None:
    for data in (b"", b"\0", b"\xff" * 100, b"\0\0\0\5{}", (10).to_bytes(4, "big") + b"not json!!"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(helper / "evidence.sock"))
            peer.sendall(data)
            if len(data) > 10:
                peer.shutdown(socket.SHUT_WR)
    verify_tpm(evidence(helper), at=NOW)


def test_without_a_configuration_digest_the_helper_process_refuses(helper: Path) -> None:
    (helper / "config.digest").unlink()
    with pytest.raises(EvidenceError) as caught:
        evidence(helper)
    assert caught.value.code == "config"
