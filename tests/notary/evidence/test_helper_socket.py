"""Notary and helper over a real socket: every purpose, one at a time, late, refused, foreign."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pluto_measure.evidence import Envelope
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence import __main__ as program
from pluto_notary.evidence.client import HelperProvider
from pluto_notary.evidence.helper import Helper, Sources, TdxSources
from pluto_notary.evidence.messages import (
    ChannelRequest,
    EvidenceRequest,
    KeyRequest,
    NodeRequest,
    SessionRequest,
    frame,
)
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.serving import serve
from pluto_notary.limits import TokenBucket
from simulators.notary.configfs_tsm import quote_of
from simulators.notary.evidence import CHANNEL_KEY, EKM, NONCE, STATEMENT_KEY

if TYPE_CHECKING:
    from pluto_notary.evidence.helper import Sourcing

ISSUE = Issue(7, datetime(2026, 11, 20, tzinfo=UTC), b"\xb1" * 32)
CONFIG = b"\7" * 32
REQUESTS: list[EvidenceRequest] = [
    NodeRequest(NONCE, b"\5" * 32),
    ChannelRequest(CHANNEL_KEY, 7, b"\5" * 32),
    SessionRequest(EKM, NONCE, CHANNEL_KEY),
    KeyRequest(STATEMENT_KEY),
]


class Running:
    """The helper's loop in a thread."""

    def __init__(
        self, folder: Path, sources: Sourcing, admit: Callable[[socket.socket], bool] = lambda _: True
    ) -> None:
        self.path = str(folder / "evidence.sock")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(64)
        helper = Helper(sources, bucket=TokenBucket(rate=1e6, burst=10**6, now=0), clock=time.monotonic)
        self._thread = threading.Thread(
            target=serve, args=(self._listener, helper), kwargs={"admit": admit}, daemon=True
        )

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()


def tdx(make: Callable[[bytes], bytes] = quote_of) -> TdxSources:
    return TdxSources(make, lambda: b"log", lambda: CONFIG)


def asked(provider: HelperProvider, request: EvidenceRequest) -> dict[str, Any]:
    return asyncio.run(provider.evidence(request, ISSUE))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.purpose)
def test_evidence_of_each_purpose_is_bound_to_its_claims(tmp_path: Path, request_: EvidenceRequest) -> None:
    with Running(tmp_path, tdx()) as helper:
        document = asked(HelperProvider(helper.path, seconds=10, vendor="Google"), request_)
    envelope = Envelope.parse(json.dumps(document))
    assert (envelope.type, envelope.platform, envelope.epoch) == ("tdx", "gcp-tdx", 7)
    assert envelope.claims.purpose == request_.purpose
    bound = request_.claims(CONFIG, bytes(32)).binding()
    assert document["evidence"]["tdQuote"] == _base64(quote_of(bound))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_notary_sends_one_request_at_a_time(tmp_path: Path) -> None:
    now, most = 0, 0

    def slow(report_data: bytes) -> bytes:
        nonlocal now, most
        now += 1
        most = max(most, now)
        time.sleep(0.02)
        now -= 1
        return quote_of(report_data)

    async def all_at_once(provider: HelperProvider) -> None:
        await asyncio.gather(*(provider.evidence(KeyRequest(STATEMENT_KEY), ISSUE) for _ in range(20)))

    with Running(tmp_path, tdx(slow)) as helper:
        asyncio.run(all_at_once(HelperProvider(helper.path, seconds=10)))
    assert most == 1


def code(provider: HelperProvider, request: EvidenceRequest = REQUESTS[3]) -> str:
    with pytest.raises(EvidenceError) as caught:
        asked(provider, request)
    return caught.value.code


def test_a_helper_that_is_late_absent_or_shuts_the_door_is_unavailable(tmp_path: Path) -> None:
    def hang(report_data: bytes) -> bytes:
        time.sleep(0.5)
        return quote_of(report_data)

    assert code(HelperProvider(str(tmp_path / "nobody"), seconds=5)) == "unavailable"
    with Running(tmp_path, tdx(hang)) as helper:
        assert code(HelperProvider(helper.path, seconds=0.1)) == "unavailable"
    (tmp_path / "evidence.sock").unlink()
    with Running(tmp_path, tdx(), admit=lambda _: False) as helper:
        assert code(HelperProvider(helper.path, seconds=5)) == "unavailable"


def test_a_token_of_the_old_protocol_is_confidential_spaces_alone(tmp_path: Path) -> None:
    with Running(tmp_path, tdx()) as helper, pytest.raises(EvidenceError) as caught:
        asyncio.run(HelperProvider(helper.path, seconds=5).legacy(EKM))
    assert caught.value.code == "request"


@pytest.mark.parametrize(
    "said", [b"", b"\0", b"\0\0\0\2{}", b"\xff\xff\xff\xff", frame(b'{"version":1}'), frame(b"x" * 99)]
)
def test_whatever_a_helper_says_is_an_error_with_a_code(tmp_path: Path, said: bytes) -> None:
    path = str(tmp_path / "evidence.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        assert code(HelperProvider(path, seconds=5)) == "unavailable"
        thread.join()


def test_a_trust_domains_entry_is_chosen_before_a_tpm(tmp_path: Path) -> None:
    digest = tmp_path / "digest"
    digest.write_text("07" * 32 + "\n")
    assert isinstance(program.machine_sources({}, digest, entry=str(tmp_path / "none")), Sources)
    chosen = program.machine_sources({}, digest, entry=str(tmp_path))
    assert isinstance(chosen, TdxSources)
    assert chosen.config_digest() == CONFIG
    with pytest.raises(EvidenceError, match="no event log"):
        chosen.log()


def test_a_log_is_read_without_most_of_what_fills_its_area(tmp_path: Path) -> None:
    (tmp_path / "ccel").write_bytes(b"events\xff\xff" + b"\xff" * 65536)
    with (tmp_path / "ccel").open("rb") as log:
        sources = program.machine_sources({"ccel": log.fileno()}, "none", entry=str(tmp_path))
        assert isinstance(sources, TdxSources)
        assert sources.log() == b"events" + b"\xff" * 4096
    assert program.without_fill(b"events") == b"events"
    assert program.without_fill(b"") == b""


def test_a_tpm_that_is_broken_is_no_azure_machine(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(write)
    try:
        assert isinstance(program.machine_sources({"tpm": read}, "none", entry=str(tmp_path / "none")), Sources)
    finally:
        os.close(read)
