"""docs/protocol.md says what the code does: its examples are computed, its tables compared.

PLUTO_WRITE_VECTORS=1 writes the examples and the vector anew. What the document says of the exporter is compared with
the secrets of a real handshake.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.binding import LEGACY_SPACE_AUDIENCE
from pluto_measure.formats.strict_json import canonical
from pluto_notary.limits import Limits
from pluto_notary.manifest import Manifest
from pluto_notary.manifest.model import LARGEST_BODY
from pluto_notary.observe.limits import ObserveLimits
from pluto_notary.protocol import legacy, stream
from pluto_notary.protocol.errors import CODES, ChannelError
from pluto_notary.protocol.frames import TYPES, FrameReader
from pluto_notary.protocol.inner import ALPN, EXPORTER_CONTEXT, EXPORTER_LABEL
from pluto_notary.protocol.messages import LIMITS, STEPS, Evidence, Hello, Observe, Proof
from pluto_notary.protocol.observe import CLOSE, DATA, OBSERVE, REVEAL, Reveal
from pluto_notary.protocol.peer import ClosedSession, ObservedSession, Offer, ProverSession, check_evidence
from pluto_notary.protocol.states import CLIENT_RECEIVES, CLIENT_SENDS, NOTARY_RECEIVES, NOTARY_SENDS, Moves
from pluto_notary.server import routes
from pluto_notary.server.seeing import bounds
from simulators.notary import channel_examples, raw_tls
from simulators.notary.channel import notary_context

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs/protocol.md"
VECTORS = ROOT / "tests/vectors/notary/protocol"
VECTOR = VECTORS / "session.json"
MADE = {"session.json": channel_examples.session_vector, "observed.json": channel_examples.observed_vector}
WRITE = os.environ.get("PLUTO_WRITE_VECTORS") == "1"
BLOCK = re.compile(r"```text example=(\w+)\n(.*?)\n?```", re.DOTALL)


def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def test_the_examples_are_those_of_the_code() -> None:
    computed = channel_examples.examples()
    if WRITE:
        DOCUMENT.write_text(BLOCK.sub(lambda match: f"```text example={match[1]}\n{computed[match[1]]}\n```", text()))
    assert dict(BLOCK.findall(text())) == computed


def test_the_example_is_a_manifest_with_this_digest() -> None:
    manifest = Manifest.parse(canonical(channel_examples.MANIFEST))
    assert manifest.digest() == channel_examples.hello().manifest_digest


@pytest.mark.parametrize("name", MADE)
def test_the_vector_is_that_of_the_code(name: str) -> None:
    computed = json.dumps(MADE[name](), indent=2) + "\n"
    if WRITE:
        (VECTORS / name).write_text(computed)
    assert (VECTORS / name).read_text() == computed


def test_the_observed_session_is_one_for_a_client() -> None:
    case = json.loads((VECTORS / "observed.json").read_text())
    session = ProverSession(ekm=bytes.fromhex(case["ekm"]), hello=channel_examples.hello())
    assert session.start().hex() == case["frames"][0]["frame"]
    session.feed(bytes.fromhex(case["frames"][1]["frame"]))
    offer = session.next_message()
    assert isinstance(offer, Offer)
    step: Any = offer.accept()
    for frame in case["frames"][2:]:
        data = bytes.fromhex(frame["frame"])
        if frame["from"] == "notary":
            step.feed(data)
            heard = step.next_message()
            step = heard if isinstance(heard, ObservedSession | ClosedSession) else step
        else:
            assert said_by(step, frame) == data
    assert heard == Proof(b'{"version":2}')


def said_by(step: Any, frame: dict[str, Any]) -> bytes:
    """What a client says for a frame of the vector."""
    body = frame["body"]
    said: dict[int, Callable[[], bytes]] = {
        OBSERVE: lambda: step.observe(Observe.parse(body.encode())),
        DATA: lambda: step.send(bytes.fromhex(body)),
        CLOSE: lambda: step.close(),
        REVEAL: lambda: step.reveal(Reveal.parse(body.encode())),
    }
    return said[frame["type"]]()


def test_the_vector_holds_for_a_client() -> None:
    case = json.loads(VECTOR.read_text())
    reader, found = FrameReader(), []
    for frame in case["frames"]:
        reader.feed(bytes.fromhex(frame["frame"]), LIMITS)
        message = reader.next_message(LIMITS)
        assert message is not None
        assert message.to_body().decode() == frame["body"]
        found.append(message)
    hello, evidence = found[:2]
    assert isinstance(hello, Hello)
    assert isinstance(evidence, Evidence)
    check_evidence(evidence, ekm=bytes.fromhex(case["ekm"]), hello=hello)


def test_a_real_handshake_exports_what_the_formula_says() -> None:
    client, notary, secrets = raw_tls.logged(notary_context())
    secret = secrets["EXPORTER_SECRET"]
    computed = raw_tls.exporter(secret, EXPORTER_LABEL, EXPORTER_CONTEXT, {32: "sha256", 48: "sha384"}[len(secret)])
    assert client.ekm == notary.ekm == computed
    assert ALPN.decode() in text()


def rows(title: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    part = text().split(f"\n{title}\n", 1)[1]
    lines = re.findall(r"^\|(.+)\|$", part.split("\n## ", 1)[0], re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


def test_every_code_has_its_line() -> None:
    assert [row[0].strip("`") for row in rows("## 8. Errors")] == list(CODES)


def test_every_type_has_its_line_and_its_limit() -> None:
    table = {int(row[0]): int(row[3].replace(",", "")) for row in rows("## 4. Frames") if row[0].isdigit()}
    assert table == LIMITS


def test_the_deadlines_are_the_notarys() -> None:
    part = text().split("\n## 6. Order\n", 1)[1].split("\n### The notary\n", 1)[0]
    told = [
        int(number) * (60 if unit == "minutes" else 1)
        for number, unit in re.findall(r"(\d+)(?: (seconds|minutes))", part)
    ]
    limits = Limits()
    assert told == [
        limits.handshake_seconds, limits.idle_seconds, limits.message_seconds, limits.channel_seconds,
    ]  # fmt: skip
    assert limits.request_seconds == limits.handshake_seconds, "said in one line"


def test_every_call_has_its_line() -> None:
    calls = [row[0].strip("`").split(" ") for row in rows("## 12. Calls without a channel") if row[0][0] == "`"]
    assert {path: method for method, path in calls} == routes.METHODS


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_its_status(code: str) -> None:
    part = text().split("\n## 12. Calls without a channel\n", 1)[1].split("| status | codes |", 1)[1]
    lines = re.findall(r"^\| ([0-9, ]+) \| (.+) \|$", part, re.MULTILINE)
    named = {one: status for status, codes in lines if status in ("422", "429", "500", "502", "503", "504")
             for one in re.findall(r"`([a-z-]+)`", codes)}  # fmt: skip
    status = routes.no_proof(ChannelError(code, "x")).status
    assert named.get(code, "400") == str(status)


def test_every_step_is_named() -> None:
    for step in STEPS:
        assert f"`{step}`" in text()


@pytest.mark.parametrize(
    ("title", "receives", "sends"),
    [
        ("### The notary", NOTARY_RECEIVES, NOTARY_SENDS),
        ("### The client", CLIENT_RECEIVES, CLIENT_SENDS),
    ],
)
def test_the_tables_of_states_are_those_of_the_code(title: str, receives: Moves, sends: Moves) -> None:
    names = {kind: message.__name__.lower() for message, kind in TYPES.items()}
    part = text().split(f"\n{title}\n", 1)[1].split("\n##", 1)[0]
    told = set()
    for line in re.findall(r"^\|(.+)\|$", part, re.MULTILINE)[2:]:
        state, way, message, follows = (cell.strip(" `") for cell in line.split("|"))
        told |= {(state, way, one.strip(" `"), follows) for one in message.split(",")}
    coded = {
        (state.name, way, names[kind], follows.name)
        for way, moves in (("receives", receives), ("sends", sends))
        for state, table in moves.items()
        for kind, follows in table.items()
    }
    assert told - {("DECIDES", "accepts", "", "ACCEPTED")} == coded


def test_what_observing_may_take_is_the_notarys() -> None:
    part = text().split("\n### What it may take\n", 1)[1].split("\n#", 1)[0]
    told = [int(number.replace(",", "")) for number in re.findall(r"(?<![\w.])[\d,]*\d(?![\w.])", part)]
    limits = Limits()
    assert told == [
        limits.observed_seconds, limits.observed_idle_seconds, limits.reveal_seconds, ObserveLimits().client_bytes,
        *sorted(bounds(most).site_bytes for most in LARGEST_BODY.values()), limits.observed, limits.sites_of_one,
        limits.response_seconds,
    ]  # fmt: skip


def test_numbers_of_the_text() -> None:
    for number in (stream.NOTARY_TAKES, legacy.LARGEST_TOKEN):
        assert f"{number:,}" in text()
    assert f"audience `{LEGACY_SPACE_AUDIENCE}`" in text()
