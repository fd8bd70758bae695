"""All that the trust domain's programs import: a module that is not listed here does not get in unseen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pluto_image import definition, source_tree
from pluto_image.recipe import root, tables

ROOT = Path(__file__).resolve().parents[2]
PROBE = """
import sys
sys.path[:0] = {paths!r}
__import__({module!r})
print(*sorted(sys.modules))
"""
COMMON = {
    "pluto_measure",
    "pluto_measure.errors",
    "pluto_measure.formats",
    "pluto_measure.formats.reader",
    "pluto_measure.record",
    "pluto_notary",
    "pluto_notary.errors",
    "pluto_notary.events",
    "pluto_notary.limits",
    "pluto_notary.places",
    "pluto_notary.serial",
}
EVIDENCE = {
    "pluto_measure.binding",
    "pluto_measure.digests",
    "pluto_measure.formats.strict_json",
    "pluto_notary.evidence",
    "pluto_notary.evidence.messages",
    "pluto_notary.systemd",
}
CLOSURES = {
    "pluto_notary.fetch_config": COMMON | {"pluto_notary.config", "pluto_notary.fetch_config"},
    "pluto_notary.evidence.__main__": COMMON
    | EVIDENCE
    | {
        "pluto_measure.formats.tpm_quote",
        "pluto_notary.evidence.__main__",
        "pluto_notary.evidence.helper",
        "pluto_notary.evidence.tpm_commands",
        "pluto_notary.evidence.tpm_device",
    },
    "pluto_notary.server.__main__": COMMON
    | EVIDENCE
    | {
        "pluto_measure.evidence",
        "pluto_notary.certificate",
        "pluto_notary.config",
        "pluto_notary.evidence.client",
        "pluto_notary.evidence.provider",
        "pluto_notary.server",
        "pluto_notary.server.__main__",
        "pluto_notary.server.edge",
        "pluto_notary.server.notary",
        "pluto_notary.server.routes",
        "pluto_notary.server.run",
        "pluto_notary.server.session",
    },
    "pluto_notary.server.container": (
        COMMON
        | EVIDENCE
        | {
            "pluto_measure.evidence",
            "pluto_notary.certificate",
            "pluto_notary.evidence.provider",
            "pluto_notary.server",
            "pluto_notary.server.container",
            "pluto_notary.server.edge",
            "pluto_notary.server.notary",
            "pluto_notary.server.routes",
            "pluto_notary.server.run",
            "pluto_notary.server.session",
        }
    )
    - {"pluto_measure.formats.reader", "pluto_notary.places"},
}
# Packages beyond the standard library, and how many of their modules may come along.
FOREIGN = {
    "pluto_notary.fetch_config": {},
    "pluto_notary.evidence.__main__": {},
    "pluto_notary.server.__main__": {"cryptography": 20, "h11": 12, "_cffi_backend": 1},
    "pluto_notary.server.container": {"cryptography": 20, "h11": 12, "_cffi_backend": 1},
}
# What would cost a small program much of its start, and it does without (docs/decisions/0003-byte-code.md).
SLOW = {
    "pluto_notary.fetch_config": {"dataclasses", "enum", "json", "pathlib", "re", "socket", "typing"},
    "pluto_notary.evidence.__main__": {"asyncio", "dataclasses", "datetime", "pathlib", "typing"},
    "pluto_notary.server.__main__": set(),
    "pluto_notary.server.container": set(),
}
UNWANTED = {"argparse", "tempfile", "shutil", "http", "urllib.request", "email", "sqlite3", "ctypes", "multiprocessing"}


def loaded(module: str) -> set[str]:
    paths = [str(ROOT / "notary"), str(ROOT / "measure")]
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", PROBE.format(paths=paths, module=module)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("program", sorted(CLOSURES))
def test_a_program_imports_exactly_these_modules_of_ours(program: str) -> None:
    ours = {name for name in loaded(program) if name.split(".")[0].startswith("pluto_")}
    assert ours == CLOSURES[program]


@pytest.mark.parametrize("program", sorted(CLOSURES))
def test_a_program_imports_few_modules_of_others(program: str) -> None:
    # Debian's interpreter brings a sitecustomize of its own; the image leaves it out.
    names = loaded(program) - {"sitecustomize", "usercustomize"}
    foreign: dict[str, int] = {}
    for name in names:
        package = name.split(".")[0]
        bare = package not in sys.stdlib_module_names and not package.startswith(("pluto_", "_", "__main__"))
        if bare or package == "_cffi_backend":
            foreign[package] = foreign.get(package, 0) + 1
    allowed = FOREIGN[program]
    assert {name: count for name, count in foreign.items() if count > allowed.get(name, 0)} == {}
    assert names & (UNWANTED | SLOW[program]) == set()
    assert "cryptography.x509" not in names


def test_the_image_carries_these_modules_of_ours_and_no_others() -> None:
    folder = ROOT / "image/notary"
    recipe = tables.parse(definition.load(folder).recipe)
    entries = root.source_entries(recipe.files, source_tree.read(folder).files, "image/notary/rootfs")
    place = "usr/lib/python3/dist-packages/"
    paths = {entry.path.removeprefix(place) for entry in entries if entry.path.startswith(place)}
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in paths}
    assert modules == set().union(*CLOSURES.values())
