"""TDX quotes against configfs-tsm as the kernel has it: other writers, dropped writes, busy hosts, foreign bytes."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_notary.errors import EvidenceError
from pluto_notary.evidence import prepare
from pluto_notary.evidence.helper import Helper, TdxSources
from pluto_notary.evidence.messages import (
    ChannelRequest,
    EvidenceRequest,
    KeyRequest,
    NodeRequest,
    SessionRequest,
    TdxParts,
    parse_parts,
)
from pluto_notary.evidence.tsm import ENTRY, LARGEST_QUOTE, OsFiles, Tsm
from pluto_notary.limits import TokenBucket
from simulators.notary.configfs_tsm import ConfigFs, quote_of
from simulators.notary.evidence import CHANNEL_KEY, EKM, NONCE, STATEMENT_KEY

DATA, OTHER = bytes(range(64)), b"\xee" * 64
HELPER = 991


def kernel(**changes: object) -> ConfigFs:
    """A kernel in which the helper's entry was made by root."""
    found = ConfigFs(**changes)  # type: ignore[arg-type]
    prepare.make_entry(found, HELPER, HELPER)
    found.user = HELPER
    return found


def tsm(files: ConfigFs, waits: list[float] | None = None) -> Tsm:
    return Tsm(files, sleep=(waits if waits is not None else []).append)


def code(call: Callable[[], object]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("version", [4, 5])
def test_a_quote_carries_what_was_written(version: int) -> None:
    files = kernel(make=lambda data: quote_of(data, version))
    assert tsm(files).quote(DATA) == quote_of(DATA, version)
    assert files.seen == [
        "read provider",
        "read generation",
        "write inblob",
        "read generation",
        "read outblob",
        "read generation",
    ]


def test_one_quote_after_the_other_in_one_entry() -> None:
    files = kernel()
    machine = tsm(files)
    for number in range(300):
        data = number.to_bytes(64, "big")
        assert machine.quote(data) == quote_of(data)
    assert files.made == 300


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("reads", [False, True])
def test_another_writer_at_any_step_is_seen_and_the_quote_is_asked_for_again(at: int, reads: bool) -> None:
    """`at`: after which operation the other process writes, and reads, the same entry."""
    files = kernel()
    steps, inside = 0, False

    def others(*_: str) -> None:
        nonlocal steps, inside
        if inside:
            return
        steps += 1
        if steps == at:
            inside = True
            files.write(f"{ENTRY}/inblob", OTHER)
            if reads:
                files.read(f"{ENTRY}/outblob", LARGEST_QUOTE)
            inside = False

    files.after = others
    assert tsm(files).quote(DATA) == quote_of(DATA)


def test_a_writer_that_never_rests_is_given_up() -> None:
    files, waits = kernel(), list[float]()
    inside = False

    def others(operation: str, _: str) -> None:
        nonlocal inside
        if operation == "write" and not inside:
            inside = True
            files.write(f"{ENTRY}/inblob", OTHER)
            inside = False

    files.after = others
    assert code(lambda: tsm(files, waits).quote(DATA)) == "device"
    assert waits == sorted(waits)
    assert sum(waits) < 5
    assert files.made == 0, "a quote for somebody else's data was not even asked for"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["", "write", "read", "both"]), max_size=40))
def test_whatever_others_do_a_quote_that_comes_is_ours(actions: list[str]) -> None:
    files = kernel()
    left, inside = iter(actions), False

    def others(*_: str) -> None:
        nonlocal inside
        if inside:
            return
        inside = True
        action = next(left, "")
        if action in ("write", "both"):
            files.write(f"{ENTRY}/inblob", OTHER)
        if action in ("read", "both"):
            files.read(f"{ENTRY}/outblob", LARGEST_QUOTE)
        inside = False

    files.after = others
    files.items["pluto"].inblob = OTHER  # somebody was here before
    with contextlib.suppress(EvidenceError):
        assert tsm(files).quote(DATA) == quote_of(DATA)


