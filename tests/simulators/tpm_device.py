"""A TPM that takes commands: the four that evidence needs, with the faults that real devices show. For tests alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pluto_measure.formats import tpm
from pluto_measure.formats.reader import Reader
from simulators.tpm_quotes import BOOT, Key, Registers, attest_of, ecc_key, public_of, registers_of, sign

HANDLE = 0x8000_0001
CREATE_PRIMARY, QUOTE, FLUSH_CONTEXT, PCR_READ = 0x131, 0x158, 0x165, 0x17E
RC_HANDLE_1, RC_COMMAND_CODE = 0x18B, 0x143


@dataclass(slots=True)
class TpmDevice:
    """Call it with a command, get the response. Change its fields to make it misbehave."""

    registers: Registers = field(default_factory=lambda: registers_of(BOOT))
    key: Key = field(default_factory=ecc_key)
    at_once: int = 8  # values in one response to PCR_Read
    codes: list[int] = field(default_factory=list)  # response codes to give first, instead of working
    before_quote: Callable[[TpmDevice], None] = lambda device: None
    loaded: bool = False
    seen: list[int] = field(default_factory=list)  # command codes, in order

    def __call__(self, command: bytes, /) -> bytes:
        reader = Reader(command, what="TPM command", order="big")
        tag, size, code = reader.uint(2, "tag"), reader.uint(4, "commandSize"), reader.uint(4, "commandCode")
        assert size == len(command)
        self.seen.append(code)
        if self.codes and (failure := self.codes.pop(0)):
            return response(failure)
        assert tag == (0x8002 if code in (CREATE_PRIMARY, QUOTE) else 0x8001)
        return {
            CREATE_PRIMARY: self._create_primary,
            QUOTE: self._quote,
            FLUSH_CONTEXT: self._flush_context,
            PCR_READ: self._pcr_read,
        }.get(code, lambda _: response(RC_COMMAND_CODE))(reader)

    def _create_primary(self, reader: Reader) -> bytes:
        assert reader.uint(4, "primaryHandle") == tpm.RH_OWNER
        _empty_password(reader)
        assert tpm.read_tpm2b(reader, "inSensitive") == bytes(4)
        template = tpm.parse_public(tpm.read_tpm2b(reader, "inPublic"))
        assert tpm.read_tpm2b(reader, "outsideInfo") == b""
        assert tpm.read_selections(reader) == ()
        reader.end()
        self.loaded = True
        public = public_of(self.key, template.attributes).marshal()
        rest = tpm.tpm2b(b"creation data") + tpm.tpm2b(bytes(32)) + b"\x80\x21" + bytes(6) + tpm.tpm2b(b"name")
        return with_session(tpm.tpm2b(public) + rest, HANDLE)

    def _quote(self, reader: Reader) -> bytes:
        handle = reader.uint(4, "signHandle")
        if not self.loaded or handle != HANDLE:
            return response(RC_HANDLE_1)
        _empty_password(reader)
        extra_data = tpm.read_tpm2b(reader, "qualifyingData")
        assert reader.uint(2, "inScheme") == tpm.ALG_NULL
        selections = tpm.read_selections(reader)
        reader.end()
        assert [(s.algorithm, s.registers) for s in selections] == [(b, tuple(range(24))) for b in ("sha256", "sha384")]
        self.before_quote(self)
        public = public_of(self.key, tpm.parse_public(public_of(self.key).marshal()).attributes | tpm.NO_DA)
        attest = attest_of(public, self.registers, extra_data).marshal()
        return with_session(tpm.tpm2b(attest) + sign(self.key, attest))

    def _flush_context(self, reader: Reader) -> bytes:
        handle = reader.uint(4, "flushHandle")
        reader.end()
        if not self.loaded or handle != HANDLE:
            return response(RC_HANDLE_1)
        self.loaded = False
        return response(0)

    def _pcr_read(self, reader: Reader) -> bytes:
        wanted = tpm.read_selections(reader)
        reader.end()
        chosen = [(s.algorithm, i) for s in wanted for i in s.registers if s.algorithm in self.registers][
            : self.at_once
        ]
        given = tuple(
            tpm.PcrSelection(s.algorithm, tuple(i for bank, i in chosen if bank == s.algorithm)) for s in wanted
        )
        values = b"".join(tpm.tpm2b(self.registers[bank][f"pcr{i}"]) for bank, i in chosen)
        return response(
            0, (7).to_bytes(4, "big") + tpm.marshal_selections(given) + len(chosen).to_bytes(4, "big") + values
        )


def response(code: int, body: bytes = b"", tag: int = 0x8001) -> bytes:
    """A response with its header."""
    return tag.to_bytes(2, "big") + (10 + len(body)).to_bytes(4, "big") + code.to_bytes(4, "big") + body


def with_session(parameters: bytes, handle: int | None = None) -> bytes:
    """A successful response to a command with a password session."""
    head = b"" if handle is None else handle.to_bytes(4, "big")
    return response(0, head + len(parameters).to_bytes(4, "big") + parameters + b"\0\0\1\0\0", tag=0x8002)


def _empty_password(reader: Reader) -> None:
    area = reader.sub(reader.uint(4, "authorizationSize"), "authorization")
    assert area.uint(4, "sessionHandle") == 0x4000_0009
    assert area.rest() == b"\0\0\0\0\0"
