"""Is evidence authentic? Parsed in, verified out; whether it is accepted is for `appraise` to say."""

from __future__ import annotations

from pluto_measure.verify.tpm import VerifiedTpmQuote, verify_tpm

__all__ = ["VerifiedTpmQuote", "verify_tpm"]
