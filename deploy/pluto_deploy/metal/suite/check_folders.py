"""Folders and files: root's, as they were copied, and open to nobody who has no business there."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from pluto_deploy.metal import layout
from pluto_deploy.metal.suite.promises import found, lines, only_routed, owned, roots_alone

STATE = [str(path) for path in (layout.TOOLS, layout.IMAGES, layout.DOMAINS, layout.LEASES)]
ALL = [*STATE, str(layout.RUNTIME), str(layout.LOCKS), str(layout.PREPARED.parent)]
MEASURED = [str(layout.TOOLS), str(layout.IMAGES)]


@pytest.mark.parametrize("path", ALL)
def test_folder(host: Host, path: str) -> None:
    """A folder is there, root's, and nobody else's to write."""
    assert host.file(path).is_directory, f"{path} is not there"
    roots_alone(host, path)


def test_locks(host: Host) -> None:
    """The folder of locks is root's alone, so that nobody else holds up a change."""
    mode = owned(host, str(layout.LOCKS))
    assert mode == "0700 root:root", f"{layout.LOCKS} is {mode}"


def test_traffic(host: Host) -> None:
    """The folder of the deployments' rules is there, root's, and nobody else's to write."""
    only_routed(host)
    assert host.file(str(layout.TRAFFIC)).is_directory, f"{layout.TRAFFIC} is not there"
    roots_alone(host, str(layout.TRAFFIC))


def test_nothing_is_open(host: Host) -> None:
    """Nothing below them may be written by everybody."""
    open_to_all = found(host, ALL, "!", "-type", "l", "-perm", "-0002")
    assert open_to_all == [], f"open to everybody: {', '.join(open_to_all[:5])}"


def test_measured_files_are_roots(host: Host) -> None:
    """Tools and images are root's, and nobody else's to write."""
    others = found(host, MEASURED, "(", "!", "-user", "root", "-o", "!", "-type", "l", "-perm", "/0022", ")")
    assert others == [], f"not root's alone: {', '.join(others[:5])}"


def test_tools_are_as_copied(host: Host) -> None:
    """Every file of the tools has the digest that its list says, and the list names every file."""
    trees = found(host, [str(layout.TOOLS)], "-mindepth", "1", "-maxdepth", "1", "-not", "-name", "*.partial")
    if not trees:
        pytest.skip("no tools are on this host yet")
    for tree in trees:
        checked = host.run("cd %s && sha256sum --quiet --strict -c SHA256SUMS", tree)
        assert checked.rc == 0, f"{tree}: {checked.stdout.strip()[:200] or checked.stderr.strip()[:200]}"
        listed = len(lines(host, "cat", f"{tree}/SHA256SUMS"))
        there = len(found(host, [tree], "-type", "f", "-not", "-name", "SHA256SUMS"))
        assert listed == there, f"{tree} has {there} files, its list names {listed}"


def test_images_are_as_copied(host: Host) -> None:
    """The statement of every image has the digest that its folder is named after."""
    images = found(host, [str(layout.IMAGES)], "-mindepth", "1", "-maxdepth", "1", "-not", "-name", "*.partial")
    if not images:
        pytest.skip("no image is on this host yet")
    for image in images:
        digest = lines(host, "sha256sum", "--", f"{image}/release.json")[0].split()[0]
        assert image.endswith(f"/{digest}"), f"{image} holds another release"


def test_prepared(host: Host) -> None:
    """What was prepared is written down, by root."""
    roots_alone(host, str(layout.PREPARED))
