"""The installer's file for Hetzner's servers, and the networks that their switch does not carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.metal.prepare.options import Network
from pluto_deploy.metal.profiles.hetzner_install import Installation, refuse_network, render
from pluto_measure.errors import RefusedError, UsageError

IMAGE = "Ubuntu-2604-resolute-amd64-base.tar.gz"
DRIVES = ("nvme0n1", "nvme1n1")


def test_the_file_as_installimage_reads_it() -> None:
    assert render(Installation(IMAGE, "metal-1.example", DRIVES)) == (
        "# For installimage -a -c FILE. Written by `pluto-deploy host install-config`.\n"
        "DRIVE1 /dev/nvme0n1\n"
        "DRIVE2 /dev/nvme1n1\n"
        "SWRAID 1\n"
        "SWRAIDLEVEL 1\n"
        "BOOTLOADER grub\n"
        "HOSTNAME metal-1.example\n"
        "PART /boot/efi esp 512M\n"
        "PART /boot ext4 2G\n"
        "PART / ext4 all\n"
        "IMAGE Ubuntu-2604-resolute-amd64-base.tar.gz\n"
    )


def test_one_drive_has_no_raid() -> None:
    text = render(Installation(IMAGE, "metal", ("sda",), None))
    assert "SWRAID 0\n" in text
    assert "SWRAIDLEVEL" not in text


def test_an_image_may_have_a_path() -> None:
    path = "/srv/images/Ubuntu-2604-resolute-amd64-base.tar.zst"
    assert f"IMAGE {path}\n" in render(Installation(path, "metal", DRIVES))


@pytest.mark.parametrize(("level", "drives"), [(0, 2), (1, 2), (5, 3), (6, 4), (10, 4)])
def test_a_raid_level_has_its_fewest_drives(level: int, drives: int) -> None:
    names = tuple(f"nvme{number}n1" for number in range(drives))
    assert f"SWRAIDLEVEL {level}\n" in render(Installation(IMAGE, "metal", names, level))
    with pytest.raises(UsageError, match=f"takes {drives}"):
        Installation(IMAGE, "metal", names[1:], level)


@pytest.mark.parametrize(
    ("image", "hostname", "drives", "raid"),
    [
        ("ubuntu.iso", "metal", DRIVES, 1),
        ("a b.tar.gz", "metal", DRIVES, 1),
        ("x.tar.gz\nPART / ext4 all", "metal", DRIVES, 1),
        ("/a/../x.tar.gz", "metal", DRIVES, 1),
        (IMAGE, "", DRIVES, 1),
        (IMAGE, "Metal", DRIVES, 1),
        (IMAGE, "-metal", DRIVES, 1),
        (IMAGE, "metal\n", DRIVES, 1),
        (IMAGE, "a." * 127, DRIVES, 1),
        (IMAGE, "metal", (), None),
        (IMAGE, "metal", ("sda", "sda"), 1),
        (IMAGE, "metal", ("sda; rm", "sdb"), 1),
        (IMAGE, "metal", ("sda1", "sdb1"), 1),
        (IMAGE, "metal", DRIVES, 7),
    ],
)
def test_what_an_installer_would_trip_over_is_refused(
    image: str, hostname: str, drives: tuple[str, ...], raid: int | None
) -> None:
    with pytest.raises(UsageError):
        Installation(image, hostname, drives, raid)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=10))
def test_no_text_adds_a_line(image: str, hostname: str, drive: str) -> None:
    try:
        text = render(Installation(image, hostname, (drive,), None))
    except UsageError:
        return
    assert len(text.splitlines()) == 9


def test_the_switch_carries_routed_networks_alone() -> None:
    refuse_network(Network())
    for mode in ("bridge:br0", "macvtap:eth0"):
        with pytest.raises(RefusedError, match="drops frames"):
            refuse_network(Network.parse(mode))
