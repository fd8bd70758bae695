"""The inner TLS over memory: TLS 1.3 alone, its keying material, and nothing of a socket.

pyOpenSSL is used here and nowhere else, because the standard library does not export keying material (RFC 8446,
section 7.5). Nobody trusts the notary's certificate for its name or its chain: the evidence signs the keying material.
The handshake's own signature is checked all the same.

    bytes of the wire --feed()--> read() bytes of the channel        write() --data_to_send()--> bytes of the wire
"""

from __future__ import annotations

import ctypes
from collections import deque
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from pluto_notary.certificate import OuterIdentity
from pluto_notary.protocol.errors import ChannelError

ALPN: Final = b"pluto-notary/2"
EXPORTER_LABEL: Final = b"EXPORTER-pluto-notary"
EXPORTER_CONTEXT: Final = b"tee"
EKM_BYTES: Final = 32

_NO_PROTOCOL: Final = "no application protocol"
_RECORD_HEAD: Final = 5
_LARGEST_RECORD: Final = 2**14 + 256  # RFC 8446, 5.2: the length of a protected record
_RECORD_TYPES: Final = range(20, 24)
_HANDSHAKE_BYTES: Final = 64 * 1024  # that one side sends before the handshake is done
_IDLE_RECORDS: Final = 32  # without data, after the handshake: tickets, key updates, empty records
_UNREAD: Final = 256 * 1024  # of plaintext, before the caller must take it out
_UNSENT: Final = 16 << 20  # of plaintext, that the other side is slow to take
_PIECE: Final = 64 * 1024  # of plaintext, encrypted at once
_RECORD: Final = 4 * 1024  # of plaintext in a record that we send: OpenSSL keeps the room that the largest one took
_BUFFER: Final = 18 * 1024  # more than a record has


def server_context(identity: OuterIdentity) -> SSL.Context:
    """The notary's side, for all connections of a process. The identity's key is made in this process for it alone."""
    context = _context()
    context.use_certificate(x509.load_der_x509_certificate(identity.certificate))
    key = load_pem_private_key(identity.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(key)
    _choose_by(context, _SELECT)
    return context


def client_context(*, version: int = 2) -> SSL.Context:
    """A client's side: no name and no chain is checked. Version 1 has no ALPN."""
    context = _context()
    context.set_verify(SSL.VERIFY_NONE)
    if version != 1:
        context.set_alpn_protos([ALPN])
    return context


def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    # Without a cache OP_NO_TICKET makes the tickets that OpenSSL sends name nothing: every session is a new one.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection holds no buffers
    return context


# The connection, what is chosen and its length, what was offered and its length, an argument of ours.
_SELECTING_C: Final = (
    "int (*)(SSL *, const unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)"
)
_SELECTING: Final = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ubyte),
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_void_p,
)
_CHOSEN: Final = ctypes.create_string_buffer(ALPN, len(ALPN))  # OpenSSL copies it after the choice
_OK, _FATAL = 0, 2  # SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_ALERT_FATAL


def _select(_: object, out: Any, out_length: Any, offered: int, size: int, __: object) -> int:
    """ALPN's choice: ours, or none and an alert. RFC 7301, 3.2; SSL_CTX_set_alpn_select_cb(3)."""
    if ALPN not in _names(ctypes.string_at(offered, size)):
        return _FATAL
    out[0], out_length[0] = ctypes.addressof(_CHOSEN), len(ALPN)
    return _OK


_SELECT: Final = _SELECTING(_select)


def _choose_by(context: SSL.Context, select: object) -> None:
    """What pyOpenSSL's own method does, but that its callbacks (cffi) need memory that can be written and executed.

    The unit of the trust domain forbids such memory; those of ctypes do without.
    """
    pointer = ctypes.cast(select, ctypes.c_void_p).value  # type: ignore[arg-type]
    lib.SSL_CTX_set_alpn_select_cb(context._context, ffi.cast(_SELECTING_C, pointer), ffi.NULL)


def _names(offered: bytes) -> list[bytes]:
    """The names of a ProtocolNameList without its own length, as far as they are whole. RFC 7301, 3.1."""
    names = []
    while offered and len(offered) > offered[0]:
        names.append(offered[1 : 1 + offered[0]])
        offered = offered[1 + offered[0] :]
    return names


