"""The inner TLS in memory: TLS 1.3 alone, an end that is said, bounds, keying material that a relay cannot share."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from pluto_notary.certificate import make_identity
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.inner import ALPN, EXPORTER_CONTEXT, EXPORTER_LABEL, InnerTls, client_context, server_context
from simulators.notary import raw_tls
from simulators.notary.channel import notary_context


def pair(client: SSL.Context | None = None) -> tuple[InnerTls, InnerTls]:
    return InnerTls(client or client_context(), server=False), InnerTls(notary_context(), server=True)


def carry(source: InnerTls, target: InnerTls, size: int = 1 << 20) -> int:
    """Everything that one side has to say to the other, in pieces; how many bytes it was."""
    total = 0
    while data := source.data_to_send():
        total += len(data)
        for at in range(0, len(data), size):
            target.feed(data[at : at + size])
    return total


def shaken(client: SSL.Context | None = None, size: int = 1 << 20) -> tuple[InnerTls, InnerTls]:
    one, two = pair(client)
    while carry(one, two, size) + carry(two, one, size):
        pass
    return one, two


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_both_sides_export_the_same(size: int) -> None:
    client, notary = shaken(size=size)
    assert client.established
    assert notary.established
    assert client.ekm == notary.ekm
    assert len(client.ekm) == 32
    assert client.version == notary.version == 2
    assert client.ekm != shaken()[0].ekm


def test_label_and_context_are_those_of_version_1() -> None:
    assert (EXPORTER_LABEL, EXPORTER_CONTEXT) == (b"EXPORTER-pluto-notary", b"tee")
    client, _ = shaken()
    connection = client._connection
    assert client.ekm == connection.export_keying_material(b"EXPORTER-pluto-notary", 32, b"tee")
    assert client.ekm != connection.export_keying_material(b"EXPORTER-pluto-notary", 32)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40000), max_size=4), st.lists(st.integers(1, 9000), max_size=30))
def test_what_goes_in_comes_out_however_it_is_cut(texts: list[bytes], sizes: list[int]) -> None:
    client, notary = shaken()
    for text in texts:
        client.write(text)
    client.close()
    wire, got = b"", b""
    while data := client.data_to_send():
        wire += data
    for size in [*sizes, 65536, 65536, 65536]:
        notary.feed(wire[:size])
        got += notary.read()
        wire = wire[size:]
    assert got == b"".join(texts)
    assert notary.ended
    notary.end()


def test_what_is_sent_leaves_in_small_records_and_large_ones_are_read() -> None:
    client, notary = shaken()
    notary.write(bytes(100_000))
    wire = b"".join(iter(notary.data_to_send, b""))
    sizes = []
    while wire:
        end = 5 + int.from_bytes(wire[3:5], "big")
        sizes.append(end)
        client.feed(wire[:end])
        wire = wire[end:]
    assert client.read() == bytes(100_000)
    assert max(sizes) < 4096 + 64
    large = SSL.Connection(client_context())  # another implementation sends as much in one record as there may be
    large.set_connect_state()
    theirs = InnerTls(notary_context(), server=True)
    while not theirs.established:
        with suppress(SSL.WantReadError):
            large.do_handshake()
        theirs.feed(large.bio_read(1 << 16))
        if answer := theirs.data_to_send():
            large.bio_write(answer)
    large.send(bytes(16384))
    theirs.feed(large.bio_read(1 << 16))
    assert theirs.read() == bytes(16384)


def test_no_alpn_is_version_1_and_another_is_refused() -> None:
    client, notary = shaken(client_context(version=1))
    assert client.version == notary.version == 1
    other = client_context(version=1)
    other.set_alpn_protos([b"h2", b"http/1.1"])
    with pytest.raises(ChannelError, match="unsupported"):
        shaken(other)
    both = client_context(version=1)
    both.set_alpn_protos([b"h2", ALPN])
    assert shaken(both)[1].version == 2


def test_a_client_finds_that_a_notary_chose_no_protocol() -> None:
    identity = make_identity(os.urandom)
    silent = server_context(identity)
    silent.set_alpn_select_callback(lambda *_: SSL.NO_OVERLAPPING_PROTOCOLS)
    client, notary = InnerTls(client_context(), server=False), InnerTls(silent, server=True)
    while carry(client, notary) + carry(notary, client):
        pass
    assert client.version == 1  # the caller, who never falls back, ends here


def test_a_failed_side_says_why_and_stays_failed() -> None:
    _, notary = pair()
    notary.feed(b"\x16\x03\x01\x00\x05")
    for data in (b"hello", b"", b"more"):
        with pytest.raises(ChannelError, match="handshake"):
            notary.feed(data)
    assert notary.data_to_send()[:1] == b"\x15"  # an alert
    assert notary.data_to_send() == b""
    with pytest.raises(ChannelError):
        notary.write(b"secret")
    with pytest.raises(RuntimeError):
        _ = notary.ekm


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x17\x03\x03\x41\x01", b"\x18\x03\x03\x00\x01", b"TEETLS"])
def test_what_is_no_record_is_refused_by_its_head(data: bytes) -> None:
    _, notary = pair()
    with pytest.raises(ChannelError, match="records"):
        notary.feed(data)


def test_a_flipped_bit_is_found() -> None:
    client, notary = shaken()
    client.write(b"word")
    wire = bytearray(client.data_to_send())
    wire[-1] ^= 1
    with pytest.raises(ChannelError, match="genuine"):
        notary.feed(bytes(wire))
    assert notary.read() == b""


def test_an_end_that_nobody_said_is_a_truncation() -> None:
    client, notary = shaken()
    client.write(b"half")
    carry(client, notary)
    with pytest.raises(ChannelError, match="cut off"):
        notary.end()
    client, notary = shaken()
    client.close()
    client.close()
    carry(client, notary)
    assert notary.ended
    notary.end()
    with pytest.raises(RuntimeError):
        client.write(b"more")
    with pytest.raises(ChannelError, match="behind the end"):
        notary.feed(b"\x17\x03\x03\x00\x01\x00")


def test_a_notary_can_still_answer_a_client_that_said_its_last() -> None:
    client, notary = shaken()
    client.write(b"all I wanted")
    client.close()
    carry(client, notary)
    notary.write(b"answer")
    notary.close()
    carry(notary, client)
    assert client.read() == b"answer"
    assert client.ended


@pytest.mark.parametrize("what", ["key_update", "empty_record"])
def test_records_without_data_have_an_end(what: str) -> None:
    client, notary = raw_tls.shaken(notary_context())
    notary.feed(client.data(b"first"))
    make: Callable[[], bytes] = getattr(client, what)
    for _ in range(32):
        notary.feed(make())
    notary.feed(client.data(b"last"))
    assert notary.read() == b"firstlast"
    with pytest.raises(ChannelError, match=r"tls.*without data"):
        notary.feed(make())


def test_a_handshake_has_an_end() -> None:
    _, notary = pair()
    # A ClientHello of 128 KiB, which OpenSSL would wait for, in records.
    head, more = b"\x16\x03\x01\x40\x00", bytes(0x4000)
    notary.feed(head + b"\x01\x01\xff\xff\x03\x03" + more[6:])
    with pytest.raises(ChannelError, match="too long"):
        for _ in range(4):
            notary.feed(head + more)


def test_there_are_bounds_on_what_waits() -> None:
    client, notary = shaken()
    with pytest.raises(BufferError):
        client.write(bytes((16 << 20) + 1))
    client.write(bytes(1 << 20))
    with pytest.raises(BufferError):
        carry(client, notary)  # nobody takes it out


def test_no_session_is_resumed_and_no_early_data_is_taken() -> None:
    context = client_context()
    first = InnerTls(context, server=False)
    notary = InnerTls(notary_context(), server=True)
    while carry(first, notary) + carry(notary, first):
        pass
    session = first._connection.get_session()
    connection = SSL.Connection(context)
    assert session is not None
    connection.set_session(session)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    notary = InnerTls(notary_context(), server=True)
    notary.feed(connection.bio_read(65536))
    answer = notary.data_to_send()
    assert len(answer) > 600  # with a certificate: a whole handshake
    connection.bio_write(answer)
    connection.do_handshake()
    notary.feed(connection.bio_read(65536))
    assert notary.established


def test_a_relay_has_another_keying_material_on_each_side() -> None:
    client, relay = shaken()
    again, notary = shaken()
    assert client.ekm == relay.ekm
    assert again.ekm == notary.ekm
    assert client.ekm != notary.ekm
