"""The tables: every state and every message is in them or an error; failed stays failed; no evidence, no word."""

from __future__ import annotations

import pytest

from pluto_notary.protocol import states
from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.frames import TYPES, encode
from pluto_notary.protocol.messages import (
    ERROR,
    EVIDENCE,
    FETCH,
    PROOF,
    Error,
    Evidence,
    Message,
    Observe,
    Progress,
    Proof,
)
from pluto_notary.protocol.observe import (
    CLOSED,
    DATA,
    ENDED,
    OBSERVE,
    REVEAL,
    Close,
    Closed,
    Connected,
    Data,
    Ended,
    Reveal,
)
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
    Observe(ASK),
    Connected(),
    Data(b"\x16\x03\x01"),
    Ended(),
    Close(),
    Closed(3, 5),
    Reveal(bytes(32), 0),
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


def said(side: str, state: State) -> set[int]:
    """What can come and go in a state."""
    return {kind for moves in SIDES[side] for kind in moves.get(state, {})}


def reached_before(moves: tuple[Moves, Moves], start: State, *stops: int) -> set[State]:
    """The states that can be reached without these messages."""
    found, left = {start}, [start]
    while left:
        state = left.pop()
        for table in moves:
            for kind, follows in table.get(state, {}).items():
                if kind not in stops and follows not in found:
                    found.add(follows)
                    left.append(follows)
    return found


def test_every_state_is_reached_and_every_message_moves_somebody() -> None:
    reached = reached_before(SIDES["notary"], State.AWAITS_HELLO) | reached_before(SIDES["client"], State.SILENT)
    reached |= reached_before(SIDES["client"], State.ACCEPTED)
    assert reached | {State.FAILED} == set(State)
    for one, other in (("notary", "client"), ("client", "notary")):
        sent = {kind for table in SIDES[one][1].values() for kind in table}
        assert sent == {kind for table in SIDES[other][0].values() for kind in table}
    assert {type(message) for message in SAMPLES} == set(TYPES)


def test_before_evidence_the_notary_says_nothing_but_errors() -> None:
    early = reached_before(SIDES["notary"], State.AWAITS_HELLO, EVIDENCE) | {State.FAILED}
    assert {kind for state in early for kind in states.NOTARY_SENDS.get(state, {})} == {EVIDENCE, ERROR}


def test_no_message_leads_the_client_from_evidence_to_asking() -> None:
    early = reached_before(SIDES["client"], State.SILENT)
    assert State.DECIDES in early
    assert State.ACCEPTED not in early  # only the caller's word does
    assert all(not {FETCH, OBSERVE} & set(states.CLIENT_SENDS.get(state, {})) for state in early)


def test_a_proof_needs_a_fetch_or_a_secret_and_is_the_last_word() -> None:
    early = reached_before(SIDES["notary"], State.AWAITS_HELLO, FETCH, REVEAL)
    assert State.RELAYS in early
    assert all(PROOF not in states.NOTARY_SENDS.get(state, {}) for state in early)
    assert State.OVER not in states.NOTARY_SENDS
    assert State.OVER not in states.NOTARY_RECEIVES


@pytest.mark.parametrize(("side", "start"), [("notary", State.AWAITS_HELLO), ("client", State.ACCEPTED)])
def test_no_secret_before_the_connection_is_closed_and_nothing_is_relayed_behind_it(side: str, start: State) -> None:
    for state in reached_before(SIDES[side], start, CLOSED):
        assert REVEAL not in said(side, state), state
    behind = {table[CLOSED] for moves in SIDES[side] for table in moves.values() if CLOSED in table}
    assert len(behind) == 1
    for state in reached_before(SIDES[side], behind.pop()):
        assert not {DATA, ENDED} & said(side, state), state


def test_the_web_site_says_nothing_behind_its_end() -> None:
    for receives, sends in SIDES.values():
        for moves in (receives, sends):
            for follows in {table[ENDED] for table in moves.values() if ENDED in table}:
                assert not {DATA, ENDED} & set(moves.get(follows, {}))


def test_one_side_speaks_at_a_time_but_for_errors_and_what_is_relayed() -> None:
    for receives, sends in SIDES.values():
        for state in State:
            both = bool(receives.get(state)) and bool(set(sends.get(state, {})) - {ERROR})
            # Where only an error can come; and where the web site and the client talk.
            assert not both or state in (
                State.ACCEPTED, State.SILENT, State.MAY_REVEAL, State.RELAYS, State.TALKS, State.TALKS_ONE_WAY,
            ), state  # fmt: skip


def test_progress_has_an_end() -> None:
    one = machine("client", State.AWAITS_SITE)
    one.feed(encode(Progress("resolving")) + encode(Connected()))
    assert (one.next_message(), one.next_message()) == (Progress("resolving"), Connected())
    one = machine("client", State.AWAITS_PROOF)
    with pytest.raises(ChannelError, match="progress"):
        for _ in range(states.MOST_PROGRESS + 1):
            one.feed(encode(Progress("fetching")))
            one.next_message()
