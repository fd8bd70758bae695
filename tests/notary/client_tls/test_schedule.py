"""The client's key schedules: RFC 8448's trace, byte by byte, and a known answer of TLS 1.2's function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_notary.client.tls import messages
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.client.tls.groups import _CURVES, GROUPS, SECP256R1, SECP384R1, X25519, Share
from pluto_notary.client.tls.messages import Transcript
from pluto_notary.client.tls.records import APPLICATION_DATA, HANDSHAKE, Record, Sealed13
from pluto_notary.client.tls.schedule import Schedule12, Schedule13
from pluto_notary.client.tls.signatures import verify_13
from pluto_notary.client.tls.suites import SUITES

VECTOR = Path(__file__).resolve().parents[2] / "vectors/notary/tls/rfc8448-section-3.json"
DOCUMENT = json.loads(VECTOR.read_text())
CLIENT, SERVER = ([bytes.fromhex("".join(one["bytes"])) for one in DOCUMENT[side]] for side in ("client", "site"))
TRACE = {
    "handshakeSecret": bytes.fromhex(DOCUMENT["secret"]),
    **{name: bytes.fromhex(value) for name, value in DOCUMENT["keys"].items()},
    "clientHello": CLIENT[0][5:],
    "serverHello": SERVER[0][5:],
    **{name: bytes.fromhex("".join(lines)) for name, lines in DOCUMENT["messages"].items()},
}
SUITE = SUITES[DOCUMENT["suite"]]
SCHEDULE = Schedule13(SUITE.hash)
FLIGHT = ("encryptedExtensions", "certificate", "certificateVerify", "serverFinished")


def digest_until(last: str) -> bytes:
    transcript = Transcript()
    for name in ("clientHello", "serverHello", *FLIGHT, "clientFinished"):
        transcript.add(TRACE[name])
        if name == last:
            break
    return transcript.digest(SUITE.hash)


def test_the_key_exchange_of_rfc_8448() -> None:
    share = Share.make(X25519, lambda size: TRACE["clientPrivate"][:size])
    assert share.public == TRACE["clientPublic"]
    assert share.agree(TRACE["serverPublic"]) == TRACE["shared"]


def test_the_secrets_of_rfc_8448() -> None:
    assert SCHEDULE.handshake_secret(TRACE["shared"]) == TRACE["handshakeSecret"]
    assert SCHEDULE.master_secret(TRACE["handshakeSecret"]) == TRACE["masterSecret"]
    hellos, finished = digest_until("serverHello"), digest_until("serverFinished")
    for side, letter in (("client", "c"), ("server", "s")):
        handshake = SCHEDULE.traffic_secret(TRACE["handshakeSecret"], f"{letter} hs traffic", hellos)
        application = SCHEDULE.traffic_secret(TRACE["masterSecret"], f"{letter} ap traffic", finished)
        assert handshake == TRACE[f"{side}HandshakeTraffic"]
        assert application == TRACE[f"{side}ApplicationTraffic"]
        assert SCHEDULE.key_and_iv(handshake, 16) == (TRACE[f"{side}HandshakeKey"], TRACE[f"{side}HandshakeIv"])
        keys = TRACE[f"{side}ApplicationKey"], TRACE[f"{side}ApplicationIv"]
        assert SCHEDULE.key_and_iv(application, 16) == keys


def test_both_finished_of_rfc_8448() -> None:
    of_server = SCHEDULE.finished(TRACE["serverHandshakeTraffic"], digest_until("certificateVerify"))
    of_client = SCHEDULE.finished(TRACE["clientHandshakeTraffic"], digest_until("serverFinished"))
    assert messages.message(messages.FINISHED, of_server) == TRACE["serverFinished"]
    assert messages.message(messages.FINISHED, of_client) == TRACE["clientFinished"]


def test_the_records_of_rfc_8448() -> None:
    flight = b"".join(TRACE[name] for name in FLIGHT)
    record = SERVER[1]
    server = Sealed13(SUITE, TRACE["serverHandshakeKey"], TRACE["serverHandshakeIv"])
    assert server.open(record[0], record[5:]) == Record(HANDSHAKE, flight)
    client = Sealed13(SUITE, TRACE["clientHandshakeKey"], TRACE["clientHandshakeIv"])
    assert client.seal(Record(HANDSHAKE, TRACE["clientFinished"])) == CLIENT[1]
    data = Sealed13(SUITE, TRACE["clientApplicationKey"], TRACE["clientApplicationIv"])
    assert data.seal(Record(APPLICATION_DATA, bytes(range(50)))) == CLIENT[2]


def test_the_signature_of_rfc_8448() -> None:
    chain = messages.read_chain(TRACE["certificate"][4:], entries_have_extensions=True)
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    assert isinstance(key, RSAPublicKey)
    scheme, signature = messages.read_signature(messages.cursor(TRACE["certificateVerify"][4:], "CertificateVerify"))
    verify_13(key, scheme, signature, digest_until("certificate"))
    with pytest.raises(TlsError, match="did not sign this handshake"):
        verify_13(key, scheme, signature, digest_until("encryptedExtensions"))


def test_tls_12_has_the_known_answer_of_its_function() -> None:
    """A vector that circulates with the standard: P_SHA256, 100 bytes."""
    secret = bytes.fromhex("9bbe436ba940f017b17652849a71db35")
    seed = bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c")
    wanted = bytes.fromhex(
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7"
        "077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66"
    )
    assert Schedule12("sha256").prf(secret, "test label", seed, 100) == wanted


@pytest.mark.parametrize("group", GROUPS)
def test_two_shares_of_a_group_agree(group: int) -> None:
    one, two = Share.make(group, lambda size: b"\1" * size), Share.make(group, lambda size: b"\2" * size)
    assert one.agree(two.public) == two.agree(one.public)
    assert Share.make(group, lambda size: b"\1" * size).public == one.public


@pytest.mark.parametrize(("group", "curve"), [(SECP256R1, ec.SECP256R1()), (SECP384R1, ec.SECP384R1())])
def test_every_random_number_gives_a_key_of_the_curve(group: int, curve: ec.EllipticCurve) -> None:
    """Zero gives one; and the order is the curve's: one less than it is the mirror of one."""
    one = Share.make(group, bytes).public
    assert one == ec.derive_private_key(1, curve).public_key().public_bytes(
        Encoding.X962, PublicFormat.UncompressedPoint
    )
    order = _CURVES[group][1]
    mirror = Share.make(group, lambda size: (order - 2).to_bytes(size, "big")).public
    size = curve.key_size // 8
    assert mirror[1 : 1 + size] == one[1 : 1 + size]
    assert mirror != one
    assert Share.make(group, lambda size: b"\xff" * size).public != one


@pytest.mark.parametrize(
    ("group", "share"),
    [
        (X25519, b""),
        (X25519, bytes(31)),
        (X25519, bytes(32)),  # of small order: what comes out is zero
        (SECP256R1, b""),
        (SECP256R1, b"\4" + bytes(64)),  # not on the curve
        (SECP256R1, b"\0"),  # the point at infinity
        (SECP256R1, b"\3" + bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")),
    ],
)
def test_what_is_no_share_is_refused(group: int, share: bytes) -> None:
    with pytest.raises(TlsError, match="key share is not valid"):
        Share.make(group, lambda size: b"\1" * size).agree(share)
