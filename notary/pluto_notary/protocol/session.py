"""The notary's side of a channel's session: a commitment in, evidence out, one order in, a proof or an error out. Pure.

    AWAITS_HELLO --hello--> OWES_EVIDENCE --evidence--> AWAITS_FETCH --fetch--> OWES_PROOF --proof--> OVER
    AWAITS_FETCH --observe--> CONNECTS --connected--> RELAYS, RELAYS_ONE_WAY --close--> CLOSES --closed--> AWAITS_REVEAL
    AWAITS_REVEAL --reveal--> OWES_PROOF
    any of them --error--> OVER          any of them --the client breaks a rule--> FAILED --error--> OVER

The table is in `pluto_notary.protocol.states`. Before evidence nothing but evidence or an error leaves.
"""

from __future__ import annotations

from collections.abc import Callable

from pluto_notary.protocol.errors import ChannelError
from pluto_notary.protocol.messages import Error, Evidence, Fetch, Hello, Observe, Progress, Proof, signed_bytes
from pluto_notary.protocol.observe import Close, Closed, Connected, Data, Ended, Reveal
from pluto_notary.protocol.states import NOTARY_RECEIVES, NOTARY_SENDS, Machine, State

Heard = Hello | Fetch | Observe | Data | Close | Reveal
Said = Evidence | Progress | Proof | Error | Connected | Data | Ended | Closed


class NotarySession:
    """One session over one inner TLS connection; `ekm` is that connection's exported keying material, 32 bytes."""

    def __init__(self, *, ekm: bytes) -> None:
        assert len(ekm) == 32
        self._ekm = ekm
        self._hello: Hello | None = None
        self._machine = Machine(State.AWAITS_HELLO, receives=NOTARY_RECEIVES, sends=NOTARY_SENDS)

    @property
    def state(self) -> State:
        return self._machine.state

    @property
    def paused(self) -> bool:
        """Whether it is our turn. More bytes need not be read now; any that come are an error."""
        return not self._machine.expected

    @property
    def hello(self) -> Hello | None:
        """What the client committed to, once it did."""
        return self._hello

    def feed(self, data: bytes) -> None:
        """Take bytes of the inner TLS. ChannelError; then only one error can be sent."""
        self._machine.feed(data)

    def next_message(self) -> Heard | None:
        """What the client said; None if more bytes must come, or it is our turn. ChannelError as `feed`."""
        message = self._machine.next_message()
        assert message is None or isinstance(message, Heard)
        if isinstance(message, Hello):
            self._hello = message
        return message

    def evidence(
        self, *, session_id: bytes, epoch: int, channel_key: bytes, envelope: bytes, sign: Callable[[bytes], bytes]
    ) -> Evidence:
        """The answer to the client's commitment. `envelope` is canonical JSON, `sign` signs with the channel key."""
        if self._hello is None:
            raise RuntimeError("there is evidence only for a client that committed")
        signed = signed_bytes(
            ekm=self._ekm,
            nonce=self._hello.nonce,
            session_id=session_id,
            manifest_digest=self._hello.manifest_digest,
        )
        return Evidence(session_id, epoch, channel_key, envelope, sign(signed))

    def send(self, message: Said) -> bytes:
        """The bytes for the inner TLS. RuntimeError if it is not its turn, ChannelError `size` if it is too large."""
        return self._machine.send(message)

    def refuse(self, error: ChannelError) -> bytes:
        """The one error frame that ends the session; b"" if its last message was said already."""
        return b"" if self.state is State.OVER else self.send(Error.of(error))

    def fail(self, error: ChannelError) -> None:
        """The client broke a rule outside of the frames (a truncated stream, a deadline)."""
        self._machine.fail(error)
