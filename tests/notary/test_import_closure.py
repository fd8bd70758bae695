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


def room(package: str, names: str) -> set[str]:
    """A package with some of its modules."""
    return {package, *(f"{package}.{name}" for name in names.split())}


COMMON = room("pluto_measure", "errors formats formats.reader record") | room(
    "pluto_notary", "errors events limits places serial"
)
EVIDENCE = room("pluto_measure", "binding claims digests formats.strict_json") | room(
    "pluto_notary.evidence", "messages parts requests"
)
HELPER = {"pluto_notary.evidence.helper", "pluto_notary.evidence.serving", "pluto_notary.evidence.tsm"}
ROOMS = (
    room("pluto_notary.evidence", "client epochs provider")
    | room(
        "pluto_notary.fetch",
        "decode egress errors frames head http1 http2 limits outgoing redirect resolve run target validity",
    )
    | room(
        "pluto_notary.manifest",
        "canonical document ecmascript enforce extract_json manifest members model patterns predicates request"
        " response template version1 violation worker workers",
    )
    | room(
        "pluto_notary.observe",
        "asked direction12 direction13 errors exchanges hellos12 hellos13 keys12 keys13 limits messages opened"
        " recording records roots schemes seen tls12 tls13",
    )
    | room("pluto_notary.protocol", "body errors frames inner legacy messages observe session states stream upgrade")
    | room(
        "pluto_notary.server",
        "answers channel edge faults line notary observing openapi outer prover routes run seeing session world",
    )
    | room(
        "pluto_notary.statement",
        "checks curve curve_openssl eip712 keccak keys legacy model proof service values",
    )
    | room(
        "pluto_notary.trusted_time",
        "agree certificates clock errors key_exchange nts operators packet run siv sockets source tls",
    )
    | {"pluto_measure.evidence", "pluto_notary.certificate", "pluto_notary.systemd", "pluto_notary.web"}
)
CLOSURES = {
    "pluto_notary.fetch_config": COMMON | {"pluto_notary.config", "pluto_notary.fetch_config"},
    # What machines of Google and Azure load of it, beside a parser of HTTP.
    "pluto_notary.fetch_metadata": room("pluto_measure", "errors formats formats.reader record")
    | room("pluto_notary", "config errors evidence evidence.plain_http fetch_metadata"),
    "pluto_notary.evidence.__main__": COMMON
    | EVIDENCE
    | HELPER
    | {
        "pluto_measure.formats.tpm_quote",
        "pluto_notary.evidence.__main__",
        "pluto_notary.evidence.tpm_commands",
        "pluto_notary.evidence.tpm_device",
        "pluto_notary.systemd",
    },
    "pluto_notary.evidence.prepare": {
        "pluto_measure",
        "pluto_measure.errors",
        "pluto_notary",
        "pluto_notary.errors",
        "pluto_notary.evidence",
        "pluto_notary.evidence.prepare",
        "pluto_notary.evidence.tsm",
    },
    "pluto_notary.server.__main__": COMMON | EVIDENCE | ROOMS | {"pluto_notary.config", "pluto_notary.server.__main__"},
    # Of the process that stays root. The notary's then imports what the other server does.
    "pluto_notary.server.container": (
        COMMON
        | EVIDENCE
        | HELPER
        | room("pluto_notary.evidence", "confidential_space plain_http prepare space")
        | room("pluto_notary.server", "container")
        | {"pluto_notary.systemd"}
    )
    - {"pluto_measure.formats.reader", "pluto_notary.events", "pluto_notary.places"}
    | {"pluto_notary.events"},
    # What judges answers, in a process that can be killed; it loads the rest where a page is HTML.
    "pluto_notary.manifest.worker": room("pluto_measure", "errors record")
    | room(
        "pluto_notary.manifest",
        "canonical document ecmascript enforce extract_json manifest members model patterns predicates request"
        " response template version1 violation worker",
    )
    | {
        "pluto_notary",
        "pluto_notary.statement",
        "pluto_notary.statement.keccak",
        "pluto_notary.web",
    },
}
# In the image, and loaded by none of them at its start.
LATE = {"pluto_notary.evidence.azure", "pluto_notary.manifest.extract_html", "pluto_notary.server.certified"} | room(
    "pluto_notary.acme", "answers chain challenge client_hello errors jose keeper order"
)
# Packages beyond the standard library, and how many of their modules may come along. The image has neither bcrypt nor
# cffi's own compiler (cffi, pycparser), which come along where they are installed.
_SERVER = {
    "Cryptodome": 7,
    "OpenSSL": 5,
    "_cffi_backend": 1,
    "bcrypt": 2,
    "brotli": 1,
    "cffi": 8,
    "coincurve": 9,
    "cryptography": 60,
    "h11": 12,
    "h2": 12,
    "hpack": 8,
    "hyperframe": 4,
    "pycparser": 5,
    "typing_extensions": 1,
    "wsproto": 8,
}
FOREIGN: dict[str, dict[str, int]] = {
    "pluto_notary.fetch_config": {},
    "pluto_notary.fetch_metadata": {"h11": 12},
    "pluto_notary.evidence.__main__": {},
    "pluto_notary.evidence.prepare": {},
    "pluto_notary.server.__main__": _SERVER,
    "pluto_notary.server.container": {"h11": 12},
    "pluto_notary.manifest.worker": {"Cryptodome": 7, "_cffi_backend": 1, "cffi": 8, "pycparser": 5},
}
# What would cost a small program much of its start, and it does without (docs/decisions/0003-byte-code.md).
SLOW: dict[str, set[str]] = {
    "pluto_notary.fetch_config": {"dataclasses", "enum", "json", "pathlib", "re", "socket", "typing"},
    "pluto_notary.fetch_metadata": {"asyncio", "datetime", "json", "pathlib", "ssl"},
    "pluto_notary.evidence.__main__": {"asyncio", "dataclasses", "datetime", "pathlib", "typing"},
    "pluto_notary.evidence.prepare": {"asyncio", "dataclasses", "datetime", "socket", "typing"},
    "pluto_notary.server.__main__": set(),
    "pluto_notary.server.container": {"asyncio", "cryptography", "ssl"},
    "pluto_notary.manifest.worker": {"asyncio", "ssl"},
}
UNWANTED = {"argparse", "tempfile", "shutil", "urllib.request", "sqlite3", "multiprocessing"}


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


@pytest.mark.parametrize(("flavour", "more"), [("release", set()), ("debug", {"pluto_notary.debug_world"})])
def test_the_image_carries_these_modules_of_ours_and_no_others(flavour: str, more: set[str]) -> None:
    folder = ROOT / "image/notary"
    recipe = tables.parse(definition.load(folder).recipe)
    entries = root.source_entries(recipe.files, source_tree.read(folder).files, "image/notary/rootfs", flavour)
    place = "usr/lib/python3/dist-packages/"
    paths = {entry.path.removeprefix(place) for entry in entries if entry.path.startswith(place)}
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in paths}
    assert modules == set().union(*CLOSURES.values()) | LATE | more
