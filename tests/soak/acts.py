"""What clients of the soak do: good sessions, which end in a proof, and hostile ones, which must not. For it alone."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable, Mapping

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pluto_measure.errors import PlutoError
from pluto_notary.client.tls.client import TlsClient
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.messages import Hello
from simulators.notary import whole
from simulators.notary.clients import STEPS, Client
from simulators.notary.observers import EndedError, Observer, asking
from soak.worlds import World, host_of, manifest_of

Act = Callable[[World, random.Random], str]
GONE = (OSError, EOFError, PlutoError)


def client(world: World, kind: str, protocol: str = "websocket") -> Client:
    return Client(world.notary, whole.order(manifest_of(kind, world.ports[kind])), protocol=protocol)


def observer(world: World, kind: str, protocol: str = "websocket") -> Observer:
    return Observer(client(world, kind, protocol), world.authority, host_of(kind))


def request(world: World, kind: str) -> bytes:
    manifest = manifest_of(kind, world.ports[kind])
    return asking(manifest, whole.order(manifest))


def fetched(kind: str) -> Act:
    """A session of `fetch`; how it ends."""

    def act(world: World, chance: random.Random) -> str:
        with client(world, kind, chance.choice(("websocket", "tcp"))) as one:
            return one.go("fetch").ending()

    return act


def observed(kind: str) -> Act:
    """An honest session of `observe`; how it ends."""

    def act(world: World, chance: random.Random) -> str:
        with observer(world, kind, chance.choice(("websocket", "tcp"))) as one:
            return one.whole(request(world, kind))

    return act


def wrong_secret(world: World, chance: random.Random) -> str:
    with observer(world, "good") as one:
        one.connect().shake().ask(request(world, "good")).hear_all().close()
        return one.reveal(chance.choice((os.urandom(32), os.urandom(48), bytes(32), one.tls.secret[::-1])))


def wrong_exchange(world: World, _: random.Random) -> str:
    with observer(world, "good") as one:
        one.connect().shake().ask(request(world, "good")).hear_all().close()
        return one.reveal(exchange=1)


def secret_of_another(world: World, _: random.Random) -> str:
    """Two sessions of one client; the one's secret is revealed for the other."""
    with observer(world, "good") as first, observer(world, "good") as second:
        for one in (first, second):
            one.connect().shake().ask(request(world, "good")).hear_all().close()
        return first.reveal(second.tls.secret)


def damaged_path(world: World, _: random.Random) -> str:
    """Whatever our own TLS says of what came, the recording is shown as it is."""
    with observer(world, "path") as one:
        one.connect()
        with contextlib.suppress(TlsError):
            one.shake().ask(request(world, "path")).hear_all()
        one.deaf = True
        one.close()
        return one.reveal(_secret(one))


def another_certificate(world: World, _: random.Random) -> str:
    """A client that takes any certificate."""
    with observer(world, "other") as one:
        one.tls = TlsClient(host_of("other"), judge=_anybody, random=os.urandom)
        return one.whole(request(world, "other"))


def _anybody(chain: tuple[bytes, ...]) -> ec.EllipticCurvePublicKey:
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _secret(one: Observer) -> bytes:
    try:
        return one.tls.secret
    except (RuntimeError, ValueError, AssertionError, AttributeError):
        return os.urandom(32)


def large_record(world: World, _: random.Random) -> str:
    """A record of 2^14 + 256 + 1 bytes, from the client."""
    with observer(world, "good") as one:
        one.connect().shake()
        one.deaf = True
        one.say(b"\x17\x03\x03" + (2**14 + 257).to_bytes(2, "big") + bytes(2**14 + 257)).close()
        return one.reveal()


def slow_drip(world: World, chance: random.Random) -> str:
    """The bytes of a hello one by one, and gone before its end."""
    hello = encode(Hello(os.urandom(32), bytes(32), fresh=False))
    with client(world, "good") as one:
        one.go("established")
        for byte in hello[: chance.randrange(3, 40)]:
            one.send(bytes([byte]))
            time.sleep(0.02)
        return "gone"


def vanishes(world: World, chance: random.Random) -> str:
    """Gone after some step of a session."""
    with client(world, "good") as one:
        one.go(chance.choice(STEPS))
        return "gone"


def vanishes_observing(world: World, chance: random.Random) -> str:
    with observer(world, "good") as one:
        one.connect()
        if chance.random() < 0.5:
            one.shake().ask(request(world, "good"))
        return "gone"


def flood(world: World, _: random.Random) -> str:
    """Connections that say nothing."""
    with contextlib.ExitStack() as stack:
        for _turn in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", world.notary), 5))
        time.sleep(0.05)
        return "gone"


GOOD: Mapping[str, Act] = {
    "fetch": fetched("good"),
    "observe, TLS 1.3": observed("good"),
    "observe, TLS 1.2": observed("good12"),
}
HOSTILE: Mapping[str, Act] = {
    "another certificate, fetched": fetched("other"),
    "a bomb, fetched": fetched("bomb"),
    "a damaged path, fetched": fetched("path"),
    "a bomb, observed": observed("bomb"),
    "another certificate, observed": another_certificate,
    "a wrong secret": wrong_secret,
    "a wrong exchange": wrong_exchange,
    "another session's secret": secret_of_another,
    "a damaged path, observed": damaged_path,
    "a record too large": large_record,
    "a slow drip": slow_drip,
    "vanishes": vanishes,
    "vanishes while observing": vanishes_observing,
    "a flood": flood,
}


def done(act: Act, world: World, chance: random.Random) -> str:
    """How a session ended: "proof", a code, "gone"."""
    try:
        return act(world, chance)
    except EndedError as error:
        return str(error)
    except GONE:
        return "gone"
