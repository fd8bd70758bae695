"""The notary: what runs inside the trust domain, and the client that talks to it."""

from __future__ import annotations

__version__ = "0.1.0"  # the same as in pyproject.toml; the trust domain has no package metadata to ask
