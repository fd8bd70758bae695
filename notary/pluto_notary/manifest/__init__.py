"""Manifests: what may be asked of a web site, what must be answered, and what is taken from it. Pure, but for `workers`
and the program that it starts, `worker`.
"""

from __future__ import annotations

from pluto_notary.manifest.manifest import Manifest
from pluto_notary.manifest.model import Value
from pluto_notary.manifest.violation import OverworkError, Violation

__all__ = ["Manifest", "OverworkError", "Value", "Violation"]
