"""Templates to pages: every value is escaped and spelled, an unknown name is an error. Reads its own templates alone.

A page may show what an attacker wrote, so its own policy forbids scripts, frames, forms and every address (W3C CSP
Level 3); its style is named there by hash.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Final

import jinja2
from markupsafe import Markup

from pluto_measure.page_kit import STYLE, policy

NOTHING: Final = "–"
_LONGEST: Final = 4096
_SPACES: Final = " \n"  # shown as they are; what else cannot be printed is spelled


def page(template: str, *, styles: tuple[str, ...] = (), **values: object) -> str:
    """A page of a template that extends base.html. `styles`: style sheets laid behind the style of all pages."""
    style = STYLE + "".join(_text(name) for name in ("style.css", *styles))
    # The style is this package's own text, and escaping would change what the hash is of.
    own = {"style": Markup(style), "policy": policy(style)}  # noqa: S704
    return _environment().get_template(template).render(**own, **values)


def spelled(value: object) -> object:
    """A value as text of the page: long text is cut, and nothing hides or turns text around. Markup stays."""
    if isinstance(value, (Markup, jinja2.Undefined)):
        return value
    if value is None or value == "":
        return NOTHING
    shown = str(value)
    left = len(shown) - _LONGEST
    text = shown[:_LONGEST]
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c in _SPACES else f"\\u{{{ord(c):x}}}" for c in text)
    return text + (f" … ({left} more characters)" if left > 0 else "")


def size(value: int | None) -> str:
    """Bytes for people, in decimal units: 1.2 MB."""
    if value is None:
        return NOTHING
    for limit, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value} B"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pluto_image.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=spelled,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["size"] = size
    return environment


def _text(name: str) -> str:
    return resources.files("pluto_image.pages").joinpath("templates", name).read_text("utf-8")
