"""What the repository says in public: no machine's paths, no registry's hosts, links that lead somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:work|farm|root)/")
# Spelled in pieces, so that this file passes its own test.
REGISTRY_HOSTS = re.compile(
    "|".join(re.escape(a + "." + b) for a, b in (("pypi", "org"), ("pythonhosted", "org"), ("deb.debian", "org"),
                                                 ("security.debian", "org"), ("ftp.debian", "org"),
                                                 ("registry.npmjs", "org"), ("proxy.golang", "org")))
)  # fmt: skip


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.fail("git lists no files: the public text cannot be checked")
    return [ROOT / line for line in done.stdout.decode().splitlines() if (ROOT / line).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path, path.read_text()))
        except UnicodeDecodeError:
            continue
    return found


def test_no_file_names_a_path_of_a_machine() -> None:
    bad = [str(path.relative_to(ROOT)) for path, text in texts() if MACHINE_PATHS.search(text)]
    assert bad == []


def test_no_file_names_the_host_of_a_registry_or_mirror() -> None:
    bad = [str(path.relative_to(ROOT)) for path, text in texts() if REGISTRY_HOSTS.search(text)]
    assert bad == []


def test_every_relative_link_of_a_document_leads_to_a_file() -> None:
    broken = []
    for path, text in texts():
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_no_work_is_left_open_in_the_code() -> None:
    open_work = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError|except[^:\n]*:\s*pass\b")
    bad = [
        str(path.relative_to(ROOT))
        for path, text in texts()
        if path.suffix == ".py" and path != Path(__file__) and open_work.search(text)
    ]
    assert bad == []


def test_no_source_file_outgrows_its_room() -> None:
    long = {
        str(path.relative_to(ROOT)): len(text.splitlines())
        for path, text in texts()
        if path.suffix == ".py" and "tests" not in path.parts and len(text.splitlines()) > 500
    }
    assert long == {}
