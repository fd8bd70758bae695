"""A notary that is watched: what it signs, what its errors say, what it writes; and clients that observe through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from notary.server.observed import Observe, observing
from notary.server.shared import BODY, CANARY, HOST, JSON, QUICK, Watched
from pluto_measure.errors import FormatError, PlutoError
from pluto_notary.statement.keys import SigningKey
from simulators.notary import whole
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site, page


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Counts signatures and keeps errors."""
    found = Watched()
    sign, raised = SigningKey.sign, PlutoError.__init__

    def counted(key: SigningKey, digest: bytes) -> Any:
        found.signatures += 1
        return sign(key, digest)

    def kept(error: PlutoError, *words: Any, **more: Any) -> None:
        raised(error, *words, **more)
        found.errors.append(error)

    monkeypatch.setattr(SigningKey, "sign", counted)
    monkeypatch.setattr(PlutoError, "__init__", kept)
    return found


@pytest.fixture
def start(
    authority: Authority, watched: Watched, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., whole.Running]]:
    """Start a notary before a site that is honest, or does `act`. At its end nothing secret was said anywhere."""
    running: list[whole.Running] = []
    with ExitStack() as stack:

        def started(act: Any = None, **how: Any) -> whole.Running:
            site = stack.enter_context(Site(authority.issue(HOST), act or page(BODY, JSON)))
            running.append(stack.enter_context(whole.running(authority, {HOST: site}, **{"limits": QUICK, **how})))
            return running[-1]

        yield started
    out, err = capfd.readouterr()
    said = [out, err, *(line for one in running for line in one.lines)]
    assert [text for text in said if CANARY in text or HOST in text] == []
    # A parser's error may name a member of the client's. It goes to that client, and nowhere else.
    kept = [error for error in watched.errors if type(error) is not FormatError]
    assert [error for error in kept if CANARY in f"{error}{error!r}{error.fields()}"] == []
    assert "Traceback" not in err, err


@pytest.fixture
def observer(authority: Authority) -> Observe:
    """A client that observes; arguments as of `observing`."""
    return lambda notary, *protocol, **how: observing(notary, authority, *protocol, **how)
