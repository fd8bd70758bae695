"""The run-time configuration from metadata services, genuine, absent, late, and misbehaving."""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary import config, fetch_config, fetch_metadata, places
from pluto_notary.errors import ConfigError
from pluto_notary.evidence import provider
from pluto_notary.fetch_metadata import SERVICES, WAIT_SECONDS
from pluto_notary.serial import EventWriter
from simulators.notary.metadata import FLAVOUR, Act, MetadataService, metadata_service, reply

CLOUDS = ("google", "azure")
PAYLOAD = config.encode_payload(deployment="staging-1")
TEXT = config.encode_config_text(PAYLOAD)
ITEMS = {"google": {"pluto-config": TEXT}, "azure": {"userData": TEXT}}


class Clock:
    """Seconds that sleeping moves; `tick`: how far each look moves it."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def read(service: MetadataService, clock: Clock | None = None) -> bytes:
    clock = clock or Clock()
    return fetch_metadata.read(SERVICES[service.cloud], clock=clock, sleep=clock.sleep, address=service.address)


def refused(cloud: str, *script: Act, clock: Clock | None = None) -> str:
    """The reason for which what the service does is refused; it does the last of it for ever."""
    with metadata_service(cloud, ITEMS[cloud]) as service:
        service.script = [*script, *[script[-1]] * 1000]
        with pytest.raises(ConfigError) as caught:
            config.decode_config_text(read(service, clock))
        return caught.value.reason


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_genuine_service_is_asked_once_and_as_it_wants_to_be(cloud: str) -> None:
    with metadata_service(cloud, ITEMS[cloud]) as service:
        assert config.decode_config_text(read(service)) == PAYLOAD
    (request,) = service.asked
    header = {"google": b"metadata-flavor: Google", "azure": b"metadata: true"}[cloud]
    assert header in request.split(b"\r\n")
    assert b"x-forwarded-for" not in request.lower()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_not_there_is_waited_for_as_a_disk_is_and_then_refused(cloud: str) -> None:
    clock = Clock()
    with metadata_service(cloud, {}) as service, pytest.raises(ConfigError) as caught:
        read(service, clock)
    assert caught.value.reason == "absent"
    assert WAIT_SECONDS <= clock.now < WAIT_SECONDS + 1


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_service_that_comes_late_is_waited_for(cloud: str) -> None:
    with metadata_service(cloud, ITEMS[cloud]) as service:
        service.script = [reply(503), reply(429), reply(410), reply(404)]
        assert read(service, clock := Clock()) == TEXT.encode()
        assert (len(service.asked), clock.now) == (5, 4.0), "not more often than a service answers"


def test_a_network_that_is_not_up_is_waited_for_and_named_at_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    clock = Clock()
    with pytest.raises(ConfigError, match="cannot be asked") as caught:
        fetch_metadata.read(SERVICES["google"], clock=clock, sleep=clock.sleep, address=address)
    assert caught.value.reason == "unreadable"
    assert WAIT_SECONDS <= clock.now < WAIT_SECONDS + 1


GOOD = TEXT.encode()
CHUNKED = f"HTTP/1.1 200 OK\r\n{FLAVOUR}Transfer-Encoding: chunked\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("cloud", "act", "reason"),
    [
        ("google", reply(200, GOOD, "Server: x\r\n"), "answer"),
        ("google", reply(200, GOOD, "Metadata-Flavor: google\r\n"), "answer"),
        ("google", reply(200, GOOD, FLAVOUR, FLAVOUR), "answer"),
        ("google", reply(404, b"", "Server: x\r\n"), "answer"),
        ("google", reply(302, b"", FLAVOUR, "Location: http://127.0.0.1/\r\n"), "answer"),
        ("azure", reply(301, b"", "Location: http://127.0.0.1/\r\n"), "answer"),
        ("azure", reply(400), "answer"),
        ("google", reply(403), "answer"),
        ("google", reply(206, GOOD), "answer"),
        ("google", reply(200, b"A" * (config.LARGEST_TEXT + 1)), "answer"),
        ("google", reply(200, GOOD) + reply(200, GOOD), "answer"),
        ("google", reply(200, GOOD) + b"\n", "answer"),
        ("google", reply(200, GOOD)[:-1], "answer"),
        ("google", b"", "answer"),
        ("google", None, "answer"),
        ("google", GOOD, "answer"),
        ("google", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", "answer"),
        ("google", reply(200, GOOD, FLAVOUR, "Content-Length: 1\r\n"), "answer"),
        ("google", CHUNKED + b"zz\r\n", "answer"),
        ("google", CHUNKED + b"8000\r\n" + b"A" * 0x8000 + b"\r\n0\r\n\r\n", "answer"),
        ("google", reply(200, b"\xff" * 8), "encoding"),
        ("azure", reply(200, GOOD + b"\n"), "encoding"),
        ("azure", reply(200, b" " + GOOD), "encoding"),
        ("azure", reply(200, GOOD + GOOD), "size"),
        ("azure", reply(200, PAYLOAD), "encoding"),
        ("azure", reply(200, b"AAAAAAA="), "size"),
        ("azure", reply(200, b"AAAA"), "size"),
        ("google", reply(500), "unreadable"),
        ("azure", reply(429), "unreadable"),
    ],
)
def test_whatever_else_a_service_does_is_refused(cloud: str, act: Act, reason: str) -> None:
    assert refused(cloud, act) == reason


def test_a_service_that_drips_costs_its_time_and_no_more() -> None:
    def drip(channel: socket.socket) -> None:
        channel.sendall(CHUNKED)
        while True:  # until nobody listens any more
            channel.sendall(b"1\r\nA\r\n")
            time.sleep(0.001)

    clock = Clock(tick=1.0)
    assert refused("google", drip, clock=clock) == "unreadable"
    assert clock.now < WAIT_SECONDS + 10


def test_an_answer_in_chunks_is_an_answer() -> None:
    with metadata_service("google", {}) as service:
        service.script = [CHUNKED + f"{len(GOOD):x}\r\n".encode() + GOOD + b"\r\n0\r\n\r\n"]
        assert read(service) == GOOD


def test_which_cloud_it_is_says_dmi_and_one_place_alone_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    tag = fetch_config.AZURE_TAG
    assert fetch_config.cloud_of("Google", "") == fetch_config.cloud_of("Google", tag) == "google"
    assert fetch_config.cloud_of("Microsoft Corporation", tag) == "azure"
    for vendor, other in (("QEMU", ""), ("Microsoft Corporation", "x"), ("", ""), ("Google LLC", tag + "0")):
        assert fetch_config.cloud_of(vendor, other) is None
    assert fetch_config.GOOGLE == provider.GOOGLE
    assert set(SERVICES) == set(CLOUDS)
    taken: list[object] = []

    def taking(service: object, **_: object) -> bytes:
        taken.append(service)
        return GOOD

    monkeypatch.setattr(fetch_metadata, "read", taking)
    monkeypatch.setattr(fetch_config, "read_disk", lambda *_, **__: config.encode_config_disk(b""))
    assert [fetch_config.read_payload(cloud) for cloud in (*CLOUDS, None)] == [PAYLOAD, PAYLOAD, b""]
    assert taken == [SERVICES["google"], SERVICES["azure"]]


def test_dmi_is_read_where_the_kernel_has_it_and_may_be_absent(tmp_path: Path) -> None:
    assert Path(places.ASSET_TAG).parent == Path(places.VENDOR).parent == Path("/sys/class/dmi/id")
    (tmp_path / "sys_vendor").write_text("Google\n")
    assert fetch_config._word(str(tmp_path / "sys_vendor")) == "Google"
    assert fetch_config._word(str(tmp_path / "chassis_asset_tag")) == ""


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_was_taken_and_why_it_was_refused_is_said_on_the_serial_line(cloud: str, tmp_path: Path) -> None:
    lines: list[bytes] = []
    writer = EventWriter(lines.append, clock=lambda: 0.0)
    with metadata_service(cloud, ITEMS[cloud]) as service:
        codes, scripts = [], list[list[Act]]([[reply(200, b"!", FLAVOUR)], []])
        for script in scripts:
            service.script = script
            codes.append(
                fetch_config.fetch(writer, read=lambda: config.decode_config_text(read(service)), directory=tmp_path)
            )
    assert codes == [3, 0]
    digest = config.parse_payload(PAYLOAD).digest.hex()
    assert lines == [
        b"pluto: config-refused reason=encoding\n",
        f"pluto: config-accepted digest={digest}\n".encode(),
    ]


WHOLE = reply(200, GOOD)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(1, len(WHOLE) - 1), max_size=12), st.sampled_from(CLOUDS))
def test_any_cut_into_pieces_gives_the_same(cuts: set[int], cloud: str) -> None:
    def pieces(channel: socket.socket) -> None:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in itertools.pairwise([0, *sorted(cuts), len(WHOLE)]):
            channel.sendall(WHOLE[start:end])

    with metadata_service(cloud, {}) as service:
        service.script = [pieces]
        assert read(service) == GOOD


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_byte_of_an_answer_that_is_another_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    changed = WHOLE[:at] + bytes([WHOLE[at] ^ data.draw(st.integers(1, 255))]) + WHOLE[at + 1 :]
    with metadata_service("google", {}) as service:
        service.script = [changed]
        try:
            payload = config.decode_config_text(read(service))
            config.parse_payload(payload)
        except ConfigError:
            return
        assert payload == PAYLOAD or changed[-len(GOOD) :] != GOOD
