"""The page of a build: the treemap is true, the facts are there, and no text of the build gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from pluto_image.contents import facts, recipe
from pluto_image.contents import files as listing
from pluto_image.contents.boot import chain
from pluto_image.contents.facts import Contents, gather
from pluto_image.contents.opened import open_uki
from pluto_image.contents.packages import Part
from pluto_image.lock.lockfile import Lock, LockedArchive, Package
from pluto_image.pages import render
from pluto_image.pages.inspect import SECTIONS, page, treemap
from pluto_image.pages.treemap import Box, squarify
from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, profile_for
from pluto_measure.predict import predict
from simulators import small_dist
from simulators.launches import LAUNCH
from simulators.machines import bare_metal, bare_metal_disk, laptop
from simulators.pages import MARKUP, WIDTHS, Parsed, drawn
from simulators.pages import check as check_page

COMMAND = "pluto-image inspect build/dist --html page.html"


def contents(made: dict[str, bytes]) -> Contents:
    launch = Launch.parse(made["launch.json"])
    return gather(
        facts.Inputs(
            launch=launch,
            uki=open_uki(made["pluto.efi"]),
            lock=Lock.parse(made["lock.json"]),
            measurements=Measurements.parse(made["measurements.json"]),
            files=listing.parse(made["files.json"]),
            source_tar=made["source.tar"],
            firmware_size=len(made["firmware.fd"]),
            digest="0" * 64,
            config=small_dist.CONFIG if launch.container else None,
        )
    )


@pytest.fixture(scope="module")
def built() -> Contents:
    return contents(small_dist.files(container=True))


sizes = st.lists(st.integers(1, 10**9), min_size=1, max_size=60).map(lambda found: sorted(found, reverse=True))
boxes = st.builds(Box, st.just(0.0), st.just(0.0), st.floats(10, 2000), st.floats(10, 2000))


@settings(max_examples=300, deadline=None)
@given(sizes, boxes)
def test_areas_are_in_proportion_and_fill_the_box(given_sizes: list[int], box: Box) -> None:
    found = squarify(given_sizes, box)
    assert len(found) == len(given_sizes)
    for size, one in zip(given_sizes, found, strict=True):
        assert one.area == pytest.approx(box.area * size / sum(given_sizes), rel=1e-6, abs=box.area * 1e-9)
        assert one.x >= -1e-6
        assert one.y >= -1e-6
        assert one.x + one.width <= box.width * (1 + 1e-9) + 1e-6
        assert one.y + one.height <= box.height * (1 + 1e-9) + 1e-6
    assert sum(one.area for one in found) == pytest.approx(box.area)


@settings(max_examples=100, deadline=None)
@given(sizes, boxes)
def test_no_two_boxes_overlap(given_sizes: list[int], box: Box) -> None:
    found = squarify(given_sizes, box)
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert min(wide, high) <= 1e-6 * (box.width + box.height)


def test_the_example_of_the_paper_comes_out_as_in_the_paper() -> None:
    """Bruls et al., figure 4: sizes 6 6 4 3 2 2 1 in a box of 6 by 4."""
    found = squarify([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))
    shown = [tuple(round(value, 2) for value in (one.x, one.y, one.width, one.height)) for one in found]
    assert shown[:4] == [(0, 0, 3, 2), (0, 2, 3, 2), (3, 0, 1.71, 2.33), (4.71, 0, 1.29, 2.33)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=12), boxes)
def test_sizes_of_zero_and_any_order_do_no_harm(given_sizes: list[int], box: Box) -> None:
    found = squarify(given_sizes, box)
    assert len(found) == len(given_sizes)
    assert sum(one.area for one in found) == pytest.approx(box.area if sum(given_sizes) else 0.0)


@pytest.mark.parametrize(("given_sizes", "box"), [([-1], Box(0, 0, 1, 1)), ([1], Box(0, 0, 0, 1))])
def test_what_has_no_area_is_refused(given_sizes: list[float], box: Box) -> None:
    with pytest.raises(ValueError, match="negative"):
        squarify(given_sizes, box)


def test_a_label_stands_only_where_it_fits() -> None:
    parts = [Part("a-long-name-of-a-package", "package", 10**6, 0, 1), Part("b", "source", 1, 0, 1)]
    large, small = treemap(parts, "wide", 700, 500).tiles
    assert (large.label, large.detail) == ("a-long-name-of-a-package", "1.0 MB")
    assert (small.label, small.detail) == ("", "")
    assert "source: b: 1 B" in small.title


def test_the_page_says_what_is_in_the_build(built: Contents) -> None:
    words = Parsed(page(built, command=COMMAND)).words
    for expected in (
        "Inside small", "ab" * 32, "PCR 11", "RTMR[2]", "the network card", "no shell", "8443/tcp", "/run/tool",
        "1:1-1", "1 (postinst)", "Enabled: the workload", "nobody changes the running kernel", "tool, extra", COMMAND,
        built.chain[3].digests.sha384.hex() if built.chain[3].digests else "",
    ):  # fmt: skip
        assert expected in words, expected


def test_a_page_is_well_formed_and_can_be_used_without_eyes(built: Contents) -> None:
    check_page(page(built, command=COMMAND), command=COMMAND)
    parsed = Parsed(page(built, command=COMMAND))
    tags = Counter(tag for tag, _ in parsed.tags)
    named = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert dict(parsed.tags)["html"] == {"lang": "en"}
    assert tags["h1"] == tags["main"] == tags["title"] - len(re.findall("<rect", page(built, command=""))) == 1
    assert len(named) == len(set(named))
    assert {name for name, _ in SECTIONS} <= set(named)
    links = [attributes["href"] for tag, attributes in parsed.tags if tag == "a"]
    assert {str(href).removeprefix("#") for href in links} <= set(named)
    assert tags["caption"] == tags["table"]
    assert all(attributes.get("scope") for tag, attributes in parsed.tags if tag == "th")
    assert all(attributes.get("aria-label") for tag, attributes in parsed.tags if tag in ("svg", "meter", "nav"))
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_nothing_is_loaded_and_nothing_runs(built: Contents) -> None:
    html = page(built, command=COMMAND)
    parsed = Parsed(html)
    tags = dict(reversed(parsed.tags))
    assert not set(tags) & {"script", "link", "img", "iframe", "form", "object", "base", "a-x"}
    used = {name for _, attributes in parsed.tags for name in attributes}
    assert not used & {"style", "src", "srcset", "action", "xlink:href"}
    assert not any(name.startswith("on") for name in used)
    assert "url(" not in html
    assert "@import" not in html
    policy = next(a["content"] for t, a in parsed.tags if t == "meta" and "http-equiv" in a)
    style = html.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def hostile_lock() -> Lock:
    archive = LockedArchive("main", MARKUP, "debian", "2025-01-01T00:00:00Z", 0, "0" * 64, (), ())
    package = Package(MARKUP, "1", "amd64", 1, "0" * 64, "0" * 40, "pool/x", "main", MARKUP, "1", {})
    return Lock(1, "0" * 64, (archive,), (package,), (), (), ())


def test_hostile_text_stays_text() -> None:
    name, line = MARKUP.replace("/", ""), MARKUP.replace(":", "")
    unit = f"[Unit]\nDescription={line}\n[Service]\nExecStart={line}\nUser={line}\n[Socket]\nListenStream={line}\n"
    entries = (
        small_dist.file(f"usr/lib/systemd/system/{name}.service", unit),
        small_dist.file(f"usr/lib/systemd/system/{name}.socket", unit),
        small_dist.file("etc/passwd", f"{line}:x:0:0:{line}:/:{line}\n", f"source:{MARKUP}"),
        small_dist.file("etc/group", f"{line}:x:0:{line}\n", f"package:{MARKUP}"),
    )
    quoted = '"' + MARKUP.replace('"', "").replace("\u202e", "\\u202e") + '"'
    reasons = f"name = {quoted}\n[[prune.keep]]\npackages = [{quoted}]\nreason = {quoted}\n"
    made = small_dist.files(entries, recipe=reasons, command_line=f"x</style><script>{'y' * 9}", lock=hostile_lock())
    html = page(contents(made), command=MARKUP + "\ud800\0")
    words = Parsed(html).words
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("</style>") == html.count("</head>") == 1
    assert not set("\u202e\ud800\0") & set(html)
    assert words.count("<script>alert(1)</script>\\u{202e}'") >= 12, "every place shows it, spelled"
    assert "{{ 7*7 }}{% x %}" in words
    assert "\\u{d800}" in words
    html.encode()


def test_a_name_that_a_template_does_not_get_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="command"):
        render.page("base.html")
    assert COMMAND in render.page("base.html", command=COMMAND)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        ("", "–"),
        (0, "0"),
        ("a\nb", "a\nb"),
        ("a\u202eb\tc", "a\\u{202e}b\\u{9}c"),
        ("x" * 5000, "x" * 4096 + " … (904 more characters)"),
        (Markup("<b>"), "<b>"),
    ],
)
def test_values_are_spelled(value: object, shown: str) -> None:
    assert str(render.spelled(value)) == shown


def test_sizes_are_for_people() -> None:
    assert [render.size(n) for n in (None, 0, 999, 1000, 1_250_000, 3_000_000_000)] == [
        "–", "0 B", "999 B", "1.0 kB", "1.2 MB", "3.0 GB",
    ]  # fmt: skip


def test_the_same_build_gives_the_same_page(built: Contents) -> None:
    again = contents(small_dist.files(container=True))
    assert page(again, command=COMMAND) == page(built, command=COMMAND)


@pytest.mark.parametrize(("machine", "names"), [(bare_metal(), "td"), (bare_metal_disk(), "td"), (laptop(), "tpm")])
def test_the_boot_chain_names_the_registers_that_are_predicted(machine: Platform, names: str) -> None:
    """Every event of a prediction that the chain shows goes where the chain says, with the digests that it shows."""
    steps = {step.role: step for step in chain(LAUNCH, 1) if step.role}
    seen = set()
    for event in predict(LAUNCH, machine):
        if (step := steps.get(event.role)) is None:
            continue
        seen.add(event.role)
        register = event.register
        shown = f"RTMR[{register[4:]}]" if register.startswith("rtmr") else f"PCR {register[3:]}"
        assert shown in getattr(step, names), event.role
        assert step.digests is not None
        assert all(step.digests[bank] == value for bank, value in event.digests.items())
    assert seen >= {"image:uki", "image:kernel", "load-options", "initrd", "section:.linux"}


def test_registers_are_shown_by_machine() -> None:
    made = small_dist.files()
    launch = Launch.parse(made["launch.json"])
    profiles = (profile_for(launch, bare_metal(cpus=3), "metal"), profile_for(launch, laptop(), "laptop"))
    values = Measurements(launch.build_id, launch.flavour, profiles)
    words = Parsed(page(contents({**made, "measurements.json": values.to_text().encode()}), command=COMMAND)).words
    assert "3 CPUs, 4096 MiB, the UKI by -kernel" in words
    assert "never extended" in words
    for profile, names in ((profiles[0], ("mrtd", "rtmr0", "rtmr2")), (profiles[1], ("pcr4", "pcr11"))):
        for name in names:
            assert all(f"{bank}:{value.hex()}" in words for bank, value in profile.registers[name].values[0].items())
    assert "PCR 16" not in words, "what nothing extends and nobody looks at is left out"


def test_files_that_contradict_each_other_are_refused() -> None:
    made, other = small_dist.files(), small_dist.files(command_line="quiet")
    for name, match in (("pluto.efi", "does not have the digest of .cmdline"), ("launch.json", ".cmdline")):
        with pytest.raises(VerificationError, match=match):
            contents({**made, name: other[name]})
    fewer = small_dist.files([entry for entry in small_dist.ENTRIES if entry.path != "usr/bin/tool"])
    with pytest.raises(VerificationError, match="usr/bin"):
        contents({**made, "files.json": fewer["files.json"]})
    with pytest.raises(VerificationError, match=r"which the root in pluto\.efi does not hold"):
        contents({**fewer, "files.json": made["files.json"]})
    changed = made["files.json"].replace(b'"size": 4004', b'"size": 4005')
    with pytest.raises(VerificationError, match="usr/bin/tool"):
        contents({**made, "files.json": changed})
    with pytest.raises(VerificationError, match="different builds"):
        contents({**made, "measurements.json": Measurements("cd" * 32, "release", ()).to_text().encode()})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"mode": "0644"', b'"mode": "644"'),
        (b'"kind": "symlink"', b'"kind": "device"'),
        (b'"origin": "package:tool"', b'"origin": "luck"'),
        (b'"origin"', b'"orgin"'),
        (b'"size": 4004', b'"size": -1'),
        (b'"path": "etc/group"', b'"path": "etc/zzz"'),
        (b"[", b"{"),
    ],
)
def test_a_malformed_list_of_files_is_refused(old: bytes, new: bytes) -> None:
    made = small_dist.files()
    changed = made["files.json"].replace(old, new, 1)
    assert changed != made["files.json"]
    with pytest.raises((FormatError, VerificationError)):
        contents({**made, "files.json": changed})


def test_a_recipe_of_another_kind_gives_no_reasons() -> None:
    odd = 'kernel = 1\n[prune]\nkeep = "x"\n[units]\nenable = [1, {units = "a", reason = 2}]\n'
    assert contents(small_dist.files(recipe=odd)).modules[0].why == ""
    assert recipe.of_definition({}) == recipe.Reasons()
    with pytest.raises(FormatError, match="not TOML"):
        contents(small_dist.files(recipe="="))


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("width", WIDTHS)
def test_chromium_draws_the_page(built: Contents, tmp_path: Path, width: int) -> None:
    drawn(page(built, command=COMMAND), tmp_path, width)