class InnerTls:
    """One connection, either side. ChannelError `tls` for what the other side does wrong; then it stays failed."""

    def __init__(self, context: SSL.Context, *, server: bool) -> None:
        self._connection = SSL.Connection(context)
        if server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        self._server = server
        self._wire, self._read = bytearray(), bytearray()
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = self._idle = self._handshake_bytes = 0
        self._established = self._ended = self._closing = self._closed = False
        self._acted = False  # whether OpenSSL may have bytes for the wire
        self._failure: ChannelError | None = None
        self._ekm = b""
        if not server:
            self._handshake()

    @property
    def established(self) -> bool:
        """Whether the handshake is done, as far as this side can know."""
        return self._established

    @property
    def version(self) -> int:
        """2 if both sides agreed on it by ALPN, 1 if there was none. Valid once established."""
        return 2 if self._connection.get_alpn_proto_negotiated() == ALPN else 1

    @property
    def ekm(self) -> bytes:
        """Exported keying material, 32 bytes. RuntimeError before the handshake is done."""
        if not self._established:
            raise RuntimeError("there is no keying material before the handshake is done")
        return self._ekm

    @property
    def ended(self) -> bool:
        """Whether the other side said that no more will come."""
        return self._ended

    def feed(self, data: bytes) -> None:
        """Take bytes of the wire, cut anywhere, at most 64 KiB at once; then take out what `read` gives."""
        self._check()
        self._wire += data
        while record := self._take_record():
            before = len(self._read)
            if self._ended:
                self._fail("bytes behind the end of the inner TLS")
            if not self._established:
                self._handshake_bytes += len(record)
                if self._handshake_bytes > _HANDSHAKE_BYTES:
                    self._fail("the handshake is too long")
            self._connection.bio_write(record)
            if self._established:
                self._decrypt()
                self._idle += not self._ended and len(self._read) == before
                if self._idle > _IDLE_RECORDS:
                    self._fail("too many records without data")
            elif self._handshake():
                self._decrypt()

    def end(self) -> None:
        """The wire ended. ChannelError unless the other side had closed the inner TLS."""
        self._check()
        if not self._ended:
            self._fail("the inner TLS was cut off")

    def read(self) -> bytes:
        """All plaintext that came since the last call."""
        data = bytes(self._read)
        self._read.clear()
        return data

    def write(self, data: bytes) -> None:
        """Queue plaintext. RuntimeError before the handshake or after `close`, BufferError if too much waits."""
        if not data:
            return
        self._check()
        if not self._established or self._closing:
            raise RuntimeError("the inner TLS does not take data now")
        if self._unsent_bytes + len(data) > _UNSENT:
            raise BufferError(f"more than {_UNSENT} bytes wait to be sent")
        self._unsent.append(memoryview(data))
        self._unsent_bytes += len(data)

    def close(self) -> None:
        """Say that no more will come, behind what is queued. Nothing happens the second time."""
        self._closing = True

    def data_to_send(self) -> bytes:
        """Some of the bytes for the wire, at most about 64 KiB; b"" if there are none. Works after a failure too."""
        if (data := self._encrypted()) or self._failure is not None or not self._established:
            return data
        if self._unsent:
            return self._encrypt()
        if self._closing and not self._closed:
            self._closed = self._acted = True
            self._connection.shutdown()
        return self._encrypted()

    def _encrypt(self) -> bytes:
        left, records = _PIECE, []
        while self._unsent and left > 0:
            piece = self._unsent.popleft()
            sent = self._connection.send(piece[:_RECORD])
            if sent < len(piece):
                self._unsent.appendleft(piece[sent:])
            self._unsent_bytes -= sent
            left -= sent
            self._acted = True
            records.append(self._encrypted())
        return b"".join(records)

    def _take_record(self) -> bytes | None:
        """The next whole record of the wire; its length is looked at before it is awaited. RFC 8446, 5.1."""
        if len(self._wire) < _RECORD_HEAD:
            return None
        size = int.from_bytes(self._wire[3:_RECORD_HEAD], "big")
        if self._wire[0] not in _RECORD_TYPES or size > _LARGEST_RECORD:
            self._fail("these are not records of TLS 1.3")
        if len(self._wire) < _RECORD_HEAD + size:
            return None
        record = bytes(memoryview(self._wire)[: _RECORD_HEAD + size])
        del self._wire[: _RECORD_HEAD + size]
        return record

    def _handshake(self) -> bool:
        self._acted = True
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            if any(_NO_PROTOCOL in one for one in error.args[0] if error.args) and self._server:
                self._failure = ChannelError("unsupported", "the client speaks none of our protocols in the inner TLS")
                raise self._failure from None
            self._fail("the handshake of the inner TLS failed")
        if not self._server and self._connection.get_alpn_proto_negotiated() not in (b"", ALPN):
            self._fail("the notary chose a protocol that nobody offered")
        self._ekm = self._connection.export_keying_material(EXPORTER_LABEL, EKM_BYTES, EXPORTER_CONTEXT)
        self._established = True
        return True

    def _decrypt(self) -> None:
        """Read the record that was fed; at once, as there is room for the largest."""
        self._read += self._decrypted()
        if len(self._read) > _UNREAD:
            raise BufferError(f"more than {_UNREAD} bytes were not taken out")

    def _decrypted(self) -> bytes:
        self._acted = True
        try:
            return self._connection.recv(_LARGEST_RECORD)
        except SSL.WantReadError:
            return b""
        except SSL.ZeroReturnError:
            self._ended = True
            return b""
        except SSL.Error:
            self._fail("a record of the inner TLS is not genuine")

    def _encrypted(self) -> bytes:
        """All bytes that OpenSSL has for the wire."""
        pieces: list[bytes] = []
        while self._acted:
            try:
                pieces.append(self._connection.bio_read(_BUFFER))
            except SSL.WantReadError:
                break
            self._acted = len(pieces[-1]) == _BUFFER
        self._acted = False
        return b"".join(pieces)

    def _fail(self, problem: str) -> NoReturn:
        self._failure = ChannelError("tls", problem)
        raise self._failure

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
