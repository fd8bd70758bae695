"""Whether the hellos of TLS 1.3 fit one another. RFC 8446, sections 4.1.2 to 4.1.4 and 4.2.8. Pure.

KeyShareEntry = group (2), key <1..2^16-1>
key_share     = ClientHello: entries <0..2^16-1>; ServerHello: an entry; HelloRetryRequest: group (2)
"""

from __future__ import annotations

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.keys13 import SUITES
from pluto_notary.observe.messages import (
    COOKIE,
    EARLY_DATA,
    KEY_SHARE,
    PADDING,
    PRE_SHARED_KEY,
    SUPPORTED_VERSIONS,
    vector,
)

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    from pluto_notary.observe.messages import ClientHello, ServerHello

_MAY_CHANGE: Final = {KEY_SHARE, COOKIE, PADDING, PRE_SHARED_KEY, EARLY_DATA}  # in a second ClientHello


def check_answer(hello: ClientHello, answer: ServerHello) -> None:
    """That a ServerHello or HelloRetryRequest chooses of what was offered, and resumes nothing. Raises ObserveError."""
    if answer.suite not in SUITES:
        raise ObserveError("unsupported", "the site chose a suite that is not read here")
    if PRE_SHARED_KEY in answer.extensions:
        raise ObserveError("tls", "the connection resumes an earlier one")
    answer.check(hello)
    if answer.session_id != hello.session_id:
        raise ObserveError("tls", "the site does not give the session_id back")
    given = set(answer.extensions)
    if answer.retry:
        if not given & {KEY_SHARE, COOKIE} or not given <= {SUPPORTED_VERSIONS, KEY_SHARE, COOKIE}:
            raise ObserveError("tls", "the site's retry asks for nothing, or for what may not be asked for")
    elif given != {SUPPORTED_VERSIONS, KEY_SHARE}:
        raise ObserveError("tls", "the site's hello has other extensions than it has to")
    elif _share(answer.extensions[KEY_SHARE]) not in _shares(hello):
        raise ObserveError("tls", "the site chose a group for which the client sent no key")


def check_retry(hello: ClientHello, retry: ServerHello, again: ClientHello) -> None:
    """That the client's second hello is its first with what the site asked for. Raises ObserveError (tls)."""
    if (again.random, again.session_id, again.suites) != (hello.random, hello.session_id, hello.suites):
        raise ObserveError("tls", "the client's second hello is another than its first")
    kept = [[one for one in each.extensions.items() if one[0] not in _MAY_CHANGE] for each in (hello, again)]
    if kept[0] != kept[1] or again.extensions.get(COOKIE) != retry.extensions.get(COOKIE):
        raise ObserveError("tls", "the client's second hello is another than its first")
    asked = retry.extensions.get(KEY_SHARE)
    if asked is None:
        if again.extensions.get(KEY_SHARE) != hello.extensions.get(KEY_SHARE):
            raise ObserveError("tls", "the client's second hello has keys that were not asked for")
        return
    group = int.from_bytes(asked, "big")
    if len(asked) != 2 or group in _shares(hello) or group not in hello.groups() or _shares(again) != (group,):
        raise ObserveError("tls", "the client does not send the one key that the site may ask for")


def check_after_retry(retry: ServerHello, answer: ServerHello) -> None:
    """That the site stays with its retry; its group is the only one that is left. Raises ObserveError (tls)."""
    if answer.retry or answer.suite != retry.suite:
        raise ObserveError("tls", "the site asks twice, or chose another suite after its retry")


def _share(content: bytes) -> int:
    """The group of one entry that is all of `content`."""
    try:
        reader = Reader(content, what="key_share", order="big")
        group = _entry(reader)
        reader.end()
    except FormatError as error:
        raise ObserveError("tls", "the site's key is malformed") from error
    return group


def _shares(hello: ClientHello) -> tuple[int, ...]:
    """The groups for which the client sent a key: each is offered, none twice."""
    try:
        reader = Reader(hello.extensions.get(KEY_SHARE, b""), what="key_share", order="big")
        entries = reader.sub(reader.uint(2, "length"), "entries")
        reader.end()
        groups = []
        while entries.left:
            groups.append(_entry(entries))
    except FormatError as error:
        raise ObserveError("tls", "the client's keys are absent or malformed") from error
    if len(set(groups)) != len(groups) or not set(groups) <= set(hello.groups()):
        raise ObserveError("tls", "the client sent two keys for a group, or one for a group that it does not offer")
    return tuple(groups)


def _entry(reader: Reader) -> int:
    group = reader.uint(2, "group")
    if not vector(reader, 2, "key"):
        raise reader.error("a key is empty")
    return group
