"""Judging in processes that can be killed: real ones, and programs that misbehave in one way each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.record import replace
from pluto_notary.manifest import Manifest, Value, Violation
from pluto_notary.manifest.worker import Job, parse_reply, serve
from pluto_notary.manifest.workers import BusyError, WorkerLimits, Workers
from pluto_notary.web import Exchange, WebRequest
from simulators.notary.manifests import (
    ACCOUNT_PAGE,
    ACCOUNTS,
    BANK,
    HTML_HEADERS,
    SHOP,
    answered,
    asked,
    asking,
    extractor,
    parsed,
    predicate,
)

NONE = ("/nonexistent/program",)


def run(use: Callable[[Workers], Awaitable[Any]], program: tuple[str, ...] | None = None, **limits: Any) -> Any:
    async def whole() -> Any:
        bounds = WorkerLimits(**{"seconds": 30.0, **limits})
        workers = Workers(bounds) if program is None else Workers(bounds, program)
        try:
            return await use(workers)
        finally:
            await workers.close()

    return asyncio.run(whole())


def python(code: str) -> tuple[str, ...]:
    """A program that misbehaves; its words are limits that it does not keep."""
    return (sys.executable, "-I", "-S", "-c", f"import socket, time, os\nchannel = socket.socket(fileno=0)\n{code}")


def judging(
    document: dict[str, Any], body: bytes, headers: Any = HTML_HEADERS
) -> Callable[[Workers], Awaitable[tuple[Value, ...]]]:
    manifest = parsed(document)
    request = asked(manifest)
    return lambda workers: workers.values(manifest, request, answered(request, body, headers))


async def _values(manifest: Manifest, request: WebRequest, exchange: Exchange, workers: Workers) -> tuple[Value, ...]:
    return await workers.values(manifest, request, exchange)


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def test_small_json_needs_no_process() -> None:
    values = run(judging(BANK, ACCOUNTS, (("content-type", "application/json"),)), NONE)
    assert [value.json for value in values] == [b"1234.5", b'"EUR"']


def test_a_page_is_judged_in_a_process_with_the_same_values() -> None:
    before = children()
    manifest = parsed(SHOP)
    request = asked(manifest)
    assert run(judging(SHOP, ACCOUNT_PAGE)) == manifest.values(request, answered(request, ACCOUNT_PAGE, HTML_HEADERS))
    assert children() == before


def test_a_violation_comes_back_as_it_is() -> None:
    with pytest.raises(Violation) as raised:
        run(judging(SHOP, ACCOUNT_PAGE.replace(b"data-points", b"data-score")))
    assert raised.value.path == "manifest.response.body.extractors[1]"


def test_what_was_sent_is_held_against_what_was_meant_there_too() -> None:
    manifest = parsed(SHOP)
    request = asked(manifest)
    exchange = answered(request, ACCOUNT_PAGE, HTML_HEADERS)
    for changes in ({"body": b"x"}, {"target": "/other"}, {"headers": ()}):
        sent: Any = replace(exchange.request, **changes)
        with pytest.raises(Violation) as raised:
            run(partial(_values, manifest, request, replace(exchange, request=sent)))
        assert raised.value.path.startswith("manifest.request.")


def test_json_that_takes_more_work_than_a_moment_goes_to_a_process() -> None:
    document = asking(extractor("v", type="array", predicates=[predicate("array", "includes", "y")] * 8))
    body = b'{"v":[' + b'"x",' * 9000 + b'"y"]}'
    use = judging(document, body, (("content-type", "application/json"),))
    assert len(run(use)) == 1
    with pytest.raises(BusyError):
        run(use, NONE, at_once_units=10_000)


def test_a_process_does_one_job_after_the_other() -> None:
    async def use(workers: Workers) -> list[set[int]]:
        seen = []
        for _ in range(3):
            await judging(SHOP, ACCOUNT_PAGE)(workers)
            seen.append(children())
        return seen

    before = children()
    first, *others = run(use)
    assert len(first - before) == 1
    assert others == [first, first]


def test_a_process_without_a_job_ends() -> None:
    async def use(workers: Workers) -> set[int]:
        await judging(SHOP, ACCOUNT_PAGE)(workers)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if children() == before:
                break
        return children()

    before = children()
    assert run(use, idle_seconds=0.05) == before


def test_selectors_that_are_none_are_found_before_a_site_is_asked() -> None:
    wrong = parsed(asking(extractor("p"), extractor("p", ":nope", id="y"), document=SHOP))
    with pytest.raises(FormatError) as raised:
        run(lambda workers: workers.check(wrong))
    assert raised.value.what == "manifest.response.body.extractors[1].selector[1]"
    assert run(lambda workers: workers.check(parsed(SHOP))) is None
    assert run(lambda workers: workers.check(parsed(BANK)), NONE) is None


READ = """
left = 0
for _ in range(4):
    length = int.from_bytes(channel.recv(4, socket.MSG_WAITALL), 'big')
    channel.recv(length, socket.MSG_WAITALL) if length else b''
