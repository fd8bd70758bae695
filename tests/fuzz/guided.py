"""Coverage-guided fuzzing of one target: python tests/fuzz/guided.py quote [libFuzzer's options]

atheris looks which branches an input takes and changes those that take new ones; what it found stays in build/fuzz.
Not part of the suite: `make fuzz-guided TARGET=quote SECONDS=60`. Where atheris cannot be had, `make fuzz` has the same
targets without guidance.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))


def main(name: str, *options: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["pluto_image", "pluto_measure"]):
        spec = importlib.util.spec_from_file_location(f"fuzz_{name}", HERE / f"fuzz_{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    corpus = HERE.parents[1] / "build/fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(module.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], str(corpus), f"-artifact_prefix={corpus.parent}/{name}-", *options], module.target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
