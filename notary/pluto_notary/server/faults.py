"""Bugs of ours: where they are goes to the journal; what they say does not, since it may quote a client.

The journal stays inside of a trust domain. Outside of it all hears `refused code=internal`, and no more.
"""

from __future__ import annotations

import sys
from typing import Final

_MOST_PLACES: Final = 12


def tell(error: BaseException) -> None:
    """One line on standard error: the kind of error and the way to it, innermost place first."""
    try:
        sys.stderr.write(f"pluto-notary: internal error: {described(error)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody listens
        return


def described(error: BaseException) -> str:
    """The error's kind and places, those of its cause behind it. No text, no value."""
    words: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(words) < 4:
        words.append(f"{type(seen).__name__} at {' < '.join(_places(seen)) or 'no known place'}")
        seen = seen.__cause__ or seen.__context__
    return "; after ".join(words)


def _places(error: BaseException) -> list[str]:
    places: list[str] = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        parts = code.co_filename.replace("\\", "/").split("/")
        places.append(f"{'/'.join(parts[-2:])}:{step.tb_lineno}")
        step = step.tb_next
    return places[::-1][:_MOST_PLACES]
