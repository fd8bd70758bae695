"""Second opinions for Python: virt-firmware, cctrusted-base and dcap-qvl. Prints one JSON value; bytes are in hex.

sections FILE            TDVF metadata: six numbers for each section
authenticode FILE        {sha256, sha384}
variables FILE on|off    the events of the Secure Boot variables in a JSON variable store: [type, digest, data][]
boot-option HEX          {title, attributes, path, optional, again}: `again` is the option written anew
log FILE                 {events: [index, type, digest, data][], registers}, of a log of one bank
quote FILE               {mrtd, rtmrs}
time-log FILE RUNS       seconds of each of so many parses and replays, the file in memory
verdicts FILE            of cases in JSON, [{path, collateral, at, root}]: what dcap-qvl says of each, or its error
time-verdict FILE RUNS   seconds of each of so many verdicts on the first case, from the bytes of quote and collateral
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def sections(name: str) -> object:
    from virt.firmware import dump

    vector = dump.OvmfResetVector(data=Path(name).read_bytes())
    (entry,) = (entry for entry in vector if "TdxMetadataOffset" in str(entry))
    ranges = [item for item in entry if not isinstance(item, str)]
    return [[item.filebase, item.filesize, item.membase, item.memsize, item.typeid, item.flags] for item in ranges]


def authenticode(name: str) -> object:
    import pefile
    from virt.peutils import pesign

    image = pefile.PE(name, fast_load=True)
    return {bank: pesign.pe_authenticode_hash(image, bank).hex() for bank in ("sha256", "sha384")}


def variables(name: str, secure_boot: str) -> object:
    from virt.firmware import measure
    from virt.firmware.varstore import jstore

    listed = jstore.JsonVarStore(name).get_varlist()
    events = measure.measure_varlist(["sha384"], listed, secureboot=secure_boot == "on")
    return [
        [event["content"]["event_type"], event["digests"][0]["digest"], event["content"]["event_data"]]
        for event in events
    ]


def boot_option(content: str) -> object:
    from virt.firmware.efi import bootentry

    option = bootentry.BootEntry(data=bytes.fromhex(content))
    return {
        "title": str(option.title),
        "attributes": option.attr,
        "path": str(option.devicepath),
        "optional": (option.optdata or b"").hex(),
        "again": bytes(option).hex(),
    }


def log(name: str) -> object:
    events = _events(Path(name).read_bytes())
    from cctrusted_base.eventlog import EventLogs

    registers = EventLogs.replay(events)
    # Its first record is of another class, without digests.
    listed = [
        [event.imr_index, event.event_type, event.digests[0].hash.hex(), event.event.hex()] for event in events[1:]
    ]
    return {
        "events": listed,
        "registers": {
            index: value.hex() for index, banks in registers.items() for value in banks.values() if len(banks) == 1
        },
    }


def quote(name: str) -> object:
    from cctrusted_base.tdx.quote import TdxQuote

    body = TdxQuote(bytearray(Path(name).read_bytes())).body
    return {"mrtd": body.mrtd.hex(), "rtmrs": [getattr(body, f"rtmr{number}").hex() for number in range(4)]}


def time_log(name: str, runs: str) -> object:
    from cctrusted_base.eventlog import EventLogs

    data = Path(name).read_bytes()
    seconds = []
    for _ in range(int(runs)):
        started = time.perf_counter()
        EventLogs.replay(_events(data))
        seconds.append(time.perf_counter() - started)
    return seconds


def verdicts(name: str) -> object:
    return [_verdict(case) for case in json.loads(Path(name).read_text())]


def _verdict(case: Mapping[str, Any]) -> object:
    from dcap_qvl import QuoteCollateralV3, QuotePolicy, QuoteVerifier

    raw, at = Path(case["path"]).read_bytes(), case["at"]
    verifier = QuoteVerifier(bytes.fromhex(case["root"])) if case["root"] else QuoteVerifier()
    try:
        collateral = QuoteCollateralV3.from_json(Path(case["collateral"]).read_text())
        said = json.loads(verifier.verify_with_policy(raw, collateral, at, QuotePolicy.claims_only(at)).to_json())
    except ValueError as error:
        return {"error": " ".join(str(error).split())}
    tcb, platform = said["tcb"], said["platform"]
    current = platform.get("current_tcb_level")
    return {
        "status": tcb["status"],
        "advisories": tcb["advisory_ids"],
        "qe": said["qe"]["tcb_level"]["tcbStatus"],
        "launch": platform["tcb_level"]["tcbStatus"],
        "current": None if current is None else current["tcbStatus"],
        "evaluation": tcb["eval_data_number"],
    }


def time_verdict(name: str, runs: str) -> object:
    from dcap_qvl import QuoteCollateralV3, verify, verify_with_root_ca

    case = json.loads(Path(name).read_text())[0]
    raw, text, at = Path(case["path"]).read_bytes(), Path(case["collateral"]).read_text(), case["at"]
    root = bytes.fromhex(case["root"])
    seconds = []
    for _ in range(int(runs)):
        started = time.perf_counter()
        collateral = QuoteCollateralV3.from_json(text)
        verify_with_root_ca(raw, collateral, root, at) if root else verify(raw, collateral, at)
        seconds.append(time.perf_counter() - started)
    return seconds


def _events(data: bytes) -> Any:
    from cctrusted_base.eventlog import EventLogs, TcgEventLog

    logs = EventLogs(data, None, TcgEventLog.TCG_FORMAT_PCCLIENT)
    logs.select(None, None)
    return logs.event_logs


COMMANDS: Mapping[str, Callable[..., object]] = {
    "sections": sections,
    "authenticode": authenticode,
    "variables": variables,
    "boot-option": boot_option,
    "log": log,
    "quote": quote,
    "time-log": time_log,
    "verdicts": verdicts,
    "time-verdict": time_verdict,
}

if __name__ == "__main__":
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
