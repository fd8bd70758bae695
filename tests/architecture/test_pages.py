"""One look for all pages: the style's contrast, by the formula of WCAG 2.2, in light and in dark."""

from __future__ import annotations

import re

import pytest

from pluto_measure.page_kit import STYLE

_SCHEMES = {
    name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", part))
    for name, part in zip(("light", "dark"), STYLE.split("@media (prefers-color-scheme: dark)", 1), strict=True)
}
PAIRS = [("ink", "paper"), ("soft", "paper"), ("ink", "box"), ("soft", "box")]
PAIRS += [(kind, ground) for kind in ("good", "bad", "warn") for ground in ("paper", f"{kind}-box")]
PAIRS += [("ink", f"{kind}-box") for kind in ("good", "bad", "warn")]


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", _SCHEMES)
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_what_is_written_can_be_read(scheme: str, ink: str, ground: str) -> None:
    colours = _SCHEMES[scheme]
    light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_black_on_white_is_21_to_1() -> None:
    assert round((luminance("#fff") + 0.05) / (luminance("#000000") + 0.05), 2) == 21.0
