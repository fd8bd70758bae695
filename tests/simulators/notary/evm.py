"""A chain in another process (py-evm) and our contracts on it, compiled by solc. For tests alone.

    evm = Evm(chain=8453)                              accounts evm.accounts, of which number 0 sends by default
    verifier = evm.deploy("StatementVerifier", "(address[],uint256)", registrars, 2)
    verifier.send("revokeKey(address,(bytes32,bytes32,uint8)[])", key, signatures, at=T, by=1)      → Sent
    verifier.read("fits(address,bytes32)", key, build, at=T)                                        → bytes

A call that reverts raises `Reverted` with the name of the contract's error.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pytest

from interop.peers import BUILD, HERE, AbsentError, need
from pluto_notary.registry import abi
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import Signature
from pluto_notary.statement.model import Statement

CONTRACTS: Final = HERE.parents[1] / "notary/contracts"
OURS: Final = HERE.parent / "notary/contracts"
STATEMENT: Final = (
    "(string,bytes32,bytes32,(string,bytes32)[],bytes32,bytes32,address,uint64,uint64,bytes32)"
)  # fmt: skip
SIGNATURE: Final = "(bytes32,bytes32,uint8)"
DEMAND: Final = "(bytes32,address,uint64)"
_PANIC: Final = "4e487b71"


class Reverted(Exception):
    """The call reverted; the text is the name of the error, `data` what it carries."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(name)
        self.data = data


def refused(call: Callable[[], object]) -> str:
    """The name of the error with which a call reverts."""
    with pytest.raises(Reverted) as error:
        call()
    return str(error.value)


@dataclass(frozen=True)
class Sent:
    """`gas`: all that the sender pays for. `logs`: the names of the events, in order."""

    output: bytes
    gas: int
    logs: tuple[str, ...]


@cache
def compiled() -> dict[str, Any]:
    """Every contract by its name, as solc gives it; kept for the next run. Skips where there is no solc."""
    _needed("solc")
    inputs = sorted([*CONTRACTS.rglob("*.*"), *OURS.glob("*.sol"), BUILD / "solc.stamp"])
    kept = BUILD / f"solc/{hashlib.sha256(b''.join(path.read_bytes() for path in inputs)).hexdigest()}.json"
    if not kept.is_file():
        made = kept.with_name(f"{kept.name}.{os.getpid()}")
        made.write_text(_compile())
        made.replace(kept)
    files = json.loads(kept.read_text())["contracts"].values()
    return {name: contract for file in files for name, contract in file.items()}


def _compile() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no peer: there is no Node.js")
    argv = [node, str(CONTRACTS / "compile.js"), str(BUILD / "solc"), str(OURS)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Evm:
    """One machine with an empty chain."""

    def __init__(self, *, chain: int, accounts: int = 6) -> None:
        self.contracts = compiled()
        _needed("python-evm")
        self._names = dict(_names(self.contracts))
        found = [str(BUILD / "python-evm"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-B", str(HERE / "python-evm/peer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
        )
        answer = self.ask("reset", chain=chain, accounts=accounts)
        self.chain, self.accounts = chain, [bytes.fromhex(one) for one in answer["accounts"]]

    def ask(self, op: str, **asked: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **asked}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the machine has stopped"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def state(self) -> str:
        """A name for the state as it is now, for `goto`."""
        root: str = self.ask("root")["root"]
        return root

    def goto(self, state: str) -> None:
        self.ask("goto", root=state)

    def send(self, to: bytes | None, data: bytes, *, at: int, by: int = 0, call: bool = False) -> dict[str, Any]:
        target = None if to is None else to.hex()
        answer = self.ask("send", **{"from": by}, to=target, data=data.hex(), time=at, call=call)
        if not answer["ok"]:
            output = answer["output"]
            raise Reverted(self._names.get(output[:8], output or "without a word"), bytes.fromhex(output[8:]))
        return answer

    def deploy(self, name: str, kind: str, *values: Any, at: int = 1) -> Contract:
        code = bytes.fromhex(self.contracts[name]["evm"]["bytecode"]["object"])
        answer = self.send(None, code + abi.encode(kind, values), at=at)
        return Contract(self, bytes.fromhex(answer["created"]), answer["gas"])

    def events(self, answer: dict[str, Any]) -> tuple[str, ...]:
        return tuple(self._names[topics[0]] for _, topics, _ in answer["logs"])

    def close(self) -> None:
        self._process.communicate()  # the machine ends where its input does


@dataclass(frozen=True)
class Contract:
    """A contract on the machine."""

    evm: Evm
    address: bytes
    gas: int = 0

    def send(self, signature: str, *values: Any, at: int, by: int = 0) -> Sent:
        return self.sent(abi.call(signature, *values), at=at, by=by)

    def sent(self, data: bytes, *, at: int, by: int = 0) -> Sent:
        """Any data as a transaction."""
        answer = self.evm.send(self.address, data, at=at, by=by)
        return Sent(bytes.fromhex(answer["output"]), answer["gas"], self.evm.events(answer))

    def read(self, signature: str, *values: Any, at: int = 1, by: int = 0) -> bytes:
        """What a call answers, which changes nothing."""
        answer = self.evm.send(self.address, abi.call(signature, *values), at=at, by=by, call=True)
        return bytes.fromhex(answer["output"])


def words(data: bytes) -> list[int]:
    """An answer of static values as numbers."""
    return [int.from_bytes(data[place : place + 32], "big") for place in range(0, len(data), 32)]


def statement_value(statement: Statement) -> tuple[Any, ...]:
    """A statement as the contracts take it: without mode and domain."""
    return (
        statement.host, statement.certificate, statement.manifest,
        [(value.id, value.digest) for value in statement.values], statement.session, statement.nonce,
        statement.recipient, statement.not_before, statement.not_after, statement.build,
    )  # fmt: skip


def signature_value(signature: Signature) -> tuple[bytes, bytes, int]:
    return signature.r, signature.s, signature.v


def signature_values(signatures: Sequence[Signature]) -> list[tuple[bytes, bytes, int]]:
    return [signature_value(one) for one in signatures]


def _names(contracts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The names of errors by their selector, and of events by their topic."""
    yield _PANIC, "Panic"
    for contract in contracts.values():
        for entry in contract["abi"]:
            if entry["type"] in ("error", "event"):
                text = f"{entry['name']}({','.join(one['type'] for one in entry['inputs'])})"
                digest = keccak256(text.encode()).hex()
                yield (digest[:8] if entry["type"] == "error" else digest), entry["name"]


def _needed(name: str) -> None:
    try:
        need(name)
    except AbsentError as error:
        pytest.skip(f"no peer: {error}")