"""


@pytest.mark.parametrize(
    "code",
    [
        "time.sleep(60)",
        "os._exit(1)",
        f"{READ}channel.sendall(b'\\xff\\xff\\xff\\xff')",
        f"{READ}channel.sendall(b'\\0\\0\\0\\x10{{}}')",
        f"{READ}channel.sendall(b'\\0\\0\\0\\x02{{}}')",
        f"{READ}channel.sendall(b'\\0\\0\\0\\x01[')",
        f"{READ}\nwhile True: pass",
    ],
    ids=["sleeps", "ends", "says too much", "says half", "says nothing", "says no JSON", "spins"],
)
def test_a_process_that_misbehaves_is_a_violation_and_is_ended(code: str) -> None:
    before, begun = children(), time.monotonic()
    with pytest.raises(Violation) as raised:
        run(judging(SHOP, ACCOUNT_PAGE), python(code), seconds=1.0)
    assert raised.value.path == "manifest.response.body"
    assert time.monotonic() - begun < 20
    assert children() == before


@pytest.mark.slow
def test_the_next_client_has_a_process_that_works() -> None:
    async def use(workers: Workers) -> tuple[Value, ...]:
        with pytest.raises(Violation):
            await judging(SHOP, b"<div>" * 1000 + b"<p a=b>x</p>" * 95_000)(workers)
        return await judging(SHOP, ACCOUNT_PAGE)(workers)

    assert len(run(use, memory=96 * 1024 * 1024)) == 3


def test_a_process_is_bounded_and_nothing_of_ours_is_handed_to_it(tmp_path: Path) -> None:
    async def use(workers: Workers) -> tuple[list[str], bytes, list[str]]:
        await judging(SHOP, ACCOUNT_PAGE)(workers)
        (pid,) = children() - before
        files = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        return files, Path(f"/proc/{pid}/environ").read_bytes(), limits

    before = children()
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)  # as the socket is that systemd hands over
        files, environment, limits = run(use)
    assert sorted(file.partition(":")[0] for file in files) == ["/dev/null", "/dev/null", "socket"]
    assert b"HOME" not in environment
    assert {limit.split()[3] for limit in limits if limit.startswith(("Max core", "Max file size"))} <= {"0", "size"}
    assert any(limit.startswith("Max address space") and "unlimited" not in limit for limit in limits)
    assert any(limit.startswith("Max cpu time") and limit.split()[3] != "unlimited" for limit in limits)


def test_who_waits_too_long_is_told_that_all_are_busy() -> None:
    async def use(workers: Workers) -> list[Any]:
        jobs = [judging(SHOP, ACCOUNT_PAGE)(workers) for _ in range(3)]
        return await asyncio.gather(*jobs, return_exceptions=True)

    before = children()
    answers = run(use, python("time.sleep(60)"), most=2, seconds=1.5, wait_seconds=0.2)
    assert sorted(type(answer).__name__ for answer in answers) == ["BusyError", "Violation", "Violation"]
    assert children() == before


def test_a_client_that_leaves_takes_its_process_along() -> None:
    async def use(workers: Workers) -> tuple[Value, ...]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await judging(SHOP, ACCOUNT_PAGE)(Workers(workers.limits, python("time.sleep(60)")))
        return await judging(SHOP, ACCOUNT_PAGE)(workers)

    assert run(use, most=1)


def test_the_place_of_a_program_that_cannot_be_started_is_free_again() -> None:
    async def use(workers: Workers) -> None:
        for _ in range(3):
            with pytest.raises(BusyError):
                await judging(SHOP, ACCOUNT_PAGE)(workers)

    run(use, NONE, most=1, wait_seconds=0.2)


def frames(*jobs: Job) -> Callable[[int], bytes | None]:
    data = b"".join(job.to_frames() for job in jobs)

    def receive(size: int) -> bytes | None:
        nonlocal data
        taken, data = data[:size], data[size:]
        return taken if len(taken) == size else None

    return receive


def test_jobs_are_answered_in_order_until_there_are_no_more() -> None:
    manifest = parsed(BANK)
    request = asked(manifest)
    good = Job(manifest.text, request, answered(request, ACCOUNTS), 1_000_000)
    bad = replace(good, exchange=answered(request, b"{"))
    said: list[bytes] = []
    serve(frames(good, bad, Job(b"{}"), Job(manifest.text)), said.append, lambda: None)
    assert len(parse_reply(said[0][4:])) == 2
    with pytest.raises(Violation):
        parse_reply(said[1][4:])
    with pytest.raises(FormatError):
        parse_reply(said[2][4:])
    assert parse_reply(said[3][4:]) == ()


def test_a_job_that_is_cut_or_too_large_ends_the_program() -> None:
    def never(*_: object) -> None:
        pytest.fail("there is no job")

    serve(lambda size: None, never, never)
    serve(lambda size: b"\xff" * size, never, never)


def test_bodies_of_the_request_are_compared_without_being_sent_twice() -> None:
    manifest = Manifest.parse(parsed(BANK).text)
    request = replace(asked(manifest), body=b"x" * 1000)
    exchange = answered(request, ACCOUNTS)
    assert len(Job(manifest.text, request, exchange, 1).to_frames()) < 3000
