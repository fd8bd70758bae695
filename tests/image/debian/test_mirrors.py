"""Mirrors come from options or from apt's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluto_image.debian.mirrors import from_apt, from_options
from pluto_measure.errors import UsageError

MAIN, SECURITY = "http://mirror.example/debian", "http://mirror.example/debian-security"


def apt(folder: Path, **files: str) -> dict[str, tuple[str, ...]]:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        path = "sources.list" if name == "plain" else f"sources.list.d/{name.replace('_', '.')}"
        (folder / path).write_text(text)
    return from_apt(folder)


@pytest.mark.parametrize("url", ["http://mirror.example", "http://mirror.example/", f"{MAIN}/", SECURITY])
def test_an_option_names_the_folder_or_either_archive_in_it(url: str) -> None:
    assert from_options([url]) == {"debian": (MAIN,), "debian-security": (SECURITY,)}


@pytest.mark.parametrize("url", ["", "mirror.example", "file:///debian", "http:///x"])
def test_an_option_that_is_no_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        from_options([url])


def test_one_line_entries_are_read(tmp_path: Path) -> None:
    text = f"""
# deb http://commented.example/debian trixie main
deb [arch=amd64 signed-by=/k] {MAIN}/ bookworm main contrib # note
deb-src http://sources.example/debian bookworm main
deb {SECURITY} bookworm-security main
deb {MAIN} bookworm main
"""
    assert apt(tmp_path, plain=text) == {"debian": (MAIN,), "debian-security": (SECURITY,)}


def test_deb822_entries_are_read(tmp_path: Path) -> None:
    text = f"""Types: deb deb-src
URIs: {MAIN}
Suites: trixie trixie-updates
Components: main

Types: deb
URIs: {SECURITY}
Suites: trixie-security
Components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: trixie
Components: main
"""
    assert apt(tmp_path, debian_sources=text) == {"debian": (MAIN,), "debian-security": (SECURITY,)}


def test_other_peoples_repositories_are_not_taken_for_debian(tmp_path: Path) -> None:
    found = apt(
        tmp_path,
        cloud_list="deb https://packages.example/apt cloud-sdk-bookworm main\n",
        docker_list="deb https://download.example/linux/debian bookworm stable\n",
        node_sources="Types: deb\nURIs: https://deb.example/node\nSuites: nodistro\nComponents: main\n",
        ubuntu_list="deb http://archive.example/ubuntu noble main\n",
        cdrom_list="deb cdrom:[Debian]/ trixie main\n",
        broken_sources="no field here\n",
    )
    assert found == {}


def test_an_archive_that_apt_does_not_name_is_looked_for_beside_the_other(tmp_path: Path) -> None:
    assert apt(tmp_path, plain=f"deb {MAIN} trixie main\n") == {"debian": (MAIN,), "debian-security": (SECURITY,)}


def test_a_machine_without_apt_has_no_mirror(tmp_path: Path) -> None:
    assert from_apt(tmp_path / "none") == {}
