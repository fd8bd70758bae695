"""Verify quotes: from scratch, again with validated collateral, appraised, and as a process; beside dcap-qvl and Go.

The quotes and their collateral are made here, by the pretend Intel of the tests; both peers are given its root and the
same bytes. Where there is a folder of real data, a recorded quote comes beside them. "From scratch" is from the bytes
of a quote and the text of its collateral to a verdict, with everything forgotten that we remember between quotes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from figures import Row

from interop import peers
from interop.peers import Case
from pluto_measure.appraise import TdxInputs, verify_evidence
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.quote import Quote
from pluto_measure.policy import Policy, strict
from pluto_measure.verify.intel_pki import INTEL_ROOTS, Roots
from pluto_measure.verify.quote import verify_quote
from simulators.intel import World, tcb_info, world

RUNS = 301
PROCESSES = 15
MACHINE_QUOTES = 32
VECTORS = Path(os.environ.get("PLUTO_VECTORS", "none"))
RECORDED = ("quotes/dcap-qvl/tdx_quote", "quotes/derived/collateral/b0c06f000000-e19-20260629.json", 1783992141)


class Input(NamedTuple):
    """A quote and its collateral in files, and in memory."""

    case: Case
    quote: bytes
    collateral: bytes
    roots: Roots


def rows(work: Path) -> Iterator[Row]:
    made = simulated(work)
    yield from from_scratch("verify a quote from scratch", made, work)
    if all((VECTORS / name).is_file() for name in RECORDED[:2]):
        yield from from_scratch("verify a recorded quote from scratch", recorded(), work)
    yield from again(made)
    yield from processes(work, made)


def machine() -> World:
    # go-tdx-guest compares FMSPC as text, so this one has no letters.
    fmspc = bytes.fromhex("305060000000")
    return world(machine={"fmspc": fmspc}, collateral={"info": tcb_info(fmspc=fmspc)})


def simulated(work: Path) -> Input:
    intel = machine()
    (work / "quote").write_bytes(intel.quote)
    (work / "collateral.json").write_text(json.dumps(intel.collateral))
    root = intel.authority.root_der
    return loaded(Case(work / "quote", work / "collateral.json", int(intel.now.timestamp()), root))


def recorded() -> Input:
    quote, collateral, at = RECORDED
    return loaded(Case(VECTORS / quote, VECTORS / collateral, at))


def loaded(case: Case) -> Input:
    roots = frozenset({hashlib.sha256(case.root).digest()}) if case.root else INTEL_ROOTS
    return Input(case, case.quote.read_bytes(), case.collateral.read_bytes(), roots)


def from_scratch(name: str, given: Input, work: Path) -> Iterator[Row]:
    def verified() -> object:
        return verify_quote(Quote.parse(given.quote), Collateral.parse(given.collateral), given.roots)

    own = times(verified, before=forget)
    yield from beside(name, own, "dcap-qvl (Rust)", partial(by_dcap_qvl, given.case, work), 2.0)
    yield from beside(name, own, "go-tdx-guest", partial(by_go, given.case))


def again(given: Input) -> Iterator[Row]:
    """Quotes of one machine, all different, with collateral that was validated before."""
    collateral, at = Collateral.parse(given.collateral), datetime.fromtimestamp(given.case.at, UTC)
    quotes = of_one_machine()
    policy = policy_for(given)

    def verified() -> None:
        for quote in quotes:
            verify_quote(Quote.parse(quote), collateral, given.roots)

    def appraised() -> None:
        for quote in quotes:
            verify_evidence(quote, [], policy, at, None, None, TdxInputs(collateral=collateral))

    own = tuple(value / len(quotes) for value in times(verified, runs=RUNS // 10))
    yield Row("verify one more quote of a machine", "ms", own, 0.25)
    own = tuple(value / len(quotes) for value in times(appraised, runs=RUNS // 10))
    yield Row("verify and appraise one more", "ms", own)


def of_one_machine() -> list[bytes]:
    intel = machine()
    return [intel.with_report(reportdata=bytes([number]) * 64).quote for number in range(MACHINE_QUOTES)]


def policy_for(given: Input) -> Policy:
    return Policy.parse(policy_text(given))


def policy_text(given: Input) -> str:
    roots = ", ".join(f'"{root.hex()}"' for root in given.roots)
    return strict.text().replace("insecure_roots = []", f"insecure_roots = [{roots}]")


def processes(work: Path, given: Input) -> Iterator[Row]:
    """`pluto-measure verify` as a whole: refused for want of reference values, after every check."""
    (work / "policy.toml").write_text(policy_text(given))
    at = f"{datetime.fromtimestamp(given.case.at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    program = Path(sys.executable).parent / "pluto-measure"
    argv: list[str | Path] = [program, "verify", given.case.quote, "--collateral", given.case.collateral, "--at", at]
    # As installed: with byte code, which the first run writes and which is not counted.
    environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(work / "byte-code")}
    own = process([*argv, "--policy", work / "policy.toml", "--json"], environment, 5)
    for name, code in (
        ("python -c pass", "pass"),
        ("python -c 'import cryptography.x509'", "import cryptography.x509"),
    ):
        yield Row(
            "verify a quote, the process", "ms", own, 250, name, process([sys.executable, "-c", code], environment)
        )


def process(argv: Sequence[str | Path], environment: Mapping[str, str], exit_code: int = 0) -> tuple[float, ...]:
    def once() -> None:
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, env={**os.environ, **environment}, check=False)
        assert done.returncode == exit_code, done.returncode

    once()
    return times(once, runs=PROCESSES)


def beside(
    name: str, own: tuple[float, ...], peer: str, measure: Callable[[], Iterable[float]], most: float | None = None
) -> Iterator[Row]:
    """`most`: how many times as long as the peer it may take."""
    try:
        theirs = tuple(1000 * value for value in measure())
    except peers.AbsentError as why:
        print(f"bench: {peer} left out: {why}", file=sys.stderr)
        yield Row(name, "ms", own)
    else:
        yield Row(name, "ms", own, None if most is None else round(most * median(theirs), 2), peer, theirs)


def by_dcap_qvl(case: Case, work: Path) -> list[float]:
    request = work / "case.json"
    request.write_text(json.dumps([case.to_json()]))
    found: list[float] = peers.python("time-verdict", request, RUNS)
    return found


def by_go(case: Case) -> list[float]:
    (answer,) = peers.go("time-verdict", [case], RUNS)
    return [float(value) for value in answer["seconds"]]


def forget() -> None:
    """All that the project remembers by the bytes it was given."""
    for name, module in list(sys.modules.items()):
        if name.startswith("pluto_measure."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def times(action: Callable[[], object], *, runs: int = RUNS, before: Callable[[], object] = int) -> tuple[float, ...]:
    """Milliseconds of each run; `before` is not counted."""

    def once() -> float:
        before()
        start = time.perf_counter()
        action()
        return 1000 * (time.perf_counter() - start)

    return tuple(once() for _ in range(runs))
