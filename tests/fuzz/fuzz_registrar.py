"""Any bytes are a registrar's signature, written again as it was read, or an error of ours; so is a key shown."""

from __future__ import annotations

from pluto_measure.errors import PlutoError
from pluto_measure.formats.strict_json import canonical
from pluto_notary.registry.claims import Registry, RevokeKey, Rotate
from pluto_notary.registry.shown import shown_key
from pluto_notary.registry.signed import Signed, collect
from simulators.notary.proofs import HONEST, KEY, envelope, made
from simulators.notary.registrars import REGISTRARS, fits

HERE = Registry(8453, b"\x0e" * 20)


def target(data: bytes) -> None:
    _signature(data)
    _key(data)


def _signature(data: bytes) -> None:
    try:
        found = Signed.parse(data)
    except PlutoError:
        return
    assert Signed.parse(found.to_text().encode()) == found
    assert collect([found], needed=1).claims == ((found.claim, (found.signer,)),)


def _key(data: bytes) -> None:
    try:
        shown = shown_key(data)
    except PlutoError:
        return
    assert shown.account == KEY.address


def seeds() -> list[bytes]:
    claims = (fits(), RevokeKey(KEY.address), Rotate(tuple(key.address for key in REGISTRARS), 2, 2))
    statement = {
        "publicKey": KEY.public.hex(), "address": f"0x{KEY.address.hex()}", "evidence": envelope(HONEST).to_json(),
    }  # fmt: skip
    page = {"statement": statement, "channel": {}}
    return [
        *(Signed.sign(claim, HERE, REGISTRARS[0]).to_text().encode() for claim in claims),
        canonical(page),
        made().to_bytes(),
    ]
