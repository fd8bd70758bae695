"""A stranger's client: written from docs/protocol.md alone, with a TLS library of its own, and nothing of this project.

    python strangers_client.py < JOB.json > RESULT.json

TLS is tlslite-ng's, Ed25519 is python-ecdsa's, WebSocket and frames are its own. The job, an object:

    host, port     where the notary listens
    outer          "tls" or "plain" (behind somebody who ended the outer TLS)
    upgrade, query "websocket" or "tcp", and the request's query or ""
    nonce, manifestDigest, fresh      as in hello
    appraise       a command that gets the message `evidence` on its standard input, and the options of section 7 behind
                   its words, and accepts with exit code 0; or null, and then `insecure_accept_any` must be true
    fetch          the members of the message, or null to stop before it
    cut            bytes in one write; 0 for any

The result has what was received: sessionId, ekm, envelope, steps, proof or error, and `closed`: whether the end was
said. Exit code 1, with a line on standard error, if the notary broke the protocol or was not believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import struct
import subprocess
import sys
from typing import Any

from ecdsa import Ed25519, VerifyingKey
from ecdsa.errors import MalformedPointError
from ecdsa.keys import BadSignatureError
from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.errors import TLSAbruptCloseError, TLSClosedConnectionError
from tlslite.utils.asn1parser import ASN1Parser

HELLO, EVIDENCE, FETCH, PROGRESS, PROOF, ERROR = 1, 2, 3, 4, 5, 6
LIMITS = {EVIDENCE: 4194304, PROGRESS: 256, PROOF: 8388608, ERROR: 1024}


class DistrustError(Exception):
    """The notary is not believed, or does not keep to the protocol."""


def need(holds: bool, problem: str) -> None:
    if not holds:
        raise DistrustError(problem)


# Section 2: outer connection


class Wire:
    """What tlslite takes for a socket: the stream behind the 101."""

    def __init__(self, raw: Any, rest: bytes, cut: int) -> None:
        self.raw, self.rest, self.cut = raw, bytearray(rest), cut

    def read(self, size: int) -> bytes:
        if not self.rest:
            self.rest += self.raw.recv(16384)
        data = bytes(self.rest[:size])
        del self.rest[: len(data)]
        return data

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.read(size - len(data))
            need(bool(more), "the connection ended inside of a WebSocket frame")
            data += more
        return data

    def recv(self, size: int) -> bytes:
        return self.read(size)

    def put(self, data: bytes) -> None:
        self.raw.sendall(data)

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        step = self.cut or max(len(data), 1)
        for at in range(0, len(data), step):
            self.put(bytes(data[at : at + step]))

    def close(self) -> None:
        self.raw.close()


class WebSocketWire(Wire):
    """The stream as the payload of binary messages."""

    payload = b""
    ended = False

    def recv(self, size: int) -> bytes:
        while not self.payload and not self.ended:
            self.frame()
        data, self.payload = self.payload[:size], self.payload[size:]
        return data

    def frame(self) -> None:
        first = self.read(1)
        if not first:
            self.ended = True
            return
        second = self.exactly(1)[0]
        need(second < 128, "a server's frame is masked")
        size = second
        if second == 126:
            (size,) = struct.unpack(">H", self.exactly(2))
        elif second == 127:
            (size,) = struct.unpack(">Q", self.exactly(8))
        need(size <= 1 << 24, "a WebSocket frame is too long")
        opcode, payload = first[0] & 15, self.exactly(size)
        if opcode == 8:
            self.ended = True
        elif opcode == 9:
            self.masked(10, payload)
        elif opcode != 10:
            need(opcode in (0, 2) and not first[0] & 0x70, "not a binary message")
            self.payload += payload

    def put(self, data: bytes) -> None:
        self.masked(2, data)

    def masked(self, opcode: int, data: bytes) -> None:
        mask, size = os.urandom(4), len(data)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += struct.pack(">BH", 0xFE, size)
        else:
            head += struct.pack(">BQ", 0xFF, size)
        self.raw.sendall(head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(data)))


def upgraded(raw: Any, job: dict[str, Any]) -> Wire:
    key = base64.b64encode(os.urandom(16)).decode()
    target = "/v1/tee" + (f"?{job['query']}" if job["query"] else "")
    lines = [f"GET {target} HTTP/1.1", f"Host: {job['host']}:{job['port']}", "Connection: Upgrade"]
    lines.append(f"Upgrade: {job['upgrade']}")
    if job["upgrade"] == "websocket":
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    raw.sendall("\r\n".join([*lines, "", ""]).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = raw.recv(4096)
        need(bool(more) and len(data) < 16384, "no answer to the request")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    need(status.startswith("HTTP/1.1 101 "), f"no upgrade: {status}")
    if job["upgrade"] == "tcp":
        return Wire(raw, rest, job["cut"])
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
    need(headers.get("sec-websocket-accept") == base64.b64encode(digest).decode(), "Sec-WebSocket-Accept is wrong")
    return WebSocketWire(raw, rest, job["cut"])


# Section 3: inner TLS and its keying material


def tls(wire: Any, alpn: bytes) -> Any:
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 4)
    connection = TLSConnection(wire)
    connection.closeSocket = False
    connection.ignoreAbruptClose = False
    connection.handshakeClientCert(settings=settings, alpn=[bytearray(alpn)])
    need(connection.version == (3, 4), "not TLS 1.3")
    need(bytes(connection.session.appProto) == alpn, "the protocol was not chosen by ALPN")
    return connection


def expand_label(secret: bytes, label: bytes, context: bytes, size: int, name: str) -> bytes:
    full = b"tls13 " + label
    info = struct.pack(">HB", size, len(full)) + full + struct.pack(">B", len(context)) + context
    return hmac.new(secret, info + b"\x01", name).digest()[:size]


def keying_material(connection: Any) -> bytes:
    secret = bytes(connection.session.exporterMasterSecret)
    name = {32: "sha256", 48: "sha384"}[len(secret)]
    derived = expand_label(secret, b"EXPORTER-pluto-notary", hashlib.new(name).digest(), len(secret), name)
    return expand_label(derived, b"exporter", hashlib.new(name, b"tee").digest(), 32, name)


# Sections 4 and 5: frames and messages


def canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def say(connection: Any, kind: int, value: dict[str, Any]) -> None:
    body = canonical(value)
    connection.write(struct.pack(">BI", kind, len(body)) + body)


def exactly(connection: Any, size: int) -> bytes:
    data = bytes(connection.read(max=size, min=size)) if size else b""
    need(len(data) == size, "the notary closed inside of a frame")
    return data


def hear(connection: Any, *expected: int) -> tuple[int, dict[str, Any]]:
    kind, size = struct.unpack(">BI", exactly(connection, 5))
    need(kind in (*expected, ERROR), f"a frame of type {kind} came out of order")
    need(size <= LIMITS[kind], "a frame is too long")
    body = exactly(connection, size)
    value = json.loads(body)
    need(isinstance(value, dict), "the body is not an object")
    if kind != PROOF:
        need(canonical(value) == body and value.get("version") == 2, "the body is not in canonical form, version 2")
    return kind, value


# Section 7: what evidence must show


def field(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def believed(message: dict[str, Any], job: dict[str, Any], ekm: bytes, outer: str | None) -> None:
    names = {"channelKey", "envelope", "epoch", "sessionId", "signature", "version"}
    need(set(message) == names, "evidence has other members")
    nonce, digest = bytes.fromhex(job["nonce"]), bytes.fromhex(job["manifestDigest"])
    parts = (b"session-signature", ekm, nonce, bytes.fromhex(message["sessionId"]), digest)
    signed = hashlib.sha512(b"pluto-tee/v2" + b"".join(map(field, parts))).digest()
    try:
        key = VerifyingKey.from_string(bytes.fromhex(message["channelKey"]), curve=Ed25519)
        key.verify(bytes.fromhex(message["signature"]), signed)
    except (BadSignatureError, MalformedPointError, ValueError) as error:
        raise DistrustError("the channel key did not sign this session") from error
    wanted: dict[str, Any] = {"purpose": "channel", "epoch": message["epoch"]}
    if job["fresh"]:
        wanted = {"purpose": "session", "ekmDigest": hashlib.sha256(ekm).hexdigest(), "nonce": job["nonce"]}
    wanted["channelKey"] = message["channelKey"]
    claims = message["envelope"]["claims"]
    need(all(claims.get(name) == value for name, value in wanted.items()), "the claims are of another session")
    if job["appraise"] is None:
        need(job.get("insecure_accept_any") is True, "nobody appraises the envelope")
        return
    options = ["--ekm", ekm.hex(), "--nonce", job["nonce"], "--manifest-digest", job["manifestDigest"]]
    options += [] if outer is None else ["--key-digest", outer]
    options += ["--fresh"] if job["fresh"] else []
    argv = [*job["appraise"], *options]
    done = subprocess.run(argv, input=canonical(message), stdout=subprocess.PIPE, check=False)
    need(done.returncode == 0, f"the envelope was not accepted: {done.stdout.decode()}")


def outer_key_digest(connection: Any) -> str:
    certificate = ASN1Parser(bytearray(connection.session.serverCertChain.x509List[0].bytes))
    return hashlib.sha256(certificate.getChild(0).getChildBytes(6)).hexdigest()


# Section 11: step by step


def session(job: dict[str, Any]) -> dict[str, Any]:
    raw = socket.create_connection((job["host"], job["port"]), timeout=60)
    below = tls(raw, b"http/1.1") if job["outer"] == "tls" else raw
    outer = outer_key_digest(below) if job["outer"] == "tls" else None
    connection = tls(upgraded(below, job), b"pluto-notary/2")
    result: dict[str, Any] = {"ekm": keying_material(connection).hex(), "steps": [], "closed": False}
    say(connection, HELLO, {name: job[name] for name in ("nonce", "manifestDigest", "fresh")} | {"version": 2})
    kind, message = hear(connection, EVIDENCE)
    if kind == EVIDENCE:
        believed(message, job, bytes.fromhex(result["ekm"]), outer)
        result |= {"sessionId": message["sessionId"], "envelope": message["envelope"]}
        if job["fetch"] is None:
            connection.close()
            return result
        say(connection, FETCH, job["fetch"] | {"version": 2})
        while (answer := hear(connection, PROGRESS, PROOF))[0] == PROGRESS:
            result["steps"].append(answer[1]["step"])
        kind, message = answer
    result["proof" if kind == PROOF else "error"] = message
    try:
        result["closed"] = connection.read(max=1, min=1) == b""
    except TLSAbruptCloseError:
        result["closed"] = False
    except TLSClosedConnectionError:
        result["closed"] = True
    return result


def main() -> int:
    try:
        result = session(json.load(sys.stdin))
    except DistrustError as problem:
        print(problem, file=sys.stderr)
        return 1
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