def test_a_write_that_the_kernel_dropped_is_seen_by_its_generation() -> None:
    """The counter has gone round but for one: the kernel refuses writes, and nobody is told (EBUSY on closing)."""
    files = kernel()
    item = files.items["pluto"]
    item.inblob, item.outblob = OTHER, quote_of(OTHER)
    item.read_generation, item.write_generation = 5, 4
    assert code(lambda: tsm(files).quote(DATA)) == "device"
    files.read(f"{ENTRY}/outblob", LARGEST_QUOTE)  # reading sets it free
    assert tsm(files).quote(DATA) == quote_of(DATA)


def test_the_counter_may_go_round() -> None:
    files = kernel()
    item = files.items["pluto"]
    item.read_generation = item.write_generation = 2**64 - 1
    assert tsm(files).quote(DATA) == quote_of(DATA)
    assert item.write_generation == 0


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EINTR, errno.EAGAIN])
def test_a_host_that_is_busy_is_asked_again_with_growing_waits(number: int) -> None:
    files, waits = kernel(failures=[number] * 3), list[float]()
    assert tsm(files, waits).quote(DATA) == quote_of(DATA)
    assert waits == [0.05, 0.1, 0.2]


def test_an_interrupted_quote_stays_in_flight_for_a_while() -> None:
    files = kernel(failures=[errno.EINTR], in_flight=0)
    files.after = lambda operation, _: None
    machine = tsm(files)
    files.failures = [errno.EINTR]
    files.in_flight = 2
    assert machine.quote(DATA) == quote_of(DATA)


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EIO, errno.ETIMEDOUT, errno.ENXIO, errno.EFBIG, errno.EINVAL])
def test_a_host_that_never_answers_is_an_error(number: int) -> None:
    files, waits = kernel(failures=[number] * 100), list[float]()
    with pytest.raises(OSError) as caught:
        tsm(files, waits).quote(DATA)
    assert caught.value.errno == number
    assert len(waits) == (6 if number == errno.EBUSY else 0)


@pytest.mark.parametrize("provider", ["sev_guest", "arm_cca_guest", "tdx_guest2", "", "x" * 5000])
def test_reports_of_another_provider_are_no_quotes(provider: str) -> None:
    files = kernel(provider=provider)
    with pytest.raises((EvidenceError, OSError)):
        tsm(files).quote(DATA)
    assert "write inblob" not in files.seen


HOSTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "less than a quote": lambda data: quote_of(data)[:1019],
    "zeros": lambda data: bytes(5000),
    "version 3": lambda data: b"\3\0" + quote_of(data)[2:],
    "another quote": lambda data: quote_of(OTHER),
    "an older quote": lambda data: quote_of(bytes(64)),
    "one bit": lambda data: quote_of(data[:-1] + bytes([data[-1] ^ 1])),
    "version 5 with the data of 4": lambda data: b"\5\0" + quote_of(data)[2:],
}


@pytest.mark.parametrize("host", HOSTS)
def test_whatever_the_host_puts_into_the_buffer_is_looked_at(host: str) -> None:
    assert code(lambda: tsm(kernel(make=HOSTS[host])).quote(DATA)) == "device"


def test_a_quote_without_end_is_not_read_to_its_end() -> None:
    files = kernel(make=lambda data: quote_of(data, size=LARGEST_QUOTE + 1))
    with pytest.raises(OSError, match="large"):
        tsm(files).quote(DATA)
    assert len(tsm(kernel(make=lambda data: quote_of(data, size=LARGEST_QUOTE))).quote(DATA)) == LARGEST_QUOTE


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_of_another_size_is_our_bug(size: int) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        tsm(kernel()).quote(bytes(size))


def test_without_an_entry_there_is_no_quote() -> None:
    with pytest.raises(FileNotFoundError):
        tsm(ConfigFs()).quote(DATA)


