"""The tables: every state and every message is in them or an error; failed stays failed; no evidence, no word."""

from __future__ import annotations

import pytest

from pluto_notary.protocol import states
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.frames import TYPES, encode
from pluto_notary.protocol.messages import ERROR, EVIDENCE, FETCH, PROOF, Error, Evidence, Message, Progress, Proof
from pluto_notary.protocol.states import Machine, Moves, State
from simulators.notary.channel import CHANNEL_PUBLIC, SESSION_ID, channel_envelope
from simulators.notary.prover import FETCH as ASK
from simulators.notary.prover import HELLO

SAMPLES: tuple[Message, ...] = (
    HELLO,
    Evidence(SESSION_ID, 7, CHANNEL_PUBLIC, channel_envelope(), bytes(64)),
    ASK,
    Progress("resolving"),
    Proof(b"{}"),
    Error("busy", "later"),
)
SIDES = {
    "notary": (states.NOTARY_RECEIVES, states.NOTARY_SENDS),
    "client": (states.CLIENT_RECEIVES, states.CLIENT_SENDS),
}


def machine(side: str, state: State) -> Machine:
    receives, sends = SIDES[side]
    made = Machine(state, receives=receives, sends=sends)
    if state is State.FAILED:
        made.fail(ChannelError("order", "before"))
    return made


@pytest.mark.parametrize("side", sorted(SIDES))
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_what_comes_is_in_the_table_or_an_error(side: str, state: State, message: Message) -> None:
    one, wanted = machine(side, state), SIDES[side][0].get(state, {}).get(TYPES[type(message)])
    if wanted is not None:
        one.feed(encode(message))
        assert one.next_message() == message
        assert one.state is wanted
        return
    for _ in range(3):  # failed stays failed, whatever comes
        with pytest.raises(ChannelError, match="order"):
            one.feed(encode(message))
            one.next_message()
    assert one.state is (State.OVER if state is State.OVER else State.FAILED)


@pytest.mark.parametrize("side", sorted(SIDES))
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_what_goes_is_in_the_table_or_our_bug(side: str, state: State, message: Message) -> None:
    one, wanted = machine(side, state), SIDES[side][1].get(state, {}).get(TYPES[type(message)])
    if wanted is None:
        with pytest.raises(RuntimeError, match="cannot be sent"):
            one.send(message)
        assert one.state is state
    else:
        assert one.send(message) == encode(message)
        assert one.state is wanted


def reached_before(moves: tuple[Moves, Moves], start: State, stop: int) -> set[State]:
    """The states that can be reached without the message `stop`."""
    found, left = {start}, [start]
    while left:
        state = left.pop()
        for table in moves:
            for kind, follows in table.get(state, {}).items():
                if kind != stop and follows not in found:
                    found.add(follows)
                    left.append(follows)
    return found


def test_before_evidence_the_notary_says_nothing_but_errors() -> None:
    early = reached_before(SIDES["notary"], State.AWAITS_HELLO, EVIDENCE) | {State.FAILED}
    said = {kind for state in early for kind in states.NOTARY_SENDS.get(state, {})}
    assert said == {EVIDENCE, ERROR}


def test_no_message_leads_the_client_from_evidence_to_asking() -> None:
    early = reached_before(SIDES["client"], State.SILENT, 0)
    assert State.DECIDES in early
    assert State.ACCEPTED not in early  # only the caller's word does
    assert all(FETCH not in states.CLIENT_SENDS.get(state, {}) for state in early)


def test_a_proof_needs_a_fetch_and_is_the_last_word() -> None:
    early = reached_before(SIDES["notary"], State.AWAITS_HELLO, FETCH)
    assert all(PROOF not in states.NOTARY_SENDS.get(state, {}) for state in early)
    assert State.OVER not in states.NOTARY_SENDS
    assert State.OVER not in states.NOTARY_RECEIVES


def test_one_side_speaks_at_a_time_but_for_errors() -> None:
    for receives, sends in SIDES.values():
        for state in State:
            both = bool(receives.get(state)) and bool(set(sends.get(state, {})) - {ERROR})
            assert not both or state in (State.ACCEPTED, State.SILENT)  # where only an error can come


def test_progress_has_an_end() -> None:
    one = machine("client", State.AWAITS_PROOF)
    with pytest.raises(ChannelError, match="progress"):
        for _ in range(states.MOST_PROGRESS + 1):
            one.feed(encode(Progress("fetching")))
            one.next_message()
