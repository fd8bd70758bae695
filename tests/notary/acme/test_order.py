"""Orders of an authority that forgives nothing, and of authorities that do all kinds of wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from notary.acme.worlds import World, public_key
from pluto_notary.events import CERTIFICATE_CODES
from pluto_notary.fetch.errors import TARGET_CODES, TargetError
from pluto_notary.trusted_time.errors import ClockError
from simulators.acme_ca import BASE, Reply, problem


def test_an_order_is_what_the_rfc_says_and_ends_with_a_certificate_for_the_outer_key() -> None:
    world = World()
    world.run(lambda: bool(world.shown))
    assert world.ca.wrongs == []
    assert [state for _, state in world.told] == ["asked", "shown"]
    assert world.shown[0][0] == world.ca.issued[0]
    leaf = x509.load_der_x509_certificate(world.shown[0][0])
    assert leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public_key(world.identity)
    assert world.ca.kinds == [
        *("directory", "newNonce", "newAccount", "newOrder", "authorization", "challenge", "authorization"),
        *("order", "finalize", "order", "certificate"),
    ]
    assert world.slept[:-1] == [], "an authority that is done at once is not waited for"


def bent(kind: str, **members: object) -> Callable[[World], None]:
    def bend(world: World) -> None:
        world.ca.bend[kind] = lambda reply: reply.but(**members)

    return bend


def said(kind: str, word: str, status: int = 400) -> Callable[[World], None]:
    def bend(world: World) -> None:
        world.ca.bend[kind] = lambda reply: problem(word, status)

    return bend


def replied(kind: str, status: int, headers: dict[str, str], body: bytes) -> Callable[[World], None]:
    def bend(world: World) -> None:
        kept = {"replay-nonce": "bm9uY2U"}
        world.ca.bend[kind] = lambda reply: Reply(status, {**kept, **headers}, body)

    return bend


def without(kind: str, header: str) -> Callable[[World], None]:
    def bend(world: World) -> None:
        def less(reply: Reply) -> Reply:
            return Reply(reply.status, {k: v for k, v in reply.headers.items() if k != header}, reply.body)

        world.ca.bend[kind] = less

    return bend


def certificate(**how: Any) -> Callable[[World], None]:
    def bend(world: World) -> None:
        for name, value in how.items():
            setattr(world.ca, name, value)

    return bend


def other_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def challenges_of(reply: Reply, *kinds: str) -> Reply:
    made = [{"type": kind, "token": "dG9rZW4", "url": f"{BASE}/x", "status": "pending"} for kind in kinds]
    return reply.but(challenges=made)


def challenges(*kinds: str) -> Callable[[World], None]:
    def bend(world: World) -> None:
        world.ca.bend["authorization"] = lambda reply: challenges_of(reply, *kinds)

    return bend


JSON = {"content-type": "application/json"}
NAME = {"type": "dns", "value": "other.example"}
FAULTS: dict[str, tuple[str, Callable[[World], None]]] = {
    "a directory that is HTML": ("answer", replied("directory", 200, {"content-type": "text/html"}, b"<html>")),
    "a directory that is a list": ("answer", replied("directory", 200, JSON, b"[]")),
    "a directory without a place": ("answer", bent("directory", newOrder=None)),
    "a directory over http": ("answer", bent("directory", newOrder="http://ca.example/newOrder")),
    "a directory that is gone": ("ca-other", replied("directory", 404, {}, b"")),
    "a directory elsewhere": ("answer", replied("directory", 302, {"location": BASE}, b"")),
    "an authority for customers": (
        "ca-externalAccountRequired",
        bent("directory", meta={"externalAccountRequired": True}),
    ),
    "a meta that is none": ("answer", bent("directory", meta=7)),
    "a giant directory": ("size", replied("directory", 200, JSON, b" " * (64 * 1024 + 1))),
    "no nonce": ("answer", without("newNonce", "replay-nonce")),
    "a nonce that is none": ("answer", replied("newNonce", 200, {"replay-nonce": "a b"}, b"")),
    "an account without a place": ("answer", without("newAccount", "location")),
    "an account that is closed": ("ca-unauthorized", bent("newAccount", status="deactivated")),
    "an account that wants an action": ("ca-userActionRequired", said("newAccount", "userActionRequired", 403)),
    "an order for another name": ("identifier", bent("newOrder", identifiers=[NAME])),
    "an order for more names": (
        "identifier",
        bent("newOrder", identifiers=[{"type": "dns", "value": "notary.example"}, NAME]),
    ),
    "an order without authorizations": ("answer", bent("newOrder", authorizations=[])),
    "an order with authorizations over http": ("answer", bent("newOrder", authorizations=["http://ca.example/a"])),
    "an order with authorizations that are numbers": ("answer", bent("newOrder", authorizations=[1])),
    "a name that is not served": ("ca-rejectedIdentifier", said("newOrder", "rejectedIdentifier", 400)),
    "a CAA record": ("ca-caa", said("finalize", "caa", 403)),
    "a word that nobody knows": ("ca-other", said("newOrder", "c4n4ry")),
    "a broken authority": ("ca-serverInternal", said("newOrder", "serverInternal", 500)),
    "a broken gateway": ("ca-other", replied("newOrder", 502, {"content-type": "text/html"}, b"<c4n4ry>")),
    "a problem that is none": (
        "answer",
        replied("newOrder", 400, {"content-type": "application/problem+json"}, b"c4n4ry"),
    ),
    "an authorization of another name": ("identifier", bent("authorization", identifier=NAME)),
    "an authorization of all names": ("identifier", bent("authorization", wildcard=True)),
    "other challenges alone": ("challenge", challenges("http-01", "dns-01")),
    "our challenge twice": ("answer", challenges("tls-alpn-01", "tls-alpn-01")),
    "very many challenges": ("answer", challenges(*["dns-01"] * 33)),
    "a status twice": ("answer", replied("order", 200, JSON, b'{"status":"valid","status":"pending"}')),
    "an order that is valid without a certificate": ("answer", bent("order", status="valid")),
    "an order that fails": (
        "ca-dns",
        bent("order", status="invalid", error={"type": "urn:ietf:params:acme:error:dns"}),
    ),
    "an order that fails without a word": ("ca-other", bent("order", status="invalid")),
    "an order that is never done": ("late", bent("order", status="pending")),
    "an authorization that is never done": ("late", bent("authorization", status="pending")),
    "a certificate that is no PEM": (
        "answer",
        replied("certificate", 200, {"content-type": "application/pkix-cert"}, b"\x30\x00"),
    ),
    "a chain of nothing": (
        "chain",
        replied("certificate", 200, {"content-type": "application/pem-certificate-chain"}, b""),
    ),
    "a giant chain": (
        "size",
        replied("certificate", 200, {"content-type": "application/pem-certificate-chain"}, b" " * (128 * 1024 + 1)),
    ),
    "another key's certificate": ("key", certificate(key=other_key())),
    "another name's certificate": ("name", certificate(names=("other.example",))),
    "a certificate for more names": ("name", certificate(names=("notary.example", "other.example"))),
    "an expired certificate": ("validity", certificate(days=(-90, -1))),
    "a certificate of the future": ("validity", certificate(days=(1, 90))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_an_authority_does_wrong_is_a_code_and_what_is_shown_stays(fault: str) -> None:
    code, bend = FAULTS[fault]
    world = World()
    bend(world)
    assert world.fails() == code
    assert world.bugs == []
    assert world.ca.wrongs == []


def test_an_authority_that_sees_nothing_is_not_convinced() -> None:
    world = World()
    world.ca.look = lambda _: None
    assert world.fails() == "ca-unauthorized"


def test_a_refused_nonce_is_replaced_and_not_for_ever() -> None:
    world, left = World(), [3]

    def bend(reply: Reply) -> Reply:
        left[0] -= 1
        return reply if left[0] < 0 else problem("badNonce", 400, **{"replay-nonce": reply.headers["replay-nonce"]})

    world.ca.bend["newOrder"] = bend
    world.run(lambda: bool(world.shown))
    assert world.ca.kinds.count("newNonce") == 1, "the refusal brings the next nonce"
    assert world.ca.wrongs == []
    again = World()
    again.ca.bend["newOrder"] = lambda reply: problem("badNonce")
    assert again.fails() == "ca-badNonce"
    assert again.ca.kinds.count("newOrder") == 5


@pytest.mark.parametrize("code", TARGET_CODES)
def test_an_authority_that_cannot_be_asked_is_a_code(code: str) -> None:
    world = World()
    world.down = TargetError(code, "as the test has it")
    assert world.fails() == code


def test_a_time_that_gets_lost_ends_the_order() -> None:
    world = World()

    def bend(reply: Reply) -> Reply:
        world.error = ClockError("few", "as the test has it")
        return reply

    world.ca.bend["newOrder"] = bend
    assert world.fails() == "clock"


def test_codes_of_events_are_those_that_there_are() -> None:
    assert set(TARGET_CODES) <= set(CERTIFICATE_CODES)
    assert {code for code, _ in FAULTS.values()} <= set(CERTIFICATE_CODES)
