"""Exchanges of HTTP/1.1 against other readers: where this one finds any, h11 finds the same, and `fetch` no other.

Whatever is cut, put in or left out is refused, or its meaning is not in doubt.
"""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from notary.observe.http1 import GET, LIMITS, OK, ONE, answered, asked, read, refused
from pluto_measure.record import replace
from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.http1 import Http1Session
from pluto_notary.fetch.outgoing import prepared
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.exchanges import decoded
from simulators.notary.sites import chunked


def by_h11(client: bytes, site: bytes) -> list[tuple[bytes, bytes, bytes, int, bytes]]:
    """Method, target and body of each request, status and body of each answer, as h11 reads them."""
    server, other = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
    server.receive_data(client)
    other.receive_data(site)
    found = []
    while not isinstance(head := server.next_event(), type(h11.NEED_DATA)):
        assert isinstance(head, h11.Request)
        asked_for = whole_of(server)
        # Each plays the other's part too, so that both know where they are.
        other.send(h11.Request(method=head.method, target=head.target, headers=head.headers))
        if asked_for:
            other.send(h11.Data(data=asked_for))
        other.send(h11.EndOfMessage())
        answer = other.next_event()
        while isinstance(answer, h11.InformationalResponse):
            answer = other.next_event()
        assert isinstance(answer, h11.Response)
        found.append((head.method, head.target, asked_for, answer.status_code, whole_of(other)))
        server.send(h11.Response(status_code=204, headers=[]))
        server.send(h11.EndOfMessage())
        if server.our_state is not h11.DONE or other.our_state is not h11.DONE or other.their_state is not h11.DONE:
            break
        server.start_next_cycle()
        other.start_next_cycle()
    return found


def whole_of(connection: h11.Connection) -> bytes:
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return body


NAMES = st.sampled_from(["X-A", "x-b", "Accept", "Cookie"])
VALUES = st.text("abc 1,;=\u00e4", max_size=8)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=3)
BODIES = st.binary(max_size=300)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A request, its answer, and the answer's body."""
    method = draw(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"]))
    lines = [f"{name}: {value}".encode("latin-1") for name, value in draw(FIELDS)]
    sent = draw(BODIES) if method in (b"POST", b"PUT") else b""
    if sent or draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(sent))
    request = asked(*lines, first=method + b" /" + draw(st.text("ab?/&=%", max_size=9)).encode() + b" HTTP/1.1") + sent
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * draw(st.integers(0, 2))
    status = draw(st.sampled_from([b"200 OK", b"200", b"204 No", b"304 Not", b"404 Not Found", b"500 "]))
    body, fields = draw(BODIES), [(name, value) for name, value in draw(FIELDS)]
    lines = [f"{name}: {value}".encode("latin-1") for name, value in fields]
    if status[:3] in (b"204", b"304"):
        return request, early + answered(*lines, first=b"HTTP/1.1 " + status), b""
    if draw(st.booleans()):
        answer = answered(*lines, b"Content-Length: %d" % len(body), first=b"HTTP/1.1 " + status, body=body)
    else:
        cut = draw(st.integers(0, len(body)))
        pieces = chunked(
            *filter(None, (body[:cut], body[cut:])), end=draw(st.sampled_from([b"0\r\n\r\n", b"0\r\na: b\r\n\r\n"]))
        )
        answer = answered(*lines, b"Transfer-Encoding: chunked", first=b"HTTP/1.1 " + status, body=pieces)
    if method == b"HEAD":
        return request, early + answer[: answer.index(b"\r\n\r\n") + 4], b""
    return request, early + answer, body


@given(st.lists(pairs(), min_size=1, max_size=4))
def test_every_exchange_that_is_in_order_is_read_and_read_as_h11_reads_it(
    said: list[tuple[bytes, bytes, bytes]],
) -> None:
    client, site = b"".join(one[0] for one in said), b"".join(one[1] for one in said)
    found = read(client, site)
    assert [(answer.coded or b"") for _, answer in found] == [body for _, _, body in said]
    assert [
        (request.method.encode(), request.target.encode(), request.body, answer.status, answer.coded or b"")
        for request, answer in found
    ] == by_h11(client, site)


@given(st.lists(pairs(), min_size=1, max_size=3), st.data())
def test_weakness_12_a_cut_anywhere_is_refused_or_falls_between_exchanges(
    said: list[tuple[bytes, bytes, bytes]], data: st.DataObject
) -> None:
    client, site = b"".join(one[0] for one in said), b"".join(one[1] for one in said)
    cut = data.draw(st.integers(0, len(site) - 1))
    assert refused(client, site[:cut]) == "http"
    cut = data.draw(st.integers(0, len(client) - 1))
    assert refused(client[:cut], site) == "http"


MUTATIONS = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"0", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\t"]
)


@given(st.lists(pairs(), min_size=1, max_size=3), st.data())
def test_what_is_accepted_after_a_change_is_read_so_by_h11_too(
    said: list[tuple[bytes, bytes, bytes]], data: st.DataObject
) -> None:
    """Bytes put in or left out anywhere: refused, or another exchange whose meaning is not in doubt."""
    streams = [b"".join(one[0] for one in said), b"".join(one[1] for one in said)]
    which = data.draw(st.integers(0, 1))
    at, drop = data.draw(st.integers(0, len(streams[which]))), data.draw(st.integers(0, 3))
    streams[which] = streams[which][:at] + data.draw(MUTATIONS) + streams[which][at + drop :]
    try:
        found = read(*streams)
    except ObserveError:
        return
    assert [
        (request.method.encode(), request.target.encode(), request.body, answer.status, answer.coded or b"")
        for request, answer in found
    ] == by_h11(*streams)


@given(st.binary(max_size=200), st.binary(max_size=200), st.booleans())
def test_anything_at_all_gives_exchanges_or_an_error_of_ours(client: bytes, site: bytes, closed: bool) -> None:
    for first, second in ((client, site), (GET, site), (GET, OK + site), (client, ONE)):
        try:
            for _, answer in read(first, second, closed=closed):
                decoded(answer, LIMITS)
        except ObserveError:
            continue


@given(pairs())
def test_fetch_reads_no_other_answer(said: tuple[bytes, bytes, bytes]) -> None:
    request, answer, _ = said
    (seen, found) = read(request, answer)[0]
    bare = replace(seen, headers=(), body=b"")
    session = Http1Session(prepared(bare, LIMITS), LIMITS)
    session.start()
    try:
        session.feed(answer)
        session.end()
    except TargetError:
        assert seen.method == "HEAD"  # not asked by any manifest
        return
    assert session.response == decoded(found, LIMITS)
