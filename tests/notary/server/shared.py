"""What the tests of a whole notary share: an honest site, quick limits, secrets that must not get out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pluto_measure.errors import PlutoError
from pluto_notary.limits import Limits
from pluto_notary.manifest import Manifest
from simulators.notary import whole
from simulators.notary.manifests import PRICE

Start = Callable[..., whole.Running]  # the fixture `start`
HOST: Final = "shop.example"
CANARY: Final = "c4n4ry0f7h3c4g3"
BODY: Final = json.dumps({"price": "12.50", "stock": 7, "owner": CANARY}).encode()
JSON: Final = ("content-type", "application/json")
SECRETS: Final[dict[str, Any]] = {"variables": (("token", CANARY),)}
PROTOCOLS: Final = ("websocket", "tcp")
QUICK: Final = Limits(
    handshake_seconds=1.5,
    request_seconds=1.0,
    answer_seconds=4.0,
    response_seconds=0.7,
    close_seconds=0.5,
    idle_seconds=1.0,
    message_seconds=0.7,
    observed_seconds=3.0,
    observed_idle_seconds=1.2,
    reveal_seconds=0.8,
    stop_seconds=0.2,
    fetch_rate=1000.0,
    sites_of_one=64,
    verify_rate=1000.0,
)


def manifest(**changes: Any) -> Manifest:
    """Asks for the price with a secret token; quotes the canary wherever it can."""
    return Manifest.parse(json.dumps({**document(), **changes}).encode())


def document() -> dict[str, Any]:
    """The same as JSON."""
    return {
        "manifestVersion": "2",
        "id": CANARY,
        "title": CANARY,
        "request": {
            "method": "POST",
            "url": f"https://{HOST}/item/{CANARY}",
            "headers": {"authorization": "Bearer <% token %>", "x-note": CANARY},
            "body": {"note": CANARY},
            "vars": {"token": {"description": CANARY, "pattern": "^[0-9a-z]*$"}},
        },
        "response": PRICE,
    }


@dataclass
class Watched:
    """What happened while a test ran."""

    signatures: int = 0
    errors: list[PlutoError] = field(default_factory=list)


def lives(notary: whole.Running) -> None:
    """A good session works."""
    proof = notary.prove(manifest(), **SECRETS)
    assert [(one.id, one.text) for one in proof.openings] == [("price", '"12.50"')]


def refused(notary: whole.Running, *codes: str) -> None:
    """These were refused, by the events, and nothing else; an event may come later than the client's answer."""
    notary.soon(lambda: len(notary.codes) >= len(codes))
    assert sorted(notary.codes) == sorted(codes)
