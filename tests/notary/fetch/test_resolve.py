"""The resolver: threads that are few, names that are whole, errors with a code."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pluto_notary.fetch.errors import TargetError
from pluto_notary.fetch.resolve import Resolver


@contextmanager
def resolver(**arguments: Any) -> Iterator[Resolver]:
    made = Resolver(**arguments)
    try:
        yield made
    finally:
        made.close()


def found(*addresses: str) -> Any:
    asked: list[str] = []

    def lookup(name: str, port: int, **_: object) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    lookup.asked = asked  # type: ignore[attr-defined]
    return lookup


def test_all_addresses_are_given_once_and_the_name_is_looked_up_as_it_is() -> None:
    lookup = found("1.1.1.1", "2606:4700::1", "1.1.1.1")
    with resolver(lookup=lookup) as resolve:
        assert asyncio.run(resolve("site.example", 443)) == ("1.1.1.1", "2606:4700::1")
        asyncio.run(resolve("1.1.1.1", 443))
    assert lookup.asked == ["site.example.", "1.1.1.1"]


@pytest.mark.parametrize("error", [socket.gaierror(-2, "secret.example"), UnicodeError("secret.example")])
def test_a_failure_has_a_code_and_does_not_quote(error: Exception) -> None:
    def lookup(*_: object, **__: object) -> None:
        raise error

    with resolver(lookup=lookup) as resolve, pytest.raises(TargetError) as caught:
        asyncio.run(resolve("secret.example", 443))
    assert caught.value.code == "resolve"
    assert "secret" not in str(caught.value)


def test_weakness_16_slow_names_hold_few_threads_and_places_and_give_them_back() -> None:
    go = threading.Event()

    def lookup(*_: object, **__: object) -> list[Any]:
        go.wait(10)
        return []

    async def main(resolve: Resolver) -> None:
        waiting = [asyncio.create_task(resolve("slow.example", 443)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert sum(thread.name.startswith("resolve") for thread in threading.enumerate()) <= 2
        with pytest.raises(TargetError, match="too many"):
            await resolve("one.example", 443)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        go.set()
        await asyncio.sleep(0.1)
        assert await resolve("one.example", 443) == ()

    with resolver(threads=2, waiting=3, lookup=lookup) as resolve:
        asyncio.run(main(resolve))


def test_the_systems_resolver_is_asked() -> None:
    with resolver() as resolve:
        assert asyncio.run(resolve("127.0.0.1", 443)) == ("127.0.0.1",)
        assert asyncio.run(resolve("::1", 443)) == ("::1",)