@pytest.mark.parametrize("text", [b"", b"-1\n", b"1 2\n", b"9" * 21, b"\xff\n"])
def test_a_generation_that_is_no_number_is_an_error(text: bytes) -> None:
    class Odd(ConfigFs):
        def read(self, path: str, limit: int, /) -> bytes:
            return text if path.endswith("generation") else super().read(path, limit)

    files = Odd()
    prepare.make_entry(files, 0, 0)
    assert code(lambda: tsm(files).quote(DATA)) == "device"


def test_only_root_makes_the_entry_and_only_the_helper_writes_it() -> None:
    files = ConfigFs(user=HELPER)
    with pytest.raises(PermissionError):
        prepare.make_entry(files, HELPER, HELPER)
    files.user = 0
    prepare.make_entry(files, HELPER, HELPER)
    prepare.make_entry(files, HELPER, HELPER)  # started again
    files.user = 990
    with pytest.raises(PermissionError):
        tsm(files).quote(DATA)
    with pytest.raises(OSError, match="No such device"):
        prepare.make_entry(ConfigFs(provider=None), HELPER, HELPER)


def test_the_account_is_found_in_passwd() -> None:
    assert prepare.account("root:x:0:0:::\npluto-evidence:x:991:992:::\n", "pluto-evidence") == (991, 992)
    with pytest.raises(KeyError):
        prepare.account("root:x:0:0:::\n", "pluto-evidence")


@pytest.mark.parametrize(
    ("text", "found"),
    [("flags\t\t: fpu tdx_guest nx\n", True), ("flags\t: fpu\nbugs\t: tdx_guest\n", False), ("", False)],
)
def test_a_trust_domain_is_told_by_the_processors_flags(text: str, found: bool) -> None:
    assert prepare.is_trust_domain(text) is found


def test_elsewhere_there_is_nothing_to_prepare() -> None:
    assert prepare.main() == 0


def test_the_driver_is_waited_for_and_not_for_ever() -> None:
    files, now = ConfigFs(provider=None), [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 3:
            files.provider = "tdx_guest"

    prepare.wait_and_make(lambda: prepare.make_entry(files, HELPER, HELPER), clock=lambda: now[0], sleep=sleep)
    assert files.items["pluto"].owner == (HELPER, HELPER)
    never, foreign = ConfigFs(provider=None), ConfigFs(user=1)
    with pytest.raises(OSError, match="No such device"):
        prepare.wait_and_make(lambda: prepare.make_entry(never, 1, 1), clock=lambda: now[0], sleep=sleep)
    assert 20 < now[0] < 30
    before = now[0]
    with pytest.raises(PermissionError):
        prepare.wait_and_make(lambda: prepare.make_entry(foreign, 1, 1), clock=lambda: now[0], sleep=sleep)
    assert now[0] == before


def test_the_operating_systems_files_are_read_whole_and_never_without_end(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    files = OsFiles()
    with pytest.raises(FileNotFoundError):
        files.write(path, b"x")  # an attribute is never made by writing it
    (tmp_path / "file").write_bytes(b"")
    files.write(path, b"x" * 100_000)
    assert files.read(path, 100_000) == b"x" * 100_000
    with pytest.raises(OSError, match="large"):
        files.read(path, 99_999)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        files.read(path, 100_000)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


REQUESTS: list[EvidenceRequest] = [
    NodeRequest(NONCE, b"\5" * 32),
    ChannelRequest(CHANNEL_KEY, 7, b"\5" * 32),
    SessionRequest(EKM, NONCE, CHANNEL_KEY),
    KeyRequest(STATEMENT_KEY),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.purpose)
def test_the_helper_quotes_the_binding_over_the_claims_of_each_purpose(request_: EvidenceRequest) -> None:
    sources = TdxSources(tsm(kernel()).quote, lambda: b"log", lambda: b"\7" * 32)
    helper = Helper(sources, bucket=TokenBucket(rate=1, burst=9, now=0.0), clock=lambda: 0.0)
    parts = parse_parts(helper.answer(request_.to_body()))
    bound = request_.claims(b"\7" * 32, bytes(32)).binding()
    assert parts == TdxParts(quote_of(bound), b"log", b"\7" * 32)
