"""The state tables of a channel, both sides, and the machine that follows them. Pure.

What is not in a table is refused: from the other side with ChannelError `order`, from our own with RuntimeError. A
failed machine stays failed. While one side owes a message the other side must be silent, so nothing is ever kept for
later and no buffer can grow; while the notary relays, both speak, and what either says is handed on as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.frames import TYPES, FrameReader, encode
from pluto_notary.protocol.messages import ERROR, EVIDENCE, FETCH, HELLO, PROGRESS, PROOF, Message, Progress
from pluto_notary.protocol.observe import CLOSE, CLOSED, CONNECTED, DATA, ENDED, OBSERVE, REVEAL


class State(Enum):
    """Where a session is. Each side uses those that its tables name."""

    SILENT = "nothing was said"
    AWAITS_HELLO = "the client has to commit"
    OWES_EVIDENCE = "the notary has to show evidence"
    AWAITS_EVIDENCE = "the notary has to show evidence, seen from the client"
    DECIDES = "the client appraises"
    ACCEPTED = "the client accepted and may ask"
    AWAITS_FETCH = "the client appraises or asks, seen from the notary"
    OWES_PROOF = "the notary works"
    AWAITS_PROOF = "the notary works, seen from the client"
    CONNECTS = "the notary connects the web site"
    RELAYS = "the notary hands on what both say"
    RELAYS_ONE_WAY = "the notary hands on what the client says, as the web site says no more"
    CLOSES = "the notary closes the connection to the web site"
    AWAITS_REVEAL = "the client has to reveal its secret"
    AWAITS_SITE = "the notary connects the web site, seen from the client"
    TALKS = "the client and the web site talk"
    TALKS_ONE_WAY = "the client talks, and the web site says no more"
    AWAITS_CLOSED = "the client has said its last word to the web site"
    AWAITS_CLOSED_ONE_WAY = "the client has said its last word to the web site, which says no more either"
    MAY_REVEAL = "the connection is closed, and the client may reveal its secret"
    FAILED = "the other side broke the rules"
    OVER = "the last message was said"


Moves = Mapping[State, Mapping[int, State]]

# What each side may receive and send, by state: type -> next state.
NOTARY_RECEIVES: Final[Moves] = {
    State.AWAITS_HELLO: {HELLO: State.OWES_EVIDENCE},
    State.AWAITS_FETCH: {FETCH: State.OWES_PROOF, OBSERVE: State.CONNECTS},
    State.RELAYS: {DATA: State.RELAYS, CLOSE: State.CLOSES},
    State.RELAYS_ONE_WAY: {DATA: State.RELAYS_ONE_WAY, CLOSE: State.CLOSES},
    State.AWAITS_REVEAL: {REVEAL: State.OWES_PROOF},
}
NOTARY_SENDS: Final[Moves] = {
    State.AWAITS_HELLO: {ERROR: State.OVER},
    State.OWES_EVIDENCE: {EVIDENCE: State.AWAITS_FETCH, ERROR: State.OVER},
    State.AWAITS_FETCH: {ERROR: State.OVER},
    State.CONNECTS: {PROGRESS: State.CONNECTS, CONNECTED: State.RELAYS, ERROR: State.OVER},
    State.RELAYS: {DATA: State.RELAYS, ENDED: State.RELAYS_ONE_WAY, ERROR: State.OVER},
    State.RELAYS_ONE_WAY: {ERROR: State.OVER},
    State.CLOSES: {CLOSED: State.AWAITS_REVEAL, ERROR: State.OVER},
    State.AWAITS_REVEAL: {ERROR: State.OVER},
    State.OWES_PROOF: {PROGRESS: State.OWES_PROOF, PROOF: State.OVER, ERROR: State.OVER},
    State.FAILED: {ERROR: State.OVER},
}
CLIENT_RECEIVES: Final[Moves] = {
    State.SILENT: {ERROR: State.OVER},
    State.AWAITS_EVIDENCE: {EVIDENCE: State.DECIDES, ERROR: State.OVER},
    State.DECIDES: {ERROR: State.OVER},
    State.ACCEPTED: {ERROR: State.OVER},
    State.AWAITS_SITE: {PROGRESS: State.AWAITS_SITE, CONNECTED: State.TALKS, ERROR: State.OVER},
    State.TALKS: {DATA: State.TALKS, ENDED: State.TALKS_ONE_WAY, ERROR: State.OVER},
    State.TALKS_ONE_WAY: {ERROR: State.OVER},
    State.AWAITS_CLOSED: {
        DATA: State.AWAITS_CLOSED,
        ENDED: State.AWAITS_CLOSED_ONE_WAY,
        CLOSED: State.MAY_REVEAL,
        ERROR: State.OVER,
    },
    State.AWAITS_CLOSED_ONE_WAY: {CLOSED: State.MAY_REVEAL, ERROR: State.OVER},
    State.MAY_REVEAL: {ERROR: State.OVER},
    State.AWAITS_PROOF: {PROGRESS: State.AWAITS_PROOF, PROOF: State.OVER, ERROR: State.OVER},
}
CLIENT_SENDS: Final[Moves] = {
    State.SILENT: {HELLO: State.AWAITS_EVIDENCE},
    State.ACCEPTED: {FETCH: State.AWAITS_PROOF, OBSERVE: State.AWAITS_SITE},
    State.TALKS: {DATA: State.TALKS, CLOSE: State.AWAITS_CLOSED},
    State.TALKS_ONE_WAY: {DATA: State.TALKS_ONE_WAY, CLOSE: State.AWAITS_CLOSED_ONE_WAY},
    State.MAY_REVEAL: {REVEAL: State.AWAITS_PROOF},
}
MOST_PROGRESS: Final = 64  # messages of type `progress` in one session


class Machine:
    """One side of one session: `feed` and `next_message` for what comes, `send` for what goes."""

    def __init__(self, start: State, *, receives: Moves, sends: Moves) -> None:
        self.state = start
        self._receives, self._sends = receives, sends
        self._reader = FrameReader()
        self._progress = 0
        self._failure: ChannelError | None = None

    @property
    def expected(self) -> Mapping[int, State]:
        """The types of frames that may come now."""
        return self._receives.get(self.state, {})

    def feed(self, data: bytes) -> None:
        """Take bytes of the inner TLS, cut anywhere. ChannelError if none may come now, or too many did."""
        self._check()
        if not data:
            return
        if not self.expected:
            raise self.fail(ChannelError("order", "nothing may be said now"))
        try:
            self._reader.feed(data, self.expected)
        except ChannelError as error:
            self.fail(error)
            raise

    def next_message(self) -> Message | None:
        """The next message; None if more bytes must come, or it is our turn. ChannelError; then the machine failed."""
        self._check()
        try:
            message = self._reader.next_message(self.expected) if self.expected else None
            if message is None:
                return None
            self._move(message)
            if len(self._reader) and not self.expected:
                raise ChannelError("order", "nothing may be said now")
        except ChannelError as error:
            self.fail(error)
            raise
        return message

    def send(self, message: Message) -> bytes:
        """The bytes of a message of ours. RuntimeError if the table does not have it: that is a bug of ours."""
        follows = self._sends.get(self.state, {}).get(TYPES[type(message)])
        if follows is None:
            raise RuntimeError(f"{type(message).__name__} cannot be sent: {self.state.value}")
        data = encode(message)
        self.state = follows
        return data

    def fail(self, error: ChannelError) -> ChannelError:
        """End this side for good, because of an error that is raised from now on. Only an error can be sent then."""
        if self._failure is None:
            self._failure = error
            if self.state is not State.OVER:
                self.state = State.FAILED
        return self._failure

    def _move(self, message: Message) -> None:
        self.state = self.expected[TYPES[type(message)]]
        if isinstance(message, Progress):
            self._progress += 1
            if self._progress > MOST_PROGRESS:
                raise ChannelError("order", f"there are at most {MOST_PROGRESS} messages of progress")

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
