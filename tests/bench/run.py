"""Run the benchmarks and print medians beside peers': run.py [NAME ...]. Targets are printed, never asserted.

Each `bench_NAME.py` has `rows(work: Path) -> Iterator[Row]`; `work` is an empty folder of its own.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from figures import Row, table  # noqa: E402 - beside this file


def load(path: Path) -> Callable[[Path], Iterator[Row]]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[Path], Iterator[Row]] = module.rows
    return found


def main(names: list[str]) -> int:
    benches = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    if unknown := set(names) - set(benches):
        print(f"no benchmark is called {sorted(unknown)[0]!r}; there are {', '.join(benches)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or benches:
        with tempfile.TemporaryDirectory(prefix="pluto-bench-") as work:
            for row in load(benches[name])(Path(work)):
                print(f"bench: {row.line()}", file=sys.stderr, flush=True)
                rows.append(row)
    print(table(rows))
    (HERE.parents[1] / "build").mkdir(exist_ok=True)
    (HERE.parents[1] / "build/bench.json").write_text(json.dumps([row.to_json() for row in rows], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
