"""Why `observe` is refused unless it is asked for: a client that helps the host on the path writes the site's answer.

The client keeps every rule of the protocol, and reveals its true secret. While the connection is open it has told the
keys of the site's direction to somebody between the notary and the site, who puts records of his own in the place of
the site's. The notary records what came to it: a genuine handshake of the genuine site, all of whose records open. It
signs. Nothing in the recording could show it, and no test of it can be made: who asks for `observe` has to trust that
the client and the path are not one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from notary.observe.wire import split
from notary.server.careless import LONG
from notary.server.observed import observing
from notary.server.shared import BODY, HOST, JSON, QUICK, SECRETS, Watched, manifest
from pluto_measure.errors import RefusedError
from pluto_measure.findings import failures
from pluto_notary.client.tls.records import ALERT, APPLICATION_DATA, Record, Sealed13
from pluto_notary.client.tls.suites import SUITES
from pluto_notary.protocol.frames import encode
from pluto_notary.protocol.observe import Reveal
from pluto_notary.statement.asked import Asked
from pluto_notary.statement.checks import checks
from pluto_notary.statement.judge import Brought, verify_proof
from pluto_notary.statement.proof import Proof
from pluto_notary.statement.service import verification
from simulators.intel import NOW
from simulators.notary import clients, sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.meddler import Path
from simulators.notary.observers import Observer, asking
from simulators.notary.sites import Site
from simulators.trust_domains import POLICY, REFERENCE

FORGED = json.dumps({"price": "0.01", "stock": 7}).encode()


class Swapping(Path):
    """Hands on all bytes, until he keeps the site's and says his own."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._notaries: list[socket.socket] = []
        self.keeps = threading.Event()
        self.kept = b""

    def say(self, data: bytes) -> None:
        """To the notary, as if it were the site's."""
        self._notaries[-1].sendall(data)

    def _between(self, notary: socket.socket) -> None:
        self._notaries.append(notary)
        with notary, socket.create_connection(("127.0.0.1", self._site)) as site:
            back = threading.Thread(target=self._carry, args=(site, notary, True), daemon=True)
            back.start()
            self._carry(notary, site, False)
            with contextlib.suppress(OSError):
                site.shutdown(socket.SHUT_RDWR)
            back.join(10)

    def _carry(self, source: socket.socket, target: socket.socket, from_site: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if from_site and self.keeps.is_set():
                    self.kept += data
                else:
                    target.sendall(data)


class Accomplice(Observer):
    """A client whose TLS tells the path its keys as soon as it has them, before it says a word of its own."""

    path: Swapping

    def flush(self) -> Accomplice:
        if self.tls.established:
            self.path.keeps.set()
        super().flush()
        return self

    def site_keys(self) -> Sealed13:
        """What protects the records of the site, which is what protects ours: whoever reads them can write them."""
        handshake: Any = self.tls._handshake
        suite = handshake._suite
        return Sealed13(suite, *handshake._schedule.key_and_iv(handshake._server, suite.key_bytes))


def forged(keys: Sealed13) -> bytes:
    """The answer that the site never gave, and its goodbye."""
    answer = sites.whole(FORGED, JSON)
    return keys.seal(Record(APPLICATION_DATA, answer)) + keys.seal(Record(ALERT, b"\1\0"))


def test_a_client_that_helps_the_path_gets_any_answer_signed(authority: Authority, watched: Watched) -> None:
    order = whole.order(manifest(), **SECRETS)
    with (
        Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        Swapping(site.port) as path,
        whole.running(authority, {HOST: path.port}, limits=QUICK) as notary,
        Accomplice(notary.client(manifest(), **SECRETS), authority, HOST) as client,
    ):
        client.path = path
        client.connect().shake()
        keys = client.site_keys()
        client.ask(asking(manifest(), order))
        notary.soon(lambda: len(site.requests) == 1)
        path.say(forged(keys))
        client.hear_all().close()
        client.client.send(encode(Reveal(client.tls.secret, 0)))
        while (heard := client.client.hear()) is not None and heard[0] == clients.PROGRESS:
            pass
        assert heard is not None
        proof = Proof.parse(heard[1])
        brought = Brought(references=(REFERENCE,), tdx=notary.provider.domain.inputs())
    notary_signs_what_no_site_said(proof, watched)
    refused_unless_asked(proof, brought)


def notary_signs_what_no_site_said(proof: Proof, watched: Watched) -> None:
    assert watched.signatures == 1
    assert (proof.statement.mode, proof.statement.host) == ("observe", HOST)
    assert json.loads(BODY)["price"] == "12.50"
    assert [(one.id, one.text) for one in proof.openings] == [("price", '"0.01"')]
    assert all(check.holds for check in checks(proof)), "nothing in the proof shows it"


def refused_unless_asked(proof: Proof, brought: Brought) -> None:
    """The statement is true of what it says: so a policy that wants it gets it, and nobody gets it by mistake."""
    plain = verify_proof(proof, POLICY, NOW, then=brought, today=brought)
    assert [one.id for one in failures(plain.findings)] == ["statement.mode"]
    assert plain.exit_code == 5
    asked = verify_proof(proof, POLICY, NOW, then=brought, today=brought, asked=Asked(modes=("observe",)))
    assert asked.accepted
    assert [one.text for one in asked.findings if one.id == "statement.mode" and one.verdict == "warning"] == [
        "a client that helps whoever has the path to the site can forge what was observed"
    ]
    with pytest.raises(RefusedError, match="not asked for"):
        verification(proof.to_bytes())
    assert verification(proof.to_bytes(), ("observe",))["mode"] == "observe"


def test_a_notary_refuses_to_look_at_it_unless_asked(authority: Authority) -> None:
    """/v1/verify of a notary whose statement it is."""
    with (
        Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        whole.running(authority, {HOST: site}, limits=QUICK) as notary,
    ):
        with observing(notary, authority) as client:
            client.connect().shake().ask(asking(manifest(), whole.order(manifest(), **SECRETS))).hear_all().close()
            client.client.send(encode(Reveal(client.tls.secret, 0)))
            while (heard := client.client.hear()) is not None and heard[0] == clients.PROGRESS:
                pass
        assert heard is not None
        observed, fetched = heard[1], notary.prove(manifest(), **SECRETS).to_bytes()
        answers = {
            ("observe", ""): 400, ("observe", "?mode=fetch"): 400, ("observe", "?mode=observe"): 200,
            ("observe", "?mode=any"): 200, ("fetch", ""): 200, ("fetch", "?mode=observe"): 400,
        }  # fmt: skip
        for (mode, query), status in answers.items():
            with notary.https() as connection:
                body = observed if mode == "observe" else fetched
                connection.sendall(clients.post(f"/v1/verify{query}", body))
                found, _, answer = clients.json_of(clients.until_closed(connection))
            assert found == status, (mode, query)
            assert (answer["mode"] if status == 200 else answer["error"]["code"]) in (mode, "mode")
    assert notary.codes == ["mode"] * 3


def test_in_fetch_there_is_nobody_who_could_help(authority: Authority, watched: Watched) -> None:
    """The same path, and a notary that asks itself: its keys are in the trust domain, and what is put in is found."""

    class Forger(Swapping):
        def _carry(self, source: socket.socket, target: socket.socket, from_site: bool) -> None:
            seen = 0
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    seen += 1
                    if from_site and seen > 1:
                        keys = Sealed13(SUITES[0x1301], os.urandom(16), os.urandom(12))
                        data = forged(keys)
                    target.sendall(data)

    with (
        Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        Forger(site.port) as path,
        whole.running(authority, {HOST: path.port}, limits=QUICK) as notary,
        notary.client(manifest(), **SECRETS).go("fetch") as client,
    ):
        assert client.ending() == "tls"
    assert watched.signatures == 0


def flipped(record: bytes, at: int) -> bytes:
    changed = bytearray(record)
    changed[at] ^= 1
    return bytes(changed)


# What somebody without keys can do to the site's records behind its handshake: two tickets, the answer, the goodbye.
CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], set[str]]] = {
    "nothing": (lambda all_: all_, {"proof"}),
    "a bit of the answer": (lambda all_: [*all_[:-2], flipped(all_[-2], 40), all_[-1]], {"tls"}),
    "a bit of the tag": (lambda all_: [*all_[:-2], flipped(all_[-2], -1), all_[-1]], {"tls"}),
    "a bit of the head": (lambda all_: [*all_[:-2], flipped(all_[-2], 1), all_[-1]], {"tls"}),
    "the answer dropped": (lambda all_: [*all_[:-2], all_[-1]], {"tls"}),
    "a ticket dropped": (lambda all_: all_[1:], {"tls"}),
    "tickets reordered": (lambda all_: [all_[1], all_[0], *all_[2:]], {"tls"}),
    "the answer twice": (lambda all_: [*all_[:-1], *all_[-2:]], {"tls"}),
    "the goodbye dropped": (lambda all_: all_[:-1], {"proof"}),  # the answer's length was told
    "half a record": (lambda all_: [*all_[:-1], all_[-1][:-3]], {"tls"}),
    "bytes behind the goodbye": (lambda all_: [*all_, all_[0]], {"tls"}),
    "a record that is too long": (lambda all_: [*all_[:-1], LONG, all_[-1]], {"tls", "size"}),
    "a plain alert": (lambda all_: [*all_[:-2], b"\x15\x03\x03\x00\x02\x01\x00"], {"tls"}),
    "nothing at all": (lambda _: [], {"http"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_path_can_do_alone_is_found(authority: Authority, watched: Watched, name: str) -> None:
    """Also where the client says nothing of it: it reveals its true secret, and the notary looks by itself."""
    change, endings = CHANGES[name]
    with (
        Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        Swapping(site.port) as path,
        whole.running(authority, {HOST: path.port}, limits=QUICK) as notary,
        Accomplice(notary.client(manifest(), **SECRETS), authority, HOST) as client,
    ):
        client.path = path
        client.connect().shake()
        client.deaf = True
        client.ask(asking(manifest(), whole.order(manifest(), **SECRETS)))
        notary.soon(lambda: len(split(path.kept)) == 4)
        said = b"".join(change(split(path.kept)))
        before = len(client.received)
        if said:
            path.say(said)
        while len(client.received) < before + len(said):
            client.step()
        client.close()
        assert client.reveal() in endings
    assert watched.signatures == ("proof" in endings)


def test_another_sessions_answer_is_no_answer(authority: Authority, watched: Watched) -> None:
    """Of the same client, site and request."""
    with (
        Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        Swapping(site.port) as path,
        whole.running(authority, {HOST: path.port}, limits=QUICK) as notary,
    ):
        said = b""
        for _ in range(2):
            path.keeps.clear()
            path.kept = b""
            with Accomplice(notary.client(manifest(), **SECRETS), authority, HOST) as client:
                client.path = path
                client.connect().shake()
                client.deaf = True
                client.ask(asking(manifest(), whole.order(manifest(), **SECRETS)))
                notary.soon(lambda: len(split(path.kept)) == 4)
                before, said = len(client.received), said or path.kept
                path.say(said)
                while len(client.received) < before + len(said):
                    client.step()
                client.close()
                ending = client.reveal()
        assert ending == "tls"
    assert watched.signatures == 1
