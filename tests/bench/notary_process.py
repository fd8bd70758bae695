"""The notary as a process of its own, for its benchmark: the real server, over loopback; its evidence costs no time.

    notary_process.py FILE        FILE: {"roots":PEM, "host":NAME, "port":n, "envelope":{...}, "buildId":HEX},
                                  and for more sites "hosts":[NAME…], "ports":[n…]

Only what a benchmark must change is changed: rates and shares of one client, as all come from one address here; names
are answered at once, in a thread as always; evidence is the envelope of FILE with the claims that were asked for. Tells
its port on standard output and serves until SIGTERM.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

from pluto_measure.evidence import ChannelClaims, format_time
from pluto_notary.debug_world import InsecureWallClock
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import EvidenceRequest, NodeRequest
from pluto_notary.fetch.egress import EgressRules
from pluto_notary.fetch.resolve import Resolver
from pluto_notary.limits import Limits
from pluto_notary.serial import EventWriter
from pluto_notary.server.run import Settings, run
from pluto_notary.server.world import World, world

LIMITS = Limits(connections_of_one=2560, sites_of_one=2560, fetch_rate=1e9, fetch_burst=10**9, idle_seconds=900.0)


class ConstantProvider:
    """Evidence without a device: the same bytes each time, beside the claims."""

    def __init__(self, envelope: dict[str, Any]) -> None:
        self._envelope = envelope

    async def node(self, request: NodeRequest, issue: Issue) -> dict[str, object]:
        return await self.evidence(request, issue)

    async def evidence(self, request: EvidenceRequest, issue: Issue) -> dict[str, object]:
        claims = request.claims(bytes(32), issue.build_id)
        epoch = claims.epoch if isinstance(claims, ChannelClaims) else issue.epoch
        freshness = {"epoch": epoch, "issuedAt": format_time(issue.issued_at)}
        return {**self._envelope, "freshness": freshness, "claims": claims.to_json()}


def main(file: Path) -> None:
    wanted = json.loads(file.read_bytes())
    place = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", wanted["port"]))
    hosts, ports = wanted.get("hosts", [wanted["host"]]), wanted.get("ports", [wanted["port"]])
    events = EventWriter(sys.stderr.buffer.write, clock=time.monotonic)

    def lookup(name: str, _port: int, **_: object) -> list[Any]:
        if name.rstrip(".") not in hosts:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [place]

    def made() -> World:
        rules = EgressRules(ports=frozenset({443, *ports}), insecure_allow_private=True)
        return world(wanted["roots"].encode(), rules, InsecureWallClock(), resolve=Resolver(lookup=lookup))

    def ready(port: int, _: bytes) -> None:
        sys.stdout.write(json.dumps({"port": port}) + "\n")
        sys.stdout.flush()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        build_id = bytes.fromhex(wanted["buildId"])
        run(Settings((listener,), build_id, ConstantProvider(wanted["envelope"]), made, events, LIMITS, ready))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
