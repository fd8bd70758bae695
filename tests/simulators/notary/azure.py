"""An Azure TDX machine's TPM, its paravisor behind it and the host's metadata service, in memory. For tests alone.

As of kinvolk/azure-cvm-tooling and Microsoft's documentation: NV index 0x01400002 takes 64 bytes, after a while the
report at 0x01400001 names them in its runtime data; a TD report of those is made into a quote by POST /acc/tdquote.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pluto_measure.formats import tpm
from pluto_measure.formats.reader import Reader
from pluto_notary.evidence.plain_http import Answer
from simulators.notary.configfs_tsm import quote_of
from simulators.tpm_device import _empty_password, response, with_session
from simulators.tpm_quotes import BOOT, Registers, public_of, registers_of, sign

AK: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
AK_HANDLE, REPORT, USER_DATA, CERTIFICATE = 0x8100_0003, 0x0140_0001, 0x0140_0002, 0x01C1_01D0
NO_HANDLE, BAD_SIZE, NOT_DEFINED = 0x18B, 0x1D5, 0x14C
_OWNER: Final = 0x0002_0002


def td_report_of(runtime: bytes) -> bytes:
    """1024 bytes with the digest of the runtime data in REPORTDATA."""
    return (b"\x81".ljust(128, b"\0") + hashlib.sha256(runtime).digest()).ljust(1024, b"\0")


def hcl_report(user_data: bytes, *, kind: int = 4, hash_type: int = 1) -> bytes:
    """2600 bytes, as index 0x01400001 has them."""
    runtime = json.dumps(
        {"keys": [{"kid": "HCLAkPub", "kty": "RSA"}], "vm-configuration": {}, "user-data": user_data.hex().upper()},
        separators=(",", ":"),
    ).encode()
    head = b"HCLA" + (2).to_bytes(4, "little") + bytes(24)
    words = (len(runtime) + 20, 1, kind, hash_type, len(runtime))
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return (head + td_report_of(runtime).ljust(1184, b"\0") + data + runtime).ljust(2600, b"\0")


@dataclass(slots=True)
class AzureTpm:
    """Call it with a command, get the response. `stale`: readings of the report until it names what was written."""

    registers: Registers = field(default_factory=lambda: {"sha256": dict(registers_of(BOOT)["sha256"])})
    stale: int = 2
    indexes: dict[int, bytearray] = field(default_factory=lambda: {REPORT: bytearray(hcl_report(bytes(64)))})
    report: Callable[[bytes], bytes] = hcl_report
    before_quote: Callable[[AzureTpm], None] = lambda device: None
    seen: list[int] = field(default_factory=list)
    _waiting: int = 0

    def __call__(self, command: bytes, /) -> bytes:
        reader = Reader(command, what="TPM command", order="big")
        reader.uint(2, "tag")
        assert reader.uint(4, "commandSize") == len(command)
        code = reader.uint(4, "commandCode")
        self.seen.append(code)
        return {
            0x169: self._read_public,
            0x14E: self._read,
            0x137: self._write,
            0x12A: self._define,
            0x122: self._undefine,
            0x158: self._quote,
            0x17E: self._pcr_read,
        }[code](reader)

    def _read_public(self, reader: Reader) -> bytes:
        index = reader.uint(4, "nvIndex")
        reader.end()
        if index not in self.indexes:
            return response(NO_HANDLE)
        size = len(self.indexes[index])
        public = index.to_bytes(4, "big") + b"\0\x0b" + _OWNER.to_bytes(4, "big") + b"\0\0" + size.to_bytes(2, "big")
        return response(0, tpm.tpm2b(public) + tpm.tpm2b(b"\0\x0b" + bytes(32)))

    def _read(self, reader: Reader) -> bytes:
        index = self._index(reader)
        size, offset = reader.uint(2, "size"), reader.uint(2, "offset")
        reader.end()
        if index == REPORT and offset == 0 and USER_DATA in self.indexes:
            self._waiting -= 1
            if self._waiting < 0:
                self.indexes[REPORT] = bytearray(self.report(bytes(self.indexes[USER_DATA])))
        data = self.indexes[index]
        if size > 1024 or offset + size > len(data):
            return response(BAD_SIZE)
        return with_session(tpm.tpm2b(bytes(data[offset : offset + size])))

    def _write(self, reader: Reader) -> bytes:
        index = self._index(reader)
        data, offset = tpm.read_tpm2b(reader, "data"), reader.uint(2, "offset")
        reader.end()
        assert index == USER_DATA, "nothing else is ours to write"
        if offset + len(data) > len(self.indexes[index]):
            return response(BAD_SIZE)
        self.indexes[index][offset : offset + len(data)] = data
        self._waiting = self.stale
        return with_session(b"")

    def _define(self, reader: Reader) -> bytes:
        assert reader.uint(4, "authHandle") == tpm.RH_OWNER
        _empty_password(reader)
        assert tpm.read_tpm2b(reader, "auth") == b""
        public = Reader(tpm.read_tpm2b(reader, "publicInfo"), what="public", order="big")
        reader.end()
        index, algorithm, attributes = public.uint(4, "index"), public.uint(2, "nameAlg"), public.uint(4, "attributes")
        assert (algorithm, attributes, tpm.read_tpm2b(public, "policy")) == (0x000B, _OWNER, b"")
        size = public.uint(2, "dataSize")
        public.end()
        if index in self.indexes:
            return response(NOT_DEFINED)
        self.indexes[index] = bytearray(size)
        return with_session(b"")

    def _undefine(self, reader: Reader) -> bytes:
        index = self._index(reader)
        reader.end()
        assert index == USER_DATA, "nothing else is ours to remove"
        del self.indexes[index]
        return with_session(b"")

    def _quote(self, reader: Reader) -> bytes:
        assert reader.uint(4, "signHandle") == AK_HANDLE
        _empty_password(reader)
        extra_data = tpm.read_tpm2b(reader, "qualifyingData")
        assert reader.uint(2, "inScheme") == tpm.ALG_NULL
        selections = tpm.read_selections(reader)
        reader.end()
        assert selections == (tpm.PcrSelection("sha256", tuple(range(24))),)
        self.before_quote(self)
        values = b"".join(self.registers["sha256"][f"pcr{index}"] for index in range(24))
        name = tpm.qualified_name(tpm.RH_ENDORSEMENT, public_of(AK))
        digest = hashlib.sha256(values).digest()
        attest = tpm.Attest(name, extra_data, 1, 1, 0, True, 1, selections, digest).marshal()
        return with_session(tpm.tpm2b(attest) + sign(AK, attest))

    def _pcr_read(self, reader: Reader) -> bytes:
        wanted = tpm.read_selections(reader)
        reader.end()
        chosen = [index for s in wanted for index in s.registers if s.algorithm == "sha256"][:8]
        given = (tpm.PcrSelection("sha256", tuple(chosen)),)
        values = b"".join(tpm.tpm2b(self.registers["sha256"][f"pcr{index}"]) for index in chosen)
        body = (7).to_bytes(4, "big") + tpm.marshal_selections(given) + len(chosen).to_bytes(4, "big") + values
        return response(0, body)

    def _index(self, reader: Reader) -> int:
        assert reader.uint(4, "authHandle") == tpm.RH_OWNER
        index = reader.uint(4, "nvIndex")
        _empty_password(reader)
        return index


@dataclass
class Metadata:
    """The metadata service's quoting. `status` other than 200 refuses; `change` alters what it answers."""

    status: int = 200
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    seen: list[bytes] = field(default_factory=list)

    def __call__(self, body: bytes) -> Answer:
        request = json.loads(body)
        assert request.keys() == {"report"}
        text = request["report"]
        assert not set(text) & set("+/=")
        report = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        assert len(report) == 1024
        self.seen.append(report)
        quote = base64.urlsafe_b64encode(quote_of(report[128:192])).decode().rstrip("=")
        return Answer(self.status, json.dumps(self.change({"quote": quote})).encode(), None)
