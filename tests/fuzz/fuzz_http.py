"""Whatever bytes a client sends, the session ends in answers, a PeerError (a FormatError) or the end of input."""

from __future__ import annotations

from pluto_notary.errors import PeerError
from pluto_notary.limits import Limits
from pluto_notary.protocol.upgrade import Upgrade
from pluto_notary.server.routes import Response, refusal, route
from pluto_notary.server.session import HttpSession


def seeds() -> list[bytes]:
    return [
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/evidence?nonce=00ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST /v1/proxy HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
        b"HEAD / HTTP/0.9\r\n\r\n",
        b"HEAD /v1/proxy HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/meta/keys HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/tee?target_port=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n\x16\x03\x01",
    ]


def target(data: bytes) -> None:
    session = HttpSession(Limits(requests=5))
    half = len(data) // 2
    waiting = [piece for piece in (data[:half], data[half:]) if piece] + [b""]
    while session.open:
        try:
            while (request := session.next_request()) is None:
                assert session.held <= 2 * 1024 * 1024
                if session.asks_to_go_on:
                    session.go_on()
                session.feed(waiting.pop(0))
        except EOFError:
            return
        except PeerError as error:
            session.refuse(refusal(error))
            assert not session.open
            return
        try:
            wanted = route(request, version="0.1.0", build_id="00" * 32)
        except PeerError as error:
            session.respond(refusal(error, request.target.partition("?")[0]))
            continue
        if isinstance(wanted, Upgrade):
            head, _ = session.upgrade(wanted.headers())
            assert head.startswith(b"HTTP/1.1 101 ")
            wanted.stream()
            return
        session.respond(Response(200, b"{}"))
