"""Layouts of TDVF images for property tests: any sections that a VMM would load, in any order."""

from __future__ import annotations

from hypothesis import strategies as st

from simulators.tdvf_images import BFV, CFV, PAYLOAD, PAYLOAD_PARAM, PERM_MEM, TD_HOB, TD_INFO, TEMP_MEM, Entry

PAGE = 4096
TINY = 64 * 1024  # bytes of the smallest image
LOW = 8 << 20  # where sections without content begin, as in OVMF
TOP = (4 << 30) - (8 << 20)  # where sections with content begin


@st.composite
def layouts(draw: st.DrawFn, others: int = 5) -> list[Entry]:
    """One TD_HOB, one BFV and up to `others` more sections, for an image of TINY bytes; none overlaps another."""
    kinds = [TD_HOB, BFV, *draw(st.lists(st.sampled_from([BFV, CFV, *range(TEMP_MEM, TD_INFO + 1)]), max_size=others))]
    low, top, entries = LOW, TOP, []
    for kind in kinds:
        gap, pages = PAGE * draw(st.integers(0, 3)), draw(st.integers(1, 3))
        if kind in (TD_HOB, TEMP_MEM):
            entries.append(Entry(0, 0, low + gap, PAGE * pages, kind, 0))
            low += gap + PAGE * pages
        elif kind == TD_INFO:
            entries.append(Entry(*draw(content(1, TINY)), 0, 0, kind, 0))
        else:
            least = 1 if kind in (BFV, CFV) else 0
            offset, raw = draw(content(least, PAGE * pages))
            attributes = draw(st.sampled_from({PERM_MEM: [2], PAYLOAD_PARAM: [0], PAYLOAD: [0, 1]}.get(kind, range(4))))
            entries.append(Entry(offset, raw, top + gap, PAGE * pages, kind, attributes))
            top += gap + PAGE * pages
    return draw(st.permutations(entries))


@st.composite
def content(draw: st.DrawFn, least: int, most: int) -> tuple[int, int]:
    """Offset and size of a part of the file, `least` to `most` bytes."""
    size = draw(st.integers(least, min(most, TINY)))
    return draw(st.integers(0, TINY - size)), size
