"""A policy that accepts what `simulators.tpm_quotes` signs, as a value and as its author writes it. For tests alone."""

from __future__ import annotations

import hashlib

from pluto_measure.policy import Policy

POLICY = Policy(
    platforms=("qemu-vtpm",),
    evidence_types=("tpm",),
    insecure_software_tpm=True,
    ak_trust=(),
    machines="any",
    allow_debug=False,
    allow_unsigned_reference=True,
    max_evidence_age=600,
    clock_skew=60,
    config_digest=hashlib.sha256(b"").digest(),
    outer_key_digest="required",
)
TEXT = """\
version = 1
platforms = ["qemu-vtpm"]
evidenceTypes = ["tpm"]
insecure_software_tpm = true
akTrust = []
machines = "any"
allowDebug = false
allowUnsignedReference = true
maxEvidenceAge = 600
clockSkew = 60
configDigest = "any"
outerKeyDigest = "required"
"""
