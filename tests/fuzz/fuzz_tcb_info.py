"""Any bytes are TCB info or a QE identity with sorted levels and fields of their sizes, or a FormatError."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise

from pluto_measure.errors import FormatError
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.tcb_info import (
    COMPONENT_STATUSES,
    PLATFORM_STATUSES,
    IsvLevel,
    TcbInfo,
)
from simulators.intel import ModuleIdentity, TcbLevel, qe_identity, tcb_info


def check_isv(levels: tuple[IsvLevel, ...]) -> None:
    assert levels
    assert all(high.isv_svn > low.isv_svn for high, low in pairwise(levels))
    assert all(level.status in COMPONENT_STATUSES and 0 <= level.isv_svn <= 0xFFFF for level in levels)


def target(data: bytes) -> None:
    with suppress(FormatError):
        info = TcbInfo.parse(data)
        keys = [(level.sgx, level.pce_svn, level.tdx) for level in info.levels]
        assert keys
        assert all(high > low for high, low in pairwise(keys))
        assert all(len(sgx) == len(tdx) == 16 for sgx, _, tdx in keys)
        assert all(level.status in PLATFORM_STATUSES and level.date.tzinfo for level in info.levels)
        assert (len(info.fmspc), len(info.pce_id), len(info.sgx_components), len(info.tdx_components)) == (6, 2, 16, 16)
        for identity in info.identities:
            check_isv(identity.levels)
            assert (len(identity.mr_signer), len(identity.attributes), len(identity.attributes_mask)) == (48, 8, 8)
        str([level.advisories for level in info.levels]).encode()
        assert TcbInfo.parse(json.dumps(json.loads(data)).encode()) == info
    with suppress(FormatError):
        read = QeIdentity.parse(data)
        check_isv(read.levels)
        assert (len(read.mr_signer), len(read.attributes), len(read.attributes_mask)) == (32, 16, 16)
        assert QeIdentity.parse(json.dumps(json.loads(data)).encode()) == read


def seeds() -> list[bytes]:
    odd = tcb_info(modules=[ModuleIdentity(0xAB)], levels=[TcbLevel()], members={"added": [{"\U0001f600": "\u00e9"}]})
    escaped = json.dumps(json.loads(odd))  # characters beyond ASCII as \\u....
    spaced = json.dumps(json.loads(qe_identity()), indent=1)
    return [text.encode() for text in (tcb_info(), qe_identity(), odd, escaped, spaced)]
