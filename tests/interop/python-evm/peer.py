"""An Ethereum virtual machine (py-evm, the rules of Prague) that answers one JSON object a line with another.

{"op": "reset", "chain": ID, "accounts": N}
        an empty chain with N funded accounts → {"accounts": [addresses], "root": HEX}
{"op": "send", "from": I, "to": HEX or null, "data": HEX, "time": SECONDS, "call": bool}
        a transaction of account I as the only one of a block of that time, kept unless it is a `call` →
        {"ok", "output": HEX, "gas": all that its sender pays for, "created": HEX or null, "logs": [each]}
        and each log is [address, topics, data]
{"op": "root"} → {"root": HEX}      {"op": "goto", "root": HEX} → {}: the state as it was then
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import sys
from typing import Any

from eth import constants
from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.vm.forks import PragueVM
from eth_keys import keys

GAS = 25_000_000
RICH = 10**24


class Machine:
    """One chain, and the keys of its accounts."""

    def __init__(self) -> None:
        self.chain_id = 1
        self.keys: list[Any] = []
        self.vm: Any = None
        self.header: Any = None

    def reset(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.chain_id = asked["chain"]
        self.keys = [keys.PrivateKey((i + 1).to_bytes(32, "big")) for i in range(asked["accounts"])]
        account = {"balance": RICH, "nonce": 0, "code": b"", "storage": {}}
        world = {key.public_key.to_canonical_address(): account for key in self.keys}
        kind = MiningChain.configure(
            __name__="Test", vm_configuration=((constants.GENESIS_BLOCK_NUMBER, PragueVM),), chain_id=self.chain_id
        )
        genesis = {"difficulty": 0, "gas_limit": 30_000_000, "timestamp": 1, "extra_data": b""}
        self.vm = kind.from_genesis(AtomicDB(), genesis, world).get_vm()
        self.header = self.vm.get_header()
        return {"accounts": [key.public_key.to_canonical_address().hex() for key in self.keys], **self.root({})}

    def root(self, _: dict[str, Any]) -> dict[str, Any]:
        self.vm.state.persist()
        return {"root": self.vm.state.make_state_root().hex()}

    def goto(self, asked: dict[str, Any]) -> dict[str, Any]:
        header = self.header.copy(state_root=bytes.fromhex(asked["root"]))
        context = self.vm.create_execution_context(header, (), self.vm.chain_context)
        self.vm._state = self.vm.get_state_class()(self.vm.chaindb.db, context, header.state_root)
        return {}

    def send(self, asked: dict[str, Any]) -> dict[str, Any]:
        state, key = self.vm.state, self.keys[asked["from"]]
        before = self.root({})["root"] if asked["call"] else None
        sender = key.public_key.to_canonical_address()
        state.execution_context._timestamp = asked["time"]
        transaction = self.vm.create_unsigned_transaction(
            nonce=state.get_nonce(sender),
            gas_price=state.execution_context.base_fee_per_gas,
            gas=GAS,
            to=bytes.fromhex(asked["to"] or ""),
            value=0,
            data=bytes.fromhex(asked["data"]),
        ).as_signed_transaction(key, self.chain_id)
        receipt, computation = self.vm.apply_transaction(self.header, transaction)
        created = None if asked["to"] else computation.msg.storage_address.hex()
        answer = {
            "ok": computation.is_success,
            "output": computation.output.hex(),
            "gas": receipt.gas_used,
            "created": created,
            "logs": [
                [log.address.hex(), [topic.to_bytes(32, "big").hex() for topic in log.topics], log.data.hex()]
                for log in receipt.logs
            ],
        }
        if before is not None:
            self.goto({"root": before})
        return answer


def main() -> None:
    machine = Machine()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = getattr(machine, asked["op"])(asked)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
